"""Permissions: calls that wait for a person, as the protocol's questions, and the answers to them.

A question takes yes or no. What it cannot ask, such as other arguments or the result of an external
tool, is left open and told. Asks nobody itself.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph_rlm.acp.sdk import acp, schema
from langgraph_rlm.hosting.pauses import Action, Pause
from langgraph_rlm.hosting.visible import escaped, printable
from langgraph_rlm.log.text import clip

Ask = Callable[
    [schema.ToolCallUpdate, list[schema.PermissionOption]],
    Awaitable[schema.RequestPermissionResponse],
]
"""Asks the client, and gives its answer."""

ALLOW, ALWAYS, REJECT = "allow", "allow-always", "reject"
ARGUMENT_CHARS = 20_000
"""Most characters of a call's arguments that are shown; more are not asked about."""

DOUBTFUL = (
    "This call was cut off and MAY HAVE RUN ALREADY: allow it only if running it a second time "
    "does no harm."
)


@dataclass(frozen=True)
class Answer:
    """What came of a question."""

    value: Any
    """What the pause takes."""
    always: frozenset[str] = frozenset()
    """Tools whose calls need not be asked about any more."""


async def asked(pause: Pause, call: str, always: set[str], ask: Ask) -> Answer | None:
    """Ask about the calls of a pause, one after the other.

    Args:
        pause: one that `can_be_asked`.
        call: the id by which the client knows the call.
        always: tools whose calls are approved without asking. A doubtful call is always asked.
        ask: asks the client.

    Returns:
        None where the client leaves it open.
    """
    decisions: list[dict[str, Any]] = []
    allowed: set[str] = set()
    for number, action in enumerate(pause.actions):
        if action.tool in always | allowed and not pause.is_doubtful:
            decisions.append({"type": "approve"})
            continue
        id = call if number == 0 else f"{call}+{number}"
        response = await ask(_question(id, action, pause), _options(action, pause))
        outcome = response.outcome
        if isinstance(outcome, schema.DeniedOutcome):
            return None
        if outcome.option_id not in (ALLOW, ALWAYS):
            decisions.append({"type": "reject", "message": "The user has rejected the call."})
            continue
        decisions.append({"type": "approve"})
        if outcome.option_id == ALWAYS and not pause.is_doubtful:
            allowed.add(action.tool)
    value = decisions[0] if len(decisions) == 1 else {"decisions": decisions}
    return Answer(value, frozenset(allowed))


def can_be_asked(pause: Pause) -> bool:
    """Whether yes and no are answers to all that a pause asks, and all of it can be shown."""
    return pause.kind == "approval" and all(
        {"approve", "reject"} <= {*action.allowed}
        and len(_pretty(action.arguments)) <= ARGUMENT_CHARS
        for action in pause.actions
    )


def why_not(pauses: Sequence[Pause], thread: str) -> str:
    """Say which calls wait that the client cannot be asked about, and where they are answered."""
    lines = [f"- {_why(pause)} (id `{pause.id}`)" for pause in pauses]
    return "\n".join(
        [
            "Calls wait for what this protocol cannot ask:",
            *lines,
            "",
            f"Answer them with `langgraph-rlm resume {thread} --answer 'ID=JSON'` or on the page "
            "of `langgraph-rlm ui`, then send /continue. Another prompt drops them.",
        ]
    )


def _why(pause: Pause) -> str:
    tools = ", ".join(f"`{printable(action.tool)}`" for action in pause.actions) or "a question"
    if pause.kind == "external":
        return f"{tools} runs elsewhere, and its result is to be given"
    if pause.kind == "approval":
        return f"{tools} takes other decisions than yes and no, or has long arguments"
    return f"{tools} of a tool or a graph"


def _question(id: str, action: Action, pause: Pause) -> schema.ToolCallUpdate:
    said = [
        DOUBTFUL if pause.is_doubtful else "",
        f"`{printable(action.tool)}`, at `{pause.place}`" if pause.place else "",
        f"```json\n{escaped(_pretty(action.arguments))}\n```",
        printable(clip(action.description, limit=ARGUMENT_CHARS)),
    ]
    text = "\n\n".join(part for part in said if part)
    title = printable(action.tool)
    return schema.ToolCallUpdate(
        tool_call_id=id,
        title=f"{title}: may have run already" if pause.is_doubtful else title,
        kind="other",
        status="pending",
        content=[acp.tool_content(acp.text_block(text))],
        raw_input=action.arguments,
    )


def _options(action: Action, pause: Pause) -> list[schema.PermissionOption]:
    name = printable(action.tool)
    options = [schema.PermissionOption(option_id=ALLOW, name="Allow once", kind="allow_once")]
    if not pause.is_doubtful:
        options.append(
            schema.PermissionOption(
                option_id=ALWAYS,
                name=f"Allow {name} for the rest of this session",
                kind="allow_always",
            )
        )
    options.append(schema.PermissionOption(option_id=REJECT, name="Reject", kind="reject_once"))
    return options


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
