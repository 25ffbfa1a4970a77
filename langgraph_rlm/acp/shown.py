"""Shown: what a client is shown of a run: the records of its trace as updates of a session.

The same whether a run works or is loaded from its thread, so that both look alike. Sends nothing.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langgraph_rlm.acp.sdk import acp, schema
from langgraph_rlm.errors import BlobError
from langgraph_rlm.hosting.visible import printable
from langgraph_rlm.log.text import clip
from langgraph_rlm.trace.fields import Shown
from langgraph_rlm.trace.records import CallRecord, CellRecord, Record, ReplyRecord, TurnRecord

Update = (
    schema.UserMessageChunk
    | schema.AgentMessageChunk
    | schema.AgentThoughtChunk
    | schema.ToolCallStart
    | schema.ToolCallProgress
)
ToolKind = schema.ToolKind
Status = schema.ToolCallStatus

OUTPUT_CHARS = 20_000
"""Most characters of an output, an error or a tool's result that a client is shown."""
CODE_CHARS = 100_000
TITLE_CHARS = 100
NUMBER = re.compile(r"\d+")
CHUNK_CHARS = 32_000
"""Most characters of one chunk of a message."""


@dataclass
class _Call:
    """One call of code, and how far its answers are."""

    record: CallRecord
    replies: dict[int, ReplyRecord] = field(default_factory=dict[int, ReplyRecord])


@dataclass(frozen=True)
class _Step:
    """A cell or a call as a client is shown it."""

    id: str
    title: str
    kind: ToolKind
    status: Status
    texts: Sequence[str]
    given: Any = None


class Shower:
    """What a client was shown of one thread, and what is new."""

    def __init__(self, read: Callable[[str], str]) -> None:
        """Take what reads a long text by its digest. Nothing is shown yet."""
        self._read = read
        self._roots: frozenset[str] = frozenset()
        self._told: set[str] = set()
        """Ids of turns that were shown."""
        self._steps: dict[str, _Step] = {}
        self._calls: dict[str, _Call] = {}
        self._above: dict[str, tuple[str, str]] = {}
        """The parent of each child, and the place of its answer there."""

    def new(self, records: Iterable[Record]) -> list[Update]:
        """Give the updates that new and changed records make. Blocks: it may read blobs."""
        found = [*records]
        for record in found:
            self._note(record)
        updates: list[Update] = []
        shown = set[str]()
        for record in sorted(filter(_is_in_log, found), key=self.place_of):
            updates += self._updates(record, shown)
        return updates

    def is_of_root(self, record: TurnRecord | CellRecord) -> bool:
        """Whether a record is of the RLM that was asked, and not of a child."""
        return record["rlm"] in self._roots

    def place_of(self, record: Any) -> tuple[int, ...]:
        """Give the place of a record in the log of the root: of a child's, that of the child."""
        rlm, place = record["rlm"], record["place"]
        while rlm in self._above:
            rlm, place = self._above[rlm]
        return tuple(int(part) for part in NUMBER.findall(place))

    def ended(self, waiting: Iterable[str] = ()) -> list[Update]:
        """Give the updates that end what still seems to run: the run has stopped.

        Args:
            waiting: ids of calls that wait for a person.
        """
        kept = {*waiting}
        updates: list[Update] = []
        for step in [*self._steps.values()]:
            if step.status in ("in_progress", "pending") and step.id not in kept:
                texts = (*step.texts, "Stopped before its end.")
                updates += self._show(_changed(step, "failed", texts))
        return updates

    def call_of(self, rlm: str, place: str) -> str:
        """Give the id of the call whose answer has a place in the log of an RLM."""
        return f"{rlm}:{place.rpartition('/')[0]}"

    def _turn(self, record: TurnRecord) -> Iterator[Update]:
        """Show what a model thought and wrote beside its code; an answer is shown at the end."""
        if record["id"] in self._told or not self.is_of_root(record):
            return
        self._told.add(record["id"])
        parts = [self.text(record.get("thoughts")), self.text(record.get("prose"))]
        if record.get("problem") and not record["cells"]:
            parts = [self.text(record["reply"])]
        said = "\n\n".join(part for part in parts if part.strip())
        if said:
            yield from thoughts(f"{said}\n\n", record["id"])

    def _cell(self, record: CellRecord) -> Iterator[Update]:
        if not self.is_of_root(record):
            return
        code = clip(self.text(record["code"]), limit=CODE_CHARS)
        texts = [_fenced(code, "python")]
        output = self._output(record)
        if output:
            texts.append(_fenced(clip(output, limit=OUTPUT_CHARS)))
        status: Status = "in_progress"
        if record["state"] == "ended":
            status = "completed" if record.get("outcome") == "ok" else "failed"
        elif record["state"] == "not run":
            status = "pending"
        yield from self._show(_Step(record["id"], _title(code), "execute", status, texts))

    def _output(self, record: CellRecord) -> str:
        parts = [self.text(record.get(name)) for name in ("stdout", "value", "error")]
        outcome = record.get("outcome", "ok")
        if outcome not in ("ok", "error"):
            parts.append(f"The cell ended by: {outcome}.")
        return "\n".join(part for part in parts if part)

    def _note(self, record: Record) -> None:
        """Take what the showing of other records depends on."""
        if record["type"] == "trace":
            self._roots = frozenset(record["roots"])
        elif record["type"] == "rlm":
            if record["parent"] is not None and record["parent_place"] is not None:
                self._above[record["rlm"]] = (record["parent"], record["parent_place"])
        elif record["type"] == "call":
            self._calls.setdefault(record["id"], _Call(record)).record = record
        elif record["type"] == "reply":
            self._calls[_call_id(record)].replies[record["item"]] = record

    def _updates(self, record: Any, shown: set[str]) -> Iterator[Update]:
        """Show a record; a call once for all of its replies that are new."""
        if record["type"] == "turn":
            yield from self._turn(record)
        elif record["type"] == "cell":
            yield from self._cell(record)
        else:
            id = record["id"] if record["type"] == "call" else _call_id(record)
            if id not in shown:
                shown.add(id)
                yield from self._call(self._calls[id])

    def _call(self, call: _Call) -> Iterator[Update]:
        """Show a call: those of tools at every depth, others of the root alone."""
        if call.record["call"] == "tool":
            yield from self._show(self._tool(call))
        elif call.record["rlm"] in self._roots:
            yield from self._show(self._batch(call))

    def _tool(self, call: _Call) -> _Step:
        record = call.record
        asked = self.text(record.get("request"))
        texts = [_fenced(asked, "json")] if asked else []
        reply = call.replies.get(0)
        if reply is not None:
            result = self.text(reply.get("error")) or self.text(reply.get("value"))
            if result:
                texts.append(_fenced(clip(result, limit=OUTPUT_CHARS)))
        status = _status_of(reply)
        return _Step(record["id"], _title(record["function"]), "other", status, texts, asked)

    def _batch(self, call: _Call) -> _Step:
        record, total = call.record, call.record["items"]
        states = [reply["state"] for reply in call.replies.values()]
        done = sum(state in ("answered", "failed") for state in states)
        failed = states.count("failed")
        status: Status = "in_progress"
        if done == total or "dropped" in states:
            status = "failed" if failed == total or "dropped" in states else "completed"
        kind: ToolKind = "search" if record["call"] == "sql" else "think"
        told = f"{record['function']} {done:,}/{total:,}"
        texts = [f"{told} answered, {failed:,} of them with an error" if failed else told]
        refused = next((each for each in call.replies.values() if each.get("refused")), None)
        if refused is not None:
            status, texts = "failed", [self.text(refused.get("error"))]
        return _Step(record["id"], told, kind, status, texts)

    def _show(self, step: _Step) -> Iterator[Update]:
        before = self._steps.get(step.id)
        if before == step:
            return
        self._steps[step.id] = step
        content = [acp.tool_content(acp.text_block(printable(text))) for text in step.texts]
        told: Any = {
            "title": step.title,
            "kind": step.kind,
            "status": step.status,
            "content": content,
            "raw_input": step.given,
        }
        if before is None:
            yield acp.start_tool_call(step.id, **told)
        else:
            yield acp.update_tool_call(step.id, **told)

    def text(self, shown: Shown | None) -> str:
        """Give a text of a record whole; its start where the store does not have it any more."""
        if shown is None or isinstance(shown, str):
            return shown or ""
        try:
            return self._read(shown["ref"])
        except BlobError:
            return f"{shown['start']} [... the rest is not in the blob store any more]"


