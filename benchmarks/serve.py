"""Serve: many clients at once against `langgraph-rlm serve` on a mock upstream.

    python benchmarks/serve.py          # 200 clients for a minute, an upstream of 200 ms
    python benchmarks/serve.py --clients 50 --seconds 10 --json figures.json

Beside it stand the upstream alone and a bare `ChatOpenAI` loop. Each side is driven by a process of
its own, in which each client makes one request after another; every answer has to be that of its
own request. `/health` is asked all along by another process. Everything shares the machine.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from harness import Mock, mock_server
from mock_server import Program

UPSTREAM_MS = 200
PAUSE = 0.02
"""Seconds between two looks at /health."""


def main() -> None:
    """Measure all sides, and print a line for each."""
    options = _options()
    if options.drive:
        print(json.dumps(asyncio.run(DRIVERS[options.drive](options))))
        return
    figures: dict[str, Any] = {}
    with mock_server() as mock:
        mock.set_program(Program(turns=[], sub_ms=UPSTREAM_MS, sub_chars=20))
        for side in options.sides:
            figures[side] = SIDES[side](options, mock)
            print(side, json.dumps(figures[side]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--sides", nargs="*", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--drive", choices=list(DRIVERS), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    return parser.parse_args()


def upstream(options: argparse.Namespace, mock: Mock) -> dict[str, Any]:
    """Have the clients ask the mock itself."""
    return _ended(_driver("http", options, mock.url))


def plain(options: argparse.Namespace, mock: Mock) -> dict[str, Any]:
    """Have the clients share one `ChatOpenAI`, which asks the mock."""
    return _ended(_driver("chat", options, mock.url))


def server(options: argparse.Namespace, mock: Mock) -> dict[str, Any]:
    """Have the clients ask the server."""
    with _server(mock) as (process, url):
        warm = argparse.Namespace(clients=options.clients, seconds=min(5, options.seconds))
        _ended(_driver("http", warm, url))
        before = _memory(process)
        cpu = _cpu(process)
        clients = _driver("http", options, url)
        health = _driver("health", options, url)
        report = _ended(clients)
        spent = [round(now - then, 1) for now, then in zip(_cpu(process), cpu, strict=True)]
        return report | {
            "health_ms": _ended(health),
            "mb_before": before,
            "mb_after": _memory(process),
            "cpu_seconds": spent,
        }


def large(options: argparse.Namespace, mock: Mock) -> dict[str, Any]:
    """Make requests of 99 MB, one after another.

    Their text becomes a context, and the model's code counts its characters.
    """
    turn = "```repl\nFINAL(f'{len(context)} characters')\n```"
    mock.set_program(Program(turns=[turn], sub_ms=UPSTREAM_MS, sub_chars=20))
    with _server(mock) as (process, url):
        _ended(_driver("bodies", argparse.Namespace(clients=1, seconds=1), url))
        before = _memory(process)
        bodies = _driver("bodies", options, url)
        health = _driver("health", options, url)
        return _ended(bodies) | {
            "health_ms": _ended(health),
            "mb_before": before,
            "mb_after": _memory(process),
        }


SIDES = {"upstream": upstream, "plain": plain, "server": server, "large": large}


@contextmanager
def _server(mock: Mock) -> Iterator[tuple[psutil.Process, str]]:
    with tempfile.TemporaryDirectory(prefix="langgraph-rlm-bench-") as folder:
        env = os.environ | {
            "OPENAI_BASE_URL": f"{mock.url}/v1",
            "OPENAI_API_KEY": "none",
            "LANGGRAPH_RLM_STORE": f"{folder}/blobs",
        }
        command = [sys.executable, "-m", "langgraph_rlm", "serve", "--port", "0"]
        log = Path(folder, "log")
        with log.open("w") as file:
            process = subprocess.Popen(
                [*command, "--db", f"{folder}/server.db"], env=env, stderr=file
            )
        try:
            while not log.read_text().startswith("Serving ") and process.poll() is None:
                time.sleep(0.05)
            url = log.read_text().split()[1].removesuffix("/v1")
            yield psutil.Process(process.pid), url
        finally:
            process.terminate()
            process.wait(60)


def _driver(name: str, options: argparse.Namespace, url: str) -> "subprocess.Popen[str]":
    command = [sys.executable, __file__, "--drive", name, "--url", url]
    return subprocess.Popen(
        [*command, "--clients", str(options.clients), "--seconds", str(options.seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )


def _ended(process: "subprocess.Popen[str]") -> Any:
    out, _ = process.communicate(timeout=600)
    return json.loads(out.splitlines()[-1])


def _memory(process: psutil.Process) -> list[float]:
    """Give the resident memory of the server and of its processes, each in 10**6 bytes."""
    return [round(each.memory_info().rss / 1e6, 1) for each in _tree(process)]


def _cpu(process: psutil.Process) -> list[float]:
    return [sum(each.cpu_times()[:2]) for each in _tree(process)]


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


async def _http(options: argparse.Namespace) -> dict[str, Any]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(120)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def ask(prompt: str) -> str:
            body = {"model": "sub", "messages": [{"role": "user", "content": prompt}]}
            async with session.post(f"{options.url}/v1/chat/completions", json=body) as reply:
                if reply.status != 200:
                    return f"HTTP {reply.status}"
                return (await reply.json())["choices"][0]["message"]["content"]

        return await _clients(options, ask)


async def _bodies(options: argparse.Namespace) -> dict[str, Any]:
    import aiohttp

    size = 99 * 2**20
    messages = [{"role": "user", "content": "x" * size}]
    body = json.dumps({"model": "root", "messages": messages}).encode()
    times: list[float] = []
    start = time.monotonic()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(300)) as session:
        while not times or time.monotonic() - start < options.seconds:
            began = time.monotonic()
            async with session.post(f"{options.url}/v1/chat/completions", data=body) as reply:
                text = await reply.text()
                if f"{size} characters" not in text:
                    raise RuntimeError(f"HTTP {reply.status}: {text[:500]}")
            times.append(time.monotonic() - began)
    return {"latency_ms": spread(times)}


async def _chat(options: argparse.Namespace) -> dict[str, Any]:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="sub", base_url=f"{options.url}/v1", api_key="none")

    async def ask(prompt: str) -> str:
        return str((await model.ainvoke(prompt)).text)

    return await _clients(options, ask)


async def _clients(options: argparse.Namespace, ask: Any) -> dict[str, Any]:
    """Run the clients. Each one's prompts have a length of their own, which its answers tell."""
    times: list[float] = []
    wrong: list[str] = []
    start = time.monotonic()

    async def client(number: int) -> None:
        size = 100 + number
        while time.monotonic() - start < options.seconds:
            began = time.monotonic()
            answer = await ask("x" * size)
            times.append(time.monotonic() - began)
            if not answer.startswith(f"len={size} "):
                wrong.append(answer)

    await asyncio.gather(*(client(number) for number in range(options.clients)))
    seconds = time.monotonic() - start
    return {
        "requests_per_second": round(len(times) / seconds, 1),
        "errors": len(wrong),
        "first_error": wrong[:1],
        "latency_ms": spread(times),
    }


async def _health(options: argparse.Namespace) -> dict[str, Any]:
    """Ask with a new connection each time, like a load balancer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    times: list[float] = []
    start = time.monotonic()
    while time.monotonic() - start < options.seconds:
        began = time.perf_counter()
        opener.open(f"{options.url}/health").close()
        times.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE)
    return spread(times)


DRIVERS = {"http": _http, "chat": _chat, "bodies": _bodies, "health": _health}


def spread(seconds: list[float]) -> dict[str, float]:
    """Give how times are spread, in milliseconds."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    found: dict[str, float] = {
        "n": len(ordered),
        "over_50_ms": sum(each > 0.05 for each in ordered),
    }
    for name, share in {"p50": 0.5, "p99": 0.99, "max": 1.0}.items():
        value = ordered[min(last, int(share * len(ordered)))]
        found[name] = round(value * 1000, 1)
    return found


if __name__ == "__main__":
    main()
