"""Assumptions about other libraries: what this package takes for granted, and nobody documents.

Each test is named after one assumption and uses the library alone, without this package except for
the names in `pregel/keys.py` that it checks. When a new version of a dependency breaks something,
the test that fails says what; its docstring says what the package uses it for.
"""

import asyncio
import contextvars
import inspect
import operator
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import aiosqlite
import httpx2
import pydantic_monty as monty
import pytest
from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, SystemMessage, ToolMessage
from langchain_core.runnables import (
    Runnable,
    RunnableBinding,
    RunnableConfig,
    RunnableLambda,
    RunnableWithFallbacks,
)
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.runnables.retry import RunnableRetry
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool, Tool
from langchain_openai import ChatOpenAI
from langgraph._internal import _constants
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    CheckpointTuple,
    empty_checkpoint,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.config import get_config
from langgraph.constants import TAG_NOSTREAM
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import InjectedStore, ToolRuntime
from langgraph.pregel._task_status import CONTROL_WRITES
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, Interrupt, Send, StateSnapshot, interrupt
from pydantic import PlainValidator, ValidationError, WithJsonSchema
from typing_extensions import TypedDict

from langgraph_rlm.pregel import given_again, group_commit, keys
from langgraph_rlm.pregel.aiohttp_client import aiohttp_client

from .delta_process import SNAPSHOT_EVERY, count_to, merged
from .faults.databases import CannotStart, Postgres
from .openai_server import OpenAIServer


class State(TypedDict, total=False):
    """What the graphs of these tests hold: texts, in the order in which they were written."""

    seen: Annotated[list[str], operator.add]


def on(thread: str = "t", **more: Any) -> RunnableConfig:
    """Give the config of a thread."""
    return {"configurable": {"thread_id": thread, **more}}


def graph_of(*nodes: Callable[..., Any], **options: Any) -> Any:
    """Compile a graph that runs nodes one after another, each named as its function."""
    graph = StateGraph(State)
    before = START
    for node in nodes:
        graph.add_node(node.__name__, node)
        graph.add_edge(before, node.__name__)
        before = node.__name__
    graph.add_edge(before, END)
    return graph.compile(**options)


