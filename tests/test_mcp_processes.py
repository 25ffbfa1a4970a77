"""`langgraph-rlm mcp` in a process of its own: what its stdout has, whose threads are whose, and what is left when clients die."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from langgraph_rlm.cli.main import main

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

from tests.node import played

ROOT = Path(__file__).parents[1]
ACCEPTS = {"accept": "application/json, text/event-stream"}
GRAPH = ("--graph", "tests.mcp_process:graph")
KEYS = ("key-of-ann-1", "key-of-ben-2")


@dataclass
class Place:
    """Where a server's process works."""

    folder: Path

    @property
    def arguments(self) -> list[str]:
        db = str(self.folder / "threads.db")
        return ["-m", "langgraph_rlm", "mcp", str(self.folder), "--db", db, *GRAPH]

    @property
    def env(self) -> dict[str, str]:
        own = {"LEDGER": str(self.folder / "ledger"), "PYTHONPATH": str(ROOT)}
        return {**os.environ, **own, "LANGGRAPH_RLM_STORE": str(self.folder / "blobs")}

    @property
    def noted(self) -> list[str]:
        """The lines of the ledger."""
        ledger = self.folder / "ledger"
        return ledger.read_text().split("\n")[:-1] if ledger.exists() else []

    @property
    def at_work(self) -> int:
        """Calls of models that have begun and not ended."""
        return self.noted.count("begins") - self.noted.count("ends")

    async def until(self, at_work: int) -> None:
        """Wait until so many calls are under way."""
        async with asyncio.timeout(20):
            while self.at_work != at_work:
                await asyncio.sleep(0.05)

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *self.arguments, *arguments],
            env={**self.env, **env},
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


@dataclass
class Served(Place):
    """A server over HTTP."""

    url: str
    process: subprocess.Popen[str]

    @asynccontextmanager
    async def client(self, key: str = KEYS[0], **options: Any) -> AsyncIterator[Client]:
        headers = {"authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            transport = streamable_http_client(self.url, http_client=http)
            async with Client(transport, **options) as client:
                yield client

    def children(self) -> int:
        return len(psutil.Process(self.process.pid).children(recursive=True))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = Place(tmp_path_factory.mktemp("served"))
    process = place.start("--http", "127.0.0.1:0", LANGGRAPH_RLM_API_KEY=",".join(KEYS))
    assert process.stderr is not None
    lines = [process.stderr.readline()]
    while not lines[-1].startswith("Serving MCP at "):
        assert process.poll() is None, "".join(lines)
        lines.append(process.stderr.readline())
    yield Served(place.folder, lines[-1].split()[3], process)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0


async def call(client: Client, name: str, /, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


async def yes(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"decision": "approve"})


# stdio


def lines_that_ask(**arguments: Any) -> str:
    """What a client writes that asks one question."""
    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    asked = {"name": "ask", "arguments": arguments}
    lines = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": asked},
    ]
    return "".join(f"{json.dumps(line)}\n" for line in lines)


async def test_stdout_is_the_protocols_alone_and_a_client_that_leaves_ends_the_process(
    place: Place,
) -> None:
    process = place.start()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(lines_that_ask(question="slow?", text="slow", wait_seconds=0))
    process.stdin.flush()
    answers = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [answer["id"] for answer in answers] == [1, 2]
    assert answers[1]["result"]["structuredContent"]["state"] == "running"
    await place.until(1)
    children = psutil.Process(process.pid).children(recursive=True)
    out, errors = await asyncio.to_thread(process.communicate, None, 30)  # it closes stdin
    assert (out, process.returncode) == ("", 0)
    assert "printed while it is imported\nprinted by another program" in errors
    assert place.at_work == 0
    assert not [child for child in children if child.is_running()]


