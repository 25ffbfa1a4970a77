"""The commands that look at a thread, change it or say what it costs: show, spent, fork, cost."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from langgraph_rlm.cli.graphs import load_graph
from langgraph_rlm.cli.main import main
from langgraph_rlm.cli.stubs import stub_value
from langgraph_rlm.schemas.answers import code_format, code_schema

GRAPH = r'''
from pathlib import Path

from langgraph_rlm import create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

RAN = Path(__file__).with_name("ran.txt")
ASKED = Path(__file__).with_name("asked.txt")


def search(word: str) -> str:
    """Search."""
    with RAN.open("a") as file:
        file.write(word + "\n")
    return f"found {word}"


def answer(prompt):
    with ASKED.open("a") as file:
        file.write("x\n")
    return cell("print('in the child')\nFINAL('child')") if "child" in prompt else "yes"


def made(*cells, **options):
    root = ScriptedModel(replies=[cell(code, "Let me see.") for code in cells], model_name="gpt-5")
    sub = ScriptedModel(answer=answer, model_name="gpt-5-mini")
    return create_rlm(root, sub_model=sub, sandbox="monty", tools=[search], **options)


FIRST = "print(search('kettle'))\nreplies = llm_query_batched([f'part {i}' for i in range(20)])\nprint(replies[0])"
SECOND = "a = rlm_query_batched([f'child {i}' for i in range(5)])"
rlm = made(FIRST, SECOND, "1 / 0", "FINAL(replies[3] + a[0])", limits={"max_depth": 2})
node = None
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LANGGRAPH_RLM_STORE", str(tmp_path / "blobs"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent.py").write_text(GRAPH)
    load_graph.cache_clear()
    return tmp_path


def run(*arguments: str, **options: object) -> Result:
    """Run a command on the folder's database; those that run a thread get the graph."""
    graph = ["--graph", "agent.py:rlm"] if arguments[0] in ("ask", "resume", "fork") else []
    given = [*arguments, *graph, "--db", "t.db"]
    return CliRunner().invoke(main, given, **options)  # type: ignore[arg-type]


@pytest.fixture
def asked(folder: Path) -> Path:
    """A folder with a finished thread, `mine`."""
    result = run("ask", "Which kettles?", "--thread", "mine")
    assert (result.exit_code, result.stdout) == (0, "yeschild\n"), result.stderr
    return folder


