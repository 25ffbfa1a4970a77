"""Keys: many clients with some keys, over two servers and one PostgreSQL, against a mock upstream.

    python benchmarks/keys.py            # 200 clients with 10 keys for 30 s, an upstream of 200 ms
    python benchmarks/keys.py --clients 40 --seconds 5 --json figures.json

Three parts:

- `isolation`: each key makes a run that waits for a tool, a response, a background response and a
  file; then every id is tried with every other key, on both servers, in each way that it can be
  named. All have to be unknown.
- `limits`: each key has a limit of requests and of tokens; all clients ask until they are refused.
  What was let in is compared with the limit, and with what the upstream was asked for.
- `overhead`: the same load without limits and with limits that are never reached: latency,
  requests a second and CPU of all processes of the servers.
"""

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from harness import Mock, mock_server
from mock_server import Program
from serve import UPSTREAM_MS, spread

ROOT = Path(__file__).parents[1]
SERVERS = 2
REQUESTS_A_KEY = 100
TOKENS_A_KEY = 20_000
FAR = {"requests_per_day": 10**9, "tokens_per_day": 10**12}
"""Limits that are counted and never reached."""
CODE = "open('out/file.txt', 'w').write('x')\na = price(item='apple')\nFINAL(a)"
FILE = "open('out/file.txt', 'w').write('x')\nFINAL('done')"
TOOL = {
    "type": "function",
    "function": {
        "name": "price",
        "parameters": {"type": "object", "properties": {"item": {"type": "string"}}},
    },
}
UNKNOWN = (400, 404)
"""A response before another one is a field of the request, and an unknown one is 400 as OpenAI's
is; everything else is 404."""


