"""The clients that people have, unchanged but for their base URL: OpenAI's in Python and Node, LangChain's."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from langgraph_rlm.testing import ScriptedModel, cell

from .node import played
from .servers import TOOL, Served, rlm_app

PRICES = {"apple": "3", "pear": "4", "fig": "5"}
SHOPPING = cell(
    "total = 0\nfor item in ['apple', 'pear', 'fig']:\n    total += int(price(item=item))\nFINAL(f'{total} in all')"
)
FOUND = cell('FINAL(\'{"name": "Ada", "born": 1815}\')')


class Person(BaseModel):
    name: str
    born: int


def script(messages: str) -> str:
    return (
        SHOPPING
        if "shop" in messages
        else FOUND
        if "who" in messages
        else cell("FINAL('the answer is 42')")
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = tmp_path_factory.mktemp("blobs")
    with Served(rlm_app(lambda: ScriptedModel(answer=script), blob_store=store)) as server:
        yield server.url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
        yield client


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_a_plain_answer(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="rlm", messages=user("What is it?"))
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason, reply.model) == (
        "the answer is 42",
        "stop",
        "rlm",
    )
    assert reply.usage is not None
    assert (
        reply.usage.prompt_tokens > 10
        and reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    )


def test_a_streamed_answer_with_its_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="rlm", messages=user("What?"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "the answer is 42"
    )
    assert (
        chunks[0].choices[0].delta.role == "assistant"
        and chunks[-2].choices[0].finish_reason == "stop"
    )
    assert (
        chunks[-1].choices == []
        and chunks[-1].usage is not None
        and chunks[-1].usage.completion_tokens > 0
    )
    assert len({chunk.id for chunk in chunks}) == 1


async def _ask_all(url: str) -> list[str | None]:
    async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
        plain = await client.chat.completions.create(model="rlm", messages=user("What?"))
        stream = await client.chat.completions.create(
            model="rlm", messages=user("What?"), stream=True
        )
        streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        return [plain.choices[0].message.content, streamed]


def test_the_async_client(url: str) -> None:
    assert asyncio.run(_ask_all(url)) == ["the answer is 42"] * 2


def _streamed_message(stream: Any) -> Any:
    """A message out of its chunks, as OpenAI's own helpers put it together."""
    return stream.get_final_completion().choices[0].message


@pytest.mark.parametrize("streams", [False, True])
def test_tools_over_several_rounds(client: openai.OpenAI, streams: bool) -> None:
    """Each round goes on where the code stood; the ids fit in 40 characters."""
    messages, asked = user("shop for me"), []
    for _ in range(10):
        if streams:
            with client.chat.completions.stream(
                model="rlm", messages=messages, tools=[TOOL]
            ) as stream:
                message = _streamed_message(stream)
        else:
            message = (
                client.chat.completions.create(model="rlm", messages=messages, tools=[TOOL])
                .choices[0]
                .message
            )
        if not message.tool_calls:
            break
        messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
        for call in message.tool_calls:
            assert len(call.id) <= 40
            asked.append(item := json.loads(call.function.arguments)["item"])
            messages.append({"role": "tool", "tool_call_id": call.id, "content": PRICES[item]})
    assert (message.content, asked) == ("12 in all", ["apple", "pear", "fig"])


def test_an_answer_parsed_into_a_class(client: openai.OpenAI) -> None:
    reply = client.chat.completions.parse(
        model="rlm", messages=user("who was it?"), response_format=Person
    )
    assert reply.choices[0].message.parsed == Person(name="Ada", born=1815)


def test_what_is_sent_has_the_types_of_openai(url: str) -> None:
    """Checked strictly: the client itself believes whatever comes."""
    body = {"model": "rlm", "messages": user("What?"), "include_reasoning": True}
    whole = httpx.post(f"{url}/chat/completions", json=body).text
    ChatCompletion.model_validate_json(whole, strict=True)
    lines = httpx.post(
        f"{url}/chat/completions",
        json={**body, "stream": True, "stream_options": {"include_usage": True}},
    ).text.split("\n\n")
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert events[-1] == "[DONE]" and len(events) > 4
    for event in events[:-1]:
        ChatCompletionChunk.model_validate_json(event, strict=True)


def test_reasoning_comes_only_where_it_is_asked_for(client: openai.OpenAI) -> None:
    def deltas(**more: Any) -> list[dict[str, Any]]:
        stream = client.chat.completions.create(
            model="rlm", messages=user("What?"), stream=True, extra_body=more
        )
        return [chunk.choices[0].delta.model_dump(exclude_none=True) for chunk in stream]

    thought = "".join(
        delta.get("reasoning_content", "") for delta in deltas(include_reasoning=True)
    )
    assert "FINAL('the answer is 42')" in thought
    assert not any("reasoning_content" in delta for delta in deltas())


def test_langchain_over_the_server(url: str) -> None:
    """`ChatOpenAI`: plain, streamed, with tools, with structured output."""
    model = ChatOpenAI(model="rlm", base_url=url, api_key="any", max_retries=0)  # type: ignore[arg-type]
    reply = model.invoke("What?")
    assert (
        reply.text == "the answer is 42"
        and reply.usage_metadata is not None
        and reply.usage_metadata["input_tokens"] > 10
    )
    assert "".join(chunk.text for chunk in model.stream("What?")) == "the answer is 42"
    assert model.with_structured_output(Person).invoke("who was it?") == Person(
        name="Ada", born=1815
    )
    assert _shop(model) == "12 in all"


@tool
def price(item: str) -> str:
    """The price of an item."""
    return PRICES[item]


def _shop(model: ChatOpenAI) -> str:
    messages: list[Any] = [HumanMessage("shop for me")]
    while True:
        reply: AIMessage = model.bind_tools([price]).invoke(messages)
        if not reply.tool_calls:
            return str(reply.text)
        messages += [
            reply,
            *(
                ToolMessage(price.invoke(call["args"]), tool_call_id=call["id"])
                for call in reply.tool_calls
            ),
        ]


NODE = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.env.URL, apiKey: "any", maxRetries: 0 });
const ask = { model: "rlm", messages: [{ role: "user", content: "What?" }] };
const plain = await client.chat.completions.create(ask);
let streamed = "", usage = null;
for await (const chunk of await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
const prices = JSON.parse(process.env.PRICES);
const runner = client.chat.completions.runTools({ model: "rlm", messages: [{ role: "user", content: "shop for me" }], tools: [
  { type: "function", function: { name: "price", parse: JSON.parse, function: ({ item }) => prices[item], description: "The price of an item.",
    parameters: { type: "object", properties: { item: { type: "string" } }, required: ["item"] } } }] });
const shopped = await runner.finalContent();
let refused = 0;
try { await client.chat.completions.create({ ...ask, n: 2 }); } catch (error) { refused = error.status; }
console.log(JSON.stringify({ plain: plain.choices[0].message.content, streamed, counted: usage.total_tokens > 0, shopped, refused }));
"""


@pytest.mark.slow
def test_the_node_client(url: str, tmp_path: Path) -> None:
    """The `openai` package of npm: plain, streamed, its tool runner, an error."""
    (tmp_path / "ask.mjs").write_text(NODE)
    out = played(tmp_path, "ask.mjs", "openai@6", URL=url, PRICES=json.dumps(PRICES))
    answer = "the answer is 42"
    assert out == {
        "plain": answer,
        "streamed": answer,
        "counted": True,
        "shopped": "12 in all",
        "refused": 400,
    }
