"""Bugs of servers that came before, as promises of this one, over HTTP. The numbers are those of the list that they are kept in."""

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from langgraph_rlm import Limits
from langgraph_rlm.server import Settings, create_app
from langgraph_rlm.testing import ScriptedModel, cell

from .openai_server import OpenAIServer, environment_upstream, last_message, turn_of
from .servers import TOOL, Served, rlm_app


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def of(server: Any, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key=key, max_retries=0)


def ask(client: openai.OpenAI, messages: list[Any], **more: Any) -> Any:
    return client.chat.completions.create(model="root:sub", messages=messages, **more)


def answer_call(messages: list[Any], reply: Any, *contents: str) -> list[Any]:
    """The conversation with the results of the calls of a reply."""
    message = reply.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": content}
        for call, content in zip(message.tool_calls, contents, strict=True)
    ]
    return [*messages, message.model_dump(exclude_none=True), *results]


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, lambda body: "42")


def app_on(folder: Path, **settings: Any) -> Any:
    return create_app(Settings(db=str(folder / "server.db"), **settings))


def test_1_two_users_never_share_a_context() -> None:
    """Many at once, each with a context of its own, in one process and one cached model."""
    code = cell("FINAL(context.split('secret ')[1][:6])")
    with (
        Served(rlm_app(lambda: ScriptedModel(answer=lambda _: code))) as server,
        of(server) as client,
    ):

        def mine(number: int) -> bool:
            secret = f"{number:06}"
            reply = ask(client, user(f"{'x' * 9000} secret {secret} {'y' * 9000}"))
            return reply.choices[0].message.content == secret

        with ThreadPoolExecutor(16) as threads:
            assert all(threads.map(mine, range(48)))


def test_2_a_restart_keeps_paused_runs(upstream: OpenAIServer, tmp_path: Path) -> None:
    """3 as well: what comes back carries one result, and the run asks its models nothing again."""
    upstream.reply = lambda body: cell(
        "a = price(item='apple')\nb = price(item='pear')\nFINAL(f'{a} and {b}')"
    )
    alias = {"shop": {"model": "root", "direct_below_tokens": 0}}
    messages: list[Any] = user("What do they cost?")
    with Served(app_on(tmp_path, aliases=alias)) as server, of(server) as client:
        first = client.chat.completions.create(model="shop", messages=messages, tools=[TOOL])
    with Served(app_on(tmp_path, aliases=alias)) as server, of(server) as client:
        second = client.chat.completions.create(
            model="shop", messages=answer_call(messages, first, "3"), tools=[TOOL]
        )
    with Served(app_on(tmp_path, aliases=alias)) as server, of(server) as client:
        only_the_result = answer_call([], second, "4")
        last = client.chat.completions.create(model="shop", messages=only_the_result, tools=[TOOL])
    assert last.choices[0].message.content == "3 and 4"
    assert len(upstream.requests) == 1


def test_4_the_budget_of_turns_goes_on_over_a_resume() -> None:
    codes = [cell("price(item='apple')"), cell("price(item='pear')"), cell("print('on')")]
    app = rlm_app(lambda: ScriptedModel(replies=codes), limits=Limits(max_iterations=3))
    with Served(app) as server, of(server) as client:
        messages, calls = user("q"), 0
        while (reply := ask(client, messages, tools=[TOOL])).choices[0].message.tool_calls:
            calls += 1
            messages = answer_call(messages, reply, "1")
        assert calls == 2


def test_5_blocking_work_never_freezes_health(upstream: OpenAIServer, tmp_path: Path) -> None:
    """While a run's code spins and its request is worked on, `/health` answers; how fast is measured in benchmarks."""
    started, ended = threading.Event(), threading.Event()

    def reply(body: Any) -> str:
        started.set()
        return cell("n = 0\nfor i in range(3_000_000):\n    n += 1\nFINAL(n)")

    upstream.reply = reply
    with (
        Served(
            app_on(tmp_path, aliases={"busy": {"model": "root", "direct_below_tokens": 0}})
        ) as server,
        of(server) as client,
    ):

        def run() -> Any:
            answer = (
                client.chat.completions.create(model="busy", messages=user("q"))
                .choices[0]
                .message.content
            )
            ended.set()
            return answer

        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(run)
            assert started.wait(30)
            health = httpx.get(server.url.replace("/v1", "/health"))
            was_running = not ended.is_set()
            assert running.result() == "3000000"
        assert health.json() == {"status": "ok"} and was_running


def test_6_a_stream_streams_and_its_usage_is_real(upstream: OpenAIServer, tmp_path: Path) -> None:
    """The first words are with the client before the last are written; usage is the upstream's."""
    upstream.reply = lambda body: {
        "content": "one two three",
        "usage": {"prompt_tokens": 70, "completion_tokens": 30},
    }
    with Served(app_on(tmp_path)) as server, of(server) as client:
        chunks = list(ask(client, user("q"), stream=True, stream_options={"include_usage": True}))
        whole = ask(client, user("q"))
    assert [
        chunk.choices[0].delta.content
        for chunk in chunks
        if chunk.choices and chunk.choices[0].delta.content
    ] == [
        "one ",
        "two ",
        "three",
    ]
    for usage in (chunks[-1].usage, whole.usage):
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (70, 30, 100)


