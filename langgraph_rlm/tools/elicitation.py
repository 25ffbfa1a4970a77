"""Elicitation: what an MCP server asks its user in the middle of a call, as a pause of the run.

A pause outlives its process, and an open call does not. So a call that asks is given up, and the
run pauses. With the answer the tool runs again, and the server, which asks again, is given it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any

from langgraph_rlm.errors import ConfigurationError, ResumeError, shown
from langgraph_rlm.log.text import clip, ordered
from langgraph_rlm.storage.json_types import is_dict
from langgraph_rlm.tools.arguments import checked_schema, problems_of
from langgraph_rlm.tools.asking import ask
from langgraph_rlm.tools.results import ToolFailed

ELICITATION = "elicitation"
"""The `type` of the value of such a pause."""

MOST_ASKED = 4_000
"""Characters of a server's message that are shown."""

_GIVEN_UP: "ContextVar[asyncio.Future[None] | None]" = ContextVar("given_up", default=None)
"""Set around a call: takes the reason to give it up. A session's tasks see it too, because they
are started within the call."""


async def until_asked(work: Callable[[], Awaitable[Any]]) -> Any:
    """Make a call, until it ends or the server asks what nobody has answered yet.

    Raises:
        GraphInterrupt: it asks, and the run has to pause.
        Exception: whatever the call raises.
    """
    given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    before = _GIVEN_UP.set(given_up)
    call = asyncio.ensure_future(work())
    try:
        await asyncio.wait({call, given_up}, return_when=asyncio.FIRST_COMPLETED)
        if given_up.done():
            given_up.result()
        return call.result()
    finally:
        _GIVEN_UP.reset(before)
        await _ended(call)
        if given_up.done():
            given_up.exception()  # taken, so that nobody is told of it later


async def _ended(call: "asyncio.Future[Any]") -> None:
    """Cancel a call that runs, and wait until its session is closed."""
    if not call.done():
        call.cancel()
        await asyncio.wait({call})
    if not call.cancelled():
        call.exception()


async def on_elicitation(context: Any, params: Any, tool: Any) -> Any:
    """Answer a server, by the answer to the pause; the call ends here where there is none yet."""
    from mcp.types import ElicitResult

    given_up = _GIVEN_UP.get()
    if given_up is None or given_up.done():
        return ElicitResult(action="cancel")
    try:
        answer = _answer(asks(params, tool.server_name, tool.tool_name))
    except Exception as error:  # noqa: BLE001 - the pause, or its fault: both belong to the call
        given_up.set_exception(error)
        return await asyncio.get_running_loop().create_future()  # until the call is cancelled
    result: Any = ElicitResult
    return result(**answer)


def _answer(value: dict[str, Any]) -> dict[str, Any]:
    """Pause, and give the answer. Raises `GraphInterrupt`, `ResumeError` and `ToolFailed`."""
    from langgraph.config import get_config

    from langgraph_rlm.pregel.keys import CHECKPOINTER

    if not get_config().get("configurable", {}).get(CHECKPOINTER):
        raise ToolFailed(
            f"the MCP server asks the user: {value['message']!r}. Without a checkpointer the run "
            "cannot pause for an answer."
        )
    return ask(value, answer_schema(value), partial(checked_elicitation, value))


def asks(params: Any, server: str, tool: str) -> dict[str, Any]:
    """Give the value of a pause: who asks, what, and in which form it wants the answer."""
    value: dict[str, Any] = {
        "type": ELICITATION,
        "server": server,
        "tool": tool,
        "message": clip(str(params.message), limit=MOST_ASKED),
    }
    if url := getattr(params, "url", None):
        return {**value, "url": str(url)}
    try:
        schema = checked_schema(tool, dict(params.requestedSchema))
    except ConfigurationError as error:
        raise ToolFailed(f"the MCP server asks the user in a form that is none: {error}") from None
    return {**value, "schema": dict(schema)}


def answer_schema(value: Mapping[str, Any]) -> dict[str, Any]:
    """Give the JSON schema of the answers to a pause: MCP's `ElicitResult`."""
    accept: dict[str, Any] = {"type": "object", "properties": {"action": {"const": "accept"}}}
    accept["required"] = ["action"]
    if "schema" in value:
        accept["properties"]["content"] = value["schema"]
        accept["required"].append("content")
    refuse = {"properties": {"action": {"enum": ["decline", "cancel"]}}, "required": ["action"]}
    return {"title": f"Answer to {value['tool']}", "oneOf": [accept, {"type": "object", **refuse}]}


def checked_elicitation(value: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """Check an answer to a pause, and give it.

    Raises:
        ResumeError: it is not of the form that was asked for; the pause stays open.
    """
    problems = ["it is no {'action': 'accept' | 'decline' | 'cancel', 'content': {...}}"]
    if is_dict(answer) and answer.get("action") in ("decline", "cancel"):
        return {"action": answer["action"]}
    if is_dict(answer) and answer.get("action") == "accept":
        if "schema" not in value:
            return {"action": "accept"}
        content = answer.get("content")
        problems = problems_of(content, value["schema"])
        if is_dict(content) and not problems:
            return {"action": "accept", "content": content}
    problem = (
        f"The answer {shown(answer)} to the MCP server {value['server']!r} is refused: "
        f"{'; '.join(problems) or 'its content is no dict'}."
    )
    raise ResumeError(
        f"{problem} The server still waits. Give an answer of this JSON schema: "
        f"{ordered(answer_schema(value))}",
        problem,
    )
