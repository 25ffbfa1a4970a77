"""litellm and LlamaIndex, where they are installed; the AI SDK, which npm installs."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.node import played
from tests.servers import TOOL

from .scripted import PRICES, scripted_server


class Person(BaseModel):
    name: str
    born: int


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with scripted_server(tmp_path) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would be fetched
        yield url


@pytest.mark.slow
@pytest.mark.usefixtures("url")
def test_litellm() -> None:
    litellm: Any = pytest.importorskip("litellm", reason="litellm is not installed")

    def text_of(response: Any) -> str:
        return response.output[-1].content[0].text

    first = litellm.responses(model="openai/rlm", input="What?")
    then = litellm.responses(model="openai/rlm", input="more", previous_response_id=first.id)
    assert (text_of(first), text_of(then)) == ("the answer is 42", "42")
    events = list(litellm.responses(model="openai/rlm", input="What?", stream=True))
    assert text_of(events[-1].response) == "the answer is 42"
    messages: list[Any] = [{"role": "user", "content": "shop for me"}]
    asked: Any = {"model": "openai/responses/rlm", "tools": [TOOL]}
    while calls := (
        said := litellm.completion(messages=messages, **asked).choices[0].message
    ).tool_calls:
        messages.append(said.model_dump())
        for call in calls:
            price = PRICES[json.loads(call.function.arguments)["item"]]
            messages.append({"role": "tool", "tool_call_id": call.id, "content": price})
    assert said.content == "12 in all"
    bare = litellm.text_completion(model="text-completion-openai/rlm", prompt="What?")
    assert bare.choices[0].text == "the answer is 42"


@pytest.mark.slow
def test_llama_index(url: str) -> None:
    llms: Any = pytest.importorskip("llama_index.llms.openai", reason="LlamaIndex is not installed")
    from llama_index.core.agent.workflow import (  # pyright: ignore[reportMissingImports]
        FunctionAgent,
    )
    from llama_index.core.tools import FunctionTool  # pyright: ignore[reportMissingImports]

    def price(item: str) -> str:
        """The price of an item."""
        return PRICES[item]

    model = llms.OpenAIResponses(model="rlm", api_base=url, context_window=128_000)
    assert model.complete("What?").text == "the answer is 42"
    streamed = "".join(chunk.delta or "" for chunk in model.stream_complete("What?"))
    assert streamed == "the answer is 42"
    found = model.as_structured_llm(Person).complete("who was it?").raw
    assert found == Person(name="Ada", born=1815)

    async def run() -> str:
        agent = FunctionAgent(tools=[FunctionTool.from_defaults(price)], llm=model)
        return str(await agent.run("shop for me"))

    import asyncio

    assert asyncio.run(run()) == "12 in all"


@pytest.mark.slow
def test_the_ai_sdk(url: str, tmp_path: Path) -> None:
    """`openai()` of `@ai-sdk/openai`: plain, streamed, tools over several steps, a form, the next question."""
    shutil.copy(Path(__file__).with_name("ai_sdk.mjs"), tmp_path)
    packages = ("ai", "@ai-sdk/openai", "zod")
    out = played(tmp_path, "ai_sdk.mjs", *packages, PRICES=json.dumps(PRICES))
    answer = "the answer is 42"
    assert out == {
        "plain": answer,
        "counted": True,
        "shopped": "12 in all",
        "steps": 4,
        "streamed": "12 in all",
        "unstored": "12 in all",
        "formed": {"name": "Ada", "born": 1815},
        "then": "42",
        "bare": answer,
        "refused": 400,
    }
