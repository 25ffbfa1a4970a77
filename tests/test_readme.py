"""The README: its snippets run, and every argument of `create_rlm` and every limit is in it."""

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import openai
import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from pydantic import BaseModel, TypeAdapter

from langgraph_rlm import Limits, create_rlm
from langgraph_rlm.testing import cell

from .openai_server import Body, OpenAIServer, last_message

README = (Path(__file__).parent.parent / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


class Contract(BaseModel):
    name: str


def send_email(to: str) -> str:
    """Send an email."""
    return f"sent to {to}"


def search(query: str) -> str:
    """Search."""
    return f"nothing about {query}"


def reply(body: Body) -> str:
    """What a model does that has read the README's questions."""
    system, question = body["messages"][0]["content"], last_message(body)
    if "Write to everyone" in question:
        return cell("FINAL(send_email('ann'))")
    if "that matches this JSON schema" in system:
        return cell("FINAL([{'name': name} for name in context])")
    if "get_price" in system:
        return cell("FINAL('yes' if get_price()['price'] == 3 else 'no')")
    return cell("first = llm_query('a')\nsecond = llm_query('b')\nFINAL('yes')")


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the README's snippets take for granted."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "ann.txt").write_text("ends in February")
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    return {
        "Path": Path,
        "create_rlm": create_rlm,
        "Limits": Limits,
        "Command": Command,
        "TypeAdapter": TypeAdapter,
        "Contract": Contract,
        "send_email": send_email,
        "search": search,
        "create_agent": create_agent,
        "HumanMessage": HumanMessage,
        "archive": "ends in February\n" * 3_000,
        "openai": openai,
        "saver": InMemorySaver(),
        "config": {"configurable": {"thread_id": "readme"}},
        "parent": StateGraph(MessagesState),
    }


@pytest.mark.parametrize(
    "snippet", SNIPPETS, ids=lambda snippet: snippet.strip().splitlines()[-1][:40]
)
def test_every_snippet_runs(
    snippet: str, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    snippet = snippet.replace("{...}", '{"type": "object", "properties": {}}').replace(
        "=[...]", '=[{"role": "user", "content": "?"}]'
    )
    with OpenAIServer(reply) as server:
        snippet = snippet.replace("http://127.0.0.1:8000/v1", server.url)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        if "fork" in snippet or "save_run" in snippet:  # they are about a run that was
            names["rlm"] = create_rlm(
                "openai:gpt-5", tools=[send_email], checkpointer=names["saver"]
            )
            names["rlm"].invoke({"query": "..."}, names["config"])
        if "await" in snippet:
            body = "\n".join(f"    {line}" for line in snippet.splitlines())
            exec(f"async def run():\n{body}\n    globals().update(locals())", names)
            asyncio.run(names["run"]())
        else:
            exec(snippet, names)
    if "out" in names:
        out = names["out"]
        assert (
            out.get("answer") == "yes"
            or out["__interrupt__"][0].value["action_requests"][0]["name"] == "send_email"
        )
    if "contracts" in names:
        assert names["contracts"] == [Contract(name="ann.txt")]
    if "parent" in snippet:
        assert names["parent"].add_edge(START, "researcher").compile()


def test_every_argument_and_limit_is_named() -> None:
    arguments = [name for name in inspect.signature(create_rlm).parameters if name != "model"]
    assert [name for name in arguments if not re.search(rf"`{name}\b|\b{name}=", README)] == []
    assert [name for name in Limits.model_fields if f"`{name}`" not in README] == []
