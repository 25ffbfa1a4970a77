"""Batches: the items of one `llm_query_batched` are one task of the graph. Each answer is saved when it comes, once, and is found again whatever ends the run."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from pydantic import Field

from langgraph_rlm.history.fork import afork
from langgraph_rlm.log.places import item_place
from langgraph_rlm.pregel.early_writes import EarlyWrites, early_writes
from langgraph_rlm.testing import ScriptedModel, cell
from tests.models import rlm, thread

CALL = "0.0/0"
ITEMS = 12
CODE = f"r = llm_query_batched([f'item {{i}}' for i in range({ITEMS})])\nFINAL(' '.join(r))"
ANSWER = " ".join(f"item {i}!" for i in range(ITEMS))


class Sub(ScriptedModel):
    """Answers items, but those that are held back wait for ever."""

    held: set[str] = Field(default_factory=set[str])
    asked: Counter[str] = Field(default_factory=Counter[str])
    answered: int = 0

    async def _agenerate(self, messages: list[Any], *args: Any, **options: Any) -> Any:
        self.asked[messages[-1].text] += 1
        if messages[-1].text in self.held:
            await asyncio.sleep(3600)
        given = await super()._agenerate(messages, *args, **options)
        self.answered += 1
        return given


def sub(held: Sequence[int] = ()) -> Sub:
    """A sub-model that never answers some items."""
    names = {f"item {number}" for number in held}
    return Sub(answer=lambda text: AIMessage(f"{text}!"), held=names, asked=Counter())


def graph_of(model: Sub, saver: Any, **options: Any) -> Any:
    return rlm([cell(CODE)], sub=model, checkpointer=saver, **options)


async def cut_off(graph: Any, model: Sub, after: int, config: Any = None, **options: Any) -> None:
    """Cancel a run as soon as its sub-model has given some answers, and they are saved."""
    given = None if "checkpoint_id" in (config or thread())["configurable"] else {"query": "q"}
    run = asyncio.create_task(graph.ainvoke(given, config or thread(), **options))
    while model.answered < after:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


def answers(log: Any) -> dict[str, Any]:
    return {place: log[place] for place in log if place.startswith(f"{CALL}/")}


HELD = (3, 7, 8)
T: Any = thread()


class TestCutOff:
    async def _check(self, saver: Any) -> None:
        first = sub(HELD)
        await cut_off(graph_of(first, saver), first, ITEMS - len(HELD))
        again = sub()
        graph = graph_of(again, saver)
        state = await graph.aget_state(thread())
        assert state.next == ("sub_call",)
        assert len(answers(state.values["log"])) == ITEMS - len(HELD)
        out = await graph.ainvoke(None, thread())
        assert out["answer"] == ANSWER
        assert again.asked == Counter({f"item {number}": 1 for number in HELD})
        usage = out["usage"]
        assert (usage["sub_calls"], usage["model_calls"]) == (ITEMS, ITEMS + 1)
        log = (await graph.aget_state(thread())).values["log"]
        assert len(answers(log)) == ITEMS

    def test_answers_are_found_again_in_memory(self) -> None:
        asyncio.run(self._check(InMemorySaver()))

    def test_answers_are_found_again_on_sqlite(self, tmp_path: Path) -> None:
        async def go() -> None:
            async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
                await self._check(saver)

        asyncio.run(go())

    def test_answers_are_found_again_by_a_saver_that_is_told_no_paths(self) -> None:
        class Older(InMemorySaver):
            async def aput_writes(self, config: Any, writes: Any, task_id: str) -> None:  # type: ignore[override]
                await super().aput_writes(config, writes, task_id)

        asyncio.run(self._check(Older()))

    def test_in_a_graph_around_it(self) -> None:
        """The checkpoint of the batch is then one of a namespace."""
        from langgraph.graph import END, START, MessagesState, StateGraph

        saver, first, again = InMemorySaver(), sub(HELD), sub()

        def outer(model: Sub) -> Any:
            graph: Any = StateGraph(MessagesState)
            graph.add_node("ask", graph_of(model, None))
            graph.add_edge(START, "ask")
            graph.add_edge("ask", END)
            return graph.compile(checkpointer=saver)

        async def go() -> None:
            graph = outer(first)
            run = asyncio.create_task(graph.ainvoke({"messages": [("user", "q")]}, thread()))
            while first.answered < ITEMS - len(HELD):
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.05)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            graph = outer(again)
            [task] = (await graph.aget_state(thread(), subgraphs=True)).tasks
            assert len(answers(task.state.values["log"])) == ITEMS - len(HELD)
            out = await graph.ainvoke(None, thread())
            assert out["messages"][-1].text == ANSWER

        asyncio.run(go())
        assert again.asked == Counter({f"item {number}": 1 for number in HELD})

    def test_what_is_found_counts_against_the_limits(self) -> None:
        saver, first, again = InMemorySaver(), sub(HELD), sub()
        limits = {"max_sub_calls": ITEMS + 1}
        code = f"{CODE[: CODE.index('FINAL')]}print(llm_query('x'))\nFINAL(llm_query('y'))"

        async def go() -> dict[str, Any]:
            graph = rlm([cell(code), "no"], sub=first, checkpointer=saver, limits=limits)
            await cut_off(graph, first, ITEMS - len(HELD))
            return await rlm(
                [cell(code), "no"], sub=again, checkpointer=saver, limits=limits
            ).ainvoke(None, thread())

        out = asyncio.run(go())
        assert (out["stop_reason"], out["usage"]["sub_calls"]) == ("max_sub_calls", ITEMS + 1)
        assert first.asked.total() + again.asked.total() == ITEMS + 1 + len(HELD)

    def test_progress_counts_what_is_found(self) -> None:
        saver, first, again = InMemorySaver(), sub(HELD), sub()

        async def go() -> list[int]:
            await cut_off(graph_of(first, saver), first, ITEMS - len(HELD))
            parts = graph_of(again, saver).astream(None, thread(), stream_mode="custom")
            return [part["done"] async for part in parts if part["type"] == "sub_calls"]

        assert asyncio.run(go()) == [ITEMS - 2, ITEMS - 1, ITEMS]

    def test_an_answer_at_a_limit_of_the_tree_stays_one(self) -> None:
        """The limit that an item has met is saved with it."""
        saver = InMemorySaver()
        first, again = sub([0]), sub()
        first.answer = lambda _: "x" * 4_000
        limits = {"max_tokens": 2_400, "max_concurrency": 2}

        async def go() -> Any:
            graph = graph_of(first, saver, limits=limits)
            run = asyncio.create_task(graph.ainvoke({"query": "q"}, thread()))
            while len(answers((await graph.aget_state(thread())).values.get("log", {}))) < 11:
                await asyncio.sleep(0.005)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            return await graph_of(again, saver, limits=limits).ainvoke(None, thread())

        out = asyncio.run(go())
        assert out["stop_reason"] == "max_tokens"
        assert not again.asked


class TestStored:
    def test_each_answer_is_stored_once(self, tmp_path: Path) -> None:
        async def go() -> list[str]:
            async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
                await graph_of(sub(), saver).ainvoke({"query": "q"}, thread())
                rows = await saver.conn.execute_fetchall(
                    "SELECT type, value FROM writes WHERE channel = 'log'"
                )
                kept = [saver.serde.loads_typed((row[0], row[1])) for row in rows]
                async for saved in saver.alist(T):
                    assert "log" not in saved.checkpoint["channel_values"]
            return [place for log in kept for place in log if place.startswith(f"{CALL}/")]

        assert sorted(asyncio.run(go())) == sorted(item_place(CALL, each) for each in range(ITEMS))

    def test_answers_that_come_while_others_are_saved_are_saved_together(self) -> None:
        sizes: list[int] = []

        class Slow(InMemorySaver):
            async def aput_writes(self, config: Any, writes: Any, *args: Any, **more: Any) -> None:
                if writes[0][0] == "log" and answers(writes[0][1]):
                    sizes.append(len(writes[0][1]))
                    await asyncio.sleep(0.02)
                await super().aput_writes(config, writes, *args, **more)

        saver = Slow()
        out = asyncio.run(graph_of(sub(), saver).ainvoke({"query": "q"}, thread()))
        assert out["answer"] == ANSWER
        assert sum(sizes) == ITEMS and len(sizes) < ITEMS / 2

    def test_a_save_that_fails_ends_the_run_with_its_error(self) -> None:
        class Full(InMemorySaver):
            full = True

            async def aput_writes(self, config: Any, writes: Any, *args: Any, **more: Any) -> None:
                if self.full and writes[0][0] == "log" and f"{CALL}/0" in writes[0][1]:
                    raise OSError("disk full")
                await super().aput_writes(config, writes, *args, **more)

        saver, first, again = Full(), sub(), sub()

        async def go() -> Any:
            with pytest.raises(OSError, match="disk full"):
                await graph_of(first, saver).ainvoke({"query": "q"}, thread())
            saver.full = False
            return await graph_of(again, saver).ainvoke(None, thread())

        assert asyncio.run(go())["answer"] == ANSWER

    @pytest.mark.parametrize("durability", ["sync", "async", "exit"])
    def test_whatever_the_durability(self, durability: str) -> None:
        saver = InMemorySaver()
        graph = graph_of(sub(), saver)
        out = asyncio.run(graph.ainvoke({"query": "q"}, thread(), durability=durability))
        assert out["answer"] == ANSWER
        assert len(answers(graph.get_state(thread()).values["log"])) == ITEMS

    def test_without_a_checkpointer(self) -> None:
        assert asyncio.run(graph_of(sub(), None).ainvoke({"query": "q"}))["answer"] == ANSWER

    def test_from_sync_code(self, tmp_path: Path) -> None:
        with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
            graph = graph_of(sub(), saver)
            assert graph.invoke({"query": "q"}, thread())["answer"] == ANSWER
            assert len(answers(graph.get_state(thread()).values["log"])) == ITEMS


class TestErrors:
    def test_an_error_in_one_item_keeps_what_the_others_gave(self) -> None:
        """A broken blob store is no answer: the run ends, and nothing that came is paid again."""
        saver, first, again = InMemorySaver(), sub(HELD), sub()

        async def go() -> Any:
            await cut_off(graph_of(first, saver), first, ITEMS - len(HELD))
            second = graph_of(again, saver)
            again.held = {"item 7"}
            keep = second.rlm.blobs.keep

            async def failing(text: str) -> Any:
                if text == "item 3!":
                    await asyncio.sleep(0.05)
                    raise OSError("gone")
                return await keep(text)

            second.rlm.blobs.keep = failing
            with pytest.raises(OSError, match="gone"):
                await second.ainvoke(None, thread())
            again.held = set()
            del second.rlm.blobs.keep
            return await second.ainvoke(None, thread())

        assert asyncio.run(go())["answer"] == ANSWER
        assert again.asked == Counter({"item 3": 2, "item 7": 2, "item 8": 1})


class TestBranches:
    def test_an_answer_of_an_open_batch_can_be_edited(self) -> None:
        """The fork has the other answers too: they are not asked again."""
        saver, first, again = InMemorySaver(), sub(HELD), sub()

        async def go() -> Any:
            await cut_off(graph_of(first, saver), first, ITEMS - len(HELD))
            graph = graph_of(again, saver)
            forked = await afork(graph, T, f"{CALL}/1", "mine")
            return await graph.ainvoke(None, forked)

        assert asyncio.run(go())["answer"] == ANSWER.replace("item 1!", "mine", 1)
        assert again.asked == Counter({f"item {number}": 1 for number in HELD})

    def test_an_answer_of_a_batch_that_is_over_can_be_edited(self) -> None:
        saver, model = InMemorySaver(), sub()

        async def go() -> Any:
            graph = graph_of(model, saver)
            await graph.ainvoke({"query": "q"}, thread())
            return await graph.ainvoke(None, await afork(graph, T, f"{CALL}/1", "mine"))

        assert asyncio.run(go())["answer"] == ANSWER.replace("item 1!", "mine", 1)
        assert model.asked.total() == ITEMS

    def test_time_travel_to_an_open_batch_asks_anew(self) -> None:
        saver, model = InMemorySaver(), sub()

        async def go() -> Any:
            graph = graph_of(model, saver)
            await graph.ainvoke({"query": "q"}, thread())
            states = [state async for state in graph.aget_state_history(thread())]
            asked = next(each for each in states if each.next == ("sub_call",))
            out = await graph.ainvoke(None, asked.config)
            return out, (await graph.aget_state(thread())).values["log"]

        out, log = asyncio.run(go())
        assert out["answer"] == ANSWER and len(answers(log)) == ITEMS
        assert set(model.asked.values()) == {2}

    def test_a_new_question_leaves_an_open_batch_behind(self) -> None:
        saver, first = InMemorySaver(), sub(HELD)

        async def go() -> Any:
            await cut_off(graph_of(first, saver), first, ITEMS - len(HELD))
            graph = rlm([cell("FINAL('second')")], sub=sub(), checkpointer=saver)
            out = await graph.ainvoke({"query": "another"}, thread())
            return out, (await graph.aget_state(thread())).values["log"]

        out, log = asyncio.run(go())
        assert out["answer"] == "second" and not answers(log)


def test_early_writes_of_one_task_are_not_another_ones() -> None:
    saver = InMemorySaver()
    tasks = ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"]

    async def go() -> Any:
        graph = graph_of(sub(), saver)
        await graph.ainvoke({"query": "q"}, thread())
        head = (await graph.aget_state(thread())).config["configurable"]
        for task in tasks:
            config: Any = {
                "configurable": {
                    "thread_id": "t",
                    "checkpoint_ns": f"sub_call:{task}",
                    "checkpoint_map": {"": head["checkpoint_id"]},
                }
            }
            early = EarlyWrites(saver, config, "log")
            early.add(f"of {task}", 1, {"limit": f"at {task}"})
            await early.settled()
        return await saver.aget_tuple({"configurable": head})

    saved = asyncio.run(go())
    for task in tasks:
        found = early_writes(saved, task, "log")
        assert found == {f"of {task}": 1} and found.beside == {"limit": f"at {task}"}
