"""The command: what goes to stdout and to stderr, exit codes, and threads that survive Ctrl-C."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from langgraph_rlm import Limits
from langgraph_rlm.cli.main import main
from tests.openai_server import Body, OpenAIServer, Reply, last_message, turn_of

MODELS = ["--model", "openai:root", "--sub-model", "openai:sub"]
COUNT = "FINAL(len(context))"


class Script:
    """What the models of a test say: the root's cells by turn, the sub-model's answers by prompt."""

    cells: list[str] = [COUNT]  # noqa: RUF012 - each test has its own object
    sub: Callable[[str], str | Reply] = staticmethod(lambda prompt: f"about {prompt}")

    refusal: Reply | None = None

    def __call__(self, body: Body) -> str | Reply:
        if self.refusal:
            return self.refusal
        if body["model"] == "sub":
            return self.sub(last_message(body))
        return f"```repl\n{self.cells[min(turn_of(body), len(self.cells) - 1)]}\n```"


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def server(script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with OpenAIServer(script) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        yield server


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "new" / "threads.db"


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "text.txt").write_text("x" * 1234)
    return str(tmp_path / "text.txt")


@pytest.fixture
def ask(db: Path) -> Callable[..., Result]:
    """The command in this process, with `ask` and the database filled in."""
    return lambda *arguments, **options: CliRunner().invoke(
        main, ["ask", "--db", str(db), *arguments], **options
    )


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "langgraph_rlm", *map(str, arguments)]


def error_line(result: Result) -> str:
    """The only line on stderr; nothing is on stdout."""
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
    (line,) = result.stderr.splitlines()
    return line


# Answers


def test_piped_the_answer_alone_is_on_stdout_and_plain_lines_on_stderr(
    server: OpenAIServer, script: Script, db: Path, text: str
) -> None:
    script.cells = [
        "print('looking')",
        "llm_query_batched([f'part {i}' for i in range(20)])",
        COUNT,
    ]
    done = subprocess.run(
        command("ask", "how long?", "-c", text, *MODELS, "--db", db),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout) == (0, "1234\n"), done.stderr
    assert "turn 1 of 30" in done.stderr
    assert "    print('looking')" in done.stderr
    assert "    looking" in done.stderr
    assert "llm_query_batched: 20 of 20" in done.stderr
    assert "3 turns, 20 sub-calls" in done.stderr
    assert re.search(r"ask --thread \w{8} 'NEXT QUESTION' --db", done.stderr)
    assert done.stderr.splitlines()[-1] == "seen by models: 24 % of 1.2 KB"
    assert "\x1b" not in done.stderr


def test_json_is_one_object_on_stdout_and_nothing_else(
    server: OpenAIServer, ask: Callable[..., Result], text: str
) -> None:
    result = ask("how long?", "-c", text, *MODELS, "--json", "--thread", "mine")
    assert result.stderr == ""
    out = json.loads(result.stdout)
    assert out["coverage"]["size"] == 1234
    assert {**out, "usage": None} == {
        "answer": "1234",
        "stop_reason": "answered",
        "usage": None,
        "thread": "mine",
        "files": [],
        "coverage": out["coverage"],
    }
    assert out["coverage"]["seen"] == 0.2431  # the 300 characters that its question shows
    assert out["usage"]["turns"] == 1
    assert out["usage"]["input_tokens"] > 0


def test_a_context_is_a_folder_or_several_files_or_stdin(
    server: OpenAIServer, ask: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "notes" / name).write_text(name)
    files = [str(tmp_path / "notes" / name) for name in ("a.txt", "b.txt")]
    assert ask("?", "-c", str(tmp_path / "notes"), *MODELS).stdout == "2\n"
    assert ask("?", "-c", files[0], "-c", files[1], *MODELS).stdout == "2\n"
    assert ask("?", "-c", "-", *MODELS, input="from stdin").stdout == "10\n"


def test_a_second_question_on_a_thread_sees_the_variables_of_the_first(
    server: OpenAIServer, script: Script, ask: Callable[..., Result], text: str
) -> None:
    script.cells = ["kept = len(context)\nFINAL('counted')", "FINAL(kept * 2)"]
    assert ask("how long?", "-c", text, *MODELS, "--thread", "mine").stdout == "counted\n"
    assert ask("and twice that?", "--thread", "mine").stdout == "2468\n"


def test_a_limit_is_an_answer_that_says_so(
    server: OpenAIServer, script: Script, ask: Callable[..., Result], text: str
) -> None:
    script.cells = ["1", "FINAL('a guess')"]
    result = ask("?", "-c", text, *MODELS, "--max-iterations", "1")
    assert result.exit_code == 0
    assert "a guess" in result.stdout
    assert "reached its limit max_iterations" in result.stderr


def test_no_answer_at_a_limit_is_said(
    server: OpenAIServer, script: Script, ask: Callable[..., Result], text: str
) -> None:
    script.refusal = {"message": {"content": None}}
    result = ask("?", "-c", text, *MODELS, "--max-iterations", "1")
    assert (result.exit_code, result.stdout) == (0, "\n")
    assert "an empty reply: the model is told so" in result.stderr
    assert "reached its limit max_iterations: it has no answer so far." in result.stderr


def test_what_a_folder_has_that_is_not_read_is_said(
    server: OpenAIServer, ask: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed/good.txt").write_text("good")
    for number in range(12):
        (tmp_path / f"mixed/pic{number:02}.png").write_bytes(b"\0png")
    result = ask("?", "-c", str(tmp_path / "mixed"), *MODELS)
    assert "Context: 1 file, 4 characters" in result.stderr
    assert "Left out: pic00.png (binary), pic01.png (binary), " in result.stderr
    assert "pic09.png (binary), and others" in result.stderr
    assert (
        json.loads(ask("?", "-c", str(tmp_path / "mixed"), *MODELS, "--json").stdout)["answer"]
        == "1"
    )


def test_every_limit_is_an_option(
    server: OpenAIServer, script: Script, ask: Callable[..., Result], text: str
) -> None:
    names = [f"--{name.replace('_', '-')}" for name in Limits.model_fields]
    help_text = CliRunner().invoke(main, ["ask", "--help"]).stdout
    assert [name for name in names if name not in help_text] == []
    script.cells = ["while True:\n    pass", "print('x' * 10_000)", "FINAL('went on')"]
    result = ask(
        "?",
        "-c",
        text,
        *MODELS,
        "--max-cell-seconds",
        "0.5",
        "--max-heap-bytes",
        "9000000",
        "--max-output-chars",
        "200",
    )
    assert result.stdout == "went on\n"
    assert max(len(message["content"]) for message in server.requests[2]["messages"][2:]) < 1000


def test_a_server_that_is_not_there_is_named(
    ask: Callable[..., Result], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    result = ask("?", "-c", text, *MODELS)
    error, how = result.stderr.splitlines()[-2:]
    assert re.fullmatch(
        r"Error: \w*ConnectionError: .*\(http://127.0.0.1:9/v1/chat/completions: .*[Cc]onnect.*\)",
        error,
    )
    assert how.startswith("Continue with: ")


def test_the_model_may_come_from_the_environment(
    server: OpenAIServer, ask: Callable[..., Result], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGGRAPH_RLM_MODEL", "openai:mine")
    assert ask("?", "-c", text).stdout == "1234\n"
    assert server.requests[0]["model"] == "mine"


# Threads that are continued


class Slow:
    """A sub-model of which the first answers are quick, and the others wait until they may come."""

    def __init__(self, quick: int) -> None:
        self.may_come = threading.Event()
        self._quick = quick

    def __call__(self, prompt: str) -> str:
        if int(prompt.split()[-1]) >= self._quick:
            assert self.may_come.wait(60)
        return f"answer to {prompt}"


def stopped_in_sub_calls(
    server: OpenAIServer, db: Path, text: str, presses: int
) -> "subprocess.CompletedProcess[str]":
    """Start a run of 40 sub-calls, and press Ctrl-C when ten of them are answered."""
    arguments = command(
        "ask", "?", "-c", text, *MODELS, "--db", db, "--thread", "mine", "--max-concurrency", "12"
    )
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len([body for body in server.answered if body["model"] == "sub"]) >= 10)
    time.sleep(1.0)
    for _ in range(presses):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.02)


BATCH = "replies = llm_query_batched([f'part {i}' for i in range(40)])\nFINAL(str(len(set(replies))) + ' ' + replies[39])"


@pytest.mark.parametrize("presses", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_keeps_what_is_finished_and_resume_asks_for_the_rest_alone(
    server: OpenAIServer, script: Script, db: Path, text: str, presses: int
) -> None:
    script.cells, script.sub = [BATCH], (slow := Slow(quick=10))
    stopped = stopped_in_sub_calls(server, db, text, presses)
    assert (stopped.returncode, stopped.stdout) == (130, ""), stopped.stderr
    assert (
        stopped.stderr.splitlines()[-1]
        == f"Stopped. Continue with: langgraph-rlm resume mine --db {db}"
    )
    assert sqlite3.connect(db).execute("PRAGMA integrity_check").fetchone() == ("ok",)

    slow.may_come.set()
    resumed = subprocess.run(
        command("ask", "--resume", "mine", "--db", db), capture_output=True, text=True, timeout=100
    )
    assert (resumed.returncode, resumed.stdout) == (0, "40 answer to part 39\n"), resumed.stderr
    assert "10 answers to sub-calls were kept" in resumed.stderr
    assert "llm_query_batched: 40 of 40" in resumed.stderr
    asked = [body["messages"][-1]["content"] for body in server.requests if body["model"] == "sub"]
    assert [asked.count(f"part {i}") for i in range(10)] == [1] * 10
    assert sum(body["model"] == "root" for body in server.requests) == 1


def test_ctrl_c_as_json(server: OpenAIServer, script: Script, db: Path, text: str) -> None:
    script.sub, script.cells = (slow := Slow(quick=0)), [BATCH]
    arguments = command("ask", "?", "-c", text, *MODELS, "--db", db, "--thread", "mine", "--json")
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(server.requests) > 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    slow.may_come.set()
    assert (process.returncode, err) == (130, "")
    assert json.loads(out) == {
        "error": {
            "type": "Interrupted",
            "message": "Stopped.",
            "resume": f"langgraph-rlm resume mine --db {db}",
        }
    }


def test_a_failed_model_call_is_one_line_and_the_thread_goes_on(
    server: OpenAIServer, script: Script, ask: Callable[..., Result], text: str
) -> None:
    script.refusal = {"status": 401, "content": "wrong key"}
    result = ask("?", "-c", text, *MODELS, "--thread", "mine")
    assert (result.exit_code, result.stdout) == (1, "")
    error, how = result.stderr.splitlines()[-2:]
    assert re.fullmatch(r"Error: \w*AuthenticationError: .*wrong key.*", error)
    assert how.startswith("Continue with: langgraph-rlm resume mine --db ")
    script.refusal = None
    assert ask("--resume", "mine").stdout == "1234\n"


def test_options_given_to_a_thread_override_those_that_it_remembers(
    server: OpenAIServer, script: Script, ask: Callable[..., Result], text: str
) -> None:
    script.cells = ["FINAL(1)", "FINAL(llm_query('hello'))"]
    ask("?", "-c", text, *MODELS, "--thread", "mine", "--max-concurrency", "3")
    assert ask("again", "--thread", "mine", "--model", "openai:other").stdout == "about hello\n"
    assert [body["model"] for body in server.requests] == ["root", "other", "sub"]


def test_the_window_of_the_model_can_be_set_and_is_remembered(
    server: OpenAIServer, script: Script, ask: Callable[..., Result]
) -> None:
    """A conversation that passes three quarters of it is summed up."""
    script.cells = ["print('x ' * 1400)"]
    few = ["--max-iterations", "4"]
    for options, is_summed_up in (
        ([], False),
        (["--window-tokens", "4000", "--thread", "t"], True),
        (["--thread", "t"], True),
    ):
        server.requests.clear()
        ask("?", *MODELS, *few, *options)
        assert any("summed them up" in str(body) for body in server.requests) is is_summed_up
    assert ask("?", *MODELS, "--window-tokens", "0").exit_code == 2


def test_only_an_unfinished_run_can_be_resumed(
    server: OpenAIServer, ask: Callable[..., Result], text: str
) -> None:
    assert "There is no thread 'never'" in error_line(ask("--resume", "never"))
    ask("?", "-c", text, *MODELS, "--thread", "mine")
    assert "There is no thread 'never'" in error_line(ask("--resume", "never"))
    line = error_line(ask("--resume", "mine"))
    assert "Thread 'mine' is finished" in line
    assert "ask --thread mine" in line


def test_an_unfinished_run_takes_no_new_question(
    server: OpenAIServer, script: Script, ask: Callable[..., Result], text: str
) -> None:
    script.refusal = {"status": 400, "content": "no"}
    ask("?", "-c", text, *MODELS, "--thread", "mine")
    line = error_line(ask("another?", "--thread", "mine"))
    assert "unfinished run" in line
    assert "resume mine" in line


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["?", "-c", "absent.txt"], "absent.txt"),
        (["?", "-c", "binary.bin"], "binary.bin"),
        (["?", "-c", "empty.txt"], "empty.txt"),
        (["?", "-c", "text.txt", "--model", "nobody:model"], "nobody:model"),
        (["?", "-c", "text.txt", "--model", "gpt-5"], "names no provider"),
        (["?", "-c", "text.txt", "--db", "text.txt"], "text.txt cannot keep threads"),
        (["?", "--db", "text.txt/threads.db"], "threads.db cannot keep threads"),
        (["?", "-c", "latin1.txt"], "latin1.txt is not UTF-8"),
        (["?", "-c", "loop"], "loop cannot be read"),
        (["?", "-c", "nothing"], "nothing has no file to read"),
    ],
)
def test_what_is_wrong_is_one_clear_line(
    ask: Callable[..., Result],
    tmp_path: Path,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary.bin").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin1.txt").write_text("für", encoding="latin-1")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nothing").mkdir()
    result = ask(*MODELS, *arguments)
    assert message in error_line(result)
    assert result.exit_code == 1
    as_json = ask(*MODELS, *arguments, "--json")
    assert (as_json.exit_code, as_json.stderr) == (1, "")
    assert message in json.loads(as_json.stdout)["error"]["message"]


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with some files, which is the working directory."""
    folder = tmp_path / "inputs"
    (folder / "logs").mkdir(parents=True)
    for name, content in {
        "a.txt": "A",
        "b.txt": "BB",
        "logs/c.txt": "CCC",
        "x=y.txt": "XY",
    }.items():
        (folder / name).write_text(content)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["a.txt"], "str"),
        (["logs"], "dict c.txt"),
        (["a.txt", "b.txt"], "dict a.txt b.txt"),
        (["*.txt"], "dict a.txt b.txt x=y.txt"),
        (["**/*.txt"], "dict a.txt b.txt logs/c.txt x=y.txt"),
        (["a.txt", "-c", "b.txt"], "dict a.txt b.txt"),
        (["-c", "x=y.txt"], "str"),
        (["-c", "x=y.txt", "a.txt"], "dict a.txt x=y.txt"),
        (["-"], "str"),
        (["a.txt", "logs"], "dict a.txt logs/c.txt"),
    ],
)
def test_files_are_plain_arguments(
    server: OpenAIServer,
    script: Script,
    ask: Callable[..., Result],
    inputs: Path,
    arguments: list[str],
    answer: str,
) -> None:
    script.cells = [
        "FINAL(' '.join([type(context).__name__, *(sorted(context) if isinstance(context, dict) else [])]))"
    ]
    assert ask("?", *arguments, *MODELS, input="from stdin").stdout == f"{answer}\n"


