"""Threads: runs of the command, kept in one SQLite file with all that it takes to continue them. Never parses or prints.

A room of its own beside `cli.py`, so that the command stays a command: this is what survives it.
"""

import asyncio
import atexit
import json
import os
import shlex
import signal
import sqlite3
from collections.abc import Coroutine, Mapping
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

from langgraph_rlm.errors import ConfigurationError, RLMError
from langgraph_rlm.lazy import per_process
from langgraph_rlm.models.resolve import MODEL_VARIABLE
from langgraph_rlm.pregel.keys import INTERRUPT
from langgraph_rlm.repl import DEFAULT_SANDBOX

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.types import StateSnapshot

    from langgraph_rlm.budget.usage import Usage
    from langgraph_rlm.cli.display import Display
    from langgraph_rlm.rlm_graph import RLMGraph
    from langgraph_rlm.storage.context import ContextHandle

T = TypeVar("T")

REMEMBERED = "rlm_options"
"""Key of a thread's `Options` in the metadata of its checkpoints."""
STOPPED = 130
"""Exit code of Ctrl-C, as shells count it."""


@dataclass(frozen=True)
class Options:
    """How a thread runs. Kept with its checkpoints, so that resuming needs nothing else; no key is among it."""

    model: str | None = None
    """`provider:model`, or `offline:N` for the demo's scripted models."""
    sub_model: str | None = None
    sandbox: str | None = None
    blob_store: str | None = None
    """Where contexts and long values are; None is the default folder."""
    limits: Mapping[str, float] = field(default_factory=dict[str, float])

    def over(self, older: "Options") -> "Options":
        """These where given, else the older ones."""
        return Options(
            self.model or older.model,
            self.sub_model or older.sub_model,
            self.sandbox or older.sandbox,
            self.blob_store or older.blob_store,
            {**older.limits, **self.limits},
        )

    def graph(self, saver: "BaseCheckpointSaver[Any]") -> "RLMGraph":
        """The graph that these options describe. Raises `ConfigurationError`."""
        from langgraph_rlm.budget.limits import Limits
        from langgraph_rlm.cli.demo import OFFLINE, offline_models
        from langgraph_rlm.graph import create_rlm

        kind, _, sub_calls = cast(str, self.model).partition(":")
        model, sub_model = (
            offline_models(int(sub_calls))
            if kind == OFFLINE
            else (cast(str, self.model), self.sub_model)
        )
        return create_rlm(
            model,
            sub_model=sub_model,
            limits=Limits(**cast(Any, self.limits)),
            sandbox=self.sandbox or DEFAULT_SANDBOX,
            checkpointer=saver,
            blob_store=self.blob_store,
        )


@dataclass
class Job:
    """One question to a thread, or the rest of its interrupted run."""

    thread: str
    db: Path
    options: Options
    question: str | None
    """None continues the run."""
    context: "ContextHandle | None" = None

    def command(self, *arguments: str) -> str:
        """A command line of `ask` on this job's database."""
        where = [] if self.db == default_db() else ["--db", str(self.db)]
        return shlex.join(["langgraph-rlm", "ask", *arguments, *where])


class Result(TypedDict):
    """The end of a run."""

    answer: str
    stop_reason: str
    usage: "Usage"
    thread: str


class Unfinished(Exception):
    """A run that ended on its way, and the command that continues it, if anything was kept."""

    def __init__(self, cause: BaseException, command: str | None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.command = command


def default_db() -> Path:
    """`threads.db` in the user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("langgraph-rlm") / "threads.db"


def open_job(thread: str, db: Path, given: Options, question: str | None) -> Job:
    """A job with all its options: those given, then those that its thread remembers, then the environment's.

    Raises:
        ConfigurationError: no such thread to continue, no model, or `db` is no SQLite file.
    """
    known = remembered(thread, db)
    if question is None and known is None:
        raise ConfigurationError(
            f"There is no thread {thread!r} in {db}: nothing was saved under that name, or it is in another --db."
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
    """The options of a thread's last checkpoint; None if there is no such thread.

    Raises:
        ConfigurationError: `db` is no SQLite file.
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
    values = json.loads(cast(Mapping[str, str], found.metadata).get(REMEMBERED, "{}"))
    values.setdefault("blob_store", values.get("store"))  # its name in threads of 0.1
    return Options(
        **{
            name: value
            for name, value in values.items()
            if name in {each.name for each in fields(Options)}
        }
    )


def _no_threads(db: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"{db} cannot keep threads: {error}. Give another file as --db.")


def run(job: Job, display: "Display") -> Result:
    """Run a job to its end.

    Raises:
        Unfinished: Ctrl-C (its cause is a CancelledError), or whatever a model or the sandbox raised.
        ConfigurationError: the thread has an unfinished run, or none to continue; or the job's options are wrong.
    """
    try:
        job.db.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_threads(job.db, error) from error
    return _runner().run(_until_ctrl_c(_ask(job, display), display))


@per_process
def _runner() -> asyncio.Runner:
    """One event loop for all runs of a process: the clients of models keep connections that live on it."""
    runner = asyncio.Runner()
    atexit.register(runner.close)
    return runner


async def _until_ctrl_c(work: Coroutine[Any, Any, T], display: "Display") -> T:
    """Run `work`. Ctrl-C cancels it once; while it stops, one more does nothing, and a third leaves at once."""
    loop, task, presses = asyncio.get_running_loop(), asyncio.ensure_future(work), 0

    def press() -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            display.note("Stopping: what is finished is kept.")
            task.cancel()
        elif presses == 3:
            os._exit(
                STOPPED
            )  # something ignores its cancellation; what is finished is in the database

    with suppress(
        NotImplementedError, RuntimeError, ValueError
    ):  # Windows, or not the main thread: asyncio's own handling
        loop.add_signal_handler(signal.SIGINT, press)
    try:
        return await task
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)


