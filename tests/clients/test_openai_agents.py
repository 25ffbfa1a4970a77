"""openai-agents, whose default is the Responses API."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from .scripted import PRICES, scripted_server

agents: Any = pytest.importorskip("agents", reason="openai-agents is not installed")


class Person(BaseModel):
    name: str
    born: int


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    agents.set_tracing_disabled(True)  # it goes to OpenAI itself
    with scripted_server(tmp_path) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        yield url


@pytest.mark.usefixtures("url")
def test_an_agent_with_a_tool_a_stream_a_form_and_a_next_question() -> None:
    @agents.function_tool
    def price(item: str) -> str:
        """The price of an item."""
        return PRICES[item]

    async def run() -> list[Any]:
        shop = agents.Agent(name="shop", instructions="You shop.", model="rlm", tools=[price])
        plain = agents.Agent(name="plain", model="rlm")
        whole = await agents.Runner.run(shop, "shop for me")
        streamed = agents.Runner.run_streamed(shop, "shop for me")
        deltas = [
            event.data.delta
            async for event in streamed.stream_events()
            if event.type == "raw_response_event"
            and event.data.type == "response.output_text.delta"
        ]
        formed = await agents.Runner.run(
            agents.Agent(name="who", model="rlm", output_type=Person), "who was it?"
        )
        first = await agents.Runner.run(plain, "What?")
        then = await agents.Runner.run(plain, "more", previous_response_id=first.last_response_id)
        return [
            whole.final_output,
            "".join(deltas),
            streamed.final_output,
            formed.final_output,
            first.final_output,
            then.final_output,
        ]

    assert asyncio.run(run()) == [
        *["12 in all"] * 3,
        Person(name="Ada", born=1815),
        "the answer is 42",
        "42",
    ]
