"""Length: what a long thread, or a long run, costs with each step; counted in work, not in time."""

import copy
import pickle
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from pydantic import PrivateAttr

from langgraph_rlm import create_rlm
from langgraph_rlm.log.entries import Log
from langgraph_rlm.log.grown import begins_with, mark_of, merge_log, new_since
from langgraph_rlm.log.places import questions_of, turn_count, turns
from langgraph_rlm.testing import cell

MOST = 1.3
"""How much more a late step may do than the tenth."""


class Steady(BaseChatModel):
    """A model that does the same at any length. It gives replies in turn, and keeps its prompts."""

    replies: Sequence[str]
    on_call: Callable[[], None] | None = None
    _prompts: list[list[BaseMessage]] = PrivateAttr(default_factory=list[list[BaseMessage]])

    @property
    def _llm_type(self) -> str:
        return "steady"

    @property
    def last(self) -> list[str]:
        """The texts of the last prompt."""
        return [message.text for message in self._prompts[-1]]

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> ChatResult:
        if self.on_call is not None:
            self.on_call()
        reply = AIMessage(self.replies[len(self._prompts) % len(self.replies)])
        self._prompts.append(messages)
        return ChatResult(generations=[ChatGeneration(message=reply)])

    async def _agenerate(self, messages: Any, *args: Any, **options: Any) -> ChatResult:
        return self._generate(messages)


class Work:
    """Counts calls that this package and LangGraph make, of whatever, in all threads."""

    def __init__(self) -> None:
        self.calls = 0

    def count(self, frame: FrameType, event: str, _: Any) -> None:
        if event in ("call", "c_call"):
            path = frame.f_code.co_filename
            self.calls += "langgraph_rlm" in path or "/langgraph/" in path


@contextmanager
def counted() -> Generator[Work]:
    work = Work()
    threading.setprofile(work.count)
    sys.setprofile(work.count)
    try:
        yield work
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def about(numbers: Sequence[int], at: int) -> int:
    """The least of a few neighbours: whatever happens now and then is left out."""
    return min(numbers[at - 2 : at + 3])


THREAD: RunnableConfig = {"configurable": {"thread_id": "long"}}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_late_question_does_what_the_tenth_did(kind: str, tmp_path: Path) -> None:
    """The log is not read, counted, rendered and gone through from its beginning each time."""
    path = str(tmp_path / "runs.db") if kind == "sqlite" else ":memory:"
    async with AsyncSqliteSaver.from_conn_string(path) as sqlite:
        saver = sqlite if kind == "sqlite" else InMemorySaver()
        model = Steady(replies=[cell("n = 1\nprint(n)"), cell("FINAL(n)")])
        rlm = create_rlm(model, checkpointer=saver, blob_store=tmp_path / "blobs")
        done: list[int] = []
        with counted() as work:
            for number in range(50):
                before = work.calls
                await rlm.ainvoke({"query": f"Question {number}?"}, THREAD)
                done.append(work.calls - before)
    assert about(done, 46) <= MOST * about(done, 10)


async def test_a_late_turn_does_what_the_tenth_did(tmp_path: Path) -> None:
    """So does a turn of one long run."""
    at: list[int] = []
    with counted() as work:
        model = Steady(replies=[cell("n = 1\nprint(n)")], on_call=lambda: at.append(work.calls))
        rlm = create_rlm(
            model,
            checkpointer=InMemorySaver(),
            blob_store=tmp_path,
            limits={"max_iterations": 80},
        )
        await rlm.ainvoke({"query": "Work."}, THREAD)
    done = [after - before for before, after in pairwise(at)]
    assert about(done, 76) <= MOST * about(done, 10)


