"""Tool interrupt: ONE pending tool call. It pauses for a decision or a result, and runs an approved
tool in a step of its own.

The start of a tool that must not run twice is checkpointed before it, as a mark: a token written
just before the tool starts. A process that does not know the mark must assume that the tool may
already have run, and asks the human.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from typing import Any, Literal, cast

from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage, ToolCall
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime

from langgraph_rlm.budget.ledger import LimitReached
from langgraph_rlm.errors import ResumeError, RLMError
from langgraph_rlm.log.entries import ERROR_CHARS, Decision, ReplyEntry, error_entry, reply_entry
from langgraph_rlm.log.stamps import epoch, seconds_since, stamp
from langgraph_rlm.log.text import clip
from langgraph_rlm.pregel.kept_answers import KeptAnswer
from langgraph_rlm.pregel.keys import first_pause
from langgraph_rlm.runtime.deadline import TooLate, within
from langgraph_rlm.runtime.run import frame_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import PendingCall, RLMUpdate, ToolState, ToolUpdate
from langgraph_rlm.storage.context import Facts
from langgraph_rlm.storage.references import TOOL
from langgraph_rlm.telemetry.marks import marked
from langgraph_rlm.telemetry.observers import at_work, happened
from langgraph_rlm.telemetry.work import Event
from langgraph_rlm.tools import BadArguments, OwnTool, RLMTool, ToolCallInfo
from langgraph_rlm.tools.approvals import (
    UNSURE,
    DecisionType,
    Pause,
    checked_answer,
    error_of,
    external_call,
    review,
)
from langgraph_rlm.tools.asking import ask as asked
from langgraph_rlm.tools.results import Shown, ToolFailed, WithShown

BY_CHARS = 200
"""Most characters of the name of who decided."""


class ToolInterrupt:
    """The node. Its steps, below, are a graph of their own, so that each call goes its own way."""

    def __init__(self, steps: Any) -> None:
        self._steps = steps

    async def __call__(
        self, call: PendingCall, config: RunnableConfig, runtime: Runtime[None]
    ) -> RLMUpdate:
        """Take one call and give one record."""
        frame_of(config).show_on(runtime)
        named: RunnableConfig = {**config, "run_name": f"{call['function']} {call['place']}"}
        out = await self._steps.ainvoke(call, named)
        reply: ReplyEntry = out["reply"]
        if "decision" in out:
            reply = {**reply, "decision": out["decision"]}
        return RLMUpdate(log=stamp({call["place"]: reply}, frame_of(config).run.id))


class ToolStep:
    """What the steps have in common."""

    def __init__(self, rlm: RLMRuntime) -> None:
        self._rlm = rlm

    def _called(self, call: PendingCall) -> tuple[RLMTool, dict[str, Any]]:
        """The tool, and the arguments that code gave."""
        tool = self._rlm.toolset.tool(call["function"], call["depth"])
        return tool, self._rlm.requests.payload(call["request"])["arguments"]

    def _tool_call(self, call: PendingCall, tool: RLMTool, arguments: dict[str, Any]) -> ToolCall:
        return ToolCall(name=tool.name, args=arguments, id=call["id"], type="tool_call")

    async def _about(
        self, call: PendingCall, config: RunnableConfig, runtime: Runtime[None]
    ) -> ToolCallInfo:
        """What LangChain injects is made of."""
        blobs = self._rlm.blobs
        messages: list[AnyMessage] = []
        if "instructions" in call:
            messages.append(SystemMessage(await blobs.fetch(call["instructions"])))
        query = await blobs.fetch(call["question"]) if "question" in call else ""
        messages.append(HumanMessage(query))
        state = {"messages": messages, "query": query, "depth": call["depth"]}
        return ToolCallInfo(call["id"], config, runtime, state, frame_of(config).run.emit)

    async def _decided(
        self, decision: dict[str, Any], arguments: dict[str, Any], config: RunnableConfig
    ) -> ToolUpdate:
        """The arguments to run the tool with, or the answer that stands in for it."""
        noted = decided(decision["type"], config)
        if decision["type"] == "approve":
            return ToolUpdate(arguments=arguments, decision=noted)
        if decision["type"] == "edit":
            noted["arguments"] = decision["edited_action"]["args"]
            return ToolUpdate(arguments=noted["arguments"], decision=noted)
        if decision["type"] == "respond":
            reply = await self._returned(decision["message"])
            return ToolUpdate(reply=reply, decision=noted)
        reason = decision.get("message") or "no reason given"
        noted["message"] = clip(reason, limit=ERROR_CHARS)
        reply = error_entry(f"rejected by a human: {reason}")
        return ToolUpdate(reply=reply, decision=noted)

    async def _returned(self, value: Any) -> ReplyEntry:
        return await reply_entry(json.dumps(value, ensure_ascii=False), self._rlm.blobs)


class Gate(ToolStep):
    """Asks a tool's `when` whether this call waits for a human. Its word is checkpointed before the
    pause, so that nothing can change it."""

    async def __call__(
        self, call: PendingCall, config: RunnableConfig, runtime: Runtime[None]
    ) -> ToolUpdate:
        """Give whether the call waits. Raises what the function raises; the call has not run."""
        tool, arguments = self._called(call)
        when = self._rlm.toolset.when(tool)
        assert when is not None, "the graph leads here only where there is one"
        about = await self._about(call, config, runtime)
        asked = self._tool_call(call, tool, arguments)
        request = cast(OwnTool, tool).request(asked, about)
        return ToolUpdate(waits=bool(await asyncio.to_thread(when, request)))


class Approve(ToolStep):
    """Pauses for a human's decision, or for the result of an external tool. Either is checkpointed
    before anything else."""

    async def __call__(
        self, call: PendingCall, config: RunnableConfig, runtime: Runtime[None]
    ) -> ToolUpdate:
        """Give the arguments to run the tool with, or the answer that stands in for it."""
        tool, arguments = self._called(call)
        if tool.is_external:
            return await self._external(tool, arguments, call["id"], config)
        on = self._rlm.toolset.interrupt_on[tool.name]
        described = on.get("description")
        asked = self._tool_call(call, tool, arguments)
        if callable(described):
            described = described(cast(Any, asked), call, runtime)
        mode = self._rlm.toolset.interrupt_mode
        pause = review(tool, asked, on["allowed_decisions"], described, mode)
        return await self._decided(ask(pause, tool, config), arguments, config)

    async def _external(
        self, tool: RLMTool, arguments: dict[str, Any], id: str, config: RunnableConfig
    ) -> ToolUpdate:
        result = ask(external_call(tool, arguments, id), tool, config)
        error, noted = error_of(result), decided("result", config)
        if error is not None:
            return ToolUpdate(reply=error_entry(error), decision=noted)
        return ToolUpdate(reply=await self._returned(result), decision=noted)


class Begin(ToolStep):
    """Marks the start of a tool that must not run twice."""

    async def __call__(
        self, call: ToolState, config: RunnableConfig, runtime: Runtime[None]
    ) -> ToolUpdate:
        """Make a new mark, in the checkpoint and in this process."""
        mark = uuid.uuid4().hex
        self._rlm.begun.add(mark)
        return ToolUpdate(mark=mark)


class CallTool(ToolStep):
    """Runs the tool once."""

    async def __call__(
        self, call: ToolState, config: RunnableConfig, runtime: Runtime[None]
    ) -> ToolUpdate:
        """Give the tool's result, or its exception for code to catch; nothing when it may have run
        before."""
        tool, arguments = self._called(call)
        await frame_of(config).run.check_lease()
        mark = call.get("mark")
        if mark is not None and not self._claim(mark):
            return ToolUpdate()
        given, seconds = call.get("arguments", arguments), self._seconds_left(config)
        started = time.monotonic()
        if seconds == 0:
            return ToolUpdate(reply=self._too_late("it was not started"))
        try:
            result = await self._run(call, cast(OwnTool, tool), given, seconds, config, runtime)
        except TooLate:
            return ToolUpdate(reply=self._too_late("it was running, and may have taken effect"))
        except GraphBubbleUp:
            if (
                mark is not None
            ):  # the tool itself pauses: LangGraph runs it again from its top, by design
                self._rlm.begun.add(mark)
            raise
        except RLMError:
            raise
        except ToolFailed as error:
            failed = error_entry(str(error))
            return ToolUpdate(reply={**failed, "seconds": seconds_since(started)})
        except Exception as error:  # noqa: BLE001 - a tool may raise anything; code gets to see it
            failed = error_entry(f"{type(error).__name__}: {error}")
            return ToolUpdate(reply={**failed, "seconds": seconds_since(started)})
        reply = await self._given(result, call["place"])
        return ToolUpdate(reply={**reply, "seconds": seconds_since(started)})

    async def _run(
        self,
        call: ToolState,
        tool: OwnTool,
        arguments: dict[str, Any],
        seconds: float | None,
        config: RunnableConfig,
        runtime: Runtime[None],
    ) -> Any:
        """Run the tool within the time that is left. Raises what it raises, and `TooLate`."""
        frame, place = frame_of(config), call["place"]
        work = frame.piece("tool", tool.name, call["parent"], place, call["depth"])
        work.given, work.call_id = arguments, call["id"]
        with at_work(work):
            about = await self._about(call, marked(config, work, has_name=False), runtime)
            result = await within(seconds, tool.run(arguments, about), f"Tool {tool.name!r}")
            work.result = result
            if isinstance(result, WithShown):
                work.result = result.value(names_of_shown(place, result.shown))
            return result

    async def _given(self, result: Any, place: str) -> ReplyEntry:
        """Make the entry of a result. What models can see of it is stored, and gets names."""
        if not isinstance(result, WithShown):
            return await self._returned(result)
        names = names_of_shown(place, result.shown)
        media: dict[str, Facts] = {}
        for name, shown in zip(names, result.shown, strict=True):
            digest = await asyncio.to_thread(self._rlm.blobs.put, shown.data)
            media[name] = {"original": digest, **shown.facts}
        return {**await self._returned(result.value(names)), "media": media}

    def _seconds_left(self, config: RunnableConfig) -> float | None:
        return frame_of(config).run.ledger.seconds_left()

    def _too_late(self, told: str) -> ReplyEntry:
        """The answer to a call that `max_seconds` came before."""
        reached = LimitReached("max_seconds", self._rlm.limits.max_seconds)
        return error_entry(f"{reached}: {told}")

    def _claim(self, mark: str) -> bool:
        """Take the mark, which serves one run. False if this process does not know it."""
        is_known = mark in self._rlm.begun
        self._rlm.begun.discard(mark)
        return is_known


def names_of_shown(place: str, shown: Sequence[Shown]) -> list[str]:
    """Name what a tool gave for models to see: by the place of the call, so that no two in a log
    have the same."""
    stem = f"{TOOL}{place.replace('/', '-')}"
    return [f"{stem}-{number}{each.suffix}" for number, each in enumerate(shown, 1)]


class AskAgain(ToolStep):
    """Asks about a call that was running when its process died."""

    async def __call__(
        self, call: ToolState, config: RunnableConfig, runtime: Runtime[None]
    ) -> ToolUpdate:
        """Give what `Approve` gives: on approval the tool runs again."""
        tool, arguments = self._called(call)
        given = call.get("arguments", arguments)
        about = (
            f"{tool.name} may have run already: it was interrupted while it ran, before its result "
            "was stored. Look whether it took effect. Approve to run it again, respond with its "
            "result, or reject."
        )
        asked = self._tool_call(call, tool, given)
        pause = review(tool, asked, UNSURE, about, self._rlm.toolset.interrupt_mode)
        return await self._decided(ask(pause, tool, config), given, config)


def decided(type: DecisionType | Literal["result"], config: RunnableConfig) -> Decision:
    """What the log keeps of an answer to a pause, with who gave it and when: as it is kept, where
    another process has kept it; else now, by the `user_id` of the config, or the user that
    LangGraph's server has authenticated."""
    kept, at = _kept(config), epoch()
    if kept is not None:
        at = round(kept.at, 3)
    decision = Decision(type=type, at=at)
    if by := who(config):
        decision["by"] = by
    return decision