def test_contexts_by_name(
    server: OpenAIServer, script: Script, ask: Callable[..., Result], inputs: Path
) -> None:
    script.cells = ["FINAL([old, new, said, sorted(files), sorted(logs)])"]
    named = ["-c", "old=a.txt", "-c", "new=b.txt", "-c", "said=-", "-c", "logs=logs"]
    result = ask("?", *named, "a.txt", "b.txt", *MODELS, input="hello")
    assert json.loads(result.stdout) == ["A", "BB", "hello", ["a.txt", "b.txt"], ["c.txt"]]
    assert "Context old: 1 characters" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["?", "https://example.org/a.pdf"], "https://example.org/a.pdf is a URL"),
        (["?", "-c", "doc=s3://bucket/key"], "s3://bucket/key is a URL"),
        (["?", "*.pdf"], "No file matches '*.pdf'"),
        (["?", "-", "a.txt"], "cannot be one of several files"),
        (["?", "-", "-c", "x=-"], "can be given once"),
        (["a.txt", "what does it say?"], "give the question first"),
        (["--resume", "t", "a.txt"], "give no QUESTION, PATHS"),
    ],
)
def test_arguments_that_cannot_be_meant(
    ask: Callable[..., Result], inputs: Path, arguments: list[str], message: str
) -> None:
    result = ask(*MODELS, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_no_key_and_no_model_say_what_to_set(ask: Callable[..., Result], text: str) -> None:
    assert "OPENAI_API_KEY" in error_line(ask("?", "-c", text, *MODELS))
    line = error_line(ask("?", "-c", text))
    assert "--model" in line
    assert "LANGGRAPH_RLM_MODEL" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'QUESTION'"),
        ([" \n"], "The QUESTION is empty"),
        (["?", "--resume", "mine"], "--resume continues the run's own question"),
        (["--resume", "mine", "-c", "a"], "--resume continues the run's own question"),
        (["?", "-c", "-", "-c", "a"], "cannot be one of several files"),
        (["?", "--thread", ""], "--thread needs the name of a thread"),
        (["--resume", ""], "--resume needs the name of a thread"),
        (["?", "--max-depth", "0"], "--max-depth"),
        (["?", "--sandbox", "docker"], "--sandbox"),
    ],
)
def test_a_wrong_command_line_exits_with_2(
    ask: Callable[..., Result], arguments: list[str], message: str
) -> None:
    result = ask(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]


def test_help_and_version_are_quick() -> None:
    """Nothing heavy is imported before a command runs."""
    heavy = "{'langgraph', 'langchain_core', 'openai', 'pydantic', 'rich.live', 'aiosqlite'}"
    code = f"import sys, langgraph_rlm.cli.main; print({heavy} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
    assert CliRunner().invoke(main, ["--version"]).stdout.startswith("langgraph-rlm, version ")
    assert "Ctrl-C" in CliRunner().invoke(main, ["ask", "--help"]).stdout
