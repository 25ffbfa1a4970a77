"""OpenAI's Responses API: items in and out, streams, the next question of a response, and what is kept of it."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from openai.types.responses import Response, ResponseItemList, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from langgraph_rlm import ChatRLM, athreads, prune
from langgraph_rlm.server import Settings, create_app
from langgraph_rlm.testing import ScriptedModel, cell

from .openai_server import OpenAIServer, environment_upstream
from .servers import TOOL, Served, rlm_app

PRICES = {"apple": "3", "pear": "4", "fig": "5"}
FUNCTION: Any = {"type": "function", **TOOL["function"]}
SHOPPING = "total = 0\nfor item in ['apple', 'pear', 'fig']:\n    total += int(price(item=item))\nFINAL(f'{total} in all')"
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
HTTP = httpx.Client(timeout=30)
"""One client for all tests: each new one reads the machine's certificates, which takes a while."""
LOOP: Any = {"m": {"model": "root", "direct_below_tokens": 0}}


def script(text: str) -> str:
    """What the root model writes, by the last thing that it is told."""
    if "shop" in text:
        return cell(SHOPPING)
    if "more" in text:
        return cell("x += 1\nFINAL(str(x))")
    if "who" in text:
        return cell('FINAL(\'{"name": "Ada", "born": 1815}\')')
    return cell("x = 41\nFINAL(f'{x} it is')")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = tmp_path_factory.mktemp("blobs")
    settings = Settings(blob_store=str(store))
    app = rlm_app(lambda: ScriptedModel(answer=script), settings=settings, blob_store=store)
    with Served(app) as server:
        yield server.url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with client_of(url) as client:
        yield client


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, lambda body: "42")


def client_of(url: str, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0)


def post(url: str, key: str = "any", **body: Any) -> httpx.Response:
    body = {"model": "m", "input": "hello", **body}
    return HTTP.post(f"{url}/responses", json=body, headers={"authorization": f"Bearer {key}"})


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def results(response: Any) -> list[Any]:
    """What the client's functions give for the calls of a response."""
    return [
        {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": PRICES[json.loads(call.arguments)["item"]],
        }
        for call in response.output
        if call.type == "function_call"
    ]


def until_over(client: openai.OpenAI, id: str) -> Response:
    for _ in range(500):
        response = client.responses.retrieve(id)
        if response.status not in ("queued", "in_progress"):
            return response
        time.sleep(0.02)
    raise AssertionError(f"{id} is {response.status}")


class Holds(ScriptedModel):
    """A model that says when it is asked, and waits until it may answer."""

    entered: Any = None
    leave: Any = None

    async def _agenerate(self, *given: Any, **more: Any) -> Any:
        self.entered.set()
        await asyncio.to_thread(self.leave.wait, 20)
        return await super()._agenerate(*given, **more)


def holds() -> Holds:
    return Holds(answer=script, entered=threading.Event(), leave=threading.Event())


# One answer


