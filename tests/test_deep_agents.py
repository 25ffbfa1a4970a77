"""An RLM in deepagents' `create_deep_agent`, with its todo list and its files: middleware, files as contexts, sub-agent."""

from pathlib import Path
from typing import Any

import pytest
from langchain.agents.middleware import TodoListMiddleware
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langgraph_rlm import RLMMiddleware
from langgraph_rlm.testing import ScriptedModel

from .models import rlm, root
from .test_agents import call, calls, results

deepagents = pytest.importorskip("deepagents")
backends = pytest.importorskip("deepagents.backends")

HAY = "hay\n" * 10_000


def deep_agent(
    replies: list[Any], graph: Any, *, tools: Any = (), options: Any = None, **given: Any
) -> Any:
    return deepagents.create_deep_agent(
        model=ScriptedModel(replies=replies),
        tools=[*tools],
        middleware=[TodoListMiddleware(), RLMMiddleware(graph, **(options or {}))],
        checkpointer=InMemorySaver(),
        **given,
    )


def fetch() -> str:
    """Fetch a log."""
    return HAY + "needle 42\n"


TODO = calls(("write_todos", {"todos": [{"content": "look", "status": "in_progress"}]}), prefix="t")
WRITE = calls(
    ("write_file", {"file_path": "/notes/a.md", "content": "the key is under the mat\n"}),
    prefix="w",
)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_deep_agent_plans_keeps_files_and_asks_about_a_long_result(way: str) -> None:
    graph = rlm(root("FINAL(grep('needle')[0]['text'])"))
    asked = calls(("ask_context", {"question": "Where?"}), prefix="a")
    agent = deep_agent([TODO, WRITE, calls(("fetch", {})), asked, "done"], graph, tools=[fetch])
    out = call(agent, "go", way)
    by_name = {result.name: result.text for result in results(out)}
    assert (
        out["todos"] == [{"content": "look", "status": "in_progress"}]
        and "/notes/a.md" in out["files"]
    )
    assert (
        by_name["fetch"].startswith("[This text was too long")
        and by_name["ask_context"] == "needle 42"
    )
    assert not [path for path in out["files"] if "large_tool_results" in path]


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("path", ["/notes/a.md", "/notes/", "/notes"])
def test_files_of_the_agents_state_are_contexts(way: str, path: str) -> None:
    graph = rlm(root("FINAL(context.strip())"))
    asked = calls(("ask_context", {"question": "Where is the key?", "names": [path]}), prefix="a")
    agent = deep_agent([WRITE, asked, "done"], graph, options={"backend": backends.StateBackend()})
    assert results(call(agent, "go", way))[-1].text == "the key is under the mat"


def test_files_on_disk_are_contexts_within_the_folders_alone(tmp_path: Path) -> None:
    for name in ("open", "closed"):
        (tmp_path / "root" / name).mkdir(parents=True)
        (tmp_path / "root" / name / "a.txt").write_text(f"what is {name}")
    (tmp_path / "secret.txt").write_text("what is outside")
    (tmp_path / "root" / "open" / "link.txt").symlink_to(tmp_path / "secret.txt")
    backend = backends.FilesystemBackend(root_dir=tmp_path / "root", virtual_mode=True)
    graph = rlm(root("FINAL(context)"))
    paths = [
        "/open/a.txt",
        "/open/",
        "/closed/a.txt",
        "/open/../closed/a.txt",
        "/open/link.txt",
        "/",
        "/none.txt",
        "/open/none",
        "/open-too/a",
        "//open/a.txt",
    ]
    asked = [
        calls(("ask_context", {"question": "?", "names": [path]}), prefix=f"a{n}-")
        for n, path in enumerate(paths)
    ]
    agent = deep_agent([*asked, "done"], graph, options={"backend": backend, "folders": ["/open"]})
    said = dict(
        zip(paths, [(each.status, each.text) for each in results(call(agent, "go"))], strict=True)
    )
    assert said["/open/a.txt"] == ("success", "what is open")
    for path, (status, text) in said.items():
        assert "what is closed" not in text and "what is outside" not in text
        assert status == "error" or path in ("/open/a.txt", "/open/", "//open/a.txt"), (path, text)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_an_rlm_is_a_sub_agent_as_it_is(way: str) -> None:
    """deepagents gives it the task as a message, and takes its last message; an approval within pauses the agent."""
    sent: list[str] = []

    def send(to: str) -> str:
        """Send it."""
        sent.append(to)
        return f"sent to {to}"

    model = root("FINAL(send('ann'))")
    graph = rlm(model, tools=[send], interrupt_on={"send": True})
    task = calls(("task", {"description": "Tell Ann.", "subagent_type": "reader"}), prefix="t")
    agent = deepagents.create_deep_agent(
        model=ScriptedModel(replies=[task, "done"]),
        subagents=[graph.as_subagent("reader", "Reads what is too long for you.")],
        checkpointer=InMemorySaver(),
    )
    out = call(agent, "go", way)
    assert out["__interrupt__"][0].value["action_requests"][0]["args"] == {"to": "ann"} and not sent
    out = call(agent, Command(resume={"decisions": [{"type": "approve"}]}), way)
    assert (results(out)[-1].text, sent, model.calls) == ("sent to ann", ["ann"], 1)


def test_the_middleware_keeps_what_a_sub_agent_says_at_length() -> None:
    graph = rlm(root("FINAL(grep('needle')[0]['text'])"))
    talker = rlm(root("FINAL('hay ' * 10_000 + '\\nneedle 7')"))
    task = calls(("task", {"description": "Talk.", "subagent_type": "reader"}), prefix="t")
    asked = calls(("ask_context", {"question": "Where?"}), prefix="a")
    agent = deep_agent(
        [task, asked, "done"], graph, subagents=[talker.as_subagent("reader", "Talks.")]
    )
    assert results(call(agent, "go"))[-1].text == "needle 7"
