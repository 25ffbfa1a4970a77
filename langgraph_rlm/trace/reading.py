"""Reading: `trace_of`, a thread's run as records, read from its checkpoints. Changes nothing."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.history.homes import Home, home_of, in_sync_use
from langgraph_rlm.history.run_tree import RLMTree, run_tree
from langgraph_rlm.log.entries import QuestionEntry
from langgraph_rlm.log.files import files_in
from langgraph_rlm.log.places import questions_of
from langgraph_rlm.pregel.leases import is_leased
from langgraph_rlm.pregel.sync import wait_for
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.out_files import given_files
from langgraph_rlm.trace.branches import branches_of
from langgraph_rlm.trace.covered import coverage_records, quotes_of, shares_in
from langgraph_rlm.trace.finding import Found, found_in, graph_at
from langgraph_rlm.trace.of_rlm import rlm_records
from langgraph_rlm.trace.records import FORMAT, Branch, Record, State, TraceRecord
from langgraph_rlm.trace.runs import runs_of
from langgraph_rlm.trace.scope import Scope, known, models_in
from langgraph_rlm.trace.spent import spent_record
from langgraph_rlm.trace.texts import Texts, plain_json


@dataclass(frozen=True)
class Trace:
    """A run as plain records, and the texts that are too long for them."""

    records: list[Record]
    """The first one is that of the thread; see `langgraph_rlm.trace.records`."""
    texts: Texts
    others: tuple[str, ...] = ()
    """Threads of children elsewhere that have not ended: what comes there changes the records."""

    def text(self, digest: str) -> str:
        """Give the text of a `Ref`. Blocks: it may read the blob store.

        Raises:
            BlobError: no record names it, or the store does not have it any more.
        """
        return self.texts.get(digest)

    def context(self, digest: str) -> str:
        """Give the stored text of a context, or of what is known of its files. Blocks.

        Raises:
            BlobError: the store does not have it any more.
        """
        return self.texts.blobs.get_text({"blob": digest})

    @property
    def head(self) -> TraceRecord:
        """The record of the thread."""
        first = self.records[0]
        assert first["type"] == "trace", "it is always the first one"
        return first


def trace_of(
    graph: Any, config: RunnableConfig, *, blob_store: str | Path | BlobStore | None = None
) -> Trace:
    """Do what `atrace_of` does, from sync code."""
    own = in_sync_use(graph)
    return wait_for(lambda: atrace_of(own, config, blob_store=blob_store))


async def atrace_of(
    graph: Any, config: RunnableConfig, *, blob_store: str | Path | BlobStore | None = None
) -> Trace:
    """Read a thread's run, children included, as plain records.

    Args:
        graph: an RLM with a checkpointer, a graph with RLMs as nodes, or the checkpointer alone;
            then the records lack what only the graph knows, such as its limits.
        config: the thread. Without a `checkpoint_id` its newest branch is read, else the branch
            that ends there; with a `checkpoint_ns` one RLM within.
        blob_store: where its blobs are; None for the graph's store, else the default one.

    Raises:
        ConfigurationError: there is no checkpointer, or no such thread or checkpoint of an RLM.
    """
    return await (await Reader.open(graph, config, blob_store)).trace()


@dataclass(frozen=True)
class Reader:
    """What reads the traces of one thread."""

    home: Home
    given: Any
    thread: str
    namespace: str | None
    """None to find the RLMs of the thread."""
    checkpoint: str | None
    texts: Texts

    @staticmethod
    async def open(
        graph: Any, config: RunnableConfig, blob_store: str | Path | BlobStore | None = None
    ) -> "Reader":
        """Find where a thread is kept.

        Raises:
            ConfigurationError: there is no checkpointer, or `config` has no thread.
        """
        given: dict[str, Any] = config.get("configurable", {})
        thread = given.get("thread_id")
        if thread is None:
            raise ConfigurationError("A trace is of one thread: give its thread_id in the config.")
        home = await home_of(graph, blob_store)
        return Reader(
            home,
            graph,
            str(thread),
            given.get("checkpoint_ns") or None,
            given.get("checkpoint_id"),
            Texts(home.blobs),
        )

    async def trace(self, *, is_running: bool | None = None) -> Trace:
        """Read the thread as it is now.

        Args:
            is_running: whether somebody works on it; None to look at its lease.

        Raises:
            ConfigurationError: there is no such thread or checkpoint of an RLM.
        """
        if is_running is None:
            is_running = await is_leased(self.home.database, self.thread)
        found = await self._found()
        trees = [await run_tree(each.graph, self._config(each.namespace)) for each in found]
        root = trees[-1]
        state = self._state(root, is_running=is_running)
        branches = await self._branches(found[-1].graph, root)
        running = {self.thread} if state == "running" else set[str]()
        if self.checkpoint is None:
            running |= await self._running_elsewhere(trees)
        records = await asyncio.to_thread(self._records, trees, state, branches, running)
        return Trace(records, self.texts, _not_over(trees))

    async def _found(self) -> list[Found]:
        if self.namespace is not None:
            return [Found(self.namespace, graph_at(self.home, self.given, self.namespace))]
        return await found_in(self.home, self.given, self.thread)

    def _config(self, namespace: str) -> RunnableConfig:
        """The config of an RLM. A checkpoint is one of the root graph."""
        own: dict[str, Any] = {"thread_id": self.thread, "checkpoint_ns": namespace}
        if self.checkpoint is not None and namespace == (self.namespace or ""):
            own["checkpoint_id"] = self.checkpoint
        return {"configurable": own}

    def _state(self, root: RLMTree, *, is_running: bool) -> State:
        """The state of the thread. An older branch is not worked on."""
        if self.checkpoint is None and is_running:
            return "running"
        return _state_of(root, is_running=False)

    async def _branches(self, graph: Any, root: RLMTree) -> list[Branch]:
        steps = await self.home.rows.steps(self.thread)
        return await branches_of(graph, self.thread, steps, root, self.texts)

    async def _running_elsewhere(self, trees: list[RLMTree]) -> set[str]:
        """Give the threads of children elsewhere on which somebody works."""
        is_open = {rlm.thread for tree in trees for rlm in _all(tree) if rlm.state == "open"}
        others = is_open - {self.thread}
        return {thread for thread in others if await is_leased(self.home.database, thread)}

    def _records(
        self, trees: list[RLMTree], state: State, branches: list[Branch], running: set[str]
    ) -> list[Record]:
        all_rlms = [rlm for tree in trees for rlm in _all(tree)]
        head = self._head(trees, all_rlms, state, branches)
        records: list[Record] = [head]
        for tree in trees:
            for scope in self._scopes(tree, running):
                records += rlm_records(scope)
        if state != "running":  # it takes seconds, and changes with each call
            covered = coverage_records(trees[-1], self.home.blobs, self._rlm)
            quotes = quotes_of(trees[-1], self.home.blobs)
            head.update(known(coverage=shares_in(covered), quotes=quotes))
            records += covered
        spent = spent_record(all_rlms)
        return records if spent is None else [*records, spent]

    def _scopes(self, tree: RLMTree, running: set[str]) -> Iterator[Scope]:
        """Give the RLMs of a tree, each before its children, with the threads that run."""
        waiting = [Scope(tree, self.texts, _state_of(tree, is_running=tree.thread in running))]
        while waiting:
            scope = waiting.pop()
            yield scope
            for place, child in reversed(scope.rlm.children.items()):
                state = _state_of(child, is_running=child.thread in running)
                waiting.append(Scope(child, self.texts, state, scope.rlm.rlm_id, place))

    def _head(
        self, trees: list[RLMTree], rlms: list[RLMTree], state: State, branches: list[Branch]
    ) -> TraceRecord:
        root = trees[-1]
        questions = questions_of(root.log)
        files = given_files(files_in(root.log))
        return TraceRecord(
            type="trace",
            id="trace",
            format=FORMAT,
            version=version("langgraph-rlm"),
            thread=self.thread,
            checkpoint=root.checkpoint,
            namespace=root.namespace,
            root=root.rlm_id,
            roots=[tree.rlm_id for tree in trees],
            state=state,
            models=_models(rlms),
            runs=runs_of(rlms, state, self.thread),
            branches=branches,
            questions=len(questions),
            files=files,
            **known(
                sandbox=questions[0].get("sandbox") if questions else None,
                limits=self._limits(questions),
                usage=root.usage or None,
                answer=self.texts.put(root.answer),
                stop_reason=root.stop_reason or None,
                structured=plain_json(root.value),
            ),
        )

    def _limits(self, questions: Sequence[QuestionEntry]) -> dict[str, Any] | None:
        """Give the limits of the newest question; None where the graph is not known."""
        if self._rlm is None:
            return None
        own = questions[-1].get("settings", {}).get("limits", {}) if questions else {}
        return self._rlm.limits.model_copy(update=own).model_dump()

    @property
    def _rlm(self) -> RLMRuntime | None:
        """What the RLMs run with, where the graph is known."""
        return self.given.rlm if isinstance(self.given, RLMGraph) else None


def _all(tree: RLMTree) -> Iterator[RLMTree]:
    waiting = [tree]
    while waiting:
        rlm = waiting.pop()
        yield rlm
        waiting += rlm.children.values()


def _not_over(trees: list[RLMTree]) -> tuple[str, ...]:
    """Give the threads of children elsewhere that have not ended, of those that are read or will
    be."""
    found: dict[str, None] = {}
    for rlm in (rlm for tree in trees for rlm in _all(tree)):
        for place, thread in rlm.threads.items():
            child = rlm.children.get(place)
            if (place not in rlm.log) if child is None else (child.state != "done"):
                found[thread] = None
    return (*found,)


def _state_of(rlm: RLMTree, *, is_running: bool) -> State:
    if rlm.state != "open":
        return rlm.state
    return "running" if is_running else "stopped"


def _models(rlms: list[RLMTree]) -> list[str]:
    """Name the models that were asked, as far as the logs and usages say."""
    names: set[str] = set()
    for rlm in rlms:
        names.update(models_in(rlm.usage))
        for entry in rlm.log.values():
            if entry["kind"] in ("turn", "reply", "compaction"):
                names.update(models_in(entry.get("usage")))
    return sorted(names)