def _is_in_log(record: Record) -> bool:
    return record["type"] in ("turn", "cell", "call", "reply")


def _call_id(reply: ReplyRecord) -> str:
    return f"{reply['rlm']}:{reply['call']}"


def _changed(step: _Step, status: Status, texts: Sequence[str]) -> _Step:
    return _Step(step.id, step.title, step.kind, status, texts, step.given)


def _status_of(reply: ReplyRecord | None) -> Status:
    """Say how a tool's call stands."""
    states: Mapping[str, Status] = {
        "answered": "completed",
        "failed": "failed",
        "dropped": "failed",
        "paused": "pending",
        "open": "in_progress",
    }
    return "in_progress" if reply is None else states[reply["state"]]


def message(text: str, id: str | None = None) -> list[Update]:
    """Say something to the user, in as many chunks as it takes."""
    return [
        schema.AgentMessageChunk(
            session_update="agent_message_chunk", content=acp.text_block(part), message_id=id
        )
        for part in _parts(text)
    ]


def thoughts(text: str, id: str | None = None) -> list[Update]:
    """Show what a model thinks, or what is said beside the answer."""
    return [
        schema.AgentThoughtChunk(
            session_update="agent_thought_chunk", content=acp.text_block(part), message_id=id
        )
        for part in _parts(printable(text))
    ]


def said_by_user(text: str, id: str | None = None) -> list[Update]:
    """Show what the user said."""
    return [
        schema.UserMessageChunk(
            session_update="user_message_chunk", content=acp.text_block(part), message_id=id
        )
        for part in _parts(text)
    ]


def _parts(text: str) -> list[str]:
    starts = range(0, len(text), CHUNK_CHARS)
    return [str(text[start : start + CHUNK_CHARS]) for start in starts]


def _title(text: str) -> str:
    """Give the first line of code that says something, or a name."""
    lines = [line.strip() for line in printable(text).splitlines()]
    first = next((line for line in lines if line and not line.startswith("#")), "code")
    return first if len(first) <= TITLE_CHARS else f"{first[: TITLE_CHARS - 1]}…"


def _fenced(text: str, language: str = "") -> str:
    """Put a text between fences that are longer than any in it: it is shown as Markdown."""
    longest = max((len(run) for run in _ticks(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _ticks(text: str) -> list[str]:
    """Give the runs of backticks in a text."""
    return re.findall(r"`+", text)
