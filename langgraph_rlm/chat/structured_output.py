"""Structured output: the parts of `with_structured_output`.

From the class or schema that a user gives to the option of a call, and from a reply to a value.
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Literal, TypeGuard

from langchain_core.output_parsers import (
    JsonOutputKeyToolsParser,
    JsonOutputParser,
    PydanticOutputParser,
    PydanticToolsParser,
)
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

from langgraph_rlm.chat.shapes import is_mapping

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
    parser = _parser(schema, method)
    if not include_raw:
        return model | parser
    read = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    raw: Any = RunnableMap({"raw": model})
    return raw | read.with_fallbacks([failed], exception_key="parsing_error")


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
