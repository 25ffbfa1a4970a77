"""Execute REPL: advance the current cell until it ends or suspends. Never calls a model or a tool, never interrupts."""

from typing import cast

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.log import CallEntry, CellEntry, TurnEntry, cell_place, runs, turn_count
from langgraph_rlm.parsing import Reply, parse_reply
from langgraph_rlm.progress import CellEnded, CodeWritten, SubCalls, Where
from langgraph_rlm.repl.replay import Advance, rolled_back
from langgraph_rlm.repl.sessions import Trajectory
from langgraph_rlm.runtime import RLMRuntime, Run, frame_of
from langgraph_rlm.state import RLMState, RLMUpdate

OUTPUT_CHARS = 2_000
"""Most characters of a cell's output in a progress event."""


class ExecuteRepl:
    """The node."""

    def __init__(self, runtime: RLMRuntime) -> None:
        self._runtime = runtime

    async def __call__(self, state: RLMState, config: RunnableConfig, runtime: Runtime[None]) -> RLMUpdate:
        """Run on; what is new goes to the log, a call that waits becomes `suspended`, an answer `final`."""
        run = frame_of(config, runtime).run
        run.catch_up(state["trajectory"], asked_before(state))
        self._announce(run, state)
        trajectory = Trajectory(state["trajectory"], state["started"], state["contexts"])
        advance = await self._runtime.sessions.advance(trajectory, state["log"], self._runtime.host(state["depth"]))
        self._report(run, state, advance)
        if advance.suspended is None:
            return self._ended(state, advance) | RLMUpdate(log=advance.entries, suspended=None)
        if self._is_reserved(run, advance):
            return RLMUpdate(log=advance.entries, suspended=advance.suspended)
        return self._stopped(state, advance, advance.suspended)

    def _is_reserved(self, run: Run, advance: Advance) -> bool:
        """A call that is in the log already was reserved when it was logged; tools are not counted."""
        call = cast("CallEntry | None", advance.entries.get(cast(str, advance.suspended)))
        return call is None or call["call"] == "tool" or run.reserve(call["items"])

    def _stopped(self, state: RLMState, advance: Advance, place: str) -> RLMUpdate:
        """No sub-calls are left: the cell that asked for more is rolled back, and the run ends."""
        self._runtime.sessions.drop(state["trajectory"])
        kept = {key: entry for key, entry in advance.entries.items() if key != place}
        cell = place.partition("/")[0]
        return RLMUpdate(log={**kept, cell: rolled_back("stopped", self._runtime.store)}, suspended=None, limit="max_sub_calls")

    def _ended(self, state: RLMState, advance: Advance) -> RLMUpdate:
        """All cells of the turn are done: there is an answer, a limit, or another turn."""
        if advance.final is not None:
            return RLMUpdate(final=advance.final)
        number, reply = self._last_turn(state)
        log = {**state["log"], **advance.entries}
        cells = [cast("CellEntry | None", log.get(cell_place(number, index))) for index in range(len(reply.cells))]
        if reply.final is not None and reply.final.kind == "value" and all(cell and cell["outcome"] == "ok" for cell in cells):
            return RLMUpdate(final=self._runtime.store.put_text(reply.final.text))
        if number - runs(state["log"])[-1]["turn"] + 1 >= self._runtime.limits.max_iterations:
            return RLMUpdate(limit="max_iterations")
        return RLMUpdate()

    def _last_turn(self, state: RLMState) -> tuple[int, Reply]:
        number = turn_count(state["log"]) - 1
        turn = cast(TurnEntry, state["log"][str(number)])
        return number, parse_reply(self._runtime.store.get_text(turn["reply"]))

    def _announce(self, run: Run, state: RLMState) -> None:
        """Show the code of a turn when its first cell starts."""
        number, reply = self._last_turn(state)
        if state["suspended"] is None and cell_place(number, 0) not in state["log"]:
            for code in reply.steps:
                run.emit(CodeWritten(type="code", turn=_iteration(state), code=code, **_where(state)))

    def _report(self, run: Run, state: RLMState, advance: Advance) -> None:
        """Show how cells ended, and what the open one waits for."""
        for entry in advance.entries.values():
            if entry["kind"] == "cell":
                output = self._runtime.store.get_text(entry["error"] or entry["stdout"])[:OUTPUT_CHARS]
                run.emit(CellEnded(type="output", turn=_iteration(state), outcome=entry["outcome"], output=output, **_where(state)))
        call = advance.entries.get(advance.suspended or "")
        if call is not None and call["kind"] == "call" and advance.suspended:
            event = SubCalls(
                type="sub_calls", place=advance.suspended, function=call["function"], done=0, total=call["items"], **_where(state)
            )
            run.emit(event)


def _where(state: RLMState) -> Where:
    return Where(depth=state["depth"], trajectory=state["trajectory"])


def _iteration(state: RLMState) -> int:
    return turn_count(state["log"]) - runs(state["log"])[-1]["turn"]


def asked_before(state: RLMState) -> int:
    """Sub-calls that this question's code has asked for already, those of finished children included."""
    first = runs(state["log"])[-1]["turn"]
    own = sum(
        entry["items"]
        for place, entry in state["log"].items()
        if entry["kind"] == "call" and entry["call"] != "tool" and int(place.partition(".")[0]) >= first
    )
    return max(own, state["usage"]["sub_calls"])
