"""Retries: a run whose process was lost is given again, in every way and cut off at every place. What was paid is neither asked nor paid again, and the budget goes on."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from langgraph_rlm import BlobError, ChatRLM, Limits, SettingsError, create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

PRICES = {"scripted": {"input": 1_000_000, "output": 0}}
"""One USD a token of input."""
STORY = (
    "a = llm_query_batched([f'item {n}' for n in range(4)])",
    "b = rlm_query('child')",
    "c = llm_query('one more')\nFINAL([len(a), b, c])",
)
"""The root's turns: a batch, a child with a child of its own, a call in a last turn."""
CHILD = "x = llm_query('of the child')\nFINAL(rlm_query('grandchild') + x)"
GRANDCHILD = "y = llm_query('of the grandchild')\nFINAL(y)"
ASKED: Any = {"messages": [("user", "q")]}


class Lost(Exception):
    """The process is gone."""


class Saver(InMemorySaver):
    """A database that a lost process can write to no more."""

    is_lost = False

    async def aput(self, *args: Any, **kwargs: Any) -> Any:
        self._check()
        return await super().aput(*args, **kwargs)

    async def aput_writes(self, *args: Any, **kwargs: Any) -> Any:
        self._check()
        return await super().aput_writes(*args, **kwargs)

    def _check(self) -> None:
        if self.is_lost:
            raise Lost


class World:
    """What outlives a process: the database, and what providers have been paid for."""

    seconds = 0.0
    """How long a call takes."""
    is_killed = False
    """Whether it is lost by a signal."""

    def __init__(self, lost_at: int | None = None) -> None:
        self.saver: Any = Saver()
        self.paid: list[str] = []
        """The last line of each prompt that was answered."""
        self.lost_at = lost_at
        """The call at which the process is lost, before it is answered."""

    def model(self, answer: Callable[[list[Any]], str]) -> ScriptedModel:
        """A model of this world."""
        world = self

        class Model(ScriptedModel):
            def _scripted(self, messages: list[Any]) -> Any:
                if len(world.paid) == world.lost_at:
                    if world.is_killed:
                        os.kill(os.getpid(), signal.SIGKILL)
                    world.lost_at, world.saver.is_lost = None, True
                if getattr(world.saver, "is_lost", False):
                    raise Lost
                world.paid.append(last_line(messages[-1]))
                return answer(messages)

        return Model(replies=["none"], seconds=self.seconds)

    def again(self) -> None:
        """Another process takes over."""
        self.saver.is_lost = False


def asked(messages: list[Any]) -> int:
    """How many turns a conversation has about its last question."""
    questions = [n for n, message in enumerate(messages) if last_line(message) == "q"]
    return sum(message.type == "ai" for message in messages[questions[-1] :])


def last_line(message: Any) -> str:
    return message.text.strip().rpartition("\n")[2]


def root_of(story: tuple[str, ...]) -> Callable[[list[Any]], str]:
    """A root model that writes these cells."""
    return lambda messages: cell(story[min(asked(messages), len(story) - 1)])


def sub(messages: list[Any]) -> str:
    """Leaves, and the code of children."""
    text = " ".join(message.text for message in messages)
    if messages[0].type != "system":
        return "leaf"
    return cell(GRANDCHILD if "grandchild" in text else CHILD)


def rlm(
    world: World, limits: Mapping[str, Any], story: tuple[str, ...] = STORY, **more: Any
) -> Any:
    """A new process's graph."""
    options = {"checkpointer": world.saver, "prices": PRICES, "sandbox": "monty", **more}
    model, sub_model = world.model(root_of(story)), world.model(sub)
    return create_rlm(model, sub_model=sub_model, limits=limits_of(limits), **options)


def limits_of(given: Mapping[str, Any]) -> Limits:
    return Limits(**{"max_depth": 3, "max_concurrency": 1, **given})


def config(run: str | None = "r", where: str = "configurable", **more: Any) -> Any:
    """A call's config, as a server gives it."""
    made: Any = {"configurable": {"thread_id": "t"} | more}
    if run is not None:
        made.setdefault(where, {})["run_id"] = run
    return made


def outcome(out: Mapping[str, Any]) -> Any:
    """What a run came to, without its time; of a graph around it, what was said."""
    if "usage" not in out:
        return [message.text.partition("[thread")[0] for message in out["messages"]]
    usage = {key: value for key, value in out["usage"].items() if key not in ("seconds",)}
    return out["answer"], out["stop_reason"], usage


LIMITS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "max_sub_calls": {"max_sub_calls": 6},
    "max_tokens": {"max_tokens": 7_000},
    "max_cost": {"max_cost": 7_000.0},
    "max_iterations": {"max_iterations": 2},
    "max_seconds": {"max_seconds": 600},
}

