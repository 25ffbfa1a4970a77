"""What servers of OpenAI's API really send: tool calls with broken ids and indices, arguments as objects."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import ChatRLM, create_rlm
from langgraph_rlm.models.tool_calls import CallStream, ids_in, with_ordinary_calls
from langgraph_rlm.testing import cell

from .models import thread
from .openai_server import OpenAIServer, environment_upstream

PRICE: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "price",
        "description": "",
        "parameters": {"type": "object", "properties": {"item": {"type": "string"}}},
    },
}
NOW: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "now",
        "description": "",
        "parameters": {"type": "object", "properties": {}},
    },
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, lambda body: "42")


def piece(
    index: Any = 0, id: Any = None, name: Any = None, args: Any = None, **more: Any
) -> dict[str, Any]:
    """One piece of a call, as a server streams it."""
    function = {
        key: value for key, value in (("name", name), ("arguments", args)) if value is not None
    }
    given = {"index": index, "id": id, "type": "function", "function": function} | more
    return {key: value for key, value in given.items() if value is not None}


A, B = '{"item": "apple"}', '{"item": "pear"}'
TWO = [("price", {"item": "apple"}), ("price", {"item": "pear"})]

STREAMS: dict[str, tuple[list[list[dict[str, Any]]], list[tuple[str, dict[str, Any]]]]] = {
    "as OpenAI": (
        [
            [piece(0, "a", "price", "")],
            [piece(0, args='{"item": ')],
            [piece(0, args='"apple"}')],
            [piece(1, "b", "price", "")],
            [piece(1, args=B)],
        ],
        TWO,
    ),
    "all share index 0": ([[piece(0, "a", "price", A)], [piece(0, "b", "price", B)]], TWO),
    "all share index 0, in one chunk": (
        [[piece(0, "a", "price", A), piece(0, "b", "price", B)]],
        TWO,
    ),
    "index 0 and empty ids": ([[piece(0, "", "price", A)], [piece(0, "", "price", B)]], TWO),
    "one id for both": ([[piece(0, "x", "price", A)], [piece(1, "x", "price", B)]], TWO),
    "one id and one index for both": (
        [[piece(0, "x", "price", A)], [piece(0, "x", "price", B)]],
        TWO,
    ),
    "no index": ([[piece(None, "a", "price", A)], [piece(None, "b", "price", B)]], TWO),
    "no index, no ids": (
        [[piece(None, name="price", args=A)], [piece(None, name="price", args=B)]],
        TWO,
    ),
    "arguments as an object": (
        [[piece(0, "a", "price", {"item": "apple"})], [piece(1, "b", "price", {"item": "pear"})]],
        TWO,
    ),
    "the name and the id in every piece": (
        [
            [piece(0, "a", "price", '{"item": ')],
            [piece(0, "a", "price", '"apple"}')],
            [piece(0, "a", "price", "")],
            [piece(1, "b", "price", B)],
        ],
        TWO,
    ),
    "an id of its own in every piece": (
        [
            [piece(0, "r1", "price", "")],
            [piece(0, "r2", args='{"item": ')],
            [piece(0, "r3", args='"apple"}')],
        ],
        TWO[:1],
    ),
    "the id after the name": (
        [[piece(0, name="price", args="")], [piece(0, "a", args=A)]],
        TWO[:1],
    ),
    "the name after the id": ([[piece(0, "a")], [piece(0, name="price", args=A)]], TWO[:1]),
    "no arguments": (
        [[piece(0, "a", "now", "")], [piece(1, "b", "now")]],
        [("now", {}), ("now", {})],
    ),
    "two without arguments that share index 0": (
        [[piece(0, "a", "now", "")], [piece(0, "b", "now", "")]],
        [("now", {}), ("now", {})],
    ),
    "a brace in a string": (
        [[piece(0, "a", "price", '{"item": "}')], [piece(0, "a", "price", '\\"{"}')]],
        [("price", {"item": '}"{'})],
    ),
    "an index that is no number": (
        [[piece({"n": 1}, "a", "price", A)], [piece([], "b", "price", B)]],
        TWO,
    ),
}


def made(calls: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(call["name"], call["args"]) for call in calls]


def streamed(
    server: OpenAIServer, chunks: list[list[dict[str, Any]]], finish: str = "stop"
) -> None:
    """Have the server stream these pieces, chunk by chunk."""
    server.reply = lambda body: {
        "deltas": [{"tool_calls": pieces} for pieces in chunks],
        "finish": finish,
    }


@pytest.mark.parametrize("name", STREAMS)
def test_streamed_calls_come_whole_each_with_an_id_of_its_own(
    server: OpenAIServer, name: str
) -> None:
    """Also with finish_reason `stop`, as many servers say it."""
    chunks, expected = STREAMS[name]
    streamed(server, chunks)
    model = ChatRLM(model="openai:m").bind_tools([PRICE, NOW])
    parts = list(model.stream("What do they cost?"))
    for reply in (model.invoke("What do they cost?"), sum(parts[1:], start=parts[0])):
        assert (made(reply.tool_calls), reply.invalid_tool_calls) == (expected, [])
        ids = [call["id"] for call in reply.tool_calls]
        assert all(ids) and len(set(ids)) == len(ids)
        assert reply.response_metadata["finish_reason"] == "tool_calls"
    pieces = [piece for part in parts for piece in part.tool_call_chunks]
    firsts = {piece["index"]: piece["id"] for piece in reversed(pieces)}
    assert all(firsts.values()) and sorted(firsts) == list(range(len(expected)))


@pytest.mark.parametrize(
    "calls",
    [
        [piece(None, "a", "price", A), piece(None, "b", "price", B)],
        [piece(None, "", "price", A), piece(None, "", "price", B)],
        [piece(None, "x", "price", A), piece(None, "x", "price", B)],
        [
            piece(None, None, "price", {"item": "apple"}),
            piece(None, "b", "price", {"item": "pear"}),
        ],
        [piece(None, 7, "price", A), piece(None, "b\n", "price", B)],
    ],
)
@pytest.mark.parametrize("is_whole_in_a_stream", [False, True])
def test_whole_calls_have_ids_and_arguments(
    server: OpenAIServer, calls: Any, is_whole_in_a_stream: bool
) -> None:
    """A server that answers a stream with a whole completion is understood as well."""
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }
    server.reply = lambda _: {"raw": (200, "application/json", json.dumps(body))}
    model = ChatRLM(model="openai:m").bind_tools([PRICE])
    reply = model.invoke("?")
    if not is_whole_in_a_stream:
        # the root of a graph is asked without a stream
        rlm = create_rlm("openai:m", external_tools=[PRICE], checkpointer=InMemorySaver())
        pauses = rlm.invoke({"query": "q"}, thread())["__interrupt__"]
        assert [pause.value["args"] for pause in pauses] == [{"item": "apple"}, {"item": "pear"}]
    assert made(reply.tool_calls) == TWO
    assert len({call["id"] for call in reply.tool_calls if call["id"]}) == 2
    assert reply.usage_metadata is not None and reply.usage_metadata["input_tokens"] == 7


def test_calls_without_arguments_are_calls(server: OpenAIServer) -> None:
    for arguments in ("", None, "{}", {}):
        calls = [{"id": "a", "function": {"name": "now", "arguments": arguments}}]
        server.reply = lambda _, calls=calls: {"message": {"tool_calls": calls}}
        rlm = create_rlm("openai:m", external_tools=[NOW], checkpointer=InMemorySaver())
        (pause,) = rlm.invoke({"query": "q"}, thread())["__interrupt__"]
        assert pause.value["args"] == {}


def test_ids_that_a_server_gives_again_are_unique_within_a_conversation(
    server: OpenAIServer,
) -> None:
    """As servers do that count from 0 in each reply. Those of the client's conversation count as well."""
    streamed(server, [[piece(0, "call_0", "price", A)]])
    model = ChatRLM(model="openai:m").bind_tools([PRICE])
    said: list[Any] = [HumanMessage("?")]
    for _ in range(3):
        reply = model.invoke(said)
        (call,) = reply.tool_calls
        said += [reply, ToolMessage("3", tool_call_id=call["id"])]
    assert len(ids_in(said)) == 3 and "call_0" in ids_in(said)


