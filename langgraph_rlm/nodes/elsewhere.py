"""Elsewhere: has a child RLM run on an engine, and carries its pauses. Runs no code and asks no
model.

Its steps are a graph of their own, within the node of the call: `watch` waits until the child has
ended or pauses, each pause is an `ask` of its own, and `tell` gives the child the answers. Each
step is saved before the next, so a parent that dies goes on where it was.
"""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, NotRequired, cast

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from langgraph.types import Overwrite
from typing_extensions import TypedDict

from langgraph_rlm.budget.ledger import Grant, LimitReached
from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.log.entries import Settings
from langgraph_rlm.log.places import call_of
from langgraph_rlm.nodes.below import TREE_WIDE
from langgraph_rlm.nodes.item import Ended, Item
from langgraph_rlm.nodes.tool_interrupt import ask, who
from langgraph_rlm.pregel.keys import DURABILITY, saves_at_once
from langgraph_rlm.progress import ChildElsewhere
from langgraph_rlm.remote.engine import Engine, OpenPause, ParentRun
from langgraph_rlm.remote.tasks import (
    PARENT_THREAD,
    GrantDict,
    Task,
    child_thread,
    read_grant,
    sign,
)
from langgraph_rlm.runtime.run import frame_of, with_key
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.storage.inputs import Given
from langgraph_rlm.storage.json_types import is_dict
from langgraph_rlm.telemetry.marks import marked_graph
from langgraph_rlm.telemetry.observers import at_work
from langgraph_rlm.telemetry.work import Work
from langgraph_rlm.tools import RLMTool
from langgraph_rlm.tools.approvals import (
    EXTERNAL_CALL,
    Pause,
    decision_schema,
    tool_of_review,
)

GRACE_SECONDS = 15.0
"""How long after `max_seconds` a child may still give its best answer, with what its engine needs
to begin and to tell."""


class Told(TypedDict):
    """The answer to a pause."""

    answer: Any
    by: NotRequired[str]
    """Who gave it, where that is known."""


def merge_told(told: dict[str, Told], more: dict[str, Told]) -> dict[str, Told]:
    """Reducer: each `ask` gives one."""
    return {**told, **more}


TOKEN = "__rlm_child_token"
"""Key of a config's `configurable` that has the signed task. It is made again where it is needed
again, and does not belong into checkpoints."""

OPTIONS = "__rlm_child_options"
"""Key of a config's `configurable` that has what the child's runs have of the parent's."""


class ElsewhereCall(TypedDict):
    """What the steps begin with."""

    thread: str


class ElsewhereState(ElsewhereCall):
    """What the steps hold. LangGraph leaves out what was never written."""

    pauses: list[OpenPause]
    """Those that are open."""
    after: str
    """The run that has paused."""
    answers: Annotated[dict[str, Told], merge_told]
    """By the pauses' ids."""
    out: dict[str, Any]
    """What the child has given."""


OUT = ("answer", "structured_response", "stop_reason", "usage", "seen", "trajectory")
"""What is taken of a child's values."""