WAYS: Mapping[str, tuple[Any, Any, Any]] = {
    "metadata": (config(where="metadata"), ASKED, None),
    "configurable": (config(), ASKED, None),
    "None": (config(None), None, None),
    "None, with a new run id": (config(), None, config("another")),
}
"""The config of the first attempt, the input and the config of the second."""


async def attempt(graph: Any, given: Any, how: Any) -> Any:
    """Run, until the end or until the process is lost."""
    try:
        return await graph.ainvoke(given, how, durability="sync")
    except Lost:
        return None


def cut_off(
    limits: Mapping[str, Any],
    made: Callable[[World, Mapping[str, Any]], Any],
    first: Any,
    given: Any,
    second: Any = None,
    start: int = 0,
    step: int = 1,
) -> None:
    """Lose the process at each call in turn, or at every `step`th, continue, and compare with a run that was left alone."""

    async def go() -> None:
        whole = World()
        expected = await attempt(made(whole, limits), ASKED, first)
        for at in range(start, len(whole.paid), step):
            world = World(at)
            assert await attempt(made(world, limits), ASKED, first) is None
            world.again()
            out = await attempt(made(world, limits), given, second or first)
            assert outcome(out) == outcome(expected), at
            assert world.paid == whole.paid, at

    asyncio.run(go())


async def on_sqlite(path: Path, lost_at: int | None) -> Any:
    """One attempt on a file, ended by a signal at a call."""
    world = World(lost_at)
    async with AsyncSqliteSaver.from_conn_string(str(path)) as world.saver:
        world.is_killed, world.seconds = True, 0.05
        graph = rlm(world, LIMITS["max_sub_calls"], blob_store=path.parent / "blobs")
        out = await graph.ainvoke(ASKED, config(), durability="sync")
        return outcome(out), len(world.paid)


def test_of_a_process_that_was_killed(tmp_path: Path) -> None:
    """In the middle of a batch, in a child and in a child of that: SQLite has what was paid."""
    expected, calls = asyncio.run(on_sqlite(tmp_path / "whole.db", None))
    program = (
        "import asyncio, pathlib, sys; from tests.test_retries import on_sqlite;"
        "asyncio.run(on_sqlite(pathlib.Path(sys.argv[1]), int(sys.argv[2])))"
    )
    for at in (3, 7, 8):
        file = tmp_path / f"{at}.db"
        lost = subprocess.run([sys.executable, "-c", program, str(file), str(at)], check=False)
        assert lost.returncode == -signal.SIGKILL
        out, paid = asyncio.run(on_sqlite(file, None))
        assert out == expected
        assert paid - (calls - at) in (0, 1)  # one whose reply was on its way to the disk


class TestRoot:
    """Every limit and every way, at every call at which the process may be lost."""

    @pytest.mark.parametrize("limit", LIMITS)
    def test_with_a_limit_it_comes_to_the_same(self, limit: str) -> None:
        start, step = [*LIMITS].index(limit) % 2, 2
        cut_off(LIMITS[limit], rlm, config(), ASKED, start=start, step=step)

    @pytest.mark.parametrize("limit", sorted(LIMITS.keys() - {"none", "max_seconds"}))
    async def test_the_limits_above_are_reached(self, limit: str) -> None:
        out = await rlm(World(), LIMITS[limit]).ainvoke(ASKED, config())
        assert out["stop_reason"] == limit

    @pytest.mark.parametrize("way", WAYS)
    def test_in_whatever_way_it_comes_to_the_same(self, way: str) -> None:
        first, given, second = WAYS[way]
        step = 1 if way == "configurable" else 3
        cut_off(LIMITS["max_sub_calls"], rlm, first, given, second, step=step)


# Where the RLM stands


def as_node(world: World, limits: Mapping[str, Any]) -> Any:
    """An RLM as a node of another graph."""
    return around(world, rlm(world, limits, checkpointer=None))


def as_chat_model(world: World, limits: Mapping[str, Any]) -> Any:
    """A `ChatRLM` in a node."""
    model, sub_model = world.model(root_of(STORY)), world.model(sub)
    options: Any = {"prices": PRICES, "sandbox": "monty", "limits": limits_of(limits)}
    chat = ChatRLM(model=model, sub_model=sub_model, **options)

    async def say(state: MessagesState) -> Any:
        return {"messages": [await chat.ainvoke(state["messages"])]}

    return around(world, say)


