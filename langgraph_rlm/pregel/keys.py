"""Keys: the private keys, names and shapes of LangGraph and LangChain that this package relies on,
each said once.

They are written down here instead of being imported: an import of a private module that has moved
would break every user at once, a key that has changed breaks the test that is named after it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import BaseTool
    from langgraph.checkpoint.base import CheckpointTuple
    from langgraph.store.base import BaseStore
    from langgraph.types import Interrupt, PregelTask

G = TypeVar("G")

# Keys of a config's `configurable`

CHECKPOINTER = "__pregel_checkpointer"
"""The checkpointer that a graph hands to its children."""

SCRATCHPAD = "__pregel_scratchpad"
"""What LangGraph keeps of one execution of a task; another execution of the same task has another
one."""

RUNTIME = "__pregel_runtime"
"""The `Runtime` that a graph hands to its children; its store is theirs too, even where it is
None."""

RESUMING = "__pregel_resuming"
"""True where a graph resumes its children, whatever their input."""

RESUME_MAP = "__pregel_resume_map"
"""Answers to pauses by their ids, which a graph hands to all graphs within it."""

DURABILITY = "__pregel_durability"
"""When a run saves: `"sync"`, `"async"` or `"exit"`. Left out where nobody has said it."""

LEASE = "__rlm_lease"
"""The key and the token of the lease under which a run saves, on their way to a saver that checks
it in the same statement. It starts as a private key does, so that no saver puts it into its
metadata."""

TASK_ID = "__pregel_task_id"
"""The id of the task that a graph runs within. LangGraph takes a graph with it for a nested one."""


def with_lease(config: "RunnableConfig", key: str, token: str) -> "RunnableConfig":
    """A config under which a saver writes only while a lease is held."""
    return {**config, "configurable": {**config.get("configurable", {}), LEASE: (key, token)}}


# Channels and tags

INTERRUPT = "__interrupt__"
"""The channel of a checkpoint's pending writes that pauses are written to, and the key of an output
that has them."""

CONTROL = frozenset({INTERRUPT, "__resume__", "__error__", "__error_source_node__"})
"""Channels that say what happened to a task; a task with a write to any other one has ended."""

BRANCH = "branch:to:"
"""How the channel starts that has a node run next; its name ends the channel's."""

NO_STREAM = "nostream"
"""The tag of models whose tokens stay out of the "messages" stream."""

OPENAI_ROLE = "__openai_role__"
"""Key of a system message's `additional_kwargs` that says `developer`, as LangChain's OpenAI models
read it."""

# Namespaces of checkpoints: `node:task_id`, and of a graph within `node:task_id|node:task_id`

WITHIN, TASK = "|", ":"


def nodes_of(namespace: str) -> str:
    """The nodes that lead to a namespace, as `get_subgraphs(namespace=...)` takes them:
    `sub_call|tool_interrupt`. Numbers, of graphs that one task runs beside each other, are none."""
    parts = [part for part in namespace.split(WITHIN) if not part.isdigit()]
    return WITHIN.join(part.partition(TASK)[0] for part in parts)


def tasks_of(namespace: str) -> Iterator[tuple[str, str]]:
    """Each task on the way to a namespace, outermost first: the namespace that it stands in, and
    its id."""
    parts = namespace.split(WITHIN)
    for depth, part in enumerate(parts):
        yield WITHIN.join(parts[:depth]), part.partition(TASK)[2]


def parts_of(namespace: str) -> tuple[str, str, str]:
    """The namespace that a namespace stands in, and the node and the id of the task that it is
    of: `("sub_call:1", "sub_call", "2")` of `"sub_call:1|sub_call:2"`."""
    above, _, last = namespace.rpartition(WITHIN)
    node, _, task = last.partition(TASK)
    return above, node, task


def send_number(task: "PregelTask") -> int:
    """Which of a step's `Send`s a task was made for, from 0."""
    return cast(int, task.path[1])


def pauses_among(saved: "CheckpointTuple") -> Iterator["Interrupt[Any]"]:
    """The pauses among a checkpoint's pending writes."""
    for _, channel, value in saved.pending_writes or []:
        if channel == INTERRUPT:
            yield from cast("Sequence[Interrupt[Any]]", value)


