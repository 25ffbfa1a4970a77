"""Kills of an agent whose model is a `ChatRLM`: another process goes on in the middle of the RLM's run, and pays for nothing twice."""

import json
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from langgraph_rlm.testing import cell

from ..openai_server import OpenAIServer, last_message, turn_of
from .harness import Lane, end_group

ROOT = [
    "a = llm_query('one')\nb = llm_query(f'two {a}')",
    "x = buy('tea')\nc = llm_query(f'three {b} {x}')",
    "y = weather('Rome')\nd = rlm_query(f'child {c} {y}')",
    "z = buy('jam')\nFINAL(llm_query(f'last {d} {z}'))",
]
CHILD = "FINAL(llm_query('inner'))"
STEPS = ("start", "approve", "approve")
ANSWER = "<last <inner> bought jam>"


def reply(body: Any) -> str:
    """The root and its child write cells; others answer with their prompt in brackets."""
    if body["messages"][0]["role"] != "system":
        return f"<{last_message(body)}>"
    return cell(ROOT[turn_of(body)] if body["model"] == "root" else CHILD)


class Agent:
    """One thread of the agent, each step in a process that may be killed."""

    def __init__(self, folder: Path, lane: Lane, provider: OpenAIServer) -> None:
        folder.mkdir()
        self.folder, self._lane, self._provider = folder, lane, provider

    def step(self, name: str, *, call: int | None = None, write: int = 0) -> dict[str, Any] | None:
        """What came of a step; None where its process was killed.

        Args:
            name: see `agent_runner.STEPS`.
            call: killed while this one of its model calls, counted from 0, is in flight.
            write: killed ahead of this one of its saver's writes, counted from 1.
        """
        (self.folder / "out.json").unlink(missing_ok=True)
        arrived, over = threading.Event(), threading.Event()
        deadly = None if call is None else len(self._provider.requests) + call

        def answered(body: Any) -> str:
            if deadly is not None and self._provider.requests.index(body, deadly - call) >= deadly:
                arrived.set()
                over.wait(60)
            return reply(body)

        self._provider.reply = answered
        pid = self._lane.start([str(self.folder), self._provider.url, name, str(write)])

        def kill() -> None:
            arrived.wait(60)
            if not over.is_set():
                os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        status = self._lane.wait()
        over.set()
        arrived.set()
        killer.join()
        assert not end_group(pid)
        if status == -signal.SIGKILL:
            return None
        result = json.loads((self.folder / "out.json").read_text())
        assert "error" not in result, result["error"]
        return result

    @property
    def bought(self) -> list[str]:
        """In order."""
        file = self.folder / "bought"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def provider() -> Iterator[OpenAIServer]:
    with OpenAIServer(reply=reply) as running:
        yield running


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    made = Lane(tmp_path, "tests.faults.agent_runner")
    yield made
    made.close()


def calls(provider: OpenAIServer) -> Counter[str]:
    """How often each was asked."""
    return Counter(json.dumps([body["model"], body["messages"]]) for body in provider.requests)


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_an_agent_killed_in_a_model_call_pays_again_for_that_call_alone(
    tmp_path: Path, lane: Lane, provider: OpenAIServer, every: int
) -> None:
    """Between two approvals and around a tool of the agent too; slow: in every call, each process beginning with the one before's last."""
    agent, asked, kills = Agent(tmp_path / "agent", lane, provider), list[list[str]](), 0
    out: Any = None
    for name in STEPS:
        out = agent.step(name, call=every - 1)
        while out is None:
            kills += 1
            out = agent.step("continue", call=every)
        asked.append(out["asked"])
    assert asked == [["tea"], ["jam"], []]
    assert (out["answer"], agent.bought) == (ANSWER, ["tea", "jam"])
    assert len(provider.requests) == len(calls(provider)) + kills == 10 + kills
    assert kills == 10 if every == 1 else kills >= 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_agent_killed_at_any_write_repeats_one_call_at_most(
    tmp_path: Path, lane: Lane, provider: OpenAIServer
) -> None:
    """Each write of each step, in a thread that is whole up to that step."""
    before = Agent(tmp_path / "undisturbed", lane, provider)
    ends: Any = [before.step(name) for name in STEPS]
    undisturbed = calls(provider)
    before = Agent(tmp_path / "before", lane, provider)
    provider.requests.clear()
    for number, name in enumerate(STEPS):
        asked = list(provider.requests)
        for write in range(1, ends[number]["writes"] + 1):
            agent = Agent(tmp_path / f"{number}-{write}", lane, provider)
            shutil.copytree(before.folder, agent.folder, dirs_exist_ok=True)
            provider.requests[:] = asked
            out: Any = agent.step(name, write=write) or agent.step("continue")
            while out["asked"]:  # an answer that was not saved yet is asked for again
                out = agent.step("approve")
            assert out["answer"] == ANSWER, (name, write)
            assert (
                set(calls(provider)) == set(undisturbed)
                and len(provider.requests) <= undisturbed.total() + 1
            ), (name, write)
            assert set(agent.bought) == {"tea", "jam"} and len(agent.bought) <= 3, (name, write)
        provider.requests[:] = asked
        before.step(name)