def test_an_answer_and_its_usage(client: openai.OpenAI) -> None:
    reply = client.responses.create(
        model="rlm", input="What?", instructions="Be short.", metadata={"a": "b"}
    )
    assert (reply.output_text, reply.status, reply.model) == ("41 it is", "completed", "rlm")
    assert (reply.instructions, reply.metadata) == ("Be short.", {"a": "b"})
    assert reply.usage is not None and reply.usage.input_tokens > 10
    assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream, each checked strictly: the client itself believes whatever comes."""
    events: list[dict[str, Any]] = []
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith("event: "):
            data = lines[1].removeprefix("data: ")
            EVENT.validate_json(data, strict=True)
            events.append(json.loads(data))
            assert events[-1]["type"] == lines[0].removeprefix("event: ")
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


@pytest.mark.parametrize("has_tools", [False, True])
def test_what_is_sent_has_the_types_of_openai(url: str, has_tools: bool) -> None:
    body: Any = {"reasoning": {"summary": "auto"}, "input": "What?"}
    if has_tools:
        body |= {"input": "shop", "tools": [FUNCTION], "tool_choice": "auto"}
    whole = post(url, **body)
    Response.model_validate_json(whole.text, strict=True)
    events = events_of(post(url, stream=True, **body).text)
    final = events[-1]["response"]
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[:2] == ["created", "in_progress"] and kinds[-1] == "completed"
    assert [item["type"] for item in final["output"]] == [
        "reasoning",
        "function_call" if has_tools else "message",
    ]
    names = {"id": "", "call_id": ""}
    assert [{**item, **names} for item in final["output"]] == [
        {**item, **names} for item in whole.json()["output"]
    ]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == final["output"]
    grown = "function_call_arguments" if has_tools else "output_text"
    deltas = [event["delta"] for event in events if event["type"] == f"response.{grown}.delta"]
    last = final["output"][-1]
    assert "".join(deltas) == (last["arguments"] if has_tools else last["content"][0]["text"])
    stored = HTTP.get(f"{url}/responses/{final['id']}").json()
    assert stored == final


def test_progress_comes_as_summaries_where_they_are_asked_for(client: openai.OpenAI) -> None:
    shown = client.responses.create(model="rlm", input="What?", reasoning={"summary": "detailed"})
    assert shown.output[0].type == "reasoning" and "FINAL(" in shown.output[0].summary[0].text
    hidden = client.responses.create(model="rlm", input="What?", reasoning={"effort": "low"})
    assert [item.type for item in hidden.output] == ["message"]


class Person(BaseModel):
    name: str
    born: int


def test_an_answer_parsed_into_a_class(client: openai.OpenAI) -> None:
    reply = client.responses.parse(model="rlm", input="who was it?", text_format=Person)
    assert reply.output_parsed == Person(name="Ada", born=1815)


def test_an_answer_that_is_cut_is_incomplete(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="rlm", input="What?", max_output_tokens=1)
    assert (reply.status, reply.output_text) == ("incomplete", "41 i")
    assert reply.incomplete_details is not None
    assert reply.incomplete_details.reason == "max_output_tokens"


def test_an_error_within_a_stream_is_told_by_its_last_event() -> None:
    class Breaks(ScriptedModel):
        async def _astream(self, *given: Any, **more: Any) -> Any:
            async for chunk in super()._astream(*given, **more):
                yield chunk
                raise openai.OpenAIError("it broke")

    with Served(create_app(chat=lambda *_: Breaks(answer=lambda _: "one two"))) as server:
        events = events_of(post(server.url, stream=True).text)
    failed = events[-1]["response"]
    assert (events[-1]["type"], failed["status"]) == ("response.failed", "failed")
    assert failed["error"]["code"] == "server_error"
    assert failed["output"][0]["content"][0]["text"] == "one " and failed["output"][0][
        "status"
    ] == ("incomplete")


def test_an_error_before_anything_is_shown_has_its_status(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    upstream.reply = lambda body: {"status": 429, "content": "slow down"}
    aliases: Any = {"m": {"model": "root", "max_retries": 0}}
    with Served(create_app(Settings(db=str(tmp_path / "s.db"), aliases=aliases))) as server:
        for stream in (False, True):
            response = post(server.url, stream=stream)
            assert (response.status_code, error_of(response)["code"]) == (
                429,
                "upstream_rate_limit",
            )


def test_a_silent_stream_gets_comments() -> None:
    model = ScriptedModel(answer=lambda _: "x", seconds=0.3)
    with Served(create_app(Settings(keep_alive_seconds=0.05), chat=lambda *_: model)) as server:
        text = post(server.url, stream=True).text
    assert text.count(": keep-alive\n\n") > 1 and text.startswith("event: response.created")


# Items


def test_every_item_is_understood() -> None:
    model = ScriptedModel(answer=lambda _: "yes")
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'}
    items = [
        {"role": "system", "content": "S"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "U"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "A"}]},
        {**call, "id": "fc_1", "status": "completed"},
        {**call, "call_id": "c2", "arguments": "{not json"},
        {"type": "function_call_output", "call_id": "c1", "output": "R"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "R2"}],
        },
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "See"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
                {"type": "input_file", "file_data": "data:text/plain;base64,AA==", "filename": "a"},
            ],
        },
    ]
    with Served(create_app(chat=lambda *_: model)) as server:
        assert post(server.url, input=items, instructions="I").status_code == 200
    first, system, user, assistant, one, two, seen = model.prompts[-1]
    assert isinstance(first, SystemMessage) and (first.text, system.text) == ("I", "S")
    assert isinstance(user, HumanMessage) and user.text == "U"
    assert isinstance(assistant, AIMessage) and assistant.text == "A"
    assert assistant.tool_calls[0]["args"] == {"a": 1}
    assert assistant.invalid_tool_calls[0]["id"] == "c2"
    assert isinstance(one, ToolMessage) and (one.text, two.text) == ("R", "R2")
    kinds = [part["type"] for part in seen.content]  # type: ignore[index, union-attr]
    assert kinds == ["text", "image_url", "file"]


USER: Any = {"role": "user", "content": "x"}


@pytest.mark.parametrize(
    ("body", "param", "told"),
    [
        ({"input": []}, "input", "at least 1"),
        ({"input": 3}, "input", "list of items"),
        ({"input": [{"type": "computer_call_output"}]}, "input.0.type", "computer_call_output"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input.0.role", "wizard"),
        ({"input": [{"role": "user", "content": [{"type": "video"}]}]}, "input.0", "video"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input.0",
            "not taken by id",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "h"}]}]},
            "input.0",
            "never fetched",
        ),
        (
            {"input": [{"type": "function_call", "name": "f", "arguments": ""}]},
            "input.0",
            "call_id",
        ),
        ({"tools": [{"type": "web_search"}]}, "tools", "'web_search' is OpenAI's own"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools", "'mcp'"),
        ({"tool_choice": {"type": "file_search"}}, "tools", "'file_search'"),
        ({"tool_choice": "required"}, "tool_choice", "needs tools"),
        ({"conversation": "conv_1"}, "conversation", "previous_response_id"),
        ({"prompt": {"id": "p"}}, "prompt", "instructions"),
        ({"top_logprobs": 3}, "top_logprobs", "log probabilities"),
        ({"include": ["message.output_text.logprobs"]}, "include", "log probabilities"),
        ({"background": True, "store": False}, "store", "has to be stored"),
        ({"messages": [USER]}, "messages", "use input"),
        ({"max_tokens": 3}, "max_tokens", "use max_output_tokens"),
        ({"n": 2}, "n", "no field"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format", "schema"),
        ({"temperature": 9}, "temperature", "less than or equal to 2"),
        ({"metadata": {"a": 1}}, "metadata.a", "string"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "not found"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input", "not found"),
        ({"model": ""}, "model", "at least 1"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(url: str, body: Any, param: str, told: str) -> None:
    response = post(url, **body)
    error = error_of(response)
    assert response.status_code in (400, 404) and told in error["message"]
    assert str(error["param"]).startswith(param)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"a": "\\ud800"}', b"[" * 100_000])
def test_what_is_no_json_object_is_refused(url: str, content: bytes) -> None:
    assert HTTP.post(f"{url}/responses", content=content).status_code == 400


# Functions


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("way", ["previous", "whole"])
def test_functions_are_called_from_the_middle_of_code(
    client: openai.OpenAI, way: str, streams: bool
) -> None:
    """With the response before, or with the whole conversation."""

    def ask(items: Any, **more: Any) -> Any:
        asked: Any = {"model": "rlm", "input": items, "tools": [FUNCTION], **more}
        if not streams:
            return client.responses.create(**asked)
        with client.responses.stream(**asked) as stream:
            return stream.get_final_response()

    history: list[Any] = [{"role": "user", "content": "shop for me"}]
    reply, rounds = ask(history), 0
    while outputs := results(reply):
        rounds += 1
        history += [item.model_dump(exclude={"parsed_arguments"}) for item in reply.output]
        history += outputs
        if way == "whole":
            reply = ask(history)
        else:
            reply = ask(outputs, previous_response_id=reply.id)
    assert (reply.output_text, rounds) == ("12 in all", 3)


def test_a_reference_stands_for_an_item_of_a_response(client: openai.OpenAI) -> None:
    """As the AI SDK sends the history of a response that is stored."""
    asked: Any = {"model": "rlm", "tools": [FUNCTION]}
    history: list[Any] = [{"role": "user", "content": "shop for me"}]
    reply = client.responses.create(input=history, **asked)
    while outputs := results(reply):
        history += [{"type": "item_reference", "id": item.id} for item in reply.output]
        history += outputs
        reply = client.responses.create(input=history, **asked)
    assert reply.output_text == "12 in all"


def test_calls_that_are_not_answered_are_named(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="rlm", input="shop", tools=[FUNCTION])
    [call] = results(reply)
    with pytest.raises(openai.BadRequestError, match=call["call_id"]):
        client.responses.create(model="rlm", input="And?", previous_response_id=reply.id)


def test_a_forced_function_is_the_answer_and_takes_its_result(client: openai.OpenAI) -> None:
    named: Any = {"type": "function", "name": "price"}

    def answer(text: str) -> str:
        return cell("FINAL({'item': 'fig'})") if "buy" in text else cell("FINAL('done')")

    with (
        Served(rlm_app(lambda: ScriptedModel(answer=answer))) as server,
        client_of(server.url) as own,
    ):
        forced = own.responses.create(model="m", input="buy", tools=[FUNCTION], tool_choice=named)
        assert forced.output[0].type == "function_call"
        assert json.loads(forced.output[0].arguments) == {"item": "fig"}


# The next question


def test_the_next_question_has_the_variables_of_those_before(client: openai.OpenAI) -> None:
    first = client.responses.create(model="rlm", input="What?")
    second = client.responses.create(model="rlm", input="more", previous_response_id=first.id)
    third = client.responses.create(model="rlm", input="more", previous_response_id=second.id)
    branch = client.responses.create(model="rlm", input="more", previous_response_id=first.id)
    said = [reply.output_text for reply in (second, third, branch)]
    assert said == ["42", "43", "42"] and third.previous_response_id == second.id


def test_two_next_questions_at_once_do_not_meet(url: str) -> None:
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
            first = await client.responses.create(model="rlm", input="What?")
            asked = [
                client.responses.create(model="rlm", input="more", previous_response_id=first.id)
                for _ in range(6)
            ]
            return [reply.output_text for reply in await asyncio.gather(*asked)]

    assert asyncio.run(ask()) == ["42"] * 6


def test_the_next_question_has_the_contexts_and_new_instructions(tmp_path: Path) -> None:
    """Contexts count over the thread; instructions are those of the request."""
    replies = ["FINAL(context[-4:])", "FINAL(context_0[-4:] + context_1[-4:])"]
    model = ScriptedModel(replies=[cell(code) for code in replies])
    with Served(rlm_app(lambda: model)) as server, client_of(server.url) as client:
        first = client.responses.create(
            model="m", input="a" * 9_000 + "1234", instructions="Speak Latin."
        )
        second = client.responses.create(
            model="m", input="b" * 9_000 + "5678", previous_response_id=first.id
        )
    assert (first.output_text, second.output_text) == ("1234", "12345678")
    said = "".join(message.text for message in model.prompts[1])
    assert "Speak Latin." in model.prompts[0][0].text and "Speak Latin." not in said
    assert "`context_1`" in said


def test_a_model_that_was_asked_directly_is_told_the_conversation(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    with (
        Served(create_app(Settings(db=str(tmp_path / "s.db")))) as server,
        client_of(server.url) as client,
    ):
        first = client.responses.create(model="m", input="one", instructions="I")
        second = client.responses.create(model="m", input="two", previous_response_id=first.id)
        client.responses.create(model="m", input="three", previous_response_id=second.id)
    said = [(each["role"], each["content"]) for each in upstream.requests[-1]["messages"]]
    assert said == [
        ("user", "one"),
        ("assistant", "42"),
        ("user", "two"),
        ("assistant", "42"),
        ("user", "three"),
    ]


# What is kept


def test_a_response_is_read_listed_and_deleted(client: openai.OpenAI, url: str) -> None:
    items: Any = [{"role": "user", "content": f"q{number} What?"} for number in range(5)]
    reply = client.responses.create(model="rlm", input=items)
    assert client.responses.retrieve(reply.id).output_text == "41 it is"
    listed = [item.content[0].text for item in client.responses.input_items.list(reply.id)]  # type: ignore[union-attr, index]
    assert listed == [f"q{number} What?" for number in reversed(range(5))]
    path = f"{url}/responses/{reply.id}/input_items"
    page = HTTP.get(path, params={"order": "asc", "limit": 2})
    ResponseItemList.model_validate_json(page.text, strict=True)
    rest = HTTP.get(path, params={"order": "asc", "after": page.json()["last_id"]}).json()
    assert (page.json()["has_more"], len(rest["data"]), rest["has_more"]) == (True, 3, False)
    for wrong in ({"limit": "x"}, {"limit": "0"}, {"order": "up"}, {"after": "msg_1"}):
        assert HTTP.get(path, params=wrong).status_code == 400
    client.responses.delete(reply.id)
    for call in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.NotFoundError):
            call(reply.id)
    with pytest.raises(openai.BadRequestError, match="not found"):
        client.responses.create(model="rlm", input="more", previous_response_id=reply.id)


def test_any_text_can_be_kept(upstream: OpenAIServer, tmp_path: Path) -> None:
    """A NUL, and what a sandbox makes of half of a surrogate pair."""
    upstream.reply = lambda body: cell("FINAL('a\\x00b\\ud83dc')")
    with Served(create_app(Settings(db=str(tmp_path / "s.db"), aliases=LOOP))) as server:
        whole = post(server.url, input="What\x00?").json()
        assert whole["output"][0]["content"][0]["text"].startswith("a\x00b")
        assert HTTP.get(f"{server.url}/responses/{whole['id']}").json() == whole
        again = post(server.url, input="What?", previous_response_id=whole["id"])
        assert again.status_code == 200


def test_a_response_that_is_not_stored_cannot_be_found(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="rlm", input="What?", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(reply.id)
    reference: Any = {"type": "item_reference", "id": reply.output[0].id}
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="rlm", input=[reference])


def test_responses_of_one_key_are_unknown_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if they were not there: neither read, listed, followed, stopped, deleted nor referred to."""
    monkeypatch.setenv("LANGGRAPH_RLM_API_KEY", "one,two")
    with Served(rlm_app(lambda: ScriptedModel(answer=script))) as server:
        id = post(server.url, "one").json()["id"]
        item = post(server.url, "one").json()["output"][0]["id"]
        path, other = f"{server.url}/responses/{id}", {"authorization": "Bearer two"}
        for method, where in (
            ("GET", path),
            ("GET", f"{path}/input_items"),
            ("POST", f"{path}/cancel"),
            ("DELETE", path),
            ("GET", f"{path}?stream=true"),
        ):
            found = HTTP.request(method, where, headers=other)
            forged = HTTP.request(method, where.replace(id, "resp_" + "0" * 32), headers=other)
            assert found.status_code == forged.status_code == 404
            assert error_of(found)["message"].replace(id, "") == (
                error_of(forged)["message"].replace("resp_" + "0" * 32, "")
            )
            assert HTTP.request(method, where).status_code == 401
        assert post(server.url, "two", previous_response_id=id).status_code == 400
        reference = {"type": "item_reference", "id": item}
        assert post(server.url, "two", input=[reference, USER]).status_code == 404
        assert post(server.url, "one", input=[reference, USER]).status_code == 200
        for odd in ("resp_../x", "resp_%00", "x" * 300, "resp_" + "g" * 32):
            assert HTTP.get(f"{server.url}/responses/{odd}", headers=other).status_code == 404
        assert HTTP.get(path, headers={"authorization": "Bearer one"}).status_code == 200


