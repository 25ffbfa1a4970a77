"""Prompt caches of providers: what was sent once is read from them, and paid as such."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langgraph_rlm import ConfigurationError, Limits, create_rlm
from langgraph_rlm.budget.ledger import Ledger
from langgraph_rlm.budget.prices import Price, Prices
from langgraph_rlm.testing import ScriptedModel, cell

from .anthropic_server import AnthropicServer
from .models import rlm, thread
from .openai_server import Body, OpenAIServer, Reply, turn_of

CLAUDE = "claude-sonnet-4-6"
QUESTION: Any = {"query": "What is in it?", "context": "a line of a context\n" * 1_000}


def config(name: str) -> Any:
    return thread(name)


def pages(body: Body) -> str:
    """Prints another part of the context in each of nine turns, then answers."""
    turn = turn_of(body)
    if turn >= 9:
        return cell("FINAL('done')")
    return cell(f"print(context[{turn * 1000}:{turn * 1000 + 1000}])")


@pytest.fixture
def claude() -> Iterator[AnthropicServer]:
    with AnthropicServer(pages) as server:
        yield server


def model(server: AnthropicServer, **options: Any) -> ChatAnthropic:
    url = server.url.removesuffix("/v1")
    given: Any = {"base_url": url, "api_key": "none", **options}
    return ChatAnthropic(model_name=CLAUDE, **given)


def says(text: str) -> Callable[[Body], str]:
    return lambda _: text


def two_turns(body: Body) -> str:
    return cell("print(1)") if turn_of(body) == 0 else cell("FINAL('ok')")


def marks(body: Body) -> list[Any]:
    """The breakpoints of a request, in the order of its prefix."""
    parts = [*body.get("tools", []), *body["system"]]
    for message in body["messages"]:
        parts += message["content"] if isinstance(message["content"], list) else []
    return [part["cache_control"] for part in parts if "cache_control" in part]


def test_claude_reads_what_was_sent_before_from_its_cache(claude: AnthropicServer) -> None:
    """All but what each turn adds: the system's prompt and the turns before it."""
    out = create_rlm(model(claude)).invoke(QUESTION)
    first, *later = claude.reads
    assert (len(later), first.read) == (9, 0)
    for before, now in zip(claude.reads, later, strict=False):
        assert now.read == before.read + before.written
        assert now.read + now.written == pytest.approx(now.all, abs=2)
    usage = out["usage"]
    details = usage["input_token_details"]
    assert details["cache_read"] == sum(read.read for read in claude.reads)
    assert details["ephemeral_5m_input_tokens"] == sum(read.written for read in claude.reads)
    price = Prices().of(CLAUDE)
    assert price is not None and price.cache_write == 3.75 and price.cache_write_1h == 6
    rest = sum(read.all - read.read - read.written for read in claude.reads)
    spent = rest * 3 + details["cache_read"] * 0.3 + details["ephemeral_5m_input_tokens"] * 3.75
    assert usage["cost"] == pytest.approx((spent + usage["output_tokens"] * 15) / 1e6)


@pytest.mark.parametrize(("life", "mark"), [("5m", {}), ("1h", {"ttl": "1h"})])
def test_it_is_kept_as_long_as_is_asked_for(claude: AnthropicServer, life: Any, mark: Any) -> None:
    out = create_rlm(model(claude), prompt_caching=life).invoke(QUESTION)
    assert marks(claude.requests[-1]) == [{"type": "ephemeral", **mark}] * 3
    details = out["usage"]["input_token_details"]
    assert (details.get("ephemeral_1h_input_tokens", 0) > 0) == (life == "1h")


def test_tools_have_a_breakpoint_of_their_own(claude: AnthropicServer) -> None:
    """Four in all, which is what a request may have; results of tools are marked as blocks."""

    def price(item: str) -> float:
        """Give a price."""
        raise AssertionError(item)

    def calls(body: Body) -> str | Reply:
        if turn_of(body) < 2:
            call = {"id": f"call_{turn_of(body)}", "name": "lookup", "args": {"item": "pear"}}
            return Reply(content="", message={"tool_calls": [call]})
        return cell("FINAL('done')")

    claude.reply = calls
    items = {"type": "object", "properties": {"item": {"type": "string"}}}
    schema = {"name": "lookup", "description": "Look up.", "parameters": items}
    graph = create_rlm(
        model(claude), tools=[price], external_tools=[schema], checkpointer=InMemorySaver()
    )
    graph.invoke(QUESTION, config("t"))
    graph.invoke(Command(resume="1"), config("t"))
    graph.invoke(Command(resume="2"), config("t"))
    assert [len(marks(body)) for body in claude.requests] == [3, 4, 4]
    assert claude.reads[2].read >= claude.reads[1].read + claude.reads[1].written > 0


@pytest.mark.parametrize("own", ["off", "bound", "model"])
def test_breakpoints_of_ones_own_stay_alone(claude: AnthropicServer, own: str) -> None:
    mark = {"type": "ephemeral"}
    asked: Any = model(
        claude, **({"model_kwargs": {"cache_control": mark}} if own == "model" else {})
    )
    if own == "bound":
        asked = asked.bind(cache_control=mark)
    options: Any = {"prompt_caching": None} if own == "off" else {}
    create_rlm(asked, **options).invoke(QUESTION)
    body = claude.requests[-1]
    assert isinstance(body["system"], str)
    assert body.get("cache_control") == (None if own == "off" else mark)


