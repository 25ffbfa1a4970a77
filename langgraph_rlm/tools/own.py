"""Own tools: LangChain tools and plain functions, sync and async, that the graph runs itself.

What LangChain injects (config, runtime, call id, store) is given by the graph: code neither sees nor sets it.
"""

import asyncio
import contextvars
import inspect
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args, get_type_hints

from pydantic import BaseModel, ValidationError

from langgraph_rlm.errors import ConfigurationError, problems_in
from langgraph_rlm.lazy import per_process
from langgraph_rlm.pregel.keys import body_of, has_async_body, injected_names
from langgraph_rlm.tools.arguments import BadArguments, RLMTool, Schema, checked_schema
from langgraph_rlm.tools.results import plain_result

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import BaseTool
    from langgraph.runtime import Runtime

SYNC_TOOLS_AT_ONCE = 64
"""Threads for tools without an async form. A pool of their own, so that slow tools never keep the graph's own reads waiting."""


@dataclass(frozen=True)
class ToolCallInfo:
    """What LangChain's injected arguments are made of."""

    id: str
    config: "RunnableConfig"
    runtime: "Runtime[Any]"


class OwnTool(RLMTool):
    """One LangChain tool, callable from code."""

    def __init__(self, tool: "BaseTool") -> None:
        self._tool = tool
        self._full, schema = _schemas(tool)
        self._injected = _injected(tool, self._full, schema.get("properties") or {})
        super().__init__(tool.name, tool.description, checked_schema(tool.name, schema))

    @property
    def returns(self) -> str:
        function = getattr(self._tool, "coroutine", None) or getattr(self._tool, "func", None)
        returned = (
            inspect.signature(function).return_annotation if function else inspect.Signature.empty
        )
        return (
            ""
            if returned is inspect.Signature.empty
            else inspect.formatannotation(returned).replace("typing.", "")
        )

    def _check(self, given: Mapping[str, Any]) -> None:
        if self._full is None or self._injected:
            super()._check(given)
            return
        try:
            self._full.model_validate(given)
        except ValidationError as error:
            problems = problems_in(error, has_values=False)
            raise BadArguments(f"{self.signature}: {problems}.") from None

    async def run(self, arguments: Mapping[str, Any], call: ToolCallInfo) -> Any:
        """Run the tool and give its result as plain JSON. Raises whatever the tool raises."""
        given: dict[str, Any] = {
            **arguments,
            **{name: make(call) for name, make in self._injected.items()},
        }
        if _call_id not in self._injected.values():
            return plain_result(await _invoked(self._tool, given, call.config))
        message = await _invoked(
            self._tool,
            {"type": "tool_call", "name": self.name, "args": given, "id": call.id},
            call.config,
        )
        return _unwrapped(plain_result(message), self.returns)


async def _invoked(tool: "BaseTool", given: dict[str, Any], config: "RunnableConfig") -> Any:
    if has_async_body(tool):
        return await tool.ainvoke(given, config)
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(
        _threads(), lambda: context.run(tool.invoke, given, config)
    )


def _unwrapped(content: Any, returns: str) -> Any:
    """LangChain gives a call's id only to a call that returns a message, and puts the result into it as JSON."""
    if not isinstance(content, str) or returns == "str":
        return content
    try:
        return json.loads(content)
    except ValueError:
        return content


def _call_id(call: ToolCallInfo) -> str:
    return call.id


def as_tools(tools: Sequence["BaseTool | Callable[..., Any]"]) -> list[OwnTool]:
    """LangChain tools and plain functions.

    Raises:
        ConfigurationError: one is neither, or needs something that only an agent can inject.
    """
    return [OwnTool(_as_tool(given)) for given in tools]


def _as_tool(given: "BaseTool | Callable[..., Any]") -> "BaseTool":
    from langchain_core.tools import BaseTool, StructuredTool

    if isinstance(given, BaseTool):
        return given
    if not callable(cast(object, given)) or not hasattr(given, "__name__"):
        raise ConfigurationError(
            f"tools must be LangChain tools or named functions, got {given!r}."
        )
    about = inspect.getdoc(given) or f"The function {given.__name__}."
    if inspect.iscoroutinefunction(given):
        return StructuredTool.from_function(coroutine=given, description=about)
    return StructuredTool.from_function(func=given, description=about)