def test_records_are_no_threads_and_are_pruned(upstream: OpenAIServer, tmp_path: Path) -> None:
    from datetime import timedelta

    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    upstream.reply = lambda body: cell("FINAL('x')")
    db, blobs = str(tmp_path / "s.db"), str(tmp_path / "blobs")
    settings = Settings(db=db, blob_store=blobs, aliases=LOOP)
    with Served(create_app(settings)) as server, client_of(server.url) as client:
        kept = client.responses.create(model="m", input="What?")
        gone = client.responses.create(model="m", input="What?")
        client.responses.delete(gone.id)

    async def listed() -> int:
        async with AsyncSqliteSaver.from_conn_string(db) as saver:
            return len(await athreads(saver, blob_store=blobs))

    assert asyncio.run(listed()) == 1 and kept.id
    with SqliteSaver.from_conn_string(db) as saver:
        freed = prune(saver, timedelta(0), blob_store=blobs, grace=timedelta(0))
        assert len(freed.threads) == 2 and not [*saver.list(None)]
    assert not [path for path in (tmp_path / "blobs").rglob("*") if len(path.name) == 64]


# In the background


def test_a_background_response_is_polled() -> None:
    model = holds()
    with Served(rlm_app(lambda: model)) as server, client_of(server.url) as client:
        begun = client.responses.create(model="m", input="What?", background=True)
        assert begun.status == "queued" and begun.background and model.entered.wait(10)
        assert client.responses.retrieve(begun.id).status == "in_progress"
        with pytest.raises(openai.BadRequestError, match="has no answer, it is in_progress"):
            client.responses.create(model="m", input="more", previous_response_id=begun.id)
        model.leave.set()
        over = until_over(client, begun.id)
        Response.model_validate_json(over.model_dump_json(), strict=True)
        assert (over.status, over.output_text) == ("completed", "41 it is")
        again = client.responses.create(model="m", input="more", previous_response_id=begun.id)
        assert again.output_text == "42"


