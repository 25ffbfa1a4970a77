"""Past: what a request's conversation had before it, and from which response that is known.

After a run, the next question goes to a copy of it, which has its variables. A model that was asked
directly is told the whole conversation again. Asks no model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langgraph_rlm.chat.ids import parse_call_id
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.responses.ids import parse_item_id
from langgraph_rlm.server.responses.items import AnyItem, ReferenceItem, ResultItem, items_from
from langgraph_rlm.server.responses.objects import OPEN
from langgraph_rlm.server.responses.requests import ResponseRequest
from langgraph_rlm.server.responses.store import Record, Store, no_response

ANSWERED = ("completed", "incomplete")
"""States of a response that can be followed."""


@dataclass(frozen=True)
class Past:
    """What was before."""

    turns: list[str] = field(default_factory=list[str])
    """Digests of its items, as `Record.turns`, up to the input of the response before."""
    output: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The items of the response before."""
    is_known: bool = False
    """Whether a run knows it, so that a model need not be told."""
    after: dict[str, str] | None = None
    """The run whose next question is asked; None where a run gets results of its calls."""


async def past_of(
    store: Store, owner: str, request: ResponseRequest, items: Sequence[AnyItem]
) -> Past:
    """Find what was before a request.

    Args:
        store: has the responses.
        owner: who asks.
        request: what is asked.
        items: its input.

    Raises:
        Refused: it follows a response that is not there, is not over, or whose calls are not
            answered.
    """
    id = request.previous_response_id
    if not id:
        return Past()
    try:
        record = await store.find(owner, id)
    except Refused:
        raise no_response(id, "previous_response_id") from None
    _check_is_over(record)
    calls = [each for each in record.response["output"] if each["type"] == "function_call"]
    _check_answered(calls, items)
    turns, output = record.turns, record.response["output"]
    if record.run is None:
        return Past(turns, output)
    if not calls:
        return Past(turns, output, is_known=True, after=record.run)
    # an answer in the form of a call ends its run; then its results are told with all before them
    is_waiting = all(parse_call_id(call["call_id"]) for call in calls)
    return Past(turns, output, is_known=is_waiting)


def _check_is_over(record: Record) -> None:
    if record.status in ANSWERED:
        return
    told = "wait for its end" if record.status in OPEN else "follow the response before it"
    raise Refused(
        400,
        f"The response {record.id!r} has no answer, it is {record.status}: {told}.",
        param="previous_response_id",
        code="invalid_value",
    )


def _check_answered(calls: Sequence[Mapping[str, Any]], items: Sequence[AnyItem]) -> None:
    given = {item.call_id for item in items if isinstance(item, ResultItem)}
    for call in calls:
        if call["call_id"] not in given:
            message = f"No tool output found for function call {call['call_id']}."
            raise Refused(400, message, param="input", code="invalid_value")


async def resolved(store: Store, owner: str, items: Sequence[AnyItem]) -> list[AnyItem]:
    """Put the items of stored responses in the place of references to them.

    Raises:
        Refused: the owner has no such item.
    """
    known: dict[str, list[AnyItem]] = {}
    found: list[AnyItem] = []
    for item in items:
        if isinstance(item, ReferenceItem):
            item = await _referred(store, owner, item.id, known)
        found.append(item)
    return found


async def _referred(store: Store, owner: str, id: str, known: dict[str, list[AnyItem]]) -> AnyItem:
    """Find an item.

    Args:
        store: has the responses.
        owner: who asks.
        id: of the item.
        known: the items of responses that were read for this request, by the response and side.
    """
    place = parse_item_id(id)
    if place is None:
        raise _no_item(id)
    response, side, index = place
    key = f"{response}{side}"
    if key not in known:
        try:
            record = await store.find(owner, response)
        except Refused:
            raise _no_item(id) from None
        given = record.response["output"]
        if side == "i":
            given = await store.get(record.turns[-1])
        known[key] = items_from(given)
    if index >= len(known[key]):
        raise _no_item(id)
    return known[key][index]


def _no_item(id: str) -> Refused:
    message = f"Item with id {id!r} not found. Items are not persisted when store is false."
    return Refused(404, message, param="input", code="not_found")
