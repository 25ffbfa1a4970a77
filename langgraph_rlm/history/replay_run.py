"""Retrace: run a saved trajectory again on today's code, without a model, and say where it goes another way.

What is compared is what the interpreter does: what each cell calls, prints, raises and answers. The prompts are not: those may
get better.
"""

import difflib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.errors import BlobError, ReplayDivergedError
from langgraph_rlm.history.saved_run import SavedRLM, SavedRun, context_blobs, load_run, rlms_of
from langgraph_rlm.log.entries import ROLLED_BACK, CellEntry, Log, LogEntry, TurnEntry
from langgraph_rlm.log.places import (
    cell_at,
    cell_place,
    item_place,
    native_places,
    questions_of,
    turn_at,
    turn_count,
    turns,
)
from langgraph_rlm.log.reply import reply_of
from langgraph_rlm.repl import open_backend
from langgraph_rlm.repl.base import Backend
from langgraph_rlm.repl.host import Host
from langgraph_rlm.repl.host_functions import TAKEN
from langgraph_rlm.repl.replay import Advance, CellLost, outcome_digest
from langgraph_rlm.repl.requests import Requests
from langgraph_rlm.repl.sessions import ReplStart, open_repl
from langgraph_rlm.storage.blobs import BlobStore, to_bytes
from langgraph_rlm.tools.toolset import Toolset, open_toolset

DIFF_LINES = 40
"""Most lines of a difference that an error shows."""

LINE_CHARS = 300
"""Most characters of each."""


@dataclass(frozen=True)
class Replayed:
    """What a replay went through, children included."""

    rlms: int = 0
    turns: int = 0
    cells: int = 0
    calls: int = 0

    def __add__(self, other: "Replayed") -> "Replayed":
        return Replayed(
            self.rlms + other.rlms,
            self.turns + other.turns,
            self.cells + other.cells,
            self.calls + other.calls,
        )


def replay_run(
    path: str | Path,
    *,
    sandbox: str | None = None,
    tools: Sequence[Any] = (),
    child_tools: Sequence[Any] | None = None,
    external_tools: Sequence[Any] = (),
    blob_store: str | Path | BlobStore | None = None,
) -> Replayed:
    """Run every cell of a saved run again on today's code; each call is answered from its log, and no model or tool is called.

    Args:
        path: what `save_run` wrote.
        sandbox: another than it was saved with: `"monty"` or `"local"`.
        tools: as `create_rlm` took them; only their signatures are used.
        child_tools: as `tools`.
        external_tools: as `tools`.
        blob_store: has the contexts, where they were left out.

    Returns:
        How much was replayed.

    Raises:
        ReplayDivergedError: code did something else than its log says; the message names the RLM, the place and the difference.
        BlobError: a value is neither in the file nor in `blob_store`, or was edited in the file.
        ConfigurationError: the file is no saved run, or a tool is wrong.
    """
    saved = load_run(path)
    toolset = open_toolset(tools, child_tools, external_tools, {}, (), TAKEN)
    backend = open_backend(sandbox or saved["sandbox"])
    with tempfile.TemporaryDirectory(prefix="langgraph-rlm-") as folder:
        own = BlobStore.open(folder)
        _fill(own, saved, blob_store)
        try:
            return _Replay(saved, toolset, backend, own).all(saved["root"], ())
        finally:
            backend.close()


def _fill(own: BlobStore, saved: SavedRun, others: str | Path | BlobStore | None) -> None:
    for digest, text in saved["blobs"].items():
        if own.put(to_bytes(text)) != digest:
            raise BlobError(
                f"Blob {digest} was edited in the saved run: its digest names its bytes. Put the new text at its place in the log."
            )
    for rlm in rlms_of(saved["root"]):
        for digest in context_blobs(rlm["log"]):
            if digest not in saved["blobs"]:
                own.put_stream(iter([BlobStore.open(others).get(digest)]))