def test_a_background_response_is_cancelled() -> None:
    model = holds()
    with Served(rlm_app(lambda: model)) as server, client_of(server.url) as client:
        begun = client.responses.create(model="m", input="What?", background=True)
        assert model.entered.wait(10)
        stopped = client.responses.cancel(begun.id)
        assert stopped.status == client.responses.retrieve(begun.id).status == "cancelled"
        assert client.responses.cancel(begun.id).status == "cancelled"
        model.leave.set()
        plain = client.responses.create(model="m", input="What?")
        with pytest.raises(openai.BadRequestError, match="background=true"):
            client.responses.cancel(plain.id)
        assert client.responses.retrieve(begun.id).status == "cancelled"


def test_a_key_may_have_so_many_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGGRAPH_RLM_API_KEY", "one,two")
    model = holds()
    app = rlm_app(lambda: model, settings=Settings(max_background=2))
    with Served(app) as server:
        ids = [post(server.url, "one", background=True).json()["id"] for _ in range(2)]
        third = post(server.url, "one", background=True)
        assert (third.status_code, error_of(third)["code"]) == (429, "too_many_open")
        assert post(server.url, "two", background=True).status_code == 200
        path = f"{server.url}/responses/{ids[0]}"
        assert HTTP.delete(path, headers={"authorization": "Bearer one"}).json()["deleted"]
        assert post(server.url, "one", background=True).status_code == 200
        model.leave.set()


