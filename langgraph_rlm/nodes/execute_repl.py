"""Execute REPL: advance the current cell until it ends or suspends. Never calls a model or a tool, never interrupts."""

from functools import reduce
from typing import cast

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.budget.ledger import LimitReached
from langgraph_rlm.budget.limits import StopReason
from langgraph_rlm.budget.usage import add_usage
from langgraph_rlm.log.entries import (
    CallEntry,
    Log,
    error_entry,
    rolled_back_entry,
)
from langgraph_rlm.log.places import (
    call_at,
    cell_at,
    cell_place,
    item_place,
    questions_of,
    spent_on,
    turn_at,
    turn_count,
)
from langgraph_rlm.log.reply import Reply, reply_of
from langgraph_rlm.nodes.root_call import lap
from langgraph_rlm.progress import OUTPUT_CHARS, CellEnded, CodeWritten, SubCalls, Where
from langgraph_rlm.repl.replay import Advance
from langgraph_rlm.repl.sessions import ReplStart
from langgraph_rlm.runtime.run import Run, frame_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import RLMState, RLMUpdate

MAX_REFUSALS = 100
"""Calls that a cell may make in vain once a limit is reached."""

LAP_SECONDS = 0.2
"""Time is put into the state in pieces of at least this: it may be lost with a killed process."""


class ExecuteRepl:
    """The node."""

    def __init__(self, rlm: RLMRuntime) -> None:
        self._rlm = rlm

    async def __call__(
        self, state: RLMState, config: RunnableConfig, runtime: Runtime[None]
    ) -> RLMUpdate:
        """Run on; what is new goes to the log, a call that waits becomes `suspended`, an answer `final`.

        At a limit, calls fail at once, so that code can still make something of what it has; its cell is the run's last.
        """
        frame = frame_of(config)
        frame.show_on(runtime)
        run = frame.run
        self._announce(run, state)
        done, limit = Advance(), cast("StopReason | None", state.get("limit") or None)
        while True:
            done = await self._advance(run, state, done)
            call = call_at(done.entries, done.suspended)
            if call is None or call["call"] == "tool" or done.suspended is None:
                break
            if limit is None and run.reserve(state["trajectory"], done.suspended, call["items"]):
                break
            limit = limit or "max_sub_calls"
            done.entries |= self._refused(done.suspended, call, limit)
            if _refusals(done.entries) > MAX_REFUSALS:
                done = self._stopped(state, done)
                break
        if limit is None and run.ledger.seconds_left() == 0:
            limit = "max_seconds"
        self._report(run, state, done)
        update = RLMUpdate(log=done.entries)
        answered = state.get("suspended")
        paid = spent_on(state["log"], answered) if done.suspended != answered else []
        if paid or run.ledger.since_lap() > LAP_SECONDS:
            update["usage"] = reduce(add_usage, paid, lap(run))
        if limit is not None:
            update["limit"] = limit
        if done.suspended is not None:
            return update | RLMUpdate(suspended=done.suspended)
        return update | RLMUpdate(suspended=None) | await self._ended(state, done, limit)

    async def _advance(self, run: Run, state: RLMState, done: Advance) -> Advance:
        if not self._last_turn(state)[
            1
        ].steps:  # the turn made tool calls of its own, and no interpreter is needed
            return done
        start = ReplStart(state["trajectory"], questions_of(state["log"])[0]["started"])
        depth = state.get("depth", 0)
        host, seconds_left = self._rlm.host(depth), run.ledger.seconds_for_code(depth)
        more = await self._rlm.sessions.advance(
            start, {**state["log"], **done.entries}, host, seconds_left
        )
        return Advance({**done.entries, **more.entries}, more.suspended, more.final)

    def _refused(self, place: str, call: CallEntry, limit: StopReason) -> Log:
        """The answers to a call that may not be made."""
        value = getattr(self._rlm.limits, limit)
        return {
            item_place(place, item): error_entry(str(LimitReached(limit, value)))
            for item in range(call["items"])
        }

    def _stopped(self, state: RLMState, done: Advance) -> Advance:
        """Code that goes on asking: its cell is rolled back."""
        self._rlm.sessions.drop(state["trajectory"])
        cell = cast(str, done.suspended).partition("/")[0]
        return Advance({**done.entries, cell: rolled_back_entry("stopped", self._rlm.blobs)})

    async def _ended(self, state: RLMState, done: Advance, limit: StopReason | None) -> RLMUpdate:
        """All cells of the turn are done: there is an answer, a limit, or another turn."""
        if done.final is not None:
            return RLMUpdate(final=done.final)
        number, reply = self._last_turn(state)
        log = {**state["log"], **done.entries}
        cells = [cell_at(log, cell_place(number, index)) for index in range(len(reply.cells))]
        if (
            reply.final is not None
            and reply.final.kind == "value"
            and all(cell and cell["outcome"] == "ok" for cell in cells)
        ):
            return RLMUpdate(final=await self._rlm.blobs.keep(reply.final.text))
        if limit is None and _iteration(state) >= self._rlm.limits.max_iterations:
            return RLMUpdate(limit="max_iterations")
        return RLMUpdate()

    def _last_turn(self, state: RLMState) -> tuple[int, Reply]:
        number = turn_count(state["log"]) - 1
        turn = turn_at(state["log"], number)
        return number, reply_of(turn, self._rlm.blobs)

    def _announce(self, run: Run, state: RLMState) -> None:
        """Show the code of a turn when its first cell starts."""
        number, reply = self._last_turn(state)
        if state.get("suspended") is None and cell_place(number, 0) not in state["log"]:
            for code in reply.steps:
                run.emit(
                    CodeWritten(type="code", turn=_iteration(state), code=code, **_where(state))
                )

    def _report(self, run: Run, state: RLMState, advance: Advance) -> None:
        """Show how cells ended, and what the open one waits for."""
        for entry in advance.entries.values():
            if entry["kind"] == "cell":
                output = self._rlm.blobs.get_text(entry["error"] or entry["stdout"])[:OUTPUT_CHARS]
                run.emit(
                    CellEnded(
                        type="output",
                        turn=_iteration(state),
                        outcome=entry["outcome"],
                        output=output,
                        **_where(state),
                    )
                )
        call = advance.entries.get(advance.suspended or "")
        if call is not None and call["kind"] == "call" and advance.suspended:
            event = SubCalls(
                type="sub_calls",
                place=advance.suspended,
                function=call["function"],
                done=0,
                total=call["items"],
                **_where(state),
            )
            run.emit(event)


def _where(state: RLMState) -> Where:
    return Where(depth=state.get("depth", 0), trajectory=state["trajectory"])


def _iteration(state: RLMState) -> int:
    return turn_count(state["log"]) - questions_of(state["log"])[-1]["turn"]


def _refusals(entries: Log) -> int:
    return sum(1 for place in entries if place.count("/") == 1)
