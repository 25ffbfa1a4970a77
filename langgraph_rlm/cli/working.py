"""Working: a job's thread, open: runs it until its answer or until calls wait for a person.

Prints nothing but what a display shows.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from langgraph_rlm.budget.usage import spent
from langgraph_rlm.cli.jobs import Job, Result, Unfinished
from langgraph_rlm.cli.kept_options import REMEMBERED, close_sessions, kept, no_threads
from langgraph_rlm.cli.loop import run_until_ctrl_c
from langgraph_rlm.errors import ConfigurationError, ResumeError
from langgraph_rlm.hosting.events import parts_of
from langgraph_rlm.hosting.pauses import Pause, pauses_of
from langgraph_rlm.hosting.status import answered
from langgraph_rlm.progress import is_event
from langgraph_rlm.storage.json_types import is_dict

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

    from langgraph_rlm.budget.limits import Limits
    from langgraph_rlm.budget.usage import Usage
    from langgraph_rlm.cli.display import Display


@dataclass(frozen=True)
class Waiting:
    """A run that paused: calls wait for a person."""

    pauses: Sequence[Pause]
    usage: "Usage"


@asynccontextmanager
async def opened_graph(job: Job) -> AsyncGenerator[tuple[Any, Any]]:
    """Open the database of a job; give its graph, and the config of its thread."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with AsyncSqliteSaver.from_conn_string(str(job.db)) as saver:
        graph = job.options.made(saver)
        config = {
            "configurable": {"thread_id": job.thread},
            "metadata": {REMEMBERED: kept(job.options)},
        }
        try:
            yield graph, config
        finally:
            close_sessions(graph, job.options)


