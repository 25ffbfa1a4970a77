"""Approvals: what a pause asks and which answers it takes. Everything here is a value: nothing pauses, and nothing runs.

A tool call that needs approval asks with LangChain's `HITLRequest` of one action, and takes an `HITLResponse`, a bare decision, or
Agent Inbox's list form (`langchain/agents/middleware/human_in_the_loop.py` of langchain 1.5; github.com/langchain-ai/agent-inbox).
A call of an external tool asks with its name and arguments, and takes its result.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NotRequired, cast

from typing_extensions import TypedDict

from langgraph_rlm.errors import ConfigurationError, ResumeError
from langgraph_rlm.log.text import canonical
from langgraph_rlm.tools import RLMTool
from langgraph_rlm.tools.arguments import Schema, problems_of

DecisionType = Literal["approve", "edit", "reject", "respond"]
DECISIONS: tuple[DecisionType, ...] = ("approve", "edit", "reject", "respond")
UNSURE: tuple[DecisionType, ...] = ("approve", "reject", "respond")
"""What may be decided about a call that may have run already."""

INBOX: Mapping[str, DecisionType] = {
    "accept": "approve",
    "edit": "edit",
    "ignore": "reject",
    "response": "respond",
}
"""Agent Inbox's names of the decisions."""

Describe = Callable[[dict[str, Any], Any, Any], str]


class InterruptOn(TypedDict):
    """How calls of one tool are approved; LangChain's `InterruptOnConfig` as far as it applies to code."""

    allowed_decisions: Sequence[DecisionType]
    description: NotRequired[str | Describe]
    """Text for the reviewer, or a function of the tool call, the pending call and the LangGraph `Runtime` that makes it."""


class Pause(TypedDict):
    """What a pause shows: the value of LangGraph's `Interrupt`, and the JSON schema of the answers that it takes."""

    value: dict[str, Any]
    schema: dict[str, Any]


def checked_interrupt_on(
    given: Mapping[str, Any], tools: Collection[RLMTool]
) -> dict[str, InterruptOn]:
    """`interrupt_on` with every tool's decisions spelled out; tools with False are left out.

    Raises:
        ConfigurationError: an unknown or external tool, an unknown key or decision.
    """
    own = sorted(tool.name for tool in tools if not tool.is_external)
    if unknown := sorted(set(given) - set(own)):
        raise ConfigurationError(
            f"interrupt_on names {', '.join(unknown)}, which is not among the tools that the graph runs: {', '.join(own) or 'none'}."
        )
    return {name: _checked(name, config) for name, config in given.items() if config is not False}


def _checked(name: str, config: Any) -> InterruptOn:
    if config is True:
        return InterruptOn(allowed_decisions=DECISIONS)
    known = isinstance(config, Mapping) and not set(cast(Mapping[str, Any], config)) - {
        "allowed_decisions",
        "description",
    }
    allowed = cast(Mapping[str, Any], config).get("allowed_decisions", DECISIONS) if known else ()
    if not allowed or not set(allowed) <= set(DECISIONS):
        raise ConfigurationError(
            f"interrupt_on[{name!r}] is {config!r}: give True, False, or "
            f"{{'allowed_decisions': [...], 'description': ...}} with some of {', '.join(DECISIONS)}."
        )
    return cast(InterruptOn, {**cast(dict[str, Any], config), "allowed_decisions": tuple(allowed)})


def review(
    tool: RLMTool,
    arguments: Mapping[str, Any],
    allowed: Sequence[DecisionType],
    description: str | None,
) -> Pause:
    """The pause of a call that a human decides."""
    action = {"name": tool.name, "args": dict(arguments)} | (
        {"description": description} if description else {}
    )
    config = {"action_name": tool.name, "allowed_decisions": list(allowed)}
    return Pause(
        value={"action_requests": [action], "review_configs": [config]},
        schema=decision_schema(tool, allowed),
    )


def external_call(tool: RLMTool, arguments: Mapping[str, Any], id: str) -> Pause:
    """The pause of a call that the caller runs."""
    schema = {
        "title": f"Result of {tool.name}",
        "description": "Any JSON value. {'error': text} makes the call fail with that text.",
    }
    return Pause(
        value={"type": "external_tool_call", "name": tool.name, "args": dict(arguments), "id": id},
        schema=schema,
    )


def decision_schema(tool: RLMTool, allowed: Sequence[DecisionType]) -> dict[str, Any]:
    """JSON schema of a bare decision about a call of `tool`. An edit keeps the tool and has arguments that fit it."""
    args = {"additionalProperties": False, **tool.schema}
    shared = {key: args.pop(key) for key in ("$defs", "definitions") if key in args}
    forms: dict[DecisionType, dict[str, Any]] = {
        "approve": _form("approve"),
        "edit": _form("edit", edited_action=_object(name={"const": tool.name}, args=args)),
        "reject": _form("reject")
        | {"properties": {"type": {"const": "reject"}, "message": {"type": "string"}}},
        "respond": _form("respond", message={"description": "The tool's result, any JSON value."}),
    }
    return {
        "title": f"Decision about {tool.name}",
        "oneOf": [forms[decision] for decision in dict.fromkeys(allowed)],
        **shared,
    }