def test_native_calls_of_a_run_are_unique_within_it(server: OpenAIServer) -> None:
    """What a root is sent has each id once, whatever its server gave."""
    calls = [{"id": "call_0", "type": "function", "function": {"name": "price", "arguments": A}}]

    def reply(body: Any) -> Any:
        turns = sum(message["role"] == "assistant" for message in body["messages"])
        return {"message": {"tool_calls": calls}} if turns < 2 else cell("FINAL('done')")

    server.reply = reply
    model = ChatRLM(model="openai:m", direct_below_tokens=0).bind_tools([PRICE])
    said: list[Any] = [HumanMessage("?")]
    while (got := model.invoke(said)).tool_calls:
        said += [got, *(ToolMessage("3", tool_call_id=call["id"]) for call in got.tool_calls)]
    assert got.text == "done"
    sent = [
        call["id"]
        for message in server.requests[-1]["messages"]
        for call in message.get("tool_calls", [])
    ]
    assert len(sent) == len(set(sent)) == 2


def test_a_call_that_was_cut_off_says_length_and_is_invalid(server: OpenAIServer) -> None:
    streamed(server, [[piece(0, "a", "price", '{"item": "app')]], finish="length")
    reply = ChatRLM(model="openai:m").bind_tools([PRICE]).invoke("?")
    assert reply.response_metadata["finish_reason"] == "length"
    assert [call["name"] for call in reply.invalid_tool_calls] == ["price"] or made(
        reply.tool_calls
    )