def test_sub_calls_are_not_written_to_the_cache(claude: AnthropicServer) -> None:
    """Each is asked once, and writing costs more than input."""
    code = cell("FINAL(llm_query('x' * 10_000))")
    leaf = model(claude)
    claude.reply = says("leaf")
    create_rlm(ScriptedModel(replies=[code]), sub_model=leaf).invoke(QUESTION)
    (body,) = claude.requests
    assert "cache_control" not in json.dumps(body)


def test_children_have_conversations_too(claude: AnthropicServer) -> None:
    """And share what the system's message says to all of them."""
    code = cell("FINAL(rlm_query_batched(['one', 'two']))")
    claude.reply = two_turns
    limits = Limits(max_depth=2, max_concurrency=1)
    graph = create_rlm(ScriptedModel(replies=[code]), sub_model=model(claude), limits=limits)
    graph.invoke(QUESTION)
    assert [read.read > 0 for read in claude.reads] == [False, True, True, True]


def test_the_beginning_of_a_conversation_never_changes() -> None:
    """OpenAI and Gemini read it from their caches by themselves, if each byte is the same: over cells that fail, calls of tools, refused answers, follow-ups and the call at a limit."""

    def price(item: str) -> float:
        """Give a price."""
        return len(item)

    answered = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    replies = [
        cell("x = price('pear')\nprint(x)"),
        cell("1 / 0"),
        "prose without code",
        cell("FINAL('not a form')"),
        cell("FINAL({'n': 1})"),
        cell("print(context)"),
        cell("print(history)"),
        cell("FINAL({'n': 2})"),
        *[cell("print(1)")] * 6,
        '{"n": 3}',
    ]
    scripted = ScriptedModel(replies=replies)
    graph = rlm(
        scripted,
        tools=[price],
        limits={"max_iterations": 6},
        response_format=answered,
        checkpointer=InMemorySaver(),
    )
    for given in ({"query": "a", "context": "x" * 5_000}, {"query": "b"}, {"query": "c"}):
        graph.invoke(given, config("t"))
    sent = ["".join(f"{each.type}{each.text}" for each in prompt) for prompt in scripted.prompts]
    assert len(sent) == len(replies)
    assert all(now.startswith(before) for before, now in zip(sent, sent[1:], strict=False))


class ToServer(httpx2.AsyncHTTPTransport):
    """Leads what is sent to OpenAI to a server of the test."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = httpx2.URL(url)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(scheme="http", host=self._url.host, port=self._url.port)
        return await super().handle_async_request(request)


@pytest.mark.parametrize("is_openai", [True, False])
def test_openai_is_told_which_conversation_it_is(is_openai: bool) -> None:
    """Others with its API may refuse options that they do not know."""
    with OpenAIServer(pages) as server:
        client: Any = httpx2.AsyncClient(transport=ToServer(server.url))
        url = "https://api.openai.com/v1" if is_openai else server.url
        given: Any = {"base_url": url, "api_key": "none", "http_async_client": client}
        graph = create_rlm(ChatOpenAI(model="gpt-5", **given), checkpointer=InMemorySaver())
        graph.invoke(QUESTION, config("one"))
        graph.invoke(QUESTION, config("two"))
    keys = [body.get("prompt_cache_key") for body in server.requests]
    if not is_openai:
        assert set(keys) == {None}
        return
    one, two = keys[0], keys[-1]
    assert keys == [one] * 10 + [two] * 10 and one != two and None not in keys


@pytest.mark.parametrize(
    ("details", "cost"),
    [
        ({"cache_read": 400}, 600 * 2 + 400 * 1),
        ({"cache_read": 400, "cache_creation": 100}, 500 * 2 + 400 * 1 + 100 * 3),
        ({"cache_creation": 0, "ephemeral_5m_input_tokens": 100}, 900 * 2 + 100 * 3),
        ({"ephemeral_1h_input_tokens": 100}, 900 * 2 + 100 * 4),
        ({"priority_cache_read": 400, "priority": 600}, 600 * 2 + 400 * 1),
        ({"cache_read": 10**12}, 1_000 * 1),
        ({"cache_read": "many", "cache_creation": -5}, 1_000 * 2),
        ({"cache_read": 900, "cache_creation": 900}, 900 * 1 + 100 * 3),
    ],
)
def test_cached_input_costs_what_its_price_says(details: Any, cost: float) -> None:
    """A server that says more than there is cannot make a call cheaper than its cheapest price."""
    prices = Prices(
        {"m": Price(input=2, output=0, cached_input=1, cache_write=3, cache_write_1h=4)}
    )
    usage: Any = {"input_tokens": 1_000, "output_tokens": 1, "total_tokens": 1_001}
    reply = AIMessage("x", usage_metadata=usage).model_copy()
    reply.usage_metadata["input_token_details"] = details  # type: ignore[index]
    spent = Ledger(Limits(), prices).settle("m", 0, reply, 0)
    assert spent["cost"] == pytest.approx(cost / 1e6)


def test_another_life_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="prompt_caching='2h' must be '5m', '1h' or None"):
        create_rlm(ScriptedModel(replies=[]), prompt_caching="2h")  # type: ignore[arg-type]