def as_tool(world: World, limits: Mapping[str, Any]) -> Any:
    """An RLM as a tool of an agent."""
    tool = rlm(world, limits, checkpointer=None).as_tool("research", "Asks.")
    call = {"name": "research", "args": {"question": "q"}, "id": "c"}
    agent = ScriptedModel(replies=[AIMessage("", tool_calls=[call]), "done"])
    return create_agent(agent, [tool], checkpointer=world.saver)


def in_a_tool(world: World, limits: Mapping[str, Any]) -> Any:
    """An RLM that a tool of another one asks."""
    inner = rlm(world, limits, checkpointer=None)

    async def look(text: str) -> str:
        """Look it up."""
        return (await inner.ainvoke({"query": text}))["answer"]

    return rlm(world, {}, ("a = look('q')\nFINAL(a + llm_query('last'))",), tools=[look])


def as_second(world: World, limits: Mapping[str, Any]) -> Any:
    """The second RLM that a node asks."""
    options: Any = {"checkpointer": None}
    graphs = [rlm(world, {}, ("FINAL('first')",), **options), rlm(world, limits, **options)]

    async def say(state: MessagesState) -> Any:
        return {"messages": [(await each.ainvoke(ASKED))["messages"][-1] for each in graphs]}

    return around(world, say)


def around(world: World, node: Any) -> Any:
    """A graph of one node."""
    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile(checkpointer=world.saver)


STANDS = [as_node, as_chat_model, as_tool, in_a_tool, as_second]


@pytest.mark.parametrize("stand", STANDS)
def test_wherever_it_stands(stand: Any) -> None:
    start = STANDS.index(stand) % 2
    cut_off({"max_sub_calls": 6}, stand, config(), ASKED, start=start, step=2)


# What is a retry, and what is not


async def test_a_run_that_has_ended_answers_from_its_thread() -> None:
    world = World()
    first = await rlm(world, {}).ainvoke(ASKED, config())
    paid = [*world.paid]
    assert await rlm(world, {}).ainvoke(ASKED, config()) == first
    assert world.paid == paid


async def test_another_id_is_another_question() -> None:
    """Also where the run before it did not end: it is given up, as ever."""
    world = World(3)
    await attempt(rlm(world, {}), ASKED, config())
    world.again()
    out = await rlm(world, {}).ainvoke(ASKED, config("another"))
    assert [place for place in world_log(world) if place.startswith("run.")] == ["run.0", "run.1"]
    assert (out["stop_reason"], out["usage"]["model_calls"]) == ("answered", 12)


def world_log(world: World) -> Mapping[str, Any]:
    return rlm(world, {}).get_state(config(None)).values["log"]


@pytest.mark.parametrize("where", ["metadata", "configurable"])
async def test_a_later_question_of_a_thread_is_retried_alone(where: str) -> None:
    """What the earlier ones have spent is not in its budget, and they are not asked again."""
    world = World()
    graph = rlm(world, LIMITS["max_sub_calls"])
    expected = await graph.ainvoke(ASKED, config("first", where))
    paid, world.lost_at = [*world.paid], len(world.paid) + 7
    assert await attempt(graph, ASKED, config("second", where)) is None
    world.again()
    out = await rlm(world, LIMITS["max_sub_calls"]).ainvoke(ASKED, config("second", where))
    assert out["usage"]["sub_calls"] == expected["usage"]["sub_calls"]
    assert len(world.paid) == 2 * len(paid)


async def test_the_settings_of_a_run_are_given_again() -> None:
    """They go on as they began; others are refused, and nothing is lost."""
    limits: Any = {"limits": {"max_sub_calls": 6}}
    world = World(7)
    with pytest.raises(Lost):
        await rlm(world, {}).ainvoke(ASKED, config(), context=limits)
    world.again()
    with pytest.raises(SettingsError, match="this run began with"):
        await rlm(world, {}).ainvoke(ASKED, config(), context={"limits": {"max_sub_calls": 8}})
    out = await rlm(world, {}).ainvoke(ASKED, config(), context=limits)
    assert (out["stop_reason"], out["usage"]["sub_calls"]) == ("max_sub_calls", 6)


async def test_settings_hold_where_the_first_step_was_lost() -> None:
    """The input is saved, and no step yet: LangGraph resumes that run too."""

    class First(Saver):
        saves = 0

        async def aput(self, *args: Any, **kwargs: Any) -> Any:
            self.saves += 1
            self.is_lost = self.saves == 2
            return await super().aput(*args, **kwargs)

    world, limits = World(), {"limits": {"max_sub_calls": 6}}
    world.saver = First()
    assert await attempt(rlm(world, {}), ASKED, config()) is None
    world.again()
    with pytest.raises(SettingsError, match="this run began without it"):
        await rlm(world, {}).ainvoke(ASKED, config(), context=limits)
    assert (await rlm(world, {}).ainvoke(ASKED, config()))["stop_reason"] == "answered"