def test_a_background_response_that_fails_says_why(upstream: OpenAIServer, tmp_path: Path) -> None:
    upstream.reply = lambda body: {"status": 429, "content": "slow down"}
    aliases: Any = {"m": {"model": "root", "max_retries": 0}}
    with (
        Served(create_app(Settings(db=str(tmp_path / "s.db"), aliases=aliases))) as server,
        client_of(server.url) as client,
    ):
        begun = client.responses.create(model="m", input="What?", background=True)
        over = until_over(client, begun.id)
    assert (over.status, over.error and over.error.code) == ("failed", "rate_limit_exceeded")
    assert over.error is not None and "slow down" in over.error.message


def test_the_events_of_a_background_response_are_read_again(url: str) -> None:
    with client_of(url) as client:
        stream = client.responses.create(model="rlm", input="What?", background=True, stream=True)
        events = [event.model_dump() for event in stream]
        id = events[0]["response"]["id"]
        after = client.responses.retrieve(id, stream=True, starting_after=3)
        assert [event.model_dump() for event in after] == events[4:]
        kinds = [event["type"] for event in events]
        assert kinds[:3] == ["response.created", "response.queued", "response.output_item.added"]
        plain = client.responses.create(model="rlm", input="What?")
        with pytest.raises(openai.BadRequestError, match="without stream"):
            client.responses.retrieve(plain.id, stream=True)


