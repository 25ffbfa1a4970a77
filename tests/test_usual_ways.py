"""Whatever LangGraph lets one do with a compiled graph works on an RLM, and budgets survive it."""

import asyncio
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from langgraph_rlm.testing import ScriptedModel, cell

from .models import FailsOnce, rlm, root, thread

LIMIT = 6


class Job:
    """A run that asks sub-models one by one, up to its limit, and dies where one of its answers is saved."""

    def __init__(self, dies_at: int = 9, idle: int = 32) -> None:
        self.made, self.idle = 0, idle
        self.saver = FailsOnce(dies_at)

    def graph(self) -> Any:
        """The graph as a new process would make it."""

        def sub(prompt: str) -> str:
            self.made += 1
            return prompt

        code = "for n in range(100):\n    llm_query(f'item {n}')"
        graph = rlm(
            ScriptedModel(answer=lambda _: cell(code)),
            sub=ScriptedModel(answer=sub),
            limits={"max_sub_calls": LIMIT, "max_iterations": 3},
            checkpointer=self.saver,
        )
        graph.rlm.sessions.max_idle = self.idle
        return graph

    def die(self) -> None:
        """Run until the save that fails."""
        with pytest.raises(OSError, match="no space"):
            self.graph().invoke({"query": "q"}, same_run(thread()), durability="sync")
        assert 1 < self.made < LIMIT


def same_run(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "metadata": {"run_id": "run-1"}}


def by_none(graph: Any) -> dict[str, Any]:
    return graph.invoke(None, thread())


def by_command(graph: Any) -> dict[str, Any]:
    return graph.invoke(Command(), thread())


def by_the_same_run(graph: Any) -> dict[str, Any]:
    return graph.invoke({"query": "q"}, same_run(thread()))


def by_checkpoint_id(graph: Any) -> dict[str, Any]:
    latest = graph.get_state(thread()).config
    return graph.invoke(None, latest)


def by_async(graph: Any) -> dict[str, Any]:
    return asyncio.run(graph.ainvoke(None, thread()))


def by_stream(graph: Any) -> dict[str, Any]:
    return list(graph.stream(None, thread(), stream_mode="values"))[-1]


WAYS: list[Callable[[Any], dict[str, Any]]] = [
    by_none,
    by_the_same_run,
    by_checkpoint_id,
    by_async,
    by_stream,
]


class TestBudgets:
    """No way of continuing a run gives it more than its limit."""

    @pytest.mark.parametrize("idle", [0, 32])
    @pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
    def test_survive_every_way_in_which_a_run_continues(self, way: Any, idle: int) -> None:
        job = Job(idle=idle)
        job.die()
        out = way(job.graph())
        assert out["usage"]["sub_calls"] == LIMIT
        assert job.made <= LIMIT + 1  # the one in flight when it died may be made again

    def test_survive_several_deaths(self) -> None:
        job = Job()
        job.die()
        for died in (2, 3):
            job.saver.fail_at(job.saver.saves + died)
            with pytest.raises(OSError, match="no space"):
                job.graph().invoke(None, thread(), durability="sync")
        assert by_none(job.graph())["usage"]["sub_calls"] == LIMIT
        assert job.made <= LIMIT + 3

    def test_survive_a_resume_of_the_graph_around(self) -> None:
        job = Job()

        def outer() -> Any:
            builder = StateGraph(MessagesState)
            builder.add_node("rlm", job.graph().copy({"checkpointer": None}))
            builder.add_edge(START, "rlm")
            return builder.compile(checkpointer=job.saver)

        with pytest.raises(OSError, match="no space"):
            outer().invoke({"messages": "q"}, thread(), durability="sync")
        assert 1 < job.made < LIMIT
        outer().invoke(None, thread())
        assert job.made <= LIMIT + 1

    def test_another_run_id_is_another_question_with_a_budget_of_its_own(self) -> None:
        job = Job(dies_at=0)
        graph = job.graph()
        graph.invoke({"query": "q"}, same_run(thread()))
        graph.invoke({"query": "q"}, {**thread(), "metadata": {"run_id": "run-2"}})
        assert job.made == 2 * LIMIT

    def test_the_same_run_again_once_it_has_ended_asks_nothing(self) -> None:
        job = Job(dies_at=0)
        graph = job.graph()
        first = graph.invoke({"query": "q"}, same_run(thread()))
        again = graph.invoke({"query": "q"}, same_run(thread()))
        assert again["answer"] == first["answer"]
        assert job.made == LIMIT


