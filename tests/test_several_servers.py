"""Several servers over one database: any of them continues any call, one ends while others serve."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from langgraph_rlm.processes.cores import cores
from langgraph_rlm.server import Settings, create_app
from langgraph_rlm.server.answers import Asked, Head
from langgraph_rlm.server.ending import Ending
from langgraph_rlm.server.pool import Pool, share_of
from langgraph_rlm.server.sums import summed
from langgraph_rlm.testing import cell

from .faults.databases import CannotStart, Postgres
from .openai_server import OpenAIServer, environment_upstream, last_message, turn_of
from .servers import TOOL, Process, Served
from .test_server_defects import answer_call, of, user

HTTP = httpx.Client(timeout=60)
LOOP: Any = {"loop": {"model": "root", "sub_model": "sub", "direct_below_tokens": 0}}
CONFIG = '[models.loop]\nmodel = "root"\nsub_model = "sub"\ndirect_below_tokens = 0\n'
CODE = cell("x = llm_query('name an item')\na = price(item=x)\nFINAL(f'{x}: {a}')")


def reply(body: Any) -> Any:
    if body["model"] == "root":
        return CODE if turn_of(body) == 0 else cell("FINAL('asked again')")
    return "apple" if body["model"] == "sub" else f"echo {last_message(body)[-20:]}"


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, reply)


@pytest.fixture
def two(upstream: OpenAIServer, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Two servers on one database and one blob store, each with an event loop of its own."""
    where = {"db": str(tmp_path / "server.db"), "blob_store": str(tmp_path / "blobs")}
    apps = [create_app(Settings(**where, aliases=LOOP)) for _ in range(2)]
    with Served(apps[0]) as one, Served(apps[1]) as other:
        yield one.url, other.url


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="any", max_retries=0, timeout=60)


def post(url: str, door: str = "chat/completions", key: str = "", **body: Any) -> httpx.Response:
    headers = {"idempotency-key": key} if key else {}
    return HTTP.post(f"{url}/{door}", json=body, headers=headers)


class TestAnyServerContinues:
    def test_a_stream_of_a_background_response_is_read_at_another_server(
        self, two: tuple[str, str], upstream: OpenAIServer
    ) -> None:
        """From its beginning it has the text in one piece; who has read more gets the whole response at the end."""
        upstream.reply = lambda _: {"content": "a b c d", "seconds": 1.0}
        with client(two[0]) as one, client(two[1]) as other:
            begun = one.responses.create(model="m", input="x", background=True, stream=True)
            id = next(iter(begun)).response.id  # type: ignore[union-attr]
            events = [*other.responses.retrieve(id, stream=True)]
            assert [each.sequence_number for each in events] == [*range(len(events))]
            kinds = [each.type.removeprefix("response.") for each in events]
            assert kinds[0] == "created" and kinds[-1] == "completed"
            deltas: list[Any] = [each for each in events if each.type.endswith("text.delta")]
            assert [each.delta for each in deltas] == ["a b c d"]
            (last,) = other.responses.retrieve(id, stream=True, starting_after=5)
            assert last.type == "response.completed"
            assert last.response.output_text == "a b c d"

    def test_a_background_response_is_cancelled_at_another_server(
        self, two: tuple[str, str], upstream: OpenAIServer
    ) -> None:
        upstream.reply = lambda _: {"content": "late", "seconds": 2}
        with client(two[0]) as one, client(two[1]) as other:
            id = one.responses.create(model="m", input="x", background=True).id
            assert other.responses.retrieve(id).status in ("queued", "in_progress")
            assert other.responses.cancel(id).status == "cancelled"
            assert one.responses.retrieve(id).status == "cancelled"


