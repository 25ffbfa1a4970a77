"""Evidence: what a log says of who was given what. Reads the log and its texts; matches nothing."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langgraph_rlm.coverage.bound import Bound
from langgraph_rlm.coverage.uses import Slice, Uses, uses_of
from langgraph_rlm.log.entries import CallEntry, CellEntry, QuestionEntry, ReplyEntry
from langgraph_rlm.log.places import (
    AnyLog,
    call_at,
    call_place,
    cell_at,
    cell_place,
    compactions,
    handles_of,
    item_place,
    question_place,
    questions_of,
    questions_up_to,
    reply_at,
    turn_at,
    turn_count,
)
from langgraph_rlm.log.reply import reply_of
from langgraph_rlm.log.text import shortened
from langgraph_rlm.repl.input_files import ENDING
from langgraph_rlm.repl.requests import Requests, context_of
from langgraph_rlm.storage.blobs import BlobStore, Text
from langgraph_rlm.storage.context import MEDIA, ContextHandle

Way = Literal["read", "sent", "shown"]
"""How bytes of a context came to somebody: read by code, sent to a model by a call of code, shown
to a root model."""


@dataclass(frozen=True)
class Told:
    """A text that a model was told."""

    place: str
    """Of the answer, the cell or the question in the log."""
    way: Way
    text: str


@dataclass(frozen=True)
class Given:
    """Byte ranges of a context, as the log has them."""

    place: str
    way: Way
    digest: str
    ranges: Sequence[Sequence[int]]
    size: int | None = None
    """How many bytes were given; None for all of the ranges."""


@dataclass(frozen=True)
class Children:
    """A child RLM that has answered, and byte ranges of its contexts that a model has seen."""

    place: str
    seen: Mapping[str, Sequence[Sequence[int]]]


@dataclass
class Used:
    """What code has done with the contexts that it had as variables, by their digests."""

    whole: set[str] = field(default_factory=set[str])
    """Read in ways that are not known."""
    had: set[str] = field(default_factory=set[str])
    """Any part of these may be in what models were told."""
    slices: list[tuple[str, str, Slice]] = field(default_factory=list[tuple[str, str, Slice]])
    """The place of the cell, the digest, and the slice."""


def contexts_in(log: AnyLog) -> dict[str, ContextHandle]:
    """Give the contexts of a thread that have text, by the best of their names; each once.

    The best name is the one that the user gave, else `context_0` and on.
    """
    known = handles_of(questions_of(log))
    best: dict[str, str] = {}
    for name, handle in known.items():
        is_counted = handle.kind not in MEDIA and handle.size > 0 and name != "context"
        if is_counted and (handle.digest not in best or name == handle.name):
            best[handle.digest] = name
    return {name: known[name] for name in best.values()}


# What code read


def reads_in(log: AnyLog) -> Iterator[Given]:
    """Give what the host read for code: `peek`, `grep`, `sql` and others."""
    for place, entry in log.items():
        if entry["kind"] == "cell" or entry["kind"] == "reply":
            sizes = entry.get("read_bytes", {})
            for digest, ranges in entry.get("reads", {}).items():
                yield Given(place, "read", digest, ranges, sizes.get(digest))


def uses_in(log: AnyLog, blobs: BlobStore, loaded: Collection[str]) -> Used:
    """Tell what cells did with contexts as variables.

    Args:
        log: of an RLM.
        blobs: has its texts.
        loaded: digests of the contexts that are bound as variables.
    """
    used, bound = Used(), Bound()
    for number in range(turn_count(log)):
        bound.take(questions_up_to(log, number))
        for place, code in _cells_that_ran(log, number, blobs):
            handles = bound.named_in(code)
            _note(used, place, uses_of(code, frozenset(handles)), handles, loaded)
    return used


def _cells_that_ran(log: AnyLog, number: int, blobs: BlobStore) -> Iterator[tuple[str, str]]:
    turn = turn_at(log, number)
    if turn["limit"]:
        return
    for index, code in enumerate(reply_of(turn, blobs).steps):
        place = cell_place(number, index)
        entry = cell_at(log, place)
        has_called = call_at(log, call_place(place, 0)) is not None
        if has_called or (entry is not None and entry.get("ran", True)):
            yield place, code


def _note(
    used: Used, place: str, uses: Uses, handles: Mapping[str, str], loaded: Collection[str]
) -> None:
    """Note what one cell did."""
    for name in uses.whole:
        if name.endswith(ENDING) or handles[name] in loaded:
            used.whole.add(handles[name])
    used.had |= used.whole | {handles[name] for name in uses.handed if handles[name] in loaded}
    for each in uses.slices:
        if handles[each.name] in loaded:
            used.slices.append((place, handles[each.name], each))


# What models were told


def begun_questions(log: AnyLog) -> Iterator[tuple[str, QuestionEntry]]:
    """Give the questions that a root model was sent, with their places."""
    turns = turn_count(log)
    for number, question in enumerate(questions_of(log)):
        if question["turn"] < turns:
            yield question_place(number), question


def shown_in(log: AnyLog, blobs: BlobStore, output_chars: int | None) -> Iterator[Told]:
    """Give what the root model of an RLM was shown: questions, and what its cells put out.

    Args:
        log: of the RLM.
        blobs: has its texts.
        output_chars: most characters that are shown of one text of a cell; None for as many as the
            log has.
    """
    turns = turn_count(log)
    for place, question in begun_questions(log):
        yield Told(place, "shown", blobs.get_text(question["question"]))
    # What a cell put out is shown with the next turn. Where it is summed up before that turn, or
    # the conversation was cut to fit its model, it is not known how much of it was sent.
    summed_up = {entry["turn"] for entry in compactions(log)}
    for place, entry in log.items():
        following = _turn_of(place) + 1
        if entry["kind"] != "cell" or following >= turns or following in summed_up:
            continue
        if not turn_at(log, following).get("was_shortened"):
            for text in _outputs(entry, blobs):
                shown = text if output_chars is None else shortened(text, output_chars)
                yield Told(place, "shown", shown)


def _turn_of(place: str) -> int:
    """Give the number of the turn of a place; of one that has none, a number that no turn has."""
    number = place.partition(".")[0]
    return int(number) if number.isdigit() else -2


def _outputs(entry: CellEntry, blobs: BlobStore) -> Iterator[str]:
    texts: tuple[Text | None, ...] = (entry["stdout"], entry["value"], entry["error"])
    for text in texts:
        if text is not None:
            yield blobs.get_text(text)


class Calls:
    """The calls of a log to models and children, and what their prompts say."""

    def __init__(self, log: AnyLog, blobs: BlobStore) -> None:
        self._log = log
        self._requests = Requests(blobs)

    def told(self) -> Iterator[list[Told]]:
        """Give the texts that each call sent; those of parts of a context are left out."""
        for place, entry, payload in self._all():
            prompts = payload["prompts"]
            told: list[Told] = []
            for item in self._asked(place, entry):
                if entry["call"] == "rlm" and context_of(payload, item) is None:
                    continue  # the prompt is the child's context: it says itself what was seen
                prompt = prompts[item] if len(prompts) > 1 else prompts[0]
                told.append(Told(item_place(place, item), "sent", prompt))
            yield told

    def ranges(self) -> Iterator[Given]:
        """Give the parts of contexts that calls sent by their numbers."""
        for place, entry, payload in self._all():
            if "ranges" in payload:
                for item in self._asked(place, entry):
                    spans = payload["ranges"][item]
                    yield Given(item_place(place, item), "sent", payload["of"], spans)

    def _all(self) -> Iterator[tuple[str, CallEntry, dict[str, Any]]]:
        for place, entry in self._log.items():
            if entry["kind"] == "call" and entry["call"] in ("llm", "rlm"):
                yield place, entry, self._requests.payload(entry["request"])

    def _asked(self, place: str, entry: CallEntry) -> Iterator[int]:
        """Give the items that a model has answered: of others it is not known what was sent."""
        for item in range(entry["items"]):
            reply = reply_at(self._log, item_place(place, item))
            if reply is not None and _was_sent(reply):
                yield item


def _was_sent(reply: ReplyEntry) -> bool:
    if reply["error"] is None:
        return True
    if "usage" not in reply:
        return False
    return any(part["model_calls"] for part in reply["usage"]["breakdown"].values())


def children_in(log: AnyLog) -> Iterator[Children]:
    """Give what children say that models have seen of their contexts."""
    for place, entry in log.items():
        if entry["kind"] == "reply" and "seen" in entry:
            yield Children(place, entry["seen"])
