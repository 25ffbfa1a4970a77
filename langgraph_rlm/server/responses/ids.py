"""Ids: of responses and of their items. The id of an item leads to its response, and with the
owner's key that leads to the record: there is no table of ids."""

import re
import uuid
from typing import Literal

RESPONSE_ID = re.compile(r"resp_([0-9a-f]{32})", re.ASCII)
ITEM_ID = re.compile(r"(?:msg|fc|fco|rs)_([0-9a-f]{32})_([io])([0-9]{1,9})", re.ASCII)

Side = Literal["i", "o"]
"""Whether an item is of the input or of the output."""

PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
}
"""How the ids of items begin, by their type."""


def new_response_id() -> str:
    """Make the id of a new response. Only whoever has its owner's key can read it."""
    return f"resp_{uuid.uuid4().hex}"


def is_response_id(id: str) -> bool:
    """Whether a text has the form of an id of a response."""
    return RESPONSE_ID.fullmatch(id) is not None


def item_id(response: str, type: str, side: Side, index: int) -> str:
    """Give the id of an item of a response."""
    return f"{PREFIXES[type]}_{response.removeprefix('resp_')}_{side}{index}"


def parse_item_id(id: str) -> tuple[str, Side, int] | None:
    """Give the response, the side and the index in an item's id; None for one that is not ours."""
    found = ITEM_ID.fullmatch(id)
    if found is None:
        return None
    side: Side = "i" if found[2] == "i" else "o"
    return f"resp_{found[1]}", side, int(found[3])