class Elsewhere:
    """Children on an engine."""

    def __init__(self, rlm: RLMRuntime, engine: Engine | None, steps: Any) -> None:
        self._rlm = rlm
        self._engine = engine
        self._steps = steps

    async def run(self, item: Item, given: Given, work: Work) -> Ended:
        """Have one run, with a share of what is left as its own budget.

        Raises:
            LimitReached: nothing is left.
            ChildrenUnreachableError: the engine cannot be reached.
        """
        engine = needed(self._engine)
        item.thread = child_thread(item.config, engine.children.key)
        run, call = item.frame.run, item.call
        with run.granting(call["parent"], call_of(call["place"]), call["total"]) as among:
            grant, usage = await self._granted(engine, item, among), None
            try:
                task = await self._task(item, given, grant)
                token = sign("task", task, item.thread, engine.children.key)
                out = await self._watched(engine, item, token, work)
                usage = out.get("usage") or None
            finally:
                run.ledger.end_grant(grant, usage)
        reason = out["stop_reason"]
        is_over = reason in TREE_WIDE and run.ledger.is_reached(reason)
        return Ended(out, reason if is_over else None)

    async def _granted(self, engine: Engine, item: Item, among: int) -> Grant:
        """Hold what the child may spend: what its thread says, where it has one."""
        ledger, thread, key = item.frame.run.ledger, item.thread, engine.children.key
        if item.frame.run.resumed and (known := await engine.known(thread)):
            grant = Grant(**read_grant(known, thread, key))
            ledger.hold_grant(grant)
            return grant
        own = ledger.grant(among)
        try:
            token = sign("grant", asdict(own), thread, key)
            grant = Grant(
                **read_grant(await engine.begin(thread, token, _about(item)), thread, key)
            )
        except BaseException:
            ledger.end_grant(own)
            raise
        ledger.end_grant(own)  # of two parents, the first one's counts
        ledger.hold_grant(grant)
        return grant

    async def _task(self, item: Item, given: Given, grant: Grant) -> Task:
        form = item.form
        return Task(
            query=given["query"],
            contexts=given["context"]["rlm_handles"],
            depth=item.frame.depth + 1,
            model=item.model,
            form=None if form is None else await self._rlm.blobs.keep(form.text),
            settings=item.frame.run.settings or Settings(),
            grant=GrantDict(**asdict(grant)),
            parent=_thread_of(item),
            caller=[*item.caller],
            trace=item.frame.work.root.left_behind,
        )

    async def _watched(self, engine: Engine, item: Item, token: str, work: Work) -> dict[str, Any]:
        """Wait for the child, here or in its pauses. It is cancelled with whoever waits."""
        begun = ElsewhereCall(thread=item.thread)
        config = with_key(marked_graph(item.config, work), TOKEN, token)
        config = with_key(config, OPTIONS, options_of(config))
        # The steps are saved in any case: they are how the child's thread is found and deleted.
        durability = None if saves_at_once(config) else "async"
        _tell(item, "started")
        try:
            with at_work(work):
                out = await self._steps.ainvoke(begun, config, durability=durability)
                work.spent = out["out"].get("usage") or {}
        except (asyncio.CancelledError, LimitReached) as left:
            parent = parent_run(config) if isinstance(left, asyncio.CancelledError) else None
            leaving = asyncio.create_task(engine.leave(item.thread, parent))
            if parent is None:
                await asyncio.shield(leaving)
            else:  # its engine waits for this to end before it says what has become of the run
                _LEAVING.add(leaving)
                leaving.add_done_callback(_LEAVING.discard)
            raise
        _tell(item, "ended")
        return out["out"]


def _tell(item: Item, state: Any) -> None:
    """Tell that a child elsewhere has begun or ended."""
    event = ChildElsewhere(
        type="child",
        state=state,
        thread=item.thread,
        depth=item.frame.depth + 1,
        trajectory=item.caller.rlm_id,
        place=item.caller.place,
    )
    item.frame.run.emit(event)


def _about(item: Item) -> dict[str, str]:
    """What a child's thread is found by."""
    return {
        PARENT_THREAD: _thread_of(item),
        "rlm_parent": item.caller.rlm_id,
        "rlm_parent_place": item.caller.place,
    }


def _thread_of(item: Item) -> str:
    """The thread of the parent; empty where it has none."""
    return str(item.config.get("configurable", {}).get("thread_id", ""))


_LEAVING = set[asyncio.Task[None]]()
"""Tasks that nobody else holds."""


def parent_run(config: RunnableConfig) -> ParentRun | None:
    """The run that an engine names in a config; None outside of engines."""
    given = config.get("configurable", {})
    run = given.get("run_id") or config.get("metadata", {}).get("run_id")
    if run is None or "thread_id" not in given:
        return None
    return ParentRun(str(given["thread_id"]), str(run))


