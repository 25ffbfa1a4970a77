"""The default sandbox: `python` where this machine can have it, else `monty`; a thread stays in its own."""

import logging
import subprocess
import sys
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langgraph_rlm import ChatRLM, ConfigurationError, SandboxError, create_rlm, fork
from langgraph_rlm.repl import sandboxes
from langgraph_rlm.repl.local import LocalBackend
from langgraph_rlm.testing import ScriptedModel, cell

from .jails import needs_a_jail
from .models import rlm, root, thread

WHICH = "try:\n    import sys\n    FINAL(sys.version_info[:2] >= (3, 11) and 'del' or '')\nexcept Exception:\n    FINAL('x')"


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes this machine one that has `python`, or one that has not."""

    def choose(*, jail: bool) -> None:
        reason = "" if jail else "sandbox='python' cannot lock a process in here. Use another."
        monkeypatch.setattr(sandboxes, "obstacle", lambda: reason)
        monkeypatch.setattr(sandboxes, "chosen", sandboxes.choose)

    return choose


def begun_in(graph: Any, name: str = "t") -> str:
    return graph.get_state(thread(name)).values["log"]["run.0"]["sandbox"]


@pytest.mark.parametrize(("jail", "name"), [(True, "python"), (False, "monty")])
def test_the_choice_is_what_the_machine_has_and_is_said_in_one_line(
    choose: Any, caplog: pytest.LogCaptureFixture, jail: bool, name: str
) -> None:
    choose(jail=jail)
    with caplog.at_level(logging.INFO, "langgraph_rlm.repl"):
        assert sandboxes.choose() == name
    (line,) = caplog.messages
    assert f"'auto' is {name!r}" in line
    assert ("cannot lock" in line) == (not jail)


@needs_a_jail
def test_new_threads_begin_in_python_and_the_log_says_so(choose: Any) -> None:
    choose(jail=True)
    model = root("class Row(dict):\n    pass\nFINAL(Row(a=1)['a'])")
    graph = rlm(model, checkpointer=InMemorySaver())
    assert graph.invoke({"query": "q"}, thread())["answer"] == "1"
    assert begun_in(graph) == "python"
    assert "CPython" in model.prompts[0][0].text
    assert "jailed" in model.prompts[0][0].text


def test_else_in_monty(choose: Any) -> None:
    choose(jail=False)
    model = root("FINAL(1)")
    graph = rlm(model, checkpointer=InMemorySaver())
    assert graph.invoke({"query": "q"}, thread())["answer"] == "1"
    assert begun_in(graph) == "monty"
    assert "Monty" in model.prompts[0][0].text


@needs_a_jail
def test_a_thread_goes_on_in_the_sandbox_that_it_began_in(choose: Any) -> None:
    saver = InMemorySaver()
    choose(jail=False)
    rlm(root("x = 1\nFINAL(x)"), checkpointer=saver).invoke({"query": "q"}, thread())
    choose(jail=True)
    model = root("FINAL(1)", "FINAL(x + 1)")
    graph = rlm(model, checkpointer=saver)
    assert graph.invoke({"query": "more"}, thread())["answer"] == "2"
    assert begun_in(graph) == "monty"
    assert "Monty" in model.prompts[-1][0].text
    assert graph.invoke({"query": "q"}, thread("new"))["answer"] == "1"
    assert begun_in(graph, "new") == "python"


@needs_a_jail
@pytest.mark.parametrize("way", ["follow-up", "resume"])
def test_and_is_refused_on_a_machine_that_cannot_have_it(choose: Any, way: str) -> None:
    saver, model = InMemorySaver(), root("FINAL(buy('tea'))")

    def buy(item: str) -> str:
        """Buy something."""
        return item

    def graph() -> Any:
        return rlm(model, tools=[buy], interrupt_on={"buy": True}, checkpointer=saver)

    choose(jail=True)
    graph().invoke({"query": "q"}, thread())
    calls = model.calls
    choose(jail=False)
    given: Any = {"query": "more"} if way == "follow-up" else Command(resume={"type": "approve"})
    with pytest.raises(SandboxError, match=r"began in sandbox 'python'.*on a machine that can"):
        graph().invoke(given, thread())
    assert model.calls == calls
    choose(jail=True)
    if way == "resume":
        assert graph().invoke(None, thread())["answer"] == "tea"


@pytest.mark.parametrize(
    ("began", "given"), [("monty", "local"), ("local", "monty"), ("local", "auto")]
)
def test_another_sandbox_by_name_is_refused_with_what_to_do(
    choose: Any, began: str, given: str
) -> None:
    choose(jail=False)
    saver = InMemorySaver()
    rlm(root("FINAL(1)"), sandbox=began, checkpointer=saver).invoke({"query": "q"}, thread())
    model = root("FINAL(1)", "FINAL(2)")
    with pytest.raises(ConfigurationError, match=f"began in sandbox '{began}'.*sandbox='{began}'"):
        rlm(model, sandbox=given, checkpointer=saver).invoke({"query": "more"}, thread())
    assert model.calls == 0


def test_a_thread_that_does_not_say_goes_on_where_it_was(choose: Any) -> None:
    """Earlier versions wrote no name: it was Monty, unless the user said otherwise."""
    choose(jail=False)
    for sandbox in ("auto", "local"):
        saver = InMemorySaver()
        graph = rlm(
            root("x = 1\nFINAL(x)"), sandbox="local" if sandbox == "local" else "monty",
            checkpointer=saver,
        )  # fmt: skip
        graph.invoke({"query": "q"}, thread())
        log = graph.get_state(thread()).values["log"]
        older = {**log["run.0"]}
        del older["sandbox"]
        graph.update_state(thread(), {"log": {"run.0": older}})
        more = rlm(root("FINAL(1)", "FINAL(x + 1)"), sandbox=sandbox, checkpointer=saver)
        assert more.invoke({"query": "more"}, thread())["answer"] == "2"


def test_a_backend_of_ones_own_is_known_by_its_name(choose: Any) -> None:
    class Mine(LocalBackend):
        name = "mine"

    saver = InMemorySaver()
    graph = rlm(root("FINAL(1)"), sandbox=Mine(), checkpointer=saver)
    graph.invoke({"query": "q"}, thread())
    assert begun_in(graph) == "mine"
    with pytest.raises(ConfigurationError, match="or the Backend of that name"):
        rlm(root("FINAL(1)"), checkpointer=saver).invoke({"query": "more"}, thread())
    again = rlm(root("FINAL(1)", "FINAL(2)"), sandbox=Mine(), checkpointer=saver)
    assert again.invoke({"query": "more"}, thread())["answer"] == "2"


def test_a_fork_stays_in_it(choose: Any) -> None:
    choose(jail=False)
    saver = InMemorySaver()
    graph = rlm(root("FINAL(1)"), checkpointer=saver)
    graph.invoke({"query": "q"}, thread())
    fork(graph, thread(), "0", cell("FINAL(7)"))
    assert begun_in(graph) == "monty"


@pytest.mark.parametrize("make", [create_rlm, lambda model, **more: ChatRLM(model=model, **more)])
def test_an_unknown_name_is_refused_with_those_there_are(make: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"'auto'.*'python'.*'monty'.*'local'"):
        make(ScriptedModel(replies=["x"]), sandbox="docker")


ELSEWHERE = """
import sys
for name in ("resource", "fcntl", "termios", "pwd", "grp"):
    sys.modules[name] = None
import platform, socket, subprocess, tempfile, asyncio
sys.platform = "win32"
from langgraph_rlm.repl import sandboxes
assert sandboxes.choose() == "monty"
print(sandboxes.obstacle())
"""


def test_where_there_is_no_linux_it_is_monty_and_nothing_fails_to_import() -> None:
    """Windows has none of these modules."""
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "It needs Linux, and this is win32" in done.stdout