class Own(CompiledStateGraph[Any, Any, Any, Any]):
    """A graph of a class of our own, which keeps what it is called with."""

    def __init__(self, *, calls: list[tuple[str, Any, RunnableConfig]], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.calls = calls

    def stream(self, input: Any, config: Any = None, **options: Any) -> Iterator[Any]:
        self.calls.append(("stream", input, config))
        yield from super().stream(input, config, **options)

    async def astream(self, input: Any, config: Any = None, **options: Any) -> AsyncIterator[Any]:
        self.calls.append(("astream", input, config))
        async for part in super().astream(input, config, **options):
            yield part

    def bulk_update_state(self, config: RunnableConfig, supersteps: Any) -> RunnableConfig:
        self.calls.append(("bulk_update_state", supersteps, config))
        return super().bulk_update_state(config, supersteps)


def own(compiled: Any) -> Own:
    """Make a graph of our own class from a compiled one."""
    return Own(calls=[], **keys.compiled_attributes(compiled))


# Savers


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """Give the URL of a PostgreSQL server that runs for this file."""
    try:
        server = Postgres()
    except CannotStart as reason:
        pytest.skip(f"no PostgreSQL server: {reason}")
    with server:
        yield server.url


Opened = Callable[[], Any]


@pytest.fixture(params=["InMemorySaver", "SqliteSaver", "AsyncSqliteSaver", "AsyncPostgresSaver"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Open a saver, in an async context manager."""
    kind = request.param
    file = str(tmp_path / "db")
    url = request.getfixturevalue("postgres") if kind == "AsyncPostgresSaver" else ""

    @asynccontextmanager
    async def open_it() -> AsyncIterator[BaseCheckpointSaver[Any]]:
        if kind == "InMemorySaver":
            yield InMemorySaver()
        elif kind == "SqliteSaver":
            with SqliteSaver.from_conn_string(file) as sync_saver:
                yield sync_saver
        elif kind == "AsyncSqliteSaver":
            async with AsyncSqliteSaver.from_conn_string(file) as saver:
                yield saver
        else:
            from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

            async with AsyncPostgresSaver.from_conn_string(url) as postgres_saver:
                await postgres_saver.setup()
                yield postgres_saver

    return open_it


async def call(target: Any, method: str, *given: Any) -> Any:
    """Call an async method of a saver or graph; the sync one with `SqliteSaver`, which has none."""
    if isinstance(getattr(target, "checkpointer", target), SqliteSaver):
        return getattr(target, method)(*given)
    return await getattr(target, f"a{method}")(*given)


async def saved(saver: BaseCheckpointSaver[Any], config: RunnableConfig) -> CheckpointTuple:
    """Read a checkpoint that is there."""
    found = await call(saver, "get_tuple", config)
    assert found is not None
    return found


async def started(saver: BaseCheckpointSaver[Any], thread: str) -> RunnableConfig:
    """Put an empty checkpoint, for writes to belong to."""
    metadata = {"source": "update", "step": -1, "parents": {}, "own": "kept"}
    return await call(saver, "put", on(thread, checkpoint_ns=""), empty_checkpoint(), metadata, {})


class TestConfigKeys:
    """LangGraph's private keys of a config's `configurable`."""

    def test_they_have_the_values_that_langgraph_gives_them(self) -> None:
        """`keys.py` writes them down instead of importing a private module."""
        assert keys.CHECKPOINTER == _constants.CONFIG_KEY_CHECKPOINTER
        assert keys.SCRATCHPAD == _constants.CONFIG_KEY_SCRATCHPAD
        assert keys.RUNTIME == _constants.CONFIG_KEY_RUNTIME
        assert keys.RESUMING == _constants.CONFIG_KEY_RESUMING
        assert keys.RESUME_MAP == _constants.CONFIG_KEY_RESUME_MAP
        assert keys.DURABILITY == _constants.CONFIG_KEY_DURABILITY
        assert keys.CONTROL == CONTROL_WRITES
        assert keys.INTERRUPT == _constants.INTERRUPT
        assert (keys.WITHIN, keys.TASK) == (_constants.NS_SEP, _constants.NS_END)

    def test_a_task_is_given_its_checkpointer_its_scratchpad_and_its_runtime(self) -> None:
        """A chat model finds the run around it so, and the saver that both then use."""
        found: dict[str, Any] = {}
        saver, store = InMemorySaver(), InMemoryStore()

        async def node(state: State, config: RunnableConfig) -> State:
            found.update(config["configurable"])
            return {}

        graph = graph_of(node, checkpointer=saver, store=store)
        asyncio.run(graph.ainvoke({"seen": []}, on()))
        assert found[keys.CHECKPOINTER] is saver
        assert found[keys.SCRATCHPAD] is not None
        assert isinstance(found[keys.RUNTIME], Runtime) and found[keys.RUNTIME].store is store
        assert found["checkpoint_ns"].startswith("node:") and found["thread_id"] == "t"

    def test_graphs_of_one_task_are_told_apart_by_the_number_that_the_scratchpad_gives(
        self,
    ) -> None:
        """A tool's run is found again by its call, in whatever order the calls of a task start."""
        saver, numbers = InMemorySaver(), [7, 5]

        async def inner(state: State) -> State:
            return {"seen": ["inner"]}

        child = graph_of(inner)

        async def node(state: State, config: RunnableConfig) -> State:
            for number in numbers:
                await child.ainvoke({"seen": []}, keys.numbered(config, number))
                here = keys.numbered_namespace(config, keys.task_id(config), number)
                at: Any = {
                    "configurable": {
                        "thread_id": "t",
                        "checkpoint_ns": here,
                        keys.CHECKPOINTER: saver,
                    }
                }
                assert (await child.aget_state(at)).values == {"seen": ["inner"]}
            return {}

        asyncio.run(graph_of(node, checkpointer=saver).ainvoke({"seen": []}, on()))
        found = {each.config["configurable"]["checkpoint_ns"] for each in saver.list(on())} - {""}
        assert {namespace.rpartition("|")[2] for namespace in found} == {"7", "5"}
        assert {keys.nodes_of(namespace) for namespace in found} == {"node"}

    def test_a_call_keeps_what_stands_around_it_unless_it_says_where_it_is_kept(self) -> None:
        """deepagents calls a sub-agent with a `configurable` of one key. Ours merge as LangGraph's."""
        saver, given = InMemorySaver(), list[Any]()

        async def inner(state: State, config: RunnableConfig) -> State:
            return {
                "seen": [
                    config["configurable"]["checkpoint_ns"].partition("|")[0].partition(":")[0]
                ]
            }

        child = graph_of(inner)

        async def node(state: State) -> State:
            for own in ({"kind": "x"}, {"thread_id": "t"}, {"checkpoint_ns": "x"}):
                config: Any = {"configurable": own}
                out = await child.ainvoke({"seen": []}, config)
                given.append((out["seen"], keys.SCRATCHPAD in keys.with_around(config)))
            return {}

        asyncio.run(graph_of(node, checkpointer=saver).ainvoke({"seen": []}, on()))
        assert given[0] == (["node"], True) and not given[1][1] and not given[2][1]

    def test_a_child_graph_saves_with_its_parents_checkpointer(self) -> None:
        """Children are compiled without one. A saver of ours that stands there is used as it is."""
        saver = InMemorySaver()

        async def inner(state: State) -> State:
            return {"seen": ["inner"]}

        child = graph_of(inner)

        async def node(state: State, config: RunnableConfig) -> State:
            given = {**config["configurable"], keys.CHECKPOINTER: saver}
            await child.ainvoke({"seen": []}, {**config, "configurable": given})
            return {}

        others = InMemorySaver()
        asyncio.run(graph_of(node, checkpointer=others).ainvoke({"seen": []}, on()))
        namespaces = {each.config["configurable"]["checkpoint_ns"] for each in saver.list(on())}
        assert len(namespaces) == 1 and namespaces.pop().startswith("node:")
        assert {each.config["configurable"]["checkpoint_ns"] for each in others.list(on())} == {""}

    def test_names_with_two_underscores_stay_out_of_checkpoints_and_reach_children(self) -> None:
        """The live `Frame` of a run, which cannot be serialized, is in the config of its tree."""
        saver, frame, found = InMemorySaver(), object(), list[Any]()

        async def inner(state: State, config: RunnableConfig) -> State:
            found.append(config["configurable"]["__own_frame"])
            return {}

        async def node(state: State, config: RunnableConfig) -> State:
            await child.ainvoke({"seen": []}, config)
            return {}

        child, graph = graph_of(inner), graph_of(node, checkpointer=saver)
        asyncio.run(graph.ainvoke({"seen": []}, on(__own_frame=frame, plain="text")))
        assert found == [frame]
        metadata: Any = [each.metadata for each in saver.list(on())]
        assert all("__own_frame" not in each and each["plain"] == "text" for each in metadata)

    def test_a_run_s_metadata_is_saved_with_each_of_its_checkpoints(self) -> None:
        """The record of a chat model's run is there, and survives the process."""
        saver = InMemorySaver()

        async def node(state: State) -> State:
            return {}

        config: RunnableConfig = {**on(), "metadata": {"own_record": '{"a": 1}'}}
        asyncio.run(graph_of(node, checkpointer=saver).ainvoke({"seen": []}, config))
        metadata: Any = [each.metadata for each in saver.list(on())]
        assert [each["own_record"] for each in metadata] == ['{"a": 1}'] * len(metadata)


class TestStores:
    """Which LangGraph store a graph within a graph has."""

    @pytest.mark.parametrize("around", [InMemoryStore(), None], ids=["a store", "none"])
    def test_a_child_has_the_store_of_the_runtime_in_its_config_whatever_its_own(
        self, around: BaseStore | None
    ) -> None:
        """A graph that was given a store puts it into that runtime: `keys.with_own_store`."""
        found: list[Any] = []

        async def inner(state: State, runtime: Runtime[None]) -> State:
            found.append(runtime.store)
            return {}

        mine = InMemoryStore()
        child = graph_of(inner, store=mine)

        async def node(state: State, config: RunnableConfig) -> State:
            await child.ainvoke({"seen": []}, config)
            given = dict(config["configurable"])
            given[keys.RUNTIME] = keys.with_own_store(given[keys.RUNTIME], mine)
            await child.ainvoke({"seen": []}, {**config, "configurable": given})
            return {}

        asyncio.run(graph_of(node, store=around).ainvoke({"seen": []}))
        assert found[0] is around
        assert found[1] is mine

    def test_override_changes_a_runtime_s_store_and_nothing_else(self) -> None:
        """The tools of a chat model's run keep the stream and the context around them."""
        runtime = Runtime(context="context", store=InMemoryStore())
        other = runtime.override(store=(store := InMemoryStore()))
        assert other.store is store and runtime.store is not store
        assert other.context == "context" and other.stream_writer is runtime.stream_writer


class TestInterrupts:
    """How LangGraph pauses and resumes."""

    def test_a_resumed_node_starts_over_with_a_new_scratchpad_and_old_answers_in_order(
        self,
    ) -> None:
        """A chat model counts the answers that each execution of its task has used up."""
        scratchpads: list[Any] = []
        answers: list[Any] = []

        async def node(state: State, config: RunnableConfig) -> State:
            scratchpads.append(config["configurable"][keys.SCRATCHPAD])
            for question in ("first", "second"):
                answers.append(interrupt(question))
            return {}

        graph = graph_of(node, checkpointer=InMemorySaver())

        async def go() -> None:
            await graph.ainvoke({"seen": []}, on())
            await graph.ainvoke(Command(resume="one"), on())
            await graph.ainvoke(Command(resume="two"), on())

        asyncio.run(go())
        assert answers == ["one", "one", "two"]
        assert len({id(each) for each in scratchpads}) == 3

    def test_a_task_keeps_its_namespace_when_it_runs_again(self) -> None:
        """A chat model names its run by the namespace, and so finds it again after a pause."""
        namespaces: list[str] = []

        async def node(state: State, config: RunnableConfig) -> State:
            namespaces.append(config["configurable"]["checkpoint_ns"])
            interrupt("go on?")
            return {}

        graph = graph_of(node, checkpointer=InMemorySaver())

        async def go() -> None:
            await graph.ainvoke({"seen": []}, on())
            await graph.ainvoke(Command(resume="yes"), on())

        asyncio.run(go())
        assert len(namespaces) == 2 and namespaces[0] == namespaces[1]

    def test_pauses_are_pending_writes_of_the_interrupt_channel(self, opened: Opened) -> None:
        """A chat model tells so which calls a run has made, whose answers it then takes."""

        def node(state: State) -> State:
            interrupt({"asks": "go on?"})
            return {}

        async def go() -> None:
            async with opened() as saver:
                graph = graph_of(node, checkpointer=saver)
                await call(graph, "invoke", {"seen": []}, on())
                before = await saved(saver, on())
                await call(graph, "invoke", Command(resume="yes"), on())
                after = await call(saver, "get_tuple", before.config)
            for found in (before, after):  # also of a checkpoint that the run has left behind
                [pause] = keys.pauses_among(found)
                assert isinstance(pause, Interrupt) and pause.value == {"asks": "go on?"}

        asyncio.run(go())

    def test_what_a_paused_run_gives_has_the_interrupt_key(self) -> None:
        """The command looks for it in the last part of a stream of "values"."""

        async def node(state: State) -> State:
            interrupt("go on?")
            return {}

        graph = graph_of(node, checkpointer=InMemorySaver())

        async def go() -> None:
            options: Any = {"stream_mode": ["custom", "values"]}
            parts = [part async for part in graph.astream({"seen": []}, on(), **options)]
            assert parts[-1][0] == "values" and parts[-1][1][keys.INTERRUPT][0].value == "go on?"
            assert (await graph.ainvoke(None, on()))[keys.INTERRUPT][0].value == "go on?"

        asyncio.run(go())

    def test_an_answer_that_its_schema_refuses_is_not_stored_and_the_pause_stays(self) -> None:
        """Approvals are checked by a validator within the type that `interrupt` is given."""

        def checked(answer: Any) -> Any:
            if answer != "yes":
                raise ValueError(f"say yes, not {answer}")
            return "YES"

        schema = {"const": "yes"}
        form: Any = Annotated[Any, PlainValidator(checked), WithJsonSchema(schema)]

        async def node(state: State) -> State:
            return {"seen": [interrupt("go on?", response_schema=form)]}

        graph = graph_of(node, checkpointer=InMemorySaver())

        async def go() -> None:
            await graph.ainvoke({"seen": []}, on())
            with pytest.raises(ValidationError) as refused:
                await graph.ainvoke(Command(resume="no"), on())
            assert refused.value.errors()[0]["msg"] == "Value error, say yes, not no"
            state = await graph.aget_state(on())
            assert [pause.response_schema for pause in state.interrupts] == [schema]
            assert (await graph.ainvoke(Command(resume="yes"), on()))["seen"] == ["YES"]

        asyncio.run(go())

    def test_answers_by_id_are_a_dict_whose_keys_are_all_32_hexadecimal_digits(self) -> None:
        """`resume_map` tells by it whether a dict is one answer, or answers by id of the pause."""

        async def node(state: State) -> State:
            return {"seen": [str(interrupt("?"))]}

        async def resumed(make: Callable[[str], Any]) -> Any:
            graph = graph_of(node, checkpointer=InMemorySaver())
            out = await graph.ainvoke({"seen": []}, on())
            id = out[keys.INTERRUPT][0].id
            assert len(id) == 32 and not set(id) - set("0123456789abcdef")
            return (await graph.ainvoke(Command(resume=make(id)), on()))["seen"]

        assert asyncio.run(resumed(lambda id: {id: "by id"})) == ["by id"]
        plain = {"type": "approve"}
        assert asyncio.run(resumed(lambda id: plain)) == [str(plain)]

    def test_a_pause_is_an_exception(self) -> None:
        """So wrappers that catch `Exception` catch it, and `GraphBubbleUp` is what lets it pass."""
        assert issubclass(GraphInterrupt, GraphBubbleUp) and issubclass(GraphBubbleUp, Exception)


class TestResuming:
    """What a graph is given that another one resumes."""

    def test_a_resumed_child_gets_its_first_input_and_resuming_and_ignores_the_input(self) -> None:
        """An RLM within a graph tells so that it continues: what it has spent is in checkpoints."""
        runs: list[str] = []

        async def first(state: State) -> State:
            runs.append("first")
            return {"seen": ["first"]}

        async def second(state: State) -> State:
            return {"seen": [interrupt("go on?")]}

        child = own(graph_of(first, second))

        async def node(state: State, config: RunnableConfig) -> State:
            return {"seen": (await child.ainvoke({"seen": ["input"]}, config))["seen"]}

        graph = graph_of(node, checkpointer=InMemorySaver())

        async def go() -> Any:
            await graph.ainvoke({"seen": []}, on())
            return await graph.ainvoke(Command(resume="yes"), on())

        assert asyncio.run(go())["seen"] == ["input", "first", "yes"]
        assert runs == ["first"]
        assert [given for _, given, _ in child.calls] == [{"seen": ["input"]}] * 2
        said = [config["configurable"].get(keys.RESUMING) for _, _, config in child.calls]
        assert not said[0] and said[1] is True

    def test_a_child_continues_where_an_error_cut_it_off(self) -> None:
        """A run whose process died is continued with None as its input, children included."""
        runs: list[str] = []

        async def first(state: State) -> State:
            runs.append("first")
            return {"seen": ["first"]}

        async def second(state: State) -> State:
            runs.append("second")
            if runs.count("second") == 1:
                raise OSError("gone")
            return {"seen": ["second"]}

        child = own(graph_of(first, second))

        async def node(state: State, config: RunnableConfig) -> State:
            return {"seen": (await child.ainvoke({"seen": []}, config))["seen"]}

        graph = graph_of(node, checkpointer=InMemorySaver())

        async def go() -> Any:
            with pytest.raises(OSError, match="gone"):
                await graph.ainvoke({"seen": []}, on())
            return await graph.ainvoke(None, on())

        assert asyncio.run(go())["seen"] == ["first", "second"]
        assert runs == ["first", "second", "second"]
        assert child.calls[1][2]["configurable"][keys.RESUMING] is True

    def test_an_error_in_one_send_keeps_what_the_others_gave(self) -> None:
        """A batch is not paid for again because one of its calls failed, or the process died."""
        ran: list[str] = []

        async def work(item: dict[str, str]) -> State:
            ran.append(item["name"])
            if item["name"] == "b" and ran.count("b") == 1:
                await asyncio.sleep(0.05)
                raise OSError("gone")
            return {"seen": [item["name"]]}

        graph = sends(work, ["a", "b", "c"], InMemorySaver())

        async def go() -> tuple[StateSnapshot, Any]:
            with pytest.raises(OSError, match="gone"):
                await graph.ainvoke({"seen": []}, on())
            return await graph.aget_state(on()), await graph.ainvoke(None, on())

        state, out = asyncio.run(go())
        assert [task.result for task in state.tasks] == [{"seen": ["a"]}, None, {"seen": ["c"]}]
        assert out["seen"] == ["a", "b", "c"]
        assert sorted(ran) == ["a", "b", "b", "c"]

    def test_durability_sync_saves_a_step_before_the_next_one_starts(self) -> None:
        """The start of a tool that must not run twice is on disk before the tool runs."""
        events: list[Any] = []

        class Slow(InMemorySaver):
            async def aput(self, config: Any, checkpoint: Any, metadata: Any, new: Any) -> Any:
                await asyncio.sleep(0.03)
                events.append(metadata["step"])
                return await super().aput(config, checkpoint, metadata, new)

        async def first(state: State) -> State:
            events.append("first")
            return {}

        async def second(state: State) -> State:
            events.append("second")
            return {}

        graph = graph_of(first, second, checkpointer=Slow())
        asyncio.run(graph.ainvoke({"seen": []}, on(), durability="sync"))
        assert events == [-1, 0, "first", 1, "second", 2]

    def test_next_leaves_out_what_is_done_and_tasks_do_not(self) -> None:
        """A chat model tells by `tasks` that a run was cut off between results and checkpoint."""

        class Dies(InMemorySaver):
            dies = True

            async def aput(self, config: Any, checkpoint: Any, metadata: Any, new: Any) -> Any:
                if self.dies and metadata["step"] == 1:
                    raise OSError("gone")
                return await super().aput(config, checkpoint, metadata, new)

        async def node(state: State) -> State:
            return {"seen": ["done"]}

        saver = Dies()
        graph = graph_of(node, checkpointer=saver)

        async def go() -> None:
            with pytest.raises(OSError, match="gone"):
                await graph.ainvoke({"seen": []}, on(), durability="sync")
            state = await graph.aget_state(on())
            assert state.next == () and [task.result for task in state.tasks] == [
                {"seen": ["done"]}
            ]
            saver.dies = False
            assert (await graph.ainvoke(None, on()))["seen"] == ["done"]
            assert (await graph.aget_state(on())).tasks == ()

        asyncio.run(go())


def sends(work: Callable[..., Any], names: Sequence[str], saver: Any) -> Any:
    """Compile a graph that runs a node once for each name, at the same time."""
    graph = StateGraph(State)
    graph.add_node("work", work)
    graph.add_conditional_edges(
        START, lambda _: [Send("work", {"name": name}) for name in names], ["work"]
    )
    graph.add_edge("work", END)
    return graph.compile(checkpointer=saver)


class TestPendingWrites:
    """The writes of tasks that a checkpoint keeps, and how savers store them."""

    def test_writes_of_a_task_that_langgraph_does_not_know_are_given_back(
        self, opened: Opened
    ) -> None:
        """A chat model notes so what it is about to show to a human, between two checkpoints."""

        async def go() -> None:
            async with opened() as saver:
                config = await started(saver, "foreign")
                await call(saver, "put_writes", config, [("own_note", "text")], "own-task-1")
                await call(saver, "put_writes", config, [("own_note", "more")], "own-task-2")
                found = await saved(saver, on("foreign"))
                assert sorted(found.pending_writes or []) == [
                    ("own-task-1", "own_note", "text"),
                    ("own-task-2", "own_note", "more"),
                ]

        asyncio.run(go())

    def test_a_graph_takes_no_notice_of_foreign_writes(self, opened: Opened) -> None:
        """The run that such a note was made on continues as if there were none."""

        def node(state: State) -> State:
            return {"seen": [interrupt("go on?")]}

        async def go() -> None:
            async with opened() as saver:
                graph, config = graph_of(node, checkpointer=saver), on("noted")
                await call(graph, "invoke", {"seen": []}, config)
                at = (await call(graph, "get_state", config)).config
                await call(saver, "put_writes", at, [("own_note", "text")], "own-task")
                state = await call(graph, "get_state", config)
                assert len(state.tasks) == 1 and state.interrupts[0].value == "go on?"
                out = await call(graph, "invoke", Command(resume="yes"), config)
                assert out["seen"] == ["yes"]

        asyncio.run(go())

    def test_of_two_foreign_writes_of_one_task_the_first_is_kept(self, opened: Opened) -> None:
        """So that of two answers to one pause one counts, whichever processes gave them."""

        async def go() -> None:
            async with opened() as saver:
                config = await started(saver, "twice")
                await call(saver, "put_writes", config, [("own_note", "first")], "own-task")
                await call(saver, "put_writes", config, [("own_note", "second")], "own-task")
                found = await saved(saver, on("twice"))
                assert found.pending_writes == [("own-task", "own_note", "first")]

        asyncio.run(go())

    def test_the_id_of_a_task_s_first_pause_follows_from_its_namespace(self) -> None:
        """The log finds so who has answered it."""
        seen: list[str] = []

        def node(state: State, config: RunnableConfig) -> State:
            seen.append(config["configurable"]["checkpoint_ns"])
            return {"seen": [interrupt("go on?")]}

        graph = graph_of(node, checkpointer=InMemorySaver())
        graph.invoke({"seen": []}, on("named"))
        (pause,) = graph.get_state(on("named")).interrupts
        assert keys.first_pause(seen[0]) == pause.id

    def test_a_graph_within_gets_answers_by_id_from_its_config(self) -> None:
        """A graph with an RLM as a node takes up kept answers so, when it continues with None."""

        def node(state: State) -> State:
            return {"seen": [interrupt("go on?")]}

        class Answers(Own):
            async def astream(self, input: Any, config: Any = None, **options: Any) -> Any:
                given = {**config["configurable"], keys.RESUME_MAP: answers}
                config = {**config, "configurable": given}
                async for part in super().astream(input, config, **options):
                    yield part

        answers: dict[str, str] = {}
        inner: Any = Answers(calls=[], **keys.compiled_attributes(graph_of(node)))
        inner.__name__ = "within"
        outer = graph_of(inner, checkpointer=InMemorySaver())

        async def go() -> None:
            await outer.ainvoke({"seen": []}, on("within"))
            (pause,) = (await outer.aget_state(on("within"))).interrupts
            answers[pause.id] = "yes"
            out = await outer.ainvoke(None, on("within"))
            assert out["seen"][-1] == "yes"

        asyncio.run(go())

    def test_pauses_are_open_until_their_task_has_written_something(self) -> None:
        def node(state: State) -> State:
            return {"seen": [interrupt("one?"), interrupt("two?")]}

        saver = InMemorySaver()
        graph = graph_of(node, checkpointer=saver)
        graph.invoke({"seen": []}, on("open"))
        for answer in ("a", "b"):
            (pause,) = graph.get_state(on("open")).interrupts
            found = saver.get_tuple(on("open"))
            assert found is not None and [*keys.open_pauses(found)] == [pause.id]
            graph.invoke(Command(resume={pause.id: answer}), on("open"))
        found = saver.get_tuple(on("open"))
        assert found is not None and not keys.open_pauses(found)

    def test_a_checkpoint_that_no_graph_made_is_kept_with_its_metadata(
        self, opened: Opened
    ) -> None:
        """A chat model keeps so the reply to a call that needed no run."""

        async def go() -> None:
            async with opened() as saver:
                await started(saver, "reply")
                metadata: Any = (await saved(saver, on("reply", checkpoint_ns=""))).metadata
                assert metadata["own"] == "kept"

        asyncio.run(go())

    @pytest.mark.parametrize(
        ("table", "more"),
        [(group_commit.WRITES, ["task_id", "idx"]), (group_commit.CHECKPOINTS, [])],
    )
    def test_sqlite_has_tables_of_these_shapes(
        self, tmp_path: Path, table: group_commit.Table, more: list[str]
    ) -> None:
        """The group commit writes its rows itself: it knows the columns and the primary keys."""
        with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
            saver.setup()
            shape = saver.conn.execute(f"PRAGMA table_info({table.name})").fetchall()
        by_key = sorted((place, name) for _, name, _, _, _, place in shape if place)
        assert {row[1] for row in shape} == set(table.columns)
        assert [name for _, name in by_key] == [
            "thread_id",
            "checkpoint_ns",
            "checkpoint_id",
            *more,
        ]

    @pytest.mark.parametrize("kind", ["aio.AsyncPostgresSaver", "PostgresSaver"])
    def test_postgresql_is_written_to_by_these_statements_over_a_cursor(self, kind: str) -> None:
        """The group commit has the savers write to a cursor of its own, and puts together what came.
        Statements that it does not know it leaves to the savers, one by one."""
        from langgraph.checkpoint.postgres.base import BasePostgresSaver

        from langgraph_rlm.pregel.postgres_rows import WAYS, way_of

        module, _, name = f"langgraph.checkpoint.postgres.{kind}".rpartition(".")
        saver: Any = getattr(import_module(module), name)
        starts = ("UPSERT_", "INSERT_")
        written = [name for name in vars(BasePostgresSaver) if name.startswith(starts)]
        assert {way_of(getattr(saver, name)) for name in written} == {*WAYS}
        writes = (saver.aput, saver.aput_writes) if "aio" in kind else (saver.put, saver.put_writes)
        for method in writes:
            assert "self._cursor(pipeline=True)" in inspect.getsource(method)

    def test_postgresql_savers_have_a_connection_a_lock_and_perhaps_a_pipeline(self) -> None:
        """Over a pool, several may be at work: each cursor is of a connection of its own there."""
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
        from psycopg_pool import AsyncConnectionPool

        async def go() -> dict[str, Any]:
            pool: Any = AsyncConnectionPool("", open=False, min_size=2, max_size=7)
            saver = AsyncPostgresSaver(pool)
            assert saver.conn is pool and pool.max_size == 7
            return vars(saver)

        had = asyncio.run(go())
        assert {"conn", "pipe", "lock", "loop", "serde"} <= had.keys()
        assert had["pipe"] is None and isinstance(had["lock"], asyncio.Lock)

    def test_the_token_of_a_lease_is_in_no_metadata(self, opened: Opened) -> None:
        """Savers copy what they find in a config's `configurable`, but not under such keys."""

        async def go() -> None:
            async with opened() as saver:
                place: Any = {"thread_id": "leased", "checkpoint_ns": ""}
                config = keys.with_lease({"configurable": place}, "leased", "secret")
                metadata: Any = {"source": "input", "step": -1, "parents": {}}
                await call(saver, "put", config, empty_checkpoint(), metadata, {})
                found = await saved(saver, on("leased", checkpoint_ns=""))
                assert found.metadata["source"] == "input" and "secret" not in repr(found)

        asyncio.run(go())

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
    def test_writes_are_given_in_the_order_of_their_tasks_however_they_came(
        self, opened: Opened, order: Sequence[int]
    ) -> None:
        """The calls of a batch end in any order, and a reducer must see the same one each time."""

        async def go() -> None:
            async with opened() as saver:
                config = await started(saver, f"order {order}")
                for task in order:
                    writes = [("log", f"{task}a"), ("log", f"{task}b")]
                    await call(saver, "put_writes", config, writes, f"task-{task}", f"path-{task}")
                found = await saved(saver, config)
                values = [value for _, _, value in found.pending_writes or []]
                assert values == ["0a", "0b", "1a", "1b", "2a", "2b"]

        asyncio.run(go())

    def test_sqlite_replaces_pauses_and_errors_and_keeps_the_first_results(
        self, tmp_path: Path
    ) -> None:
        """The group commit does the same, and files both under the same numbers."""
        config = on(checkpoint_ns="", checkpoint_id="c")
        pause, error = keys.INTERRUPT, _constants.ERROR

        def rows() -> list[Any]:
            with sqlite3.connect(tmp_path / "db") as connection:
                wanted = "SELECT task_id, idx, channel, value FROM writes ORDER BY task_id, idx"
                found = connection.execute(wanted).fetchall()
            connection.close()
            return [(*row[:3], saver.serde.loads_typed(("msgpack", row[3]))) for row in found]

        with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
            saver.setup()
            for text in ("old", "new"):
                saver.put_writes(config, [("log", text), ("usage", text)], "results")
                saver.put_writes(config, [(pause, text)], "special")
                saver.put_writes(config, [(error, text), (pause, text)], "specials")
                saver.put_writes(config, [(error, text), ("log", text)], "mixed")
            found = rows()
        at_pause, at_error = WRITES_IDX_MAP[pause], WRITES_IDX_MAP[error]
        assert at_pause < 0 and at_error < 0
        assert found == sorted(
            [
                ("results", 0, "log", "old"),
                ("results", 1, "usage", "old"),
                ("special", at_pause, pause, "new"),
                ("specials", at_pause, pause, "new"),
                ("specials", at_error, error, "new"),
                ("mixed", at_error, error, "old"),
                ("mixed", 1, "log", "old"),
            ]
        )

    def test_an_async_sqlite_saver_is_what_its_attributes_are(self, tmp_path: Path) -> None:
        """The group commit takes over from a saver by them, and `lease_homes.py` finds its file."""
        kind = AsyncSqliteSaver
        name = f"{kind.__module__}.{kind.__qualname__}"
        assert name == "langgraph.checkpoint.sqlite.aio.AsyncSqliteSaver"

        async def go() -> None:
            async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
                assert saver.is_setup is False
                await saver.setup()
                assert saver.is_setup and isinstance(saver.lock, asyncio.Lock)
                assert isinstance(saver.conn, aiosqlite.Connection)
                assert saver.loop is asyncio.get_running_loop()
                other = AsyncSqliteSaver(saver.conn)
                vars(other).update(vars(saver))
                assert other.lock is saver.lock and other.serde is saver.serde
                config = await started(other, "t")
                await other.aput_writes(config, [("log", "text")], "task")
                found = await saved(saver.with_allowlist([]), config)  # LangGraph makes such copies
                assert found.pending_writes == [("task", "log", "text")]

        asyncio.run(go())

    def test_checkpoints_of_one_namespace_or_of_all_are_listed(self, opened: Opened) -> None:
        """A fork looks along one branch; a saved run takes the whole tree.

        The newest checkpoint has the greatest id, each says whether a run made it, and a child's
        names the one of its parent."""

        def inner(state: State) -> State:
            return {"seen": ["inner"]}

        child = graph_of(inner)

        def node(state: State, config: RunnableConfig) -> State:
            child.invoke({"seen": []}, config)
            return {}

        async def listed(saver: Any, config: RunnableConfig) -> list[CheckpointTuple]:
            if isinstance(saver, SqliteSaver):
                return list(saver.list(config))
            return [each async for each in saver.alist(config)]

        async def go() -> None:
            async with opened() as saver:
                graph = graph_of(node, checkpointer=saver)
                await call(graph, "invoke", {"seen": []}, on("listed"))
                await call(graph, "update_state", on("listed"), {"seen": ["more"]}, "node")
                every = await listed(saver, on("listed"))
                roots = await listed(saver, on("listed", checkpoint_ns=""))
                newest = await saved(saver, on("listed"))
            by_age = sorted(roots, key=lambda each: each.config["configurable"]["checkpoint_id"])
            steps = [(each.metadata["source"], each.metadata["step"]) for each in by_age]
            assert steps == [("input", -1), ("loop", 0), ("loop", 1), ("update", 2)]
            assert newest.config == by_age[-1].config
            assert by_age[1].parent_config is not None
            before = by_age[0].config["configurable"]["checkpoint_id"]
            assert by_age[1].parent_config["configurable"]["checkpoint_id"] == before
            inner_ones = [each for each in every if each.config["configurable"]["checkpoint_ns"]]
            assert len(inner_ones) == len(every) - len(roots) > 0
            around = by_age[1].config["configurable"]["checkpoint_id"]
            assert all(each.metadata["parents"] == {"": around} for each in inner_ones)

        asyncio.run(go())


class TestDeltaChannels:
    """The channel that the log is kept in: increments, with the whole of it now and then."""

    def test_a_delta_channel_is_whole_in_any_process(self, tmp_path: Path) -> None:
        """A run is continued by other processes, each of which adds to the log."""
        file = str(tmp_path / "db")
        with SqliteSaver.from_conn_string(file) as saver:
            count_to(10, saver)
        command = [sys.executable, "-m", "tests.delta_process", file, "20"]
        subprocess.run(command, check=True, cwd=Path(__file__).parent.parent, timeout=60)
        with SqliteSaver.from_conn_string(file) as saver:
            graph = count_to(30, saver)
            assert graph.get_state(on()).values["log"] == {str(n): n for n in range(30)}
            sizes = [len(each.values.get("log", ())) for each in graph.get_state_history(on())]
        assert sizes[0] == 30 and set(sizes) == set(range(31))

    def test_its_history_is_read_from_the_saver(self, tmp_path: Path) -> None:
        """`ThreadedSaver` hands this call on, sync and async, by the names of its arguments."""
        memory = InMemorySaver()
        with SqliteSaver.from_conn_string(str(tmp_path / "db")) as file:
            for saver in (memory, file):
                count_to(9, saver)
                newest: Any = saver.get_tuple(on())
                at: Any = {"config": newest.config, "channels": ["log"]}
                history: Any = saver.get_delta_channel_history(**at)["log"]
                writes = [value for _, _, value in history["writes"]]
                before = getattr(history.get("seed"), "value", {})
                assert {channel for _, channel, _ in history["writes"]} == {"log"}
                assert 0 < len(writes) <= SNAPSHOT_EVERY
                assert merged(before, writes) == {str(n): n for n in range(9)}
                if saver is memory:
                    same = asyncio.run(memory.aget_delta_channel_history(**at))
                    assert same["log"] == history


class Logged(TypedDict, total=False):
    """A log in a delta channel."""

    log: Annotated[dict[str, int], DeltaChannel(merged, snapshot_frequency=100)]


class TestForeignDeltaWrites:
    """Answers of a batch are writes to the log under the ids of tasks that LangGraph does not know,
    on the checkpoint whose task runs."""

    FOREIGN = "6ba7b811-9dad-11d1-80b4-00c04fd430c8"

    def _graph(self, saver: Any, *, fails: bool = False) -> Any:
        async def node(state: Logged, config: RunnableConfig) -> Logged:
            at: Any = keys.checkpoint_of(config)
            await call(saver, "put_writes", at, [("log", {"early": 1})], self.FOREIGN)
            if fails:
                raise OSError("gone")
            return {}

        def end(_: Logged) -> Logged:
            return {"log": {"end": 1}}

        graph = StateGraph(Logged)
        graph.add_node("node", node)
        graph.add_node("end", end)
        graph.add_edge(START, "node")
        graph.add_edge("node", "end")
        graph.add_edge("end", END)
        return graph.compile(checkpointer=saver)

    def _go(self, opened: Opened, use: Callable[[Any], Any]) -> None:
        async def go() -> None:
            async with opened() as saver:
                if isinstance(saver, SqliteSaver):
                    pytest.skip("the core uses it in threads, through `ThreadedSaver`")
                await use(saver)

        asyncio.run(go())

    def test_the_next_checkpoint_has_them(self, opened: Opened) -> None:
        """They are read as the history of the channel: no answer is stored twice."""

        async def use(saver: Any) -> None:
            graph = self._graph(saver)
            await graph.ainvoke({"log": {"first": 1}}, on("delta-kept"))
            log = (await graph.aget_state(on("delta-kept"))).values["log"]
            assert set(log) == {"first", "early", "end"}

        self._go(opened, use)

    def test_a_run_that_goes_on_without_them_leaves_them_behind(self, opened: Opened) -> None:
        """A task that runs again has to give them itself; what it does not give is gone."""

        async def use(saver: Any) -> None:
            with pytest.raises(OSError, match="gone"):
                await self._graph(saver, fails=True).ainvoke(
                    {"log": {"first": 1}}, on("delta-left")
                )
            graph = self._graph(saver)
            await graph.ainvoke({"log": {"second": 1}}, on("delta-left"))
            log = (await graph.aget_state(on("delta-left"))).values["log"]
            assert set(log) == {"first", "second", "early", "end"}

        self._go(opened, use)

    def test_a_task_with_them_alone_has_not_ended(self, opened: Opened) -> None:
        """It runs again when its run is resumed."""

        async def use(saver: Any) -> None:
            with pytest.raises(OSError, match="gone"):
                await self._graph(saver, fails=True).ainvoke(
                    {"log": {"first": 1}}, on("delta-open")
                )
            graph = self._graph(saver)
            state = await graph.aget_state(on("delta-open"))
            assert state.next == ("node",) and state.tasks[0].result is None
            assert set(state.values["log"]) == {"first"}
            await graph.ainvoke(None, on("delta-open"))
            log = (await graph.aget_state(on("delta-open"))).values["log"]
            assert set(log) == {"first", "end"}

        self._go(opened, use)

    def test_a_config_says_the_checkpoint_and_the_durability(self) -> None:
        """Where a task saves what it has, and whether it may."""
        seen: list[tuple[Any, bool]] = []

        def node(_: State, config: RunnableConfig) -> State:
            seen.append((keys.checkpoint_of(config), keys.saves_at_once(config)))
            return {}

        saver = InMemorySaver()
        graph = graph_of(node, checkpointer=saver)
        for options in ({}, {"durability": "sync"}, {"durability": "exit"}):
            graph.invoke({"seen": []}, on(), **options)
        assert [at_once for _, at_once in seen] == [True, True, False]
        at = seen[0][0]["configurable"]
        assert at["thread_id"] == "t" and at["checkpoint_ns"] == ""
        assert saver.get_tuple(seen[0][0]) is not None


class TestGraphs:
    """Compiled graphs: their attributes, their subgraphs, their namespaces."""

    def test_a_graph_of_a_subclass_is_made_of_a_compiled_one_s_attributes(self) -> None:
        """`RLMGraph` is made so; `copy` keeps what it has of its own, with another checkpointer."""

        async def node(state: State) -> State:
            return {"seen": ["node"]}

        graph = own(graph_of(node, checkpointer=InMemorySaver(), name="mine"))
        copied = graph.copy({"checkpointer": (saver := InMemorySaver())})
        assert isinstance(copied, Own) and copied.calls is graph.calls and copied.name == "mine"
        assert asyncio.run(copied.ainvoke({"seen": []}, on()))["seen"] == ["node"]
        assert graph.get_state(on()).values == {} and saver.get_tuple(on()) is not None

    def test_every_way_to_run_a_graph_goes_through_stream_or_astream(self) -> None:
        """`RLMGraph` overrides these two alone, and `bulk_update_state` for `update_state`."""

        def node(state: State) -> State:
            return {"seen": ["node"]}

        graph, given = own(graph_of(node, checkpointer=InMemorySaver())), {"seen": []}
        graph.invoke(given, on("invoke"))
        graph.batch([given], [on("batch")])
        assert [name for name, _, _ in graph.calls] == ["stream"] * 2
        graph.update_state(on("invoke"), {"seen": ["more"]})
        assert graph.calls.pop()[0] == "bulk_update_state"
        graph.calls.clear()

        async def go() -> None:
            await graph.ainvoke(given, on("ainvoke"))
            await graph.abatch([given], [on("abatch")])
            async for _ in graph.astream_events(given, on("events"), version="v2"):
                pass

        asyncio.run(go())
        assert [name for name, _, _ in graph.calls] == ["astream"] * 3

    def test_a_graph_begins_at_a_node_whose_channel_is_its_input(self) -> None:
        """A child begins so with a state: its first checkpoint has it, and the node runs next. What
        was saved before it began otherwise goes on in either way."""

        def first(state: State) -> State:
            return {"seen": ["first"]}

        def second(state: State) -> State:
            return {"seen": ["second"]}

        saver = InMemorySaver()
        graph = graph_of(first, second, checkpointer=saver)
        at_second = f"{keys.BRANCH}second"
        begins = graph.copy({"input_channels": [*graph.stream_channels, at_second]})
        assert begins.invoke({"seen": ["given"], at_second: None}, on())["seen"] == [
            "given",
            "second",
        ]
        history = [
            (state.next, state.values.get("seen")) for state in graph.get_state_history(on())
        ]
        assert history == [((), ["given", "second"]), (("second",), ["given"])]
        for cut in ("first", "second"):
            graph.invoke({"seen": ["given"]}, on(cut), interrupt_before=[cut])
            assert begins.invoke(None, on(cut))["seen"] == ["given", "first", "second"]

    def test_the_subgraphs_of_a_node_can_be_set(self) -> None:
        """LangGraph looks for them in functions; our nodes are objects: `keys.show_subgraph`."""

        async def inner(state: State) -> State:
            return {"seen": [interrupt("go on?")]}

        child = graph_of(inner)

        class Node:
            def __init__(self, graphs: list[Any]) -> None:
                self._graphs = graphs

            async def __call__(self, state: State, config: RunnableConfig) -> State:
                return await self._graphs[0].ainvoke(state, config)

        builder = StateGraph(State)
        builder.add_node("node", Node([child]))
        builder.add_edge(START, "node")
        graph: Any = builder.compile(checkpointer=InMemorySaver())
        assert list(graph.get_subgraphs()) == []
        keys.show_subgraph(graph, "node", child)
        assert list(graph.get_subgraphs()) == [("node", child)]
        assert "node:inner" in graph.get_graph(xray=True).nodes

        async def go() -> None:
            await graph.ainvoke({"seen": []}, on())
            [task] = (await graph.aget_state(on(), subgraphs=True)).tasks
            assert isinstance(task.state, StateSnapshot) and task.state.next == ("inner",)

        asyncio.run(go())

    def test_a_namespace_is_node_and_task_joined_by_bars(self) -> None:
        """Forks and saved runs find by it the RLM of a namespace, and the task that waits for it.

        `get_subgraphs` takes the names of the nodes alone, joined by bars, and `get_state` the
        whole namespace."""

        async def leaf(state: State) -> State:
            return {"seen": [interrupt("go on?")]}

        async def middle(state: State, config: RunnableConfig) -> State:
            return await lowest.ainvoke(state, config)

        async def top(state: State, config: RunnableConfig) -> State:
            return await lower.ainvoke(state, config)

        lowest = graph_of(leaf)
        lower = graph_of(middle)
        saver = InMemorySaver()
        graph = graph_of(top, checkpointer=saver)

        async def go() -> None:
            await graph.ainvoke({"seen": []}, on())
            [outer] = (await graph.aget_state(on())).tasks
            within = {"configurable": {"thread_id": "t", "checkpoint_ns": f"top:{outer.id}"}}
            [inner] = (await graph.aget_state(within)).tasks
            name = f"top:{outer.id}|middle:{inner.id}"
            every = {each.config["configurable"]["checkpoint_ns"] for each in saver.list(on())}
            assert every == {"", f"top:{outer.id}", name}
            deep = {"configurable": {"thread_id": "t", "checkpoint_ns": name}}
            state = await graph.aget_state(deep)
            assert state.next == ("leaf",) and state.config["configurable"]["checkpoint_ns"] == name
            assert list(keys.tasks_of(name)) == [("", outer.id), (f"top:{outer.id}", inner.id)]
            assert keys.nodes_of(name) == "top|middle"
            assert keys.parts_of(f"top:{outer.id}") == ("", "top", outer.id)
            assert keys.parts_of(name) == (f"top:{outer.id}", "middle", inner.id)
            found = list(graph.get_subgraphs(namespace="top|middle", recurse=True))
            assert found == [("top|middle", lowest)]
            assert [each for each, _ in graph.get_subgraphs(recurse=True)] == ["top", "top|middle"]

        asyncio.run(go())

    def test_the_number_of_a_send_is_the_second_part_of_its_task_s_path(self) -> None:
        """A saved run tells by it to which item of a batch a child's answer belongs."""

        async def work(item: dict[str, str]) -> State:
            return {"seen": [interrupt(item["name"])]}

        names = [f"item {number}" for number in range(12)]
        graph = sends(work, names, InMemorySaver())

        async def go() -> StateSnapshot:
            await graph.ainvoke({"seen": []}, on())
            return await graph.aget_state(on())

        tasks = asyncio.run(go()).tasks
        assert len(tasks) == 12
        for task in tasks:
            assert task.interrupts[0].value == names[keys.send_number(task)]

    def test_a_task_that_waits_has_no_result_and_a_config_where_it_runs_a_graph(self) -> None:
        """What children that have not ended have spent is read by these configs."""

        async def inner(state: State) -> State:
            return {"seen": [interrupt("go on?")]}

        child = graph_of(inner)

        async def work(item: dict[str, str], config: RunnableConfig) -> State:
            if item["name"] == "quick":
                return {"seen": ["quick"]}
            return await child.ainvoke({"seen": []}, config)

        graph = sends(work, ["quick", "slow"], InMemorySaver())

        async def go() -> None:
            await graph.ainvoke({"seen": []}, on())
            quick, slow = (await graph.aget_state(on())).tasks
            assert quick.result == {"seen": ["quick"]}
            assert slow.result is None and isinstance(slow.state, dict)
            assert slow.state["configurable"]["checkpoint_ns"] == f"work:{slow.id}"
            given = {**slow.state["configurable"], keys.CHECKPOINTER: graph.checkpointer}
            assert (await child.aget_state({"configurable": given})).next == ("inner",)

        asyncio.run(go())


class TestStreams:
    """What reaches the streams of a graph."""

    def test_the_writer_of_a_child_leads_nowhere(self) -> None:
        """A child's progress is written by the writer of the root's node, which its run keeps."""

        async def inner(state: State, runtime: Runtime[None]) -> State:
            runtime.stream_writer("child")
            return {}

        child = graph_of(inner)

        async def node(state: State, config: RunnableConfig, runtime: Runtime[None]) -> State:
            await child.ainvoke({"seen": []}, config)
            runtime.stream_writer("root")
            return {}

        async def go() -> list[Any]:
            parts = graph_of(node).astream({"seen": []}, stream_mode="custom")
            return [part async for part in parts]

        assert asyncio.run(go()) == ["root"]

    def test_the_tag_nostream_keeps_tokens_out_of_the_stream_of_messages(self) -> None:
        """Sub-calls, and all that a chat model does inside, are not the outer graph's tokens."""
        assert keys.NO_STREAM == TAG_NOSTREAM

        async def node(state: State, config: RunnableConfig) -> State:
            loud = GenericFakeChatModel(messages=iter([AIMessage("loud words")]))
            quiet = GenericFakeChatModel(messages=iter([AIMessage("quiet words")]))
            await loud.ainvoke("?", config)
            await quiet.ainvoke("?", {**config, "tags": [keys.NO_STREAM]})
            return {}

        async def go() -> str:
            parts = graph_of(node).astream({"seen": []}, stream_mode="messages")
            return "".join([message.text async for message, _ in parts])

        assert asyncio.run(go()) == "loud words"


class TestConfigAround:
    """The config that LangChain keeps in a context variable."""

    def test_the_variable_has_the_config_of_the_runnable_around(self) -> None:
        """A chat model that streams is given no run manager: the callbacks around are there."""
        handler = BaseCallbackHandler()
        found: list[Any] = []

        async def within(_: Any) -> None:
            found.append(var_child_runnable_config.get())
            assert keys.config_around() is found[0] is not None

        config: RunnableConfig = {"callbacks": [handler], "configurable": {"thread_id": "t"}}
        asyncio.run(RunnableLambda(within).ainvoke(None, config))
        assert found[0]["configurable"] == {"thread_id": "t"}
        assert handler in found[0]["callbacks"].inheritable_handlers
        assert found[0]["callbacks"].parent_run_id is not None
        assert keys.config_around() is None

    def test_none_in_the_variable_hides_the_runnable_around(self) -> None:
        """What runs in a chat model runs as if nothing were around: no stream, no task to pause."""
        runs: list[str] = []

        class Handler(BaseCallbackHandler):
            def on_chain_start(self, serialized: Any, inputs: Any, **more: Any) -> None:
                runs.append(more.get("name") or "")

        async def inner(_: Any) -> str:
            try:
                return str(get_config().get("configurable"))
            except RuntimeError:
                return "nothing around"

        async def outer(_: Any) -> list[str]:
            shown = await RunnableLambda(inner, name="shown").ainvoke(None)
            context = contextvars.copy_context()
            context.run(keys.forget_config_around)
            hidden = RunnableLambda(inner, name="hidden").ainvoke(None)
            return [shown, await asyncio.create_task(hidden, context=context)]

        config: RunnableConfig = {"callbacks": [Handler()], "configurable": {"a": 1}}
        said = asyncio.run(RunnableLambda(outer, name="outer").ainvoke(None, config))
        assert said[0] == "{'a': 1}" and "'a'" not in said[1]
        assert runs == ["outer", "shown"]

    def test_a_model_s_run_manager_says_which_callbacks_its_own_calls_inherit(self) -> None:
        """Traces of what runs in a chat model nest in the run of that model."""
        found: list[Any] = []

        class Model(GenericFakeChatModel):
            async def _agenerate(self, *given: Any, run_manager: Any = None, **more: Any) -> Any:
                found.append(run_manager)
                return self._generate(*given, **more)

        handler = BaseCallbackHandler()
        model = Model(messages=iter([AIMessage("hi")]), disable_streaming=True)
        asyncio.run(model.ainvoke("?", {"callbacks": [handler]}))
        assert handler in found[0].inheritable_handlers
        manager = AsyncCallbackManager(handlers=[], parent_run_id=found[0].run_id)
        manager.set_handlers([handler])
        assert manager.inheritable_handlers == [handler]

    def test_a_model_says_to_traces_who_it_is(self) -> None:
        """A chat model is named in traces by its own name and provider, and its model's."""
        found: list[Any] = []

        class Handler(BaseCallbackHandler):
            def on_chat_model_start(self, serialized: Any, messages: Any, **more: Any) -> None:
                found.append(more["metadata"])

        class Model(GenericFakeChatModel):
            def _get_ls_params(self, stop: Any = None, **options: Any) -> Any:
                params = super()._get_ls_params(stop=stop, **options)
                return {**params, "ls_provider": "own", "ls_model_name": options.get("model")}

        model = Model(messages=iter([AIMessage("hi")]))
        model.invoke("?", {"callbacks": [Handler()]}, model="given", stop=["x"])
        named = ("own", "given", ["x"])
        assert tuple(found[0][f"ls_{key}"] for key in ("provider", "model_name", "stop")) == named


class TestTools:
    """Private parts of LangChain's tools, by which our own graph runs them."""

    def test_a_subclass_overrides_run_or_arun(self) -> None:
        """A tool with an async body runs on the event loop, another one in a thread."""

        class Sync(BaseTool):
            name: str = "sync"
            description: str = "A tool."

            def _run(self, text: str) -> str:
                return f"sync {text}"

        class Async(Sync):
            async def _arun(self, text: str) -> str:
                return f"async {text}"

        assert Sync._arun is BaseTool._arun and Async._arun is not BaseTool._arun
        assert [keys.has_async_body(tool) for tool in (Sync(), Async())] == [False, True]
        assert asyncio.run(Async().ainvoke({"text": "a"})) == "async a"
        assert Async().invoke({"text": "a"}) == "sync a"
        assert keys.body_of(Sync())("a") == "sync a"

    def test_a_tool_of_a_function_has_it_as_func_or_coroutine(self) -> None:
        """Types of results and injected arguments are read off the function."""

        def plain(text: str) -> str:
            """Say it."""
            return text

        async def slow(text: str) -> str:
            """Say it slowly."""
            return text

        plain_tool = StructuredTool.from_function(plain)
        slow_tool = StructuredTool.from_function(coroutine=slow)
        old = Tool("old", plain, "Say it.")
        assert (plain_tool.func, plain_tool.coroutine) == (plain, None)
        assert (slow_tool.func, slow_tool.coroutine) == (None, slow)
        assert (old.func, old.coroutine) == (plain, None)
        assert [keys.has_async_body(tool) for tool in (plain_tool, slow_tool, old)] == [
            False,
            True,
            False,
        ]
        assert keys.body_of(slow_tool) is slow and keys.body_of(old) is plain

    def test_what_a_tool_gets_injected_is_known_and_left_out_of_its_schema(self) -> None:
        """Code is shown the other arguments alone; the graph gives these."""

        def find(
            query: str,
            config: RunnableConfig,
            runtime: ToolRuntime,
            id: Annotated[str, InjectedToolCallId],
            store: Annotated[Any, InjectedStore()],
        ) -> str:
            """Find it."""
            return f"{query} {id} {store} {runtime.tool_call_id} {config['configurable']['a']}"

        tool: Any = StructuredTool.from_function(find)
        assert set(keys.injected_names(tool)) == {"runtime", "id", "store"}
        assert list(tool.tool_call_schema.model_json_schema()["properties"]) == ["query"]
        runtime = ToolRuntime(
            state={}, context=None, config={}, stream_writer=print, tool_call_id="7", store=None
        )
        args = {"query": "q", "runtime": runtime, "store": "store"}
        asked = {"type": "tool_call", "name": "find", "args": args, "id": "7"}
        message = tool.invoke(asked, {"configurable": {"a": 1}})
        assert isinstance(message, ToolMessage) and message.content == "q 7 store 7 1"

    def test_a_tool_call_gives_a_message_with_the_result_as_json(self) -> None:
        """Only a call with an id is told its id; we take its result out of the message again."""

        def find(query: str) -> dict[str, Any]:
            """Find it."""
            return {"found": [query, 1]}

        tool = StructuredTool.from_function(find)
        asked: Any = {"type": "tool_call", "name": "find", "args": {"query": "q"}, "id": "7"}
        assert tool.invoke(asked).content == '{"found": ["q", 1]}'
        assert tool.invoke({"query": "q"}) == {"found": ["q", 1]}


class TestApprovals:
    """The forms in which LangChain's agents ask a human."""

    def test_an_approval_has_these_keys(self) -> None:
        """Our approvals are asked and answered in LangChain's form, so that its front ends fit."""
        name = "langchain.agents.middleware.human_in_the_loop"
        forms = pytest.importorskip(name, reason="langchain is not installed")
        assert set(forms.HITLRequest.__annotations__) == {"action_requests", "review_configs"}
        assert set(forms.ActionRequest.__annotations__) == {"name", "args", "description"}
        assert {"action_name", "allowed_decisions"} <= set(forms.ReviewConfig.__annotations__)
        assert set(forms.HITLResponse.__annotations__) == {"decisions"}
        assert set(get_args(forms.DecisionType)) == {"approve", "edit", "reject", "respond"}


class Quiet(BaseException):
    """What `chat/retries.py` hides a pause in."""


WAYS: dict[str, Callable[[Any], Any]] = {
    "invoke": lambda model: model.invoke("?"),
    "ainvoke": lambda model: asyncio.run(model.ainvoke("?")),
    "batch": lambda model: model.batch(["?"]),
    "abatch": lambda model: asyncio.run(model.abatch(["?"])),
    "stream": lambda model: list(model.stream("?")),
    "transform": lambda model: list(model.transform(iter(["?"]))),
}


class TestRetries:
    """`with_retry` and `with_fallbacks` of LangChain, which `chat/retries.py` builds on."""

    def failing(self, error: BaseException, asked: list[str]) -> Runnable[Any, Any]:
        """Make a runnable that always raises."""

        def fail(text: str) -> str:
            asked.append(text)
            raise error

        return RunnableLambda(fail)

    def retried(self, bound: Runnable[Any, Any]) -> Runnable[Any, Any]:
        """Wrap a runnable as `chat/retries.py` does."""
        return RunnableRetry(
            bound=bound,
            kwargs={},
            config={},
            retry_exception_types=(Exception,),
            wait_exponential_jitter=False,
            max_attempt_number=3,
            exponential_jitter_params=None,
        )

    def test_with_retry_takes_the_same_options_and_makes_the_same_wrapper(self) -> None:
        """Ours makes that wrapper itself, around a model whose pauses are hidden."""
        bound = self.failing(ValueError(), [])
        theirs = bound.with_retry(wait_exponential_jitter=False, stop_after_attempt=3)
        assert isinstance(theirs, RunnableRetry)
        assert vars(theirs) == vars(self.retried(bound))

    @pytest.mark.parametrize("way", ["invoke", "ainvoke", "batch", "abatch"])
    def test_a_pause_is_retried_and_a_base_exception_is_not(self, way: str) -> None:
        """A pause would be asked again and again; so it passes as a `BaseException`."""
        for error, times in ((GraphInterrupt(()), 3), (Quiet(), 1)):
            asked: list[str] = []
            with pytest.raises(type(error)):
                WAYS[way](self.retried(self.failing(error, asked)))
            assert len(asked) == times

    @pytest.mark.parametrize("way", ["invoke", "ainvoke", "batch", "abatch", "stream"])
    def test_a_fallback_answers_a_pause_and_not_a_base_exception(self, way: str) -> None:
        """The fallback's answer would take the place of the human's."""
        fallback = RunnableLambda(lambda _: "fallback")
        paused = self.failing(GraphInterrupt(()), [])
        wrapped = RunnableWithFallbacks(runnable=paused, fallbacks=[fallback])
        assert "fallback" in WAYS[way](wrapped)
        hidden = self.failing(Quiet(), [])
        with pytest.raises(Quiet):
            WAYS[way](RunnableWithFallbacks(runnable=hidden, fallbacks=[fallback]))

    @pytest.mark.parametrize("kind", [RunnableRetry, RunnableWithFallbacks])
    def test_a_wrapper_is_entered_by_these_methods(self, kind: type) -> None:
        """`chat/retries.py` overrides each, and shows a hidden pause again there."""
        ways = {*WAYS, "astream", "atransform"}
        entered = {name for name in dir(Runnable) if name in ways}
        assert entered == ways and all(callable(getattr(kind, name)) for name in ways)

    def test_a_binding_is_a_model_that_can_be_copied_with_another_bound(self) -> None:
        """A model with options bound is wrapped as the model itself is."""
        binding: Any = RunnableBinding(
            bound=RunnableLambda(lambda text, **more: f"{text} {more}"), kwargs={"a": 1}, config={}
        )
        other = RunnableLambda(lambda text, **more: f"other {text} {more}")
        assert binding.model_copy(update={"bound": other}).invoke("x") == "other x {'a': 1}"

    def test_a_model_without_tools_has_the_base_class_s_bind_tools(self) -> None:
        """`takes_tools` tells by it whether a root model can be given tools to call."""
        assert GenericFakeChatModel.bind_tools is BaseChatModel.bind_tools
        assert ChatOpenAI.bind_tools is not BaseChatModel.bind_tools


class TestOpenAI:
    """The clients of LangChain's OpenAI models."""

    def test_models_share_one_http_client_until_they_are_given_another(self) -> None:
        """`http_clients.py` gives each event loop its own, where the user has given none."""
        from openai import DefaultAsyncHttpxClient

        options: Any = {"api_key": "none", "base_url": "http://127.0.0.1:9/v1"}
        one, two = ChatOpenAI(model="one", **options), ChatOpenAI(model="two", **options)
        shared = one.root_async_client._client
        assert two.root_async_client._client is shared and one.http_async_client is None
        client: Any = DefaultAsyncHttpxClient()
        given = ChatOpenAI(model="given", http_async_client=client, **options)
        assert given.http_async_client is client and given.root_async_client._client is client
        copy = one.model_copy()
        copy.root_async_client = copy.root_async_client.with_options(http_client=client)
        copy.async_client = copy.root_async_client.chat.completions
        assert copy.root_async_client._client is client
        assert one.root_async_client._client is shared
        completions = one.root_async_client.chat.completions
        assert isinstance(one.async_client, type(completions))
        assert one.async_client._client is one.root_async_client

    def test_a_client_of_httpx_makes_its_transports_in_two_methods(self) -> None:
        """`pregel/aiohttp_client.py` has another one made, for each proxy too but those by SOCKS or TLS."""
        from openai import DefaultAioHttpClient, DefaultAsyncHttpxClient

        own = {"_init_transport", "_init_proxy_transport"}
        assert own <= vars(DefaultAioHttpClient.__mro__[1]).keys()
        assert own <= vars(DefaultAsyncHttpxClient.__mro__[1]).keys()
        made: list[tuple[int | None, str | None]] = []

        def make(_: Any, limits: Any, proxy: Any) -> Any:
            made.append((limits.max_connections, str(proxy.url) if proxy else None))
            return httpx2.MockTransport(lambda request: httpx2.Response(204))

        client = aiohttp_client(make, proxy="http://ann:secret@127.0.0.1:9", trust_env=False)
        assert isinstance(client, DefaultAioHttpClient)
        assert made == [(1000, None), (1000, "http://127.0.0.1:9")]
        assert asyncio.run(client.get("http://127.0.0.1:9")).status_code == 204
        aiohttp_client(make, proxy="https://127.0.0.1:9", trust_env=False)
        assert made[2:] == [(1000, None)]

    def test_a_copy_with_another_client_sends_by_it_and_a_developer_message_is_one(self) -> None:
        """The server marks developer messages so, as LangChain's OpenAI models read them."""
        from openai import DefaultAsyncHttpxClient

        sent: list[str] = []

        async def on_request(request: Any) -> None:
            sent.append(request.url.path)

        async def ask(url: str) -> str:
            model: Any = ChatOpenAI(model="m", api_key="none", base_url=url, max_retries=0)
            hooks: Any = {"request": [on_request]}
            async with DefaultAsyncHttpxClient(event_hooks=hooks) as client:
                copy = model.model_copy()
                copy.root_async_client = copy.root_async_client.with_options(http_client=client)
                copy.async_client = copy.root_async_client.chat.completions
                marked = {keys.OPENAI_ROLE: "developer"}
                messages = [SystemMessage("a", additional_kwargs=marked), SystemMessage("b")]
                whole = (await copy.ainvoke(messages)).text
                return whole + "".join([part.text async for part in copy.astream(messages)])

        with OpenAIServer(lambda _: "42") as server:
            assert asyncio.run(ask(server.url)) == "4242"
            roles = [[message["role"] for message in body["messages"]] for body in server.requests]
        assert sent == ["/v1/chat/completions"] * 2
        assert roles == [["developer", "system"]] * 2


class TestAnthropic:
    """The client of LangChain's model for Claude."""

    def test_it_is_a_cached_property_that_a_copy_can_have_another_of(self) -> None:
        """`http_clients.py` gives each event loop its own, which makes no retries."""
        from anthropic import DefaultAsyncHttpxClient
        from langchain_anthropic import ChatAnthropic

        options: Any = {"api_key": "none", "max_retries": 4}
        model: Any = ChatAnthropic(model_name="m", **options)
        client = DefaultAsyncHttpxClient()
        copy = keys.with_anthropic_client(model, http_client=client, max_retries=0)
        assert (copy._async_client.max_retries, copy._async_client._client) == (0, client)
        assert model._async_client.max_retries == 4 and model._async_client._client is not client
        changed = copy.model_copy(update={"temperature": 0.5})
        assert changed._async_client is copy._async_client


class Wire(asyncio.Transport):
    """One connection's other end: keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)})
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer each request with an empty reply."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class TestUvicorn:
    """uvicorn's reading of HTTP and of signals."""

    def test_its_protocol_calls_these_methods_in_this_order(self) -> None:
        """`server/protocol.py` overrides them: headers may neither be endless nor come for ever."""
        from uvicorn import Config
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
        from uvicorn.server import ServerState

        events: list[str] = []

        class Protocol(HttpToolsProtocol):
            def __init__(self, config: Config, *given: Any, **more: Any) -> None:
                super().__init__(config, *given, **more)

            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                events.append("made")
                assert self.transport is transport

            def connection_lost(self, exc: Exception | None) -> None:
                events.append("lost")
                super().connection_lost(exc)

            def data_received(self, data: bytes) -> None:
                events.append("data")
                super().data_received(data)

            def on_message_begin(self) -> None:
                events.append("begin")
                super().on_message_begin()

            def on_headers_complete(self) -> None:
                events.append("headers")
                super().on_headers_complete()

        async def go() -> Wire:
            config, wire = Config("", http=Protocol, log_level="warning", lifespan="off"), Wire()
            config.app = app  # known only once the process of the runs is up
            config.load()
            assert config.http_protocol_class is Protocol
            made = Protocol(config=config, server_state=ServerState(), app_state={})
            made.connection_made(wire)
            made.data_received(b"POST / HTTP/1.1\r\nHost: x\r\n")
            made.data_received(b"Content-Length: 2\r\n\r\n")
            made.data_received(b"{}")
            await asyncio.sleep(0.01)
            made.data_received(b"GET / HTTP/1.1\r\n")
            made.send_400_response("The headers are too long.")
            made.connection_lost(None)
            return wire

        wire = asyncio.run(go())
        assert events == [
            "made",
            *("data", "begin"),
            *("data", "headers"),
            "data",
            *("data", "begin"),
            "lost",
        ]
        assert wire.written.startswith(b"HTTP/1.1 204 ") and b"HTTP/1.1 400 " in wire.written
        assert wire.written.endswith(b"The headers are too long.") and wire.is_closed

    def test_its_server_captures_signals_in_one_method_and_stops_by_another(self) -> None:
        """Ours keeps the process alive after a signal: it has a database and a process to close."""
        import uvicorn

        entered: list[str] = []

        class Server(uvicorn.Server):
            @contextmanager
            def capture_signals(self) -> Generator[None]:
                entered.append("in")
                yield
                entered.append("out")

        async def go(server: Server) -> None:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                serving = asyncio.create_task(server.serve(sockets=[listener]))
                while not server.started:
                    await asyncio.sleep(0.01)
                server.handle_exit(signal.SIGTERM, None)
                assert server.should_exit and not server.force_exit
                server.handle_exit(signal.SIGINT, None)
                assert server.force_exit
                await serving

        config = uvicorn.Config(app, log_level="warning", lifespan="off")
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(go(Server(config)))
        assert entered == ["in", "out"]


@pytest.fixture(scope="module")
def pool() -> Iterator[monty.Monty]:
    """Give a pool of Monty workers."""
    with monty.Monty(min_processes=0, max_processes=8) as made:
        yield made


def nothing(_stream: str, _text: str) -> None:
    """Drop what is printed."""


class TestMonty:
    """The default interpreter: sessions in worker processes, and where they stop for the host."""

    def started(self, session: monty.MontySession, code: str, **inputs: Any) -> Any:
        """Run code until it first stops."""
        return session.feed_start(code, print_callback=nothing, inputs=inputs)

    def test_a_name_that_code_does_not_define_is_looked_up_once(self, pool: monty.Monty) -> None:
        """Host functions and lazy contexts are bound where code first names them."""

        def stand_in() -> None:
            raise AssertionError("the host answers, and does not call this")

        stand_in.__name__ = "ask"
        with pool.checkout() as session:
            name = self.started(session, "f = ask\nf(1, b=[2]) + text")
            assert isinstance(name, monty.NameLookupSnapshot)
            assert (name.variable_name, name.object_id) == ("ask", None)
            asked = name.resume(value=stand_in)
            assert isinstance(asked, monty.FunctionSnapshot) and not asked.is_os_function
            assert (asked.function_name, asked.args, asked.kwargs) == ("ask", (1,), {"b": [2]})
            text = asked.resume({"return_value": "answer "})
            assert isinstance(text, monty.NameLookupSnapshot) and text.variable_name == "text"
            done = text.resume(value="and text")
            assert isinstance(done, monty.MontyComplete) and done.output == "answer and text"
            assert self.started(session, "text").output == "and text"  # bound from then on

    def test_a_call_of_a_name_that_code_does_not_define_is_a_call_of_the_host(
        self, pool: monty.Monty
    ) -> None:
        """It is answered where there is such a host function, else refused with a NameError."""
        with pool.checkout() as session:
            asked = self.started(session, "nobody(1)")
            assert isinstance(asked, monty.FunctionSnapshot) and not asked.is_os_function
            assert (asked.function_name, asked.args) == ("nobody", (1,))
            refusal: Any = {"exc_type": "NameError", "message": "name 'nobody' is not defined"}
            with pytest.raises(monty.MontyRuntimeError, match="name 'nobody' is not defined"):
                asked.resume(refusal)

    def test_inputs_bind_host_functions_anew(self, pool: monty.Monty) -> None:
        """Names that code has overwritten are restored before each cell."""

        def stand_in() -> None: ...

        stand_in.__name__ = "ask"
        with pool.checkout() as session:
            assert isinstance(self.started(session, "ask = 1\nask"), monty.MontyComplete)
            asked = self.started(session, "ask()", ask=stand_in)
            assert isinstance(asked, monty.FunctionSnapshot) and asked.function_name == "ask"
            assert asked.resume({"return_value": 7}).output == 7

    def test_names_that_nobody_answers_and_errors_of_the_host_are_raised(
        self, pool: monty.Monty
    ) -> None:
        """Code can catch them; the session goes on. Errors are shown in these two forms."""
        with pool.checkout() as session:
            with pytest.raises(monty.MontyRuntimeError) as error:
                self.started(session, "nobody").resume()
            assert error.value.display("type-msg") == "NameError: name 'nobody' is not defined"
            assert "Traceback" in error.value.display("traceback")
            code = "try:\n    ask()\nexcept ValueError as e:\n    said = str(e)\nsaid"
            asked = self.started(session, code)
            assert (
                asked.resume({"exc_type": "ValueError", "message": "too long"}).output == "too long"
            )
            with pytest.raises(monty.MontySyntaxError) as wrong:
                self.started(session, "x = = 1")
            assert wrong.value.display("type-msg").startswith("SyntaxError: ")

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("import numpy", "No module named"),
            ("x = 1\ndel x", "does not yet support"),
            ("list(map(ask, [1]))", "cannot suspend in this synchronous context"),
            ("context_9", "name 'context"),
        ],
    )
    def test_what_the_hints_add_to_is_said_in_these_words(
        self, pool: monty.Monty, code: str, words: str
    ) -> None:
        """A model is told what to write instead, by parts of the interpreter's messages."""

        def to_its_end(session: monty.MontySession) -> None:
            found = self.started(session, code, ask=nothing)
            if isinstance(found, monty.NameLookupSnapshot):
                found.resume()
            elif isinstance(found, monty.FunctionSnapshot) and found.is_os_function:
                found.resume_not_handled()

        with pool.checkout() as session, pytest.raises(monty.MontyRuntimeError) as error:
            to_its_end(session)
        assert words in error.value.display("type-msg")

    def test_what_is_printed_arrives_as_stream_and_text_while_a_cell_runs(
        self, pool: monty.Monty
    ) -> None:
        """A cell that prints without end is ended in the middle."""
        printed: list[tuple[str, str]] = []
        with pool.checkout() as session:
            asked = session.feed_start(
                "print('before')\nask()\nprint('after')",
                print_callback=lambda stream, text: printed.append((stream, text)),
                inputs={"ask": nothing},
            )
            assert "".join(text for _, text in printed) == "before\n"
            asked.resume({"return_value": None})
        assert "".join(text for _, text in printed) == "before\nafter\n"
        assert {stream for stream, _ in printed} == {"stdout"}

    def test_the_clock_stands_chance_is_seeded_and_sleep_takes_no_time(
        self, pool: monty.Monty
    ) -> None:
        """A cell that is run again in another process has to do the same."""
        clock = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        policy: Any = {"datetime": clock, "sleep": "zero", "random_start": {"seed": 7}}
        code = (
            "import datetime, random, time, asyncio\ntime.sleep(100)\n"
            "[datetime.datetime.now().isoformat(), random.random(), random.random(), time.time()]"
        )

        def once() -> Any:
            with pool.checkout(os_policy=policy) as session:
                done = self.started(session, code)
                assert isinstance(done, monty.MontyComplete)
                return done.output

        assert once() == once()
        assert once()[0] == "2026-01-02T03:04:05" and once()[3] == clock.timestamp()

    def test_the_operating_system_is_asked_by_a_call_that_can_be_refused(
        self, pool: monty.Monty
    ) -> None:
        """Guests have no files: each such call is left to what Monty does by default."""
        with pool.checkout() as session:
            asked = self.started(session, "open('/etc/passwd').read()")
            assert isinstance(asked, monty.FunctionSnapshot) and asked.is_os_function
            with pytest.raises(monty.MontyRuntimeError):
                asked.resume_not_handled()
            assert self.started(session, "1 + 1").output == 2

    def test_more_than_a_thousand_calls_need_the_limit_raised(self, pool: monty.Monty) -> None:
        """How many calls a run makes is counted by its own limits, not by the interpreter."""
        limits: Any = {"max_memory": 1 << 28, "max_suspensions": 2**31}

        def calls(limits: Any) -> int:
            with pool.checkout(limits=limits) as session:
                code = "for i in range(1500):\n    ask()"
                asked, count = self.started(session, code, ask=nothing), 0
                while isinstance(asked, monty.FunctionSnapshot):
                    asked, count = asked.resume({"return_value": None}), count + 1
                return count

        assert calls(limits) == 1500
        with pytest.raises(monty.MontyRuntimeError):
            calls({"max_memory": 1 << 28})

    def test_memory_beyond_the_limit_is_an_error_of_the_cell(self, pool: monty.Monty) -> None:
        """`max_heap_bytes` of a session is passed on as this limit."""
        with pool.checkout(limits={"max_memory": 1 << 20}) as session:
            with pytest.raises(monty.MontyRuntimeError) as error:
                self.started(session, "x = [0] * 10_000_000")
            assert error.value.display("type-msg").startswith("MemoryError")

    def test_half_a_character_is_refused(self, pool: monty.Monty) -> None:
        """Answers of models can hold one: it is replaced before it is given to code."""
        with pool.checkout() as session:
            asked = self.started(session, "ask()", ask=nothing)
            with pytest.raises((monty.MontyError, UnicodeEncodeError)):
                asked.resume({"return_value": "\ud800"})

    def test_a_worker_that_is_killed_is_a_crash_and_the_pool_goes_on(
        self, pool: monty.Monty
    ) -> None:
        """A cell that runs for too long is ended by its worker's process id."""
        with pool.checkout() as session:
            asked = self.started(session, "ask()", ask=nothing)
            assert session.worker_pid is not None
            os.kill(session.worker_pid, signal.SIGKILL)
            with pytest.raises((monty.MontyCrashedError, monty.MontyDisconnectError)):
                asked.resume({"return_value": None})
            assert session.worker_pid is None
        with pool.checkout() as session:
            assert self.started(session, "1 + 1").output == 2

    def test_a_session_outlives_its_pool(self) -> None:
        """Idle workers are ended with the pool; sessions under way keep theirs."""
        made = monty.Monty(min_processes=0, max_processes=2).__enter__()
        with made.checkout() as session:
            self.started(session, "x = 1")
            made.__exit__(None, None, None)
            assert self.started(session, "x + 1").output == 2


class TestLocalSandbox:
    """What the worker of sandbox="local" does to the clock and to chance."""

    def test_the_clock_can_be_stopped_without_pytest_and_dateutil(self) -> None:
        """time-machine would import both where it finds them: longer than all the rest."""
        code = (
            "import sys, datetime, time\n"
            "sys.modules.update(pytest=None, dateutil=None)\n"
            "import time_machine\n"
            "at = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)\n"
            "time_machine.travel(at, tick=False).start()\n"
            "assert datetime.datetime.now(datetime.UTC) == at and time.time() == at.timestamp()\n"
        )
        subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)

    def test_system_random_takes_its_bytes_from_this_name(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """uuid4, secrets and `SystemRandom` of a guest are made the same in each run."""
        monkeypatch.setattr(random, "_urandom", lambda count: b"\x01" * count)
        assert random.SystemRandom().random() == random.SystemRandom().random()


class TestDatabases:
    """How `lease_homes.py` finds out which database a saver is of."""

    def test_the_modules_of_connections_name_their_library(self, tmp_path: Path) -> None:
        """By the module of its connection a saver is known, without importing each library."""
        from psycopg import AsyncConnection, Connection
        from psycopg_pool import AsyncConnectionPool, ConnectionPool

        def library(kind: type) -> str:
            return kind.__module__.partition(".")[0]

        assert library(aiosqlite.Connection) == "aiosqlite"
        assert library(sqlite3.Connection) == "sqlite3"
        assert {library(kind) for kind in (Connection, AsyncConnection)} == {"psycopg"}
        assert {library(kind) for kind in (ConnectionPool, AsyncConnectionPool)} == {"psycopg_pool"}

    def test_sqlite_lists_its_databases_as_number_name_and_file(self, tmp_path: Path) -> None:
        """The lock file of a thread stands beside the database's file."""

        async def go(path: str) -> list[Any]:
            async with AsyncSqliteSaver.from_conn_string(path) as saver:
                rows = await saver.conn.execute_fetchall("PRAGMA database_list")
                return [tuple(row) for row in rows]

        file = str(tmp_path / "db")
        assert asyncio.run(go(file)) == [(0, "main", file)]
        assert asyncio.run(go(":memory:")) == [(0, "main", "")]
        with SqliteSaver.from_conn_string(file) as saver, saver.lock:
            found = saver.conn.execute("PRAGMA database_list").fetchall()
        assert found == [(0, "main", file)]

    def test_a_pool_knows_the_connection_string_that_it_was_given(self) -> None:
        """Server and database of a pool that is not open yet are read off that string."""
        from psycopg.conninfo import conninfo_to_dict
        from psycopg_pool import AsyncConnectionPool

        url = "postgresql://user:secret@server:5433/threads?application_name=x"

        async def go() -> Any:
            return AsyncConnectionPool(url, open=False).conninfo

        assert asyncio.run(go()) == url
        parts = conninfo_to_dict(url)
        assert (parts["host"], str(parts["port"]), parts["dbname"]) == ("server", "5433", "threads")

    def test_a_connection_knows_its_server_and_database(self, postgres: str) -> None:
        """A saver that was given one open connection is told apart by these."""
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        with psycopg.connect(postgres) as connection:
            parts = conninfo_to_dict(connection.info.dsn)
        wanted = conninfo_to_dict(postgres)
        assert (parts["host"], parts["dbname"]) == (wanted["host"], wanted["dbname"])

    def test_savers_have_a_cursor_and_the_async_ones_their_loop(self) -> None:
        """`postgres.py` asks PostgreSQL over a saver's own connections, on the loop they live on."""
        from langgraph.checkpoint.postgres import PostgresSaver
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

        async def go() -> tuple[Any, Any]:
            pool: Any = None
            return AsyncPostgresSaver(pool), asyncio.get_running_loop()

        saver, ours = asyncio.run(go())
        assert saver.loop is ours
        assert saver.pipe is None  # else a pipeline, which answers when it is told to
        sync: Any = PostgresSaver
        assert callable(sync._cursor)
        assert not hasattr(PostgresSaver, "loop")

    def test_a_database_has_all_that_a_thread_stores_in_these_tables(self, postgres: str) -> None:
        """Digests are looked for in them, as bytes. A further table might have some more."""
        from langgraph.checkpoint.postgres import PostgresSaver

        with SqliteSaver.from_conn_string(":memory:") as saver:
            saver.setup()
            rows = saver.conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            assert {name for (name,) in rows} == {"checkpoints", "writes"}
        with PostgresSaver.from_conn_string(postgres) as saver:
            saver.setup()
            opened: Any = saver.conn
            rows = opened.execute(
                "SELECT tablename AS t FROM pg_tables WHERE tablename ~ '^checkp'"
            )
            assert {row["t"] for row in rows} == {
                "checkpoints",
                "checkpoint_blobs",
                "checkpoint_writes",
                "checkpoint_migrations",
            }

    def test_stored_values_have_texts_as_they_are(self) -> None:
        from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

        kind, data = JsonPlusSerializer().dumps_typed({"blob": "ab" * 32, "more": [1, "x" * 300]})
        assert kind == "msgpack"
        assert b"ab" * 32 in data

    def test_threads_in_memory_are_in_a_defaultdict_unless_they_are_kept_elsewhere(self) -> None:
        from collections import defaultdict

        assert type(InMemorySaver().storage) is defaultdict

    def test_a_pruner_that_keeps_the_newest_checkpoint_empties_a_log_without_an_error(self) -> None:
        """Why threads are kept whole or deleted whole; PostgreSQL's saver refuses it."""
        from .models import rlm, root, thread

        saver = InMemorySaver()
        graph = rlm(root("x = 1", "FINAL(x)"), checkpointer=saver)
        graph.invoke({"query": "q"}, thread())
        assert graph.get_state(thread()).values["log"]
        saved = saver.storage["t"][""]
        for older in sorted(saved)[:-1]:
            del saved[older]
            saver.writes.pop(("t", "", older), None)
        state = graph.get_state(thread())
        assert state.values["answer"] == "1"
        assert not state.values.get("log")

    def test_postgresql_refuses_to_keep_the_newest_checkpoint_of_a_thread_of_ours(
        self, postgres: str
    ) -> None:
        from langgraph.checkpoint.postgres import PostgresSaver

        from .models import rlm, root, thread

        with PostgresSaver.from_conn_string(postgres) as saver:
            saver.setup()
            rlm(root("FINAL(1)"), checkpointer=saver).invoke({"query": "q"}, thread("kept"))
            if not hasattr(saver, "prune"):
                pytest.skip("this version has no prune")
            with pytest.raises(NotImplementedError):
                saver.prune(["kept"])

    def test_a_node_that_runs_next_has_a_channel(self) -> None:
        """By it a thread that was cut off before its first step is known to be an RLM's."""
        from .models import rlm, root, thread

        saver = InMemorySaver()
        graph = rlm(root("FINAL(1)"), checkpointer=saver)
        graph.invoke({"query": "q"}, thread())
        channels = [each.checkpoint["channel_versions"] for each in saver.list(thread())]
        assert f"{keys.BRANCH}ingest" in channels[-2]
        assert "log" not in channels[-2]


class Counting(TypedDict):
    """A state with one number."""

    count: int


class TestTelling:
    """What `pregel/tracing.py` and the keys of callbacks take for granted."""

    def test_a_nodes_runnable_tells_callbacks_what_trace_inputs_gives(self) -> None:
        """So that a trace does not repeat the log at every step."""
        from langgraph_rlm.pregel.tracing import Edge, tell_inputs

        told: list[Any] = []

        class Handler(BaseCallbackHandler):
            def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
                told.append((kwargs.get("name"), inputs))

        async def step(state: dict[str, int]) -> dict[str, int]:
            return {"count": state["count"] + 1}

        async def leads(state: dict[str, int]) -> str:
            return "__end__"

        graph: Any = StateGraph(Counting)
        graph.add_node("step", step)
        graph.add_edge("__start__", "step")
        graph.add_conditional_edges("step", Edge(leads), ["__end__"])
        compiled = graph.compile()
        tell_inputs(compiled, lambda state: {"told": state["count"]})
        out = asyncio.run(compiled.ainvoke({"count": 1}, {"callbacks": [Handler()]}))
        assert out == {"count": 2}
        assert ("step", {"told": 1}) in told
        assert not [name for name, _ in told if name == "leads"]  # an edge is no run of a trace

    def test_chat_models_name_their_provider(self) -> None:
        assert keys.provider_of(ChatOpenAI(model="m", api_key=cast(Any, "x"))) == "openai"
        assert keys.provider_of(object()) == ""

    def test_handlers_of_streams_are_known_by_their_class(self) -> None:
        """They get nothing of what runs inside a chat model."""
        from langgraph.pregel._messages import StreamMessagesHandler

        assert keys.is_stream_handler(StreamMessagesHandler(lambda _: None, False))
        assert not keys.is_stream_handler(BaseCallbackHandler())

    def test_counters_around_are_found_in_context_variables(self) -> None:
        from langchain_core.callbacks import get_usage_metadata_callback

        with get_usage_metadata_callback() as counter:
            assert keys.is_counter_around(counter)
        assert not keys.is_counter_around(counter)

    def test_callbacks_with_marks_of_their_own_keep_them_when_merged(self) -> None:
        """A child's name and tags go by its callbacks, which LangGraph merges with those around."""
        manager = AsyncCallbackManager(handlers=[BaseCallbackHandler()])
        manager.add_tags(["here"], inherit=False)
        manager.add_metadata({"rlm_depth": 1})
        merged = AsyncCallbackManager(handlers=manager.handlers).merge(manager)
        assert "here" in merged.tags and merged.inheritable_metadata["rlm_depth"] == 1
        assert "here" not in merged.inheritable_tags


# Runs that are given again, `pregel/given_again.py`, and `keys.own_place`


class TestRunsGivenAgain:
    """A server that lost a worker gives the same run again."""

    @pytest.mark.parametrize("bound", [False, True])
    @pytest.mark.parametrize("where", ["metadata", "configurable"])
    async def test_langgraph_resumes_by_the_run_id_of_the_newest_checkpoint(
        self, where: str, bound: bool
    ) -> None:
        """`continues_run` says what LangGraph will do, also of ids that `with_config` has bound."""
        ran: list[str] = []

        async def node(state: State) -> State:
            ran.append("node")
            return {"seen": ["node"]}

        saver = InMemorySaver()
        graph: Any = one_node(node).compile(checkpointer=saver)
        for id, resumes in (("a", False), ("a", True), ("b", False), ("b", True)):
            config: Any = {"configurable": {"thread_id": "t"}}
            named: Any = {where: {"run_id": id}}
            called = graph.with_config(named) if bound else graph
            if not bound:
                config.setdefault(where, {})["run_id"] = id
            saved = await saver.aget_tuple(config)
            merged: Any = {**config, "configurable": {**config["configurable"]}}
            if bound and where == "configurable":  # `RLMGraph._bound` puts these in
                merged["configurable"]["run_id"] = id
            assert given_again.run_of(merged, called.config) == id
            assert given_again.continues_run(merged, called.config, saved) is resumes
            before = len(ran)
            await called.ainvoke({"seen": ["in"]}, config)
            assert len(ran) - before == (0 if resumes else 1)
        assert given_again.run_of({"configurable": {}}) is None
        assert keys.TASK_ID == _constants.CONFIG_KEY_TASK_ID

    async def test_a_refused_answer_leaves_the_pause_under_its_id(self) -> None:
        """The second pause of a task, whose answer its form refuses; `paused_again` pauses there again."""
        form: Any = Annotated[Any, PlainValidator(int), WithJsonSchema({"type": "integer"})]

        async def node(state: State) -> State:
            first = interrupt("first")
            try:
                second = interrupt("second", response_schema=form)
            except ValidationError:
                raise GraphInterrupt((given_again.paused_again("again", {}),)) from None
            return {"seen": [f"{first} {second}"]}

        graph: Any = one_node(node).compile(checkpointer=InMemorySaver())
        config: Any = {"configurable": {"thread_id": "t"}}
        await graph.ainvoke({"seen": []}, config)
        [second] = (await graph.ainvoke(Command(resume="one"), config))["__interrupt__"]
        answer = Command(resume={second.id: "no number"})
        [again] = (await graph.ainvoke(answer, config))["__interrupt__"]
        assert (again.id, again.value) == (second.id, "again")
        out = await graph.ainvoke(Command(resume={second.id: "2"}), config)
        assert out["seen"] == ["one 2"]

    async def test_a_graph_that_is_not_the_first_of_its_task_has_its_number_in_its_namespace(
        self,
    ) -> None:
        """`own_place` is where a counted graph is saved."""
        saver, places = InMemorySaver(), list[str]()

        async def inside(state: State) -> State:
            return {"seen": ["inside"]}

        inner: Any = one_node(inside).compile()

        async def node(state: State, config: RunnableConfig) -> State:
            for _ in range(2):
                counted = keys.counted(config)
                places.append(keys.own_place(counted)["configurable"]["checkpoint_ns"])
                await inner.ainvoke({"seen": []}, counted)
            return {"seen": ["node"]}

        graph: Any = one_node(node).compile(checkpointer=saver)
        await graph.ainvoke({"seen": []}, {"configurable": {"thread_id": "t"}})
        thread: Any = {"configurable": {"thread_id": "t"}}
        saved = {each.config["configurable"]["checkpoint_ns"] async for each in saver.alist(thread)}
        assert saved == {"", *places} and len(set(places)) == 2


def one_node(node: Any) -> Any:
    graph: Any = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph
