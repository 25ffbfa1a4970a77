"""Sub-agent: an RLM as deepagents' `CompiledSubAgent`, which is a dict. Imports no deepagents."""

from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from typing_extensions import TypedDict

from langgraph_rlm.as_tool.runs import Graph

HANDED_ON = ("messages", "structured_response")
"""What a deep agent takes of the output. Its state has keys of the same names as others of it, such
as `files`, which mean something else."""


class SubAgent(TypedDict):
    """The keys of a `CompiledSubAgent`."""

    name: str
    description: str
    runnable: Runnable[Any, Any]


def sub_agent_of(graph: Graph, name: str, description: str) -> SubAgent:
    """Make the sub-agent of a graph."""

    def work(state: dict[str, Any], config: RunnableConfig) -> dict[str, Any]:
        return _handed_on(graph.invoke({"messages": state["messages"]}, config))

    async def awork(state: dict[str, Any], config: RunnableConfig) -> dict[str, Any]:
        return _handed_on(await graph.ainvoke({"messages": state["messages"]}, config))

    runnable: Runnable[Any, Any] = RunnableLambda(work, awork, name=name)
    return SubAgent(name=name, description=description, runnable=runnable)


def _handed_on(out: dict[str, Any]) -> dict[str, Any]:
    return {key: out[key] for key in HANDED_ON if key in out}