@pytest.mark.slow
def test_a_client_that_leaves_before_its_answer_is_no_error(place: Place) -> None:
    process = place.start()
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(lines_that_ask(question="q", text="a text"))
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    process.stdin.close()
    assert process.wait(30) == 0
    assert "Error" not in process.stderr.read()
    process.stderr.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_and_its_runs(place: Place, number: int) -> None:
    parameters = StdioServerParameters(
        command=sys.executable, args=place.arguments, env=place.env, cwd=ROOT
    )
    async with Client(parameters) as client:
        await call(client, "ask", question="slow?", text="slow", wait_seconds=0)
        await place.until(1)
        (server,) = [
            each
            for each in psutil.Process().children()
            if "langgraph_rlm" in each.cmdline() and "mcp" in each.cmdline()
        ]
        server.send_signal(number)
        await place.until(0)
        await asyncio.to_thread(server.wait, 10)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_over_stdio_asks_and_approves(place: Place, mode: str) -> None:
    (place.folder / "a.txt").write_text("a text")
    parameters = StdioServerParameters(
        command=sys.executable, args=place.arguments, env=place.env, cwd=ROOT
    )
    async with Client(parameters, mode=mode, elicitation_callback=yes) as client:
        out = await call(client, "ask", question="What?", paths=["a.txt"])
        assert out["answer"] == "a text len=6"
        assert (await call(client, "ask", question="shop"))["answer"] == "bought tea"
    assert "bought tea" in place.noted


CLIENT = """
import asyncio, json, sys
from mcp import Client, StdioServerParameters
async def main():
    async with Client(StdioServerParameters(**json.loads(sys.argv[1])), mode=sys.argv[2]) as client:
        await client.call_tool("ask", {"question": "slow?", "text": "slow"})
asyncio.run(main())
"""


