"""Jobs: questions of the command, and the threads that they are asked on. Never parses or prints.

Threads are kept in one SQLite file, with all that it takes to continue them.
"""

import asyncio
import json
import os
import shlex
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from langgraph_rlm.cli.loop import run_until_ctrl_c
from langgraph_rlm.errors import ConfigurationError, RLMError
from langgraph_rlm.models.resolve import MODEL_VARIABLE
from langgraph_rlm.pregel.keys import INTERRUPT
from langgraph_rlm.repl import DEFAULT_SANDBOX

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.types import StateSnapshot

    from langgraph_rlm.budget.usage import Usage
    from langgraph_rlm.cli.display import Display
    from langgraph_rlm.rlm_graph import RLMGraph
    from langgraph_rlm.state import Coverage
    from langgraph_rlm.storage.context import ContextHandle

REMEMBERED = "rlm_options"
"""Key of a thread's `Options` in the metadata of its checkpoints."""


@dataclass(frozen=True)
class Options:
    """How the questions of a thread are answered.

    They are kept with its checkpoints, so that resuming needs nothing else. No key is among them.
    """

    model: str | None = None
    """`provider:model`, or `offline:N` for the demo's scripted models."""
    sub_model: str | None = None
    sandbox: str | None = None
    blob_store: str | None = None
    """Where contexts and long values are; None is the default folder."""
    window_tokens: int | None = None
    """Tokens that the root model takes, where the user says so."""
    limits: Mapping[str, float] = field(default_factory=dict[str, float])

    def over(self, older: "Options") -> "Options":
        """Give these options where they are set, else the older ones."""
        return Options(
            model=self.model or older.model,
            sub_model=self.sub_model or older.sub_model,
            sandbox=self.sandbox or older.sandbox,
            blob_store=self.blob_store or older.blob_store,
            window_tokens=self.window_tokens or older.window_tokens,
            limits={**older.limits, **self.limits},
        )

    def graph(self, saver: "BaseCheckpointSaver[Any]") -> "RLMGraph":
        """Make the graph that these options describe.

        Raises:
            ConfigurationError: an option is wrong.
        """
        from langgraph_rlm.budget.limits import Limits
        from langgraph_rlm.cli.demo import OFFLINE, offline_models
        from langgraph_rlm.graph import create_rlm

        assert self.model is not None, "open_job has checked it"
        model: Any = self.model
        sub_model: Any = self.sub_model
        kind, _, sub_calls = self.model.partition(":")
        if kind == OFFLINE:
            model, sub_model = offline_models(int(sub_calls))
        limits: Any = self.limits
        return create_rlm(
            model,
            sub_model=sub_model,
            limits=Limits(**limits),
            sandbox=self.sandbox or DEFAULT_SANDBOX,
            window_tokens=self.window_tokens,
            checkpointer=saver,
            blob_store=self.blob_store,
        )


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
        """Give a command line of `ask` on this job's database."""
        where: list[str] = []
        if self.db != default_db():
            where = ["--db", str(self.db)]
        return shlex.join(["langgraph-rlm", "ask", *arguments, *where])


class Result(TypedDict):
    """How a job ended."""

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