def lines(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


def error(result: Result) -> str:
    (line,) = result.stderr.splitlines()
    assert result.exit_code == 1
    return line


# show


def test_show_tells_how_a_thread_came_to_its_answer(asked: Path) -> None:
    shown = run("show", "mine").stdout
    for part in (
        "Thread mine  done",
        "Question  Which kettles?",
        "Turn 0",
        "Let me see.",
        "print(search('kettle'))",
        "search  1 answered  0.0/0",
        'search("kettle")' if False else "< ",
        "llm_query_batched  20 items: 20 answered  0.0/1",
        "1.0/0/0:  1 turn, done  child",
        "2 more children: --place 1.0/0",
        "ZeroDivisionError",
        "Answer",
        "  yeschild",
        "9 turns, 25 sub-calls",
    ):
        assert part in shown, part
    assert len(run("show", "mine", "--turns").stdout.splitlines()) < len(shown.splitlines()) / 2


def test_show_gives_one_entry_in_full_also_of_a_child(asked: Path) -> None:
    assert "part 13" in run("show", "mine", "--place", "0.0/1").stdout
    assert "part 13" in run("show", "mine", "--place", "0.0/1/13").stdout
    child = run("show", "mine", "--place", "1.0/0/3:").stdout
    assert "Child at 1.0/0/3" in child
    assert "in the child" in run("show", "mine", "--place", "1.0/0/3:0.0").stdout


def test_show_as_json_gives_the_records_of_a_place(asked: Path) -> None:
    records = json.loads(run("show", "mine", "--json").stdout)["records"]
    assert records[0]["type"] == "trace"
    call = json.loads(run("show", "mine", "--json", "--place", "0.0/1").stdout)["records"]
    assert [record["type"] for record in call] == ["call", *["reply"] * 20]


def test_a_wrong_name_is_one_line_with_what_was_meant(asked: Path) -> None:
    assert "Did you mean 'mine'?" in error(run("show", "mime"))
    assert "Did you mean 'mine'?" in error(run("resume", "mini"))
    assert "Did you mean 'mine'?" in error(run("forget", "mineX", "--yes"))
    assert "Did you mean '0.0/1/3'" in error(run("show", "mine", "--place", "0.0/1/33"))
    assert "no child RLM at '0.0/1/3'" in error(run("show", "mine", "--place", "0.0/1/3:0"))
    assert "There is no entry at '9'" in error(run("fork", "mine", "9", "--value", "x"))


# spent


def test_spent_adds_up_by_question_and_by_depth_and_model(asked: Path) -> None:
    assert run("ask", "And lamps?", "--thread", "mine").exit_code == 0
    out = json.loads(run("spent", "mine", "--json").stdout)
    assert len(out["questions"]) == 2
    assert sorted(out["usage"]["breakdown"]) == ["0/gpt-5", "1/gpt-5-mini"]
    assert out["usage"]["sub_calls"] == sum(each["sub_calls"] for each in out["questions"])
    assert out["questions"][0]["sub_calls"] == 25
    assert out["usage"]["cost"] > 0
    shown = run("spent", "mine").stdout
    assert "gpt-5-mini" in shown
    assert "sub-calls" in shown


# fork


def test_a_fork_runs_on_from_an_edited_answer_and_pays_nothing_again(asked: Path) -> None:
    before = lines(asked / "asked.txt")
    result = run("fork", "mine", "0.0/1/3", "--value", "changed")
    assert (result.exit_code, result.stdout) == (0, "changedchild\n"), result.stderr
    assert "Forked mine at 0.0/1/3" in result.stderr
    old = result.stderr.split("--checkpoint ")[1].split()[0]
    assert lines(asked / "ran.txt") == 1, "the tool came before, and is not run again"
    assert lines(asked / "asked.txt") == before + 5, "the children come after"
    assert "yeschild" in run("show", "mine", "--checkpoint", old).stdout


def test_a_fork_in_the_editor_that_is_run_later(
    asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = asked / "editor.sh"
    editor.write_text("#!/bin/sh\nsed -i s/replies/'\"edited\" + replies'/ $1\n")
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    result = run("fork", "mine", "3", "--edit", "--no-run")
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert run("resume", "mine").stdout == "editedyeschild\n"
    monkeypatch.setenv("EDITOR", "true")
    assert "Nothing was changed" in run("fork", "mine", "3").stderr


def test_a_fork_of_a_tools_result_takes_json_from_a_file(asked: Path) -> None:
    (asked / "new.json").write_text('"found nothing"')
    assert run("fork", "mine", "0.0/0/0", "--file", "new.json").exit_code == 0
    assert "found nothing" in run("show", "mine").stdout
    assert "is none" in error(run("fork", "mine", "0.0/0/0", "--value", "no json"))


def test_a_place_that_follows_from_others_is_refused(asked: Path) -> None:
    assert "follows from what came before" in error(run("fork", "mine", "0.0", "--value", "x"))
    assert run("fork", "mine", "0", "--value", "x", "--edit").exit_code == 2


def test_a_thread_of_a_graph_of_the_users_needs_it_again(asked: Path) -> None:
    """A database must not choose which code runs."""
    result = CliRunner().invoke(main, ["resume", "mine", "--db", "t.db"])
    assert "give it again, --graph" in error(result)


# cost


def estimate(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(main, ["cost", "?", *arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_plan_from_a_file_is_priced_and_nothing_is_asked(folder: Path) -> None:
    (folder / "text.txt").write_text("word " * 10_000)
    (folder / "plan.py").write_text(
        "rows = llm_query_batched([context[i * 1000:(i + 1) * 1000] for i in range(40)],"
        " schema={'type': 'object', 'properties': {'n': {'type': 'integer', 'minimum': 3}},"
        " 'required': ['n']})\nFINAL(sum(row['n'] for row in rows))"
    )
    planned = ["text.txt", "--plan", "plan.py", "-m", "openai:gpt-5", "--sub-model"]
    found = estimate(*planned, "openai:gpt-5-mini", "--reply-tokens", "100", "--latency", "2")
    assert (found["sub_calls"], found["paid"], found["stop_reason"]) == (40, None, "answered")
    subs = found["breakdown"]["1/gpt-5-mini"]  # type: ignore[index]
    assert subs["output_tokens"] == 4_000
    assert 40 * 250 < subs["input_tokens"] < 40 * 350
    assert subs["cost"] == pytest.approx(
        (subs["input_tokens"] * 0.25 + subs["output_tokens"] * 2) / 1e6
    )
    assert 8 <= found["seconds"] < 30, "three rounds of 16 calls and a turn, of two seconds each"
    assert not (folder / "t.db").exists()


def test_a_graph_of_the_users_is_asked_for_its_plan_alone(folder: Path) -> None:
    found = estimate("--graph", "agent.py:rlm")
    assert (found["sub_calls"], found["children"], found["tool_calls"]) == (25, 5, 1)
    assert found["paid"]["model_calls"] == 4  # type: ignore[index]
    assert lines(folder / "ran.txt") == lines(folder / "asked.txt") == 0
    shown = CliRunner().invoke(main, ["cost", "?", "--graph", "agent.py:rlm"]).stdout
    assert "Its 4 calls of the root model were real" in shown
    assert "25 sub-calls, of which 5 child RLMs, counted as one call each" in shown
    assert "assuming 300 a reply (--reply-tokens)" in shown


def test_cost_needs_a_model_or_a_plan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANGGRAPH_RLM_MODEL", raising=False)
    result = CliRunner().invoke(main, ["cost", "?"])
    assert "which is asked for its plan, or --plan FILE" in error(result)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "number"}}}},
        {"type": "array", "minItems": 3, "items": {"enum": ["x", "y"]}},
        {"type": "integer", "exclusiveMinimum": 4, "multipleOf": 5},
        {"type": "string", "minLength": 80},
        {"type": "string", "maxLength": 3},
        {"anyOf": [{"type": "null"}, {"type": "string"}]},
        {"$defs": {"I": {"type": "boolean"}}, "type": "array", "items": {"$ref": "#/$defs/I"}},
        {"allOf": [{"type": "object"}, {"required": ["a"], "properties": {"a": {"const": 7}}}]},
        {"type": ["string", "null"]},
    ],
    ids=str,
)
def test_stub_values_fit_their_schema(schema: dict[str, object]) -> None:
    assert code_format(code_schema(schema)).admits(stub_value(schema))


