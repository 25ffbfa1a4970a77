"""Positions: in which order the entries of a log came. Reads no entry but its place."""

from collections.abc import Mapping

from langgraph_rlm.log.entries import Log, LogEntry

Position = tuple[int, ...]
"""Sorts as the entries were written; within a batch of answers, by their numbers."""

QUESTION, TURN, NATIVE, CELL, REFUSED = range(5)
"""What belongs to one turn, in its order."""


def position_of(place: str) -> Position:
    """Give the position of a turn, a cell, a call, an answer or a refusal."""
    head, _, rest = place.partition("/")
    inner = [int(number) for number in rest.split("/")] if rest else []
    if head.startswith("refused."):
        return (int(head.removeprefix("refused.")), REFUSED)
    turn, _, cell = head.partition(".")
    if cell:
        is_end = 0 if inner else 1  # a cell ends behind its calls
        return (int(turn), CELL, int(cell), is_end, *inner)
    return (int(turn), NATIVE if inner else TURN, *inner)


def before(log: Mapping[str, LogEntry], place: str) -> Log:
    """Give the entries up to the one at a place, itself included; summaries left out, which no code
    gets to see."""
    end = position_of(place)
    return {at: entry for at, entry in log.items() if _is_up_to(end, at, entry)}


def _is_up_to(end: Position, place: str, entry: LogEntry) -> bool:
    if entry["kind"] == "compaction":
        return False
    if entry["kind"] == "run":
        return (entry["turn"], QUESTION) <= end
    return position_of(place) <= end