@per_process
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(SYNC_TOOLS_AT_ONCE, thread_name_prefix="rlm-tool")


def _schemas(tool: "BaseTool") -> tuple[type[BaseModel] | None, Schema]:
    """The pydantic model of all arguments, where there is one, and the JSON schema of those that a model may set."""
    shown, given = cast(Any, tool.tool_call_schema), cast(object, tool.args_schema)
    if isinstance(given, dict):
        return None, cast(Schema, shown)
    schema = cast(
        Schema, shown.model_json_schema() if hasattr(shown, "model_json_schema") else shown.schema()
    )
    if given is None and list(tool.args) != list(
        schema.get("properties") or ()
    ):  # `Tool`: one text, as `tool_input`
        return None, {"type": "object", "properties": tool.args, "required": list(tool.args)}
    full = cast(object, tool.get_input_schema())
    return (full if inspect.isclass(full) and issubclass(full, BaseModel) else None), schema


def _injected(
    tool: "BaseTool", full: type[BaseModel] | None, shown: Collection[str]
) -> dict[str, Callable[[ToolCallInfo], Any]]:
    """How each argument that code may not set is made."""
    hidden = (
        set(full.model_fields if full is not None else ()) - set(shown)
        if tool.args_schema is not None
        else set[str]()
    )
    hidden |= set(injected_names(tool))
    makers = {name: _maker(tool, name, full) for name in sorted(hidden)}
    return {name: make for name, make in makers.items() if make is not None}


def _maker(
    tool: "BaseTool", name: str, full: type[BaseModel] | None
) -> Callable[[ToolCallInfo], Any] | None:
    """None where the argument has a default, and no other source."""
    from langchain_core.tools.base import InjectedToolCallId
    from langgraph.prebuilt import InjectedStore, ToolRuntime

    function = body_of(tool)
    parameter, hint = inspect.signature(function).parameters.get(name), _hints(function).get(name)
    field = full.model_fields.get(name) if full is not None else None
    about = [hint, *getattr(hint, "__metadata__", ())] + (
        [field.annotation, *field.metadata] if field is not None else []
    )
    if _mentions(about, ToolRuntime):
        return _tool_runtime
    if _mentions(about, InjectedToolCallId):
        return _call_id
    has_default = field is not None and not field.is_required()
    if parameter is not None and parameter.default is not inspect.Parameter.empty:
        has_default = True
    if _mentions(about, InjectedStore):
        return _store_maker(tool.name, is_needed=not (has_default or _admits_none(hint)))
    if has_default:
        return None
    raise ConfigurationError(
        f"Tool {tool.name!r} has an injected argument {name!r}, which an RLM cannot give: it gives ToolRuntime, the config, the call's id "
        "and the store. Bind it beforehand, or give it a default."
    )


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        return getattr(function, "__annotations__", {})


def _mentions(about: Sequence[Any], kind: type) -> bool:
    classes = [getattr(each, "__origin__", each) for each in about]
    return any(isinstance(each, kind) for each in about) or any(
        inspect.isclass(each) and issubclass(each, kind) for each in classes
    )


def _admits_none(hint: Any) -> bool:
    """Whether `Annotated[X | None, ...]` or `X | None` is the annotation."""
    inner = get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    return type(None) in get_args(inner)


def _store_maker(tool: str, *, is_needed: bool) -> Callable[[ToolCallInfo], Any]:
    """Gives the LangGraph store. As LangGraph's `ToolNode`, it refuses to run a tool without the store that it needs."""

    def store(call: ToolCallInfo) -> Any:
        found = call.runtime.store
        if found is None and is_needed:
            raise ConfigurationError(
                f"Tool {tool!r} needs a LangGraph store, and there is none: give store= to create_rlm "
                "or ChatRLM, or compile the graph around with one."
            )
        return found

    return store


def _tool_runtime(call: ToolCallInfo) -> Any:
    from langgraph.prebuilt import ToolRuntime

    return ToolRuntime(
        state=cast(dict[str, Any], {}),
        context=call.runtime.context,
        config=call.config,
        stream_writer=call.runtime.stream_writer,
        tool_call_id=call.id,
        store=call.runtime.store,
    )