# Graphs of the user's own


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("agent.py", "names no graph"),
        ("absent.py:rlm", "there is no file"),
        ("agent.py:other", "has no 'other'"),
        ("agent.py:node", "is a NoneType, not a compiled graph"),
        ("agent.py:answer", "cannot be loaded: TypeError"),
        ("no.such.module:rlm", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_a_graph_that_cannot_be_loaded(folder: Path, spec: str, message: str) -> None:
    result = CliRunner().invoke(main, ["ask", "?", "--graph", spec, "--db", "t.db"])
    assert message in error(result)


def test_a_graph_around_an_rlm_is_asked_by_messages(folder: Path) -> None:
    (folder / "outer.py").write_text(
        "from langgraph.graph import START, MessagesState, StateGraph\nfrom agent import made\n"
        "def built():\n    graph = StateGraph(MessagesState)\n"
        "    graph.add_node('rlm', made(\"FINAL(llm_query('hello'))\"))\n"
        "    graph.add_edge(START, 'rlm')\n    return graph\n"
    )
    result = CliRunner().invoke(main, ["ask", "hi", "--graph", "outer.py:built", "--db", "t.db"])
    assert (result.exit_code, result.stdout) == (0, "yes\n"), result.stderr
    assert "turn 1 of 30" in result.stderr
    wrong = CliRunner().invoke(main, ["ask", "hi", "--graph", "outer.py:built", "-m", "x:y"])
    assert wrong.exit_code == 2
