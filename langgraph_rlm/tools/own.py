"""Own tools: LangChain tools and plain functions, sync and async, that the graph runs itself.

What LangChain injects (config, runtime, call id, store) is given by the graph: code neither sees
nor sets it.
"""

import asyncio
import contextvars
import inspect
import json
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from pydantic import BaseModel, ValidationError

from langgraph_rlm.errors import ConfigurationError, problems_in
from langgraph_rlm.lazy import per_process
from langgraph_rlm.pregel.keys import body_of, has_async_body, injected_names
from langgraph_rlm.tools.arguments import BadArguments, RLMTool, Schema, checked_schema
from langgraph_rlm.tools.results import handled, plain_result
from langgraph_rlm.tools.returns import first_returns, returns

if TYPE_CHECKING:
    from langchain_core.messages import ToolCall
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import BaseTool
    from langgraph.runtime import Runtime

SYNC_TOOLS_AT_ONCE = 64
"""Threads for tools without an async form.

They have a pool of their own, so that slow tools never keep the graph's own reads waiting.
"""


@dataclass(frozen=True)
class ToolCallInfo:
    """What LangChain's injected arguments are made of."""

    id: str
    config: "RunnableConfig"
    runtime: "Runtime[Any]"
    state: Mapping[str, Any]
    """What the RLM was asked: the values of `STATE`."""
    write: Callable[[Any], None]
    """Writes to the "custom" stream of the run's root."""


STATE = ("messages", "query", "depth")
"""What `InjectedState` gives: the messages that the RLM was asked with, its question as text, and
how deep it is."""


Maker = Callable[[ToolCallInfo], Any]
"""Makes the value of an injected argument for one call."""


class OwnTool(RLMTool):
    """One LangChain tool, callable from code."""

    def __init__(self, tool: "BaseTool") -> None:
        self._tool = tool
        self._raising = _raising(tool)
        """The same tool, whose errors are raised instead of being told as a result."""
        self._full, schema = _schemas(tool)
        self._injected = _injected(tool, self._full, schema.get("properties") or {})
        super().__init__(tool.name, tool.description, checked_schema(tool.name, schema))

    @property
    def returns(self) -> str:
        """What code gets from it, as a Python annotation; empty where that is not known."""
        if self._tool.response_format == "content_and_artifact":
            return ""  # code gets the content alone
        return "" if self._function is None else returns(self._function)

    @property
    def first_signature(self) -> str:
        """See `RLMTool.first_signature`."""
        return self._signature(self._first_returns)

    @property
    def _first_returns(self) -> str:
        return "" if self._function is None else first_returns(self._function)

    @property
    def _function(self) -> Callable[..., Any] | None:
        return getattr(self._tool, "coroutine", None) or getattr(self._tool, "func", None)

    def _check(self, given: Mapping[str, Any]) -> None:
        if self._full is None or self._injected:
            super()._check(given)
            return
        try:
            self._full.model_validate(given)
        except ValidationError as error:
            problems = problems_in(error, has_values=False)
            raise BadArguments(f"{self.signature}: {problems}.") from None

    def request(self, call: "ToolCall", about: ToolCallInfo) -> Any:
        """Make LangChain's `ToolCallRequest` of a call."""
        from langgraph.prebuilt.tool_node import ToolCallRequest

        return ToolCallRequest(
            tool_call=call,
            tool=self._tool,
            state={**about.state},
            runtime=_tool_runtime(about),
        )

    async def run(self, arguments: Mapping[str, Any], call: ToolCallInfo) -> Any:
        """Run the tool and give its result as plain JSON.

        Raises:
            ToolFailed: the tool raised what it says how to handle: what it says is no result.
            Exception: whatever else the tool raises.
        """
        from langchain_core.tools import ToolException

        try:
            return await self._run(arguments, call)
        except ToolException as error:
            if not self._tool.handle_tool_error:
                raise
            raise handled(error, self._tool.handle_tool_error) from error
        except ValidationError as error:
            if not self._tool.handle_validation_error:
                raise
            raise handled(error, self._tool.handle_validation_error) from error

    async def _run(self, arguments: Mapping[str, Any], call: ToolCallInfo) -> Any:
        injected = {name: make(call) for name, make in self._injected.items()}
        given: dict[str, Any] = {**arguments, **injected}
        if _call_id not in self._injected.values():
            return self._value(await _invoked(self._raising, given, call.config))
        # LangChain gives a call's id only to a call that returns a message
        tool_call = {"type": "tool_call", "name": self.name, "args": given, "id": call.id}
        message = await _invoked(self._raising, tool_call, call.config)
        return _unwrapped(plain_result(message), self._first_returns)

    def _value(self, out: Any) -> Any:
        """Make the value for code of what the tool gave."""
        return plain_result(out)


def _raising(tool: "BaseTool") -> "BaseTool":
    if not (tool.handle_tool_error or tool.handle_validation_error):
        return tool
    return tool.model_copy(update={"handle_tool_error": False, "handle_validation_error": False})


async def _invoked(tool: "BaseTool", given: dict[str, Any], config: "RunnableConfig") -> Any:
    if has_async_body(tool):
        return await tool.ainvoke(given, config)
    context = contextvars.copy_context()
    running = _threads().submit(context.run, tool.invoke, given, config)
    try:
        return await asyncio.wrap_future(running)
    except asyncio.CancelledError:
        if running.running():
            warnings.warn(
                f"Tool {tool.name!r} goes on in its thread, since a tool without an async form "
                "cannot be stopped. Its result is dropped.",
                RuntimeWarning,
                stacklevel=2,
            )
        raise