class Reads(InMemorySaver):
    """Counts the checkpoints that are read, and the writes of their histories."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        self.reads.append("checkpoint")
        return super().get_tuple(config)

    def get_delta_channel_history(self, **options: Any) -> Any:
        found = super().get_delta_channel_history(**options)
        self.reads += ["write" for history in found.values() for _ in history["writes"]]
        return found


async def test_a_follow_up_reads_what_is_new_of_its_thread(tmp_path: Path) -> None:
    """A saver is asked for the same at the thirtieth question as at the fifth."""
    saver = Reads()
    rlm = create_rlm(Steady(replies=[cell("FINAL(1)")]), checkpointer=saver, blob_store=tmp_path)
    read: list[int] = []
    for number in range(30):
        before = len(saver.reads)
        await rlm.ainvoke({"query": f"Question {number}?"}, THREAD)
        read.append(len(saver.reads) - before)
    assert read[29] == read[5] < 12


class Thread:
    """A thread, and two graphs of it: one that remembers, and a new one each time."""

    def __init__(self, folder: Path) -> None:
        self.saver = InMemorySaver()
        self.model = Steady(replies=[cell("n = 1\nprint(n)"), cell("print(n + 1)\nFINAL(n)")])
        self.folder = folder
        self.warm = self.graph(self.model)

    def graph(self, model: Steady) -> Any:
        return create_rlm(model, checkpointer=self.saver, blob_store=self.folder)

    async def ask(self, question: str, config: RunnableConfig = THREAD) -> list[str]:
        """Ask on the graph that remembers, and give what its model was sent last."""
        await self.warm.ainvoke({"query": question}, config)
        return self.model.last

    async def ask_cold(self, question: str, config: RunnableConfig) -> list[str]:
        model = Steady(replies=self.model.replies)
        await self.graph(model).ainvoke({"query": question}, config)
        return model.last

    async def at(self, question: int) -> RunnableConfig:
        """The end of a question, by its number."""
        states = [state async for state in self.warm.aget_state_history(THREAD)]
        ends = [state for state in reversed(states) if state.values.get("stop_reason")]
        return [state for state in ends if not state.next][question].config


async def test_time_travel_sends_what_a_new_process_would(tmp_path: Path) -> None:
    """What is remembered of the later questions is not shown in a branch that has none."""
    thread = Thread(tmp_path)
    for number in range(4):
        await thread.ask(f"Question {number}?")
    there = await thread.at(1)
    branch = await thread.ask("Another question?", there)
    assert branch == await thread.ask_cold("Another question?", there)
    assert "Question 1?" in str(branch)
    assert "Question 2?" not in str(branch)


async def test_an_edited_log_is_rendered_as_it_now_is(tmp_path: Path) -> None:
    """So is one of which somebody has changed an early entry."""
    thread = Thread(tmp_path)
    for number in range(3):
        await thread.ask(f"Question {number}?")
    log: Log = (await thread.warm.aget_state(THREAD)).values["log"]
    edited: Any = {**log["run.0"], "question": {"text": "Edited?"}}
    there = await thread.warm.aupdate_state(THREAD, {"log": {"run.0": edited}}, as_node="finalize")
    sent = await thread.ask("And now?", there)
    assert sent == await thread.ask_cold("And now?", there)
    assert "Edited?" in str(sent)
    assert "Question 0?" not in str(sent)


async def test_two_graphs_may_take_turns_on_a_thread(tmp_path: Path) -> None:
    """What another process has asked is read, and shown."""
    thread = Thread(tmp_path)
    await thread.ask("Question 0?")
    await thread.ask_cold("Question 1?", THREAD)
    assert "Question 1?" in str(await thread.ask("Question 2?"))


# Grown logs


def turn(text: str) -> Any:
    return {"kind": "turn", "reply": {"text": text}, "limit": None}


def question(number: int) -> Any:
    return {"kind": "run", "question": {"text": "?"}, "contexts": [], "turn": number}


def test_a_log_knows_what_it_has_grown_from() -> None:
    """Versions begin with those that they have grown from, also when they are read again."""
    first = merge_log(None, [{"run.0": question(0)}, {"0": turn("a")}])
    second = merge_log(first, [{"1": turn("b")}])
    again = merge_log(first, [{"1": turn("b")}])
    mark = mark_of(first)
    assert mark is not None
    assert begins_with(second, mark)
    assert begins_with(again, mark_of(second))
    assert [place for place, _ in new_since(second, mark)] == ["1"]
    assert (turn_count(first), turn_count(second), len(questions_of(second))) == (1, 2, 1)


@pytest.mark.parametrize("other", [{"1": turn("c")}, {"0": turn("c"), "1": turn("b")}])
def test_a_log_that_has_grown_otherwise_is_another_one(other: Log) -> None:
    """A branch, and an entry that was replaced."""
    first = merge_log(None, [{"0": turn("a")}])
    second = merge_log(first, [{"1": turn("b")}])
    branch = merge_log(first, [other])
    assert not begins_with(branch, mark_of(second))
    assert [entry["reply"] for entry in turns(branch)] == [
        branch[place]["reply"]  # type: ignore[typeddict-item]
        for place in ("0", "1")
    ]
    assert [entry["reply"] for entry in turns(second)] == [{"text": "a"}, {"text": "b"}]


def test_a_log_that_somebody_changes_is_counted_anew() -> None:
    """It is a dict to all others."""
    log = merge_log(None, [{"0": turn("a")}])
    log["1"] = turn("b")
    assert turn_count(log) == 2
    assert mark_of(log) is None


def test_a_log_is_stored_as_a_plain_dict() -> None:
    """Nobody needs this package to read a checkpoint."""
    log = merge_log(None, [{"0": turn("a")}])
    strict = JsonPlusSerializer(allowed_msgpack_modules=None)
    stored = [strict.loads_typed(strict.dumps_typed(log)), pickle.loads(pickle.dumps(log))]
    for value in [*stored, copy.deepcopy(log)]:
        assert type(value) is dict
        assert value == log
    assert turn_count(copy.copy(log)) == 1
