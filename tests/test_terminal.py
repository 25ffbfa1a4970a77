"""The command on a terminal: the screen while it works, narrow and dumb ones, hostile text, and
calls that are answered in place."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from langgraph_rlm.cli.graphs import load_graph
from langgraph_rlm.cli.main import main
from tests.terminals import Terminal

GRAPH = r'''
from pathlib import Path

from langgraph_rlm import create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

SENT = Path(__file__).with_name("sent.txt")


def send_email(to: str, body: str = "hello") -> str:
    """Send an email."""
    with SENT.open("a") as file:
        file.write(f"{to}: {body}\n")
    return f"sent to {to}"


weather = {
    "title": "weather",
    "description": "Tell the weather.",
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}


def made(*cells, models=None, **options):
    model = ScriptedModel(replies=[cell(code) for code in cells])
    sub = ScriptedModel(answer=models or (lambda prompt: "yes"), seconds=SECONDS)
    return create_rlm(model, sub_model=sub, sandbox="monty", **options)


SECONDS = 0.0
one = made("FINAL(send_email('ann'))", tools=[send_email], interrupt_on={"send_email": True})
two = made(
    "try:\n    FINAL([send_email('ann'), send_email('bob')])\nexcept RuntimeError as error:\n    FINAL(str(error))",
    tools=[send_email],
    interrupt_on={"send_email": {"allowed_decisions": ["approve", "reject"]}},
)
many = made(
    "FINAL(rlm_query_batched(['ann', 'bob']))",
    models=lambda prompt: cell(f"FINAL(send_email('{'ann' if 'ann' in prompt else 'bob'}'))"),
    tools=[send_email],
    interrupt_on={"send_email": True},
    limits={"max_depth": 2},
)
outside = made("FINAL(weather('Rome'))", external_tools=[weather])
hostile = made(
    "print('\x1b[31mred\u202edlrow' + 'x' * 3000 + '\u200b' * 500 + 'e' + '\u0301' * 500)"
    "\nFINAL(send_email('\x1b]0;owned\x07ann\u202e', 'b' * 5000))",
    tools=[send_email],
    interrupt_on={"send_email": {"allowed_decisions": ["approve"], "description": "\x1b[2Jgone"}},
)
children = made(
    "FINAL(rlm_query_batched([str(i) for i in range(30)])[0])",
    models=lambda prompt: cell("FINAL(llm_query_batched(['a', 'b', 'c'])[0])"),
    limits={"max_depth": 2, "max_concurrency": 40},
)
slow = made(
    "replies = llm_query_batched([f'part {i}' for i in range(40)])\nFINAL(len(replies))",
    limits={"max_concurrency": 4, "max_tokens": 20000, "max_seconds": 3600},
)
'''


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the user's graphs; the blob store and the database are in its folder too."""
    monkeypatch.setenv("LANGGRAPH_RLM_STORE", str(tmp_path / "blobs"))
    (tmp_path / "agent.py").write_text(GRAPH)
    load_graph.cache_clear()
    return tmp_path / "agent.py"


def command(graph: Path, name: str, *arguments: str) -> list[str]:
    """Give a command line; the names of graphs stand for `--graph` and `--db`."""
    return [*arguments, "--graph", f"{graph}:{name}", "--db", str(graph.with_name("t.db"))]


def asked(graph: Path, name: str, *arguments: str) -> list[str]:
    return command(graph, name, "ask", "what?", "--thread", "mine", *arguments)


def sent(graph: Path) -> list[str]:
    """What the tool has sent."""
    file = graph.with_name("sent.txt")
    return file.read_text().splitlines() if file.exists() else []


# Calls that wait


def test_a_call_is_shown_and_approved_on_the_terminal(graph: Path) -> None:
    with Terminal(asked(graph, "one")) as terminal:
        terminal.wait_for("[l]ater")
        for shown in ("A call waits for you", "place 0.0/0/0", "tool  send_email", '"to": "ann"'):
            assert shown in terminal.text
        assert sent(graph) == []
        terminal.send("\n")  # Enter approves nothing
        terminal.send("a\n")
        assert terminal.ended() == 0
        assert "sent to ann" in terminal.text
    assert sent(graph) == ["ann: hello"]


def test_edited_arguments_are_checked_and_asked_for_again(graph: Path) -> None:
    with Terminal(asked(graph, "one"), VISUAL="", EDITOR="") as terminal:
        terminal.wait_for("[e]dit")
        terminal.send("e\n")
        terminal.wait_for("as JSON, then an empty line")
        terminal.send('{"to": 3}\n\n')
        terminal.wait_for("do not fit send_email")
        terminal.send("no json\n\n")
        terminal.wait_for("This is no JSON")
        terminal.send('{"to": "eve",\n"body": "x"}\n\n')
        assert terminal.ended() == 0
    assert sent(graph) == ["eve: x"]


