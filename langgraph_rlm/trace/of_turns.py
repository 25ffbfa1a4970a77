"""Of turns: the records of turns and of their cells."""

import json
from collections.abc import Iterator

from langgraph_rlm.log.entries import CellEntry, TurnEntry
from langgraph_rlm.log.places import cell_at, cell_place, native_places, questions_of, turns
from langgraph_rlm.log.reply import Reply, reply_of
from langgraph_rlm.log.steps import open_steps
from langgraph_rlm.log.thoughts import split_thoughts
from langgraph_rlm.models.replies import text_of_thoughts
from langgraph_rlm.storage.out_files import type_of
from langgraph_rlm.trace.records import CellRecord, FileChange, TurnRecord
from langgraph_rlm.trace.scope import Scope, known, model_in, or_none, stamp_of


def turn_records(scope: Scope) -> Iterator[TurnRecord | CellRecord]:
    """Give each turn of an RLM, and after it its cells."""
    starts = [question["turn"] for question in questions_of(scope.log)]
    all_turns = turns(scope.log)
    question = 0
    for number, turn in enumerate(all_turns):
        while question + 1 < len(starts) and starts[question + 1] <= number:
            question += 1
        reply = or_none(lambda turn=turn: reply_of(turn, scope.texts.blobs)) or Reply()
        is_last = number == len(all_turns) - 1
        cells = [*_cells(scope, number, turn, reply, is_last=is_last)]
        yield _turn(scope, number, question, turn, reply, [cell["place"] for cell in cells])
        yield from cells


def _turn(
    scope: Scope, number: int, question: int, turn: TurnEntry, reply: Reply, cells: list[str]
) -> TurnRecord:
    final = None
    if reply.final is not None and reply.final.kind == "value":
        final = reply.final.text
    prose = reply.prose if reply.cells else None
    return TurnRecord(
        type="turn",
        **scope.head(str(number)),
        number=number,
        question=question,
        reply=scope.shown(turn["reply"]) or "",
        cells=cells,
        **known(
            prose=scope.texts.put(prose or None),
            thoughts=scope.texts.put(_thoughts(scope, turn) or None),
            final=scope.texts.put(final),
            model=model_in(turn.get("usage")),
            usage=turn.get("usage"),
            limit=turn["limit"],
            is_cut=turn.get("is_cut") or None,
            problem=_problem(turn, reply),
        ),
        **stamp_of(turn),
    )


def _problem(turn: TurnEntry, reply: Reply) -> str | None:
    """Why a reply has nothing to do. At a limit prose is what is asked for."""
    return None if turn["limit"] is not None else reply.problem


def _thoughts(scope: Scope, turn: TurnEntry) -> str:
    """Give what a model thought, both what its provider told apart and what is in the text."""
    parts: list[str] = []
    if "thoughts" in turn:
        kept = scope.read(turn["thoughts"])
        parts.append("" if kept is None else text_of_thoughts(json.loads(kept)))
    if turn.get("rules", 1) != 1:
        parts.append(split_thoughts(scope.read(turn["reply"]) or "")[1].strip())
    return "\n\n".join(part for part in parts if part)


def _cells(
    scope: Scope, number: int, turn: TurnEntry, reply: Reply, *, is_last: bool
) -> Iterator[CellRecord]:
    """Give the cells of a turn. FINAL_VAR in prose is a cell only where it ran, or will."""
    if turn["limit"] is not None:
        return
    still_open: set[int] = set()
    if is_last and scope.state != "done" and not _waits(scope, number, turn):
        still_open.update(_first(open_steps(scope.log, number, reply, scope.texts.blobs)))
    for index, code in enumerate(reply.steps):
        place = cell_place(number, index)
        entry = cell_at(scope.log, place)
        if entry is not None:
            yield _ended(scope, number, place, code, entry)
        elif index in still_open or index < len(reply.cells):
            state = "open" if index in still_open else "not run"
            yield CellRecord(
                type="cell",
                **scope.head(place),
                turn=number,
                code=scope.texts.put(code) or "",
                state=state,
            )


def _waits(scope: Scope, number: int, turn: TurnEntry) -> bool:
    """Whether a tool call that the model made itself is still open: no cell runs before it."""
    return any(f"{place}/0" not in scope.log for place in native_places(number, turn))


def _first(steps: Iterator[int]) -> list[int]:
    """Give the one step that runs now."""
    found = next(steps, None)
    return [] if found is None else [found]


def _ended(scope: Scope, number: int, place: str, code: str, entry: CellEntry) -> CellRecord:
    return CellRecord(
        type="cell",
        **scope.head(place),
        turn=number,
        code=scope.texts.put(code) or "",
        state="ended" if entry.get("ran", True) else "not run",
        outcome=entry["outcome"],
        **known(
            stdout=scope.shown(entry["stdout"]) or None,
            value=scope.shown(entry["value"]),
            error=scope.shown(entry["error"]),
            reads=entry["reads"] or None,
            read_bytes=entry.get("read_bytes"),
            final=scope.shown(entry["final"]),
            files=_files(scope, entry),
            left_out=entry.get("left_out"),
        ),
        **stamp_of(entry),
    )


def _files(scope: Scope, entry: CellEntry) -> dict[str, FileChange | None] | None:
    """Give what a cell has changed in `out/`, with the type that each name stands for."""
    changes = entry.get("files")
    if changes is None:
        return None
    found: dict[str, FileChange | None] = {}
    for name, file in changes.items():
        found[name] = None
        if file is not None:
            scope.texts.files[file["digest"]] = file["size"]
            found[name] = {**file, "type": type_of(name)}
    return found
