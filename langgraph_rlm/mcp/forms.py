"""Forms: a call that waits, as a form that MCP clients show to a person, and what the form says.

A form shows all of its call. Nothing is approved by sending it as it comes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langgraph_rlm.errors import ResumeError
from langgraph_rlm.hosting.pauses import WITHIN, Action, Pause
from langgraph_rlm.hosting.visible import escaped, printable

FORM_CHARS = 20_000
"""Most characters of a form. What is longer cannot be judged in one, and waits for another door."""
REASON_CHARS = 10_000

TITLES: Mapping[str, str] = {
    "approve": "approve: run it as it stands",
    "edit": "edit: run it with the arguments below",
    "reject": "reject: do not run it",
    "respond": "respond: do not run it, and give the result below",
}


@dataclass(frozen=True)
class Form:
    """A form of MCP's elicitation."""

    message: str
    schema: dict[str, Any]
    """JSON schema of a flat object of strings, as MCP allows."""


def form_of(pause: Pause, problem: str = "") -> Form | None:
    """Make the form of a pause; None where it is too long to be shown as a whole.

    Args:
        pause: what waits.
        problem: why the last answer was not taken.
    """
    parts = [f"The last answer was not taken: {printable(problem)}"] if problem else []
    fields: dict[str, Any] = {}
    required: list[str] = []
    if not pause.actions:
        parts.append(f"The run asks:\n{_pretty(pause.value)}")
        fields["result"] = _text("Answer", "JSON, or text")
        required.append("result")
    for number, action in enumerate(pause.actions):
        parts.append(_shown(pause, action))
        end = _end(pause, number)
        if pause.kind == "external":
            fields[f"result{end}"] = _text("Result of the call", "JSON, or text")
            required.append(f"result{end}")
        else:
            fields |= _decision_fields(action, end)
            required.append(f"decision{end}")
    message = "\n\n".join(parts)
    if len(message) > FORM_CHARS:
        return None
    return Form(message, {"type": "object", "properties": fields, "required": required})


def _shown(pause: Pause, action: Action) -> str:
    child, within, place = pause.place.rpartition(WITHIN)
    where = f"{place}, in the child RLM at {child}" if within else place
    lines = [f"A call waits for you: {printable(action.tool)}"]
    if pause.is_doubtful:
        lines.append("It was cut off, and MAY HAVE RUN ALREADY.")
    if action.description:
        lines.append(printable(action.description))
    lines.append(f"Arguments:\n{_pretty(action.arguments)}")
    if where:
        lines.append(f"Place: {where}")
    return "\n".join(lines)


def _decision_fields(action: Action, end: str) -> dict[str, Any]:
    decision = _text("Decision", "; ".join(TITLES[each] for each in action.allowed))
    fields: dict[str, Any] = {f"decision{end}": {**decision, "enum": [*action.allowed]}}
    if "reject" in action.allowed:
        fields[f"reason{end}"] = _text("Reason", "Why it is rejected; may be empty")
    if "edit" in action.allowed:
        arguments = json.dumps(action.arguments, default=str)
        edited = _text("Arguments", "For edit: a JSON object")
        fields[f"arguments{end}"] = {**edited, "default": arguments}
    if "respond" in action.allowed:
        fields[f"result{end}"] = _text("Result", "For respond: JSON, or text")
    return fields


def _text(title: str, description: str) -> dict[str, Any]:
    return {"type": "string", "title": title, "description": description}


def answer_of(pause: Pause, content: Mapping[str, Any]) -> Any:
    """Read the answer to a pause from what was filled in.

    Raises:
        ResumeError: it has no decision that may be made, or no JSON where that is needed.
    """
    if not pause.actions:
        return _value(content, "result")
    if pause.kind == "external":
        return _value(content, "result")
    decisions = [
        _decision(action, content, _end(pause, number))
        for number, action in enumerate(pause.actions)
    ]
    return decisions[0] if len(decisions) == 1 else {"decisions": decisions}


def refusal_of(pause: Pause) -> Any:
    """Give the answer of a person who declines; None where the pause cannot be rejected."""
    if pause.kind != "approval" or any("reject" not in each.allowed for each in pause.actions):
        return None
    reject = {"type": "reject", "message": "The user declined the call."}
    return reject if len(pause.actions) == 1 else {"decisions": [reject] * len(pause.actions)}


def _decision(action: Action, content: Mapping[str, Any], end: str) -> dict[str, Any]:
    decision = content.get(f"decision{end}")
    if decision not in action.allowed:
        raise ResumeError(f"decision must be one of {', '.join(action.allowed)}.")
    if decision == "approve":
        return {"type": "approve"}
    if decision == "reject":
        reason = str(content.get(f"reason{end}") or "").strip()[:REASON_CHARS]
        return {"type": "reject", **({"message": reason} if reason else {})}
    if decision == "respond":
        return {"type": "respond", "message": _value(content, f"result{end}")}
    try:
        arguments = json.loads(str(content.get(f"arguments{end}") or ""))
    except ValueError as error:
        raise ResumeError(f"The arguments are no JSON: {error}") from None
    return {"type": "edit", "edited_action": {"name": action.tool, "args": arguments}}


def _value(content: Mapping[str, Any], name: str) -> Any:
    """Read a value: JSON, else the text as it is."""
    given = content.get(name)
    if not isinstance(given, str):
        raise ResumeError(f"{name} is missing.")
    try:
        return json.loads(given)
    except ValueError:
        return given


def _end(pause: Pause, number: int) -> str:
    """Give the end of the names of one call's fields, where a pause has several calls."""
    return f"_{number + 1}" if len(pause.actions) > 1 else ""


def _pretty(value: Any) -> str:
    """Write a value as JSON, every character of it visible."""
    return escaped(json.dumps(value, ensure_ascii=False, indent=2, default=str))
