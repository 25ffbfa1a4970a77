"""OpenAI's options about tools, for models of other providers: asked directly, through `ChatRLM` and the server."""

from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage

from langgraph_rlm import ChatRLM
from langgraph_rlm.server import create_app
from langgraph_rlm.testing import ScriptedModel

from .servers import TOOL, Served

NAMED: Any = {"type": "function", "function": {"name": "price"}}
TWO = [{"name": "price", "args": {"item": item}, "id": item} for item in ("tea", "milk")]


class Strange(ScriptedModel):
    """A model of another provider, whose client raises on what it does not know."""

    given: Any = None

    def bind_tools(self, tools: Any, *, tool_choice: str | None = None, **kwargs: Any) -> Any:
        if kwargs or tool_choice not in (None, "any", "price"):
            raise TypeError(f"no such options: {tool_choice!r} {kwargs}")
        self.given.append(tool_choice)
        return super().bind_tools(tools)


class Knows(Strange):
    """One whose provider has the option."""

    def bind_tools(
        self,
        tools: Any,
        *,
        tool_choice: str | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        self.given.append(parallel_tool_calls)
        return super().bind_tools(tools, tool_choice=tool_choice)


def model(kind: type[Strange] = Strange) -> Any:
    return kind(answer=lambda _: AIMessage("", tool_calls=TWO), given=[])


CHOICES: list[tuple[Any, str | None]] = [
    (None, None),
    ("auto", None),
    ("required", "any"),
    ("any", "any"),
    (True, "any"),
    (NAMED, "price"),
    ("price", "price"),
    ({"type": "any"}, "any"),
    ({"type": "tool", "name": "price"}, "price"),
]


@pytest.mark.parametrize(("choice", "given"), CHOICES)
def test_a_choice_is_given_as_every_provider_takes_it(choice: Any, given: str | None) -> None:
    root = model()
    options = {} if choice is None else {"tool_choice": choice}
    bound = ChatRLM(model=root).bind_tools([TOOL], strict=True, **options)
    assert len(bound.invoke("?").tool_calls) == 2
    assert root.given == [given]


@pytest.mark.parametrize("kind", [Strange, Knows])
@pytest.mark.parametrize("form", [None, {"type": "json_object"}])
def test_a_client_that_takes_one_call_at_a_time_gets_one(kind: Any, form: Any) -> None:
    """Whether or not the provider can be told."""
    root = model(kind)
    bound = ChatRLM(model=root).bind_tools([TOOL], parallel_tool_calls=False)
    options = {"response_format": form} if form else {}
    assert [call["args"] for call in bound.invoke("?", **options).tool_calls] == [{"item": "tea"}]
    if not form:
        first, *rest = bound.stream("?")
        assert len(sum(rest, start=first).tool_calls) == 1
    assert root.given[0] is (False if kind is Knows else None)


@pytest.mark.parametrize("kind", ["chat", "rlm"])
@pytest.mark.parametrize("choice", [None, "auto", "required", "none", NAMED])
def test_over_http_too(kind: str, choice: Any) -> None:
    root = model()
    served: Any = root if kind == "chat" else ChatRLM(model=root)
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "tools": [TOOL],
        "tool_choice": choice,
        "parallel_tool_calls": False,
    }
    with Served(create_app(chat=lambda *_: served)) as server:
        response = httpx.post(f"{server.url}/chat/completions", json=body, timeout=30)
    if choice == "none":
        assert not root.given
    else:
        assert response.status_code == 200, response.text
        assert root.given == [
            {"required": "any"}.get(str(choice), "price" if choice == NAMED else None)
        ]


def test_a_call_of_no_tool_beside_a_form_is_asked_again() -> None:
    root = ScriptedModel(replies=[AIMessage("", tool_calls=TWO), '{"x": 1}'])
    reply = ChatRLM(model=root).invoke("?", response_format={"type": "json_object"})
    assert (reply.text, reply.tool_calls, root.calls) == ('{"x": 1}', [], 2)