async def test_a_run_whose_attempt_ended_in_an_error_is_retried() -> None:
    """LangGraph keeps the error as a pending write; the calls beside it are in the budget."""
    world = World()

    async def broken(text: str) -> str:
        """Look it up."""
        raise BlobError("a value is missing")

    async def look(text: str) -> str:
        """Look it up."""
        return text

    story = ("a = llm_query_batched(['a', 'b'])\nlook('q')\nFINAL(llm_query('last'))",)
    with pytest.raises(BlobError):
        await rlm(world, {}, story, tools=[named(broken, "look")]).ainvoke(ASKED, config())
    out = await rlm(world, {"max_sub_calls": 2}, story, tools=[look]).ainvoke(ASKED, config())
    assert out["stop_reason"] == "max_sub_calls"
    assert world.paid[1:3] == ["a", "b"] and "last" not in world.paid


def named(function: Any, name: str) -> Any:
    function.__name__ = name
    return function


async def test_time_is_counted_on() -> None:
    """Three calls before the process was lost, each with a wait; what was saved has two at least."""

    async def wait(text: str) -> str:
        """Wait."""
        await asyncio.sleep(0.1)
        return text

    story = ("for n in range(3):\n    wait(llm_query(str(n)))\nFINAL(llm_query('last'))",)
    world = World(4)
    assert await attempt(rlm(world, {}, story, tools=[wait]), ASKED, config()) is None
    world.again()
    out = await rlm(world, {"max_seconds": 60}, story, tools=[wait]).ainvoke(ASKED, config())
    assert out["usage"]["seconds"] >= 0.2


# Time travel


async def test_a_fork_that_is_retried_goes_on_and_forks_no_more() -> None:
    """A run from an earlier checkpoint that loses its process continues from what it has saved."""
    world = World()
    graph = rlm(world, {})
    await graph.ainvoke(ASKED, config())
    batch = [state async for state in graph.aget_state_history(config(None))][-5]
    assert batch.next == ("sub_call",)
    earlier = config("fork", checkpoint_id=batch.config["configurable"]["checkpoint_id"])
    paid, world.lost_at = [*world.paid], len(world.paid) + 7
    assert await attempt(graph, None, earlier) is None
    world.again()
    out = await rlm(world, {}).ainvoke(None, earlier)
    assert (out["stop_reason"], out["usage"]["sub_calls"]) == ("answered", 9)
    assert world.paid[len(paid) :] == paid[1:]
    newest = await rlm(world, {}).ainvoke(None, config("another fork", **earlier["configurable"]))
    assert newest["usage"]["sub_calls"] == 9


# Answers to pauses


def send(to: str) -> str:
    """Send it."""
    return f"sent to {to}"


PAUSES = ("a = send('ann')\nb = send('bob')\nFINAL(a + llm_query('last') + b)",)


def sending(world: World) -> Any:
    """A graph whose code asks for two approvals, one after the other, and then a model."""
    return rlm(world, {}, PAUSES, tools=[send], interrupt_on={"send": True})


def to_whom(out: Mapping[str, Any]) -> str:
    [pause] = out["__interrupt__"]
    return pause.value["action_requests"][0]["args"]["to"]


class Times(Saver):
    """Is lost at a write of a number."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def _check(self) -> None:
        self.left -= 1
        self.is_lost = self.is_lost or self.left == 0
        super()._check()


@pytest.mark.parametrize("by_id", [False, True])
def test_an_answer_that_is_given_again_is_none_to_the_next_pause(by_id: bool) -> None:
    """A server that has lost a worker gives the same command again: the call that was approved runs once, and the next one still waits."""

    async def go(at: int) -> int:
        world = World()
        world.saver = saver = Times(0)
        out = await sending(world).ainvoke(ASKED, config("first"))
        approve: Any = {"type": "approve"}
        given = Command(resume={out["__interrupt__"][0].id: approve} if by_id else approve)
        saver.left = at
        await attempt(sending(world), given, config("second"))
        left, saver.left = saver.left, 0
        world.again()
        for _ in range(2):
            out = await sending(world).ainvoke(given, config("second"))
            assert to_whom(out) == "bob", at
        out = await sending(world).ainvoke(Command(resume=approve), config("third"))
        assert out["answer"] == "sent to annleafsent to bob"
        again = await sending(world).ainvoke(Command(resume=approve), config("third"))
        assert (again["answer"], len(world.paid)) == (out["answer"], 2)
        return left

    async def all_writes() -> None:
        at = 1
        while await go(at) <= 0:
            at += 1
        assert at > 5

    asyncio.run(all_writes())
