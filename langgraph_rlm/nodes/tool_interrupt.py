"""Tool interrupt: ONE pending tool call. It pauses for a decision or a result, and runs an approved tool in a step of its own.

For a tool that must not run twice, the start of a run is checkpointed before it, under a mark that only this process knows: a step
that runs again without its mark (another process, or after a cancellation) asks the human instead.
"""

import json
import uuid
from typing import Annotated, Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from pydantic import PlainValidator, ValidationError, WithJsonSchema

from langgraph_rlm.errors import ResumeError, RLMError
from langgraph_rlm.log.entries import ReplyEntry, error_entry, reply_entry
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import PendingCall, RLMUpdate, ToolState, ToolUpdate
from langgraph_rlm.tools import BadArguments, OwnTool, RLMTool, ToolCallInfo
from langgraph_rlm.tools.approvals import (
    UNSURE,
    Pause,
    checked_answer,
    error_of,
    external_call,
    review,
)


class ToolInterrupt:
    """The node: the steps below are a graph of their own, so that each call goes its own way."""

    def __init__(self, steps: Any) -> None:
        self._steps = steps

    async def __call__(self, call: PendingCall, config: RunnableConfig) -> RLMUpdate:
        """One call in, one record out."""
        out = await self._steps.ainvoke(call, config)
        return RLMUpdate(log={call["place"]: out["reply"]})


class ToolStep:
    """What the steps have in common."""

    def __init__(self, rlm: RLMRuntime) -> None:
        self._rlm = rlm

    def _called(self, call: PendingCall) -> tuple[RLMTool, dict[str, Any]]:
        """The tool, and the arguments that code gave."""
        return self._rlm.toolset.tool(call["function"], call["depth"]), self._rlm.requests.payload(
            call["request"]
        )["arguments"]

    async def _decided(
        self, tool: RLMTool, decision: dict[str, Any], arguments: dict[str, Any]
    ) -> ToolUpdate:
        """The arguments to run the tool with, or the answer that stands in for it."""
        if decision["type"] == "approve":
            return ToolUpdate(arguments=arguments)
        if decision["type"] == "edit":
            return ToolUpdate(arguments=decision["edited_action"]["args"])
        if decision["type"] == "respond":
            return ToolUpdate(reply=await self._returned(decision["message"]))
        return ToolUpdate(
            reply=error_entry(
                f"rejected by a human: {decision.get('message') or 'no reason given'}"
            )
        )

    async def _returned(self, value: Any) -> ReplyEntry:
        return await reply_entry(json.dumps(value, ensure_ascii=False), self._rlm.blobs)


class Approve(ToolStep):
    """Pauses for a human's decision, or for the result of an external tool; either is checkpointed before anything else happens."""

    async def __call__(self, call: PendingCall, runtime: Runtime[None]) -> ToolUpdate:
        """The arguments to run the tool with, or the answer that stands in for it."""
        tool, arguments = self._called(call)
        if tool.is_external:
            result = ask(external_call(tool, arguments, call["id"]), tool)
            error = error_of(result)
            return ToolUpdate(
                reply=await self._returned(result) if error is None else error_entry(error)
            )
        config = self._rlm.toolset.interrupt_on[tool.name]
        described = config.get("description")
        if callable(described):
            described = described(
                {"name": tool.name, "args": arguments, "id": call["id"], "type": "tool_call"},
                call,
                runtime,
            )
        decision = ask(review(tool, arguments, config["allowed_decisions"], described), tool)
        return await self._decided(tool, decision, arguments)


class Begin(ToolStep):
    """Marks the start of a run of a tool that must not run twice."""

    async def __call__(self, call: ToolState) -> ToolUpdate:
        """A new mark: in the checkpoint, and in this process."""
        mark = uuid.uuid4().hex
        self._rlm.toolset.begun.add(mark)
        return ToolUpdate(mark=mark)


class CallTool(ToolStep):
    """Runs the tool once."""

    async def __call__(
        self, call: ToolState, config: RunnableConfig, runtime: Runtime[None]
    ) -> ToolUpdate:
        """The tool's result, or its exception for code to catch; nothing when it may have run before."""
        tool, arguments = self._called(call)
        mark = call.get("mark")
        if mark is not None and not self._claim(mark):
            return ToolUpdate()
        try:
            given = ToolCallInfo(call["id"], config, runtime)
            return ToolUpdate(
                reply=await self._returned(
                    await cast(OwnTool, tool).run(call.get("arguments", arguments), given)
                )
            )
        except GraphBubbleUp:
            if (
                mark is not None
            ):  # a pause of the tool's own: what it has run so far, LangGraph runs again by design
                self._rlm.toolset.begun.add(mark)
            raise
        except RLMError:
            raise
        except Exception as error:  # noqa: BLE001 - a tool may raise anything, and code must get to see it
            return ToolUpdate(reply=error_entry(f"{type(error).__name__}: {error}"))

    def _claim(self, mark: str) -> bool:
        """Take the mark: each serves one run."""
        known = mark in self._rlm.toolset.begun
        self._rlm.toolset.begun.discard(mark)
        return known


class AskAgain(ToolStep):
    """Asks about a call that was running when its process died."""

    async def __call__(self, call: ToolState) -> ToolUpdate:
        """As `Approve`: on approval the tool runs again."""
        tool, arguments = self._called(call)
        given = call.get("arguments", arguments)
        about = (
            f"{tool.name} may have run already: it was interrupted while it ran, before its result was stored. "
            "Look whether it took effect. Approve to run it again, respond with its result, or reject."
        )
        return await self._decided(tool, ask(review(tool, given, UNSURE, about), tool), given)


def ask(pause: Pause, tool: RLMTool) -> Any:
    """Pause until there is an answer of the right form, and give it.

    LangGraph stores an answer as soon as it has passed the check, and keeps a stored one for ever: so the check is part of its `interrupt`.

    Raises:
        ResumeError: the answer has the wrong form, or edited arguments do not fit the tool. The pause stays open.
    """

    def checked(answer: Any) -> Any:
        try:
            decision = checked_answer(pause["value"], pause["schema"], answer)
            if isinstance(decision, dict) and "edited_action" in decision and not tool.is_external:
                tool.check(cast(dict[str, Any], decision)["edited_action"]["args"])
        except (ResumeError, BadArguments) as error:
            raise ValueError(str(error)) from None
        return cast(Any, decision)

    form = cast(type[Any], Annotated[Any, PlainValidator(checked), WithJsonSchema(pause["schema"])])
    try:
        return interrupt(pause["value"], response_schema=form)
    except ValidationError as error:
        raise ResumeError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
