"""Dry run: a question worked on with stubs in place of sub-models and tools, to see what it would
take. Nothing of it is kept.

The root model is asked for real, and paid, unless its replies come from a file. The arithmetic of
tokens and prices is the ledger's own.
"""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph_rlm.budget.usage import Spending, Usage, add_usage, spent
from langgraph_rlm.cli.graphs import load_graph
from langgraph_rlm.cli.kept_options import Options, close_sessions
from langgraph_rlm.cli.loop import run_until_ctrl_c
from langgraph_rlm.cli.model_options import known_options
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.pregel.keys import INTERRUPT

if TYPE_CHECKING:
    from langgraph_rlm.cli.display import Display
    from langgraph_rlm.rlm_graph import RLMGraph
    from langgraph_rlm.tools import RLMTool

NOT_RUN = "(dry run: the tool was not run)"


@dataclass(frozen=True)
class Assumed:
    """What a dry run cannot know."""

    reply_tokens: int
    """Tokens of each reply to a sub-call."""
    latency: float
    """Seconds of each model call."""


@dataclass(frozen=True)
class PlannedCall:
    """One call of the plan's code."""

    place: str
    function: str
    kind: str
    items: int


@dataclass(frozen=True)
class Estimate:
    """What a question would take."""

    calls: Sequence[PlannedCall]
    """In order: sub-calls, children and tools."""
    usage: Usage
    """Of the root and of the stubs, as if they had been asked."""
    root: Spending
    """What of it the root model spends: paid for by the dry run itself, unless `is_planned`."""
    seconds: float
    stop_reason: str
    is_planned: bool
    """The root's replies came from a file, and nothing was paid."""
    assumed: Assumed

    @property
    def sub_calls(self) -> int:
        """Sub-calls and children."""
        return sum(call.items for call in self.calls if call.kind in ("llm", "rlm"))

    @property
    def children(self) -> int:
        """Child RLMs, of which each counts as one call."""
        return sum(call.items for call in self.calls if call.kind == "rlm")

    def as_json(self) -> dict[str, Any]:
        """Give it as plain values, for machines."""
        return {
            "sub_calls": self.sub_calls,
            "children": self.children,
            "tool_calls": sum(call.items for call in self.calls if call.kind == "tool"),
            "input_tokens": self.usage["input_tokens"],
            "output_tokens": self.usage["output_tokens"],
            "cost": self.usage["cost"],
            "unpriced_calls": self.usage["unpriced_calls"],
            "seconds": self.seconds,
            "stop_reason": self.stop_reason,
            "paid": None if self.is_planned else self.root,
            "assumed": {
                "reply_tokens": self.assumed.reply_tokens,
                "latency": self.assumed.latency,
            },
            "breakdown": self.usage["breakdown"],
            "calls": [vars(call) for call in self.calls],
        }


def dry_run(
    question: str,
    options: Options,
    stored: Callable[[str], Any],
    display: "Display",
    assumed: Assumed,
    plan: str | None,
) -> Estimate:
    """Work on a question with stubs.

    Args:
        question: what is asked.
        options: as for the real run.
        stored: stores the contexts in the folder of a blob store, and gives them as an input.
        display: shows the run.
        assumed: what stands in for what is not known.
        plan: the root's reply, or its code alone; None asks the root model.

    Raises:
        ConfigurationError: an option is wrong.
        Exception: whatever the root model's client raises.
    """
    with tempfile.TemporaryDirectory(prefix="langgraph-rlm-dry-") as folder:
        graph = _graph(options, folder, assumed, plan)
        given = {"query": question, "context": stored(folder)}
        try:
            values = run_until_ctrl_c(_run(graph, given, display), lambda: None)
        finally:
            close_sessions(graph, options)
        return _estimate(graph, values, assumed, is_planned=plan is not None)


def _graph(options: Options, folder: str, assumed: Assumed, plan: str | None) -> "RLMGraph":
    """Make the graph of the real run, with stubs."""
    from langgraph.checkpoint.memory import InMemorySaver

    from langgraph_rlm.graph import compile_rlm, create_rlm
    from langgraph_rlm.models.resolve import resolve_model
    from langgraph_rlm.models.wrapped import model_name
    from langgraph_rlm.rlm_graph import RLMGraph
    from langgraph_rlm.storage.blobs import BlobStore

    if options.graph is None:
        root: Any = None
        if plan is None:
            settings = known_options(options.model_options).get("model")
            root = resolve_model(options.model or "", settings=settings)
        name = _named(options.model)
        sub = _stub(_named(options.sub_model or options.model), assumed)
        made = Options(
            sandbox=options.sandbox, window_tokens=options.window_tokens, skills=options.skills
        )
        limits: Any = options.limits
        return create_rlm(
            root or _planned(name, plan or ""),
            sub_model=sub,
            limits=limits,
            sandbox=made.sandbox or "auto",
            skills=made.skills,
            window_tokens=made.window_tokens,
            checkpointer=InMemorySaver(),
            blob_store=folder,
        )
    users = load_graph(options.graph)
    if not isinstance(users, RLMGraph):
        raise ConfigurationError(
            f"--graph {options.graph!r} is no RLM itself: a dry run is of what create_rlm gives."
        )
    rlm = users.rlm
    models = {name: _stub(model_name(each), assumed) for name, each in rlm.models.items()}
    dry = replace(
        rlm,
        model=rlm.model if plan is None else _planned(model_name(rlm.model), plan),
        sub_model=_stub(model_name(rlm.sub_model), assumed),
        models=models,
        toolset=_stubbed(rlm.toolset),
        blobs=BlobStore.open(folder),
    )
    return compile_rlm(dry, InMemorySaver(), "rlm")


