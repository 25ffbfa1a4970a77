"""Approvals: what a pause asks and which answers it takes. Nothing here pauses or runs.

A tool call that needs approval asks with LangChain's `HITLRequest` of one action, or with its newer
`ToolApprovalRequest`. It takes an `HITLResponse`, a bare decision, or Agent Inbox's list form
(sources: `langchain/agents/middleware/human_in_the_loop.py` of langchain 1.5, and
github.com/langchain-ai/agent-inbox). A call of an external tool asks with its name and arguments,
and takes its result.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypeGuard, get_args

from typing_extensions import TypedDict

from langgraph_rlm.errors import AnsweredError, ConfigurationError, ResumeError, shown
from langgraph_rlm.log.text import ordered
from langgraph_rlm.storage.json_types import is_array, is_dict
from langgraph_rlm.tools import RLMTool
from langgraph_rlm.tools.annotations import Schema
from langgraph_rlm.tools.arguments import problems_of
from langgraph_rlm.tools.elicitation import ELICITATION, checked_elicitation

if TYPE_CHECKING:
    from langchain_core.messages import ToolCall
    from langgraph.prebuilt.tool_node import ToolCallRequest

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
"""Decisions by their names in Agent Inbox."""

InterruptMode = Literal["batched", "per_call"]
"""What a pause for approval shows: LangChain's `HITLRequest`, or its `ToolApprovalRequest`."""

INTERRUPT_MODES: tuple[InterruptMode, ...] = get_args(InterruptMode)

TOOL_APPROVAL = "tool_approval"
"""The `type` of a `ToolApprovalRequest`."""

EXTERNAL_CALL = "external_tool_call"
"""The `type` of the pause of a call that the caller runs."""

Describe = Callable[[dict[str, Any], Any, Any], str]
When = Callable[["ToolCallRequest"], bool]


class InterruptOn(TypedDict):
    """How calls of one tool are approved: LangChain's `InterruptOnConfig`."""

    allowed_decisions: Sequence[DecisionType]
    description: NotRequired[str | Describe]
    """Text for the reviewer, or a function that makes it.

    The function takes the tool call, the pending call and the LangGraph `Runtime` that makes it.
    """
    when: NotRequired[When]
    """Tells whether a call waits at all. It is asked once for each call, and its word is kept.

    It takes LangChain's `ToolCallRequest`, with the tool and its `ToolRuntime`.
    """
    args_schema: NotRequired[dict[str, Any]]
    """Without meaning, as in LangChain: the pause's own schema shows the tool's arguments."""


CONFIG_KEYS = frozenset(InterruptOn.__annotations__)


class Pause(TypedDict):
    """What a pause shows."""

    value: dict[str, Any]
    """The value of LangGraph's `Interrupt`."""
    schema: dict[str, Any]
    """The JSON schema of the answers that it takes."""


# The option `interrupt_on`


def checked_interrupt_on(
    given: Mapping[str, Any], tools: Collection[RLMTool]
) -> dict[str, InterruptOn]:
    """Spell out the decisions of every tool in `interrupt_on`, and leave out tools with False.

    Raises:
        ConfigurationError: an unknown or external tool, an unknown key or decision.
    """
    own = sorted(tool.name for tool in tools if not tool.is_external)
    if unknown := sorted(set(given) - set(own)):
        raise ConfigurationError(
            f"interrupt_on names {', '.join(unknown)}, which is not among the tools that the graph "
            f"runs: {', '.join(own) or 'none'}."
        )
    return {name: _interrupt_on(name, on) for name, on in given.items() if on is not False}


def _interrupt_on(name: str, given: Any) -> InterruptOn:
    if given is True:
        return InterruptOn(allowed_decisions=DECISIONS)
    if isinstance(given, Mapping):
        config: dict[str, Any] = {**given}
        allowed = config.get("allowed_decisions", DECISIONS)
        is_known = config.keys() <= CONFIG_KEYS and callable(config.get("when", callable))
        if is_known and allowed and set(allowed) <= set(DECISIONS):
            config["allowed_decisions"] = tuple(allowed)
            return InterruptOn(**config)
    raise ConfigurationError(
        f"interrupt_on[{name!r}] is {given!r}: give True, False, or "
        "{'allowed_decisions': [...], 'description': ..., 'when': function} "
        f"with some of {', '.join(DECISIONS)}."
    )


# What a pause asks