class TestLangGraph:
    """What of `CompiledStateGraph` people reach for."""

    @pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "get_state"])
    def test_a_missing_thread_id_is_langgraphs_own_error(self, way: str) -> None:
        plain: Any = StateGraph(MessagesState)
        plain.add_node("node", lambda state: state)
        plain.add_edge(START, "node")

        calls: dict[str, Callable[[Any, Any], Any]] = {
            "invoke": lambda graph, given: graph.invoke(given),
            "stream": lambda graph, given: list(graph.stream(given)),
            "ainvoke": lambda graph, given: asyncio.run(graph.ainvoke(given)),
            "get_state": lambda graph, given: graph.get_state({}),
        }

        def said(graph: Any, given: Any) -> tuple[type, str]:
            with pytest.raises((ValueError, KeyError)) as raised:
                calls[way](graph, given)
            return raised.type, str(raised.value)

        ours = said(rlm(["FINAL(1)"], checkpointer=InMemorySaver()), {"query": "q"})
        theirs = said(plain.compile(checkpointer=InMemorySaver()), {"messages": []})
        assert ours == theirs

    @pytest.mark.parametrize("value", [True, False])
    def test_checkpoint_during_works_beside_tools_that_must_not_run_twice(
        self, value: bool
    ) -> None:
        def send(to: str) -> str:
            """Send."""
            return to

        graph = rlm(
            root("FINAL(send('ann'))"),
            tools=[send],
            not_idempotent=["send"],
            checkpointer=InMemorySaver(),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # LangGraph's own, of the older name
            out = graph.invoke({"query": "q"}, thread(), checkpoint_during=value)
        assert out["answer"] == "ann"
        assert len(list(graph.get_state_history(thread()))) > 2

    @pytest.mark.parametrize("depth", [1, 2, 3])
    @pytest.mark.parametrize("xray", [False, True, 1, 2])
    def test_it_is_drawn_with_its_children(self, depth: int, xray: Any) -> None:
        graph = rlm(["FINAL(1)"], limits={"max_depth": depth})
        for drawn in (graph.get_graph(xray=xray), asyncio.run(graph.aget_graph(xray=xray))):
            picture = drawn.draw_mermaid()
            assert "plan_code" in picture

    def test_every_stream_mode_gives_something(self) -> None:
        graph = rlm(root("FINAL(llm_query('x'))"), checkpointer=InMemorySaver())
        for mode in ("values", "updates", "custom", "messages", "debug", "checkpoints", "tasks"):
            given = {"query": f"q {mode}"}
            assert list(graph.stream(given, thread(mode), stream_mode=mode)), mode

    def test_batch_and_abatch(self) -> None:
        graph = rlm(ScriptedModel(answer=lambda text: cell("FINAL(len(context))")))
        inputs = [{"query": "q", "context": "x" * n} for n in (1, 2, 3)]
        assert [out["answer"] for out in graph.batch(inputs)] == ["1", "2", "3"]
        assert [out["answer"] for out in asyncio.run(graph.abatch(inputs))] == ["1", "2", "3"]

    def test_with_config_bind_and_pipes(self) -> None:
        graph = rlm(root("FINAL('x')"), checkpointer=InMemorySaver())
        bound = graph.with_config(thread("bound"))
        assert bound.invoke({"query": "q"})["answer"] == "x"
        assert graph.get_state(thread("bound")).values["answer"] == "x"
        piped = graph | (lambda out: out["answer"] + "!")
        assert piped.invoke({"query": "q"}, thread("piped")) == "x!"

    @pytest.mark.parametrize("way", ["invoke", "ainvoke"])
    def test_bound_callbacks_are_called_as_often_as_given_ones(self, way: str) -> None:
        class Counts(BaseCallbackHandler):
            starts = 0

            def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
                self.starts += 1

        def starts(*, bound: bool) -> int:
            counts, graph = Counts(), rlm(root("FINAL('x')"))
            config: Any = {"callbacks": [counts]}
            given = [] if bound else [config]
            graph = graph.with_config(config) if bound else graph
            if way == "invoke":
                graph.invoke({"query": "q"}, *given)
            else:
                asyncio.run(graph.ainvoke({"query": "q"}, *given))
            return counts.starts

        assert starts(bound=True) == starts(bound=False)

    def test_schemas_of_input_and_output(self) -> None:
        graph = rlm(["FINAL(1)"])
        assert graph.get_input_jsonschema()["properties"].keys() == {
            "query",
            "context",
            "messages",
        }
        assert "answer" in graph.get_output_jsonschema()["properties"]

    @pytest.mark.parametrize("when", ["interrupt_before", "interrupt_after"])
    def test_static_breakpoints(self, when: str) -> None:
        graph = rlm(root("FINAL('x')"), checkpointer=InMemorySaver())
        out = graph.invoke({"query": "q"}, thread(), **{when: ["plan_code"]})
        assert "answer" not in out
        assert graph.get_state(thread()).next
        assert graph.invoke(None, thread())["answer"] == "x"


class TestDeadline:
    """`max_seconds` reaches tools."""

    def test_an_async_tool_is_cancelled(self) -> None:
        ends: list[str] = []

        async def slow() -> str:
            """Take long."""
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise
            return "late"

        started = time.monotonic()
        out = rlm(
            root("try:\n    slow()\nexcept RuntimeError as error:\n    FINAL(str(error))"),
            tools=[slow],
            limits={"max_seconds": 1},
        ).invoke({"query": "q"})
        assert time.monotonic() - started < 15
        assert ends == ["cancelled"]
        assert "max_seconds" in out["answer"]

    def test_a_sync_tool_is_left_behind_with_a_warning_and_its_result_is_dropped(self) -> None:
        ended: list[str] = []

        def slow() -> str:
            """Take long."""
            time.sleep(3)
            ended.append("late")
            return "late"

        with pytest.warns(RuntimeWarning, match="'slow' goes on in its thread"):
            out = rlm(
                root("try:\n    slow()\nexcept RuntimeError as error:\n    FINAL(str(error))"),
                tools=[slow],
                limits={"max_seconds": 1},
            ).invoke({"query": "q"})
        assert "may have taken effect" in out["answer"]
        assert "late" not in out["answer"]
        deadline = time.monotonic() + 30
        while not ended and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ended == ["late"]

    def test_a_tool_is_not_started_after_it(self) -> None:
        started: list[str] = []

        async def slow(seconds: float) -> str:
            """Take long."""
            started.append(str(seconds))
            await asyncio.sleep(seconds)
            return "done"

        code = "for seconds in (5, 0):\n    try:\n        slow(seconds)\n    except RuntimeError as error:\n        last = str(error)\nFINAL(last)"
        out = rlm(root(code), tools=[slow], limits={"max_seconds": 1}).invoke({"query": "q"})
        assert started == ["5"] or started == ["5.0"]
        assert "not started" in out["answer"] or out["stop_reason"] == "max_seconds"
