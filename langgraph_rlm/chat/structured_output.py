"""Structured output: the parts of `with_structured_output`.

From the class or schema that a user gives to the option of a call, and from a reply to a value.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from operator import itemgetter
from typing import Any, Literal, TypeGuard

from langchain_core.messages import AIMessage
from langchain_core.output_parsers import (
    JsonOutputKeyToolsParser,
    JsonOutputParser,
    PydanticOutputParser,
    PydanticToolsParser,
)
from langchain_core.runnables import (
    Runnable,
    RunnableGenerator,
    RunnableMap,
    RunnablePassthrough,
)
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

from langgraph_rlm.chat.model_reply import REFUSAL
from langgraph_rlm.chat.shapes import is_mapping
from langgraph_rlm.errors import ModelReplyError, shown

WHY: Mapping[str, str] = {
    "length": "it was cut off at its most tokens; give a higher max_tokens",
    "content_filter": "the provider filtered it; ask for something else",
}
"""What to do about a reply that is not whole, by OpenAI's reason."""

Method = Literal["json_schema", "function_calling", "json_mode"]


def tool_name(schema: Any) -> str:
    """Give the name of the tool that a schema is bound as."""
    return convert_to_openai_tool(schema)["function"]["name"]


def response_format_of(schema: Any, method: str) -> Any:
    """Make the `response_format` of a call.

    Raises:
        ValueError: there is no such method.
    """
    if method == "json_mode":
        return {"type": "json_object"}
    if method != "json_schema":
        raise ValueError(
            f"method={method!r} is none of 'json_schema', 'function_calling', 'json_mode'."
        )
    if _is_pydantic_class(schema):
        return schema
    if _is_json_schema(schema):
        return dict(schema)
    function = convert_to_openai_tool(schema)["function"]
    return {
        "title": function["name"],
        "description": function.get("description", ""),
        **function["parameters"],
    }


def _is_pydantic_class(schema: object) -> bool:
    return isinstance(schema, type) and issubclass(schema, BaseModel)


def _is_json_schema(schema: object) -> TypeGuard[Mapping[str, Any]]:
    """Tell a JSON schema from a class and from an OpenAI function."""
    return (
        is_mapping(schema)
        and len(schema) > 0
        and "parameters" not in schema
        and schema.get("type") != "function"
    )


def parsed(
    model: Runnable[Any, Any], schema: Any, method: str, *, include_raw: bool
) -> Runnable[Any, Any]:
    """Have a model give its replies as values.

    With `include_raw` each is a dict: `raw` is the message, `parsed` the value, and `parsing_error`
    what was wrong with the message.
    """
    parser = RunnableGenerator(_checked, _achecked) | _parser(schema, method)
    if not include_raw:
        return model | parser
    read = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    raw: Any = RunnableMap({"raw": model})
    return raw | read.with_fallbacks([failed], exception_key="parsing_error")


class _Reply:
    """A reply as far as it has come."""

    def __init__(self) -> None:
        self._refusal = ""
        self._metadata: dict[str, Any] = {}

    def add(self, part: AIMessage) -> None:
        self._refusal += part.additional_kwargs.get(REFUSAL) or ""
        self._metadata |= part.response_metadata

    def check(self) -> None:
        """Check that there is an answer. A parser would make a value of half of one.

        Raises:
            ModelReplyError: the model refused, or its reply is not whole.
        """
        if self._refusal:
            raise ModelReplyError(
                f"The model refused: {shown(self._refusal)}. Ask for something else, or another "
                "model."
            )
        reason = str(self._metadata.get("finish_reason"))
        # a run that a limit ended has given its best answer, which may be whole
        if reason in WHY and self._metadata.get("stop_reason") == "answered":
            raise ModelReplyError(f"The answer is not whole: {WHY[reason]}.")


def _checked(parts: Iterator[AIMessage]) -> Iterator[AIMessage]:
    """Pass a reply on, part by part."""
    reply = _Reply()
    for part in parts:
        reply.add(part)
        yield part
    reply.check()


async def _achecked(parts: AsyncIterator[AIMessage]) -> AsyncIterator[AIMessage]:
    """Pass a reply on, part by part."""
    reply = _Reply()
    async for part in parts:
        reply.add(part)
        yield part
    reply.check()


def _parser(schema: Any, method: str) -> Any:
    """Make what reads a value out of a message."""
    is_model = is_basemodel_subclass(schema)
    if method == "function_calling":
        if is_model:
            return PydanticToolsParser(tools=[schema], first_tool_only=True)
        return JsonOutputKeyToolsParser(key_name=tool_name(schema), first_tool_only=True)
    if is_model:
        return PydanticOutputParser(pydantic_object=schema)
    return JsonOutputParser()