def review(
    tool: RLMTool,
    call: "ToolCall",
    allowed: Sequence[DecisionType],
    description: str | None,
    mode: InterruptMode,
) -> Pause:
    """Make the pause of a call that a human decides."""
    schema = decision_schema(tool, allowed)
    action: dict[str, Any] = {"name": call["name"], "args": call["args"]}
    if mode == "per_call":
        about = description or f"{call['name']} waits for approval."
        asks = {"type": TOOL_APPROVAL, "tool_call_id": call["id"], **action, "description": about}
        return Pause(value=asks, schema=schema)
    if description:
        action["description"] = description
    config = {"action_name": call["name"], "allowed_decisions": list(allowed)}
    return Pause(value={"action_requests": [action], "review_configs": [config]}, schema=schema)


def tool_of_review(value: Any) -> str | None:
    """Give the name of the tool whose call a pause asks about; None for any other pause."""
    if not isinstance(value, Mapping):
        return None
    asks: Mapping[str, Any] = {**value}
    if asks.get("type") == TOOL_APPROVAL:
        return asks.get("name")
    actions = asks.get("action_requests")
    return actions[0]["name"] if actions else None


def external_call(tool: RLMTool, arguments: Mapping[str, Any], id: str) -> Pause:
    """Make the pause of a call that the caller runs."""
    schema = {
        "title": f"Result of {tool.name}",
        "description": "Any JSON value. {'error': text} makes the call fail with that text.",
    }
    value = {"type": EXTERNAL_CALL, "name": tool.name, "args": dict(arguments), "id": id}
    return Pause(value=value, schema=schema)


def decision_schema(tool: RLMTool, allowed: Sequence[DecisionType]) -> dict[str, Any]:
    """Make the JSON schema of a bare decision about a call of `tool`.

    An edit keeps the tool and has arguments that fit it.
    """
    args = {"additionalProperties": False, **tool.schema}
    shared = _definitions(args)
    for key in shared:
        del args[key]  # their `$ref`s point to the top of the whole schema
    reject = _object(type={"const": "reject"}, message={"type": "string"})
    forms: dict[DecisionType, dict[str, Any]] = {
        "approve": _form("approve"),
        "edit": _form("edit", edited_action=_object(name={"const": tool.name}, args=args)),
        "reject": {**reject, "required": ["type"]},
        "respond": _form("respond", message={"description": "The tool's result, any JSON value."}),
    }
    return {
        "title": _title(tool.name),
        "oneOf": [forms[decision] for decision in dict.fromkeys(allowed)],
        **shared,
    }


def _title(tool: str) -> str:
    """Name the schema of decisions; the pauses of agents within tools have schemas of others."""
    return f"Decision about {tool}"


def _definitions(schema: Schema) -> dict[str, Any]:
    return {key: schema[key] for key in ("$defs", "definitions") if key in schema}


def _form(type: DecisionType, **fields: Any) -> dict[str, Any]:
    return _object(type={"const": type}, **fields)


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


# What an answer says


def checked_answer(value: Any, schema: Any, answer: Any) -> Any:
    """Bring an answer to one pause into the form that is stored. One in that form stays as it is.

    Args:
        value: what the pause shows. The answer to a pause of another kind, such as a tool's own
            `interrupt`, passes as it is.
        schema: the JSON schema of the pause's answers.
        answer: what the caller gave.

    Raises:
        ResumeError: it has the wrong form; the message has the schema.
    """
    if isinstance(value, Mapping) and value.get("type") == EXTERNAL_CALL:
        return _result({**value}, answer)
    if isinstance(value, Mapping) and value.get("type") == ELICITATION:
        return checked_elicitation({**value}, answer)
    tool = tool_of_review(value)
    if tool is None or not is_dict(schema) or schema.get("title") != _title(tool):
        return answer
    return _decision(tool, schema, answer)


def _result(asks: Mapping[str, Any], answer: Any) -> Any:
    """Make plain JSON of the result of an external tool."""
    from langchain_core.messages import ToolMessage
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    if isinstance(answer, ToolMessage):
        content: Any = answer.content
        if answer.status != "error":
            return content
        return {"error": content if isinstance(content, str) else ordered(content)}
    try:
        return to_jsonable_python(answer)
    except (PydanticSerializationError, ValueError) as error:
        raise ResumeError(
            f"The result of {asks['name']} (call {asks['id']}) must be a JSON value, "
            f"got {shown(answer)}: {error}. The call still waits."
        ) from None


