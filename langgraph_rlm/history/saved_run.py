"""Saved run: a run as one file that works as a test. It is saved from its checkpoints.

`replay_run` runs its code again on today's code, without a model:

    # once, from a real run
    save_run(rlm, {"configurable": {"thread_id": "contracts-1"}}, "tests/runs/contracts.json")

    # for ever, in CI: no key, no network
    @pytest.mark.parametrize("path", sorted(Path("tests/runs").glob("*.json")))
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
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from langgraph_rlm.errors import ConfigurationError, problems_in
from langgraph_rlm.history.fork import has_checkpointer, rlm_at, waited
from langgraph_rlm.log.entries import Log, LogEntry
from langgraph_rlm.log.places import questions_of
from langgraph_rlm.pregel.keys import send_number, task_within
from langgraph_rlm.state import pending
from langgraph_rlm.storage.blobs import BlobStore, to_bytes, to_text
from langgraph_rlm.storage.context import MEDIA

FORMAT = "langgraph-rlm run 1"


class SavedRLM(TypedDict):
    """One RLM of a saved run."""

    trajectory: str
    """The id of the RLM."""
    answer: str | None
    """None while it is not over."""
    stop_reason: str
    structured: bool
    """Whether the answer had to match a schema: then it is what the schema made of code's value."""
    log: dict[str, Annotated[LogEntry, Field(discriminator="kind")]]
    children: dict[str, "SavedRLM"]
    """Each child by the place of the answer that it gave."""


class SavedRun(TypedDict):
    """A run as a file: JSON, gzipped if the file's name ends in `.gz`."""

    format: str
    version: str
    """The version of this package that saved it."""
    sandbox: str
    limits: dict[str, Any]
    models: list[str]
    root: SavedRLM
    blobs: dict[str, str]
    """Every text that the logs refer to, by digest."""


def save_run(
    graph: Any, config: RunnableConfig, path: str | Path, *, contexts: bool = True
) -> None:
    """Do what `asave_run` does, from sync code."""
    waited(graph, lambda own: asave_run(own, config, path, contexts=contexts))


async def asave_run(
    graph: Any, config: RunnableConfig, path: str | Path, *, contexts: bool = True
) -> None:
    """Write a thread's run, children included, to one file that `replay_run` replays.

    The file holds prompts, replies and contexts in full.

    Args:
        graph: an RLM with a checkpointer, or a graph with one as a node.
        config: the thread. Without a `checkpoint_id` its newest branch is saved, else the branch
            that ends there; with a `checkpoint_ns` an RLM within.
        path: the file to write; gzipped if its name ends in `.gz`.
        contexts: False leaves the contexts out; the replay then needs a store that has them.

    Raises:
        ForkError: there is no RLM at `checkpoint_ns`.
        ConfigurationError: the graph has no checkpointer, or the thread no such checkpoint.
        BlobError: a value that the log refers to is gone.
    """
    given: dict[str, Any] = config.get("configurable", {})
    namespace: str = given.get("checkpoint_ns", "")
    thread = given.get("thread_id")
    if thread is None or not has_checkpointer(graph):
        raise ConfigurationError(
            "A run is saved from its checkpoints: "
            "give the graph a checkpointer, and the thread_id of the run."
        )
    rlm = rlm_at(graph, namespace).rlm
    checkpoints = _Checkpoints(graph, thread, await _steps(graph, thread))
    root = await checkpoints.rlm(namespace, given.get("checkpoint_id"))
    saved = SavedRun(
        format=FORMAT,
        version=version("langgraph-rlm"),
        sandbox=rlm.sandbox(root["log"]).name,
        limits=rlm.limits.model_dump(),
        models=sorted(rlm.models),
        root=root,
        blobs=await asyncio.to_thread(_texts, root, rlm.blobs, contexts),
    )
    await asyncio.to_thread(_write, saved, Path(path))


def _texts(root: SavedRLM, blobs: BlobStore, contexts: bool) -> dict[str, str]:
    """Read the texts that an RLM and those below it refer to, by digest."""
    digests: set[str] = set()
    for rlm in rlms_of(root):
        digests.update(_blobs(rlm["log"]))
        if contexts:
            digests.update(context_blobs(rlm["log"]))
    return {digest: to_text(blobs.get(digest)) for digest in sorted(digests)}


def _write(saved: SavedRun, path: Path) -> None:
    data = to_bytes(json.dumps(saved, ensure_ascii=False, indent=1))
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    path.write_bytes(data)