def who(config: RunnableConfig) -> str:
    """Who gave the answer to a pause, as `decided` keeps it; empty where that is not known."""
    given, kept = config.get("configurable", {}), _kept(config)
    by = given.get("user_id") or given.get("langgraph_auth_user_id")
    if kept is not None:
        by = kept.by
    return clip(str(by), limit=BY_CHARS) if by else ""


def _kept(config: RunnableConfig) -> KeptAnswer | None:
    """The answer to the pause of a task, where another process has kept it."""
    namespace = config.get("configurable", {})["checkpoint_ns"]
    return frame_of(config).run.kept.get(first_pause(namespace))


def ask(pause: Pause, tool: RLMTool | None, config: RunnableConfig) -> Any:
    """Pause until there is an answer of the right form, and give it.

    Args:
        pause: what is asked.
        tool: whose call waits; None where that is not known here.
        config: of the node.

    Raises:
        GraphInterrupt: there is no answer yet; or, in a run with an id, a wrong one.
        ResumeError: the answer has the wrong form, or edited arguments do not fit the tool. The
            pause stays open.
    """

    def checked(answer: Any) -> Any:
        decision = checked_answer(pause["value"], pause["schema"], answer)
        if tool is not None and not tool.is_external:
            _check_edit(decision, tool)
        return decision

    try:
        return asked(pause["value"], pause["schema"], checked)
    except GraphBubbleUp:
        work = frame_of(config).work
        work.root.open_pauses += 1
        happened(Event("pause", "" if tool is None else tool.name, work))
        raise


def _check_edit(decision: Any, tool: RLMTool) -> None:
    """Check the arguments of an edit, which the pause's schema describes only roughly.

    Raises:
        ResumeError: they do not fit the tool.
    """
    edited: Any = decision.get("edited_action")
    if edited is None:
        return
    try:
        tool.check(edited["args"])
    except BadArguments as error:
        raise ResumeError(str(error)) from None
