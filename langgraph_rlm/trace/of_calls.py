"""Of calls: the records of calls, and of the answers to their items."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from langgraph_rlm.log.entries import CallEntry, ReplyEntry
from langgraph_rlm.log.places import cell_at, cell_of, item_place, reply_at
from langgraph_rlm.log.text import ordered
from langgraph_rlm.repl.requests import context_of, images_of, is_refused
from langgraph_rlm.storage.context import HandleDict
from langgraph_rlm.trace.records import CallRecord, ContextRecord, Ranges, ReplyRecord
from langgraph_rlm.trace.scope import Scope, entries_of, known, model_in, or_none, stamp_of

ReplyState = Literal["answered", "failed", "open", "paused", "dropped"]


def call_records(scope: Scope) -> Iterator[CallRecord | ReplyRecord]:
    """Give each call of an RLM, and after it the answers to its items."""
    paused = {pause.place for pause in scope.rlm.pauses}
    for place, entry in entries_of(scope.log, "call"):
        payload = or_none(lambda entry=entry: scope.texts.request(entry["request"]))
        yield _call(scope, place, entry, payload)
        for item in range(entry["items"]):
            reply = reply_at(scope.log, item_place(place, item))
            yield _reply(scope, place, entry, payload, item, reply, paused)
            if reply is not None and is_refused(reply):
                break


def _call(scope: Scope, place: str, entry: CallEntry, payload: Any) -> CallRecord:
    asker = cell_of(place)
    return CallRecord(
        type="call",
        **scope.head(place),
        turn=int(asker.partition(".")[0]),
        call=entry["call"],
        function=entry["function"],
        items=entry["items"],
        **known(
            cell=asker if "." in asker else None,
            request=_request(scope, entry, payload),
        ),
        **stamp_of(entry),
    )


def _request(scope: Scope, entry: CallEntry, payload: Any) -> Any:
    """Give what a tool or a query was given; the prompts of other calls are in their answers."""
    if entry["call"] == "tool" and payload is not None:
        return scope.texts.put(ordered(payload["arguments"]))
    return scope.shown(entry["request"]) if entry["call"] == "sql" else None


def _reply(
    scope: Scope,
    call: str,
    entry: CallEntry,
    payload: Any,
    item: int,
    reply: ReplyEntry | None,
    paused: set[str],
) -> ReplyRecord:
    place = item_place(call, item)
    asked = _asked(scope, entry, payload, item)
    if reply is None:
        state: ReplyState = "open" if cell_at(scope.log, cell_of(place)) is None else "dropped"
        if place in paused:
            state = "paused"
        return ReplyRecord(
            type="reply",
            **scope.head(place),
            call=call,
            item=item,
            state=state,
            **asked,
            **known(child=_child(scope, place), thread=scope.rlm.threads.get(place)),
        )
    return ReplyRecord(
        type="reply",
        **scope.head(place),
        call=call,
        item=item,
        state="answered" if reply["error"] is None else "failed",
        **asked,
        **_answered(scope, place, entry, reply),
        **stamp_of(reply),
    )


def _answered(scope: Scope, place: str, entry: CallEntry, reply: ReplyEntry) -> Any:
    """Give what an answer says, as far as it says it."""
    model = model_in(reply.get("usage")) if entry["call"] == "llm" else None
    return known(
        model=model or reply["model"],
        child=_child(scope, place),
        thread=reply.get("thread"),
        value=scope.shown(reply["value"]),
        error=scope.texts.put(reply["error"]),
        thoughts=scope.shown(reply.get("thoughts")),
        is_json=_is_json(entry, reply),
        usage=reply.get("usage"),
        waited=_waited(entry, reply),
        reads=reply.get("reads") or None,
        read_bytes=reply.get("read_bytes"),
        seen=reply.get("seen") or None,
        decision=reply.get("decision"),
        refused=reply.get("refused"),
    )


def _asked(scope: Scope, entry: CallEntry, payload: Any, item: int) -> Any:
    """Give what one item asks of a model or of a child."""
    if entry["call"] not in ("llm", "rlm"):
        return {}
    prompt = scope.texts.prompt(entry["request"], item)
    if payload is None:
        return {"prompt": prompt}
    context = context_of(payload, item) if "contexts" in payload else None
    return known(
        prompt=prompt,
        ranges=_ranges(scope, payload, item),
        context=None if context is None else context_record(scope, context.as_dict()),
        images=_images(scope, payload, item) or None,
    )


def _images(scope: Scope, payload: Mapping[str, Any], item: int) -> list[dict[str, Any]]:
    """Give what was shown to the model, and note which bytes these are."""
    shown: list[dict[str, Any]] = [{**reference} for reference in images_of(payload, item)]
    for reference in shown:
        if "digest" in reference:
            scope.texts.files.setdefault(reference["digest"], None)
    return shown


def _ranges(scope: Scope, payload: Mapping[str, Any], item: int) -> Ranges | None:
    if "ranges" not in payload:
        return None
    return {payload["of"]: payload["ranges"][item]}


def _is_json(entry: CallEntry, reply: ReplyEntry) -> bool | None:
    """Whether the value of an answer is JSON; None where it is not, or there is none."""
    is_json = entry["call"] == "tool" or reply.get("json", False)
    return (is_json and reply["value"] is not None) or None


def _waited(entry: CallEntry, reply: ReplyEntry) -> float | None:
    """Seconds from a call until it was worked on; None where they are not known."""
    made, over, took = entry.get("at"), reply.get("at"), reply.get("seconds")
    if made is None or over is None or took is None:
        return None
    return max(0.0, round(over - took - made, 3))


def _child(scope: Scope, place: str) -> str | None:
    child = scope.rlm.children.get(place)
    return None if child is None else child.rlm_id


def context_record(scope: Scope, handle: HandleDict, name: str | None = None) -> ContextRecord:
    """Give a context as a record has it.

    Args:
        scope: of the RLM that was given it.
        handle: the context.
        name: `context_0` and on.
    """
    scope.texts.name_context(handle)
    return ContextRecord(
        digest=handle["digest"],
        kind=handle["kind"],
        size=handle["size"],
        length=handle["length"],
        **known(
            name=name,
            user_name=handle.get("name"),
            items=handle["items"],
            source=handle["source"],
            index=handle["index"],
            about=handle.get("about"),
            tables=handle.get("tables"),
            skipped=handle["skipped"] or None,
        ),
    )
