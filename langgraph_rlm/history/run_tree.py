"""Run tree: an RLM of a thread and its children, as their checkpoints have them. Reads only.

Saved runs and traces are made of it. A child that ran elsewhere is read from its own thread, where
the same checkpointer has it (`history/kin.py`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal, cast

from langchain_core.runnables import RunnableConfig
from langgraph.types import Interrupt, PregelTask, StateSnapshot

from langgraph_rlm.budget.usage import Usage, add_usage, spent
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.history.fork import has_checkpointer, rlm_at
from langgraph_rlm.history.kin import named_in
from langgraph_rlm.log.entries import Log
from langgraph_rlm.log.places import call_at, spent_on
from langgraph_rlm.pregel.keys import parts_of, send_number
from langgraph_rlm.remote.tasks import PARENT_THREAD
from langgraph_rlm.runtime.open_batch import with_answers
from langgraph_rlm.state import CALL_NODES, ELSEWHERE, RLMState, changed, last_native_calls, pending

PAUSING = ("tool_interrupt", ELSEWHERE)
"""The nodes that pause for a call: of a tool, or of a child elsewhere with its own pauses."""


TreeState = Literal["done", "paused", "open"]
"""It has its answer; it, or one of its children, waits for a human; it works, or was cut off."""


@dataclass(frozen=True)
class OpenPause:
    """A pause that nobody has answered yet."""

    place: str
    """Of the answer in the log of its RLM: of the tool call's, or of the child's elsewhere."""
    interrupt: Interrupt


@dataclass
class RLMTree:
    """One RLM of a thread, and those that its code has asked."""

    rlm_id: str
    depth: int
    model: str | None
    """The name of the model that a parent's code picked; None for the default."""
    namespace: str
    """The `checkpoint_ns` of its checkpoints."""
    checkpoint: str
    """The id of the checkpoint that this was read from."""
    updated: str
    """When that was written, as ISO 8601."""
    state: TreeState
    answer: str | None
    """None while it is not over."""
    stop_reason: str
    is_structured: bool
    """Whether the answer had to match a schema."""
    value: Any
    """The answer as plain JSON values, where it had to match a schema."""
    usage: Usage
    """Spent by it and its children, as far as checkpoints and answers tell."""
    log: Log
    """With the answers that the call which still waits has so far."""
    suspended: str | None
    """The place of the call that the open cell waits for."""
    children: dict[str, "RLMTree"]
    """Each child by the place of the answer that it gave, or will give."""
    thread: str
    """The thread of its checkpoints: a child's that ran elsewhere is its own."""
    threads: dict[str, str]
    """The threads of children that ran elsewhere, by the places of their answers. One that is not
    among `children` has not begun, or another database has it."""
    pauses: list[OpenPause] = field(default_factory=list[OpenPause])
    """Of its own tool calls, and of children elsewhere; not of children of this thread. A child
    elsewhere has none here: its pauses are its parent's, which takes their answers."""


def check_has_thread(graph: Any, given: Mapping[str, Any]) -> None:
    """Check that a config names a thread of a graph with a checkpointer.

    Raises:
        ConfigurationError: it does not.
    """
    if given.get("thread_id") is None or not has_checkpointer(graph):
        raise ConfigurationError(
            "A run is read from its checkpoints: "
            "give the graph a checkpointer, and the thread_id of the run."
        )


async def run_tree(graph: Any, config: RunnableConfig) -> RLMTree:
    """Read an RLM of a thread, and those below it.

    Args:
        graph: an RLM with a checkpointer, or a graph with one as a node.
        config: the thread. Without a `checkpoint_id` its newest branch, else the branch that ends
            there; with a `checkpoint_ns` an RLM within.

    Raises:
        ConfigurationError: the graph has no checkpointer, or the thread no such checkpoint.
    """
    given: dict[str, Any] = config.get("configurable", {})
    check_has_thread(graph, given)
    thread = str(given["thread_id"])
    namespace = given.get("checkpoint_ns", "")
    reader = _Reader(graph, thread, await _steps(graph, thread), namespace)
    return await reader.rlm(namespace, given.get("checkpoint_id"))


@dataclass(frozen=True)
class _Step:
    """One checkpoint: the part of it that says which checkpoints belong together."""

    parent: str | None
    source: str
    above: dict[str, str]
    """The checkpoints of the graphs around it, by namespace."""
    child: str | None
    """Of the steps that wait for a child elsewhere: its thread."""
    of: str | None
    """Of a child elsewhere: the thread of its parent, where it says so."""


