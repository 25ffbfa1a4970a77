"""State: what a checkpoint of a run holds, and what of it is waited for.

Plain values only, small whatever the context, each type named so that a strict serializer reads it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NotRequired, cast

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.channels import DeltaChannel, EphemeralValue
from typing_extensions import TypedDict

from langgraph_rlm.budget.limits import StopReason, keep_first
from langgraph_rlm.budget.usage import Usage, add_usage
from langgraph_rlm.log.entries import (
    CallEntry,
    CallKind,
    Decision,
    Log,
    NativeCall,
    ReplyEntry,
)
from langgraph_rlm.log.grown import merge_log
from langgraph_rlm.log.places import (
    call_at,
    item_place,
    last_question,
    last_turn,
    native_places,
    turn_count,
)
from langgraph_rlm.storage.blobs import Text
from langgraph_rlm.storage.out_files import GivenFile, last_files
from langgraph_rlm.storage.ranges import merge_ranges

SNAPSHOT_EVERY = 1000
"""Updates after which the log is written whole; between them increments are: linear in the calls,
and quick to load."""


ELSEWHERE = "remote_call"
"""The node of an `rlm_query` whose child runs on an engine. Every graph has it, so that a thread
that waits in it is never taken for one that waits for nothing."""

CALL_NODES = frozenset({"sub_call", ELSEWHERE, "tool_interrupt"})
"""The nodes that answer calls."""


class RLMInput(TypedDict, total=False):
    """What a run takes: `query` and `context`, or `messages`.

    The last human message is the query, the messages around it are its context.
    """

    query: str
    context: Any
    """Anything that `langgraph_rlm.storage.ingest.ingest` takes."""
    messages: Sequence[AnyMessage]


class ContextCoverage(TypedDict):
    """How much of one context was covered. Shares are from 0 to 1, of its bytes."""

    seen: float | None
    """What stood in prompts of sub-calls, or was shown to a root model, at any depth, as far as is
    known; None where the context was too large to find out."""
    read: float
    """What host functions, and slices between two numbers, gave to the root's code."""
    whole: bool
    """Whether the code used it as a variable: then `read` does not say all that it read."""
    size: int
    """Its bytes."""


class Coverage(TypedDict):
    """How much of the contexts of a thread was covered, by all of its questions."""

    seen: float | None
    """Of all contexts together; None where it is not known of one."""
    size: int
    whole: bool
    """Whether that is so for one of the contexts."""
    contexts: dict[str, ContextCoverage]
    """By name: the user's, else `context_0` and on. The newest hundred; pictures and sounds have
    none."""


class RLMOutput(TypedDict):
    """What a run gives."""

    answer: str
    """The answer as text; a structured one as JSON."""
    structured_response: Any
    """The answer as plain JSON values, where it has a `response_format`; None when a limit came
    first."""
    stop_reason: str
    usage: Usage
    messages: list[AIMessage]
    files: list[GivenFile]
    """What stands in `out/`, the folder of the root's code, sorted by name. `save_files` saves
    them."""
    coverage: NotRequired[Coverage]
    """What of the contexts models have seen, and code has read (`docs/coverage.md`). Left out where
    no context has text."""
    seen: NotRequired[dict[str, list[list[int]]]]
    """Of a child, for its parent: byte ranges of its contexts that models have seen, by digest."""


class RLMState(TypedDict):
    """Everything that a checkpoint of a run holds."""

    query: Annotated[Any, EphemeralValue]
    context: Annotated[Any, EphemeralValue]
    messages: Annotated[Any, EphemeralValue]
    trajectory: str
    """Random id of this RLM: no other thread, user or child has it."""
    depth: int
    model: str | None
    """The name of the model that a parent's code picked for this child."""
    instructions: Text | None
    """The system messages of the input."""
    answer_schema: Text | None
    """JSON schema that the answer to the open question has to match."""
    log: Annotated[Log, DeltaChannel(merge_log, snapshot_frequency=SNAPSHOT_EVERY)]
    suspended: str | None
    """Place of the call that the open cell waits for."""
    final: Text | None
    """The answer that code or prose gave."""
    limit: Annotated[str, keep_first]
    """The `StopReason` that ends this run without an answer of its own; empty while there is
    none."""
    compacted: Annotated[bool, EphemeralValue]
    """True when the conversation was just summed up: the turn is still to be planned."""
    usage: Annotated[Usage, add_usage]
    """Spent so far by this RLM and its children; nodes return increments.

    What the answers to the open cell's call have spent is in the log, and is added when the cell
    continues. That saves one channel for each call of a batch.
    """
    answer: str
    structured_response: Any
    stop_reason: str
    files: Annotated[list[GivenFile], last_files]
    """What the last question gave back; empty, and not in a checkpoint, where there never was
    any."""
    coverage: Coverage
    seen: dict[str, list[list[int]]]


