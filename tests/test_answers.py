"""Answers that are kept: given by a process that has no tools, taken up by whichever runs the thread, once."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from langgraph_rlm import ConfigurationError, ResumeError, aanswer, answer, aresume, resume
from langgraph_rlm.testing import cell

from .models import rlm, root, thread
from .test_approvals import Tree

BUY = "try:\n    got = buy('tea', count=2)\nexcept RuntimeError as error:\n    got = str(error)\nFINAL([got])"
YES = {"type": "approve"}


class Shop:
    """A process that may run a thread of the file: its graph's code buys things."""

    def __init__(self, saver: Any, *codes: str, **options: Any) -> None:
        self.bought: list[tuple[str, int]] = []

        def buy(item: str, count: int = 1) -> dict[str, Any]:
            """Buy something."""
            self.bought.append((item, count))
            return {"item": item, "count": count}

        self.graph = rlm(
            root(*codes or [BUY]),
            tools=[buy],
            interrupt_on={"buy": True},
            checkpointer=saver,
            **options,
        )


@pytest.fixture
def savers(tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Each call opens the same SQLite file anew, as another process does."""
    opened: list[sqlite3.Connection] = []

    def another() -> SqliteSaver:
        opened.append(sqlite3.connect(tmp_path / "db", check_same_thread=False))
        return SqliteSaver(opened[-1])

    yield another
    for each in opened:
        each.close()


def pauses(graph: Any) -> list[Any]:
    return list(graph.get_state(thread()).interrupts)


class TestKept:
    @pytest.mark.parametrize(
        ("decision", "got", "bought"),
        [
            (YES, {"item": "tea", "count": 2}, [("tea", 2)]),
            (
                {"type": "edit", "edited_action": {"name": "buy", "args": {"item": "jam"}}},
                {"item": "jam", "count": 1},
                [("jam", 1)],
            ),
            ({"type": "reject", "message": "no"}, "buy failed: rejected by a human: no", []),
            ({"type": "respond", "message": "sold out"}, "sold out", []),
        ],
    )
    def test_one_process_answers_and_another_continues_with_none(
        self, decision: Any, got: Any, bought: Any, savers: Any
    ) -> None:
        asks, runs = Shop(savers()), Shop(savers())
        asks.graph.invoke({"query": "shop"}, thread())
        (pause,) = pauses(asks.graph)
        answer(savers(), thread(), {pause.id: decision}, by="ann")
        assert not runs.bought
        assert json.loads(runs.graph.invoke(None, thread())["answer"]) == [got]
        assert (asks.bought, runs.bought) == ([], bought)
        said = runs.graph.get_state(thread()).values["log"]["0.0/0/0"]["decision"]
        assert (said["type"], said["by"]) == (decision["type"], "ann")

    def test_the_first_answer_counts(self, savers: Any) -> None:
        shop = Shop(savers())
        shop.graph.invoke({"query": "shop"}, thread())
        (pause,) = pauses(shop.graph)
        answer(savers(), thread(), {pause.id: {"type": "reject"}})
        for again in (YES, {"type": "reject"}):
            with pytest.raises(ResumeError, match="answered already"):
                answer(savers(), thread(), {pause.id: again})
            with pytest.raises(ResumeError, match="answered already"):
                shop.graph.invoke(Command(resume={pause.id: again}), thread())
        assert "rejected" in shop.graph.invoke(None, thread())["answer"]
        with pytest.raises(ResumeError, match="No call waits"):
            answer(savers(), thread(), {pause.id: YES})
        assert not shop.bought

    def test_of_answers_at_once_one_is_kept(self, tmp_path: Path) -> None:
        async def go() -> list[Any]:
            async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
                shop = Shop(saver)
                await shop.graph.ainvoke({"query": "shop"}, thread())
                (pause,) = (await shop.graph.aget_state(thread())).interrupts
                given = [
                    aanswer(saver, thread(), {pause.id: YES}, by=str(number)) for number in range(8)
                ]
                told = await asyncio.gather(*given, return_exceptions=True)
                await shop.graph.ainvoke(None, thread())
                assert shop.bought == [("tea", 2)]
                return told

        told = asyncio.run(go())
        assert told.count(None) == 1
        assert sum(isinstance(each, ResumeError) for each in told) == 7

    @pytest.mark.parametrize(
        "wrong",
        [
            "yes",
            {"type": "nothing"},
            {"type": "edit", "edited_action": {"name": "sell", "args": {"item": "x"}}},
            {"type": "edit", "edited_action": {"name": "buy", "args": {"item": 1}}},
            {"type": "edit", "edited_action": {"name": "buy", "args": {"item": "x", "more": 1}}},
        ],
    )
    def test_a_wrong_answer_is_refused_before_it_is_kept(self, wrong: Any, savers: Any) -> None:
        shop = Shop(savers())
        shop.graph.invoke({"query": "shop"}, thread())
        (pause,) = pauses(shop.graph)
        with pytest.raises(ResumeError, match="still waits"):
            answer(savers(), thread(), {pause.id: wrong})
        answer(savers(), thread(), {pause.id: YES})
        shop.graph.invoke(None, thread())
        assert shop.bought == [("tea", 2)]

    def test_what_only_the_tool_knows_is_refused_when_it_is_taken_up(self, savers: Any) -> None:
        """The pause is open again, and the next answer counts."""
        from langchain_core.tools import StructuredTool
        from pydantic import BaseModel, field_validator

        class Even(BaseModel):
            number: int

            @field_validator("number")
            @classmethod
            def is_even(cls, value: int) -> int:
                if value % 2:
                    raise ValueError(f"{value} is odd")
                return value

        even = StructuredTool(
            name="even", description="e", args_schema=Even, func=lambda number: number
        )
        graph = rlm(
            [cell("FINAL(even(2))")],
            tools=[even],
            interrupt_on={"even": True},
            checkpointer=savers(),
        )

        def edit(number: int) -> dict[str, Any]:
            return {"type": "edit", "edited_action": {"name": "even", "args": {"number": number}}}

        graph.invoke({"query": "q"}, thread())
        (pause,) = pauses(graph)
        with pytest.raises(ResumeError, match="3 is odd"):
            answer(graph, thread(), {pause.id: edit(3)})
        answer(savers(), thread(), {pause.id: edit(3)})
        with pytest.raises(ResumeError, match="3 is odd"):
            graph.invoke(None, thread())
        assert "__interrupt__" in graph.invoke(None, thread())
        answer(savers(), thread(), {pause.id: edit(4)})
        assert graph.invoke(None, thread())["answer"] == "4"

    def test_several_pauses_and_one_answered_here(self, savers: Any) -> None:
        two = "a, b = llm_query_batched(['x', 'y'])\nFINAL([buy('tea'), buy('jam')])"
        shop = Shop(savers(), two)
        shop.graph.invoke({"query": "shop"}, thread())
        (first,) = pauses(shop.graph)
        answer(savers(), thread(), {first.id: YES})
        shop.graph.invoke(None, thread())
        (second,) = pauses(shop.graph)
        with pytest.raises(ResumeError, match="No call waits"):
            answer(savers(), thread(), {first.id: YES, second.id: YES})
        shop.graph.invoke(Command(resume=YES), thread())
        assert shop.bought == [("tea", 1), ("jam", 1)]

    @pytest.mark.parametrize("together", [True, False])
    def test_two_levels_in_any_order(self, together: bool, savers: Any) -> None:
        def opened() -> Shop:
            code = "FINAL(rlm_query_batched(['a', 'b+c', 'd']))"
            return Shop(savers(), code, sub=Tree(), limits={"max_depth": 3})

        opened().graph.invoke({"query": "shop"}, thread())
        ids = [pause.id for pause in reversed(pauses(opened().graph))]
        assert len(ids) == 4
        bought: list[Any] = []
        out: dict[str, Any] = {}
        for step in [ids] if together else [[id] for id in ids]:
            for id in step:
                answer(savers(), thread(), {id: YES})
            shop = opened()
            out = shop.graph.invoke(None, thread())
            bought += shop.bought
        assert json.loads(out["answer"]) == ["a", '["b","c"]', "d"]
        assert sorted(bought) == [("a", 1), ("b", 1), ("c", 1), ("d", 1)]

    def test_time_travel_asks_again(self, savers: Any) -> None:
        shop = Shop(savers())
        shop.graph.invoke({"query": "shop"}, thread())
        state = shop.graph.get_state(thread())
        answer(savers(), thread(), {state.interrupts[0].id: YES})
        again = shop.graph.invoke(None, state.config)
        assert "__interrupt__" in again and not shop.bought

    def test_nothing_to_answer(self, savers: Any) -> None:
        with pytest.raises(ConfigurationError, match="no thread 't'"):
            answer(savers(), thread(), {"0" * 32: YES})
        with pytest.raises(ConfigurationError, match="thread_id"):
            answer(savers(), {}, {})
        with pytest.raises(ConfigurationError, match="checkpointer"):
            answer(rlm(["FINAL(1)"]), thread(), {})


class TestWithin:
    """The RLM is a node of another graph."""

    def outer(self, saver: Any) -> tuple[Shop, Any]:
        shop = Shop(None)
        outer = StateGraph(MessagesState)
        outer.add_node("shopper", shop.graph)
        outer.add_edge(START, "shopper")
        return shop, outer.compile(checkpointer=saver)

    @pytest.mark.parametrize("way", ["invoke", "resume"])
    def test_the_outer_graph_continues_with_none(self, way: str, savers: Any) -> None:
        _, asks = self.outer(savers())
        asks.invoke({"messages": [HumanMessage("shop")]}, thread())
        (pause,) = pauses(asks)
        answer(savers(), thread(), {pause.id: YES})
        shop, runs = self.outer(savers())
        out = runs.invoke(None, thread()) if way == "invoke" else resume(runs, thread())
        assert json.loads(out["messages"][-1].content) == [{"item": "tea", "count": 2}]
        assert shop.bought == [("tea", 2)]

    def test_a_pause_of_another_node_is_answered_by_resume(self, savers: Any) -> None:
        def node(state: Any) -> Any:
            return {"messages": [HumanMessage(interrupt("name?"))]}

        graph: Any = StateGraph(MessagesState)
        graph.add_node("ask", node)
        graph.add_edge(START, "ask")
        graph = graph.compile(checkpointer=savers())
        graph.invoke({"messages": []}, thread())
        (pause,) = pauses(graph)
        with pytest.raises(ResumeError, match="JSON"):
            answer(savers(), thread(), {pause.id: object()})
        answer(savers(), thread(), {pause.id: "ann"})
        assert resume(graph, thread())["messages"][-1].content == "ann"


class TestWaiting:
    def test_a_process_waits_for_answers_until_the_run_ends(self, tmp_path: Path) -> None:
        async def go() -> Shop:
            async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
                shop = Shop(saver, "FINAL([buy('tea'), buy('jam')])")
                await shop.graph.ainvoke({"query": "shop"}, thread())
                waits = asyncio.create_task(aresume(shop.graph, thread(), wait=True, seconds=0.01))
                for _ in range(2):
                    while not (found := (await shop.graph.aget_state(thread())).interrupts):
                        await asyncio.sleep(0.01)
                    await aanswer(saver, thread(), {found[0].id: YES})
                    while [*(await shop.graph.aget_state(thread())).interrupts] == [*found]:
                        await asyncio.sleep(0.01)
                assert json.loads((await waits)["answer"])[1]["item"] == "jam"
                with pytest.raises(ConfigurationError, match="nothing to continue"):
                    await aresume(shop.graph, thread())
                return shop

        assert asyncio.run(go()).bought == [("tea", 1), ("jam", 1)]
