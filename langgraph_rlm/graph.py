"""The graph: `create_rlm`. The only file that knows edges."""

import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import BaseStore
from langgraph.types import Send

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.budget.prices import Price, Prices
from langgraph_rlm.log.places import last_turn
from langgraph_rlm.log.reply import reply_of
from langgraph_rlm.models.caching import CacheLife
from langgraph_rlm.models.cast import cast_of
from langgraph_rlm.models.wrapped import Model
from langgraph_rlm.nodes.below import Below
from langgraph_rlm.nodes.elsewhere import (
    AskHere,
    Elsewhere,
    ElsewhereCall,
    ElsewhereState,
    Tell,
    Watch,
)
from langgraph_rlm.nodes.execute_repl import ExecuteRepl
from langgraph_rlm.nodes.finalize import Finalize
from langgraph_rlm.nodes.ingest import Ingest
from langgraph_rlm.nodes.item import Children
from langgraph_rlm.nodes.of_run import OfRun
from langgraph_rlm.nodes.plan_code import PlanCode
from langgraph_rlm.nodes.sub_call import SubCall
from langgraph_rlm.nodes.tool_interrupt import (
    Approve,
    AskAgain,
    Begin,
    CallTool,
    Gate,
    ToolInterrupt,
)
from langgraph_rlm.options import check_options
from langgraph_rlm.pregel.keys import compiled_attributes, show_subgraph
from langgraph_rlm.pregel.starts import StartingAt
from langgraph_rlm.pregel.tracing import Edge, tell_inputs
from langgraph_rlm.remote.engine import Engine, OpenPause
from langgraph_rlm.repl import DEFAULT_SANDBOX
from langgraph_rlm.repl.base import Backend
from langgraph_rlm.repl.host_functions import TAKEN
from langgraph_rlm.repl.sandboxes import Sandboxes
from langgraph_rlm.repl.sessions import Sessions
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.runtime.children import RemoteChildren
from langgraph_rlm.runtime.settings import Configurable, RunSettings
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.runtime.variant import check_prices
from langgraph_rlm.runtime.windows import Windows
from langgraph_rlm.schemas.answers import user_format
from langgraph_rlm.state import (
    ELSEWHERE,
    PendingCall,
    RLMInput,
    RLMOutput,
    RLMState,
    ToolState,
    last_native_calls,
    pending,
    without_log,
)
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.skill_folders import SkillFolders
from langgraph_rlm.tools.approvals import InterruptMode, InterruptOn
from langgraph_rlm.tools.external import External
from langgraph_rlm.tools.toolset import open_toolset

Checkpointer = BaseCheckpointSaver[Any] | bool | None
NODE_OF: Mapping[str, str] = {"llm": "sub_call", "rlm": "sub_call", "tool": "tool_interrupt"}


