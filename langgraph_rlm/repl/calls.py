"""Host functions: what code may ask of the host, checked against its signature and brought into canonical form.

A `Request` is one call as the log knows it: its payload is plain JSON, so that the same call always has the same digest.
"""

import inspect
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langgraph_rlm.errors import ContextError
from langgraph_rlm.log.entries import (
    CallEntry,
    CallKind,
    ReplyEntry,
    canonical,
    canonical_texts,
    digest_of,
    plain,
)
from langgraph_rlm.repl.base import Answer, HostCall, Raised, RaisedType, Returned
from langgraph_rlm.schemas.answers import Format, code_format, code_schema
from langgraph_rlm.storage.blobs import BlobStore, Text
from langgraph_rlm.storage.context import ContextHandle, HandleDict, ingest
from langgraph_rlm.tools import BadArguments, RLMTool

INLINE_REQUEST_CHARS = 500
"""A request travels in the log, in its `Send` and in the checkpoint between: only a small one does so in full."""


class BadCall(Exception):
    """Code called a host function wrongly: raised in the guest as the built-in exception `type`, never logged."""

    def __init__(self, type: RaisedType, message: str) -> None:
        super().__init__(message)
        self.type: RaisedType = type


@dataclass(frozen=True)
class Request:
    """One host call, checked. `payload` is plain JSON; `items` is how many answers it waits for."""

    call: CallKind
    function: str
    payload: dict[str, Any]
    items: int


class Requests:
    """The requests in the logs of one `create_rlm`: written in the interpreters' threads, read by the calls that they become.

    The payloads of the last few are kept: a thousand `Send`s of one batch parse it once, or never where this process wrote it.
    """

    def __init__(self, store: BlobStore, size: int = 8) -> None:
        self._store = store
        self._size = size
        self._payloads: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def entry(self, request: Request) -> CallEntry:
        """The log entry of a request. What is large, and whatever several `Send`s share, is stored by reference."""
        text = (canonical_texts if request.call == "llm" else canonical)(request.payload)
        stored = self._store.put_text(
            text, inline=INLINE_REQUEST_CHARS if request.items == 1 else 0
        )
        if "blob" in stored:
            self._keep(stored["blob"], request.payload)
        digest = stored.get("blob") or digest_of(text)
        return CallEntry(
            kind="call",
            call=request.call,
            function=request.function,
            digest=digest,
            request=stored,
            items=request.items,
        )

    def payload(self, stored: Text) -> dict[str, Any]:
        """The payload back from a log entry's `request`; not to be altered."""
        with self._lock:
            payload = self._payloads.get(stored.get("blob", ""))
        if payload is None:
            payload = cast(dict[str, Any], json.loads(self._store.get_text(stored)))
        if "blob" in stored:
            self._keep(stored["blob"], payload)
        return payload

    def _keep(self, digest: str, payload: dict[str, Any]) -> None:
        with self._lock:
            self._payloads[digest] = payload
            self._payloads.move_to_end(digest)
            while len(self._payloads) > self._size:
                self._payloads.popitem(last=False)


def _llm_query(
    prompt: str, model: str | None = None, schema: dict[str, Any] | None = None
) -> None: ...
def _llm_query_batched(
    prompts: list[str], model: str | None = None, schema: dict[str, Any] | None = None
) -> None: ...
def _rlm_query(
    prompt: str, context: Any = None, model: str | None = None, schema: dict[str, Any] | None = None
) -> None: ...
def _rlm_query_batched(
    prompts: list[str],
    contexts: list[Any] | None = None,
    model: str | None = None,
    schema: dict[str, Any] | None = None,
) -> None: ...


MODEL_CALLS: Mapping[str, Callable[..., None]] = {
    "llm_query": _llm_query,
    "llm_query_batched": _llm_query_batched,
    "rlm_query": _rlm_query,
    "rlm_query_batched": _rlm_query_batched,
}
READS = frozenset({"peek", "grep", "context_info"})
FINALS = frozenset({"FINAL", "FINAL_VAR"})
RESERVED = frozenset({*MODEL_CALLS, *READS, *FINALS, "SHOW_VARS"})
"""Names that code finds again in its next cell, whatever it has bound to them."""


