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
    (folder / "graphs").symlink_to(ROOT / "graphs")
    (folder / "dev_graph.py").symlink_to(ROOT / "tests" / "dev_graph.py")
    app = json.loads((ROOT / "langgraph.json").read_text())
    app["graphs"]["does"] = "./dev_graph.py:graph"
    (folder / "langgraph.json").write_text(json.dumps(app))
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


# What the server shows


MAIL = {"messages": [{"role": "user", "content": "Write to ada@example.org."}]}


async def asked_to_approve(url: str) -> tuple[Any, str]:
    """A client, and a thread that waits for a decision."""
    client: Any = get_client(url=url)
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "approval", input=MAIL)
    return client, thread


async def resumed(client: Any, thread: str, answer: Any) -> Any:
    return await client.runs.wait(thread, "approval", command={"resume": answer})


async def test_a_wrong_decision_pauses_again_and_says_why(server: str) -> None:
    """The thread is not marked as failed, its pause shows the reason, and a right decision goes on."""
    client, thread = await asked_to_approve(server)
    for wrong in (
        "yes please",
        {"decisions": [{"type": "postpone"}]},
        {"decisions": [{"type": "approve"}, {"type": "approve"}]},
        {"decisions": [{"type": "edit", "edited_action": {"name": "send_email", "args": {}}}]},
        {"0" * 32: {"type": "approve"}},
    ):
        await resumed(client, thread, wrong)
        assert (await client.threads.get(thread))["status"] == "interrupted", wrong
        [pause] = (await client.threads.get_state(thread))["interrupts"]
        problem = pause["value"]["problem"]
        assert "refused" in problem or "No call waits" in problem or "missing" in problem
        assert pause["value"]["action_requests"][0]["description"].startswith(problem)
    out = await resumed(client, thread, {"decisions": [{"type": "approve"}]})
    assert "sent to ada@example.org" in out["messages"][-1]["content"]
    assert (await client.threads.get(thread))["status"] == "idle"


async def does(url: str, code: str) -> tuple[Any, str, list[Any]]:
    """A client, a thread on which an RLM has run this code, and the parts of the run."""
    client: Any = get_client(url=url)
    thread = (await client.threads.create())["thread_id"]
    stream = client.runs.stream(thread, "does", input={"query": f"Run:\n{code}"})
    return client, thread, [part async for part in stream]


async def test_of_several_decisions_the_wrong_one_pauses_again(server: str) -> None:
    children = """FINAL(rlm_query_batched(["FINAL(send('ann'))", "FINAL(send('bob'))"]))"""
    client, thread, _ = await does(server, children)
    ann, bob = (await client.threads.get_state(thread))["interrupts"]
    answers = {ann["id"]: {"type": "approve"}, bob["id"]: "no idea"}
    await client.runs.wait(thread, "does", command={"resume": answers})
    assert (await client.threads.get(thread))["status"] == "interrupted"
    [again] = (await client.threads.get_state(thread))["interrupts"]
    assert again["id"] == bob["id"] and "no idea" in again["value"]["problem"]
    out = await client.runs.wait(thread, "does", command={"resume": {"type": "approve"}})
    assert out["answer"] == '["sent to ann","sent to bob"]'


async def test_what_is_shown_of_errors(server: str) -> None:
    """Their class and their message, in the run's stream and in its thread."""
    for given, name, message in (
        ({"input": {"messages": []}}, "ContextError", "question"),
        ({"input": {"query": "q"}, "context": {"model": "x"}}, "SettingsError", "refused"),
        ({"command": {"resume": "yes"}}, "AnsweredError", "No call waits"),
    ):
        client, thread, _ = await does(server, "FINAL(1)")
        parts = [part async for part in client.runs.stream(thread, "does", **given)]
        [error] = [part.data for part in parts if part.event == "error"]
        assert error["error"] == name and message in error["message"]


async def test_errors_in_the_middle_of_a_run_are_shown(server: str) -> None:
    """Of our own code, which a run cannot provoke here; `test_wrong_answers.py` has that all are of such kinds."""
    kinds = ("BlobError", "ConfigurationError", "ModelReplyError", "ResumeError", "ThreadBusyError")
    ran = await asyncio.gather(*(does(server, f"FINAL(fail({name!r}))") for name in kinds))
    for name, (client, thread, parts) in zip(kinds, ran, strict=True):
        [error] = [part.data for part in parts if part.event == "error"]
        assert error == {"error": name, "message": "told to clients"}
        [task] = (await client.threads.get_state(thread))["tasks"]
        assert name in task["error"] and "told to clients" in task["error"]


async def test_an_update_of_a_thread_that_waits(server: str) -> None:
    """Without `as_node`: it goes on waiting, and its call is made once."""
    client, thread, _ = await does(server, "FINAL(send('ann'))")
    before = await client.threads.get_state(thread)
    await client.threads.update_state(thread, {"answer": "a draft"})
    after = await client.threads.get_state(thread)
    assert after["next"] == before["next"] == ["tool_interrupt"]
    await client.runs.wait(thread, "does", input=None)
    out = await client.runs.wait(thread, "does", command={"resume": {"type": "approve"}})
    assert out["answer"] == "sent to ann"


async def test_what_an_operator_finds(server: str) -> None:
    """Model, cost and stop reason in the metadata of a thread's state, by which its history is searched."""
    client, thread, _ = await does(server, "FINAL(1)")
    metadata = (await client.threads.get_state(thread))["metadata"]
    told = {key: value for key, value in metadata.items() if key.startswith("rlm_")}
    assert told["rlm_model"] == "scripted" and told["rlm_stop_reason"] == "answered"
    assert told["rlm_cost"] == 0 and told["rlm_unpriced_calls"] == 1 and told["rlm_tokens"] > 0
    found = await client.threads.get_history(thread, metadata={"rlm_stop_reason": "answered"})
    assert len(found) == 1
    row = await client.threads.get(thread)
    assert row["values"]["stop_reason"] == "answered"
    assert not [key for key in row["metadata"] if key.startswith("rlm_")]  # no graph reaches these
