"""Jobs: a question of the command on a thread, with all that it takes. Runs and prints nothing."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from langgraph_rlm.cli.graphs import load_graph, own_saver
from langgraph_rlm.cli.kept_options import Options, default_db, environment, remembered
from langgraph_rlm.cli.kept_threads import Place, unknown_thread
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.models.resolve import MODEL_VARIABLE

if TYPE_CHECKING:
    from langgraph_rlm.budget.usage import Usage
    from langgraph_rlm.hosting.pauses import Pause
    from langgraph_rlm.state import Coverage
    from langgraph_rlm.storage.context import ContextHandle


RUNNING = ("ask", "resume", "fork")
"""Commands that run a thread, and so need its graph."""


@dataclass
class Job:
    """One question to a thread, or the rest of its interrupted question."""

    thread: str
    db: Path
    options: Options
    question: str | None
    """None continues the interrupted question."""
    context: "ContextHandle | Mapping[str, ContextHandle] | None" = None
    """One context, or several by name."""
    out: Path | None = None
    """Where the files are to be saved that the run gives back."""

    def command(self, *arguments: str) -> str:
        """Give a command line on this job's database, with this job's graph."""
        where: list[str] = []
        if self.options.graph is not None and arguments[0] in RUNNING:
            where += ["--graph", self.options.graph]
        if self.db != default_db():
            where += ["--db", str(self.db)]
        return shlex.join(["langgraph-rlm", *arguments, *where])


class Result(TypedDict):
    """How a job ended: its answer."""

    answer: str
    stop_reason: str
    usage: "Usage"
    thread: str
    files: Sequence[Mapping[str, Any]]
    """What code gave back: name, type, size and digest, and `path` where it is saved."""
    coverage: "Coverage | None"
    """How much of the contexts models have seen; None where there are none."""


class Unfinished(Exception):
    """Raised when a job ended before its answer.

    It has the command that continues the job; None if nothing was kept.
    """

    def __init__(self, cause: BaseException, command: str | None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.command = command


class Waits(Exception):
    """Raised when a job ends because calls wait for a person."""

    def __init__(self, job: Job, pauses: "Sequence[Pause]", usage: "Usage") -> None:
        super().__init__(f"{len(pauses)} calls wait")
        self.job = job
        self.pauses = pauses
        self.usage = usage

    @property
    def command(self) -> str:
        """Give the command that answers them."""
        return self.job.command("resume", self.job.thread)


def open_job(thread: str, db: Path, given: Options, question: str | None) -> Job:
    """Make a job with all its options.

    An option is the given one, else the one that its thread remembers, else the environment's.

    Raises:
        ConfigurationError: there is no such thread to continue, or no model; or `db` is not a
            SQLite file.
    """
    known = remembered(thread, db)
    if question is None and known is None and not _has_own_threads(given):
        raise unknown_thread(thread, Place(str(db)))
    if known is not None and known.graph != given.graph and known.graph is not None:
        again = shlex.quote(known.graph)
        raise ConfigurationError(
            f"Thread {thread!r} was begun with a graph of yours: give it again, --graph {again}. "
            "It is not loaded because a database says so."
        )
    options = given.over((known or Options()).over(environment()))
    if options.graph is not None:
        return Job(thread, db, _with_graphs_store(options), question)
    if options.model is None:
        raise ConfigurationError(
            f"No model: give --model PROVIDER:MODEL, such as openai:gpt-5, or set {MODEL_VARIABLE}."
        )
    return Job(thread, db, options, question)


def _has_own_threads(given: Options) -> bool:
    """Whether the threads are in a checkpointer of the user's graph, and not in the database."""
    return given.graph is not None and own_saver(load_graph(given.graph)) is not None


def _with_graphs_store(options: Options) -> Options:
    """Give options with the blob store of the user's graph, where contexts are then put."""
    from langgraph_rlm.history.homes import rlms_in

    assert options.graph is not None, "the caller has looked"
    rlm = next(rlms_in(load_graph(options.graph)), None)
    if rlm is None:
        return options
    return replace(options, blob_store=rlm.rlm.blobs.location)
