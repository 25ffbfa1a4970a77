"""The apps of `graphs/`, imported as `langgraph dev` imports them, offline; `test_langgraph_dev` asks them over HTTP."""

import asyncio
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from .models import thread

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGGRAPH_RLM_MODEL", "offline")
    monkeypatch.delenv("LANGGRAPH_RLM_SUB_MODEL", raising=False)


def app(name: str, **environment: str) -> Any:
    """A graph of `langgraph.json` with a checkpointer, as a server gives it one."""
    file, _, attribute = json.loads((ROOT / "langgraph.json").read_text())["graphs"][
        name
    ].partition(":")
    spec = importlib.util.spec_from_file_location(f"app_{name}", ROOT / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, attribute).copy({"checkpointer": InMemorySaver()})


def ask(graph: Any, given: Any) -> Any:
    return asyncio.run(
        graph.ainvoke(
            {"messages": [HumanMessage(given)]} if isinstance(given, str) else given, thread()
        )
    )


def test_the_agent_has_its_archive_read_and_remembers_the_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = app("agent_with_rlm")
    out = ask(agent, "What about the pump?")
    assert [message.type for message in out["messages"]] == ["human", "ai", "tool", "ai"]
    assert "The pump failed, and was repaired the same day." in out["messages"][-1].text
    assert "valve was replaced" in ask(agent, "And the valve?")["messages"][-1].text
    (tmp_path / "log.txt").write_text("The boiler is new.\n" * 10_000)
    monkeypatch.setenv("LANGGRAPH_RLM_ARCHIVE", str(tmp_path))
    assert "The boiler is new." in ask(app("agent_with_rlm"), "Which boiler?")["messages"][-1].text


def test_every_email_waits_for_its_own_approval_in_the_form_of_agent_chat_ui() -> None:
    graph = app("approval")
    out = ask(graph, "Write to ada@example.org, bob@example.org and eve@example.org.")
    decisions: list[dict[str, Any]] = [
        {"type": "approve"},
        {"type": "reject", "message": "not him"},
        {
            "type": "edit",
            "edited_action": {
                "name": "send_email",
                "args": {"to": "eve@example.com", "subject": "Hi", "body": "Bye"},
            },
        },
    ]
    for address, decision in zip(("ada", "bob", "eve"), decisions, strict=True):
        (pause,) = out["__interrupt__"]
        (action,), (config,) = pause.value["action_requests"], pause.value["review_configs"]
        assert (action["name"], action["args"]["to"]) == ("send_email", f"{address}@example.org")
        assert action["description"] == "An e-mail waits for your word."
        assert config == {
            "action_name": "send_email",
            "allowed_decisions": ["approve", "edit", "reject"],
        }
        out = ask(graph, Command(resume={"decisions": [decision]}))
    answer = out["messages"][-1].text
    assert (
        "sent to ada@example.org" in answer
        and "not him" in answer
        and "sent to eve@example.com: Hi / Bye" in answer
    )
    assert [message.type for message in out["messages"]] == ["human", "ai"]