def running(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a program."""
    return subprocess.Popen(command)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_that_is_killed_takes_its_server_and_run_along(
    place: Place, mode: str
) -> None:
    parameters = {
        "command": sys.executable,
        "args": place.arguments,
        "env": place.env,
        "cwd": str(ROOT),
    }
    with running([sys.executable, "-c", CLIENT, json.dumps(parameters), mode]) as client:
        await place.until(1)
        below = psutil.Process(client.pid).children(recursive=True)
        assert below
        client.kill()
        await place.until(0)
    _, alive = await asyncio.to_thread(psutil.wait_procs, below, 10)
    assert not alive


# HTTP


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_threads_of_one_key_are_not_there_for_another(served: Served, mode: str) -> None:
    async with served.client(KEYS[0], mode=mode) as ann, served.client(KEYS[1], mode=mode) as ben:
        thread = (await call(ann, "ask", question="What?", text="of ann"))["thread"]
        assert (await call(ann, "read", thread=thread))["text"] == "of ann"
        for tool, more in (
            ("status", {}),
            ("read", {}),
            ("resume", {}),
            ("follow_up", {"question": "?"}),
        ):
            result = await ben.call_tool(tool, {"thread": thread, **more})
            assert result.is_error
            assert "There is no thread" in str(result.content)


async def test_a_request_needs_a_key_this_host_and_no_page_that_makes_it(served: Served) -> None:
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    key = {"authorization": f"Bearer {KEYS[0]}"}
    async with httpx2.AsyncClient() as http:

        async def status(**headers: str) -> int:
            return (
                await http.post(served.url, json=ping, headers={**ACCEPTS, **headers})
            ).status_code

        assert await status() == 401
        assert await status(authorization="Bearer no") == 401
        assert await status(**key, host="evil.example:80") == 421
        assert await status(**key, origin="http://localhost:3000") == 403
        assert await status(**key, origin="null") == 403
        large = await http.post(served.url, content=b"0" * (33 << 20), headers={**ACCEPTS, **key})
        assert large.status_code == 413


async def test_a_session_is_of_the_key_that_has_begun_it(served: Served) -> None:
    async with httpx2.AsyncClient() as http:
        session = await begun(http, served)
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        other = {**session, "authorization": f"Bearer {KEYS[1]}"}
        assert (await http.post(served.url, json=ping, headers=session)).status_code == 200
        assert (await http.post(served.url, json=ping, headers=other)).status_code == 404


async def begun(http: httpx2.AsyncClient, served: Served) -> dict[str, str]:
    """Begin a session of before 2026; give the headers of its requests."""
    headers = {**ACCEPTS, "authorization": f"Bearer {KEYS[0]}"}
    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    begin = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    answer = await http.post(served.url, json=begin, headers=headers)
    return {**headers, "mcp-session-id": answer.headers["mcp-session-id"]}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_that_dies_stops_its_run(served: Served, mode: str) -> None:
    """It closes its connection without a word, as a killed process does."""
    asked: dict[str, Any] = {"name": "ask", "arguments": {"question": "slow?", "text": "slow"}}
    async with httpx2.AsyncClient(timeout=60) as http:
        if mode == "legacy":
            headers = await begun(http, served)
        else:
            version = "2026-07-28"
            headers = {
                **ACCEPTS,
                "authorization": f"Bearer {KEYS[0]}",
                "mcp-protocol-version": version,
            }
            headers |= {"mcp-method": "tools/call", "mcp-name": "ask"}
            prefix = "io.modelcontextprotocol"
            asked["_meta"] = {
                f"{prefix}/protocolVersion": version,
                f"{prefix}/clientCapabilities": {},
                f"{prefix}/clientInfo": {"name": "t", "version": "1"},
            }
        request = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": asked}
        asking = asyncio.create_task(http.post(served.url, json=request, headers=headers))
        await served.until(1)
        asking.cancel()
        await asyncio.wait({asking})
    await served.until(0)


async def questions(served: Served, clients: int, each: int) -> float:
    """Ask many questions at once; every one has to get the answer of its own text. Gives the seconds that they took."""
    began = time.monotonic()

    async def asks(client: Client, number: int) -> None:
        texts = [f"text {number}/{index}" for index in range(each)]
        found = await asyncio.gather(
            *(call(client, "ask", question=f"What is in {text}?", text=text) for text in texts)
        )
        assert [out["answer"] for out in found] == [f"{text} len={len(text)}" for text in texts]
        assert len({out["thread"] for out in found}) == each

    async def one(number: int) -> None:
        mode = ["auto", "legacy"][number % 2]
        async with served.client(KEYS[number % 2], mode=mode) as client:
            await asks(client, number)

    await asyncio.gather(*(one(number) for number in range(clients)))
    return time.monotonic() - began


async def test_many_questions_at_once_do_not_cross(served: Served) -> None:
    await questions(served, clients=4, each=4)
    await served.until(0)


@pytest.mark.slow
async def test_a_hundred_questions_of_ten_clients_do_not_cross_and_leave_nothing(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    await questions(served, clients=1, each=1)
    process = psutil.Process(served.process.pid)
    before = (served.children(), process.num_fds())
    seconds = await questions(served, clients=10, each=10)
    await served.until(0)
    left = (served.children(), process.num_fds())
    with capsys.disabled():
        print(
            f"\n100 questions of 10 clients: {seconds:.1f} s; children and files {before} -> {left}"
        )
    assert left[0] <= 110, "the interpreters of the threads are kept for follow-ups, and spare ones"
    async with served.client() as client:
        assert (await call(client, "ask", question="shop"))["state"] == "waiting"


@pytest.mark.slow
async def test_a_person_answers_a_call_with_the_command(served: Served) -> None:
    async with served.client() as client:
        out = await call(client, "ask", question="shop")
        assert out["state"] == "waiting"
        resume = ["resume", out["thread"], "--db", str(served.folder / "threads.db"), *GRAPH]
        command = [sys.executable, "-m", "langgraph_rlm", *resume, "--approve", "buy"]
        done = await ran(command, ROOT, served.env)
        assert done.stdout.endswith("bought tea\n")
        assert (await call(client, "resume", thread=out["thread"]))["answer"] == "bought tea"


NODE = """
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema, ListRootsRequestSchema } from "@modelcontextprotocol/sdk/types.js";
const headers = { Authorization: `Bearer ${process.env.KEY}` };
const client = new Client({ name: "node", version: "1" }, { capabilities: { elicitation: {}, roots: {} } });
let shown = "";
client.setRequestHandler(ElicitRequestSchema, async (request) => {
  shown = request.params.message;
  return { action: "accept", content: { decision: "approve" } };
});
client.setRequestHandler(ListRootsRequestSchema, async () => ({ roots: [{ uri: process.env.ROOT_URI }] }));
await client.connect(new StreamableHTTPClientTransport(new URL(process.env.URL), { requestInit: { headers } }));
const told = [];
const options = { onprogress: (each) => told.push(each.progress), resetTimeoutOnProgress: true };
const ask = (args) => client.callTool({ name: "ask", arguments: args }, undefined, options);
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const read = await ask({ question: "What?", paths: ["a.txt"] });
const bought = await ask({ question: "shop" });
const outside = await ask({ question: "What?", paths: ["../secret.txt"] });
const abort = new AbortController();
setTimeout(() => abort.abort(), 1500);
let cancelled = false;
try { await client.callTool({ name: "ask", arguments: { question: "slow?", text: "slow" } }, undefined, { signal: abort.signal }); } catch { cancelled = true; }
await client.close();
console.log(JSON.stringify({ tools, read: read.structuredContent.answer, bought: bought.structuredContent.answer,
  shown: shown.includes("buy"), refused: outside.isError, told: told.length > 0, cancelled }));
