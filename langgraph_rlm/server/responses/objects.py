"""Objects: OpenAI's `response`, whole: what was asked, how it stands, and what came. Asks no
model."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.replies import more_in
from langgraph_rlm.server.responses.output import Output
from langgraph_rlm.server.responses.requests import ResponseRequest

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]

OPEN: tuple[Status, ...] = ("queued", "in_progress")
"""States of a response that is not over."""

CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer is not whole, by the chat's `finish_reason`."""

Object = dict[str, Any]


def new_object(id: str, request: ResponseRequest, status: Status) -> Object:
    """Give a response that has just been asked for."""
    reasoning = request.reasoning
    return {
        "id": id,
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "status": status,
        "background": bool(request.background),
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "metadata": request.metadata or {},
        "model": request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "reasoning": {
            "effort": reasoning and reasoning.effort,
            "summary": reasoning and (reasoning.summary or reasoning.generate_summary),
        },
        "store": request.is_kept,
        "temperature": request.temperature,
        "text": _text(request),
        "tool_choice": _choice(request),
        "tools": [_tool(tool.model_dump(exclude_none=True)) for tool in request.tools or ()],
        "top_logprobs": 0,
        "top_p": request.top_p,
        "truncation": request.truncation or "disabled",
        "usage": None,
        "user": request.user,
    }


def ended(begun: Object, output: Output) -> Object:
    """Give a response whose model has said all."""
    reason = CUT.get(str(output.metadata.get("finish_reason")))
    items = output.items
    if reason and items:
        items = [*items[:-1], {**items[-1], "status": "incomplete"}]
    return {
        **begun,
        "status": "incomplete" if reason else "completed",
        "completed_at": int(time.time()),
        "incomplete_details": {"reason": reason} if reason else None,
        "output": items,
        "usage": usage_of(output.usage),
        **more_in(output.metadata),
    }


def failed(begun: Object, error: Refused, items: Sequence[Mapping[str, Any]] = ()) -> Object:
    """Give a response that could not be answered."""
    told: dict[str, Any] = error.body["error"]
    body = {"code": _code(error), "message": told["message"]}
    return {**begun, "status": "failed", "error": body, "output": _over(items)}


def cancelled(begun: Object, items: Sequence[Mapping[str, Any]] = ()) -> Object:
    """Give a response that its client has stopped."""
    return {**begun, "status": "cancelled", "output": _over(items)}


def usage_of(usage: Any) -> dict[str, Any]:
    """Give OpenAI's usage for LangChain's; what was not counted is 0."""
    given: Mapping[str, Any] = usage or {}
    sent, got = given.get("input_tokens", 0), given.get("output_tokens", 0)
    sent_details: Mapping[str, Any] = given.get("input_token_details") or {}
    got_details: Mapping[str, Any] = given.get("output_token_details") or {}
    return {
        "input_tokens": sent,
        "input_tokens_details": {
            "cached_tokens": sent_details.get("cache_read") or 0,
            "cache_write_tokens": sent_details.get("cache_creation") or 0,
        },
        "output_tokens": got,
        "output_tokens_details": {"reasoning_tokens": got_details.get("reasoning") or 0},
        "total_tokens": given.get("total_tokens", sent + got),
    }


def _over(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give items of which none grows any more."""
    over: list[dict[str, Any]] = []
    for item in items:
        is_open = item["status"] == "in_progress"
        over.append({**item, "status": "incomplete"} if is_open else {**item})
    return over


def _code(error: Refused) -> str:
    """Name an error by the codes that OpenAI's clients know."""
    if error.status == 429:
        return "rate_limit_exceeded"
    return "server_error" if error.status >= 500 else "invalid_prompt"


def _text(request: ResponseRequest) -> dict[str, Any]:
    form: dict[str, Any] = {"type": "text"}
    given = request.text and request.text.format
    if given:
        form = given.model_dump(exclude_none=True, by_alias=True)
    verbosity = (request.text and request.text.verbosity) or "medium"
    return {"format": form, "verbosity": verbosity}


def _choice(request: ResponseRequest) -> Any:
    choice = request.tool_choice
    if choice is None or isinstance(choice, str):
        return choice or "auto"
    return choice.model_dump()


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    return {"description": None, "parameters": None, "strict": None, **tool}