def needed(engine: Engine | None) -> Engine:
    """Give the engine of a graph that has one.

    Raises:
        ConfigurationError: it has none, and the thread's children run on one.
    """
    if engine is None:
        raise ConfigurationError(
            "This thread waits for child RLMs that run elsewhere, and the graph was made without "
            "children=. Make it with the children= that the thread began with."
        )
    return engine


# The steps


class Step:
    """What the steps have in common."""

    def __init__(self, rlm: RLMRuntime, engine: Engine | None) -> None:
        self._rlm = rlm
        self._engine = engine


class Watch(Step):
    """Waits until the child has ended or pauses."""

    async def __call__(
        self, state: ElsewhereState, config: RunnableConfig, runtime: Runtime[Any]
    ) -> dict[str, Any]:
        """Give what it has given, or its pauses.

        Raises:
            LimitReached: `max_seconds` came first.
        """
        engine, left = needed(self._engine), frame_of(config).run.ledger.seconds_left()
        try:
            async with asyncio.timeout(None if left is None else left + GRACE_SECONDS):
                given = config.get("configurable", {})
                look = await engine.outcome(state["thread"], given[TOKEN], given[OPTIONS])
        except TimeoutError:
            raise LimitReached("max_seconds", self._rlm.limits.max_seconds) from None
        if look.pauses:
            return {"pauses": [*look.pauses], "after": look.run}
        out = {key: look.values[key] for key in OUT if key in look.values}
        if usage := cast("Usage | None", out.get("usage")):
            # This process's clock counted them while it waited.
            out["usage"] = {**usage, "seconds": 0.0}
        if look.failed is not None:
            out |= {"answer": f"the child's run failed: {look.failed}", "stop_reason": "failed"}
        return {"out": out, "pauses": []}


class AskHere(Step):
    """Pauses the parent with a pause of the child: the same value, the same answers."""

    async def __call__(
        self, pause: OpenPause, config: RunnableConfig, runtime: Runtime[Any]
    ) -> dict[str, Any]:
        """Give the answer, which has passed the check that the child's own pause makes."""
        tool = self._tool(pause["value"])
        told = Told(answer=ask(self._pause(pause, tool), tool, config))
        if by := who(config):
            told["by"] = by
        return {"answers": {pause["id"]: told}}

    def _tool(self, value: Any) -> RLMTool | None:
        """The tool whose call waits; None where a tool itself asks something."""
        name = tool_of_review(value)
        if is_dict(value) and value.get("type") == EXTERNAL_CALL:
            name = value.get("name")
        tools = self._rlm.toolset.children.values()
        return next((tool for tool in tools if tool.name == name), None)

    def _pause(self, pause: OpenPause, tool: RLMTool | None) -> Pause:
        """The pause as the child made it. Aegra leaves its schema out, which follows from the rest
        where a tool's call waits."""
        value, schema = pause["value"], pause["schema"]
        if schema is None and tool is not None and not tool.is_external:
            reviews = value.get("review_configs") or [self._rlm.toolset.interrupt_on[tool.name]]
            schema = decision_schema(tool, reviews[0]["allowed_decisions"])
        return Pause(value=value, schema=schema or {})


class Tell(Step):
    """Gives the child the answers to its pauses, once."""

    async def __call__(
        self, state: ElsewhereState, config: RunnableConfig, runtime: Runtime[Any]
    ) -> dict[str, Any]:
        """Have it continue."""
        told = state["answers"]
        answers = {id: each["answer"] for id, each in told.items()}
        options = {**config.get("configurable", {})[OPTIONS]}
        people = {each.get("by") for each in told.values()}
        if len(people) == 1 and (by := people.pop()) is not None:
            options["config"] = {"configurable": {"user_id": by}}
        await needed(self._engine).answer(state["thread"], answers, state["after"], options)
        return {"answers": Overwrite({}), "pauses": []}


def options_of(config: RunnableConfig) -> dict[str, Any]:
    """What the run of a child has of its parent's."""
    durability = config.get("configurable", {}).get(DURABILITY)
    return {} if durability is None else {"durability": durability}