def test_a_client_that_leaves_its_stream_does_not_stop_a_background_response() -> None:
    model = holds()
    with Served(rlm_app(lambda: model)) as server, client_of(server.url) as client:
        stream = client.responses.create(model="m", input="What?", background=True, stream=True)
        id = next(iter(stream)).response.id  # type: ignore[union-attr]
        stream.close()
        assert model.entered.wait(10)
        model.leave.set()
        assert until_over(client, id).output_text == "41 it is"


def test_a_background_response_continues_after_a_restart(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    """Another process over the same database takes it up when it is asked, and pays nothing twice."""
    asked, leave = threading.Event(), threading.Event()
    leave.clear()

    def reply(body: Any) -> Any:
        text = json.dumps(body["messages"])
        if body["model"] == "sub":
            if "second" in text and not leave.is_set():
                asked.set()
                leave.wait(20)
            return "sub"
        code = "a = llm_query('first')\nb = llm_query('second')\nFINAL(a + b)"
        return cell(code)

    upstream.reply = reply
    aliases: Any = {"m": {"model": "root", "sub_model": "sub", "direct_below_tokens": 0}}
    settings = Settings(
        db=str(tmp_path / "s.db"), blob_store=str(tmp_path / "blobs"), aliases=aliases
    )
    with Served(create_app(settings)) as server, client_of(server.url) as client:
        begun = client.responses.create(model="m", input="What?", background=True)
        assert asked.wait(20)
    leave.set()
    with Served(create_app(settings)) as server, client_of(server.url) as client:
        assert client.responses.retrieve(begun.id).status == "in_progress"
        over = until_over(client, begun.id)
        assert (over.status, over.output_text) == ("completed", "subsub")
    firsts = [body for body in upstream.answered if "first" in json.dumps(body["messages"][-1])]
    assert len([body for body in firsts if body["model"] == "sub"]) == 1


@pytest.mark.slow
def test_a_response_that_is_cut_off_again_and_again_is_given_up(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    entered = threading.Event()

    def reply(body: Any) -> Any:
        entered.set()
        time.sleep(1)
        return "never"

    upstream.reply = reply
    settings = Settings(db=str(tmp_path / "s.db"), blob_store=str(tmp_path / "b"), aliases=LOOP)
    id = ""
    for _ in range(6):
        entered.clear()
        with Served(create_app(settings)) as server, client_of(server.url) as client:
            if not id:
                id = client.responses.create(model="m", input="What?", background=True).id
            client.responses.retrieve(id)
            assert entered.wait(10)
    with Served(create_app(settings)) as server, client_of(server.url) as client:
        over = client.responses.retrieve(id)
    assert over.status == "failed" and over.error is not None and "cut off" in over.error.message


def test_a_run_that_is_named_continues_where_it_was_cut_off() -> None:
    """The chat model's own part: the same call with the same name pays nothing twice."""
    from langgraph_rlm.chat.calls import Named

    saver, calls = InMemorySaver(), 0

    def answer(text: str) -> str:
        nonlocal calls
        calls += 1
        return cell("FINAL('one')")

    model = ChatRLM(model=ScriptedModel(answer=answer), checkpointer=saver, direct_below_tokens=0)
    for _ in range(2):
        assert model.invoke("q", named_run=Named("r" * 20)).text == "one"
    assert calls == 1


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
def test_a_background_response_survives_the_kill_of_its_process(
    upstream: OpenAIServer, tmp_path: Path, whole: bool
) -> None:
    """The run process alone, which is started again, or the whole server."""
    import os
    import signal

    import psutil

    from .servers import Process, folder_options

    asked, leave = threading.Event(), threading.Event()

    def reply(body: Any) -> Any:
        if "wait for it" in json.dumps(body["messages"][-1]):
            asked.set()
            leave.wait(30)
            return "sub"
        return cell("FINAL(llm_query('wait for it') + '!')")

    upstream.reply = reply
    (tmp_path / "m.toml").write_text('[models.m]\nmodel = "root"\ndirect_below_tokens = 0\n')
    options = [*folder_options(tmp_path), "--config", str(tmp_path / "m.toml")]
    env = {"LANGGRAPH_RLM_STORE": str(tmp_path / "blobs")}
    with Process(*options, **env) as server, client_of(server.url) as client:
        begun = client.responses.create(model="m", input="What?", background=True)
        assert asked.wait(30)
        if whole:
            server.kill()
        else:
            [run] = psutil.Process(server.pid).children()
            os.kill(run.pid, signal.SIGKILL)
            run.wait(10)
            leave.set()
            assert until_over(client, begun.id).output_text == "sub!"
    leave.set()
    with Process(*options, **env) as server, client_of(server.url) as client:
        assert until_over(client, begun.id).output_text == "sub!"
