"""`langgraph-rlm serve` as a process: killed and started again, two on one database, large bodies, an orderly end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from langgraph_rlm.testing import cell

from .faults.databases import CannotStart, Postgres
from .openai_server import OpenAIServer, environment_upstream, last_message, turn_of
from .servers import TOOL, Process
from .test_server_defects import answer_call, of, user

CONFIG = '[models.loop]\nmodel = "root"\nsub_model = "sub"\ndirect_below_tokens = 0\n'
CODE = cell(
    "first = llm_query('name an item')\na = price(item=first)\nb = price(item='pear')\nFINAL(f'{first}: {a}, pear: {b}')"
)


def reply(body: Any) -> str:
    """The root asks a sub-model once, then its tool twice; other models echo."""
    if body["model"] == "root":
        return CODE if turn_of(body) == 0 else cell("FINAL('asked again')")
    return "apple" if body["model"] == "sub" else f"echo {last_message(body)[-20:]}"


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, reply)


@pytest.fixture
def config(tmp_path: Path) -> list[str]:
    (tmp_path / "models.toml").write_text(CONFIG)
    return ["--config", str(tmp_path / "models.toml")]


def ask(server: Process, messages: list[Any]) -> Any:
    with of(server) as client:
        return client.chat.completions.create(
            model="loop", messages=messages, tools=[TOOL], timeout=60
        )


def test_a_tool_call_answered_after_the_server_was_killed(
    upstream: OpenAIServer, config: list[str], tmp_path: Path
) -> None:
    """SIGKILL, by its id, while the run waits; the new server goes on in the middle of the code, and asks no model again."""
    where = [*config, "--db", str(tmp_path / "server.db")]
    messages = user("What do they cost?")
    server = Process(*where)
    first = ask(server, messages)
    server.kill()
    with Process(*where) as server:
        messages = answer_call(messages, first, "3")
        second = ask(server, messages)
        server.kill()
    with Process(*where) as server:
        last = ask(server, answer_call(messages, second, "4"))
        assert last.choices[0].message.content == "apple: 3, pear: 4"
        assert len(upstream.requests) == 2
        assert server.stop() == 0


@pytest.mark.slow
def test_a_tool_call_answered_by_another_server_on_the_same_postgresql(
    upstream: OpenAIServer, config: list[str], tmp_path: Path
) -> None:
    """Both are up: no request needs to come back to the server that began its run."""
    try:
        database = Postgres()
    except CannotStart as error:
        pytest.skip(str(error))
    with (
        database,
        Process(*config, "--db", database.url) as one,
        Process(*config, "--db", database.url) as other,
    ):
        messages = user("What do they cost?")
        first = ask(one, messages)
        messages = answer_call(messages, first, "3")
        second = ask(other, messages)
        last = ask(one, answer_call(messages, second, "4"))
        assert last.choices[0].message.content == "apple: 3, pear: 4"
        assert len(upstream.requests) == 2


@pytest.mark.slow
def test_a_body_of_100_mb_while_health_answers(
    upstream: OpenAIServer, config: list[str], tmp_path: Path
) -> None:
    """Its text is the run's context; others are served meanwhile."""
    upstream.reply = lambda body: (
        cell("print(len(context))\nFINAL(context_info())") if body["model"] == "root" else "echo"
    )
    body = json.dumps(
        {"model": "loop", "messages": user("0123456789" * (99 * 2**20 // 10))}
    ).encode()
    with (
        Process(*config, "--db", str(tmp_path / "server.db")) as server,
        ThreadPoolExecutor(1) as threads,
    ):
        large = threads.submit(
            httpx.post, f"{server.url}/chat/completions", content=body, timeout=100
        )
        looks = 0
        while not large.done():
            assert httpx.get(server.url.replace("/v1", "/health"), timeout=5).status_code == 200
            looks += 1
            time.sleep(0.02)
        assert large.result().status_code == 200, large.result().text
        assert str(99 * 2**20 // 10 * 10) in large.result().json()["choices"][0]["message"][
            "content"
        ].replace(",", "").replace("_", "")
        assert looks > 10


@pytest.mark.slow
def test_the_process_of_the_runs_is_started_again_when_it_dies(
    upstream: OpenAIServer, config: list[str], tmp_path: Path
) -> None:
    """What it had done is kept; the request that it was killed in is told so, and the next one waits until it is up."""
    with Process(*config, "--db", str(tmp_path / "server.db")) as server:
        first = ask(server, messages := user("What do they cost?"))
        (runs,) = psutil.Process(server.pid).children()
        upstream.reply = lambda body: {"content": "late", "seconds": 5}
        with ThreadPoolExecutor(1) as threads:
            cut = threads.submit(
                httpx.post,
                f"{server.url}/chat/completions",
                json={"model": "m", "messages": user("x")},
                timeout=30,
            )
            while len(upstream.requests) < 3:
                time.sleep(0.01)
            runs.kill()
            assert (cut.result().status_code, cut.result().json()["error"]["code"]) == (
                503,
                "restarted",
            )
        upstream.reply = reply
        while httpx.get(server.url.replace("/v1", "/health")).status_code == 200:
            time.sleep(0.01)
        assert ask(server, answer_call(messages, first, "3")).choices[0].message.tool_calls


@pytest.mark.slow
def test_sigterm_lets_requests_end(
    upstream: OpenAIServer, config: list[str], tmp_path: Path
) -> None:
    upstream.reply = lambda body: {"content": "in time", "seconds": 0.7}
    with (
        Process(*config, "--db", str(tmp_path / "server.db")) as server,
        ThreadPoolExecutor(1) as threads,
    ):
        running = threads.submit(
            httpx.post,
            f"{server.url}/chat/completions",
            json={"model": "m", "messages": user("x")},
            timeout=30,
        )
        while not upstream.requests:
            time.sleep(0.01)
        os.kill(server.pid, signal.SIGTERM)
        assert running.result().json()["choices"][0]["message"]["content"] == "in time"
        assert server.stop() == 0


def test_headers_without_end_are_refused_and_long_ones_are_not(
    tmp_path: Path, upstream: OpenAIServer
) -> None:
    """uvicorn would take them into memory, from anybody; a request of several packets is still one."""
    with Process("--db", str(tmp_path / "server.db")) as server:
        where = httpx.URL(server.url)
        body = {"model": "m", "messages": user("x" * 300_000)}
        with httpx.Client() as client:
            for _ in range(2):
                assert (
                    client.post(
                        f"{server.url}/chat/completions",
                        json=body,
                        headers={"x-long": "y" * 50_000},
                    ).status_code
                    == 200
                )
        with socket.create_connection((where.host, where.port or 80), timeout=10) as raw:
            raw.sendall(b"GET /health HTTP/1.1\r\nx-endless: ")
            raw.sendall(b"y" * 70_000)
            assert raw.recv(100).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("options", "env", "message"),
    [
        (["--host", "0.0.0.0"], {}, "LANGGRAPH_RLM_API_KEY"),
        (["--db", "/proc/none/server.db"], {}, "cannot be opened"),
        (
            ["--db", "postgresql://postgres:hidden@127.0.0.1:9/none?connect_timeout=1"],
            {},
            "PostgreSQL database cannot be opened",
        ),
        (
            ["--port", "47123"],
            {"OPENAI_BASE_URL": "http://localhost:47123/v1"},
            "this server itself",
        ),
    ],
)
def test_what_it_must_not_do_is_one_line(
    tmp_path: Path, options: list[str], env: dict[str, str], message: str
) -> None:
    command = [
        sys.executable,
        "-m",
        "langgraph_rlm",
        "serve",
        "--port",
        "0",
        "--db",
        str(tmp_path / "server.db"),
        *options,
    ]
    done = subprocess.run(
        command, env=os.environ | env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1 and done.stderr.startswith("Error: ") and message in done.stderr
    assert len(done.stderr.splitlines()) == 1 and "hidden" not in done.stderr


def test_without_the_packages_the_command_names_them(tmp_path: Path) -> None:
    code = "import sys; sys.modules['starlette'] = None; sys.argv = ['langgraph-rlm', 'serve']\nfrom langgraph_rlm.cli.main import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1 and "pip install 'langgraph-rlm[server]'" in done.stderr


@pytest.mark.slow
def test_two_keys_on_one_database(
    upstream: OpenAIServer, config: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the process of the runs too, a call of one key is unknown to another."""
    monkeypatch.setenv("LANGGRAPH_RLM_API_KEY", "key-of-ada,key-of-bob")
    with (
        Process(*config, "--db", str(tmp_path / "server.db")) as server,
        of(server, "key-of-ada") as ada,
        of(server, "key-of-bob") as bob,
    ):
        first = ada.chat.completions.create(
            model="loop", messages=(messages := user("q")), tools=[TOOL]
        )
        given: Any = {
            "model": "loop",
            "messages": answer_call(messages, first, "3"),
            "tools": [TOOL],
        }
        with pytest.raises(openai.NotFoundError):
            bob.chat.completions.create(**given)
        assert ada.chat.completions.create(**given).choices[0].message.tool_calls
