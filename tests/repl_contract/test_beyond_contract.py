"""Where Monty and CPython differ, within the contract or beyond it."""

import pytest

from langgraph_rlm.repl.base import Backend, Returned, SandboxCrashed, Suspended
from langgraph_rlm.repl.contract.check import Opener, fails, failure, gives, ran, run

pytestmark = pytest.mark.filterwarnings("ignore:sandbox='local' is not a sandbox")


def test_endless_output_is_seen_by_cpython_and_ends_montys_worker(
    open_session: Opener, backend: Backend
) -> None:
    """Monty's worker hears of the limit when the cell ends or calls: one that prints on is ended."""
    session = open_session()
    code = "while True:\n    print('x' * 1000)"
    if backend.name != "monty":
        fails(session, code, "MemoryError")
        return
    with pytest.raises(SandboxCrashed):
        session.feed(code)


@pytest.mark.parametrize(
    "code",
    [
        "exit()",
        "quit()",
        "import sys\nsys.exit()",
        "import sys\nsys.exit(3)",
        "raise SystemExit",
        "raise SystemExit(1)",
    ],
)
def test_exit_is_system_exit_where_there_is_an_exit(
    open_session: Opener, backend: Backend, code: str
) -> None:
    """Monty has no `exit`, `quit` or `sys.exit`: there it is an error of another name."""
    error = failure(open_session(), code)
    assert error.type == "SystemExit" or backend.name == "monty"


def test_a_traceback_numbers_the_cells(open_session: Opener) -> None:
    session = open_session()
    ran(session, "def divide(n):\n    return 1 / n")
    text = failure(session, "import json\ndivide(0)").traceback
    assert '<python-input-1>", line 2' in text


@pytest.mark.parametrize(
    "code",
    ["x = 1\ndel x", "def numbers():\n    yield 1", "class Own(Exception):\n    pass"],
)
def test_what_the_prompt_says_that_monty_cannot_do(
    open_session: Opener, backend: Backend, code: str
) -> None:
    if backend.name == "monty":
        fails(open_session(), code, "NotImplementedError")
    else:
        ran(open_session(), code)


def test_a_call_that_monty_cannot_wait_for_is_an_error_with_the_way_around(
    open_session: Opener, backend: Backend
) -> None:
    session = open_session()
    gives(session, "list(map(tool, []))", [])
    code = "list(map(llm_query, ['a', 'b']))"
    if backend.name != "monty":
        gives(session, code, ["A", "B"], "A", "B")
        return
    finished, calls = run(session, code)
    assert finished.error is not None
    assert calls == []
    assert "comprehension" in finished.error.traceback


@pytest.mark.parametrize(
    ("code", "source"),
    [
        ("tool('a')", "tool('a')"),
        ("é = 'ü'; x = [tool(é,\n  b=2)]", "tool(é,\n  b=2)"),
        ("f = tool\nf('a')", "f('a')"),
        ("def g(n):\n    return tool(n)\ng(1)", "tool(n)"),
        ("exec('tool(1)')", ""),
    ],
)
def test_a_call_comes_with_its_own_words(open_session: Opener, code: str, source: str) -> None:
    _, calls = run(open_session(), code, "r")
    assert [call.source for call in calls] == [source]


def test_the_words_are_those_of_the_cell_that_has_them(open_session: Opener) -> None:
    session = open_session()
    for code in ("def g(n):\n    return tool(n)", "x = (", "1 / 0", ""):
        run(session, code)
    _, calls = run(session, "# a comment\n#\ng(5)", "r")
    assert [call.source for call in calls] == ["tool(n)"]


@pytest.mark.parametrize(
    ("code", "has_run"), [("1 / 0", True), ("x = (", False), ("x = = 1", False), ("x = 1", True)]
)
def test_a_cell_that_cannot_be_read_says_that_it_did_not_run(
    open_session: Opener, code: str, has_run: bool
) -> None:
    assert run(open_session(), code)[0].ran is has_run


def test_a_name_that_text_run_as_code_hides_is_told(open_session: Opener) -> None:
    session = open_session()
    assert run(session, "exec('tool = 1')")[0].hidden >= {"tool"}
    outcome = session.feed("tool('a')", frozenset({"tool"}))
    assert isinstance(outcome, Suspended)
    session.resume(Returned("r"))
    assert run(session, "x = 1")[0].hidden == frozenset()


@pytest.mark.parametrize("code", ["del tool", "globals()['tool'] = 1", "len(context)\ncontext = 1"])
def test_cpython_tells_of_each_hidden_name(
    open_session: Opener, backend: Backend, code: str
) -> None:
    if backend.name != "monty":
        session = open_session()
        finished, _ = run(session, code)
        assert len(finished.hidden) == 1
        assert run(session, "2")[0].hidden == finished.hidden  # until it is bound anew
