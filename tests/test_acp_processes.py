"""`langgraph-rlm acp` as a process: what stands on its stdout, how it ends, and what it makes of hostile lines."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import acp
import psutil
import pytest
from click.testing import CliRunner

from langgraph_rlm.cli.main import main

from .acp_client import ROOT, Client, started

GRAPH = ("--graph", "tests.acp_process:graph")


def text(said: str) -> list[Any]:
    """A prompt of text alone."""
    return [acp.text_block(said)]


async def test_stdout_is_the_protocol_alone_and_the_end_of_stdin_ends_the_process(
    tmp_path: Path,
) -> None:
    client = Client()
    options = (*GRAPH, "--db", str(tmp_path / "db"))
    async with started(*options, client=client) as (agent, process):
        session = await agent.new_session(cwd=str(tmp_path), mcp_servers=[])
        done = await agent.prompt(session_id=session.session_id, prompt=text("print"))
        assert (done.stop_reason, client.said()) == ("end_turn", "stdin has ''")
    assert process.returncode == 0


@pytest.mark.slow
async def test_a_client_that_dies_leaves_nothing_and_its_session_goes_on_in_another_process(
    tmp_path: Path,
) -> None:
    options = (*GRAPH, "--db", str(tmp_path / "db"))
    ledger = tmp_path / "ledger"
    client = Client()
    async with started(*options, client=client, LEDGER=str(ledger)) as (agent, process):
        session = await agent.new_session(cwd=str(tmp_path), mcp_servers=[])
        asking = asyncio.create_task(
            agent.prompt(session_id=session.session_id, prompt=text("wait"))
        )
        await client.until(lambda told: ledger.exists())
        workers = psutil.Process(process.pid).children(recursive=True)
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 15) == 0
        asking.cancel()
        assert not psutil.wait_procs(workers, 5)[1]
    second = Client()
    async with started(*options, client=second, LEDGER=str(ledger), QUICK="1") as (agent, _):
        await agent.load_session(cwd=str(tmp_path), session_id=session.session_id, mcp_servers=[])
        assert [c.content.text for c in second.of("user_message_chunk")] == ["wait"]
        await agent.prompt(session_id=session.session_id, prompt=text("/continue"))
        assert second.said() == "waited"


@pytest.mark.slow
async def test_a_call_that_may_have_run_is_asked_as_such_and_never_allowed_for_always(
    tmp_path: Path,
) -> None:
    options = (*GRAPH, "--db", str(tmp_path / "db"))
    ledger = tmp_path / "ledger"
    async with started(*options, LEDGER=str(ledger), DIES="1") as (agent, process):
        session = await agent.new_session(cwd=str(tmp_path), mcp_servers=[])
        asking = asyncio.create_task(
            agent.prompt(session_id=session.session_id, prompt=text("pay"))
        )
        assert await asyncio.wait_for(process.wait(), 20) == 9
        asking.cancel()
    client = Client(lambda call, options: "allow")
    async with started(*options, client=client, LEDGER=str(ledger)) as (agent, _):
        await agent.resume_session(cwd=str(tmp_path), session_id=session.session_id)
        await agent.prompt(session_id=session.session_id, prompt=text("/continue"))
        ((call, choices),) = client.asked
        assert "MAY HAVE RUN ALREADY" in call.content[0].content.text
        assert [choice.kind for choice in choices] == ["allow_once", "reject_once"]
    assert (client.said(), ledger.read_text()) == ("paid", "ann\nann\n")


class Raw:
    """The process, and lines as a test writes them."""

    def __init__(self, *arguments: str, code: str = "") -> None:
        command = ["-c", code] if code else ["-m", "langgraph_rlm", "acp", *arguments]
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def write(self, data: bytes) -> None:
        """Write bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def read(self) -> Any:
        """Read a line, which must be JSON."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, **message: Any) -> Any:
        """Send a message, and read one."""
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        return self.read()


@pytest.mark.slow
def test_lines_that_are_no_messages_are_answered_and_the_next_one_is_read(tmp_path: Path) -> None:
    raw = Raw(*GRAPH, "--db", str(tmp_path / "db"))
    try:
        for line, code in (
            (b"no json", -32700),
            (b"\xff\xfe\x00", -32700),
            (b"[" * 100_000, -32700),
            (b'{"a":"' + b"x" * (65 << 20), -32700),
            (b"[1, 2]", -32600),
            (b"5", -32600),
            (b'{"id": [], "result": 1}', -32600),
            (b'{"id": 1, "method": []}', -32600),
            (b'{"id": 0, "error": 5}', -32600),
            (b'{"id": 1, "method": "nonsense"}', -32601),
            (b'{"id": 1, "method": "session/new", "params": []}', -32602),
            (b'{"id": 1, "method": "session/new", "params": {"cwd": 5}}', -32602),
            (
                b'{"id": 1, "method": "session/new", "params": {"cwd": "x", "mcpServers": []}}',
                -32602,
            ),
            (b'{"id": 1, "method": "authenticate", "params": {"methodId": "x"}}', -32601),
        ):
            raw.write(line + b"\n\n")
            assert raw.read()["error"]["code"] == code, line[:80]
        said = raw.ask(
            id=2,
            method="initialize",
            params={"protocolVersion": 99, "_meta": {"protocol_version": [], "self": 1}},
        )
        assert said["result"]["protocolVersion"] == 1
        assert raw.process.stdin is not None
        raw.process.stdin.close()
        assert raw.process.wait(15) == 0
    finally:
        raw.end()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGTERM")
def test_a_signal_ends_it_as_the_end_of_stdin_does(tmp_path: Path) -> None:
    raw = Raw(*GRAPH, "--db", str(tmp_path / "db"))
    try:
        raw.ask(id=1, method="initialize", params={"protocolVersion": 1})
        raw.process.send_signal(signal.SIGTERM)
        assert raw.process.wait(15) == 0
    finally:
        raw.end()


@pytest.mark.slow
def test_a_program_serves_its_own_graph(tmp_path: Path) -> None:
    """Also one whose checkpointer is in memory; nothing that it prints meanwhile is in the way."""
    raw = Raw(
        code="""
