"""The transports of OpenAI-compatible models, over real HTTP: aiohttp where it is installed, else httpx.

Upstreams are slow, broken, silent and closing, and calls are cancelled in the middle. Nothing may hang, errors
are the same with both, and no connection is left.
"""

import asyncio
import gc
import os
import subprocess
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from langchain_openai import ChatOpenAI

from langgraph_rlm.models.http_clients import Clients, aiohttp_version, openai_http_client
from langgraph_rlm.models.resolve import resolve_model
from langgraph_rlm.testing import cell

from .openai_server import OpenAIServer, last_message
from .rough_server import CERTIFICATE, TEXT, RoughServer

MAKERS: dict[str, Callable[..., Any]] = {
    "aiohttp": openai_http_client,
    "httpx": openai.DefaultAsyncHttpxClient,
}

PATIENCE = 90.0
"""Seconds after which a call has hung."""
SOON = 0.5
"""Seconds of a time-out that is meant to pass."""
MANY_FILES = 8_192

LONG = "x" * 12_000_000
"""More than the buffers of both ends of a connection hold."""


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return MAKERS[request.param]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module", autouse=True)
def many_files() -> Iterator[None]:
    """512 connections have both of their ends in this process."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MANY_FILES if hard == resource.RLIM_INFINITY else min(MANY_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def server() -> Iterator[RoughServer]:
    with RoughServer() as running:
        yield running


@asynccontextmanager
async def client_of(make: Callable[..., Any], url: str, **options: Any) -> AsyncGenerator[Any]:
    options = {"timeout": PATIENCE, "max_retries": 0, **options}
    async with openai.AsyncOpenAI(
        base_url=url, api_key="key", http_client=make(), **options
    ) as client:
        yield client


async def ask(client: Any, text: str = "x") -> str:
    messages = [{"role": "user", "content": text}]
    async with asyncio.timeout(PATIENCE):
        reply = await client.chat.completions.create(model="m", messages=messages)
    return reply.choices[0].message.content


async def stream(client: Any) -> int:
    parts = await client.chat.completions.create(model="m", messages=[], stream=True)
    return len([part async for part in parts])


async def outcomes(client: Any, count: int, text: str = "x") -> set[Any]:
    """What so many calls at once come to: replies, and kinds of errors."""
    ended = await asyncio.gather(*(ask(client, text) for _ in range(count)), return_exceptions=True)
    return {type(each) if isinstance(each, BaseException) else each for each in ended}


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_so():
            await asyncio.sleep(0.01)


# Faults

BROKEN: dict[str, Any] = {
    "slow": TEXT,
    "with a large header": TEXT,
    "after a 100": TEXT,
    "without a length": TEXT,
    "closes when idle": TEXT,
    "resets when idle": TEXT,
    "refused": openai.RateLimitError,
    "garbage": openai.APIConnectionError,
    "bad chunks": openai.APIConnectionError,
    "two lengths": openai.APIConnectionError,
    "not gzip": openai.APIConnectionError,
    "hangs up": openai.APIConnectionError,
    "half": openai.APIConnectionError,
    "half in chunks": openai.APIConnectionError,
    "reset": openai.APIConnectionError,
    "reset in the middle": openai.APIConnectionError,
}
"""What a call comes to that meets a fault."""


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_comes_to_the_same_with_both(
    server: RoughServer, make: Callable[..., Any], fault: str
) -> None:
    async def main() -> None:
        async with client_of(make, server.url(fault)) as client:
            assert await outcomes(client, 16) == {BROKEN[fault]}
            assert server.connections() <= 16
        await until(lambda: server.connections() == 0)

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["silent", "stalls"])
def test_a_server_that_says_nothing_more_is_a_time_out(
    server: RoughServer, make: Callable[..., Any], fault: str
) -> None:
    async def main() -> None:
        async with client_of(make, server.url(fault), timeout=SOON) as client:
            assert await outcomes(client, 8) == {openai.APITimeoutError}
            await until(lambda: server.connections() == 0)

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["does not read", "answers without reading"])
def test_a_server_that_does_not_read_a_long_prompt_is_given_up(
    server: RoughServer, make: Callable[..., Any], fault: str
) -> None:
    """aiohttp waits for it without end. The connection is not left open for what was not sent."""

    async def main() -> None:
        async with client_of(make, server.url(fault), timeout=2) as client:
            for kind in await outcomes(client, 2, LONG):
                assert issubclass(kind, openai.APIError)
            await until(lambda: server.connections() == 0)

    asyncio.run(main())


def test_a_long_prompt_arrives_whole(make: Callable[..., Any]) -> None:
    async def main(url: str) -> None:
        async with client_of(make, url) as client:
            assert await ask(client, LONG) == str(len(LONG))

    with OpenAIServer(lambda body: str(len(last_message(body)))) as server:
        asyncio.run(main(server.url))


@pytest.mark.parametrize("count", [64, 256, 512])
def test_nothing_hangs_where_all_go_wrong_at_once(server: RoughServer, count: int) -> None:
    """Each call meets one of the faults, while others meet others over the same HTTP client."""
    faults = [*BROKEN, "stalls", "silent"]
    expected = BROKEN | dict.fromkeys(["stalls", "silent"], openai.APITimeoutError)

    async def one(client: Any, fault: str) -> tuple[str, Any]:
        own = client.with_options(base_url=server.url(fault))
        if fault in ("stalls", "silent"):
            own = own.with_options(timeout=openai.Timeout(PATIENCE, read=SOON))
        (came,) = await outcomes(own, 1)
        return fault, came

    async def main() -> None:
        async with client_of(openai_http_client, server.url("ok")) as client:
            for _ in range(2):
                calls = [one(client, faults[number % len(faults)]) for number in range(count)]
                for fault, came in await asyncio.gather(*calls):
                    # a reused connection may be reset just as it is asked
                    may_fail = "when idle" in fault and came is openai.APIConnectionError
                    assert may_fail or came == expected[fault], fault
            assert await outcomes(client, count) == {TEXT}
            assert server.connections() <= count
        await until(lambda: server.connections() == 0)

    asyncio.run(main())


# Connections


@pytest.mark.parametrize("count", [64, 512])
def test_connections_are_reused(server: RoughServer, count: int) -> None:
    limits = httpx2.Limits(max_connections=1_000, keepalive_expiry=PATIENCE)

    async def main() -> None:
        async with client_of(lambda: openai_http_client(limits=limits), server.url("ok")) as client:
            for _ in range(3):
                assert await outcomes(client, count) == {TEXT}

    asyncio.run(main())
    assert server.opened <= count


@pytest.mark.parametrize("fault", ["closes when idle", "resets when idle"])
def test_a_connection_that_a_server_has_closed_is_not_used_again(
    server: RoughServer, make: Callable[..., Any], fault: str
) -> None:
    async def main() -> None:
        async with client_of(make, server.url(fault)) as client:
            for _ in range(3):
                assert await outcomes(client, 16) == {TEXT}
                await until(lambda: server.open == 0)
                await asyncio.sleep(0.05)

    asyncio.run(main())
    assert server.opened == 48


@pytest.mark.parametrize(
    "fault", ["silent", "stalls", "slow", "does not read", "streams without end"]
)
def test_a_call_that_is_cancelled_closes_its_connection(
    server: RoughServer, make: Callable[..., Any], fault: str
) -> None:
    """Another call over the same HTTP client is answered."""
    call: Any = stream if "stream" in fault else ask
    count, more = (3, [LONG]) if fault == "does not read" else (48, [])

    async def main() -> None:
        async with client_of(make, server.url(fault)) as client:
            calls = [asyncio.create_task(call(client, *more)) for _ in range(count)]
            await until(lambda: len(server.requests) == count)
            for each in calls:
                each.cancel()
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(each) for each in ended} <= {asyncio.CancelledError, str}
            open_still = sum(isinstance(each, str) for each in ended)
            await until(lambda: server.connections() <= open_still)
            assert await ask(client.with_options(base_url=server.url("ok"))) == TEXT

    asyncio.run(main())


# Streams


def test_a_stream_leaves_its_connection_to_the_next_call(
    server: RoughServer, make: Callable[..., Any]
) -> None:
    async def main() -> None:
        async with client_of(make, server.url("whole stream")) as client:
            for _ in range(3):
                assert await stream(client) > 3

    asyncio.run(main())
    assert server.opened == 1


@pytest.mark.parametrize("fault", ["half a stream", "stalls in a stream"])
def test_a_stream_that_breaks_off_is_an_error(
    server: RoughServer, make: Callable[..., Any], fault: str
) -> None:
    async def main() -> None:
        async with client_of(make, server.url(fault), timeout=SOON) as client:
            with pytest.raises((httpx2.TransportError, openai.APIConnectionError)):
                await stream(client)
            await until(lambda: server.connections() == 0)

    asyncio.run(main())


# Proxies and TLS


@pytest.mark.parametrize("target", ["http", "https"])
def test_proxies_of_the_environment_are_used(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """By a request itself, and by a tunnel; with the user's name and password, which the server never sees."""

    async def main(url: str) -> None:
        async with client_of(make, url) as client:
            assert await ask(client) == TEXT

    with RoughServer() as proxy, RoughServer(is_tls=True) as server:
        monkeypatch.setenv(f"{target}_proxy", f"http://ann:secret@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        url = "http://nowhere.invalid/ok/v1" if target == "http" else server.url("ok")
        asyncio.run(main(url))
        ((asked, headers),) = proxy.requests
        assert headers["proxy-authorization"] == "Basic YW5uOnNlY3JldA=="
        if target == "http":
            assert asked == f"{url}/chat/completions"
        else:
            assert asked == f"127.0.0.1:{server.port}"
            assert "proxy-authorization" not in server.requests[0][1]


def test_no_proxy_goes_straight(
    server: RoughServer, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    async def main() -> None:
        async with client_of(make, server.url("ok")) as client:
            assert await ask(client) == TEXT

    asyncio.run(main())


def test_a_proxy_that_is_not_there_is_no_connection(
    server: RoughServer, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    async def main() -> None:
        async with client_of(make, server.url("ok")) as client:
            assert await outcomes(client, 2) == {openai.APIConnectionError}

    asyncio.run(main())


def test_a_proxy_of_one_model_is_used_on_each_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """LangChain would make one HTTP client for it, which breaks on the second loop."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://nowhere.invalid/ok/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    with RoughServer() as proxy:
        options = {"openai_proxy": f"http://127.0.0.1:{proxy.port}"}
        model, clients = resolve_model("openai:m", settings=options), Clients()
        for _ in range(2):
            assert asyncio.run(through(clients, model)) == TEXT
        assert len(proxy.requests) == 2


async def through(clients: Clients, model: Any) -> str:
    return (await clients.here(model).ainvoke("x")).text


def test_a_certificate_is_checked(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of SSL_CERT_FILE are trusted, and with `verify=False` all are."""

    async def main(url: str, make: Callable[..., Any]) -> set[Any]:
        async with client_of(make, url) as client:
            return await outcomes(client, 4)

    with RoughServer(is_tls=True) as server:
        url = server.url("ok")
        assert asyncio.run(main(url, make)) == {openai.APIConnectionError}
        assert asyncio.run(main(url, lambda: make(verify=False))) == {TEXT}
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert asyncio.run(main(url, make)) == {TEXT}


def test_a_name_and_a_password_may_stand_in_the_address(
    server: RoughServer, make: Callable[..., Any]
) -> None:
    async def main() -> None:
        async with client_of(make, server.url("ok").replace("//", "//ann:secret@")) as client:
            assert await ask(client) == TEXT

    asyncio.run(main())
    ((_, headers),) = server.requests
    assert headers["authorization"] == "Basic YW5uOnNlY3JldA=="


def test_what_a_busy_provider_says_is_heard(server: RoughServer, make: Callable[..., Any]) -> None:
    async def main() -> None:
        async with client_of(make, server.url("refused")) as client:
            with pytest.raises(openai.RateLimitError) as caught:
                await ask(client)
            assert caught.value.response.headers["retry-after-ms"] == "7"

    asyncio.run(main())


# Which models, and event loops


def is_aiohttp(clients: Clients, model: Any) -> bool:
    async def main() -> bool:
        own: Any = clients.here(model)
        return isinstance(own.bound.root_async_client._client, openai.DefaultAioHttpClient)

    return asyncio.run(main())


def test_models_by_name_use_it_and_those_of_the_user_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    given = openai.DefaultAsyncHttpxClient()
    own = ChatOpenAI(model="m", http_async_client=given)
    by_name = resolve_model("openai:m", settings={"http_async_client": given})
    assert aiohttp_version() is not None
    assert is_aiohttp(Clients(), resolve_model("openai:m"))
    named: Any = resolve_model("openai:m")
    assert is_aiohttp(Clients(), named.model_copy(update={"temperature": 0}))
    assert not any(is_aiohttp(Clients(), each) for each in (own, by_name, ChatOpenAI(model="m")))


def test_one_client_serves_any_number_of_event_loops(server: RoughServer) -> None:
    """Each closes its connections when it ends, and is not held by the client."""
    clients = openai_http_client()
    client = openai.AsyncOpenAI(base_url=server.url("ok"), api_key="key", http_client=clients)
    loops: list[weakref.ref[Any]] = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        assert await outcomes(client, 8) == {TEXT}

    for _ in range(3):
        asyncio.run(main())
        assert server.connections() == 0
    gc.collect()
    assert [each() for each in loops] == [None] * 3


def test_a_client_that_nobody_holds_closes_its_connections(server: RoughServer) -> None:
    async def main() -> None:
        client: Any = openai.AsyncOpenAI(
            base_url=server.url("ok"), api_key="key", http_client=openai_http_client()
        )
        assert await outcomes(client, 8) == {TEXT}
        assert server.connections() == 8
        del client
        gc.collect()
        await until(lambda: server.connections() == 0)

    asyncio.run(main())


SCRIPT = """
import asyncio
from langgraph_rlm import create_rlm

rlm = create_rlm("openai:root", sub_model="openai:sub")
assert rlm.invoke({"query": "q"})["answer"] == "leaf"
for _ in range(2):
    assert asyncio.run(rlm.ainvoke({"query": "q"}))["answer"] == "leaf"
loop = asyncio.new_event_loop()
loop.run_until_complete(rlm.ainvoke({"query": "q"}))
print("done")
"""
WITHOUT_AIOHTTP = "import sys\nsys.modules['aiohttp'] = None\n"


@pytest.mark.parametrize("before", ["", WITHOUT_AIOHTTP], ids=["aiohttp", "httpx"])
def test_a_process_ends_without_a_word_of_what_is_open(tmp_path: Path, before: str) -> None:
    """Also where an event loop was left as it was; and without the extra, models by name use httpx."""
    code = cell("FINAL(llm_query_batched(['a'] * 20)[19])")
    with OpenAIServer(lambda body: code if body["model"] == "root" else "leaf") as server:
        more = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "key"}
        ended = subprocess.run(
            [sys.executable, "-c", before + SCRIPT],
            env=os.environ | more | {"LANGGRAPH_RLM_STORE": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)