def first_pause(namespace: str) -> str:
    """The id of the first pause of the task whose namespace this is."""
    from langgraph.types import Interrupt

    return Interrupt.from_ns(None, namespace).id


def open_pauses(saved: "CheckpointTuple") -> "dict[str, Interrupt[Any]]":
    """The pauses of a checkpoint that wait for an answer, by their ids. It needs no graph."""
    writes = saved.pending_writes or []
    ended = {task for task, channel, _ in writes if channel not in CONTROL}
    found: dict[str, Interrupt[Any]] = {}
    for task, channel, value in writes:
        if channel == INTERRUPT and task not in ended:
            pauses = cast("Sequence[Interrupt[Any]]", value)
            found.update({pause.id: pause for pause in pauses})
    return found


# A graph that is called within a task


def is_within_task(config: "RunnableConfig") -> bool:
    """Whether a config is of a task of a graph."""
    return SCRATCHPAD in config.get("configurable", {})


def numbered(config: "RunnableConfig", number: int) -> "RunnableConfig":
    """A task's config in which a graph is called as the task's graph of that number.

    LangGraph counts the graphs that a task calls by the order in which they start, which is another
    one when the task runs again: each would continue where another one has ended.
    """
    given = config.get("configurable", {})
    counted = replace(given[SCRATCHPAD], subgraph_counter=lambda: number)
    return {**config, "configurable": {**given, SCRATCHPAD: counted}}


def counted(config: "RunnableConfig") -> "RunnableConfig":
    """A task's config in which the graph that is called next has its number already."""
    given = config.get("configurable", {})
    if SCRATCHPAD not in given:
        return config
    return numbered(config, given[SCRATCHPAD].subgraph_counter())


def own_place(config: "RunnableConfig") -> "RunnableConfig":
    """The config by which the state of a graph is read that is called with a counted config: the
    namespace of the task, and behind it the number, but for the first graph of the task."""
    given = config.get("configurable", {})
    number = given[SCRATCHPAD].subgraph_counter() if SCRATCHPAD in given else 0
    if not number:
        return config
    namespace = f"{given['checkpoint_ns']}{WITHIN}{number}"
    return {**config, "configurable": {**given, "checkpoint_ns": namespace}}


def numbered_namespace(config: "RunnableConfig", task: str, number: int) -> str:
    """The namespace of a graph that another task of the same node has called by a number.

    Args:
        config: of a task of that node.
        task: the id of the other task, or of the same one.
        number: of the graph.
    """
    above, node, _ = parts_of(_namespace(config))
    own = f"{node}{TASK}{task}{WITHIN}{number}"
    return f"{above}{WITHIN}{own}" if above else own


def task_id(config: "RunnableConfig") -> str:
    """The id of the task that a config is of."""
    return parts_of(_namespace(config))[2]


def checkpoint_of(config: "RunnableConfig") -> "RunnableConfig":
    """The checkpoint whose task a config is of."""
    given = config.get("configurable", {})
    above = parts_of(_namespace(config))[0]
    return {
        "configurable": {
            "thread_id": given["thread_id"],
            "checkpoint_ns": above,
            "checkpoint_id": given["checkpoint_map"][above],
        }
    }


def saves_at_once(config: "RunnableConfig") -> bool:
    """Whether what a task writes is saved before its run ends."""
    return config.get("configurable", {}).get(DURABILITY) != "exit"


def _namespace(config: "RunnableConfig") -> str:
    return str(config.get("configurable", {})["checkpoint_ns"])


# Graphs


def compiled_attributes(compiled: object) -> dict[str, Any]:
    """What a graph of a class of our own is made of: the attributes of a compiled one are its
    constructor's arguments."""
    return vars(compiled)


def show_subgraph(graph: Any, node: str, subgraph: object) -> None:
    """Tell a graph which graph a node of it runs. LangGraph looks for them in functions, not in
    objects that are called."""
    graph.nodes[node].subgraphs = [subgraph]


def with_own_store(runtime: Any, store: "BaseStore") -> Any:
    """The runtime of a graph around, with another store: a graph that was given one of its own uses
    that."""
    return runtime.override(store=store)


# The config around a call, as LangChain keeps it