async def _ask(job: Job, display: "Display") -> Result:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with AsyncSqliteSaver.from_conn_string(str(job.db)) as saver:
        graph = job.options.graph(saver)
        config = {
            "configurable": {"thread_id": job.thread},
            "metadata": {REMEMBERED: json.dumps(asdict(job.options))},
        }
        try:
            state = await graph.aget_state(cast(Any, config))
            _check_thread(bool(state.next), job)
            return await _follow(graph, config, job, display, _answered(state))
        finally:
            graph.rlm.sessions.close()


def _check_thread(unfinished: bool, job: Job) -> None:
    if job.question is None and not unfinished:
        follow_up = job.command("--thread", job.thread, "NEXT QUESTION")
        raise ConfigurationError(
            f"Thread {job.thread!r} is finished: there is nothing to resume. To ask on it: {follow_up}"
        )
    if job.question is not None and unfinished:
        raise ConfigurationError(
            f"Thread {job.thread!r} has an unfinished run. Continue that first: {job.command('--resume', job.thread)}"
        )


def _answered(state: "StateSnapshot") -> dict[str, int]:
    """By the place of the call that the root's cell waits for, how many of its items earlier processes have answered."""
    place = state.values.get("suspended")
    return {place: sum(task.result is not None for task in state.tasks)} if place else {}


async def _follow(
    graph: "RLMGraph", config: Any, job: Job, display: "Display", answered: Mapping[str, int]
) -> Result:
    from langgraph_rlm.cli.display import about

    for line in about(job.context) if job.context else []:
        display.note(line)
    for count in answered.values():
        display.note(f"Resumed: {count:,} answers to sub-calls were kept." if count else "Resumed.")
    try:
        values = await _stream(graph, job, config, display, answered)
    except (
        Exception,
        asyncio.CancelledError,
    ) as error:  # whatever ended it, its thread may be continued
        unfinished = bool((await graph.aget_state(config)).next)
        raise Unfinished(
            error, job.command("--resume", job.thread) if unfinished else None
        ) from error
    if INTERRUPT in values:
        raise RLMError(
            f"Thread {job.thread!r} waits for an answer that this command cannot give: resume it from Python."
        )
    return Result(
        answer=values["answer"],
        stop_reason=values["stop_reason"],
        usage=values["usage"],
        thread=job.thread,
    )


async def _stream(
    graph: "RLMGraph", job: Job, config: Any, display: "Display", answered: Mapping[str, int]
) -> dict[str, Any]:
    """Run the graph under a display; its last state."""
    given: Any = None if job.question is None else {"query": job.question, "context": job.context}
    counts = (
        given is None
    )  # until a new question's first event, the state has the usage of the question before it
    values: dict[str, Any] = {}
    async with aclosing(
        cast(Any, graph.astream(given, config, stream_mode=["custom", "values"], durability="sync"))
    ) as parts:
        async for mode, part in parts:
            if mode == "custom":
                counts = True
                display.show(_counted(part, answered))
            else:
                values = part
                display.spent(part["usage"] if counts else None)
    return values


def _counted(event: Any, answered: Mapping[str, int]) -> Any:
    """Progress events count the answers of one process: add those of the earlier ones."""
    if event["type"] != "sub_calls" or event["depth"] > 0:
        return event
    return event | {"done": min(event["total"], event["done"] + answered.get(event["place"], 0))}
