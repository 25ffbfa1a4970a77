"""Approvals: the pauses of a run that a human decides, as one request; and the answer to it as one answer for each pause."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

from langgraph.types import Interrupt
from pydantic import PlainValidator, WithJsonSchema

from langgraph_rlm.errors import ResumeError
from langgraph_rlm.tools.approvals import checked_answer


def is_call(pause: Interrupt[Any]) -> bool:
    """Whether the caller is to run a tool: such a pause leaves as a tool call."""
    return (
        isinstance(pause.value, Mapping)
        and cast(Mapping[str, Any], pause.value).get("type") == "external_tool_call"
    )


def _is_review(pause: Interrupt[Any]) -> bool:
    return isinstance(pause.value, Mapping) and "action_requests" in pause.value


def round_of(pauses: Mapping[str, Interrupt[Any]]) -> dict[str, Interrupt[Any]]:
    """Those that are shown together: all tool calls to approve; else one of what a tool asks by itself."""
    asking = {digest: pause for digest, pause in pauses.items() if not is_call(pause)}
    reviews = {digest: pause for digest, pause in asking.items() if _is_review(pause)}
    return reviews or dict(list(asking.items())[:1])


def request_of(pauses: Mapping[str, Interrupt[Any]]) -> Any:
    """What a human is shown: LangChain's `HITLRequest` with an action for each call, or what a tool asked."""
    shown = list(pauses.values())
    if not shown or not _is_review(shown[0]):
        return shown[0].value if shown else {}
    return {
        key: [each for pause in shown for each in pause.value[key]]
        for key in ("action_requests", "review_configs")
    }


def called(request: object) -> str:
    """The tools that a request is about, for a message."""
    actions = (
        cast(Mapping[str, Any], request).get("action_requests")
        if isinstance(request, Mapping)
        else None
    )
    return (
        ", ".join(action["name"] for action in actions) if actions else repr(cast(object, request))
    )


def answers_of(pauses: Mapping[str, Interrupt[Any]], answer: Any) -> dict[str, Any]:
    """The human's answer, split by pause and checked.

    Args:
        pauses: those that were shown, by digest, in the order of their actions.
        answer: an `HITLResponse` or a list with a decision for each action; for one pause also a bare decision.

    Raises:
        ResumeError: there are too few or too many decisions, or one has the wrong form. Nothing was stored.
    """
    given = [answer] if len(pauses) == 1 else _decisions(answer, len(pauses))
    return {
        digest: checked_answer(pause.value, pause.response_schema, decision)
        for (digest, pause), decision in zip(pauses.items(), given, strict=True)
    }


def _decisions(answer: Any, count: int) -> Sequence[Any]:
    given: Any = answer
    if isinstance(given, dict) and set(cast(Any, given)) == {"decisions"}:
        given = cast(Any, given)["decisions"]
    if not isinstance(given, list | tuple) or len(cast(Sequence[Any], given)) != count:
        raise ResumeError(
            f"{count} calls wait: give {{'decisions': [...]}} with {count} decisions, in their order, got {answer!r}."
        )
    return cast(Sequence[Any], given)


def answer_type(pauses: Mapping[str, Interrupt[Any]]) -> Any:
    """The type of the answers that `pauses` take, for LangGraph's `interrupt`: a wrong one leaves the interrupt open."""

    def checked(answer: Any) -> Any:
        try:
            answers_of(pauses, answer)
        except ResumeError as error:
            raise ValueError(str(error)) from None
        return answer

    schemas = [pause.response_schema for pause in pauses.values()]
    several = {
        "type": "object",
        "properties": {"decisions": {"type": "array", "prefixItems": schemas}},
        "required": ["decisions"],
    }
    schema = cast(dict[str, Any], (schemas[0] or {}) if len(schemas) == 1 else several)
    return Annotated[Any, PlainValidator(checked), WithJsonSchema(schema)]