def test_6_words_arrive_while_the_upstream_still_writes() -> None:
    """The model waits for the client to have seen its first word."""
    seen = threading.Event()

    class Waits(ScriptedModel):
        async def _astream(self, *given: Any, **more: Any) -> Any:
            first = True
            async for chunk in super()._astream(*given, **more):
                if not first:
                    while not seen.is_set():
                        await _sleep()
                first = False
                yield chunk

    app = create_app(chat=lambda model_id, owner: Waits(answer=lambda _: "first second"))
    with Served(app) as server, of(server) as client:
        words = []
        for chunk in ask(client, user("q"), stream=True):
            if chunk.choices[0].delta.content:
                words.append(chunk.choices[0].delta.content)
                seen.set()
    assert words == ["first ", "second"]


async def _sleep() -> None:
    import asyncio

    await asyncio.sleep(0.01)


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("size", [10, 40_000])
def test_8_instructions_stay_instructions(
    upstream: OpenAIServer, tmp_path: Path, role: str, size: int
) -> None:
    """Asked directly or in the loop, the root model gets them as its instructions."""
    upstream.reply = lambda body: cell("FINAL('Arr')") if size > 10 else "Arr"
    with Served(app_on(tmp_path)) as server, of(server) as client:
        reply = ask(client, [{"role": role, "content": "Answer as a pirate."}, *user("x" * size)])
    assert reply.choices[0].message.content == "Arr"
    instructions = [
        message
        for message in upstream.requests[0]["messages"]
        if message["role"] in ("system", "developer")
    ]
    assert "Answer as a pirate." in json.dumps(instructions)


def test_9_what_children_spend_is_in_the_usage(upstream: OpenAIServer, tmp_path: Path) -> None:
    def reply(body: Any) -> Any:
        code = cell(
            "parts = llm_query_batched([f'part {i}' for i in range(10)])\nFINAL(len(parts))"
        )
        content = (
            code
            if body["model"] == "root" and turn_of(body) == 0
            else f"seen {last_message(body)[:9]}"
        )
        return {"content": content, "usage": {"prompt_tokens": 100, "completion_tokens": 7}}

    upstream.reply = reply
    alias = {"tree": {"model": "root", "sub_model": "sub", "direct_below_tokens": 0}}
    with Served(app_on(tmp_path, aliases=alias)) as server, of(server) as client:
        answer = client.chat.completions.create(model="tree", messages=user("q"))
    assert answer.choices[0].message.content == "10"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1100, 77)
    assert [body["model"] for body in upstream.requests].count("sub") == 10


def test_runs_of_one_key_are_unknown_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The id of a tool call is no secret that another key could use; its own key still can."""
    monkeypatch.setenv("LANGGRAPH_RLM_API_KEY", "key-of-ada, key-of-bob")
    app = rlm_app(lambda: ScriptedModel(replies=[cell("FINAL('ada pays ' + price(item='apple'))")]))
    with Served(app) as server, of(server, "key-of-ada") as ada, of(server, "key-of-bob") as bob:
        messages = user("q")
        paused = ask(ada, messages, tools=[TOOL])
        given = answer_call(messages, paused, "3")
        with pytest.raises(openai.NotFoundError) as refused:
            ask(bob, given, tools=[TOOL])
        assert refused.value.code == "unknown_tool_call"
        assert ask(ada, given, tools=[TOOL]).choices[0].message.content == "ada pays 3"


@pytest.mark.parametrize("streams", [False, True])
def test_a_client_that_goes_away_cancels_its_run(
    upstream: OpenAIServer, tmp_path: Path, streams: bool
) -> None:
    """The run of somebody who left asks its models nothing more, while another's takes four turns."""
    asked = threading.Event()

    def reply(body: Any) -> Any:
        asked.set()
        return {
            "content": cell(
                "FINAL('done')" if body["model"] == "stays" and turn_of(body) == 3 else "print(1)"
            ),
            "seconds": 0.2,
        }

    upstream.reply = reply
    aliases = {name: {"model": name, "direct_below_tokens": 0} for name in ("leaves", "stays")}
    with Served(app_on(tmp_path, aliases=aliases)) as server, of(server) as client:
        connection = http.client.HTTPConnection(server.url.split("/")[2])
        connection.request(
            "POST",
            "/v1/chat/completions",
            json.dumps({"model": "leaves", "messages": user("q"), "stream": streams}),
        )
        assert asked.wait(30)
        connection.close()
        assert (
            client.chat.completions.create(model="stays", messages=user("q"))
            .choices[0]
            .message.content
            == "done"
        )
    assert [body["model"] for body in upstream.requests].count("leaves") == 1
