"""Execute REPL: advance the current cell until it ends or suspends. Never calls a model or a tool,
never interrupts."""

import asyncio

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.budget.ledger import LimitReached
from langgraph_rlm.budget.limits import StopReason
from langgraph_rlm.budget.usage import Usage, add_usage
from langgraph_rlm.log.entries import (
    CallEntry,
    CellOutcome,
    Log,
    error_entry,
    refused_entry,
    rolled_back_entry,
)
from langgraph_rlm.log.grown import merge_log
from langgraph_rlm.log.places import (
    call_at,
    cell_of,
    cell_place,
    first_question,
    item_place,
    iteration_of,
    last_turn,
    spent_on,
    turn_count,
)
from langgraph_rlm.log.reply import Reply, reply_of
from langgraph_rlm.log.stamps import stamp
from langgraph_rlm.log.steps import has_answer_in_prose
from langgraph_rlm.nodes.events import Events, events_of
from langgraph_rlm.nodes.finalize import Finalize
from langgraph_rlm.nodes.root_call import time_spent
from langgraph_rlm.repl.advance import Advance
from langgraph_rlm.repl.requests import images_of
from langgraph_rlm.repl.sessions import ReplStart
from langgraph_rlm.runtime.run import Frame, Run, frame_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import RLMState, RLMUpdate, limit_of
from langgraph_rlm.telemetry.observers import at_work, happened
from langgraph_rlm.telemetry.work import Event, Work

MAX_REFUSALS = 100
"""Calls that a cell may make in vain once a limit is reached."""

UNREPORTED_SECONDS = 0.2
"""Time is written into the state in pieces of at least this. What is not written yet is lost with a
killed process."""