class _Replay:
    """The replay of one file."""

    def __init__(
        self, saved: SavedRun, toolset: Toolset, backend: Backend, blobs: BlobStore
    ) -> None:
        self._limits = Limits(**saved["limits"])
        self._models = saved["models"]
        self._toolset = toolset
        self._backend = backend
        self._blobs = blobs

    def all(self, rlm: SavedRLM, above: tuple[str, ...]) -> Replayed:
        """An RLM, and those below it."""
        try:
            done = self._one(rlm, len(above))
        except ReplayDivergedError as error:
            raise self._located(error, above) from None
        return sum(
            (self.all(child, (*above, place)) for place, child in rlm["children"].items()), done
        )

    def _one(self, rlm: SavedRLM, depth: int) -> Replayed:
        log = rlm["log"]
        _check_places(log)
        self._check_cells(rlm)
        recursive = depth + 1 < self._limits.max_depth
        host = Host(
            models=self._models,
            tools=self._toolset.at(depth),
            is_recursive=recursive,
            blobs=self._blobs,
            requests=Requests(self._blobs),
            limits=self._limits,
        )
        repl = open_repl(
            self._backend, ReplStart(rlm["trajectory"], questions_of(log)[0]["started"]), host
        )
        try:
            done = repl.advance(log if rlm["answer"] is None else _closed(log), None)
            self._check(rlm, done, repl.applied)
        except CellLost as lost:
            raise _diverged(
                lost.place,
                f"ended {lost.outcome!r}, but its log has another outcome",
                log.get(lost.place),
            ) from None
        finally:
            repl.close()
        kinds = [entry["kind"] for place, entry in log.items() if place in repl.applied]
        return Replayed(1, kinds.count("turn"), kinds.count("cell"), kinds.count("call"))

    def _check_cells(self, rlm: SavedRLM) -> None:
        """Today's parser finds the cells that were run, and no others."""
        log, last = rlm["log"], turn_count(rlm["log"]) - 1
        for number, turn in enumerate(turns(log)):
            reply = reply_of(turn, self._blobs)
            before: list[CellEntry] = []
            for index in range(0 if turn["limit"] else len(reply.steps)):
                entry = cell_at(log, cell_place(number, index))
                if entry is not None:
                    self._check_text(cell_place(number, index), entry)
                    before.append(entry)
                    continue
                blind = index == len(reply.cells) and any(
                    cell["outcome"] != "ok" for cell in before
                )
                ended = any(
                    cell["final"] is not None or cell["outcome"] == "stopped" for cell in before
                )
                if not (blind or ended or (number == last and rlm["answer"] is None)):
                    raise _diverged(
                        cell_place(number, index),
                        "is in its turn's reply, but not in the log",
                        None,
                    )

    def _check_text(self, place: str, entry: CellEntry) -> None:
        """What an entry says that its cell printed is what its digest is of, where the file has all of it."""
        if entry["outcome"] != "ok":
            return
        stdout, value = (
            None if text is None else self._blobs.get_text(text)
            for text in (entry["stdout"], entry["value"])
        )
        is_whole = max(len(stdout or ""), len(value or "")) < self._limits.max_output_chars
        if is_whole and outcome_digest(stdout or "", value, None) != entry["digest"]:
            raise _diverged(
                place,
                "was edited in the file: its digest is of other output. Edit replies and answers, not what follows",
                entry,
            )

    def _check(self, rlm: SavedRLM, done: Advance, applied: frozenset[str]) -> None:
        """All that is in the log was gone through again, and came to the same answer."""
        log = rlm["log"]
        if new := next(
            (
                place
                for place in done.entries
                if rlm["answer"] is not None or item_place(place, 0) in log
            ),
            None,
        ):
            raise _diverged(new, "is made now, but is not in the log", None)
        left = [
            place
            for place in log
            if place not in applied and _is_replayed(place, log, done.suspended)
        ]
        if done.suspended is not None and (left or rlm["answer"] is not None):
            raise _diverged(done.suspended, "lacks an answer in the log", log.get(done.suspended))
        if left:
            raise _diverged(left[0], "is in the log, but is not come to now", log[left[0]])
        answer = (
            _answer(log, self._blobs)
            if rlm["stop_reason"] == "answered" and not rlm["structured"]
            else None
        )
        if answer is not None and answer != rlm["answer"]:
            raise _diverged(
                str(turn_count(log) - 1),
                f"answers {answer[:LINE_CHARS]!r} now, but the run {rlm['answer']!r}",
                None,
            )

    def _located(self, error: ReplayDivergedError, above: tuple[str, ...]) -> ReplayDivergedError:
        """The same error with the RLM that it is in, and the difference."""
        where = f"In the child at {' > '.join(above)}: " if above else ""
        then, now = (
            "\n".join(self._shown(entry)).splitlines() for entry in (error.then, error.now)
        )
        lines = (
            list(difflib.unified_diff(then, now, "the log", "now", lineterm="", n=1))
            if error.now
            else []
        )
        shown = "".join(f"\n{line[:LINE_CHARS]}" for line in lines[:DIFF_LINES])
        located = ReplayDivergedError(f"{where}{error}{shown}")
        located.place, located.then, located.now = error.place, error.then, error.now
        return located

    def _shown(self, entry: Any) -> Iterator[str]:
        """An entry as lines."""
        if entry is None:
            return
        if entry["kind"] == "call":
            yield f"{entry['function']}:"
            yield json.dumps(
                json.loads(self._blobs.get_text(entry["request"])), ensure_ascii=False, indent=1
            )
            return
        for name in ("stdout", "value", "error", "final"):
            if entry[name] is not None:
                yield f"{name}: {self._blobs.get_text(entry[name])}"