def config_around() -> "RunnableConfig | None":
    """The config of the runnable that this code runs in; None outside of any."""
    from langchain_core.runnables.config import var_child_runnable_config

    return var_child_runnable_config.get()


def saver_around() -> Any:
    """The checkpointer of the graph that this code runs in; None where there is none."""
    config = config_around()
    return None if config is None else config.get("configurable", {}).get(CHECKPOINTER)


COORDINATES = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
"""Keys of a config's `configurable` that say where a run is kept. A call within a graph that gives
one of them is a run of its own."""


def with_around(config: "RunnableConfig | None") -> dict[str, Any]:
    """The `configurable` of a call: what it is given, and what stands around it, as LangGraph puts
    them together. LangChain forgets what stands around as soon as anything is given."""
    given: dict[str, Any] = {**((config or {}).get("configurable") or {})}
    around = config_around()
    if around is None or any(given.get(key) for key in COORDINATES):
        return given
    return {**around.get("configurable", {}), **given}


def forget_config_around() -> None:
    """Have what runs in this context see no config of an outer runnable."""
    from langchain_core.runnables.config import var_child_runnable_config

    var_child_runnable_config.set(None)


# LangChain's models


def uses_responses_api(model: object, tools: "Sequence[Any]") -> bool:
    """Whether an OpenAI model of LangChain's calls `/responses` instead of `/chat/completions`."""
    decides: Any = getattr(model, "_use_responses_api", None)
    return decides is not None and bool(decides({"tools": tools} if tools else {}))


def is_stream_handler(handler: object) -> bool:
    """Whether a callback handler feeds a stream of a graph around, such as its "messages"."""
    from langchain_core.tracers import _streaming

    return _streaming._StreamingCallbackHandler in type(handler).__mro__


def provider_of(model: object) -> str:
    """The name that a chat model of LangChain's gives its provider in traces; empty for others."""
    params: Any = getattr(model, "_get_ls_params", None)
    return "" if params is None else str(params().get("ls_provider") or "")


def forget_counters_around() -> None:
    """Have what runs in this context be counted by no `get_usage_metadata_callback` around it.

    Such a context manager puts its handler into a context variable, from which every model call
    below takes it. Tracers that are set in the same way stay.
    """
    for variable, _ in _counters_around():
        variable.set(None)


def is_counter_around(handler: object) -> bool:
    """Whether a handler is that of a context manager such as `get_usage_metadata_callback`."""
    return any(handler is counter for _, counter in _counters_around())


def _counters_around() -> Iterator[tuple[Any, object]]:
    """Handlers in context variables, but for tracers, each with its variable."""
    from langchain_core.tracers import context
    from langchain_core.tracers.base import AsyncBaseTracer, BaseTracer

    hooks: Any = context
    for variable, *_ in hooks._configure_hooks:
        handler = variable.get()
        if handler is not None and not isinstance(handler, BaseTracer | AsyncBaseTracer):
            yield variable, handler


# LangChain's tools


def has_async_body(tool: "BaseTool") -> bool:
    """Whether a tool runs without a thread: it was given a coroutine, or its class has an async
    method of its own."""
    from langchain_core.tools import BaseTool, StructuredTool, Tool

    if isinstance(tool, StructuredTool | Tool):
        return tool.coroutine is not None
    kind: Any = type(tool)
    base: Any = BaseTool
    return kind._arun is not base._arun or kind.ainvoke is not base.ainvoke


def body_of(tool: "BaseTool") -> Callable[..., Any]:
    """The function or method that a tool runs."""
    given: Any = tool
    return getattr(tool, "coroutine", None) or getattr(tool, "func", None) or given._run


def injected_names(tool: "BaseTool") -> Sequence[str]:
    """Arguments that LangChain gives to a tool by itself, as far as it says so."""
    return tuple(
        cast("Mapping[str, Any] | Sequence[str]", getattr(tool, "_injected_args_keys", ()))
    )


# Clients of models


def with_anthropic_client(model: Any, **options: Any) -> Any:
    """A copy of LangChain's model for Claude whose client has other options. The client is a
    cached property, which a value of that name stands for."""
    copy = model.model_copy()
    copy.__dict__["_async_client"] = model._async_client.with_options(**options)
    return copy
