"""Requests: what code asks of models, children and tools, as the log knows it, and what it gets back. Calls nobody.

The payload of a request is plain JSON, so that the same call always has the same digest.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from cachetools import LRUCache

from langgraph_rlm.log.entries import CallEntry, CallKind, ReplyEntry
from langgraph_rlm.log.text import canonical, canonical_texts, digest_of
from langgraph_rlm.repl.base import Answer, Raised, Returned
from langgraph_rlm.schemas.answers import Format, code_format
from langgraph_rlm.storage.blobs import BlobStore, Text
from langgraph_rlm.storage.context import ContextHandle
from langgraph_rlm.tools import RLMTool

INLINE_REQUEST_CHARS = 500
"""Longest request that stays in the log as it is: each also travels in its `Send`, and in the checkpoint between."""

KEPT_PAYLOADS = 8


@dataclass(frozen=True)
class Request:
    """One host call, its arguments checked."""

    call: CallKind
    function: str
    payload: dict[str, Any]
    """Plain JSON."""
    items: int
    """How many answers it waits for."""


class Requests:
    """The requests in the logs of one `create_rlm`: written in interpreters' threads, read by the calls that they become.

    The payloads of the last few are kept: a thousand `Send`s of one batch parse it once, or never where this process wrote it.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._payloads: LRUCache[str, dict[str, Any]] = LRUCache(KEPT_PAYLOADS)
        self._lock = threading.Lock()

    def entry(self, request: Request) -> CallEntry:
        """Write a request as a log entry. What is large, and whatever several `Send`s share, is stored by reference."""
        as_text = canonical_texts if request.call == "llm" else canonical
        text = as_text(request.payload)
        stored = self._blobs.put_text(
            text, inline=INLINE_REQUEST_CHARS if request.items == 1 else 0
        )
        if "blob" in stored:
            self._keep(stored["blob"], request.payload)
        return CallEntry(
            kind="call",
            call=request.call,
            function=request.function,
            digest=stored.get("blob") or digest_of(text),
            request=stored,
            items=request.items,
        )

    def payload(self, stored: Text) -> dict[str, Any]:
        """Read the payload of a log entry's `request`; it must not be altered. Raises `BlobError`."""
        with self._lock:
            payload = self._payloads.get(stored.get("blob", ""))
        if payload is None:
            payload = cast(dict[str, Any], json.loads(self._blobs.get_text(stored)))
        if "blob" in stored:
            self._keep(stored["blob"], payload)
        return payload

    def _keep(self, digest: str, payload: dict[str, Any]) -> None:
        with self._lock:
            self._payloads[digest] = payload


def tool_request(tool: RLMTool, arguments: dict[str, Any]) -> Request:
    """The request of one tool call, from code or by the root model itself; `arguments` are checked already."""
    return Request("tool", tool.function, {"name": tool.name, "arguments": arguments}, 1)


def context_of(payload: Mapping[str, Any], item: int) -> ContextHandle | None:
    """The context that item `item` of an `rlm_query` request brings."""
    given = payload["contexts"][item]
    return None if given is None else ContextHandle.from_dict(given)


def form_of(payload: Mapping[str, Any]) -> Format | None:
    """The form in which a request wants its answer; None for text."""
    schema = payload.get("schema")
    return None if schema is None else code_format(schema)


def answer_of(entry: CallEntry, replies: Sequence[ReplyEntry], blobs: BlobStore) -> Answer:
    """What code gets for a call whose every item is answered: a value, an exception, or a list with `"Error: ..."` entries."""
    if entry["function"].endswith("_batched") and entry["call"] != "tool":
        return Returned([_item(reply, blobs) for reply in replies])
    reply = replies[0]
    if reply["error"] is not None or reply["value"] is None:
        return Raised("RuntimeError", f"{entry['function']} failed: {reply['error']}")
    text = blobs.get_text(reply["value"])
    is_json = entry["call"] == "tool" or reply.get("json")
    return Returned(json.loads(text) if is_json else text)


def _item(reply: ReplyEntry, blobs: BlobStore) -> Any:
    """One item of a batch."""
    if reply["error"] is not None or reply["value"] is None:
        return f"Error: {reply['error']}"
    text = blobs.get_text(reply["value"])
    return json.loads(text) if reply.get("json") else text
