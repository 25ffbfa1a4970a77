"""The graph: `create_rlm`. The only file that knows edges."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from langgraph_rlm.blobs import BlobStore
from langgraph_rlm.compiled import RLMGraph
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.limits import Limits
from langgraph_rlm.log import CallEntry, TurnEntry, item_place, turn_count
from langgraph_rlm.models import resolve_model
from langgraph_rlm.nodes.execute_repl import ExecuteRepl
from langgraph_rlm.nodes.finalize import Finalize
from langgraph_rlm.nodes.ingest import Ingest
from langgraph_rlm.nodes.plan_code import PlanCode
from langgraph_rlm.nodes.sub_call import SubCall
from langgraph_rlm.nodes.tool_interrupt import Approve, CallTool, ToolInterrupt
from langgraph_rlm.parsing import parse_reply
from langgraph_rlm.repl import open_backend
from langgraph_rlm.repl.calls import RESERVED
from langgraph_rlm.repl.sessions import Sessions
from langgraph_rlm.runtime import RLMRuntime
from langgraph_rlm.state import PendingCall, RLMInput, RLMOutput, RLMState, ToolState
from langgraph_rlm.tools import as_tools

Model = BaseChatModel | str
Checkpointer = BaseCheckpointSaver[Any] | bool | None
NODE_OF: Mapping[str, str] = {"llm": "sub_call", "rlm": "sub_call", "tool": "tool_interrupt"}


def create_rlm(
    model: Model,
    *,
    sub_model: Model | None = None,
    models: Mapping[str, Model] | None = None,
    tools: Sequence[BaseTool | Callable[..., Any]] = (),
    interrupt_on: Mapping[str, bool] | None = None,
    limits: Limits | None = None,
    sandbox: Literal["monty", "local"] = "monty",
    prompt: str | None = None,
    checkpointer: Checkpointer = None,
    store: str | Path | BlobStore | None = None,
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
        interrupt_on: tools, by name, that wait for a human's approval. Needs a checkpointer.
        limits: what one run may use.
        sandbox: `"monty"`, or `"local"` for a CPython process with your packages and NO isolation from the host.
        prompt: your own instructions, put ahead of the REPL's; any text, braces included.
        checkpointer: any LangGraph saver; a subgraph uses its parent's.
        store: where contexts, prompts and long replies are kept: a folder, or an fsspec URL. The default folder is
            `$LANGGRAPH_RLM_STORE`, else `langgraph-rlm/blobs` in the user's data folder.
        name: of the graph.

    Raises:
        ConfigurationError: an unknown provider, sandbox or tool name, a missing key or package.
    """
    root = resolve_model(model)
    found = as_tools(tools, RESERVED | {"context", "answer"})
    backend = open_backend(sandbox)
    rlm = RLMRuntime(
        model=root,
        sub_model=root if sub_model is None else resolve_model(sub_model),
        models={name: resolve_model(given) for name, given in (models or {}).items()},
        tools=found,
        interrupt_on=_checked(interrupt_on or {}, found),
        limits=limits or Limits(),
        store=BlobStore.open(store),
        sessions=Sessions(backend),
        interpreter=backend.notes,
        prompt=prompt,
    )
    return _compiled(rlm, checkpointer, name)


def _checked(interrupt_on: Mapping[str, Any], tools: Mapping[str, Any]) -> Mapping[str, Any]:
    unknown = sorted(set(interrupt_on) - set(tools))
    if unknown:
        raise ConfigurationError(f"interrupt_on names {', '.join(unknown)}, which is not among the tools: {', '.join(tools) or 'none'}.")
    return interrupt_on


def _compiled(rlm: RLMRuntime, checkpointer: Checkpointer, name: str) -> RLMGraph:
    """The graph, and the same graph for children: those use their parent's checkpointer, each in a namespace of its call."""
    builder = _builder(rlm, lambda: child)
    child = RLMGraph(rlm=rlm, **builder.compile(name=name).__dict__)
    return RLMGraph(rlm=rlm, **builder.compile(checkpointer=checkpointer, name=name).__dict__)


def _builder(rlm: RLMRuntime, child: Callable[[], RLMGraph]) -> StateGraph[RLMState, None, RLMInput, RLMOutput]:
    graph = StateGraph(RLMState, input_schema=RLMInput, output_schema=RLMOutput)
    add_node = cast(Any, graph.add_node)  # its overloads know functions, not objects that are called
    add_node("ingest", Ingest(rlm))
    add_node("plan_code", PlanCode(rlm))
    add_node("execute_repl", ExecuteRepl(rlm))
    add_node("sub_call", SubCall(rlm, child), input_schema=PendingCall)
    add_node("tool_interrupt", ToolInterrupt(_tool_steps(rlm)), input_schema=PendingCall)
    add_node("finalize", Finalize(rlm))

    def after_plan(state: RLMState) -> str:
        if state["final"] is not None or state["limit"] is not None:
            return "finalize"
        turn = state["log"][str(turn_count(state["log"]) - 1)]
        return "execute_repl" if parse_reply(rlm.store.get_text(cast(TurnEntry, turn)["reply"])).steps else "plan_code"

    graph.add_edge(START, "ingest")
    graph.add_edge("ingest", "plan_code")
    graph.add_conditional_edges("plan_code", after_plan, ["execute_repl", "plan_code", "finalize"])
    graph.add_conditional_edges("execute_repl", after_repl, ["sub_call", "tool_interrupt", "plan_code", "finalize"])
    graph.add_edge("sub_call", "execute_repl")
    graph.add_edge("tool_interrupt", "execute_repl")
    graph.add_edge("finalize", END)
    return graph


def after_repl(state: RLMState) -> list[Send] | str:
    """One `Send` per answer that the open cell waits for; else on to the next turn, or to the end."""
    if state["suspended"] is not None:
        return [Send(NODE_OF[call["call"]], call) for call in pending(state, state["suspended"])]
    return "finalize" if state["final"] is not None or state["limit"] is not None else "plan_code"


def pending(state: RLMState, place: str) -> list[PendingCall]:
    """The items of a call that have no answer in the log yet."""
    entry = cast(CallEntry, state["log"][place])
    return [
        PendingCall(
            place=item_place(place, item),
            call=entry["call"],
            function=entry["function"],
            request=entry["request"],
            item=item,
            total=entry["items"],
            parent=state["trajectory"],
            depth=state["depth"],
        )
        for item in range(entry["items"])
        if item_place(place, item) not in state["log"]
    ]


def _after_approval(state: ToolState) -> str:
    return END if "reply" in state else "call_tool"


def _tool_steps(rlm: RLMRuntime) -> Any:
    """One tool call: `approve` pauses, and its decision is checkpointed before `call_tool` runs anything."""
    graph = StateGraph(ToolState)
    add_node = cast(Any, graph.add_node)
    add_node("approve", Approve(rlm))
    add_node("call_tool", CallTool(rlm))
    graph.add_edge(START, "approve")
    graph.add_conditional_edges("approve", _after_approval, ["call_tool", END])
    graph.add_edge("call_tool", END)
    return cast(Any, graph.compile(name="tool_interrupt"))