def test_calls_of_models_of_other_makes_are_ordinary_too() -> None:
    """LangChain's own merging would make one call of two that share an index."""
    stream = CallStream(["taken"])
    pieces = [
        *stream.feed([{"name": "f", "args": "{}", "id": "taken", "index": 0}]),
        *stream.feed([{"name": "g", "args": "{}", "id": "", "index": 0}]),
    ]
    chunk = sum(
        (AIMessageChunk("", tool_call_chunks=[piece]) for piece in pieces), start=AIMessageChunk("")
    )
    assert [call["name"] for call in chunk.tool_calls] == ["f", "g"]
    assert "taken" not in {call["id"] for call in chunk.tool_calls}
    twice = AIMessage(
        "",
        tool_calls=[{"name": "f", "args": {}, "id": "a"}, {"name": "f", "args": {}, "id": "a"}],
    )
    first, second = with_ordinary_calls(twice).tool_calls
    assert first["id"] == "a" != second["id"]
    fine = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "a"}])
    assert with_ordinary_calls(fine) is fine


arguments = st.dictionaries(st.text(max_size=5), st.text(max_size=8), max_size=3)


@given(st.lists(st.tuples(st.sampled_from("fg"), arguments), max_size=4), st.data())
def test_however_calls_are_cut_into_pieces_they_come_whole(
    calls: list[tuple[str, dict[str, str]]], data: st.DataObject
) -> None:
    """All at index 0 and without ids; only what has no arguments needs an id to be told apart."""
    stream = CallStream()
    chunk = AIMessageChunk("")
    for number, (name, args) in enumerate(calls):
        text = json.dumps(args)
        cut = data.draw(st.integers(1, len(text)))
        repeats = data.draw(st.booleans())
        pieces = [
            {"name": name, "args": text[:cut], "id": f"i{number}", "index": 0},
            {"name": name if repeats else None, "args": text[cut:], "id": f"i{number}", "index": 0},
        ]
        if not text[cut:]:
            pieces.pop()
        chunk += AIMessageChunk("", tool_call_chunks=stream.feed(pieces))
    assert made(chunk.tool_calls) == calls
    assert [call["id"] for call in chunk.tool_calls] == [f"i{n}" for n in range(len(calls))]
