"""Tool interrupt: ONE pending tool call. `Approve` pauses for a human, `CallTool` runs what was approved, in a step of its own."""

import json
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.types import interrupt

from langgraph_rlm.errors import RLMError
from langgraph_rlm.log import canonical
from langgraph_rlm.repl.calls import answered, failed
from langgraph_rlm.runtime import RLMRuntime
from langgraph_rlm.state import PendingCall, RLMUpdate, ToolState, ToolUpdate


class ToolInterrupt:
    """The node: the two steps below are a graph of their own, so that each call goes its own way."""

    def __init__(self, steps: Any) -> None:
        self._steps = steps

    async def __call__(self, call: PendingCall, config: RunnableConfig) -> RLMUpdate:
        """One call in, one record out."""
        out = await self._steps.ainvoke(call, config)
        return RLMUpdate(log={call["place"]: out["reply"]})


class Approve:
    """The first step: a tool that needs approval pauses here, and the decision is checkpointed before anything runs."""

    def __init__(self, runtime: RLMRuntime) -> None:
        self._runtime = runtime

    async def __call__(self, call: PendingCall) -> ToolUpdate:
        """The arguments to run the tool with, or the answer that stands in for it."""
        payload = self._runtime.payload(call["request"])
        if not self._runtime.interrupt_on.get(payload["name"]):
            return ToolUpdate(arguments=payload["arguments"])
        decision = decision_of(interrupt(review_of(payload)))
        kind = decision["type"]
        if kind == "approve":
            return ToolUpdate(arguments=payload["arguments"])
        if kind == "edit":
            return ToolUpdate(arguments=decision["edited_action"]["args"])
        if kind == "respond":
            return ToolUpdate(reply=answered(canonical(decision["message"]), self._runtime.store))
        return ToolUpdate(reply=failed(f"rejected by a human: {decision.get('message') or 'no reason given'}"))


class CallTool:
    """The second step: run the tool once."""

    def __init__(self, runtime: RLMRuntime) -> None:
        self._runtime = runtime

    async def __call__(self, state: ToolState, config: RunnableConfig) -> ToolUpdate:
        """The tool's result, or its exception for code to catch."""
        name = self._runtime.payload(state["request"])["name"]
        try:
            result = await self._runtime.tools[name].run(state.get("arguments", {}))
        except (GraphBubbleUp, RLMError):
            raise
        except Exception as error:  # noqa: BLE001 - a tool may raise anything, and code must get to see it
            return ToolUpdate(reply=failed(f"{type(error).__name__}: {error}"))
        return ToolUpdate(reply=answered(json.dumps(result, ensure_ascii=False), self._runtime.store))


def review_of(payload: dict[str, Any]) -> dict[str, Any]:
    """LangChain's `HITLRequest` with one action."""
    return {
        "action_requests": [{"name": payload["name"], "args": payload["arguments"]}],
        "review_configs": [{"action_name": payload["name"], "allowed_decisions": ["approve", "edit", "reject", "respond"]}],
    }


def decision_of(answer: Any) -> dict[str, Any]:
    """The decision from an `HITLResponse`, a bare decision, or a list with one."""
    given = answer
    if isinstance(given, dict) and "decisions" in given:
        given = cast(dict[str, Any], given)["decisions"]
    if isinstance(given, list) and len(cast(list[Any], given)) == 1:
        given = cast(list[Any], given)[0]
    if not isinstance(given, dict) or cast(dict[str, Any], given).get("type") not in ("approve", "edit", "reject", "respond"):
        raise RLMError(f"The answer {answer!r} is no decision. Give {{'type': 'approve'}}, 'edit', 'reject' or 'respond'.")
    return cast(dict[str, Any], given)
