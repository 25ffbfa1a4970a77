"""Trajectory: a run as a file that is a test. It is saved from its checkpoints; `retrace` replays it without a model on today's code.

    # once, from a real run
    save_run(rlm, {"configurable": {"thread_id": "contracts-1"}}, "tests/trajectories/contracts.json")

    # for ever, in CI: no key, no network
    @pytest.mark.parametrize("path", sorted(Path("tests/trajectories").glob("*.json")), ids=lambda path: path.stem)
    def test_a_saved_run_still_does_the_same(path):
        replay_run(path, tools=[search])

Both are in `langgraph_rlm.testing`.
"""

import asyncio
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from langgraph_rlm.errors import ConfigurationError, problems_in
from langgraph_rlm.history.fork import rlm_at, waited
from langgraph_rlm.log.entries import Log, LogEntry
from langgraph_rlm.log.places import questions_of
from langgraph_rlm.pregel.keys import send_number, task_within
from langgraph_rlm.state import pending
from langgraph_rlm.storage.blobs import to_bytes, to_text

FORMAT = "langgraph-rlm run 1"


class SavedRLM(TypedDict):
    """One RLM of a saved run."""

    trajectory: str
    answer: str | None
    """None while it is not over."""
    stop_reason: str
    structured: bool
    """Whether the answer had to match a schema: it then is what the schema made of what code gave."""
    log: dict[str, Annotated[LogEntry, Field(discriminator="kind")]]
    children: dict[str, "SavedRLM"]
    """By the place of the answer that each gave."""


class SavedRun(TypedDict):
    """A run as a file: JSON, gzipped where the file's name ends in `.gz`."""

    format: str
    version: str
    """Of this package."""
    sandbox: str
    limits: dict[str, Any]
    models: list[str]
    root: SavedRLM
    blobs: dict[str, str]
    """Every text that the logs refer to, by digest."""


def save_run(
    graph: Any, config: RunnableConfig, path: str | Path, *, contexts: bool = True
) -> None:
    """As `asave_run`."""
    waited(graph, lambda own: asave_run(own, config, path, contexts=contexts))


async def asave_run(
    graph: Any, config: RunnableConfig, path: str | Path, *, contexts: bool = True
) -> None:
    """Write a thread's run, children included, to one file that `replay_run` replays. It holds prompts, replies and contexts in full.

    Args:
        graph: an RLM with a checkpointer, or a graph with one as a node.
        config: of the thread; with `checkpoint_id` for another branch than the newest, with `checkpoint_ns` for an RLM within.
        path: of the file; gzipped where it ends in `.gz`.
        contexts: False leaves the contexts out; the replay then needs a store that has them.

    Raises:
        ForkError: there is no RLM at `checkpoint_ns`.
        ConfigurationError: the graph has no checkpointer, or the thread no such checkpoint.
        BlobError: a value that the log refers to is gone.
    """
    given = config.get("configurable", {})
    namespace, thread = cast(str, given.get("checkpoint_ns", "")), given.get("thread_id")
    if thread is None or not isinstance(graph.checkpointer, BaseCheckpointSaver):
        raise ConfigurationError(
            "A run is saved from its checkpoints: give the graph a checkpointer, and the thread_id of the run."
        )
    rlm = rlm_at(graph, namespace).rlm
    root = await _Checkpoints(graph, thread, await _steps(graph, thread)).rlm(
        namespace, given.get("checkpoint_id")
    )
    digests = {
        digest
        for rlm in rlms_of(root)
        for digest in (*_blobs(rlm["log"]), *(context_blobs(rlm["log"]) if contexts else ()))
    }
    saved = SavedRun(
        format=FORMAT,
        version=version("langgraph-rlm"),
        sandbox=rlm.sessions.backend.name,
        limits=rlm.limits.model_dump(),
        models=sorted(rlm.models),
        root=root,
        blobs=await asyncio.to_thread(
            lambda: {digest: to_text(rlm.blobs.get(digest)) for digest in sorted(digests)}
        ),
    )
    await asyncio.to_thread(_write, saved, Path(path))


def _write(saved: SavedRun, path: Path) -> None:
    data = to_bytes(json.dumps(saved, ensure_ascii=False, indent=1))
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def load_run(path: str | Path) -> SavedRun:
    """Read a saved run. Raises `ConfigurationError` if the file is none."""
    data = Path(path).read_bytes()
    try:
        saved = json.loads(to_text(gzip.decompress(data) if str(path).endswith(".gz") else data))
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{str(path)!r} is no saved run: {error}.") from None
    if not isinstance(saved, dict) or cast(dict[str, Any], saved).get("format") != FORMAT:
        raise ConfigurationError(
            f"{str(path)!r} is no saved run of this version: its format is not {FORMAT!r}. Save the run again."
        )
    try:
        TypeAdapter(SavedRun).validate_python(saved)
    except ValidationError as error:
        raise ConfigurationError(f"{str(path)!r} is no saved run: {problems_in(error)}.") from None
    return cast(SavedRun, saved)