def _named(model: str | None) -> str:
    """Give the name under which a model is priced: that of `provider:model`."""
    return (model or "the model").partition(":")[2] or (model or "the model")


def _stub(name: str, assumed: Assumed) -> Any:
    from langgraph_rlm.cli.stubs import StubModel

    return StubModel(model_name=name, reply_tokens=assumed.reply_tokens)


def _planned(name: str, plan: str) -> Any:
    """Make the root model that gives the plan, and then its end."""
    from langgraph_rlm.log.reply import parse_reply
    from langgraph_rlm.testing import ScriptedModel, cell

    reply = plan if parse_reply(plan).cells else cell(plan)
    return ScriptedModel(replies=[reply, cell("FINAL('the end of the plan')")], model_name=name)


def _stubbed(toolset: Any) -> Any:
    """Give a toolset whose tools of its own do nothing. Those that the caller runs are answered."""
    from langgraph_rlm.tools import ExternalTool

    def stubbed(tools: Any) -> dict[str, Any]:
        return {
            name: tool if isinstance(tool, ExternalTool) else _stub_tool(tool)
            for name, tool in tools.items()
        }

    return replace(
        toolset,
        root=stubbed(toolset.root),
        children=stubbed(toolset.children),
        interrupt_on={},
        not_idempotent=frozenset(),
    )


def _stub_tool(tool: "RLMTool") -> "RLMTool":
    from langchain_core.tools import StructuredTool

    from langgraph_rlm.tools import as_tools

    def nothing(**_: Any) -> str:
        return NOT_RUN

    stub = StructuredTool(
        name=tool.name,
        description=tool.description,
        args_schema=dict(tool.schema),
        func=nothing,
    )
    return as_tools([stub])[0]


async def _run(graph: "RLMGraph", given: Any, display: "Display") -> dict[str, Any]:
    """Run to the end; what waits for a caller gets a stub."""
    from langgraph.types import Command

    config: Any = {"configurable": {"thread_id": "dry-run"}}
    values: dict[str, Any] = {}
    while given is not None:
        parts: Any = graph.astream(given, config, stream_mode=["custom", "values"])
        async for mode, part in parts:
            if mode == "custom":
                display.show(part)
            else:
                values = part
        pauses = values.get(INTERRUPT, ())
        given = Command(resume={pause.id: NOT_RUN for pause in pauses}) if pauses else None
    state = await graph.aget_state(config)
    return {**state.values}


def _estimate(
    graph: "RLMGraph", values: dict[str, Any], assumed: Assumed, *, is_planned: bool
) -> Estimate:
    calls = [
        PlannedCall(place, entry["function"], entry["call"], entry["items"])
        for place, entry in values["log"].items()
        if entry["kind"] == "call"
    ]
    usage: Usage = values["usage"]
    at_once = graph.rlm.limits.max_concurrency
    rounds = sum(math.ceil(call.items / at_once) for call in calls if call.kind in ("llm", "rlm"))
    turns = sum(entry["kind"] == "turn" for entry in values["log"].values())
    seconds = usage["seconds"] + rounds * assumed.latency
    if is_planned:
        seconds += turns * assumed.latency
    roots = {key: each for key, each in usage["breakdown"].items() if key.startswith("0/")}
    return Estimate(
        calls=calls,
        usage=usage,
        root=add_usage(None, spent(by=roots)),
        seconds=seconds,
        stop_reason=values.get("stop_reason", ""),
        is_planned=is_planned,
        assumed=assumed,
    )


def read_plan(path: Path) -> str:
    """Read the root's reply, or its code alone, from a file.

    Raises:
        ConfigurationError: it cannot be read, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--plan {str(path)!r} cannot be read: {error}.") from error
    if not text.strip():
        raise ConfigurationError(f"--plan {str(path)!r} is empty: it has the root's reply or code.")
    return text
