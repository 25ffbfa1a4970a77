"""One iteration: what stands between a root's reply and the next root call, counted and never timed."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import openai._utils
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm.models.ask import ask
from langgraph_rlm.models.http_clients import Clients
from langgraph_rlm.repl import sandboxes
from langgraph_rlm.testing import ScriptedModel, cell

from .jails import needs_a_jail
from .models import rlm, root, thread
from .openai_server import OpenAIServer

CHECKS = str(Path(openai._utils.__file__).parent)
"""Where OpenAI's client holds what it is given against its types."""

PRICE: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "price",
        "description": "Ask for a price.",
        "parameters": {"type": "object", "properties": {"item": {"type": "string"}}},
    },
}


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(lambda body: "42") as server:
        yield server


def chat_model(server: OpenAIServer, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(model="m", base_url=server.url, api_key="none", **options)  # type: ignore[arg-type]


def talk(turns: int) -> list[AnyMessage]:
    """A conversation with calls of a tool, and pictures."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages: list[AnyMessage] = [SystemMessage("Be brief. é \N{SNOWMAN}")]
    for number in range(turns):
        call = {"name": "price", "args": {"item": "a"}, "id": f"c{number}"}
        messages += [
            HumanMessage([{"type": "text", "text": f"question {number}"}, picture]),
            AIMessage("", tool_calls=[call]),
            ToolMessage("1", tool_call_id=f"c{number}"),
            AIMessage("one"),
        ]
    return [*messages, HumanMessage("and now?")]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("extra", [None, {"top_k": 3}])
async def test_a_server_gets_what_langchain_would_send(
    server: OpenAIServer, streams: bool, extra: dict[str, Any] | None
) -> None:
    """The client is not told of messages and tools, yet not a field of the request is another."""
    model = chat_model(server, extra_body=extra, temperature=0.5, streaming=streams)
    tools = [PRICE]
    await model.bind_tools(tools).ainvoke(talk(2))
    await ask(Clients().here(model), talk(2), {}, tools=tools)
    langchains, ours = server.requests
    if streams:  # LangChain leaves the usage out of a stream where there is a base URL
        assert ours.pop("stream_options") == {"include_usage": True}
    assert ours == langchains


async def test_a_long_conversation_is_not_held_against_types(server: OpenAIServer) -> None:
    """What OpenAI's client does before it sends is the same for any number of messages."""
    model = Clients().here(chat_model(server))
    await ask(model, talk(1), {}, tools=[PRICE])  # what is made once is there
    counts: Counter[int] = Counter()

    for turns in (1, 50):

        def count(frame: FrameType, event: str, _: Any, turns: int = turns) -> None:
            if event == "call" and frame.f_code.co_filename.startswith(CHECKS):
                counts[turns] += 1

        sys.setprofile(count)
        try:
            await ask(model, talk(turns), {}, tools=[PRICE])
        finally:
            sys.setprofile(None)
    assert counts[1] == counts[50] > 0


async def test_a_checkpoint_is_saved_while_the_next_reply_is_awaited() -> None:
    """With `durability="async"` a saver that is busy until the model was asked again holds up nothing."""
    asked: list[asyncio.Event] = [asyncio.Event() for _ in range(4)]
    waited_for: list[int] = []

    class Slow(InMemorySaver):
        async def aput(self, *given: Any, **named: Any) -> Any:
            waited_for.append(model.calls)
            await asyncio.wait_for(asked[model.calls].wait(), 20)
            return await super().aput(*given, **named)

    class Tells(ScriptedModel):
        async def _agenerate(self, *args: Any, **options: Any) -> Any:
            asked[self.calls].set()
            if self.calls == 2:
                asked[3].set()
            return await super()._agenerate(*args, **options)

    model = Tells(replies=[cell("x = 1"), cell("x += 1"), cell("FINAL(x)")])
    graph = rlm(model, checkpointer=Slow())
    out = await graph.ainvoke({"query": "go"}, thread(), durability="async")
    assert (out["answer"], model.calls) == ("2", 3)
    assert {0, 1, 2} <= set(waited_for)
    kept = await graph.aget_state(thread())
    assert kept.values["answer"] == "2"


@needs_a_jail
def test_the_kernel_is_asked_for_its_jail_once_a_thread_and_not_once_a_cell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = rlm(
        root("x = 1", "x += 1", "x += 1", "FINAL(x)"),
        checkpointer=InMemorySaver(),
    )
    asked: list[int] = []
    monkeypatch.setattr(sandboxes, "obstacle", lambda: asked.append(1) or "")
    monkeypatch.setattr(sandboxes, "chosen", lambda: "python")
    assert graph.invoke({"query": "go"}, thread())["answer"] == "3"
    assert len(asked) <= 1
