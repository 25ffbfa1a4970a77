"""The graph: `create_rlm`. The only file that knows edges."""

import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.budget.prices import Price, Prices
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.log.places import last_turn
from langgraph_rlm.log.reply import reply_of
from langgraph_rlm.models.resolve import model_name, resolve_model
from langgraph_rlm.nodes.execute_repl import ExecuteRepl
from langgraph_rlm.nodes.finalize import Finalize
from langgraph_rlm.nodes.ingest import Ingest
from langgraph_rlm.nodes.plan_code import PlanCode
from langgraph_rlm.nodes.sub_call import SubCall
from langgraph_rlm.nodes.tool_interrupt import Approve, AskAgain, Begin, CallTool, ToolInterrupt
from langgraph_rlm.pregel.keys import compiled_attributes, show_subgraph
from langgraph_rlm.repl import open_backend
from langgraph_rlm.repl.host_functions import TAKEN
from langgraph_rlm.repl.sessions import Sessions
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.schemas.answers import user_format
from langgraph_rlm.state import (
    PendingCall,
    RLMInput,
    RLMOutput,
    RLMState,
    ToolState,
    last_native_calls,
    pending,
)
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.tools.approvals import InterruptOn
from langgraph_rlm.tools.external import External
from langgraph_rlm.tools.toolset import open_toolset

Model = BaseChatModel | str
Checkpointer = BaseCheckpointSaver[Any] | bool | None
NODE_OF: Mapping[str, str] = {"llm": "sub_call", "rlm": "sub_call", "tool": "tool_interrupt"}


def create_rlm(
    model: Model,
    *,
    sub_model: Model | None = None,
    models: Mapping[str, Model] | None = None,
    tools: Sequence[BaseTool | Callable[..., Any]] = (),
    child_tools: Sequence[BaseTool | Callable[..., Any] | str] | None = None,
    external_tools: Sequence[External] = (),
    interrupt_on: Mapping[str, bool | InterruptOn] | None = None,
    not_idempotent: Collection[str] = (),
    limits: Limits | None = None,
    sandbox: Literal["monty", "local"] = "monty",
    prices: Mapping[str, Price | Mapping[str, float]] | None = None,
    response_format: Any = None,
    prompt: str | None = None,
    window_tokens: int | None = None,
    compact_at: float = 0.75,
    checkpointer: Checkpointer = None,
    blob_store: str | Path | BlobStore | None = None,
    name: str = "rlm",
) -> RLMGraph:
    """A Recursive Language Model as a compiled LangGraph graph (Zhang, Kraska, Khattab, arXiv 2512.24601).

    It takes `{"query": str, "context": ...}` or `{"messages": [...]}`, and gives `answer`, `stop_reason`, `usage` and
    `messages` with one `AIMessage`. A second question on the same thread finds the variables of the first.

    Args:
        model: writes the code; a chat model, or `"provider:model"`.
        sub_model: answers `llm_query`, and is the root model of child RLMs; `model` when left out.
        models: more sub-models, by the name that code gives as `model=`.
        tools: LangChain tools and plain functions, sync or async; code calls each as a function.
        child_tools: those of child RLMs, tools or names of the root's; the same as the root's when left out.
        external_tools: tools that the caller runs, called from code or by the root model itself: OpenAI function dicts, JSON schemas,
            pydantic classes, LangChain tools (their body is never run). A call pauses; the answer to the pause is its result, and
            `{"error": text}` makes it fail. Needs a checkpointer.
        interrupt_on: tools, by name, that wait for a human's approval: True for any decision, or LangChain's
            `{"allowed_decisions": ["approve", "edit", "reject", "respond"], "description": ...}`. Needs a checkpointer.
        not_idempotent: tools, by name, that must not run twice: one whose run was cut off asks the human instead of running again.
            Their threads are stored with `durability="sync"`, whatever a call asks for. A tool that calls `interrupt` itself runs
            again on every answer, as LangGraph has it, and does not belong here.
        limits: what one run may use.
        sandbox: `"monty"`, or `"local"` for a CPython process with your packages and NO isolation from the host.
        prices: USD per million tokens by model name, `{"my-model": {"input": 0.5, "output": 2}}`; the `genai-prices` package, where it
            is installed, knows the rest. A call without a price counts as unpriced, never as free.
        response_format: what the answer has to be: a JSON schema as a dict, or a type that pydantic knows (a model, `list[Item]`, ...).
            It comes as `structured_response`, plain JSON values; a mismatch goes back to the model, within the limits.
        prompt: your own instructions, put ahead of the REPL's; any text, braces included.
        window_tokens: what a root model takes; by default what its profile says, else 128,000.
        compact_at: the share of the window at which its conversation is summed up. The log keeps every turn, and code reads them as
            `history`.
        checkpointer: any LangGraph saver; a subgraph uses its parent's.
        blob_store: where contexts, prompts and long replies are kept: a folder, or an fsspec URL. The default folder is
            `$LANGGRAPH_RLM_STORE`, else `langgraph-rlm/blobs` in the user's data folder.
        name: of the graph.

    Raises:
        ConfigurationError: an unknown provider, sandbox or tool name, a missing key or package.
    """
    root = resolve_model(model)
    backend = open_backend(sandbox)
    rlm = RLMRuntime(
        model=root,
        sub_model=root if sub_model is None else resolve_model(sub_model),
        models={name: resolve_model(given) for name, given in (models or {}).items()},
        toolset=open_toolset(
            tools,
            child_tools,
            external_tools,
            interrupt_on or {},
            not_idempotent,
            TAKEN,
        ),
        limits=limits or Limits(),
        blobs=BlobStore.open(blob_store),
        sessions=Sessions(backend),
        prices=Prices(prices),
        interpreter=backend.notes,
        prompt=prompt,
        window=window_tokens,
        compact_at=compact_at,
        response_format=None if response_format is None else user_format(response_format),
    )
    _check_prices(rlm)
    graph = compile_rlm(rlm, checkpointer, name)
    weakref.finalize(
        graph, rlm.sessions.rest
    ).atexit = False  # what it is made of refers to itself, and waits for a collection
    return graph