class TestIdempotencyKeys:
    @pytest.mark.parametrize("model", ["loop", "m"])
    def test_the_same_request_is_answered_once(
        self, two: tuple[str, str], upstream: OpenAIServer, model: str
    ) -> None:
        """On any server, as a run and as a direct question; another request under the key is refused."""
        upstream.reply = lambda body: (
            cell("FINAL(llm_query('x'))") if body["model"] == "root" else "42"
        )
        given: Any = {"model": model, "messages": user("What is it?")}
        first = post(two[0], key="one", **given)
        asked = len(upstream.requests)
        again = post(two[1], key="one", **given)
        streamed = post(two[1], key="one", **given, stream=True)
        assert first.status_code == again.status_code == 200
        said = [each.json()["choices"][0]["message"] for each in (first, again)]
        assert said[0] == said[1] and said[0]["content"] == "42"
        assert len(upstream.requests) == asked
        assert streamed.status_code == 422
        assert streamed.json()["error"]["code"] == "idempotency_key_reused"
        other = post(two[1], key="two", **given)
        assert other.status_code == 200 and len(upstream.requests) == 2 * asked

    def test_a_run_that_was_cut_off_goes_on(
        self, two: tuple[str, str], upstream: OpenAIServer
    ) -> None:
        """Its client left while a sub-call was asked: what was answered before is not asked again."""
        code = cell("FINAL(llm_query('first') + llm_query('second'))")
        slow = threading.Event()

        def answer(body: Any) -> Any:
            if body["model"] == "root":
                return code
            if "second" in last_message(body) and not slow.is_set():
                slow.set()
                return {"content": "b", "seconds": 3}
            return "a" if "first" in last_message(body) else "b"

        upstream.reply = answer
        given: Any = {"model": "loop", "messages": user("What is it?")}
        with ThreadPoolExecutor(1) as threads, httpx.Client(timeout=60) as leaver:
            headers = {"idempotency-key": "one"}
            url = f"{two[0]}/chat/completions"
            left = threads.submit(leaver.post, url, json=given, headers=headers, timeout=1.5)
            assert isinstance(left.exception(), httpx.ReadTimeout)
        for _ in range(50):
            answered = post(two[1], key="one", **given)
            if answered.status_code != 409:
                break
            time.sleep(0.1)
        assert answered.json()["choices"][0]["message"]["content"] == "ab"
        asked = [last_message(body) for body in upstream.requests]
        assert sum("first" in each for each in asked if "What is it" not in each) == 1

    def test_a_response_is_made_once(self, two: tuple[str, str], upstream: OpenAIServer) -> None:
        given: Any = {"model": "m", "input": "hello"}
        made = [post(url, "responses", "one", **given).json() for url in two]
        assert made[0] == made[1] and len(upstream.requests) == 1
        given["background"] = True
        begun = [post(url, "responses", "two", **given).json()["id"] for url in two]
        assert begun[0] == begun[1]

    def test_keys_are_checked(self, two: tuple[str, str]) -> None:
        given: Any = {"model": "m", "messages": user("x")}
        assert post(two[0], key="x" * 256, **given).status_code == 400


