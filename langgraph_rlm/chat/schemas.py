"""Schemas: `with_structured_output`, from the class or schema that a user gives to the option of a call, and from its reply to a value."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Literal, cast

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

Method = Literal["json_schema", "function_calling", "json_mode"]


def tool_name(schema: Any) -> str:
    """The name of the tool that a schema is bound as."""
    return convert_to_openai_tool(schema)["function"]["name"]


def response_format_of(schema: Any, method: str) -> Any:
    """The `response_format` of a call. Raises `ValueError` for an unknown method."""
    if method == "json_mode":
        return {"type": "json_object"}
    if method != "json_schema":
        raise ValueError(
            f"method={method!r} is none of 'json_schema', 'function_calling', 'json_mode'."
        )
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema
    given = (
        dict(cast(Mapping[str, Any], schema)) if isinstance(cast(object, schema), Mapping) else {}
    )
    if given and "parameters" not in given and given.get("type") != "function":
        return given
    function = convert_to_openai_tool(cast(Any, schema))["function"]
    return {
        "title": function["name"],
        "description": function.get("description", ""),
        **function["parameters"],
    }


def parsed(
    model: Runnable[Any, Any], schema: Any, method: str, *, include_raw: bool
) -> Runnable[Any, Any]:
    """A model's replies as values; with `include_raw`, as a dict of the message, the value and what was wrong with it."""
    parser = _parser(schema, method)
    if not include_raw:
        return model | parser
    read = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return cast(Any, RunnableMap)(raw=model) | read.with_fallbacks(
        [failed], exception_key="parsing_error"
    )


def _parser(schema: Any, method: str) -> Any:
    is_model = isinstance(schema, type) and is_basemodel_subclass(schema)
    if method != "function_calling":
        return (
            PydanticOutputParser(pydantic_object=cast(Any, schema))
            if is_model
            else JsonOutputParser()
        )
    if is_model:
        return PydanticToolsParser(tools=[cast(Any, schema)], first_tool_only=True)
    return JsonOutputKeyToolsParser(key_name=tool_name(schema), first_tool_only=True)