Steps = dict[str, dict[str, _Step]]
"""The checkpoints of a thread, by namespace and id. Ids sort by time."""


async def _steps(graph: Any, thread: str) -> Steps:
    found: Steps = {}
    async for saved in graph.checkpointer.alist({"configurable": {"thread_id": thread}}):
        own: dict[str, Any] = saved.config["configurable"]
        parent: str | None = (
            saved.parent_config and saved.parent_config["configurable"]["checkpoint_id"]
        )
        said: Mapping[str, Any] = saved.metadata
        step = _Step(
            parent,
            said.get("source", ""),
            said.get("parents", {}),
            named_in(saved),
            said.get(PARENT_THREAD),
        )
        found.setdefault(own.get("checkpoint_ns", ""), {})[own["checkpoint_id"]] = step
    return found


class _Reader:
    """Reads the RLMs of one thread, and of those of its children elsewhere."""

    def __init__(
        self, graph: Any, thread: str, steps: Steps, top: str, around: Sequence[str] = ()
    ) -> None:
        self._graph = graph
        self._thread = thread
        self._steps = steps
        self._top = top
        """The namespace that reading begins at."""
        self._around = around
        """The threads of the RLMs above, of a child elsewhere."""
        self._within = defaultdict[str, list[tuple[str, str]]](list)
        """Namespace and task of each child, by the namespace of its parent."""
        for namespace in sorted(steps):
            above, node, task = parts_of(namespace)
            if node in ("sub_call", ELSEWHERE):
                self._within[above].append((namespace, task))

    async def rlm(self, namespace: str, checkpoint: str | None = None) -> RLMTree:
        """Read the RLM of a namespace and its children.

        Args:
            namespace: the RLM's own.
            checkpoint: the RLM as of this checkpoint; None for its newest.

        Raises:
            ConfigurationError: there is no such checkpoint.
        """
        head = self._head(namespace, checkpoint)
        then = await self._snapshot(namespace, head)
        snapshot = await with_answers(then, self._graph.checkpointer)
        values: Any = snapshot.values
        if "trajectory" not in values:
            raise ConfigurationError(
                f"No RLM has begun on thread {self._thread!r} at checkpoint_ns={namespace!r}."
            )
        log = _with_answers(snapshot)
        children, threads = await self._children(namespace, head, log)
        suspended: str | None = values.get("suspended")
        return RLMTree(
            rlm_id=values["trajectory"],
            depth=values.get("depth", 0),
            model=values.get("model"),
            namespace=namespace,
            checkpoint=head,
            updated=snapshot.created_at or "",
            state=_state(snapshot),
            answer=None if snapshot.next else values["answer"],
            stop_reason=values.get("stop_reason", ""),
            is_structured=values.get("answer_schema") is not None,
            value=values.get("structured_response"),
            usage=_usage(values, log, suspended, _open_usages(children, threads, log)),
            log=log,
            suspended=suspended,
            children=children,
            thread=self._thread,
            threads=threads,
            pauses=[] if self._around else _pauses(snapshot),
        )

    def _head(self, namespace: str, checkpoint: str | None) -> str:
        steps = self._steps.get(namespace, {})
        if not steps or (checkpoint is not None and checkpoint not in steps):
            which = "checkpoint" if checkpoint is None else f"checkpoint {checkpoint!r}"
            raise ConfigurationError(
                f"Thread {self._thread!r} has no {which} to read: "
                "has it run with this checkpointer?"
            )
        return checkpoint or max(steps)

    async def _children(
        self, namespace: str, head: str, log: Log
    ) -> tuple[dict[str, RLMTree], dict[str, str]]:
        """Read the children whose answers this branch has or waits for, by place, and name the
        threads of those elsewhere.

        Children of steps that a fork has left behind are not among them.
        """
        taken = self._taken(namespace, head)
        places: dict[str, dict[str, str]] = {}
        found: dict[str, RLMTree] = {}
        threads = {
            place: entry["thread"]
            for place, entry in log.items()
            if entry["kind"] == "reply" and "thread" in entry
        }
        for name, task in self._within[namespace]:
            newest = self._steps[name][max(self._steps[name])]
            waiting = newest.above.get(namespace)
            if waiting not in taken:
                continue
            if waiting not in places:
                places[waiting] = places_of(await self._snapshot(namespace, waiting))
            place = places[waiting][task]
            if newest.child is not None:
                threads.setdefault(place, newest.child)
            elif parts_of(name)[1] != ELSEWHERE:
                found[place] = await self.rlm(name)
        for place, thread in threads.items():
            if (child := await self._elsewhere(thread)) is not None:
                found[place] = child
        return dict(sorted(found.items())), threads

    async def _elsewhere(self, thread: str) -> RLMTree | None:
        """Read a child that runs on a thread of its own; None where that has not begun, is not in
        this database, or is not a child of this thread."""
        around = [*self._around, self._thread]
        if thread in around:
            return None
        steps = await _steps(self._graph, thread)
        if all(step.of != self._thread for step in steps.get("", {}).values()):
            return None
        graph = rlm_at(self._graph, self._top).copy({"checkpointer": self._graph.checkpointer})
        try:
            return await _Reader(graph, thread, steps, "", around).rlm("")
        except ConfigurationError:  # it has just begun, or has just been forgotten
            return None

    def _taken(self, namespace: str, head: str) -> set[str]:
        """Give the checkpoints of a branch whose tasks the branch has run."""
        steps = self._steps[namespace]
        taken = {head}
        at = head
        while (parent := steps[at].parent) in steps:
            if steps[at].source == "loop":
                taken.add(parent)
            at = parent
        return taken

    async def _snapshot(self, namespace: str, checkpoint: str) -> StateSnapshot:
        at = {"thread_id": self._thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint}
        return await self._graph.aget_state({"configurable": at})