def rlms_of(rlm: SavedRLM) -> Iterator[SavedRLM]:
    """A saved RLM and all below it."""
    yield rlm
    for child in rlm["children"].values():
        yield from rlms_of(child)


def _blobs(value: Any) -> Iterator[str]:
    """Digests of the texts that a value refers to."""
    if isinstance(value, Mapping):
        known = cast(Mapping[str, Any], value)
        if "blob" in known:
            yield known["blob"]
        for inner in known.values():
            yield from _blobs(inner)


def context_blobs(log: Log) -> Iterator[str]:
    """Digests of the contexts that a log's questions brought."""
    for question in questions_of(log):
        for handle in question["contexts"]:
            yield from (digest for digest in (handle["digest"], handle["index"]) if digest)


@dataclass(frozen=True)
class _Step:
    """One checkpoint, as far as it says what belongs together."""

    parent: str | None
    source: str
    above: dict[str, str]
    """The checkpoints of the graphs around it, by namespace."""


async def _steps(graph: Any, thread: str) -> dict[str, dict[str, _Step]]:
    """The checkpoints of a thread by namespace and id; ids sort by time."""
    found: dict[str, dict[str, _Step]] = {}
    async for saved in graph.checkpointer.alist({"configurable": {"thread_id": thread}}):
        own: dict[str, Any] = saved.config["configurable"]
        parent: str | None = (
            saved.parent_config and saved.parent_config["configurable"]["checkpoint_id"]
        )
        step = _Step(parent, saved.metadata.get("source", ""), saved.metadata.get("parents", {}))
        found.setdefault(own.get("checkpoint_ns", ""), {})[own["checkpoint_id"]] = step
    return found


class _Checkpoints:
    """A thread's RLMs, from its checkpoints."""

    def __init__(self, graph: Any, thread: str, steps: dict[str, dict[str, _Step]]) -> None:
        self._graph = graph
        self._thread = thread
        self._steps = steps

    async def rlm(self, namespace: str, checkpoint: str | None = None) -> SavedRLM:
        """The RLM of a namespace as of a checkpoint, by default its newest, and its children."""
        if not self._steps.get(namespace) or (
            checkpoint is not None and checkpoint not in self._steps[namespace]
        ):
            which = "checkpoint" if checkpoint is None else f"checkpoint {checkpoint!r}"
            raise ConfigurationError(
                f"Thread {self._thread!r} has no {which} to save: has it run with this checkpointer?"
            )
        head = checkpoint or max(self._steps[namespace])
        state = await self._state(namespace, head)
        values = state.values
        return SavedRLM(
            trajectory=values["trajectory"],
            answer=None if state.next else values["answer"],
            stop_reason=values.get("stop_reason", ""),
            structured=values.get("answer_schema") is not None,
            log=values["log"],
            children=await self._children(namespace, head),
        )

    async def _children(self, namespace: str, head: str) -> dict[str, SavedRLM]:
        """Those whose answers this branch has, or waits for: not those of steps that a fork has left behind."""
        taken = self._taken(namespace, head)
        found: dict[str, SavedRLM] = {}
        for name in sorted(self._steps):
            task = task_within(namespace, "sub_call", name)
            if task is None:
                continue
            waiting = self._steps[name][max(self._steps[name])].above.get(namespace)
            if waiting in taken:
                place = await self._place(namespace, waiting, task)
                found[place] = await self.rlm(name)
        return dict(sorted(found.items()))

    def _taken(self, namespace: str, head: str) -> set[str]:
        """The checkpoints of a branch whose tasks it has run."""
        steps, taken, at = self._steps[namespace], {head}, head
        while (parent := steps[at].parent) in steps:
            if steps[at].source == "loop":
                taken.add(parent)
            at = parent
        return taken

    async def _place(self, namespace: str, checkpoint: str, task: str) -> str:
        """Where the answer of a task goes: its number among the `Send`s says which item it is."""
        state = await self._state(namespace, checkpoint)
        number = send_number(next(each for each in state.tasks if each.id == task))
        return pending(state.values, state.values["suspended"])[number]["place"]

    async def _state(self, namespace: str, checkpoint: str) -> Any:
        at = {"thread_id": self._thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint}
        return await self._graph.aget_state({"configurable": at})