def _decision(name: str, schema: Schema, answer: Any) -> dict[str, Any]:
    """Read a decision about a call of the tool `name`. Raises `ResumeError`."""
    given = _bare(answer)
    forms = {form["properties"]["type"]["const"]: form for form in schema["oneOf"]}
    if given is None or given.get("type") not in forms:
        raise _refused(name, schema, answer, f"it is no decision of type {', '.join(forms)}")
    problems = problems_of(given, {**forms[given["type"]], **_definitions(schema)})
    if problems:
        raise _refused(name, schema, answer, "; ".join(problems))
    return given


def _refused(name: str, schema: Schema, answer: Any, problem: str) -> ResumeError:
    told = f"The answer {shown(answer)} to the call of {name} is refused: {problem}."
    return ResumeError(
        f"{told} The call still waits. Give a decision, alone or as {{'decisions': [decision]}}, "
        f"of this JSON schema: {ordered(schema)}",
        told,
    )


def _bare(answer: Any) -> dict[str, Any] | None:
    """Take the decision out of an `HITLResponse` or a list of one, with LangChain's names."""
    given = answer
    if is_dict(given) and set(given) == {"decisions"}:
        given = given["decisions"]
    if is_array(given) and len(given) == 1:
        given = given[0]
    return _renamed(dict(given)) if is_dict(given) else None


def _renamed(given: dict[str, Any]) -> dict[str, Any]:
    """Translate Agent Inbox's `{"type": ..., "args": ...}` into LangChain's decision."""
    kind, args = str(given.get("type")), given.get("args")
    if kind not in INBOX or (kind == "edit" and "edited_action" in given):
        return given
    if kind == "edit":
        action = args if is_dict(args) else {}
        edited = {"name": action.get("action"), "args": action.get("args")}
        return {"type": "edit", "edited_action": edited}
    if kind == "response":
        return {"type": "respond", "message": args}
    return {"type": INBOX[kind]}


def error_of(result: Any) -> str | None:
    """Give the text of `{"error": text}`, the form in which an external call fails."""
    if not is_dict(result) or set(result) != {"error"}:
        return None
    error = result["error"]
    return error if isinstance(error, str) else None


# `Command(resume=...)`


Pauses = Mapping[str, tuple[Any, Any]]
"""Value and schema of each open pause, by id."""


def resume_map(answer: Any, pauses: Pauses) -> dict[str, Any]:
    """Make answers by the id of their pause, each checked, of `Command(resume=...)`.

    Args:
        answer: the answer to the only open pause, or a dict of answers by id.
        pauses: those that are open.

    Raises:
        ResumeError: an answer has the wrong form, its pause is not open, or one answer was given
            to several.
    """
    by_id = answers_by_id(answer, pauses)
    return {id: checked_answer(*pauses[id], given) for id, given in by_id.items()}


def answers_by_id(answer: Any, pauses: Pauses) -> dict[str, Any]:
    """Make answers by the id of their pause, unchecked.

    A bare answer is never stored without an id: LangGraph would give it to whichever call pauses
    next if its own pause is over.

    Args:
        answer: the answer to the only open pause, or a dict of answers by id.
        pauses: those that are open.

    Raises:
        ResumeError: a pause is not open, or one answer was given to several.
    """
    by_id = answer if is_by_id(answer) else {_only(pauses): answer}
    if gone := sorted(by_id.keys() - pauses.keys()):
        raise AnsweredError(
            f"No call waits under {', '.join(gone)}: answered already? "
            f"Waiting are {', '.join(pauses) or 'none'}."
        )
    return by_id


def _only(pauses: Mapping[str, Any]) -> str:
    """Give the id of the only pause. Raises `ResumeError`."""
    if not pauses:
        raise AnsweredError(
            "No call waits for an answer on this thread: continue it with None as the input."
        )
    if len(pauses) > 1:
        raise ResumeError(
            f"{len(pauses)} calls wait: answer each by its id, {{id: answer}}, since their order "
            f"is nowhere kept; ids are {', '.join(pauses)}."
        )
    return next(iter(pauses))


def is_by_id(answer: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether an answer is a dict by id: LangGraph says so if all its keys look like ids."""
    if not is_dict(answer) or not answer:
        return False
    keys: list[Any] = list(answer)
    return all(
        isinstance(key, str) and len(key) == 32 and not set(key) - set("0123456789abcdef")
        for key in keys
    )
