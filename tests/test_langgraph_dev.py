"""The app in `langgraph.json` under `langgraph dev`, asked through `langgraph_sdk`: offline, with a server of its own."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client

ROOT = Path(__file__).parent.parent
OFFLINE = {
    "LANGGRAPH_RLM_MODEL": "offline",
    "LANGGRAPH_RLM_SUB_MODEL": "",
    "LANGSMITH_TRACING": "false",
    "LANGSMITH_API_KEY": "",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "true",
}
"""No key, and a server that calls nobody."""
LINES = "\n".join(f"row {number}: nothing to see" for number in range(40_000))
CONTEXT = f"{LINES}\nrow 40000: the zanzibar vault opens on Tuesday\n{LINES}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that runs the repository's app; its `.langgraph_api/` and its blobs are not in the repository."""
    folder, url = tmp_path_factory.mktemp("app"), f"http://127.0.0.1:{_free_port()}"
    for name in ("graphs", "langgraph.json"):
        (folder / name).symlink_to(ROOT / name)
    command = [
        sys.executable,
        "-m",
        "langgraph_cli",
        "dev",
        "--no-browser",
        "--no-reload",
        "--host",
        "127.0.0.1",
    ]
    env = {**os.environ, **OFFLINE, "LANGGRAPH_RLM_STORE": str(folder / "blobs")}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", url.rpartition(":")[2]],
            cwd=folder,
            env=env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait_until_up(url, process, folder / "server.log")
            yield url
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_up(
    url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 60
) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/ok", timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"langgraph dev did not start: {log.read_text()[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """The server and what it started: they are a process group of their own."""
    for end in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, end)
            process.wait(10)


def ask(url: str, *inputs: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The outputs of runs on one thread, one after another, and the thread's state after the last."""

    async def asked() -> tuple[list[dict[str, Any]], dict[str, Any]]:
        client: Any = get_client(url=url)
        thread = (await client.threads.create())["thread_id"]
        outs = [await client.runs.wait(thread, "rlm", input=given) for given in inputs]
        return outs, await client.threads.get_state(thread)

    return asyncio.run(asked())


def streamed(url: str, given: dict[str, Any], *modes: str) -> list[tuple[str, Any]]:
    """The event and the data of each part of one run."""

    async def parts() -> list[tuple[str, Any]]:
        client: Any = get_client(url=url)
        thread = (await client.threads.create())["thread_id"]
        return [
            (part.event, part.data)
            async for part in client.runs.stream(
                thread, "rlm", input=given, stream_mode=list(modes)
            )
        ]

    return asyncio.run(parts())


def test_the_answer_and_a_follow_up_on_the_same_thread(server: str) -> None:
    """The second question is answered from the context of the first, which the thread's state only names."""
    (first, second), state = ask(
        server,
        {"query": "Where is the zanzibar vault?", "context": CONTEXT},
        {"query": "Only on Tuesday?"},
    )
    assert set(first) == {"answer", "files", "stop_reason", "usage", "coverage", "messages"}
    assert (
        "line 40001 (zanzibar): row 40000: the zanzibar vault opens on Tuesday" in first["answer"]
    )
    assert first["stop_reason"] == "answered"
    assert first["usage"]["sub_calls"] == 1
    assert first["messages"][0]["content"] == first["answer"]
    assert "line 40001 (Tuesday)" in second["answer"]
    assert [place for place in state["values"]["log"] if place.startswith("run.")] == [
        "run.0",
        "run.1",
    ]
    assert len(json.dumps(state)) < 20_000 < len(CONTEXT)


def test_a_chat_client_sends_messages(server: str) -> None:
    said = [
        {"role": "user", "content": "zanzibar is 7319"},
        {"role": "user", "content": "What is zanzibar?"},
    ]
    (out,), _ = ask(server, {"messages": said})
    assert "zanzibar is 7319" in out["answer"]


def test_tokens_and_progress_stream(server: str) -> None:
    parts = streamed(
        server,
        {"query": "Where is zanzibar?", "context": "zanzibar is here"},
        "custom",
        "messages-tuple",
        "values",
    )
    progress = [data["type"] for event, data in parts if event == "custom"]
    tokens = [
        data[0]["content"]
        for event, data in parts
        if event == "messages" and data[0]["type"] == "AIMessageChunk"
    ]
    assert progress[:2] == ["turn", "code"]
    assert progress[-1] == "answer"
    assert len(tokens) > 5
    assert "".join(tokens).startswith("[offline script, no model] I grep")
    assert "zanzibar is here" in [data for event, data in parts if event == "values"][-1]["answer"]


def test_long_texts_do_not_block_the_servers_loop(server: str) -> None:
    """A question, code, prompts and an answer of several KB go to the blob store; `langgraph dev` fails a node that blocks its loop."""
    words = [f"word{number:04}" for number in range(500)]
    parts = streamed(server, {"query": " ".join(words), "context": "\n".join(words)}, "values")
    assert not [data for event, data in parts if event == "error"]
    assert "500 lines found" in parts[-1][1]["answer"]


def test_an_approval_is_answered_in_the_form_of_agent_chat_ui(server: str) -> None:
    """The app `approval`: the pause is in the thread's state, and the decision a resume of the thread."""

    async def asked() -> tuple[Any, Any]:
        client: Any = get_client(url=server)
        thread = (await client.threads.create())["thread_id"]
        said = {"messages": [{"role": "user", "content": "Write to ada@example.org."}]}
        await client.runs.wait(thread, "approval", input=said)
        (pause,) = (await client.threads.get_state(thread))["interrupts"]
        out = await client.runs.wait(
            thread, "approval", command={"resume": {"decisions": [{"type": "approve"}]}}
        )
        return pause["value"], out

    pause, out = asyncio.run(asked())
    assert pause["action_requests"][0]["args"]["to"] == "ada@example.org"
    assert "sent to ada@example.org" in out["messages"][-1]["content"]


def test_two_assistants_of_different_limits(server: str) -> None:
    """Each one's limit holds, by `context` as by `configurable`; a forbidden value is refused by name; the schema shows what is allowed."""
    given = {"query": "Where is zanzibar?", "context": "zanzibar is here"}

    async def asked() -> tuple[list[Any], list[Any], dict[str, Any]]:
        client: Any = get_client(url=server)
        none, some = {"limits": {"max_sub_calls": 0}}, {"limits": {"max_sub_calls": 5}}
        made = [
            await client.assistants.create("rlm", context=none),
            await client.assistants.create("rlm", context=some),
            await client.assistants.create("rlm", config={"configurable": none}),
        ]
        outs = await asyncio.gather(
            *(client.runs.wait(None, each["assistant_id"], input=given) for each in made)
        )
        refused = []
        for other in (
            {"limits": {"max_iterations": 31}},
            {"model": "openai:o3"},
            {"sandbox": "local"},
        ):
            parts = client.runs.stream(None, "rlm", input=given, context=other)
            refused += [part.data async for part in parts if part.event == "error"]
        schemas = await client.assistants.get_schemas(made[0]["assistant_id"])
        return outs, refused, schemas["context_schema"]

    outs, refused, schema = asyncio.run(asked())
    assert [out["stop_reason"] for out in outs] == ["max_sub_calls", "answered", "max_sub_calls"]
    told = [f"{each['error']}: {each['message']}" for each in refused]
    assert [each.partition(" is refused")[0] for each in told] == [
        "SettingsError: The run setting limits={'max_iterations': 31}",
        "SettingsError: The run setting model='openai:o3'",
        "SettingsError: The run setting sandbox='local'",
    ]
    assert schema["properties"]["limits"]["properties"]["max_iterations"]["maximum"] == 30