def _with_answers(snapshot: StateSnapshot) -> Log:
    """Give a log with what the tasks of an open step have added to it so far."""
    values: Any = snapshot.values
    log: Log = dict(values["log"])
    for task in _calls(snapshot):
        log.update(_written(task))
    return log


def _calls(snapshot: StateSnapshot) -> list[PregelTask]:
    """The tasks of an open step that each answer one item of a call."""
    return [task for task in snapshot.tasks if task.name in CALL_NODES]


def _written(task: PregelTask) -> Log:
    """What a task of an open step has added to the log; nothing while it has not ended."""
    result = cast("dict[str, Any] | None", task.result)
    return {} if result is None else result.get("log", {})


def _state(snapshot: StateSnapshot) -> TreeState:
    if not snapshot.next:
        return "done"
    return "paused" if any(task.interrupts for task in snapshot.tasks) else "open"


def _usage(
    values: Mapping[str, Any], log: Log, suspended: str | None, open_children: Sequence[Usage]
) -> Usage:
    """Add up what an RLM has spent: as of its checkpoint, in answers since, and in children that
    have not answered."""
    parts = [values.get("usage") or spent(), spent_on(log, suspended) or spent()]
    return reduce(add_usage, [*parts, *open_children])


def _open_usages(
    children: Mapping[str, RLMTree], threads: Mapping[str, str], log: Log
) -> list[Usage]:
    """Give what children have spent that have not answered. The seconds of one elsewhere are left
    out: the clock of its parent counts them while it waits."""
    return [
        {**child.usage, "seconds": 0.0} if place in threads else child.usage
        for place, child in children.items()
        if place not in log
    ]


def places_of(snapshot: StateSnapshot) -> dict[str, str]:
    """Give the places of the answers that the calls of an RLM's open step give, by task: its number
    among the `Send`s says which item it is. Plain calls of models have nothing within, and are left
    out.

    Answers of the step itself are left out of the log first: LangGraph shows a graph within with
    what its finished tasks have written, and the `Send`s were counted before.
    """
    calls = _calls(snapshot)
    call = call_at(snapshot.values.get("log") or {}, snapshot.values.get("suspended"))
    is_plain = call is not None and call["call"] == "llm"
    if not calls or is_plain:  # before its first turn an RLM has no calls to look for
        return {}
    values: RLMState = snapshot.values  # pyright: ignore[reportAssignmentType]
    written = {place for task in calls for place in _written(task)}
    log = {place: entry for place, entry in values["log"].items() if place not in written}
    before = changed(values, log=log)
    suspended = values.get("suspended")
    asked: Sequence[str] = [suspended] if suspended else list(last_native_calls(before))
    waiting = [each["place"] for call in asked for each in pending(before, call)]
    return {task.id: waiting[send_number(task)] for task in calls}


def _pauses(snapshot: StateSnapshot) -> list[OpenPause]:
    tasks = [task for task in snapshot.tasks if task.name in PAUSING and task.interrupts]
    if not tasks:
        return []
    places = places_of(snapshot)
    return [OpenPause(places[task.id], pause) for task in tasks for pause in task.interrupts]
