"""Divergence: whether logged code, run again, does what its log says. Runs nothing itself."""

import re
from collections.abc import Mapping

from langgraph_rlm.errors import ReplayDivergedError
from langgraph_rlm.log.entries import CallEntry, CellEntry, LogEntry
from langgraph_rlm.log.places import call_at, call_place
from langgraph_rlm.log.text import canonical, digest_of
from langgraph_rlm.repl.base import CellError
from langgraph_rlm.repl.host import OpenCell
from langgraph_rlm.storage.blobs import BlobStore


def outcome_digest(stdout: str, value: str | None, error: CellError | None) -> str:
    """Give the sha256 of what a cell did.

    Addresses in the `repr` of objects are left out: they differ from process to process.
    """
    raised = None if error is None else [error.type, error.message]
    return digest_of(_without_addresses(canonical([stdout, value, raised])))


def check_call(place: str, then: CallEntry, now: CallEntry) -> None:
    """Refuse a call that is not the one in the log. Raises `ReplayDivergedError`."""
    if then["digest"] != now["digest"] or then["function"] != now["function"]:
        did = f"called {_marked(now['function'], now)}"
        raise _diverged(place, did, _marked(then["function"], then), then, now)


def check_end(cell: OpenCell, log: Mapping[str, LogEntry], now: CellEntry) -> None:
    """Refuse an end before a call that is in the log, even if that call is not answered yet.

    Raises:
        ReplayDivergedError: there is such a call.
    """
    then = call_at(log, call_place(cell.place, cell.ordinal))
    if then is not None:
        did = f"ended {_marked(now['outcome'], now)}"
        raise _diverged(cell.place, did, f"a call {_marked(then['function'], then)}", then, now)


def check_cell(place: str, then: CellEntry, now: CellEntry, blobs: BlobStore) -> None:
    """Refuse an end with another outcome or answer than in the log.

    Raises:
        ReplayDivergedError: the cell printed, raised or answered something else.
    """
    if then["digest"] != now["digest"] or then["outcome"] != now["outcome"]:
        did = f"ended {_marked(now['outcome'], now)}"
        raise _diverged(place, did, _marked(then["outcome"], then), then, now)
    if then["final"] != now["final"]:
        answer, logged = _final_text(now, blobs), _final_text(then, blobs)
        if answer != logged:
            raise _diverged(place, f"answered {answer[:40]!r}", repr(logged[:40]), then, now)


def _final_text(entry: CellEntry, blobs: BlobStore) -> str:
    if entry["final"] is None:
        return ""
    return _without_addresses(blobs.get_text(entry["final"]))


def _diverged(
    place: str, did: str, logged: str, then: CallEntry | CellEntry, now: CallEntry | CellEntry
) -> ReplayDivergedError:
    error = ReplayDivergedError(
        f"Cell {place} {did}, but its log has {logged}. "
        "An edit that later entries rest on, a log of another version, or a sandbox that is not "
        "deterministic: continue from an earlier checkpoint, and edit with langgraph_rlm.fork, "
        "which finds the right one."
    )
    error.place = place
    error.then = then
    error.now = now
    return error


def _marked(name: str, entry: CallEntry | CellEntry) -> str:
    return f"{name!r} with {entry['digest'][:12]}"


def _without_addresses(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "0x", text)
