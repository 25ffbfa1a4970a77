"""Answers: what an engine is asked, and the head and the parts of what it answers."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from langgraph_rlm.server.errors import Refused

JSON = {"content-type": "application/json"}
SSE = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
IGNORED = "x-langgraph-rlm-ignored"
"""Header of an answer with the names of fields that the model's provider does not have."""

Door = Literal[
    "chat",
    "completion",
    "response",
    "stored response",
    "input items",
    "cancel response",
    "delete response",
    "file",
    "file content",
    "figures",
    "usage",
    "ready",
]
"""What there is to ask for; the first three have a body, and take a slot."""


@dataclass(frozen=True)
class Asked:
    """One request, without its body."""

    door: Door
    owner: str = ""
    """Who asks: a digest of a key."""
    id: str = ""
    """Of the response or the file that is asked for."""
    repeat: str = ""
    """The client's `Idempotency-Key`."""
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What stands behind the `?`."""


@dataclass(frozen=True)
class Head:
    """Status and headers of an answer."""

    status: int
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))


Answer = AsyncGenerator["Head | bytes"]
"""A `Head`, then the parts of the body. Closing it early cancels the work."""


def refused(error: Refused) -> tuple[Head, bytes]:
    """Give the head and the body of a refusal."""
    return Head(error.status, {**JSON, **error.headers}), error.json