class HostFunctions:
    """The functions of one RLM: sub-models by name, whether it may have children, and its tools."""

    def __init__(
        self, models: Sequence[str], tools: Mapping[str, RLMTool], store: BlobStore, recursive: bool
    ) -> None:
        self._models = models
        self._tools = tools
        self._store = store
        self._recursive = recursive
        self.names = RESERVED - {"SHOW_VARS"} | frozenset(tools)

    def request(self, call: HostCall) -> Request:
        """Check a call and bring it into canonical form.

        Raises:
            BadCall: the arguments do not fit the function.
        """
        if call.function in self._tools:
            return self._tool_request(self._tools[call.function], call)
        arguments = bind(call.function, MODEL_CALLS[call.function], call)
        model = self._checked_model(call.function, arguments["model"])
        prompts = _prompts(call.function, arguments)
        form = _form(call.function, arguments["schema"])
        if not call.function.startswith("rlm"):
            return Request(
                "llm", call.function, {"prompts": prompts, "model": model, **form}, len(prompts)
            )
        given = _contexts(call.function, arguments, len(prompts))
        if not self._recursive:
            prompts = [
                _with_context(prompt, context)
                for prompt, context in zip(prompts, given, strict=True)
            ]
            return Request(
                "llm", call.function, {"prompts": prompts, "model": model, **form}, len(prompts)
            )
        contexts = [self._by_reference(call.function, context) for context in given]
        return Request(
            "rlm",
            call.function,
            {"prompts": prompts, "contexts": contexts, "model": model, **form},
            len(prompts),
        )

    def _checked_model(self, function: str, model: Any) -> str | None:
        if model is None or model in self._models:
            return model
        known = ", ".join(map(repr, self._models)) or "none: leave it out"
        raise BadCall(
            "ValueError", f"{function}: model={model!r} is not known. Known models: {known}."
        )

    def _by_reference(self, function: str, value: Any) -> HandleDict | None:
        if value is None:
            return None
        try:
            return ingest(value if isinstance(value, str) else plain(value), self._store).as_dict()
        except ContextError as error:
            raise BadCall("ValueError", f"{function}: {error}") from None

    def _tool_request(self, tool: RLMTool, call: HostCall) -> Request:
        try:
            arguments = tool.arguments(call.args, call.kwargs)
        except BadArguments as error:
            raise BadCall("TypeError", str(error)) from None
        return tool_request(tool, arguments)


def tool_request(tool: RLMTool, arguments: dict[str, Any]) -> Request:
    """One call of a tool, from code or by the root model itself; `arguments` are checked."""
    return Request("tool", tool.function, {"name": tool.name, "arguments": arguments}, 1)


def bind(name: str, signature: Callable[..., Any], call: HostCall) -> dict[str, Any]:
    """Arguments by name, defaults filled in. Raises `BadCall` as Python raises TypeError."""
    try:
        bound = inspect.signature(signature).bind(*call.args, **call.kwargs)
    except TypeError as error:
        shown = inspect.signature(signature).replace(return_annotation=inspect.Signature.empty)
        raise BadCall("TypeError", f"{name}{shown}: {error}") from None
    bound.apply_defaults()
    return bound.arguments


def _prompts(function: str, arguments: Mapping[str, Any]) -> list[str]:
    if "prompt" in arguments:
        prompts: list[Any] = [arguments["prompt"]]
    elif isinstance(arguments["prompts"], list | tuple):
        prompts = list(cast(Sequence[Any], arguments["prompts"]))
    else:
        raise BadCall(
            "TypeError",
            f"{function}: prompts must be a list of str, got {type(arguments['prompts']).__name__}.",
        )
    for index, prompt in enumerate(prompts):
        if not isinstance(prompt, str):
            raise BadCall(
                "TypeError",
                f"{function}: prompt {index} must be a str, got {type(prompt).__name__}. Build it with an f-string.",
            )
        if not prompt.strip():
            raise BadCall("ValueError", f"{function}: prompt {index} is empty.")
    return cast(list[str], prompts)


def _form(function: str, schema: Any) -> dict[str, str]:
    """The part of a payload that says in what form the answer is to be; a request without one has no such part."""
    if schema is None:
        return {}
    try:
        return {"schema": code_schema(schema)}
    except ValueError as error:
        raise BadCall("ValueError", f"{function}: schema: {error}.") from None


def _contexts(function: str, arguments: Mapping[str, Any], count: int) -> list[Any]:
    """One context for each prompt; None where there is none."""
    given = [arguments["context"]] if "context" in arguments else arguments["contexts"]
    if given is None:
        return [None] * count
    if not isinstance(given, list | tuple) or len(cast(Sequence[Any], given)) != count:
        raise BadCall(
            "ValueError", f"{function}: contexts must be a list of {count}, one for each prompt."
        )
    return list(cast(Sequence[Any], given))


def _with_context(prompt: str, context: Any) -> str:
    """At the deepest level a context is part of the prompt."""
    if context is None:
        return prompt
    return f"{prompt}\n\n{context if isinstance(context, str) else canonical(plain(context))}"


def answer_of(entry: CallEntry, replies: Sequence[ReplyEntry], store: BlobStore) -> Answer:
    """What code receives for a call whose every item is answered: a value, an exception, or a list with `"Error: ..."` entries."""
    if entry["function"].endswith("_batched") and entry["call"] != "tool":
        return Returned([_entry(reply, store) for reply in replies])
    reply = replies[0]
    if reply["error"] is not None or reply["value"] is None:
        return Raised("RuntimeError", f"{entry['function']} failed: {reply['error']}")
    text = store.get_text(reply["value"])
    return Returned(json.loads(text) if entry["call"] == "tool" or reply.get("json") else text)


def _entry(reply: ReplyEntry, store: BlobStore) -> Any:
    """One entry of a batch."""
    if reply["error"] is not None or reply["value"] is None:
        return f"Error: {reply['error']}"
    text = store.get_text(reply["value"])
    return json.loads(text) if reply.get("json") else text


def context_of(payload: Mapping[str, Any], item: int) -> ContextHandle | None:
    """The context that item `item` of an `rlm_query` request brings."""
    given = payload["contexts"][item]
    return None if given is None else ContextHandle.from_dict(given)


def form_of(payload: Mapping[str, Any]) -> Format | None:
    """The form in which a request wants its answer; None for text."""
    schema = payload.get("schema")
    return None if schema is None else code_format(schema)