def default_db() -> Path:
    """Give the path of `threads.db` in the user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("langgraph-rlm") / "threads.db"


def open_job(thread: str, db: Path, given: Options, question: str | None) -> Job:
    """Make a job with all its options.

    An option is the given one, else the one that its thread remembers, else the environment's.

    Raises:
        ConfigurationError: there is no such thread to continue, or no model; or `db` is not a
            SQLite file.
    """
    known = remembered(thread, db)
    if question is None and known is None:
        raise ConfigurationError(
            f"There is no thread {thread!r} in {db}: nothing was saved under that name, "
            "or it is in another --db."
        )
    options = given.over((known or Options()).over(_environment()))
    if options.model is None:
        raise ConfigurationError(
            f"No model: give --model PROVIDER:MODEL, such as openai:gpt-5, or set {MODEL_VARIABLE}."
        )
    return Job(thread, db, options, question)


def _environment() -> Options:
    from langgraph_rlm.storage.backends import STORE_VARIABLE

    store = os.environ.get(STORE_VARIABLE) or None
    if store is not None and "://" not in store:
        store = str(Path(store).absolute())
    return Options(model=os.environ.get(MODEL_VARIABLE) or None, blob_store=store)


def remembered(thread: str, db: Path) -> Options | None:
    """Read the options in a thread's last checkpoint; None if there is no such thread.

    Raises:
        ConfigurationError: `db` is not a SQLite file.
    """
    from langgraph.checkpoint.sqlite import SqliteSaver

    if not db.exists():
        return None
    try:
        with SqliteSaver.from_conn_string(str(db)) as saver:
            found = saver.get_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
    except sqlite3.Error as error:
        raise _no_threads(db, error) from error
    if found is None:
        return None
    metadata: Any = found.metadata
    values = json.loads(metadata.get(REMEMBERED, "{}"))
    values.setdefault("blob_store", values.get("store"))  # its name in threads of 0.1
    names = {option.name for option in fields(Options)}
    return Options(**{name: value for name, value in values.items() if name in names})


def _no_threads(db: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"{db} cannot keep threads: {error}. Give another file as --db.")


def run_job(job: Job, display: "Display") -> Result:
    """Run a job to its end.

    Raises:
        Unfinished: Ctrl-C (its cause is a CancelledError), or what a model or the sandbox raised.
        ConfigurationError: the thread has an unfinished question, or none to continue; or the
            job's options are wrong.
    """
    try:
        job.db.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_threads(job.db, error) from error

    def on_stop() -> None:
        display.note("Stopping: what is finished is kept.")

    return run_until_ctrl_c(_ask(job, display), on_stop)


async def _ask(job: Job, display: "Display") -> Result:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with AsyncSqliteSaver.from_conn_string(str(job.db)) as saver:
        graph = job.options.graph(saver)
        config: Any = {
            "configurable": {"thread_id": job.thread},
            "metadata": {REMEMBERED: json.dumps(asdict(job.options))},
        }
        try:
            state = await graph.aget_state(config)
            if _is_for_files(state, job):
                return _result(state.values, job)
            _check_thread(bool(state.next), job)
            return await _follow(graph, config, job, display, _kept_answers(state))
        finally:
            graph.rlm.sessions.close()


def _is_for_files(state: "StateSnapshot", job: Job) -> bool:
    """Whether a run is finished, and the job is to save its files."""
    has_ended = job.question is None and not state.next
    return has_ended and job.out is not None and bool(state.values.get("files"))


def _check_thread(is_unfinished: bool, job: Job) -> None:
    if job.question is None and not is_unfinished:
        follow_up = job.command("--thread", job.thread, "NEXT QUESTION")
        raise ConfigurationError(
            f"Thread {job.thread!r} is finished: there is nothing to resume. "
            f"To ask on it: {follow_up}"
        )
    if job.question is not None and is_unfinished:
        resume = job.command("--resume", job.thread)
        raise ConfigurationError(
            f"Thread {job.thread!r} has an unfinished run. Continue that first: {resume}"
        )


def _kept_answers(state: "StateSnapshot") -> dict[str, int]:
    """Count the answers that earlier processes left for the call that the root's cell waits for.

    Returns:
        The count by the place of the call; nothing when no call waits.
    """
    place = state.values.get("suspended")
    if not place:
        return {}
    return {place: sum(task.result is not None for task in state.tasks)}


async def _follow(
    graph: "RLMGraph", config: Any, job: Job, display: "Display", kept: Mapping[str, int]
) -> Result:
    """Run the graph, and say on the display what it began with."""
    _note_start(job, display, kept)
    try:
        values = await _stream(graph, job, config, display, kept)
    except (Exception, asyncio.CancelledError) as error:
        # whatever ended it, its thread may be continued
        command: str | None = None
        if (await graph.aget_state(config)).next:
            command = job.command("--resume", job.thread)
        raise Unfinished(error, command) from error
    if INTERRUPT in values:
        raise RLMError(
            f"Thread {job.thread!r} waits for an answer that this command cannot give: "
            "resume it from Python."
        )
    return _result(values, job)


def _result(values: Mapping[str, Any], job: Job) -> Result:
    return Result(
        answer=values["answer"],
        stop_reason=values["stop_reason"],
        usage=values["usage"],
        thread=job.thread,
        files=values.get("files") or [],
        coverage=values.get("coverage"),
    )


def _note_start(job: Job, display: "Display", kept: Mapping[str, int]) -> None:
    from langgraph_rlm.cli.display_text import about

    contexts = job.context if isinstance(job.context, Mapping) else {"": job.context}
    for name, context in contexts.items():
        for line in about(context, name) if context else ():
            display.note(line)
    for count in kept.values():
        if count:
            display.note(f"Resumed: {count:,} answers to sub-calls were kept.")
        else:
            display.note("Resumed.")


async def _stream(
    graph: "RLMGraph", job: Job, config: Any, display: "Display", kept: Mapping[str, int]
) -> dict[str, Any]:
    """Run the graph under a display, and give its last state."""
    given: Any = None
    if job.question is not None:
        given = {"query": job.question, "context": job.context}
    # until its first event, a new question's state has the usage of the question before it
    is_own_usage = given is None
    values: dict[str, Any] = {}
    parts: Any = graph.astream(given, config, stream_mode=["custom", "values"], durability="sync")
    async with aclosing(parts):
        async for mode, part in parts:
            if mode == "custom":
                is_own_usage = True
                display.show(_with_kept(part, kept))
            else:
                values = part
                display.spent(part["usage"] if is_own_usage else None)
    return values


def _with_kept(event: Any, kept: Mapping[str, int]) -> Any:
    """Add the answers of earlier processes to a progress event, which counts those of its own."""
    if event["type"] != "sub_calls" or event["depth"] > 0:
        return event
    done = event["done"] + kept.get(event["place"], 0)
    return event | {"done": min(event["total"], done)}