def create_rlm(
    model: Model | str,
    *,
    sub_model: Model | str | None = None,
    models: Mapping[str, Model | str] | None = None,
    model_options: Mapping[str, Mapping[str, Any]] | None = None,
    fallbacks: Mapping[str, Sequence[Model | str]] | None = None,
    tools: Sequence[BaseTool | Callable[..., Any]] = (),
    child_tools: Sequence[BaseTool | Callable[..., Any] | str] | None = None,
    external_tools: Sequence[External] = (),
    interrupt_on: Mapping[str, bool | InterruptOn] | None = None,
    interrupt_mode: InterruptMode = "batched",
    not_idempotent: Collection[str] = (),
    limits: Limits | Mapping[str, Any] | None = None,
    sandbox: str | Backend = DEFAULT_SANDBOX,
    prices: Mapping[str, Price | Mapping[str, float]] | None = None,
    response_format: Any = None,
    skills: Sequence[str | Path] = (),
    prompt: str | None = None,
    window_tokens: int | None = None,
    compact_at: float = 0.75,
    prompt_caching: CacheLife | None = "5m",
    checkpointer: Checkpointer = None,
    store: BaseStore | None = None,
    blob_store: str | Path | BlobStore | BaseStore | None = None,
    configurable: Configurable | Mapping[str, Any] | None = None,
    children: RemoteChildren | Literal["remote"] | None = None,
    context_schema: type[Any] = RunSettings,
    name: str = "rlm",
) -> RLMGraph:
    """Make a Recursive Language Model as a compiled LangGraph graph (Zhang, Kraska, Khattab, arXiv
    2512.24601).

    It takes `{"query": str, "context": ...}` or `{"messages": [...]}`, and gives `answer`,
    `stop_reason`, `usage` and `messages` with one `AIMessage`. A second question on the same thread
    finds the variables of the first.

    Args:
        model: writes the code; a chat model, also behind `bind`, `with_config`, `with_retry` and
            `with_fallbacks`, or `"provider:model"`.
        sub_model: answers `llm_query`, and is the root model of child RLMs; `model` when left out.
        models: more sub-models, by the name that code gives as `model=`.
        model_options: options of the models by their parts, which are `"model"`, `"sub_model"` and
            the names in `models`: `{"sub_model": {"reasoning_effort": "low"}}`. They are what the
            models' classes take.
        fallbacks: models that are asked where one fails, by the same parts:
            `{"model": ["anthropic:claude-opus-5"]}`. Spending is counted under the name of the
            model that answered.
        tools: LangChain tools and plain functions, sync or async; code calls each as a function.
        child_tools: those of child RLMs, tools or names of the root's; the same as the root's when
            left out.
        external_tools: tools that the caller runs, called from code or by the root model itself:
            OpenAI function dicts, JSON schemas, pydantic classes, LangChain tools (their body is
            never run). A call pauses; the answer to the pause is its result, and `{"error": text}`
            makes it fail. Needs a checkpointer.
        interrupt_on: tools, by name, that wait for a human's approval: True for any decision, or
            LangChain's `{"allowed_decisions": ["approve", "edit", "reject", "respond"],
            "description": ..., "when": function}`. Needs a checkpointer.
        interrupt_mode: what a pause for approval shows, by LangChain's names: `"batched"`, an
            `HITLRequest` of one action, or `"per_call"`, a `ToolApprovalRequest`.
        not_idempotent: tools, by name, that must not run twice: one whose run was cut off asks the
            human instead of running again. Their threads are stored with `durability="sync"`,
            whatever a call asks for. A tool that calls `interrupt` itself runs again on every
            answer, as LangGraph has it, and does not belong here.
        limits: what one run may use: a `Limits`, or a dict of some of its fields.
        sandbox: `"auto"`, which is `"python"` (CPython with your packages, jailed by the Linux
            kernel) where this machine can have it, else `"monty"` (a safe subset of Python);
            `"local"` for a CPython process with NO isolation from the host; or a `Backend` of your
            own (`langgraph_rlm.testing.repl_contract` tests it). A thread stays in the sandbox that
            it began in.
        prices: USD per million tokens by model name, `{"my-model": {"input": 0.5, "output": 2}}`;
            the `genai-prices` package, where it is installed, knows the rest. A call without a
            price counts as unpriced, never as free.
        response_format: what the answer has to be: a JSON schema as a dict, or a type that pydantic
            knows (a model, `list[Item]`, ...). It comes as `structured_response`, plain JSON
            values; a mismatch goes back to the model, within the limits.
        skills: folders of skills, by the Agent Skills format: each is one skill, with a `SKILL.md`,
            or has skills as its folders. The model reads their texts when it needs them, and in
            `sandbox="python"` code imports their modules. No code of a skill runs outside the
            sandbox.
        prompt: your own instructions, put ahead of the REPL's; any text, braces included.
        window_tokens: tokens that a root model takes; by default what its profile says, else
            128,000.
        compact_at: the share of the window at which its conversation is summed up. The log keeps
            every turn, and code reads them as `history`.
        prompt_caching: how long Claude keeps the conversations of root models in its prompt cache,
            `"5m"` or `"1h"`; None sets no breakpoints. Other providers' caches need none.
        checkpointer: any LangGraph saver; a subgraph uses its parent's.
        store: a LangGraph store (long-term memory) for tools, at any depth: they get it as
            `InjectedStore` and `ToolRuntime.store`. A graph around this one hands its own on where
            none is given here.
        blob_store: where contexts, prompts and long replies are kept: a folder, a URL of PostgreSQL
            or of fsspec, or a LangGraph store. By default `$LANGGRAPH_RLM_STORE`, else
            `langgraph-rlm/blobs` in the user's data folder.
        configurable: what a run may set for itself, as `context=RunSettings(...)` or in its
            config: a `Configurable`, or a dict of some of its fields. By default a run may choose
            among `models`, lower limits and leave tools out.
        children: where child RLMs run: in this process when left out. With a `RemoteChildren`, or
            `"remote"`, each is a run of its own on an engine, and any of its workers takes it.
        context_schema: the type of `context=`, which tools get as `ToolRuntime.context`. One of
            your own may inherit from `RunSettings`, or have it as a field of the graph's name.
        name: of the graph.

    Raises:
        ConfigurationError: an argument of a wrong type, an unknown provider, sandbox or tool name,
            a missing key or package.
    """
    check_options(locals())
    parts = cast_of(model, sub_model, models, options=model_options, fallbacks=fallbacks)
    blobs, allowed = BlobStore.open(blob_store), Configurable.of(configurable)
    rlm = RLMRuntime(
        model=parts.model,
        sub_model=parts.sub_model,
        models=parts.models,
        toolset=open_toolset(
            tools,
            child_tools,
            external_tools,
            interrupt_on or {},
            not_idempotent,
            TAKEN,
            interrupt_mode,
        ),
        limits=Limits.model_validate(limits or {}),
        blobs=blobs,
        sessions=Sessions(Sandboxes(sandbox, allowed.sandboxes)),
        prices=Prices(prices),
        prompt=prompt,
        windows=Windows(window_tokens),
        compact_at=compact_at,
        response_format=None if response_format is None else user_format(response_format),
        prompt_caching=prompt_caching,
        skills=SkillFolders(skills, blobs),
        configurable=allowed,
        children=RemoteChildren.of(children, name),
    )
    check_prices(rlm, rlm.limits)
    graph = compile_rlm(rlm, checkpointer, name, store, context_schema)
    # The graph is a reference cycle, so it ends with a garbage collection; its idle interpreters
    # end with it.
    weakref.finalize(graph, rlm.sessions.release_idle).atexit = False
    return graph


