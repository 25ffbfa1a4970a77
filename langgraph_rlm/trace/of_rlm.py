"""Of an RLM: its own record, and those of its questions, summaries, refused answers and pauses."""

from collections.abc import Iterator
from typing import Any

from langgraph_rlm.log.entries import QuestionEntry
from langgraph_rlm.log.places import context_names, questions_of
from langgraph_rlm.tools.approvals import tool_of_review
from langgraph_rlm.trace.of_calls import call_records, context_record
from langgraph_rlm.trace.of_turns import turn_records
from langgraph_rlm.trace.records import (
    PauseRecord,
    QuestionRecord,
    Record,
    RefusedRecord,
    RLMRecord,
    SummaryRecord,
)
from langgraph_rlm.trace.scope import Scope, entries_of, known, model_in, stamp_of, time_of
from langgraph_rlm.trace.texts import plain_json


def rlm_records(scope: Scope) -> Iterator[Record]:
    """Give all records of one RLM, without those of its children."""
    yield _rlm(scope)
    yield from _questions(scope)
    yield from turn_records(scope)
    yield from call_records(scope)
    yield from _summaries(scope)
    yield from _refused(scope)
    yield from _pauses(scope)


def _rlm(scope: Scope) -> RLMRecord:
    rlm = scope.rlm
    first = next((question for question in questions_of(scope.log)), None)
    times = [at for at in map(time_of, scope.log.values()) if at is not None]
    return RLMRecord(
        type="rlm",
        id=f"rlm:{rlm.rlm_id}",
        rlm=rlm.rlm_id,
        parent=scope.parent,
        parent_place=scope.parent_place,
        depth=rlm.depth,
        state=scope.state,
        **known(
            model=_model(scope),
            stop_reason=rlm.stop_reason or None,
            answer=scope.texts.put(rlm.answer),
            usage=rlm.usage or None,
            question=scope.shown(first["question"]) if first else None,
            to=max(times, default=None),
            **{"from": first["started"] if first else None},
        ),
    )


def _model(scope: Scope) -> str | None:
    """Name the model that writes its code: the one that was asked last, else what was picked."""
    named = [model_in(turn.get("usage")) for _, turn in entries_of(scope.log, "turn")]
    return next((name for name in reversed(named) if name), scope.rlm.model)


def _questions(scope: Scope) -> Iterator[QuestionRecord]:
    questions = questions_of(scope.log)
    for number, entry in enumerate(questions):
        names = context_names(questions[: number + 1])
        yield QuestionRecord(
            type="question",
            **scope.head(f"run.{number}"),
            number=number,
            question=scope.shown(entry["question"]) or "",
            contexts=[
                context_record(scope, handle, name)
                for name, handle in zip(names, entry["contexts"], strict=True)
            ],
            turn=entry["turn"],
            **known(settings=_settings(scope, entry)),
            **stamp_of({**entry, "at": time_of(entry)}),
        )


def _settings(scope: Scope, entry: QuestionEntry) -> dict[str, Any] | None:
    """Give what a question had of its own; None for nothing."""
    if "settings" not in entry:
        return None
    given: dict[str, Any] = {**entry["settings"]}
    if "prompt" in given:
        given["prompt"] = scope.shown(given["prompt"])
    return given


def _summaries(scope: Scope) -> Iterator[SummaryRecord]:
    for place, entry in entries_of(scope.log, "compaction"):
        yield SummaryRecord(
            type="summary",
            **scope.head(place),
            number=int(place.rpartition(".")[2]),
            turn=entry["turn"],
            summary=scope.shown(entry["summary"]) or "",
            **known(usage=entry.get("usage")),
            **stamp_of(entry),
        )


def _refused(scope: Scope) -> Iterator[RefusedRecord]:
    for place, entry in entries_of(scope.log, "refused"):
        yield RefusedRecord(
            type="refused",
            **scope.head(place),
            turn=int(place.rpartition(".")[2]),
            answer=scope.shown(entry["answer"]) or "",
            error=scope.shown(entry["error"]) or "",
            **stamp_of(entry),
        )


def _pauses(scope: Scope) -> Iterator[PauseRecord]:
    for pause in scope.rlm.pauses:
        asks = pause.interrupt
        value = plain_json(asks.value)
        yield PauseRecord(
            type="pause",
            id=f"pause:{asks.id}",
            rlm=scope.rlm.rlm_id,
            interrupt=asks.id,
            value=value,
            **_about(value),
            **known(place=pause.place, schema=plain_json(asks.response_schema)),
        )


def _about(value: object) -> dict[str, Any]:
    """Say what kind of pause it is, and which call it asks about."""
    if not isinstance(value, dict):
        return {"kind": "other"}
    asks: dict[str, Any] = {**value}
    if asks.get("type") == "external_tool_call":
        return {"kind": "external", "tool": asks["name"], "arguments": asks["args"]}
    tool = tool_of_review(asks)
    if tool is None:
        return {"kind": "other"}
    actions: Any = asks.get("action_requests")
    action: Any = actions[0] if actions else asks
    return {"kind": "approval", "tool": tool, "arguments": action.get("args")}