class RLMUpdate(TypedDict, total=False):
    """What a node returns: any part of the state."""

    messages: list[AIMessage]
    trajectory: str
    depth: int
    model: str | None
    instructions: Text | None
    answer_schema: Text | None
    log: Log
    suspended: str | None
    final: Text | None
    limit: StopReason | None
    compacted: bool
    usage: Usage
    answer: str
    structured_response: Any
    stop_reason: str
    files: list[GivenFile]
    coverage: Coverage
    seen: dict[str, list[list[int]]]


class PendingCall(TypedDict):
    """One item of a call, or a batch of them, as its `Send` carries it."""

    place: str
    """Place of the item's answer in the log; of a batch, the place of the call."""
    call: CallKind
    function: str
    request: Text
    item: int
    total: int
    parent: str
    """Id of the RLM that waits."""
    depth: int
    id: str
    """Id of a tool call: the model's own for a native one, else made of the RLM's id and the
    place."""
    items: NotRequired[list[list[int]]]
    """Of a batch: the numbers of the items that have no answer, as ranges up to before a second
    number. Left out where one item has the `Send` for itself; earlier versions made no other."""
    question: NotRequired[Text]
    """Of a tool call: what the RLM was asked. Earlier versions have left it out."""
    instructions: NotRequired[Text]
    """Of a tool call: the system messages of the input, where there are any."""


class ToolState(PendingCall, total=False):
    """The state of one tool call, a graph of its own: what was pending, what was approved, what
    came of it."""

    waits: bool
    """Whether the call waits for a human, by the word of its tool's `when`."""
    arguments: dict[str, Any]
    """The arguments that were approved."""
    decision: Decision
    """What was decided, where the call waited."""
    mark: str
    """Token written just before a tool that must not run twice starts. A process that does not know
    it must assume that the tool may already have run."""
    reply: ReplyEntry


class ToolUpdate(TypedDict, total=False):
    """What a step of a tool call returns."""

    waits: bool
    arguments: dict[str, Any]
    decision: Decision
    mark: str
    reply: ReplyEntry


def limit_of(state: RLMState) -> StopReason | None:
    """The limit that ends the run; None while there is none."""
    return cast("StopReason | None", state.get("limit") or None)


def changed(state: RLMState, **values: Any) -> RLMState:
    """Give a state with other values; nothing is written."""
    return cast(RLMState, {**state, **values})


def without_log(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a state as tracers are shown it: of the log, how many entries it has.

    What a step adds to the log is in its output.
    """
    if "log" not in state:
        return state
    return {**state, "log": f"{len(state['log']):,} entries"}


def last_native_calls(state: RLMState) -> dict[str, NativeCall]:
    """The tool calls that the newest turn made without code, by place."""
    return native_places(turn_count(state["log"]) - 1, last_turn(state["log"]))


def pending(state: RLMState, place: str) -> list[PendingCall]:
    """What a call still waits for, one for each `Send`: its items that have no answer in the log.

    Plain calls of models are one batch, if there are several; a child RLM and a tool have a `Send`
    of their own.

    Args:
        state: of the RLM whose code, or whose root model, made the call.
        place: of the call.

    Raises:
        KeyError: there is no call at that place.
    """
    entry = call_at(state["log"], place)
    if entry is None:
        raise KeyError(place)
    log = state["log"]
    numbers = [item for item in range(entry["items"]) if item_place(place, item) not in log]
    if entry["call"] == "llm" and len(numbers) > 1:
        batch = _waiting(state, place, entry, numbers[0])
        ranges = merge_ranges((item, item + 1) for item in numbers)
        batch["place"], batch["items"] = place, [[*each] for each in ranges]
        return [batch]
    calls = [_waiting(state, place, entry, item) for item in numbers]
    if entry["call"] == "tool":
        for call in calls:
            call["question"] = last_question(log)["question"]
            instructions = state.get("instructions")
            if instructions is not None:
                call["instructions"] = instructions
    return calls


def _waiting(state: RLMState, place: str, entry: CallEntry, item: int) -> PendingCall:
    """One item of a call that waits."""
    native = last_native_calls(state).get(place) if entry["call"] == "tool" else None
    id = f"call_{state['trajectory']}_{place}" if native is None else native["id"]
    return PendingCall(
        place=item_place(place, item),
        call=entry["call"],
        function=entry["function"],
        request=entry["request"],
        item=item,
        total=entry["items"],
        parent=state["trajectory"],
        depth=state.get("depth", 0),
        id=id,
    )


def place_of(call: PendingCall, item: int) -> str:
    """The place of the answer to an item, of a call that is waited for."""
    return item_place(call["place"], item) if "items" in call else call["place"]


def waiting_items(call: PendingCall) -> Iterator[int]:
    """The numbers of the items that a `Send` is for."""
    for first, end in call.get("items", [[call["item"], call["item"] + 1]]):
        yield from range(first, end)