def compile_rlm(
    rlm: RLMRuntime,
    checkpointer: Checkpointer,
    name: str,
    store: BaseStore | None = None,
    context_schema: type[Any] = RunSettings,
) -> RLMGraph:
    """Compile the graph of a runtime.

    Children run the same graph, compiled without a checkpointer: they use their parent's, each in a
    namespace of its call. Several graphs may be made of one runtime, or of runtimes that differ in
    their tools alone (`dataclasses.replace`): they then share models, HTTP clients, blobs and
    interpreters, and the idle interpreters end with the graph that `create_rlm` gave.
    """
    steps = _tool_steps(rlm)
    engine = None if rlm.children is None else Engine(rlm.children)
    remote = _remote_steps(engine)
    builder = _builder(
        rlm, lambda: begun, steps, partial(Elsewhere, engine=engine, steps=remote), context_schema
    )
    child = RLMGraph(rlm=rlm, **compiled_attributes(builder.compile(name=name)))
    begun = StartingAt(child, "plan_code", before="ingest")
    compiled = builder.compile(checkpointer=checkpointer, store=store, name=name)
    root = RLMGraph(rlm=rlm, **compiled_attributes(compiled))
    for graph in (child, root):
        show_subgraph(graph, "sub_call", child)
        show_subgraph(graph, "tool_interrupt", steps)
        show_subgraph(graph, ELSEWHERE, remote)
        tell_inputs(graph, without_log)
    return root


def _builder(
    rlm: RLMRuntime,
    child: Callable[[], StartingAt],
    steps: Any,
    elsewhere: Callable[[RLMRuntime], Children],
    context_schema: type[Any],
) -> StateGraph[RLMState, Any, RLMInput, RLMOutput]:
    """The nodes and edges of an RLM."""
    graph = StateGraph(
        RLMState,
        context_schema=context_schema,
        input_schema=RLMInput,
        output_schema=RLMOutput,
    )
    add_node = cast(Any, graph.add_node)  # its overloads know functions alone
    add_node("ingest", OfRun(Ingest))
    add_node("plan_code", OfRun(PlanCode))
    add_node("execute_repl", OfRun(ExecuteRepl))
    below = partial(Below, graph=child)
    add_node("sub_call", OfRun(partial(SubCall, children=below)), input_schema=PendingCall)
    add_node(ELSEWHERE, OfRun(partial(SubCall, children=elsewhere)), input_schema=PendingCall)
    add_node("tool_interrupt", ToolInterrupt(steps), input_schema=PendingCall)
    add_node("finalize", OfRun(Finalize))

    async def after_repl(state: RLMState) -> list[Send] | str:
        """One `Send` for each answer that is waited for; else the next turn, or the end."""
        place = state.get("suspended")
        if place is not None:
            return [Send(node_of(call, rlm), call) for call in pending(state, place)]
        if state.get("stop_reason"):  # a child, whose code has answered
            return END
        return "finalize" if is_over(state) else "plan_code"

    async def after_plan(state: RLMState) -> list[Send] | str:
        if is_over(state):
            return "finalize"
        if state.get("compacted"):
            return "plan_code"
        calls = last_native_calls(state)
        waiting = [call for place in calls for call in pending(state, place)]
        if waiting:
            return [Send("tool_interrupt", call) for call in waiting]
        turn = last_turn(state["log"])
        await rlm.blobs.fetch(turn["reply"])
        has_steps = bool(calls or reply_of(turn, rlm.blobs).steps)
        return "execute_repl" if has_steps else "plan_code"

    after = graph.add_conditional_edges
    graph.add_edge(START, "ingest")
    graph.add_edge("ingest", "plan_code")
    after(
        "plan_code", Edge(after_plan), ["execute_repl", "tool_interrupt", "plan_code", "finalize"]
    )
    after(
        "execute_repl",
        Edge(after_repl),
        ["sub_call", ELSEWHERE, "tool_interrupt", "plan_code", "finalize", END],
    )
    graph.add_edge("sub_call", "execute_repl")
    graph.add_edge(ELSEWHERE, "execute_repl")
    graph.add_edge("tool_interrupt", "execute_repl")
    after("finalize", Edge(after_finalize), ["plan_code", END])
    return graph


