"""A session is only a cache of its log: dropped at any moment, the run goes on the same, and pays for nothing twice."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langgraph_rlm import ReplayDivergedError
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, root, shown, thread

LEVELS = [
    "import random\nseen = []\nfor i in range(2):\n    seen.append(llm_query(f'root {i} {random.randint(10, 99)}'))\nprint(seen, SHOW_VARS())",
    "kids = rlm_query_batched(['count a', 'count b'], contexts=[context[:50], ['x', 'y', 'z']])\nprint(kids)",
    "answer['content'] = f'{seen} {kids}'\nanswer['ready'] = True",
]


def sub_model() -> ScriptedModel:
    """Answers `llm_query`, and as the root of a child writes code that calls once more."""

    def reply(text: str) -> Any:
        return f"sub({len(text)})"

    class Sub(ScriptedModel):
        def _scripted(self, messages: list[Any]) -> Any:
            if messages[0].type != "system":
                return reply(messages[-1].text)
            return super()._scripted(messages)

    deeper = cell(
        "inner = rlm_query('deeper', context=str(len(context)))\nparts = llm_query_batched(['p', 'pp', inner])\nprint(parts, peek(0, 2))"
    )
    return Sub(replies=[deeper, cell("FINAL(' / '.join(parts))")])


def play(max_idle: int) -> tuple[dict[str, Any], ScriptedModel, ScriptedModel]:
    model, sub = root(*LEVELS), sub_model()
    graph = rlm(model, sub=sub, limits={"max_depth": 3}, checkpointer=InMemorySaver())
    graph.rlm.sessions.max_idle = max_idle
    out = graph.invoke({"query": "go", "context": "lorem ipsum " * 1000}, thread())
    assert not max_idle or graph.rlm.sessions.idle
    assert max_idle or not graph.rlm.sessions.idle
    return out, model, sub


def test_sessions_thrown_away_between_every_two_supersteps_change_nothing() -> None:
    """A three-level run: the same answer, the same prompts, not one model call more."""
    live, live_root, live_sub = play(max_idle=32)
    cold, cold_root, cold_sub = play(max_idle=0)
    assert cold["answer"] == live["answer"]
    assert {**cold["usage"], "seconds": 0} == {**live["usage"], "seconds": 0}
    assert cold_root.calls == live_root.calls == 3
    assert cold_sub.calls == live_sub.calls
    assert sorted(len(messages) for messages in cold_sub.prompts) == sorted(
        len(messages) for messages in live_sub.prompts
    )


def test_an_edited_trajectory_that_calls_something_else_is_refused() -> None:
    """A call is known by its place and by its content: the same place with another prompt is not answered from the log."""

    def note(text: str) -> str:
        """Note a text."""
        return text

    model = root("first = llm_query('one')\nnote(first)\nFINAL(first)")
    graph = rlm(model, tools=[note], interrupt_on={"note": True}, checkpointer=InMemorySaver())
    graph.invoke({"query": "go"}, thread())
    log = graph.get_state(thread()).values["log"]
    edited = {
        **log["0"],
        "reply": {"text": cell("first = llm_query('two')\nnote(first)\nFINAL(first)")},
    }
    graph.update_state(thread(), {"log": {"0": edited}}, as_node="plan_code")
    with pytest.raises(
        ReplayDivergedError,
        match=r"Cell 0\.0/0 called 'llm_query' with [0-9a-f]{12}, but its log has 'llm_query'",
    ):
        graph.invoke(None, thread())


def test_a_cell_that_ends_otherwise_than_logged_is_refused() -> None:
    graph = rlm(root("print('one')", "FINAL('done')"), checkpointer=InMemorySaver())
    graph.invoke({"query": "go"}, thread())
    after = next(
        s
        for s in graph.get_state_history(thread())
        if s.next == ("plan_code",) and "0.0" in s.values["log"]
    )
    edited = {**after.values["log"]["0"], "reply": {"text": cell("print('two')")}}
    fork = graph.update_state(after.config, {"log": {"0": edited}}, as_node="plan_code")
    with pytest.raises(
        ReplayDivergedError,
        match=r"Cell 0\.0 ended 'ok' with [0-9a-f]{12}, but its log has 'ok' with",
    ):
        graph.invoke(None, fork)


def test_a_fork_from_an_earlier_checkpoint_runs_on_its_own_log() -> None:
    """The live interpreter of the thread has seen another future: the fork gets one rebuilt from its own past."""
    model = root("x = llm_query('a')", "x += '!'\nprint(x)", "FINAL(x)")
    graph = rlm(model, checkpointer=InMemorySaver())
    assert graph.invoke({"query": "go"}, thread())["answer"] == "len=1!"
    before = next(
        s
        for s in graph.get_state_history(thread())
        if s.next == ("plan_code",) and "1" in s.values["log"] and "2" not in s.values["log"]
    )
    assert graph.invoke(None, before.config)["answer"] == "len=1!"
    assert model.calls == 4


def test_a_worker_that_dies_is_replaced_and_the_run_goes_on() -> None:
    """Killed while a sub-call is in flight: the interpreter is rebuilt by replay, and the call is not made again."""
    import os
    import signal

    import psutil

    def kill_workers(text: str) -> str:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it has just ended
                if "monty" in child.name():
                    os.kill(child.pid, signal.SIGKILL)
        return text.upper()

    sub = ScriptedModel(answer=kill_workers)
    out = rlm(
        [cell("x = 1\ny = llm_query('a')\nz = llm_query(y + 'b')\nFINAL(f'{x} {y} {z}')")], sub=sub
    ).invoke({"query": "go"})
    assert out["answer"] == "1 A AB"
    assert sub.calls == 2


def test_a_graph_that_is_dropped_takes_its_workers_with_it() -> None:
    """At once, not at some later garbage collection; a copy of it that is still in use goes on."""
    import gc

    import psutil

    def workers() -> set[int]:
        found: set[int] = set()
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it has just ended
                found |= {child.pid} if "monty" in child.name() else set()
        return found

    before = workers()
    gc.disable()
    try:
        graph = rlm(root("x = 5", "FINAL(x)", "FINAL(x + 1)"), checkpointer=InMemorySaver())
        assert graph.invoke({"query": "one"}, thread())["answer"] == "5"
        assert workers() - before
        copy = graph.copy()
        del graph
        psutil.wait_procs([psutil.Process(pid) for pid in workers() - before], timeout=10)
        assert not workers() - before
        assert copy.invoke({"query": "two"}, thread())["answer"] == "6"
    finally:
        gc.enable()


def test_more_waiting_parents_than_workers_do_not_deadlock() -> None:
    """Forty children wait for their own children, with one interpreter kept alive."""

    class Sub(ScriptedModel):
        def _scripted(self, messages: list[Any]) -> Any:
            return super()._scripted(messages) if messages[0].type == "system" else "leaf"

    sub = Sub(replies=[cell("v = rlm_query('again')\nFINAL(v)")])
    graph = rlm(
        [
            cell(
                "FINAL(len([r for r in rlm_query_batched([f'q{i}' for i in range(40)]) if r == 'leaf']))"
            )
        ],
        sub=sub,
        limits={"max_depth": 4, "max_concurrency": 50},
    )
    graph.rlm.sessions.max_idle = 1
    assert graph.invoke({"query": "go"})["answer"] == "40"


def test_a_pause_is_answered_after_every_interpreter_is_gone() -> None:
    calls: list[str] = []

    def buy(item: str, count: int = 1) -> str:
        """Buy something."""
        calls.append(item)
        return f"{count} x {item}"

    model = root(
        "got = []\nfor item in ['tea', 'jam']:\n    got.append(buy(item, count=2))",
        "FINAL(', '.join(got))",
    )
    graph = rlm(model, tools=[buy], interrupt_on={"buy": True}, checkpointer=InMemorySaver())
    out = graph.invoke({"query": "shop"}, thread())
    while "__interrupt__" in out:
        graph.rlm.sessions.drop_all()
        out = graph.invoke(Command(resume={"type": "approve"}), thread())
    assert out["answer"] == "2 x tea, 2 x jam"
    assert calls == ["tea", "jam"]


@pytest.mark.parametrize("idle", [32, 0], ids=["live", "cold"])
@pytest.mark.parametrize("waits_for", ["note", "llm_query"])
def test_a_question_in_the_middle_of_a_cell_ends_that_cell(idle: int, waits_for: str) -> None:
    """A run that waits, or was cut off, is left where it is: its cell is rolled back, the model is told, and nothing of it goes on."""

    def note(text: str) -> str:
        """Note a text."""
        return text

    began = asyncio.Event()

    class Hangs(ScriptedModel):
        async def _agenerate(self, *args: Any, **options: Any) -> Any:
            began.set()
            await asyncio.sleep(60)

    async def cut_off() -> None:
        task = asyncio.create_task(graph.ainvoke({"query": "one"}, thread()))
        await began.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    model = root(
        "x = 1", f"x = 2\n{waits_for}('a')\nx = 3", "print(x)", "FINAL(f'{x} {SHOW_VARS()}')"
    )
    graph = rlm(
        model,
        sub=Hangs(replies=[""]),
        tools=[note],
        interrupt_on={"note": True},
        checkpointer=InMemorySaver(),
    )
    graph.rlm.sessions.max_idle = idle
    if waits_for == "note":
        assert "__interrupt__" in graph.invoke({"query": "one"}, thread())
    else:
        asyncio.run(cut_off())
    out = graph.invoke({"query": "two"}, thread())
    assert (out["answer"], out["stop_reason"], model.calls) == ("1 {'x': 'int'}", "answered", 4)
    assert "for a new question, and rolled back" in shown(model, 2)
    assert "two" in shown(model, 2)
    graph.rlm.sessions.drop_all()
    assert graph.invoke({"query": "three"}, thread())["answer"] == "1 {'x': 'int'}"
