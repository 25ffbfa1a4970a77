"""Requests: what code asks of models, children and tools, as the log has it, and what it gets back.

The payload of a request is plain JSON, so that the same call always has the same digest. Nothing
here calls a model or a tool.
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cachetools import LRUCache

from langgraph_rlm.log.entries import CallEntry, CallKind, ReplyEntry
from langgraph_rlm.log.text import canonical, canonical_texts, digest_of, ordered
from langgraph_rlm.repl.base import Answer, Raised, Returned
from langgraph_rlm.schemas.answers import Format, code_format
from langgraph_rlm.storage.blobs import BlobStore, Text
from langgraph_rlm.storage.context import ContextHandle
from langgraph_rlm.storage.references import Reference
from langgraph_rlm.tools import RLMTool

INLINE_REQUEST_CHARS = 500
"""Longest request that stays in the log as it is.

A request in the log also travels in its `Send`, and in the checkpoint between.
"""

KEPT_PAYLOADS = 8


@dataclass(frozen=True)
class Request:
    """One host call with its arguments checked."""

    call: CallKind
    function: str
    payload: dict[str, Any]
    """Plain JSON."""
    items: int
    """How many answers it waits for."""
    on_host: Callable[[float], ReplyEntry] | None = field(default=None, compare=False)
    """Makes its answer at once, within some seconds, where the log has none; None where the graph
    has to dispatch it."""


class Requests:
    """The requests in the logs of one `create_rlm`.

    Threads of interpreters write them; the calls that they become read them. The last few payloads
    are kept, so that a thousand `Send`s of one batch parse theirs once, or never if this process
    wrote it.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._payloads: LRUCache[str, dict[str, Any]] = LRUCache(KEPT_PAYLOADS)
        self._lock = threading.Lock()

    def entry(self, request: Request) -> CallEntry:
        """Make the log entry of a request.

        A large payload, and one that several `Send`s share, is stored by reference.
        """
        inline = INLINE_REQUEST_CHARS if request.items == 1 else 0
        if request.call == "llm":  # texts alone, and references: one form for both
            text = canonical_texts(request.payload)
            stored = self._blobs.put_text(text, inline=inline)
            digest = stored.get("blob") or digest_of(text)
        else:
            stored = self._blobs.put_text(ordered(request.payload), inline=inline)
            digest = digest_of(canonical(request.payload))
        if "blob" in stored:
            self._keep(stored["blob"], request.payload)
        return CallEntry(
            kind="call",
            call=request.call,
            function=request.function,
            digest=digest,
            request=stored,
            items=request.items,
        )

    def payload(self, stored: Text) -> dict[str, Any]:
        """Read the payload of a log entry's `request`. The caller must not alter it.

        Raises:
            BlobError: the payload is missing in the store.
        """
        with self._lock:
            payload = self._payloads.get(stored.get("blob", ""))
        if payload is None:
            payload = json.loads(self._blobs.get_text(stored))
        if "blob" in stored:
            self._keep(stored["blob"], payload)
        return payload

    def _keep(self, digest: str, payload: dict[str, Any]) -> None:
        with self._lock:
            self._payloads[digest] = payload


def tool_request(tool: RLMTool, arguments: dict[str, Any]) -> Request:
    """Make the request of one tool call, by code or by the root model itself.

    Args:
        arguments: checked against the tool's schema.
    """
    return Request("tool", tool.function, {"name": tool.name, "arguments": arguments}, 1)


def context_of(payload: Mapping[str, Any], item: int) -> ContextHandle | None:
    """Give the context that comes with item `item` of an `rlm_query` request, if one does."""
    given = payload["contexts"][item]
    return None if given is None else ContextHandle.from_dict(given)


def images_of(payload: Mapping[str, Any], item: int) -> list[Reference]:
    """Give what is shown to the model with prompt `item`; nothing in most requests."""
    return payload["images"][item] if "images" in payload else []


def form_of(payload: Mapping[str, Any]) -> Format | None:
    """Give the form in which a request wants its answer; None for text."""
    schema = payload.get("schema")
    return None if schema is None else code_format(schema)


def answer_of(entry: CallEntry, replies: Sequence[ReplyEntry], blobs: BlobStore) -> Answer:
    """Give what code gets for a call whose every item is answered, or which was refused.

    Returns:
        A value or an exception; for a batch a list, with `"Error: ..."` for an item that failed.
    """
    if is_refused(replies[0]):
        return Raised("ValueError", f"{entry['function']}: {replies[0]['error']}")
    if entry["call"] == "sql" and replies[0]["error"] is not None:
        return Raised("ValueError", f"{entry['function']}: {replies[0]['error']}")
    if entry["function"].endswith("_batched") and entry["call"] != "tool":
        return Returned([_item(reply, blobs) for reply in replies])
    reply = replies[0]
    if reply["error"] is not None or reply["value"] is None:
        return Raised("RuntimeError", f"{entry['function']} failed: {reply['error']}")
    is_json = entry["call"] == "tool" or bool(reply.get("json"))
    return Returned(_value(reply["value"], blobs, is_json=is_json))


def is_refused(reply: ReplyEntry) -> bool:
    """Tell whether the reply of a first item refuses its whole batch."""
    return bool(reply.get("refused")) and reply["error"] is not None


def _item(reply: ReplyEntry, blobs: BlobStore) -> Any:
    """Give one item of a batch."""
    if reply["error"] is not None or reply["value"] is None:
        return f"Error: {reply['error']}"
    return _value(reply["value"], blobs, is_json=bool(reply.get("json")))


def _value(stored: Text, blobs: BlobStore, *, is_json: bool) -> Any:
    text = blobs.get_text(stored)
    return json.loads(text) if is_json else text