def _check_places(log: Log) -> None:
    """No turn, question or native call is gone from the file."""
    for kind, prefix, count in (
        ("turn", "", turn_count(log)),
        ("run", "run.", len(questions_of(log))),
    ):
        if later := [
            place
            for place, entry in log.items()
            if entry["kind"] == kind and int(place.removeprefix(prefix)) >= count
        ]:
            raise _diverged(f"{prefix}{count}", f"is not in the log, but {later[0]!r} is", None)
    if not questions_of(log):
        raise _diverged("run.0", "is not in the log: nothing was asked", None)
    for number, turn in enumerate(turns(log)):
        if gone := next((place for place in native_places(number, turn) if place not in log), None):
            raise _diverged(gone, "is in its turn, but not in the log", None)


def _closed(log: Log) -> Log:
    """A log that is over: cells without an entry are not run."""
    return {**log, str(turn_count(log)): TurnEntry(kind="turn", reply={"text": ""}, limit="replay")}


def _is_replayed(place: str, log: Log, suspended: str | None) -> bool:
    """Whether an entry is one that a replay comes to: not of a cell that was rolled back, nor an answer of a call that still waits."""
    cell = place.partition("/")[0]
    entry = cell_at(log, cell) if "." in cell else None
    if log[place]["kind"] not in ("cell", "call", "reply") or "." not in cell:
        return False
    return (entry is None or entry["outcome"] not in ROLLED_BACK) and not (
        suspended and place.startswith(f"{suspended}/")
    )


def _answer(log: Log, blobs: BlobStore) -> str | None:
    """What the log says that the last question was answered with."""
    number = turn_count(log) - 1
    reply = reply_of(turn_at(log, number), blobs)
    cells = [cell_at(log, cell_place(number, index)) for index in range(len(reply.steps))]
    final = next(
        (cell["final"] for cell in cells if cell is not None and cell["final"] is not None), None
    )
    if final is not None:
        return blobs.get_text(final)
    return reply.final.text if reply.final is not None and reply.final.kind == "value" else None


def _diverged(
    place: str, what: str, then: LogEntry | None, now: LogEntry | None = None
) -> ReplayDivergedError:
    kind = (
        "Question"
        if place.startswith("run.")
        else "Call"
        if "/" in place
        else "Cell"
        if "." in place
        else "Turn"
    )
    error = ReplayDivergedError(f"{kind} {place} {what}.")
    error.place, error.then, error.now = place, then, now
    return error