def test_the_editor_of_the_user_edits_the_arguments(graph: Path) -> None:
    editor = graph.with_name("editor.sh")
    editor.write_text("#!/bin/sh\nsed -i s/ann/zoe/ $1\n")
    editor.chmod(0o755)
    with Terminal(asked(graph, "one"), VISUAL=str(editor)) as terminal:
        terminal.wait_for("[e]dit")
        terminal.send("edit\n")
        assert terminal.ended() == 0
    assert sent(graph) == ["zoe: hello"]


def test_a_call_is_rejected_with_a_reason(graph: Path) -> None:
    with Terminal(asked(graph, "two")) as terminal:
        terminal.wait_for("place 0.0/0/0")
        terminal.send("e\n")  # not among what may be decided
        terminal.send("r\n")
        terminal.wait_for("reason (may be empty)")
        terminal.send("not now\n")
        assert terminal.ended() == 0
        assert any("not now" in line and "reason" not in line for line in terminal.lines)
    assert sent(graph) == []


def test_several_calls_of_children_are_answered_one_by_one(graph: Path) -> None:
    with Terminal(asked(graph, "many")) as terminal:
        terminal.wait_for("A call waits for you (1 of 2)")
        terminal.wait_for("place 0.0/0/0, in the child RLM at 0.0/0/0")
        terminal.send("l\n")
        terminal.wait_for("A call waits for you (2 of 2)")
        terminal.wait_for("place 0.0/0/0, in the child RLM at 0.0/0/1")
        terminal.send("a\n")
        assert terminal.ended() == 3
        assert "1 call waits for an answer: send_email (0.0/0/0:0.0/0/0)." in terminal.text
    assert sent(graph) == ["bob: hello"]
    with Terminal(command(graph, "many", "resume", "mine")) as terminal:
        terminal.wait_for("[a]pprove")
        terminal.send("a\n")
        assert terminal.ended() == 0
    assert sent(graph) == ["bob: hello", "ann: hello"]


def test_a_call_left_for_later_ends_with_3_and_is_answered_by_resume(graph: Path) -> None:
    with Terminal(asked(graph, "one")) as terminal:
        terminal.wait_for("[l]ater")
        terminal.send("l\n")
        assert terminal.ended() == 3
        assert "1 call waits for an answer: send_email (0.0/0/0)." in terminal.text
        assert "To answer: langgraph-rlm resume mine --graph" in terminal.text
    with Terminal(command(graph, "one", "resume", "mine")) as terminal:
        terminal.wait_for("res[p]ond")
        terminal.send("p\n")
        terminal.wait_for("result (JSON, or text)")
        terminal.send("pretended\n")
        assert terminal.ended() == 0
        assert "pretended" in terminal.text
    assert sent(graph) == []


def test_ctrl_c_at_the_question_keeps_the_thread(graph: Path) -> None:
    with Terminal(asked(graph, "one")) as terminal:
        terminal.wait_for("[l]ater")
        terminal.send("\x03")
        assert terminal.ended() == 130
        assert "Continue with: langgraph-rlm resume mine" in terminal.text
        assert "Traceback" not in terminal.text


def test_the_result_of_an_external_tool_is_typed(graph: Path) -> None:
    with Terminal(asked(graph, "outside")) as terminal:
        terminal.wait_for("[g]ive its result")
        assert '"city": "Rome"' in terminal.text
        terminal.send("g\n")
        terminal.wait_for("(JSON, or text)")
        terminal.send('{"sky": "blue"}\n')
        assert terminal.ended() == 0
        assert '{"sky": "blue"}' in terminal.text


# Where nobody can be asked


def piped(arguments: list[str], **variables: str) -> Result:
    return CliRunner().invoke(main, arguments, env=variables)


def test_in_a_pipe_nothing_is_approved_by_itself(graph: Path) -> None:
    done = piped(asked(graph, "one"))
    assert (done.exit_code, done.stdout) == (3, ""), done.stderr
    assert "1 call waits for an answer: send_email" in done.stderr
    assert sent(graph) == []


def test_a_tool_that_is_named_is_approved(graph: Path) -> None:
    assert piped(asked(graph, "two", "--approve", "other")).exit_code == 3
    assert sent(graph) == []
    done = piped(command(graph, "two", "resume", "mine", "--approve", "send_email"))
    assert done.exit_code == 0, done.stderr
    assert sent(graph) == ["ann: hello", "bob: hello"]


def test_json_has_the_pauses_and_answers_are_given_by_id(graph: Path) -> None:
    paused = json.loads((done := piped(asked(graph, "one", "--json"))).stdout)
    assert (done.exit_code, done.stderr) == (3, "")
    (pause,) = paused["pauses"]
    assert (paused["stop_reason"], paused["answer"]) == ("paused", None)
    assert (pause["kind"], pause["place"]) == ("approval", "0.0/0/0")
    assert pause["value"]["action_requests"][0]["args"] == {"to": "ann"}
    assert pause["schema"]["title"] == "Decision about send_email"

    def answered(decision: object) -> Result:
        answer = f"{pause['id']}={json.dumps(decision)}"
        return piped(command(graph, "one", "resume", "mine", "--answer", answer))

    wrong = answered({"type": "dance"})
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "it is no decision of type approve, edit, reject, respond" in wrong.stderr
    assert answered({"type": "approve"}).stdout == "sent to ann\n"
    assert sent(graph) == ["ann: hello"]