class Work:
    """A job whose thread is open. Use it as a context manager.

    Between two calls of `run` no event loop runs, so that a person can be asked, and Ctrl-C at the
    question is Python's own. Interpreters and connections stay.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._until_closed = AsyncExitStack()
        self._has_started = False

    def __enter__(self) -> Self:
        """Open the database, and make the graph.

        Raises:
            ConfigurationError: the database cannot keep threads, or an option is wrong.
        """
        try:
            self._job.db.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise no_threads(self._job.db, error) from error
        _run(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _run(self._until_closed.aclose())

    async def _open(self) -> None:
        found = await self._until_closed.enter_async_context(opened_graph(self._job))
        self._graph: Any = found[0]
        self._config: Any = found[1]

    @property
    def limits(self) -> "Limits | None":
        """What a run may use; None where no RLM is in the graph."""
        from langgraph_rlm.history.homes import rlms_in

        rlm = next(rlms_in(self._graph), None)
        return None if rlm is None else rlm.rlm.limits

    def run(self, display: "Display", answers: Mapping[str, Any] | None = None) -> Result | Waiting:
        """Run until there is an answer, or until calls wait.

        Args:
            display: shows the run.
            answers: answers to the pauses that the last call gave, by their ids.

        Raises:
            Unfinished: Ctrl-C (its cause is a CancelledError), or what a model or the sandbox
                raised.
            ConfigurationError: the thread has an unfinished question, or none to continue.
            ResumeError: an answer has the wrong form, or its pause is not open any more. The others
                are still open.
        """

        def on_stop() -> None:
            display.note("Stopping: what is finished is kept.")

        return run_until_ctrl_c(self._run(display, answers), on_stop)

    def pauses(self) -> Sequence[Pause]:
        """Read the calls that wait now."""
        return _run(pauses_of(self._graph, self._config))

    async def _run(self, display: "Display", answers: Mapping[str, Any] | None) -> Result | Waiting:
        job = self._job
        state = await self._graph.aget_state(self._config)
        if self._has_started or answers:
            return await self._follow(self._resume(answers), display, _kept_tasks(state))
        if _is_for_files(state, job):
            return _result(state.values, job)
        _check_thread(state, job)
        self._has_started = True
        kept = _kept_tasks(state)
        _note_start(job, display, _kept_answers(state))
        given = None if job.question is None else _input_of(self._graph, job)
        return await self._follow(given, display, kept)

    def _resume(self, answers: Mapping[str, Any] | None) -> Any:
        from langgraph.types import Command

        return Command(resume=dict(answers)) if answers else None

    async def _follow(
        self, given: Any, display: "Display", kept: Mapping[str, int]
    ) -> Result | Waiting:
        """Run the graph, and say how it ended."""
        try:
            values = await self._stream(given, display, kept)
        except ResumeError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            # whatever ended it, its thread may be continued
            command: str | None = None
            if (await self._graph.aget_state(self._config)).next:
                command = self._job.command("resume", self._job.thread)
            raise Unfinished(error, command) from error
        if (await self._graph.aget_state(self._config)).next:
            pauses = await pauses_of(self._graph, self._config)
            return Waiting(pauses, values.get("usage") or spent())
        return _result(values, self._job)

    async def _stream(
        self, given: Any, display: "Display", kept: Mapping[str, int]
    ) -> dict[str, Any]:
        """Run the graph under a display, and give its last state."""
        # until its first event, a new question's state has the usage of the question before it
        is_own_usage = not is_dict(given)
        values: dict[str, Any] = {}
        async with aclosing(parts_of(self._graph, given, self._config)) as parts:
            async for mode, part in parts:
                if mode == "values":
                    values = part
                    display.spent(part.get("usage") if is_own_usage else None)
                elif is_event(part):
                    is_own_usage = True
                    display.show(_with_kept(part, kept))
        return values


def _run(work: Any) -> Any:
    return run_until_ctrl_c(work, lambda: None)


def _input_of(graph: Any, job: Job) -> dict[str, Any]:
    """Give a question as the input of the graph: an RLM's, or what another graph of the user's
    takes."""
    takes = set(graph.get_input_jsonschema().get("properties", {}))
    if "query" in takes:
        return {"query": job.question, "context": job.context}
    if "messages" not in takes:
        raise ConfigurationError(
            f"The graph {job.options.graph!r} takes {', '.join(sorted(takes)) or 'nothing'}: a "
            "question is given as query (with context), or as messages."
        )
    if job.context is not None:
        raise ConfigurationError(
            f"The graph {job.options.graph!r} takes messages alone: give no PATHS or --context."
        )
    return {"messages": [{"role": "user", "content": job.question}]}


def _is_for_files(state: "StateSnapshot", job: Job) -> bool:
    """Whether a run is finished, and the job is to save its files."""
    has_ended = job.question is None and not state.next
    return has_ended and job.out is not None and bool(state.values.get("files"))


def _check_thread(state: "StateSnapshot", job: Job) -> None:
    is_unfinished = bool(state.next)
    if job.question is None and not state.values:
        raise ConfigurationError(
            f"There is no thread {job.thread!r} in the checkpointer of {job.options.graph!r}."
        )
    if job.question is None and not is_unfinished:
        follow_up = job.command("ask", "--thread", job.thread, "NEXT QUESTION")
        raise ConfigurationError(
            f"Thread {job.thread!r} is finished: there is nothing to resume. "
            f"To ask on it: {follow_up}"
        )
    if job.question is not None and is_unfinished:
        resume = job.command("resume", job.thread)
        raise ConfigurationError(
            f"Thread {job.thread!r} has an unfinished run. Continue that first: {resume}"
        )


def _kept_tasks(state: "StateSnapshot") -> dict[str, int]:
    """Count the answers of earlier processes that progress events do not count: those of calls that
    are tasks of their own. A batch counts what it finds.

    Returns:
        The count by the place of the call that the root's cell waits for; nothing when none waits.
    """
    place = state.values.get("suspended")
    if not place:
        return {}
    return {place: sum(task.result is not None for task in state.tasks)}


def _kept_answers(state: "StateSnapshot") -> int | None:
    """Count the answers that earlier processes left for the call that the root's cell waits for;
    None where none waits."""
    from langgraph_rlm.log.places import call_of

    waits = state.values.get("suspended")
    if not waits:
        return None
    of_batch = sum(call_of(place) == waits for place in state.values["log"])
    return of_batch + sum(_kept_tasks(state).values())


def _result(values: Mapping[str, Any], job: Job) -> Result:
    """Give the answer of a job's graph."""
    status = answered(job.thread, values)
    return Result(
        answer=status.answer,
        stop_reason=status.stop_reason,
        usage=status.usage,
        thread=job.thread,
        files=[*status.files],
        coverage=status.coverage,
    )


def _note_start(job: Job, display: "Display", kept: int | None) -> None:
    from langgraph_rlm.cli.display_text import about

    contexts = job.context if isinstance(job.context, Mapping) else {"": job.context}
    for name, context in contexts.items():
        for line in about(context, name) if context else ():
            display.note(line)
    if kept:
        display.note(f"Resumed: {kept:,} answers to sub-calls were kept.")
    elif kept == 0:
        display.note("Resumed.")


def _with_kept(event: Any, kept: Mapping[str, int]) -> Any:
    """Add the answers of earlier processes to a progress event, which counts those of its own."""
    if event["type"] != "sub_calls" or event["depth"] > 0:
        return event
    done = event["done"] + kept.get(event["place"], 0)
    return event | {"done": min(event["total"], done)}
