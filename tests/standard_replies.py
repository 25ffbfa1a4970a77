"""What a model says to LangChain's standard tests, over `OpenAIServer`.

It is called directly, or as the root model of the loop.
"""

import json
import re
from typing import Any

from langgraph_rlm.testing import cell

from .openai_server import Body, Reply, last_message

LOOP = "You answer a question about a context"
SCHEMA = re.compile(
    r"matches this JSON schema; any other is refused, and you are told why:\n\n(.*?)\n", re.DOTALL
)
USAGE: Any = {
    "prompt_tokens": 40,
    "completion_tokens": 20,
    "prompt_tokens_details": {"cached_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 5},
}


def reply(body: Body) -> Reply:
    """Reply to a request, as `OpenAIServer` takes it."""
    system = next(
        (message["content"] for message in body["messages"] if message["role"] == "system"), ""
    )
    answer = in_the_loop(system, body) if str(system).startswith(LOOP) else directly(body)
    return Reply(**answer, usage=USAGE)


def directly(body: Body) -> Any:
    """Reply without the loop.

    A tool call where tools are bound and none was answered, JSON where a format is asked for, else
    a greeting.
    """
    question = last_message(body)
    if body.get("tools") and body["messages"][-1]["role"] == "user":
        function = body["tools"][0]["function"]
        arguments = json.dumps(filled(function["parameters"], question))
        return {
            "message": {
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": function["name"], "arguments": arguments},
                    }
                ]
            }
        }
    form = body.get("response_format")
    if form is not None:
        return {
            "content": json.dumps(
                filled(form["json_schema"]["schema"], question) if "json_schema" in form else JOKE
            )
        }
    return {"content": "Hello to you"}


def in_the_loop(system: str, body: Body) -> Any:
    """One cell: the answer in its form, or what the tool says, or a greeting."""
    question = last_message(body)
    if (schema := SCHEMA.search(system + "\n")) is not None:
        asked = json.loads(schema[1])
        return {"content": cell(f"FINAL({filled(asked, question)!r})")}
    if "get_weather(" in system:
        return {
            "content": cell("FINAL('The weather: ' + get_weather(location='San Francisco, CA'))")
        }
    if "unicode_customer(" in system:
        return {"content": cell(f"FINAL(unicode_customer({quoted(question)!r}, 'a company'))")}
    return {"content": cell("FINAL('Hello to you')")}


JOKE = {"setup": "Why do cats purr?", "punchline": "They run on mice."}


def filled(schema: dict[str, Any], question: str) -> dict[str, Any]:
    """An object that fits a schema, with what the question quotes."""
    if "oneOf" in schema:
        called = schema["oneOf"][0]["properties"]
        return {"name": called["name"]["const"], "arguments": filled(called["arguments"], question)}
    if "properties" not in schema:
        return dict(JOKE)
    values = {"string": quoted(question), "integer": 3}
    return {
        name: values[field.get("type", "string")] for name, field in schema["properties"].items()
    }


def quoted(question: str) -> str:
    """The first text in quotes."""
    found = re.search(r"'([^']+)'", question)
    return found[1] if found else "a text"