class FakeProcess:
    """A run process that answers with a text."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.is_up = True
        self.asked: list[bytes] = []

    async def answer(self, asked: Asked, body: Any) -> Any:
        self.asked.append(b"".join([part async for part in body]))
        yield Head(200)
        yield self.text


CALL = b"rlm_" + b"a" * 20 + b"_" + b"0" * 12


async def given(pool: Pool, body: bytes, id: str = "") -> bytes:
    async def parts() -> Any:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    answer = pool.answer(Asked("chat", "ada", id), parts())
    return b"".join([part async for part in answer if isinstance(part, bytes)])


class TestWorkers:
    async def test_what_comes_back_to_a_run_goes_to_its_process(self) -> None:
        """A run and a response by their ids; to another process where that one is down. Bodies arrive as they are."""
        response = b"resp_" + b"0" * 32
        one, other = FakeProcess(b"[" + CALL + b"]"), FakeProcess(b"{" + response + b"}")
        processes: Any = [one, other]
        pool = Pool(processes)
        assert await given(pool, b"new") == one.text
        pool._open[processes[0]] = 5
        assert await given(pool, b"another") == other.text
        assert await given(pool, b"x" * 3000 + CALL) == one.text
        assert await given(pool, b"", response.decode()) == other.text
        assert await given(pool, b"x" * 400_000) == other.text
        assert other.asked[-1] == b"x" * 400_000
        one.is_up = False
        assert await given(pool, CALL) == other.text

    async def test_figures_of_all_processes_are_added(self) -> None:
        one = b'# HELP a A.\n# TYPE a counter\na_total{x="y z"} 1.0\na_created 5.0\n'
        two = b'# HELP a A.\n# TYPE a counter\na_total{x="y z"} 2.0\na_total{x="n"} 4.0\na_created 7.0\n'
        lines = summed([one, two]).decode().splitlines()
        assert lines[:2] == ["# HELP a A.", "# TYPE a counter"]
        assert set(lines[2:]) == {'a_total{x="y z"} 3.0', 'a_total{x="n"} 4.0', "a_created 7.0"}

    def test_each_process_has_its_part_of_what_runs_at_once(self) -> None:
        share = share_of(Settings(workers=4, max_concurrent=10, max_background=0))
        assert (share.max_concurrent, share.max_background) == (2, 0)

    def test_cores_are_those_of_the_container(self, tmp_path: Path) -> None:
        limit = tmp_path / "cpu.max"
        limit.write_text("100000 100000\n")
        assert cores(limit) == 1
        limit.write_text("max 100000\n")
        assert cores(limit) >= 1 and cores(tmp_path / "none") == cores(limit)


class TestReadiness:
    def test_a_server_that_ends_is_not_ready_and_hands_over(self, upstream: OpenAIServer) -> None:
        """It lives, and takes requests until it hands over; then clients are told to ask again, in the middle of a stream too."""
        ending = Ending()
        upstream.reply = lambda _: {"content": "late", "seconds": 5}
        app = create_app(Settings(keep_alive_seconds=0.2, db=":memory:"), ending=ending)
        with Served(app) as server, ThreadPoolExecutor(2) as threads:
            root = server.url.removesuffix("/v1")
            assert HTTP.get(f"{root}/ready").json()["status"] == "ready"
            asked: Any = {"model": "m", "messages": user("x")}
            whole = threads.submit(post, server.url, **asked)
            streamed = threads.submit(post, server.url, **asked, stream=True)
            while len(upstream.requests) < 2:
                time.sleep(0.01)
            time.sleep(0.5)
            ending.begin()
            ready = HTTP.get(f"{root}/ready")
            assert ready.status_code == 503 and ready.json()["status"] == "stopping"
            assert HTTP.get(f"{root}/health").status_code == 200
            ending.hand_over()
            refused = whole.result()
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "server_stopping"
            assert refused.headers["x-should-retry"] == "true"
            assert refused.headers["retry-after"] == "1"
            assert "server_stopping" in streamed.result().text

    def test_without_its_database_a_server_is_not_ready(self, upstream: OpenAIServer) -> None:
        class Broken:
            async def answer(self, asked: Asked, body: Any) -> Any:
                from langgraph_rlm.server.errors import Refused

                raise Refused(500, "The database is gone.")
                yield Head(200)

        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def opened() -> Any:
            yield Broken()

        with Served(create_app(Settings(), engine=opened)) as server:
            ready = HTTP.get(server.url.replace("/v1", "/ready"))
            assert ready.status_code == 503 and ready.json()["status"] == "no database"


# Processes


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    (tmp_path / "models.toml").write_text(CONFIG)
    return ["--config", str(tmp_path / "models.toml")]


def ask(server: Process, messages: list[Any], retries: int = 0) -> Any:
    with of(server) as one:
        asking = one.with_options(max_retries=retries, timeout=60)
        return asking.chat.completions.create(model="loop", messages=messages, tools=[TOOL])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_run_processes_over_one_database(
    kind: str, upstream: OpenAIServer, options: list[str], tmp_path: Path
) -> None:
    """30 conversations at once; then one process dies: the other one serves on, and finishes its runs."""
    database = None
    url = str(tmp_path / "server.db")
    if kind == "postgresql":
        try:
            database = Postgres()
        except CannotStart as error:
            pytest.skip(str(error))
        url = database.url
    try:
        with (
            Process(*options, "--db", url, "--workers", "2") as server,
            ThreadPoolExecutor(30) as threads,
        ):

            def talk(number: int) -> str:
                messages = user(f"What does it cost? {number}")
                first = ask(server, messages)
                return str(
                    ask(server, answer_call(messages, first, "3")).choices[0].message.content
                )

            assert {*threads.map(talk, range(30))} == {"apple: 3"}
            assert len(upstream.requests) == 60
            first = ask(server, messages := user("What does it cost?"))
            workers = psutil.Process(server.pid).children()
            assert len(workers) == 2
            workers[0].kill()
            root = server.url.removesuffix("/v1")
            while HTTP.get(f"{root}/health").json()["run_processes"]["up"] == 2:
                time.sleep(0.01)
            assert HTTP.get(f"{root}/ready").status_code == 200
            again = ask(server, answer_call(messages, first, "3"))
            assert again.choices[0].message.content == "apple: 3"
            text = HTTP.get(f"{root}/metrics").text
            assert "langgraph_rlm_run_processes 2.0" in text
            while HTTP.get(f"{root}/health").json()["run_processes"]["up"] < 2:
                time.sleep(0.1)
            assert server.stop() == 0
    finally:
        if database is not None:
            database.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_rolling_update_under_load_fails_nobody(
    upstream: OpenAIServer, options: list[str], tmp_path: Path
) -> None:
    """Clients that try again as OpenAI's do, with an address that leads to one server or the other."""
    upstream.reply = lambda _: {"content": "42", "seconds": 0.2}
    where = [*options, "--db", str(tmp_path / "server.db"), "--stop-seconds", "5"]
    servers = [Process(*where) for _ in range(2)]
    answered: list[str] = []
    is_over = threading.Event()

    def load(number: int) -> None:
        while not is_over.is_set():
            url = servers[number % 2].url
            for _ in range(4):  # another try may lead to the other server, as a balancer does
                try:
                    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as one:
                        said = one.chat.completions.create(model="m", messages=user("x"))
                    answered.append(str(said.choices[0].message.content))
                    break
                except (openai.APIConnectionError, openai.InternalServerError):
                    number += 1
                    url = servers[number % 2].url
                    time.sleep(0.5)
            else:
                answered.append("failed")

    try:
        with ThreadPoolExecutor(6) as threads:
            loads = [threads.submit(load, n) for n in range(6)]
            for index in range(2):
                new = Process(*where)
                old, servers[index] = servers[index], new
                assert old.stop() == 0
            is_over.set()
            for each in loads:
                each.result()
        assert len(answered) > 20 and {*answered} == {"42"}
    finally:
        for server in servers:
            server.stop()