class ExecuteRepl:
    """The node."""

    def __init__(self, rlm: RLMRuntime) -> None:
        self._rlm = rlm

    async def __call__(
        self, state: RLMState, config: RunnableConfig, runtime: Runtime[None]
    ) -> RLMUpdate:
        """Run the turn's cells from where they stand.

        What is new goes to the log, a call that waits becomes `suspended`, an answer `final`.
        """
        frame = frame_of(config)
        frame.show_on(runtime)
        run, events = frame.run, events_of(frame.run, state, frame.caller)
        self._announce(events, state)
        done, limit = await self._run_on(frame, state)
        if limit is not None and limit_of(state) is None:
            happened(Event("limit", limit, frame.work))
        self._report(events, state, done)
        stamp(done.entries, run.id)
        update = RLMUpdate(log=done.entries)
        if done.suspended != state.get("suspended"):
            update["suspended"] = done.suspended
        usage = self._newly_spent(run, state, done)
        if usage is not None:
            update["usage"] = usage
        if limit is not None:
            update["limit"] = limit
        if done.suspended is not None:
            return update
        update |= await self._ended(state, done, limit)
        return await Finalize(self._rlm).of_child(update, state, frame) if frame.depth else update

    async def _run_on(self, frame: Frame, state: RLMState) -> tuple[Advance, StopReason | None]:
        """Run until the cells end, or wait for a call that may be made.

        A batch that is larger than what is left is refused. At a limit, calls fail at once, so that
        code can still make something of what it has. That turn is the last.
        """
        run, done, limit = frame.run, Advance(), limit_of(state)
        while True:
            done = await self._advance(frame, state, done)
            place = done.suspended
            call = call_at(done.entries, place)
            if place is None or call is None or call["call"] == "tool":
                break
            refusal = await self._refusal(call)
            is_open = limit is None and refusal is None
            if is_open and run.reserve(state["trajectory"], place, call["items"]):
                break
            left = run.ledger.sub_calls_left()
            if limit is None and left:
                told = refusal or _too_large(call["items"], left)
                done.entries[item_place(place, 0)] = refused_entry(told)
            else:
                limit = limit or "max_sub_calls"
                done.entries |= self._refused(place, call, limit)
            if _refusals(done.entries) > MAX_REFUSALS:
                done = self._stopped(state, done, place)
                break
        if limit is None and run.ledger.seconds_left() == 0:
            limit = "max_seconds"
        return done, limit

    async def _advance(self, frame: Frame, state: RLMState, done: Advance) -> Advance:
        if not self._reply(
            state
        ).steps:  # the turn made tool calls without code: no interpreter is needed
            return done
        start = ReplStart(state["trajectory"], first_question(state["log"])["started"])
        frame.run.interpreters.add(start.id)
        depth = state.get("depth", 0)
        log = merge_log(state["log"], [done.entries])
        with at_work(self._work(frame, state)) as work:
            more = await self._rlm.sessions.advance(
                start,
                log,
                frame.run.base.host(depth, log),
                frame.run.ledger.deadline_for_code(depth),
                events_of(frame.run, state).replayed,
                frame.work,
            )
            work.result = _outcomes(more.entries)
        more.entries = {**done.entries, **more.entries}
        more.differing = {**done.differing, **more.differing}
        return more

    def _work(self, frame: Frame, state: RLMState) -> Work:
        """The code that runs now, as observers are told of it."""
        place = state.get("suspended") or str(turn_count(state["log"]) - 1)
        depth = state.get("depth", 0)
        return frame.piece("code", "code", state["trajectory"], place, depth)

    async def _refusal(self, call: CallEntry) -> str | None:
        """Why the model of a call cannot be shown what comes with it. This is logged, since what is
        known of a model may change; nothing is asked."""
        if call["call"] != "llm":
            return None
        payload = await asyncio.to_thread(self._rlm.requests.payload, call["request"])
        shown = [each for item in range(call["items"]) for each in images_of(payload, item)]
        return self._rlm.refusal(payload["model"], shown)

    def _refused(self, place: str, call: CallEntry, limit: StopReason) -> Log:
        """The answers to a call that may not be made."""
        told = str(LimitReached(limit, getattr(self._rlm.limits, limit)))
        return {item_place(place, item): error_entry(told) for item in range(call["items"])}

    def _stopped(self, state: RLMState, done: Advance, place: str) -> Advance:
        """Roll back the cell of code that keeps asking in vain."""
        self._rlm.sessions.drop(state["trajectory"])
        entry = rolled_back_entry("stopped", self._rlm.blobs)
        return Advance({**done.entries, cell_of(place): entry})

    def _newly_spent(self, run: Run, state: RLMState, done: Advance) -> Usage | None:
        """What the answers that code has now read have spent, and the time; None where it can wait
        for a later update."""
        answered = state.get("suspended")
        paid = spent_on(state["log"], answered) if done.suspended != answered else None
        if paid is not None:
            return add_usage(paid, time_spent(run))
        if run.ledger.unreported_seconds() <= UNREPORTED_SECONDS:
            return None
        return time_spent(run)

    async def _ended(self, state: RLMState, done: Advance, limit: StopReason | None) -> RLMUpdate:
        """All cells of the turn are done: there is an answer, a limit, or another turn."""
        if iteration_of(state["log"]) == 0:  # the user said more while the code waited for a tool
            return RLMUpdate()
        if done.final is not None:
            return RLMUpdate(final=done.final)
        reply, number = self._reply(state), turn_count(state["log"]) - 1
        log = merge_log(state["log"], [done.entries])
        if reply.final is not None and has_answer_in_prose(log, number, reply, self._rlm.blobs):
            return RLMUpdate(final=await self._rlm.blobs.keep(reply.final.text))
        if limit is None and iteration_of(state["log"]) >= self._rlm.limits.max_iterations:
            return RLMUpdate(limit="max_iterations")
        return RLMUpdate()

    def _reply(self, state: RLMState) -> Reply:
        """What the newest turn says."""
        return reply_of(last_turn(state["log"]), self._rlm.blobs)

    def _announce(self, events: Events, state: RLMState) -> None:
        """Show the code of a turn when its first cell starts."""
        first = cell_place(turn_count(state["log"]) - 1, 0)
        if state.get("suspended") is not None or first in state["log"]:
            return
        for code in self._reply(state).steps:
            events.code_written(iteration_of(state["log"]), code)

    def _report(self, events: Events, state: RLMState, done: Advance) -> None:
        """Show how cells ended, and what the open one waits for."""
        turn = iteration_of(state["log"])
        for entry in done.entries.values():
            if entry["kind"] == "cell":
                output = self._rlm.blobs.get_text(entry["error"] or entry["stdout"])
                events.cell_ended(turn, entry["outcome"], output)
        for place, names in done.differing.items():
            events.files_differ(place, names)
        call = call_at(done.entries, done.suspended)
        if call is not None and done.suspended is not None:
            events.sub_calls(done.suspended, call["function"], 0, call["items"])


def _outcomes(entries: Log) -> dict[str, CellOutcome]:
    """How the cells among new entries ended, by place."""
    return {place: entry["outcome"] for place, entry in entries.items() if entry["kind"] == "cell"}


def _too_large(items: int, left: int) -> str:
    """Say why a batch is refused."""
    return f"a batch of {items:,}, but sub-calls left: {left:,}. Ask fewer, longer prompts."


def _refusals(entries: Log) -> int:
    """How many calls that wait for the graph are among new entries."""
    calls = [entry for entry in entries.values() if entry["kind"] == "call"]
    return sum(1 for call in calls if call["call"] != "sql")
