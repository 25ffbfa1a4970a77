"""Approvals: the pauses of a run that a human decides, as one request, and the answer to each.

Everything here is a value: nothing pauses, and nothing runs. A pause is known by its digest, which
`ids.pause_digest` makes of LangGraph's id.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.types import Interrupt

from langgraph_rlm.chat.shapes import is_list, is_mapping
from langgraph_rlm.errors import ResumeError, shown
from langgraph_rlm.tools.approvals import checked_answer, tool_of_review

Pauses = Mapping[str, Interrupt[Any]]
"""Pauses by their digests."""


def is_call(pause: Interrupt[Any]) -> bool:
    """Tell whether the caller has to run a tool. Such a pause leaves the model as a tool call."""
    return is_mapping(pause.value) and pause.value.get("type") == "external_tool_call"


def _is_batched(pause: Interrupt[Any]) -> bool:
    """Tell whether what a pause asks may stand in one request with others."""
    return is_mapping(pause.value) and "action_requests" in pause.value


def round_of(pauses: Pauses) -> dict[str, Interrupt[Any]]:
    """Select what a human is shown at once.

    All tool calls that need approval, as one request of LangChain's. Where that cannot be, one
    question: a `ToolApprovalRequest`, or what a tool itself asks.
    """
    asking = {digest: pause for digest, pause in pauses.items() if not is_call(pause)}
    reviews = {digest: pause for digest, pause in asking.items() if _is_batched(pause)}
    if reviews:
        return reviews
    return dict(list(asking.items())[:1])


def human_request(pauses: Pauses) -> Any:
    """Give what a human is shown about `pauses`.

    It is LangChain's `HITLRequest` with an action for each call, its `ToolApprovalRequest`, or
    whatever a tool itself asked.
    """
    shown = list(pauses.values())
    if not shown:
        return {}
    if not _is_batched(shown[0]):
        return shown[0].value
    return {
        key: [each for pause in shown for each in pause.value[key]]
        for key in ("action_requests", "review_configs")
    }


def subject_of(request: object) -> str:
    """Name the tools that a request is about, for a message.

    A question of a tool itself is shown as it is.
    """
    if is_mapping(request) and request.get("action_requests"):
        return ", ".join(action["name"] for action in request["action_requests"])
    return tool_of_review(request) or repr(request)


def answers_of(pauses: Pauses, answer: Any) -> dict[str, Any]:
    """Split a human's answer by pause, and check each part.

    Args:
        pauses: the pauses that were shown, in the order of their actions.
        answer: an `HITLResponse` or a list with a decision for each action; for one pause also a
            bare decision.

    Returns:
        The answers by the digests of their pauses.

    Raises:
        ResumeError: there are too few or too many decisions, or one has the wrong form. Nothing
            was stored.
    """
    given = _decisions(answer, len(pauses))
    return {
        digest: checked_answer(pause.value, pause.response_schema, decision)
        for (digest, pause), decision in zip(pauses.items(), given, strict=True)
    }


def _decisions(answer: Any, count: int) -> Sequence[Any]:
    """Give the decisions in an answer to `count` pauses. One pause takes the answer as it is."""
    if count == 1:
        return [answer]
    given = answer
    if is_mapping(answer) and set(answer) == {"decisions"}:
        given = answer["decisions"]
    if not is_list(given) or len(given) != count:
        raise ResumeError(
            f"{count} calls wait: give {{'decisions': [...]}} with {count} decisions, "
            f"in their order, got {shown(answer)}."
        )
    return given


def checked_round(pauses: Pauses, answer: Any) -> Any:
    """Give an answer to a round as it came, where it fits. Raises `ResumeError`."""
    answers_of(pauses, answer)
    return answer


def answer_schema(pauses: Pauses) -> dict[str, Any]:
    """Give the JSON schema of the answer to one pause, or of a list with a decision for each."""
    schemas: list[Any] = [pause.response_schema for pause in pauses.values()]
    if len(schemas) == 1:
        return schemas[0] or {}
    return {
        "type": "object",
        "properties": {"decisions": {"type": "array", "prefixItems": schemas}},
        "required": ["decisions"],
    }