def is_over(state: RLMState) -> bool:
    """Whether there is an answer, or a limit that ends the run."""
    return state.get("final") is not None or bool(state.get("limit"))


def node_of(call: PendingCall, rlm: RLMRuntime) -> str:
    """The node that answers a call."""
    if call["call"] == "rlm" and rlm.children is not None:
        return ELSEWHERE
    return NODE_OF[call["call"]]


async def after_finalize(state: RLMState) -> str:
    """The end; another turn when the answer was refused."""
    return END if state.get("stop_reason") else "plan_code"


def _tool_steps(rlm: RLMRuntime) -> Any:
    """The graph of one tool call: `approve` pauses, and its decision is checkpointed before
    `call_tool` runs anything.

    The edges read the graph's toolset: a run has some of these tools, by the same names, and none
    of its own.
    """
    tools = rlm.toolset

    async def first(state: ToolState) -> str:
        tool = tools.tool(state["function"], state["depth"])
        if tools.when(tool) is not None:
            return "gate"
        return "approve" if tools.pauses(tool) else await run(state)

    async def after_gate(state: ToolState) -> str:
        return "approve" if state.get("waits") else await run(state)

    async def run(state: ToolState) -> str:
        if "reply" in state:
            return END
        tool = tools.tool(state["function"], state["depth"])
        return "begin" if tool.name in tools.not_idempotent else "call_tool"

    async def after_run(state: ToolState) -> str:
        return END if "reply" in state else "ask_again"

    graph = StateGraph(ToolState)
    add_node = cast(Any, graph.add_node)
    add_node("gate", OfRun(Gate), input_schema=PendingCall)
    add_node("approve", OfRun(Approve), input_schema=PendingCall)
    add_node("begin", OfRun(Begin))
    add_node("call_tool", OfRun(CallTool))
    add_node("ask_again", OfRun(AskAgain))
    graph.add_conditional_edges(START, Edge(first), ["gate", "approve", "begin", "call_tool"])
    graph.add_conditional_edges("gate", Edge(after_gate), ["approve", "begin", "call_tool"])
    graph.add_conditional_edges("approve", Edge(run), ["begin", "call_tool", END])
    graph.add_edge("begin", "call_tool")
    graph.add_conditional_edges("call_tool", Edge(after_run), ["ask_again", END])
    graph.add_conditional_edges("ask_again", Edge(run), ["begin", END])
    return cast(Any, graph.compile(name="tool_interrupt"))


def _remote_steps(engine: Engine | None) -> Any:
    """The graph of one child elsewhere: its pauses wait side by side, then it is told of all."""

    async def after_watch(state: ElsewhereState) -> list[Send] | str:
        return END if "out" in state else [Send("ask", pause) for pause in state["pauses"]]

    graph = StateGraph(ElsewhereState, input_schema=ElsewhereCall)
    add_node = cast(Any, graph.add_node)
    add_node("watch", OfRun(partial(Watch, engine=engine)))
    add_node("ask", OfRun(partial(AskHere, engine=engine)), input_schema=OpenPause)
    add_node("tell", OfRun(partial(Tell, engine=engine)))
    graph.add_edge(START, "watch")
    graph.add_conditional_edges("watch", Edge(after_watch), ["ask", END])
    graph.add_edge("ask", "tell")
    graph.add_edge("tell", "watch")
    return cast(Any, graph.compile(name="remote_call"))