def _form(type: DecisionType, **fields: Any) -> dict[str, Any]:
    return _object(type={"const": type}, **fields)


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


def checked_answer(value: Any, schema: Any, answer: Any) -> Any:
    """An answer to one pause, in the form that is stored. What already has that form stays as it is.

    Args:
        value: what the pause shows; an answer to a pause of another kind (a tool's own `interrupt`) passes as it is.
        schema: of its answers.
        answer: as the caller gave it.

    Raises:
        ResumeError: it has the wrong form; the message has the schema.
    """
    asks = cast(Mapping[str, Any], value) if isinstance(value, Mapping) else dict[str, Any]()
    if asks.get("type") == "external_tool_call":
        return _result(asks, answer)
    if "action_requests" not in asks or not isinstance(schema, Mapping) or "oneOf" not in schema:
        return answer
    return _decision(asks["action_requests"][0]["name"], cast(Schema, schema), answer)


def _result(asks: Mapping[str, Any], answer: Any) -> Any:
    from langchain_core.messages import ToolMessage
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    if isinstance(answer, ToolMessage):
        text = cast(Any, answer.content)
        return (
            {"error": text if isinstance(text, str) else canonical(text)}
            if answer.status == "error"
            else text
        )
    try:
        return to_jsonable_python(answer)
    except (PydanticSerializationError, ValueError) as error:
        raise ResumeError(
            f"The result of {asks['name']} (call {asks['id']}) must be a JSON value, got {answer!r}: {error}. The call still waits."
        ) from None


def _decision(name: str, schema: Schema, answer: Any) -> dict[str, Any]:
    given = _bare(answer)
    forms = {
        form["properties"]["type"]["const"]: form
        for form in cast(Sequence[Schema], schema["oneOf"])
    }
    if given is None or given.get("type") not in forms:
        problem = f"it is no decision of type {', '.join(forms)}"
    else:
        shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        problem = "; ".join(problems_of(given, {**forms[given["type"]], **shared}))
    if problem or given is None:
        raise ResumeError(
            f"The answer {answer!r} to the call of {name} is refused: {problem}. The call still waits. "
            f"Give a decision, alone or as {{'decisions': [decision]}}, of this JSON schema: {canonical(schema)}"
        )
    return given


def _bare(answer: Any) -> dict[str, Any] | None:
    """The decision in an `HITLResponse`, in a list of one, or as it is, with LangChain's names."""
    given = answer
    if isinstance(given, dict) and set(cast(Any, given)) == {"decisions"}:
        given = cast(Any, given)["decisions"]
    if isinstance(given, list | tuple) and len(cast(Sequence[Any], given)) == 1:
        given = cast(Sequence[Any], given)[0]
    return _renamed(dict(cast(dict[str, Any], given))) if isinstance(given, dict) else None


def _renamed(given: dict[str, Any]) -> dict[str, Any]:
    """Agent Inbox's `{"type": "accept"|"edit"|"ignore"|"response", "args": ...}` as LangChain's decision."""
    kind, args = str(given.get("type")), given.get("args")
    if kind not in INBOX or (kind == "edit" and "edited_action" in given):
        return given
    if kind == "edit":
        action = cast(dict[str, Any], args) if isinstance(args, dict) else {}
        return {
            "type": "edit",
            "edited_action": {"name": action.get("action"), "args": action.get("args")},
        }
    return {"type": INBOX[kind], "message": args} if kind == "response" else {"type": INBOX[kind]}


def error_of(result: Any) -> str | None:
    """The text of `{"error": text}`, the form in which an external call fails."""
    if isinstance(result, dict) and set(cast(dict[str, Any], result)) == {"error"}:
        error = cast(dict[str, Any], result)["error"]
        return error if isinstance(error, str) else None
    return None


def resume_map(answer: Any, pauses: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """`Command(resume=...)` as answers by the id of their pause, each checked.

    A bare answer is never stored as such: LangGraph would give it to whichever call pauses next if its own pause is over.

    Args:
        answer: of the only open pause, or a dict of answers by id.
        pauses: value and schema of the open ones, by id.

    Raises:
        ResumeError: an answer has the wrong form, its pause is not open, or one answer was given to several.
    """
    by_id = cast(dict[str, Any], answer) if _is_map(answer) else None
    if by_id is None:
        if len(pauses) != 1:
            open_ones = f"{len(pauses)} calls wait: answer each by its id, {{id: answer}}; ids are {', '.join(pauses)}."
            raise ResumeError(
                open_ones
                if pauses
                else "No call waits for an answer on this thread: continue it with None as the input."
            )
        by_id = {next(iter(pauses)): answer}
    if gone := sorted(by_id.keys() - pauses.keys()):
        raise ResumeError(
            f"No call waits under {', '.join(gone)}: answered already? Waiting are {', '.join(pauses) or 'none'}."
        )
    return {id: checked_answer(*pauses[id], given) for id, given in by_id.items()}


def _is_map(answer: Any) -> bool:
    """As LangGraph tells: all keys look like ids."""
    if not isinstance(answer, dict) or not answer:
        return False
    return all(
        isinstance(key, str) and len(key) == 32 and not set(key) - set("0123456789abcdef")
        for key in cast(dict[Any, Any], answer)
    )