def main() -> None:
    """Measure, and print a line for each part."""
    options = _options()
    if options.drive:
        print(json.dumps(asyncio.run(_load(options))))
        return
    sys.path.insert(0, str(ROOT))
    from tests.faults.databases import Postgres

    figures: dict[str, Any] = {}
    with Postgres() as database, mock_server() as mock:
        for part in options.parts:
            figures[part] = PARTS[part](options, mock, database.url)
            print(part, json.dumps(figures[part]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--keys", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    parser.add_argument("--requests", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def keys_of(options: argparse.Namespace) -> list[str]:
    """Name the keys."""
    return [f"key-{number}" for number in range(options.keys)]


# The parts


def isolation(options: argparse.Namespace, mock: Mock, url: str) -> dict[str, Any]:
    """Try every id of one key with all others."""
    with _servers(options, mock, url, {}) as (_, urls):
        return asyncio.run(_isolation(options, mock, urls))


def limits(options: argparse.Namespace, mock: Mock, url: str) -> dict[str, Any]:
    """Ask until everybody is refused: by requests, and by tokens."""
    found: dict[str, Any] = {}
    asked = {"requests_per_day": REQUESTS_A_KEY}, {"tokens_per_day": TOKENS_A_KEY}
    for number, limit in enumerate(asked):
        mock.set_program(Program(turns=[], sub_ms=UPSTREAM_MS, sub_chars=400))
        # other keys than before: their day has not begun
        with _servers(options, mock, url, limit, prefix=str(number)) as (_, urls):
            drive = {"urls": urls, "prefix": str(number), "until_refused": True}
            report = _driven(options, drive)
            used = _used(options, urls[0], str(number))
        found[next(iter(limit))] = {
            "limit": next(iter(limit.values())),
            "used_by_key": used,
            "let_in": report["statuses"].get("200", 0),
            "refused": report["statuses"].get("429", 0),
            "other": {k: n for k, n in report["statuses"].items() if k not in ("200", "429")},
            "upstream_calls": len(mock.calls()),
            "most_in_flight": -(-options.clients // options.keys),
        }
    return found


def overhead(options: argparse.Namespace, mock: Mock, url: str) -> dict[str, Any]:
    """Have all clients ask, without limits and with some that are far away."""
    found: dict[str, Any] = {}
    for name, limit in {"without": {}, "with": FAR}.items():
        mock.set_program(Program(turns=[], sub_ms=UPSTREAM_MS, sub_chars=20))
        with _servers(options, mock, url, limit) as (processes, urls):
            warm = argparse.Namespace(**{**vars(options), "seconds": min(5, options.seconds)})
            _driven(warm, {"urls": urls, "prefix": ""})
            before = _cpu(processes)
            report = _driven(options, {"urls": urls, "prefix": ""})
            cpu = sum(_cpu(processes)) - sum(before)
        requests = report["statuses"].get("200", 0)
        found[name] = {**report, "cpu_ms_per_request": round(1000 * cpu / max(1, requests), 2)}
    return found


PARTS = {"isolation": isolation, "limits": limits, "overhead": overhead}


# Servers


@contextmanager
def _servers(
    options: argparse.Namespace,
    mock: Mock,
    database: str,
    limits: dict[str, Any],
    prefix: str = "",
) -> Iterator[tuple[list[psutil.Process], list[str]]]:
    with tempfile.TemporaryDirectory(prefix="langgraph-rlm-bench-") as folder:
        config = Path(folder, "models.toml")
        config.write_text(_config(options, limits, prefix))
        env = os.environ | {
            "OPENAI_BASE_URL": f"{mock.url}/v1",
            "OPENAI_API_KEY": "none",
            "LANGGRAPH_RLM_STORE": f"{folder}/blobs",
        }
        command = [sys.executable, "-m", "langgraph_rlm", "serve", "--port", "0"]
        command += ["--db", database, "--config", str(config), "--log-level", "error"]
        command += ["--workers", str(options.workers)]
        started: list[subprocess.Popen[bytes]] = []
        try:
            urls = [
                _started(command, env, Path(folder, f"log{n}"), started) for n in range(SERVERS)
            ]
            yield [psutil.Process(process.pid) for process in started], urls
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(60)


def _started(
    command: list[str], env: dict[str, str], log: Path, started: "list[subprocess.Popen[bytes]]"
) -> str:
    with log.open("w") as file:
        process = subprocess.Popen(command, env=env, stderr=file)
    started.append(process)
    while not log.read_text().startswith("Serving ") and process.poll() is None:
        time.sleep(0.05)
    return log.read_text().split()[1].removesuffix("/v1")


def _config(options: argparse.Namespace, limits: dict[str, Any], prefix: str) -> str:
    lines = ['[models.loop]\nmodel = "root"\nsub_model = "sub"\ndirect_below_tokens = 0']
    if limits:
        lines.append("[limits]")
        lines += [f"{name} = {value}" for name, value in limits.items()]
    for key in keys_of(options):
        digest = hashlib.sha256(f"{prefix}{key}".encode()).hexdigest()
        lines.append(f'[keys.{key}]\nsha256 = "{digest}"')
    return "\n".join(lines)


def _cpu(processes: list[psutil.Process]) -> list[float]:
    trees = [[each, *each.children(recursive=True)] for each in processes]
    return [sum(each.cpu_times()[:2]) for tree in trees for each in tree]


# Clients


def _driven(options: argparse.Namespace, drive: dict[str, Any]) -> dict[str, Any]:
    """Have a process of its own ask."""
    command = [sys.executable, __file__, "--drive", json.dumps(drive)]
    for name in ("clients", "keys", "seconds"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600)
    return json.loads(done.stdout.splitlines()[-1])


async def _load(options: argparse.Namespace) -> dict[str, Any]:
    import aiohttp

    drive = json.loads(options.drive)
    keys, urls = keys_of(options), drive["urls"]
    times: list[float] = []
    statuses = Counter[str]()
    start = time.monotonic()
    is_until_refused = drive.get("until_refused", False)

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        headers = {"authorization": f"Bearer {drive['prefix']}{keys[number % len(keys)]}"}
        body = {"model": "sub", "messages": [{"role": "user", "content": "x" * 400}]}
        turn = number // len(keys)
        quiet = 0
        while quiet < 3 if is_until_refused else time.monotonic() - start < options.seconds:
            turn += 1
            url = f"{urls[turn % len(urls)]}/v1/chat/completions"
            began = time.monotonic()
            try:
                async with session.post(url, json=body, headers=headers) as reply:
                    said = await reply.json()
                    statuses[str(reply.status)] += 1
            except aiohttp.ClientConnectionError:  # it was kept open too long
                statuses["connection closed"] += 1
                continue
            if reply.status == 200:
                times.append(time.monotonic() - began)
            elif said["error"]["code"] == "insufficient_quota":
                quiet += 1
            else:
                await asyncio.sleep(float(reply.headers.get("retry-after", 1)))

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(120)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await asyncio.gather(*(client(session, n) for n in range(options.clients)))
    seconds = time.monotonic() - start
    return {
        "requests_per_second": round(len(times) / seconds, 1),
        "statuses": dict(statuses),
        "latency_ms": spread(times) if times else {},
    }


def _used(options: argparse.Namespace, url: str, prefix: str) -> list[Any]:
    """Ask what each key has used."""
    import httpx

    time.sleep(5)  # until the other server has said its last word
    found: list[Any] = []
    for key in keys_of(options):
        headers = {"authorization": f"Bearer {prefix}{key}"}
        used = httpx.get(f"{url}/v1/usage", headers=headers).json()["used"]
        found.append([used["requests"], used["tokens"]])
    return found


# Isolation


async def _isolation(options: argparse.Namespace, mock: Mock, urls: list[str]) -> dict[str, Any]:
    import httpx

    made: dict[str, dict[str, Any]] = {}
    tried: Counter[str] = Counter()
    async with httpx.AsyncClient(timeout=120) as http:
        for name, turn in {"call": CODE, "file": FILE}.items():
            mock.set_program(Program(turns=[f"```repl\n{turn}\n```"], sub_ms=1, sub_chars=20))
            for number, key in enumerate(keys_of(options)):
                url = urls[number % len(urls)]
                made.setdefault(key, {}).update(await _made(http, url, key, name))
        for owner, ids in made.items():
            for other in keys_of(options):
                for url in urls:
                    is_own = owner == other
                    for what, status in await _attempts(http, url, other, ids, is_own=is_own):
                        tried[what] += not is_own
                        if (status in UNKNOWN) == is_own:
                            raise RuntimeError(f"{other} got {status} for {what} of {owner}")
    return {"keys": len(made), "tried": dict(tried), "leaks": 0}


async def _made(http: Any, url: str, key: str, what: str) -> dict[str, Any]:
    """Make what has an id: a tool call that waits and responses, or a file."""
    headers = {"authorization": f"Bearer {key}"}
    messages = [{"role": "user", "content": "What does it cost?"}]
    body: dict[str, Any] = {"model": "loop", "messages": messages}
    if what == "file":
        reply = (await http.post(f"{url}/v1/chat/completions", json=body, headers=headers)).json()
        return {"file": reply["files"][0]["id"]}
    body["tools"] = [TOOL]
    reply = (await http.post(f"{url}/v1/chat/completions", json=body, headers=headers)).json()
    call = reply["choices"][0]["message"]
    ids: dict[str, Any] = {"messages": [*messages, call], "call": call["tool_calls"][0]["id"]}
    for name, more in {"response": {}, "background": {"background": True}}.items():
        asked = {"model": "sub", "input": "x", **more}
        reply = (await http.post(f"{url}/v1/responses", json=asked, headers=headers)).json()
        ids[name] = reply["id"]
    return ids


async def _attempts(
    http: Any, url: str, key: str, ids: dict[str, Any], *, is_own: bool
) -> list[tuple[str, int]]:
    """Try each id with a key, in each way that it can be named; those that end something with other
    keys alone."""
    headers = {"authorization": f"Bearer {key}"}
    result = {"role": "tool", "tool_call_id": ids["call"], "content": "3"}
    chat = {"model": "loop", "messages": [*ids["messages"], result], "tools": [TOOL]}
    item = f"msg_{ids['response'].removeprefix('resp_')}_o0"
    after = {"model": "sub", "input": "y", "previous_response_id": ids["response"]}
    output = {"type": "function_call_output", "call_id": ids["call"], "output": "3"}
    asked: list[tuple[str, str, str, Any]] = [
        ("tool result", "POST", "chat/completions", chat),
        ("function output", "POST", "responses", {"model": "loop", "input": [output]}),
        ("response", "GET", f"responses/{ids['response']}", None),
        ("background", "GET", f"responses/{ids['background']}", None),
        ("input items", "GET", f"responses/{ids['response']}/input_items", None),
        ("next question", "POST", "responses", after),
        ("item", "POST", "responses", _reference(item)),
        ("file", "GET", f"files/{ids['file']}", None),
        ("file content", "GET", f"files/{ids['file']}/content", None),
    ]
    if not is_own:
        asked += [
            ("cancel", "POST", f"responses/{ids['background']}/cancel", None),
            ("delete", "DELETE", f"responses/{ids['response']}", None),
        ]
    found: list[tuple[str, int]] = []
    for what, method, path, body in asked:
        sent = None if body is None else json.dumps(body)
        type_ = {"content-type": "application/json"}
        reply = await http.request(
            method, f"{url}/v1/{path}", content=sent, headers={**headers, **type_}
        )
        found.append((what, reply.status_code))
    return found


def _reference(item: str) -> dict[str, Any]:
    said = {"type": "message", "role": "user", "content": "y"}
    return {"model": "sub", "input": [{"type": "item_reference", "id": item}, said]}


if __name__ == "__main__":
    main()