# The screen


@pytest.mark.parametrize(("columns", "rows"), [(100, 30), (40, 20), (20, 6)])
def test_the_screen_while_it_works(graph: Path, columns: int, rows: int) -> None:
    graph.write_text(GRAPH.replace("SECONDS = 0.0", "SECONDS = 0.15"))
    with Terminal(asked(graph, "slow"), columns=columns, rows=rows) as terminal:
        terminal.wait_for("ns" if columns == 20 else "sub-calls")
        shown = terminal.text
        assert terminal.ended() == 0
        assert all(len(line) <= columns for line in terminal.lines)
        assert "40" in terminal.text
    if columns == 100:
        assert re.search(r"turn 1 of 30 · waits for llm_query_batched · \d", shown)
        assert re.search(r"llm_query_batched ━*─+ \d+/40", shown)
        assert re.search(r"[\d.]+k of 20k tokens · \d+ of 1,000 sub-calls · \d+ s of 1 h", shown)
        assert "1 turn, 40 sub-calls" in terminal.text


def test_children_are_a_tree_that_is_folded_to_the_screen(graph: Path) -> None:
    graph.write_text(GRAPH.replace("SECONDS = 0.0", "SECONDS = 1.0"))
    with Terminal(asked(graph, "children"), rows=14) as terminal:
        terminal.wait_for("more at work")
        assert re.search(r"├─ 0\.0/0/\d+  turn 1 of 30 · ", terminal.text)
        assert re.search(r"└─ \d+ more at work", terminal.text)
        assert len([line for line in terminal.text.splitlines() if "─ 0.0/0/" in line]) < 14
        assert terminal.ended() == 0


@pytest.mark.parametrize(
    "variables",
    [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}],
    ids=str,
)
def test_plain_terminals(graph: Path, variables: dict[str, str]) -> None:
    graph.write_text(GRAPH.replace("SECONDS = 0.0", "SECONDS = 0.1"))
    with Terminal(asked(graph, "slow"), **variables) as terminal:
        assert terminal.ended() == 0
        written = terminal.written.decode()
        assert "40 sub-calls" in terminal.text
    if "TERM" in variables:
        assert "\x1b" not in written
    if "NO_COLOR" in variables:
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", written)
    if "TERM" not in variables and "NO_COLOR" not in variables:
        assert written.isascii()


def test_colours_may_be_forced_in_a_pipe_and_nothing_moves_there(graph: Path) -> None:
    done = piped(asked(graph, "outside"), FORCE_COLOR="1")
    assert done.exit_code == 3
    assert not re.search(r"\x1b\[(\?|\d*[A-KST])", done.stderr)


def test_a_window_that_gets_narrower_keeps_every_line_within_it(graph: Path) -> None:
    graph.write_text(GRAPH.replace("SECONDS = 0.0", "SECONDS = 0.3"))
    with Terminal(asked(graph, "slow")) as terminal:
        terminal.wait_for("sub-calls")
        terminal.resize(50, 12)
        assert terminal.ended() == 0
        assert "40 sub-calls" in " ".join(terminal.text.split())
        assert sum("waits for llm_query_batched" in line for line in terminal.lines) == 0


def test_hostile_text_never_steers_the_terminal(graph: Path) -> None:
    with Terminal(asked(graph, "hostile")) as terminal:
        terminal.wait_for("[l]ater")
        assert "[v]iew all" in terminal.text
        assert "more lines that are not shown here" in terminal.text
        assert "\\u001b]0;owned\\u0007ann\\u202e" in terminal.text
        terminal.send("l\n")
        assert terminal.ended() == 3
        written = terminal.written.decode()
    for steering in ("\x1b[31mred", "\x1b]0;", "\x1b[2Jgone", "\u202e", "\u200b", "\u0301" * 5):
        assert steering not in written


def test_an_error_of_a_server_does_not_steer_the_terminal_and_debug_shows_the_traceback(
    graph: Path,
) -> None:
    graph.write_text("raise ValueError('\\x1b[2Jgone')")
    done = piped(asked(graph, "one"))
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "cannot be loaded: ValueError: \ufffd[2Jgone" in done.stderr
    for debugging in (
        piped(asked(graph, "one", "--debug")),
        piped(["--debug", *asked(graph, "one")]),
        piped(asked(graph, "one"), LANGGRAPH_RLM_DEBUG="1"),
    ):
        assert "Traceback" in debugging.stderr
        assert "\x1b" not in debugging.stderr