def _unwrapped(content: Any, returns: str) -> Any:
    """Take the result out of a message's content, in which LangChain puts it as JSON."""
    if not isinstance(content, str) or returns == "str":
        return content
    try:
        return json.loads(content)
    except ValueError:
        return content


@per_process
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(SYNC_TOOLS_AT_ONCE, thread_name_prefix="rlm-tool")


# The schema of its arguments


def _schemas(tool: "BaseTool") -> tuple[type[BaseModel] | None, Schema]:
    """Give the pydantic model of all arguments and the JSON schema of those that code may set.

    The model is None for a tool that has none.
    """
    shown: Any = tool.tool_call_schema
    given: Any = tool.args_schema
    if isinstance(given, dict):
        return None, shown
    is_v2 = hasattr(shown, "model_json_schema")
    schema: Schema = shown.model_json_schema() if is_v2 else shown.schema()
    if given is None and list(tool.args) != list(schema.get("properties") or ()):
        # a `Tool`, which takes one text, by the name `tool_input`
        return None, {"type": "object", "properties": tool.args, "required": list(tool.args)}
    full: Any = tool.get_input_schema()
    if inspect.isclass(full) and issubclass(full, BaseModel):
        return full, schema
    return None, schema


# Injected arguments


def _injected(
    tool: "BaseTool", full: type[BaseModel] | None, shown: Collection[str]
) -> dict[str, Maker]:
    """Give what makes each argument that code may not set.

    Args:
        tool: the LangChain tool.
        full: the pydantic model of all of its arguments.
        shown: the arguments that code may set.
    """
    hidden = set(injected_names(tool))
    if tool.args_schema is not None and full is not None:
        hidden |= full.model_fields.keys() - set(shown)
    makers = {name: _maker(tool, name, full) for name in sorted(hidden)}
    return {name: make for name, make in makers.items() if make is not None}


def _maker(tool: "BaseTool", name: str, full: type[BaseModel] | None) -> Maker | None:
    """Give what makes one argument; None for one that has a default and no other source.

    Raises:
        ConfigurationError: only an agent could inject it.
    """
    from langchain_core.tools.base import InjectedToolCallId
    from langgraph.prebuilt import InjectedState, InjectedStore, ToolRuntime

    function = body_of(tool)
    hint = _hints(function).get(name)
    about = [hint, *getattr(hint, "__metadata__", ())]
    if full is not None and name in full.model_fields:
        field = full.model_fields[name]
        about += [field.annotation, *field.metadata]
    if _mentions(about, ToolRuntime):
        return _tool_runtime
    if _mentions(about, InjectedToolCallId):
        return _call_id
    has_default = _has_default(function, name, full)
    if _mentions(about, InjectedStore):
        return _store_maker(tool.name, is_needed=not (has_default or _admits_none(hint)))
    if _mentions(about, InjectedState) and (make := _state_maker(about)) is not None:
        return make
    if has_default:
        return None
    raise ConfigurationError(
        f"Tool {tool.name!r} has an injected argument {name!r}, which an RLM cannot give: "
        "it gives ToolRuntime, the config, the call's id, the store, and of its state "
        f"{', '.join(STATE)}. Bind it beforehand, or give it a default."
    )


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        return getattr(function, "__annotations__", {})


def _has_default(function: Callable[..., Any], name: str, full: type[BaseModel] | None) -> bool:
    """Tell whether the function or the pydantic model has a default for an argument."""
    parameter = inspect.signature(function).parameters.get(name)
    if parameter is not None and parameter.default is not inspect.Parameter.empty:
        return True
    if full is None or name not in full.model_fields:
        return False
    return not full.model_fields[name].is_required()


def _mentions(about: Sequence[Any], kind: type) -> bool:
    """Tell whether an annotation or its metadata has an instance or a subclass of `kind`."""
    for each in about:
        if isinstance(each, kind):
            return True
        origin = getattr(each, "__origin__", each)
        if inspect.isclass(origin) and issubclass(origin, kind):
            return True
    return False


def _admits_none(hint: Any) -> bool:
    """Tell whether an annotation is `X | None` or `Annotated[X | None, ...]`."""
    inner = get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    return type(None) in get_args(inner)


def _call_id(call: ToolCallInfo) -> str:
    return call.id


def _store_maker(tool: str, *, is_needed: bool) -> Maker:
    """Make what gives the LangGraph store.

    Like LangGraph's `ToolNode`, it refuses to run a tool without the store that it needs.
    """

    def store(call: ToolCallInfo) -> Any:
        found = call.runtime.store
        if found is None and is_needed:
            raise ConfigurationError(
                f"Tool {tool!r} needs a LangGraph store, and there is none: give store= to "
                "create_rlm or ChatRLM, or compile the graph around with one."
            )
        return found

    return store


def _state_maker(about: Sequence[Any]) -> Maker | None:
    """Make what gives the state, or the field of it that an annotation names; None where there is
    no such field."""
    fields = [getattr(each, "field", None) for each in about]
    named = [field for field in fields if isinstance(field, str)]
    if not named:
        return lambda call: {**call.state}
    field = named[0]
    return (lambda call: call.state[field]) if field in STATE else None


def _tool_runtime(call: ToolCallInfo) -> Any:
    from langgraph.prebuilt import ToolRuntime

    return ToolRuntime(
        state={**call.state},
        context=call.runtime.context,
        config=call.config,
        stream_writer=call.write,
        tool_call_id=call.id,
        store=call.runtime.store,
        execution_info=call.runtime.execution_info,
        server_info=call.runtime.server_info,
    )