from langgraph.checkpoint.memory import InMemorySaver
from langgraph_rlm.acp import serve
from tests.acp_process import graph
print('before', flush=True)
serve(graph().copy({'checkpointer': InMemorySaver()}))
print('after')
"""
    )
    try:
        assert raw.process.stdout is not None and raw.process.stdout.readline() == b"before\n"
        raw.ask(id=1, method="initialize", params={"protocolVersion": 1})
        new = raw.ask(id=2, method="session/new", params={"cwd": str(tmp_path), "mcpServers": []})
        session = new["result"]["sessionId"]
        prompt = {"sessionId": session, "prompt": [{"type": "text", "text": "print"}]}
        said = raw.ask(id=3, method="session/prompt", params=prompt)
        while said.get("id") != 3:
            said = raw.read()
        assert said["result"]["stopReason"] == "end_turn"
        raw.process.send_signal(signal.SIGTERM)
        assert raw.process.stdout.readline() == b"after\n"
        assert raw.process.wait(15) == 0
    finally:
        raw.end()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "No model: give --model"),
        (("--graph", "tests.acp_process:nothing"), "has no 'nothing'"),
        ((*GRAPH, "-m", "openai:x"), "give no --model"),
        (("-m", "offline:3", "--allow", "/nowhere"), "/nowhere"),
    ],
)
def test_the_command_says_what_is_wrong(
    arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANGGRAPH_RLM_MODEL", raising=False)
    done = CliRunner().invoke(main, ["acp", *arguments])
    assert done.exit_code in (1, 2) and said in done.stderr, done.stderr


def test_a_missing_extra_is_named() -> None:
    code = "import sys; sys.modules['acp'] = None\nfrom langgraph_rlm.cli.main import main; main(['acp', '-m', 'offline:3'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and "pip install 'langgraph-rlm[acp]'" in done.stderr