"""


async def ran(
    command: list[str], folder: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    options: dict[str, Any] = {"cwd": folder, "env": os.environ | env, "timeout": 90}
    return await asyncio.to_thread(
        lambda: subprocess.run(command, capture_output=True, text=True, check=False, **options)
    )


@pytest.mark.slow
async def test_the_typescript_client(served: Served, tmp_path: Path) -> None:
    """`@modelcontextprotocol/sdk` of npm: tools with schemas that it checks, roots, elicitation, progress, cancelling."""
    (served.folder / "a.txt").write_text("a text")
    (tmp_path / "ask.mjs").write_text(NODE)
    own = {"URL": served.url, "KEY": KEYS[0], "ROOT_URI": served.folder.as_uri()}
    package = "@modelcontextprotocol/sdk@1"
    out = await asyncio.to_thread(lambda: played(tmp_path, "ask.mjs", package, **own))
    assert out == {
        "tools": ["ask", "follow_up", "status", "resume", "read", "search"],
        "read": "a text len=6",
        "bought": "bought tea",
        "shown": True,
        "refused": True,
        "told": True,
        "cancelled": True,
    }
    await served.until(0)


ADAPTERS = """
import asyncio, json, os
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from mcp.types import ElicitResult
told = []
async def elicit(context, params, more):
    return ElicitResult(action="accept", content={"decision": "approve"})
async def progress(done, total, message, context):
    told.append(message)
async def main():
    headers = {"Authorization": "Bearer " + os.environ["KEY"]}
    server = {"transport": "streamable_http", "url": os.environ["URL"], "headers": headers}
    client = MultiServerMCPClient({"rlm": server}, callbacks=Callbacks(on_elicitation=elicit, on_progress=progress))
    tools = {tool.name: tool for tool in await client.get_tools()}
    async def ask(**args):
        reply = await tools["ask"].ainvoke({"type": "tool_call", "id": "1", "name": "ask", "args": args})
        return reply.artifact["structured_content"]["answer"]
    read = await ask(question="What?", text="a text")
    bought = await ask(question="shop")
    print(json.dumps({"read": read, "bought": bought, "told": bool(told)}))
asyncio.run(main())
"""


@pytest.mark.slow
async def test_langchains_adapters(served: Served, tmp_path: Path) -> None:
    """`langchain-mcp-adapters`, with the SDK before 2.0 that they need, in an environment of their own."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    with_them = [
        "--no-project",
        "--python",
        sys.executable,
        "--with",
        "langchain-mcp-adapters>=0.3.2",
    ]
    there = await ran(
        [uv, "run", *with_them, "python", "-c", "import langchain_mcp_adapters.client"],
        tmp_path,
        {},
    )
    if there.returncode != 0:
        pytest.skip(f"uv cannot install the adapters: {there.stderr[-300:]}")
    own = {"URL": served.url, "KEY": KEYS[0], "PYTHONPATH": ""}
    out = await ran([uv, "run", *with_them, "python", "-c", ADAPTERS], tmp_path, own)
    assert out.returncode == 0, out.stderr
    answers = {"read": "a text len=6", "bought": "bought tea", "told": True}
    assert json.loads(out.stdout) == answers


# The command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No model: give --model"),
        (["--http", "127.0.0.1", "-m", "offline:1"], "write HOST:PORT"),
        (["--http", "127.0.0.1:99999", "-m", "offline:1"], "write HOST:PORT"),
        (["--http", "0.0.0.0:0", "-m", "offline:1"], "Set LANGGRAPH_RLM_API_KEY"),
        (["--allow-host", "example.org", "-m", "offline:1"], "--allow-host is for --http"),
        (["missing", "-m", "offline:1"], "does not exist"),
    ],
)
def test_what_the_command_refuses(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LANGGRAPH_RLM_MODEL", raising=False)
    monkeypatch.delenv("LANGGRAPH_RLM_API_KEY", raising=False)
    result = CliRunner().invoke(main, ["mcp", *arguments, "--db", str(tmp_path / "threads.db")])
    assert result.exit_code != 0
    assert message in result.stderr
