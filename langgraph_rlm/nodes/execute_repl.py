"""Execute REPL: advance the current cell until it ends or suspends. Never calls a model or a tool, never interrupts."""

from typing import cast

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.log import CallEntry, CellEntry, Log, runs, turn_count
from langgraph_rlm.parsing import parse_reply
from langgraph_rlm.progress import CellEnded, CodeWritten, SubCalls, Where
from langgraph_rlm.repl.replay import Advance, cells_of, rolled_back
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
        update = RLMUpdate(log=advance.entries, suspended=advance.suspended)
        if advance.suspended is not None and not self._reserved(run, advance):
            update = self._stopped(state, advance)
        elif advance.suspended is None:
            update |= self._ended(state, advance)
        self._report(run, state, update)
        return update

    def _reserved(self, run: Run, advance: Advance) -> bool:
        """A call that is in the log already was reserved when it was logged; the caller's tools are not counted."""
        call = cast("CallEntry | None", advance.entries.get(cast(str, advance.suspended)))
        return call is None or call["call"] == "tool" or run.reserve(call["items"])

    def _stopped(self, state: RLMState, advance: Advance) -> RLMUpdate:
        """No sub-calls are left: the cell that asked for more is rolled back, and the run ends."""
        place = cast(str, advance.suspended)
        cell = place.split("/")[0]
        kept = {key: entry for key, entry in advance.entries.items() if key != place}
        self._runtime.sessions.drop(state["trajectory"])
        return RLMUpdate(log={**kept, cell: rolled_back("stopped", self._runtime.store)}, suspended=None, limit="max_sub_calls")

    def _ended(self, state: RLMState, advance: Advance) -> RLMUpdate:
        """All cells of the turn are done: an answer, a limit, or another turn."""
        store, number = self._runtime.store, turn_count(state["log"]) - 1
        if advance.final is not None:
            return RLMUpdate(final=advance.final)
        reply = parse_reply(store.get_text(state["log"][str(number)]["reply"]))  # pyright: ignore[reportGeneralTypeIssues]
        cells = [entry for entry in {**state["log"], **advance.entries}.items() if entry[0].startswith(f"{number}.") and "/" not in entry[0]]
        good = all(cast(CellEntry, entry)["outcome"] == "ok" for _, entry in cells)
        if reply.final is not None and reply.final.kind == "value" and good:
            return RLMUpdate(final=store.put_text(reply.final.text))
        if number - runs(state["log"])[-1]["turn"] + 1 >= self._runtime.limits.max_iterations:
            return RLMUpdate(limit="max_iterations")
        return RLMUpdate()

    def _announce(self, run: Run, state: RLMState) -> None:
        """Show the code of a turn when its first cell starts."""
        number = turn_count(state["log"]) - 1
        if state.get("suspended") is not None or f"{number}.0" in state["log"]:
            return
        for code in cells_of(parse_reply(self._runtime.store.get_text(state["log"][str(number)]["reply"]))):  # pyright: ignore[reportGeneralTypeIssues]
            run.emit(CodeWritten(type="code", turn=number + 1, code=code, **_where(state)))

    def _report(self, run: Run, state: RLMState, update: RLMUpdate) -> None:
        number = turn_count(state["log"])
        for entry in cast(Log, update.get("log", {})).values():
            if entry["kind"] == "cell":
                output = self._runtime.store.get_text(entry["error"] or entry["stdout"])[:OUTPUT_CHARS]
                run.emit(CellEnded(type="output", turn=number, outcome=entry["outcome"], output=output, **_where(state)))
        place = update.get("suspended")
        call = place and update.get("log", {}).get(place)
        if place and call and call["kind"] == "call":
            run.emit(SubCalls(type="sub_calls", place=place, function=call["function"], done=0, total=call["items"], **_where(state)))


def _where(state: RLMState) -> Where:
    return Where(depth=state["depth"], trajectory=state["trajectory"])


def asked_before(state: RLMState) -> int:
    """Sub-calls that this question's code has asked for already, those of finished children included."""
    first = runs(state["log"])[-1]["turn"]
    own = sum(
        entry["items"]
        for place, entry in state["log"].items()
        if entry["kind"] == "call" and entry["call"] != "tool" and int(place.split(".")[0]) >= first
    )
    return max(own, state["usage"]["sub_calls"])