def _check_prices(rlm: RLMRuntime) -> None:
    """A limit on cost that cannot be kept is refused at once."""
    names = {model_name(model) for model in (rlm.model, rlm.sub_model, *rlm.models.values())}
    unknown = sorted(
        name for name in names if rlm.limits.max_cost is not None and rlm.prices.of(name) is None
    )
    if unknown:
        raise ConfigurationError(
            f"max_cost={rlm.limits.max_cost} needs the price of {', '.join(unknown)}. Give prices={{{unknown[0]!r}: "
            "{'input': ..., 'output': ...}} in USD per million tokens; the prices of well-known models come with "
            "pip install 'langgraph-rlm[prices]'."
        )


def compile_rlm(rlm: RLMRuntime, checkpointer: Checkpointer, name: str) -> RLMGraph:
    """The graph of a runtime, and the same graph for children: those use their parent's checkpointer, each in a namespace of its call.

    Several graphs may be made of one runtime, or of runtimes that differ in their tools alone (`dataclasses.replace`): they then share
    models, HTTP clients, stores and interpreters, and the idle ones of these end with the graph of `create_rlm`.
    """
    steps = _tool_steps(rlm)
    builder = _builder(rlm, lambda: child, steps)
    child = RLMGraph(rlm=rlm, **compiled_attributes(builder.compile(name=name)))
    compiled = builder.compile(checkpointer=checkpointer, name=name)
    root = RLMGraph(rlm=rlm, **compiled_attributes(compiled))
    for graph in (child, root):
        show_subgraph(graph, "sub_call", child)
        show_subgraph(graph, "tool_interrupt", steps)
    return root


def _builder(
    rlm: RLMRuntime, child: Callable[[], RLMGraph], steps: Any
) -> StateGraph[RLMState, None, RLMInput, RLMOutput]:
    graph = StateGraph(RLMState, input_schema=RLMInput, output_schema=RLMOutput)
    add_node = cast(
        Any, graph.add_node
    )  # its overloads know functions, not objects that are called
    add_node("ingest", Ingest(rlm))
    add_node("plan_code", PlanCode(rlm))
    add_node("execute_repl", ExecuteRepl(rlm))
    add_node("sub_call", SubCall(rlm, child), input_schema=PendingCall)
    add_node("tool_interrupt", ToolInterrupt(steps), input_schema=PendingCall)
    add_node("finalize", Finalize(rlm))

    async def after_plan(state: RLMState) -> list[Send] | str:
        if state.get("final") is not None or state.get("limit"):
            return "finalize"
        if state.get("compacted"):
            return "plan_code"
        calls = last_native_calls(state)
        if sends := [
            Send("tool_interrupt", call) for place in calls for call in pending(state, place)
        ]:
            return sends
        turn = last_turn(state["log"])
        await rlm.blobs.fetch(turn["reply"])
        return "execute_repl" if calls or reply_of(turn, rlm.blobs).steps else "plan_code"

    graph.add_edge(START, "ingest")
    graph.add_edge("ingest", "plan_code")
    graph.add_conditional_edges(
        "plan_code", after_plan, ["execute_repl", "tool_interrupt", "plan_code", "finalize"]
    )
    graph.add_conditional_edges(
        "execute_repl", after_repl, ["sub_call", "tool_interrupt", "plan_code", "finalize"]
    )
    graph.add_edge("sub_call", "execute_repl")
    graph.add_edge("tool_interrupt", "execute_repl")
    graph.add_conditional_edges("finalize", after_finalize, ["plan_code", END])
    return graph


async def after_repl(state: RLMState) -> list[Send] | str:
    """One `Send` per answer that the open cell waits for; else on to the next turn, or to the end."""
    if (place := state.get("suspended")) is not None:
        return [Send(NODE_OF[call["call"]], call) for call in pending(state, place)]
    return "finalize" if state.get("final") is not None or state.get("limit") else "plan_code"


async def after_finalize(state: RLMState) -> str:
    """The end; another turn when the answer was refused."""
    return END if state.get("stop_reason") else "plan_code"


def _tool_steps(rlm: RLMRuntime) -> Any:
    """One tool call: `approve` pauses, and its decision is checkpointed before `call_tool` runs anything."""

    tools = rlm.toolset

    async def first(state: ToolState) -> str:
        return (
            "approve"
            if tools.pauses(tools.tool(state["function"], state["depth"]))
            else await run(state)
        )

    async def run(state: ToolState) -> str:
        if "reply" in state:
            return END
        return (
            "begin"
            if tools.tool(state["function"], state["depth"]).name in tools.not_idempotent
            else "call_tool"
        )

    async def after_run(state: ToolState) -> str:
        return END if "reply" in state else "ask_again"

    graph = StateGraph(ToolState)
    add_node = cast(Any, graph.add_node)
    add_node("approve", Approve(rlm))
    add_node("begin", Begin(rlm))
    add_node("call_tool", CallTool(rlm))
    add_node("ask_again", AskAgain(rlm))
    graph.add_conditional_edges(START, first, ["approve", "begin", "call_tool"])
    graph.add_conditional_edges("approve", run, ["begin", "call_tool", END])
    graph.add_edge("begin", "call_tool")
    graph.add_conditional_edges("call_tool", after_run, ["ask_again", END])
    graph.add_conditional_edges("ask_again", run, ["begin", END])
    return cast(Any, graph.compile(name="tool_interrupt"))
