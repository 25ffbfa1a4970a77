"""Events: those of a response's stream, numbered and written. Never asks a model."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.responses.objects import Object
from langgraph_rlm.server.responses.output import Event

LAST = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
    "cancelled": "response.incomplete",  # OpenAI has no event of its own for it
}
"""The last event of a stream, by how the response ended."""


def begun(response: Object) -> Iterator[Event]:
    """Give the first events."""
    yield {"type": "response.created", "response": response}
    if response["status"] == "queued":
        yield {"type": "response.queued", "response": response}
    else:
        yield {"type": "response.in_progress", "response": response}


def last(response: Object) -> Event:
    """Give the last event."""
    return {"type": LAST[response["status"]], "response": response}


def written(event: Mapping[str, Any], number: int) -> bytes:
    """Write an event with its number."""
    told = {**event, "sequence_number": number}
    return b"event: " + event["type"].encode() + b"\ndata: " + json.dumps(told).encode() + b"\n\n"


def broken_off(error: Refused) -> bytes:
    """Give the last event of a stream whose response is not known any more."""
    told = error.body["error"]
    event = {
        "type": "error",
        "code": told["code"],
        "message": told["message"],
        "param": told["param"],
    }
    return written(event, 0)