@pytest.mark.slow
def test_requests_are_drained_and_then_handed_over(
    upstream: OpenAIServer, options: list[str], tmp_path: Path
) -> None:
    """After SIGTERM requests are taken while `/ready` says 503; what does not end is handed over; a background response is taken up by the other server at once."""
    upstream.reply = lambda _: {"content": "late", "seconds": 20}
    where = [*options, "--db", str(tmp_path / "server.db"), "--stop-seconds", "1"]
    with (
        Process(*where, "--drain-seconds", "3") as one,
        Process(*where) as other,
        ThreadPoolExecutor(1) as threads,
    ):
        with client(one.url) as asking:
            id = asking.responses.create(model="m", input="x", background=True).id
        os.kill(one.pid, signal.SIGTERM)
        root = one.url.removesuffix("/v1")
        while HTTP.get(f"{root}/ready").status_code == 200:
            time.sleep(0.01)
        cut = threads.submit(post, one.url, model="m", messages=user("x"))
        refused = cut.result()
        assert refused.json()["error"]["code"] == "server_stopping"
        assert one.stop() == 0
        upstream.reply = lambda _: "in time"
        began = time.monotonic()
        with client(other.url) as asking:
            while asking.responses.retrieve(id).status != "completed":
                time.sleep(0.1)
                assert time.monotonic() - began < 30


@pytest.mark.slow
def test_a_second_signal_ends_at_once(
    upstream: OpenAIServer, options: list[str], tmp_path: Path
) -> None:
    upstream.reply = lambda _: {"content": "late", "seconds": 60}
    with (
        Process(*options, "--db", str(tmp_path / "server.db"), "--stop-seconds", "100") as server,
        ThreadPoolExecutor(1) as threads,
    ):
        cut = threads.submit(post, server.url, model="m", messages=user("x"))
        while not upstream.requests:
            time.sleep(0.01)
        os.kill(server.pid, signal.SIGTERM)
        time.sleep(0.2)
        os.kill(server.pid, signal.SIGINT)
        assert cut.result().json()["error"]["code"] == "server_stopping"
        assert server.stop() == 0