def load_run(path: str | Path) -> SavedRun:
    """Read a saved run.

    Raises:
        ConfigurationError: the file is not a saved run of this version.
    """
    data = Path(path).read_bytes()
    try:
        saved = _parsed(data, is_gzipped=str(path).endswith(".gz"))
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{str(path)!r} is not a saved run: {error}.") from None
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise ConfigurationError(
            f"{str(path)!r} is not a saved run of this version: its format is not {FORMAT!r}. "
            "Save the run again."
        )
    try:
        TypeAdapter(SavedRun).validate_python(saved)
    except ValidationError as error:
        raise ConfigurationError(
            f"{str(path)!r} is not a saved run: {problems_in(error)}."
        ) from None
    return cast(SavedRun, saved)


def _parsed(data: bytes, *, is_gzipped: bool) -> Any:
    if is_gzipped:
        data = gzip.decompress(data)
    return json.loads(to_text(data))


def rlms_of(rlm: SavedRLM) -> Iterator[SavedRLM]:
    """Give a saved RLM and all below it."""
    yield rlm
    for child in rlm["children"].values():
        yield from rlms_of(child)


def _blobs(value: Any) -> Iterator[str]:
    """Give the digests of the texts that a value refers to."""
    if isinstance(value, Mapping):
        known = cast(Mapping[str, Any], value)
        if "blob" in known:
            yield known["blob"]
        for inner in known.values():
            yield from _blobs(inner)


def context_blobs(log: Log) -> Iterator[str]:
    """Give the digests of the contexts that a log's questions brought, as far as they are texts,
    with what is known of them: a replay shows no model a picture."""
    for question in questions_of(log):
        for handle in question["contexts"]:
            text = None if handle["kind"] in MEDIA else handle["digest"]
            yield from filter(
                None, (text, handle["index"], handle.get("about"), handle.get("tables"))
            )


@dataclass(frozen=True)
class _Step:
    """One checkpoint: the part of it that says which checkpoints belong together."""

    parent: str | None
    source: str
    above: dict[str, str]
    """The checkpoints of the graphs around it, by namespace."""


async def _steps(graph: Any, thread: str) -> dict[str, dict[str, _Step]]:
    """Read the checkpoints of a thread, by namespace and id. Ids sort by time."""
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
    """The RLMs of a thread, read from its checkpoints."""

    def __init__(self, graph: Any, thread: str, steps: dict[str, dict[str, _Step]]) -> None:
        self._graph = graph
        self._thread = thread
        self._steps = steps

    async def rlm(self, namespace: str, checkpoint: str | None = None) -> SavedRLM:
        """Read the RLM of a namespace and its children.

        Args:
            namespace: the RLM's own.
            checkpoint: the RLM as of this checkpoint; None for its newest.

        Raises:
            ConfigurationError: there is no such checkpoint.
        """
        head = self._head(namespace, checkpoint)
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

    def _head(self, namespace: str, checkpoint: str | None) -> str:
        steps = self._steps.get(namespace, {})
        if not steps or (checkpoint is not None and checkpoint not in steps):
            which = "checkpoint" if checkpoint is None else f"checkpoint {checkpoint!r}"
            raise ConfigurationError(
                f"Thread {self._thread!r} has no {which} to save: "
                "has it run with this checkpointer?"
            )
        return checkpoint or max(steps)

    async def _children(self, namespace: str, head: str) -> dict[str, SavedRLM]:
        """Read the children whose answers this branch has or waits for, by place.

        Children of steps that a fork has left behind are not among them.
        """
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
        """Give the checkpoints of a branch whose tasks the branch has run."""
        steps = self._steps[namespace]
        taken = {head}
        at = head
        while (parent := steps[at].parent) in steps:
            if steps[at].source == "loop":
                taken.add(parent)
            at = parent
        return taken

    async def _place(self, namespace: str, checkpoint: str, task: str) -> str:
        """Give the place of a task's answer: its number among the `Send`s says which item it is."""
        state = await self._state(namespace, checkpoint)
        number = send_number(next(each for each in state.tasks if each.id == task))
        return pending(state.values, state.values["suspended"])[number]["place"]

    async def _state(self, namespace: str, checkpoint: str) -> Any:
        at = {"thread_id": self._thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint}
        return await self._graph.aget_state({"configurable": at})
