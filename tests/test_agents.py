"""An RLM in an agent: as a tool, as middleware, as a sub-agent. Scripted models on both sides."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command
from pydantic import BaseModel, SecretStr

from langgraph_rlm import ApprovalNeededError, ChatRLM, ConfigurationError, create_rlm
from langgraph_rlm.testing import ScriptedModel

from .models import echo, rlm, root, thread
from .openai_server import Body, OpenAIServer, Reply


def calls(*made: tuple[str, dict[str, Any]], prefix: str = "c") -> AIMessage:
    """What an agent's model says when it calls tools."""
    listed = [
        {"name": name, "args": args, "id": f"{prefix}{number}"}
        for number, (name, args) in enumerate(made)
    ]
    return AIMessage("", tool_calls=listed)


def asks(tool: str = "research", prefix: str = "c", **args: Any) -> AIMessage:
    return calls((tool, args), prefix=prefix)


def agent_of(*replies: Any, **options: Any) -> Any:
    return create_agent(ScriptedModel(replies=replies), checkpointer=InMemorySaver(), **options)


def call(agent: Any, given: Any, way: str = "sync", config: Any = None) -> Any:
    given = {"messages": [("user", given)]} if isinstance(given, str) else given
    if way == "sync":
        return agent.invoke(given, config or thread())
    return asyncio.run(agent.ainvoke(given, config or thread()))


def results(out: Any) -> list[ToolMessage]:
    return [message for message in out["messages"] if isinstance(message, ToolMessage)]


# As a tool


def test_the_schema_is_small_and_has_what_the_maker_allows(tmp_path: Path) -> None:
    graph = rlm(root("FINAL('x')"))
    all_of_it = graph.as_tool("research", "Reads.", folders=[tmp_path])
    assert list(all_of_it.args) == ["question", "paths", "text", "thread"]
    assert len(json.dumps(all_of_it.tool_call_schema.model_json_schema())) < 1_000
    least = graph.as_tool(context="a text", takes_text=False, follow_up=False)
    assert (least.name, list(least.args)) == ("rlm", ["question"])
    assert least.tool_call_schema.model_json_schema()["required"] == ["question"]


@pytest.mark.parametrize("way", ["sync", "async"])
def test_an_agent_gets_the_answer_and_not_the_corpus(way: str) -> None:
    corpus = "nothing here\n" * 50_000 + "the code is 4711\n"
    graph = rlm(root("FINAL(grep('code is')[0]['text'])"))
    agent = agent_of(
        asks(question="The code?"), "It is 4711.", tools=[graph.as_tool("research", context=corpus)]
    )
    out = call(agent, "Find the code.", way)
    [result] = results(out)
    assert result.text.startswith("the code is 4711\n\n[thread: ")
    assert result.artifact["stop_reason"] == "answered" and result.artifact["usage"]["turns"] == 1
    assert result.artifact["coverage"]["size"] == len(corpus)
    assert max(len(message.text) for message in out["messages"]) < 200


@pytest.mark.parametrize("way", ["sync", "async"])
def test_progress_is_in_the_agents_custom_stream(way: str) -> None:
    graph = rlm(root("FINAL(llm_query('a'))"))
    agent = agent_of(asks(question="?", text="t"), "done", tools=[graph.as_tool("research")])
    given = {"messages": [("user", "go")]}

    async def events() -> list[Any]:
        return [event async for event in agent.astream(given, thread(), stream_mode="custom")]

    if way == "sync":
        found = list(agent.stream(given, thread(), stream_mode="custom"))
    else:
        found = asyncio.run(events())
    assert [event["type"] for event in found] == [
        "turn",
        "code",
        "sub_calls",
        "sub_calls",
        "usage",
        "output",
        "answer",
    ]


def test_tokens_of_the_rlm_are_not_those_of_the_agent() -> None:
    graph = rlm(root("FINAL('answer of the RLM')"))
    agent = agent_of(
        asks(question="?", text="t"), "said by the agent", tools=[graph.as_tool("research")]
    )
    parts = agent.stream({"messages": [("user", "go")]}, thread(), stream_mode="messages")
    said = "".join(part.text for part, _ in parts if part.type.startswith("AI"))
    assert said == "said by the agent"


def test_paths_are_read_within_the_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "a.txt").write_text("what may be read")
    (tmp_path / "secret.txt").write_text("what may not")
    (tmp_path / "open" / "link.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "open" / "sub").mkdir()
    (tmp_path / "open" / "sub" / "b.txt").write_text("below")
    (tmp_path / "open" / "sub" / "out").symlink_to(tmp_path)
    graph = rlm(root("FINAL(str(context))"))
    tool = graph.as_tool("research", folders=[tmp_path / "open"], follow_up=False)

    def read(*paths: str) -> str:
        made = {
            "name": "research",
            "args": {"question": "?", "paths": list(paths)},
            "id": "1",
            "type": "tool_call",
        }
        result = tool.invoke(made)
        return f"{result.status}: {result.text}"

    assert read("a.txt") == "success: what may be read"
    assert "below" in read("sub") and "what may not" not in read("sub")
    assert "what may be read" in read("a.txt", "sub/b.txt")
    for path in (
        "../secret.txt",
        str(tmp_path / "secret.txt"),
        "link.txt",
        "sub/out/secret.txt",
        "/etc/passwd",
        "no.txt",
        "a\0b",
        "~",
        "",
    ):
        said = read(path)
        assert (
            said.startswith(("error: There is no file", "success: {"))
            and "what may not" not in said
        ), path


def test_no_path_is_taken_where_no_folder_was_named(tmp_path: Path) -> None:
    tool = rlm(root("FINAL(str(context))")).as_tool("research")
    agent = agent_of(asks(question="?", paths=["/etc/passwd"]), "done", tools=[tool])
    [result] = results(call(agent, "go"))
    assert result.status == "error" and "root:" not in result.text


def test_a_folder_that_is_none_is_refused_when_the_tool_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a folder"):
        rlm(root("FINAL(1)")).as_tool(folders=[tmp_path / "none"])


def test_a_later_call_continues_with_the_contexts_of_an_earlier_one() -> None:
    seen = ScriptedModel(answer=lambda text: "```repl\nFINAL(context)\n```")
    tool = rlm(seen).as_tool("research")

    def agent_model(text: str) -> Any:
        if text == "first":
            return asks(question="What is it?", text="a long text", prefix="a")
        if text == "second":
            return asks(question="And again?", thread=threads[-1], prefix="b")
        threads.append(text.partition("[thread: ")[2].rstrip("]"))
        return "done"

    threads: list[str] = []
    agent = create_agent(
        ScriptedModel(answer=agent_model), tools=[tool], checkpointer=InMemorySaver()
    )
    call(agent, "first")
    out = call(agent, "second")
    assert [result.text.splitlines()[0] for result in results(out)] == [
        "a long text",
        "a long text",
    ]
    assert "What is it?" in seen.prompts[-1][-1].text and "And again?" in seen.prompts[-1][-1].text
    other = call(agent, "second", config=thread("of another user"))
    assert results(other)[0].status == "error" and "a long text" not in results(other)[0].text


@pytest.mark.parametrize(
    "name", ["", "t", "../t", "tools:1", "|", "0" * 400, "a" * 36 + ".1", "\0"]
)
def test_a_thread_that_is_not_there_is_an_error_for_the_model(name: str) -> None:
    tool = rlm(root("FINAL('fresh')")).as_tool("research")
    agent = agent_of(asks(question="?", thread=name), "done", tools=[tool])
    [result] = results(call(agent, "go"))
    assert ("fresh" in result.text) == (name == "")


def test_no_tool_continues_with_the_contexts_of_another() -> None:
    graph, threads = rlm(root("FINAL(context)")), list[str]()

    def agent_model(text: str) -> Any:
        if text == "first":
            return asks("one", question="?", text="what one was given", prefix="a")
        if text == "second":
            return asks("other", question="?", thread=threads[-1], prefix="b")
        threads.append(text.partition("[thread: ")[2].rstrip("]"))
        return "done"

    tools = [graph.as_tool("one"), graph.as_tool("other")]
    agent = create_agent(
        ScriptedModel(answer=agent_model), tools=tools, checkpointer=InMemorySaver()
    )
    call(agent, "first")
    refused = results(call(agent, "second"))[-1]
    assert refused.status == "error" and "There is no earlier thread" in refused.text


class Finding(BaseModel):
    name: str
    year: int


def test_answers_have_the_form_that_the_maker_asked_for() -> None:
    tool = rlm(root("FINAL({'name': 'Ann', 'year': 1990})")).as_tool(
        "research", response_format=Finding, follow_up=False
    )
    [result] = results(call(agent_of(asks(question="Who?", text="t"), "done", tools=[tool]), "go"))
    assert (
        json.loads(result.text)
        == result.artifact["structured_response"]
        == {"name": "Ann", "year": 1990}
    )


def test_a_run_that_a_limit_ended_says_so() -> None:
    graph = rlm(["```repl\nx = 1\n```"] * 3 + ["the best so far"], limits={"max_iterations": 1})
    [result] = results(
        call(
            agent_of(asks(question="?", text="t"), "done", tools=[graph.as_tool("research")]), "go"
        )
    )
    assert (
        "[The limit max_iterations ended this work: the answer is the best so far, of 100% of the text.]"
        in result.text
    )


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("kind", ["graph", "chat model"])
def test_an_approval_within_pauses_the_agent_and_nothing_runs_twice(way: str, kind: str) -> None:
    sent: list[str] = []

    def send(to: str) -> str:
        """Send it."""
        sent.append(to)
        return f"sent to {to}"

    model, options = (
        root("a = llm_query('x')\nb = send('ann')\nFINAL(a + ' ' + b)"),
        {"tools": [send], "interrupt_on": {"send": True}},
    )
    sub = ScriptedModel(answer=echo)
    inner: Any = (
        rlm(model, sub=sub, **options)
        if kind == "graph"
        else ChatRLM(model=model, sub_model=sub, **options)
    )
    agent = agent_of(
        asks(question="?", text="t"), "done", tools=[inner.as_tool("research", follow_up=False)]
    )
    out = call(agent, "go", way)
    [pause] = out["__interrupt__"]
    assert pause.value["action_requests"][0]["args"] == {"to": "ann"} and not sent
    out = call(agent, Command(resume={"decisions": [{"type": "approve"}]}), way)
    assert results(out)[0].text == "len=1 sent to ann"
    assert (sent, model.calls, sub.calls) == (["ann"], 1, 1)


def test_outside_of_a_graph_an_approval_says_where_to_go_on() -> None:
    def send(to: str) -> str:
        """Send it."""
        return f"sent to {to}"

    graph = rlm(
        root("FINAL(send('ann'))"),
        tools=[send],
        interrupt_on={"send": True},
        checkpointer=InMemorySaver(),
    )
    with pytest.raises(ApprovalNeededError, match="on the thread 'rlm-") as caught:
        graph.as_tool("research").invoke({"question": "?", "text": "t"})
    out = graph.invoke(
        Command(resume={"decisions": [{"type": "approve"}]}), thread(caught.value.run)
    )
    assert out["answer"] == "sent to ann"


CUT_OFF = "FINAL(' '.join(llm_query_batched([f'{context} {n}' for n in range(6)])))"


@pytest.mark.parametrize(
    "kind", ["agent", pytest.param("one task for all calls", marks=pytest.mark.slow)]
)
def test_after_a_kill_nothing_that_was_answered_is_asked_again(tmp_path: Path, kind: str) -> None:
    """Two calls at once, and the process dies at the ninth of their twelve sub-calls."""
    code = f"from tests.test_agents import work; work({str(tmp_path)!r}, {kind!r})"
    environment = {
        **os.environ,
        "LANGGRAPH_RLM_STORE": str(tmp_path / "blobs"),
        "LANGGRAPH_RLM_TEST_SANDBOX": "monty",
    }
    outcomes = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        for _ in range(2)
    ]
    assert [outcome.returncode for outcome in outcomes] == [9, 0], outcomes[-1].stderr
    answers = json.loads(outcomes[1].stdout)
    assert answers == [" ".join(f"{name} {n}!" for n in range(6)) for name in ("one", "two")]
    asked = (tmp_path / "asked").read_text().splitlines()
    assert sorted({*asked}) == sorted(f"{name} {n}" for name in ("one", "two") for n in range(6))
    assert len(asked) <= 12 + 2, asked  # those that were in flight, one in each run


def work(folder: str, kind: str) -> None:
    """Start the work in `folder`, or continue it. It dies once."""
    asyncio.run(_work(Path(folder), kind))


async def _work(folder: Path, kind: str) -> None:
    asked, died = folder / "asked", folder / "died"

    def answer(text: str) -> str:
        with asked.open("a") as file:
            file.write(f"{text}\n")
        if not died.exists() and len(asked.read_text().splitlines()) == 9:
            died.touch()
            os._exit(9)
        return f"{text}!"

    graph = rlm(
        root(CUT_OFF),
        sub=ScriptedModel(answer=answer, seconds=0.05),
        limits={"max_concurrency": 1},
        sandbox="monty",
    )
    tool = graph.as_tool("research", follow_up=False)
    made = calls(
        ("research", {"question": "?", "text": "one"}),
        ("research", {"question": "?", "text": "two"}),
    )
    async with AsyncSqliteSaver.from_conn_string(str(folder / "db")) as saver:
        if kind == "agent":
            agent: Any = create_agent(
                ScriptedModel(replies=[made, "done"]), tools=[tool], checkpointer=saver
            )
            given: Any = {"messages": [("user", "go")]}
        else:
            agent = (
                StateGraph(MessagesState)
                .add_node("tools", ToolNode([tool]))
                .add_edge(START, "tools")
                .compile(checkpointer=saver)
            )
            given = {"messages": [made]}
        out = await agent.ainvoke(None if died.exists() else given, thread(), durability="sync")
    print(json.dumps([result.text for result in results(out)]))


def test_over_http_an_agents_model_sees_the_schema_and_the_answer_alone() -> None:
    """The agent's model is OpenAI's client over a real connection; so is the RLM's."""
    corpus = "nothing here\n" * 50_000 + "the code is 4711\n"

    def reply(body: Body) -> Any:
        if "REPL" in str(body["messages"][0]["content"]):
            return "```repl\nFINAL(grep('code is')[0]['text'])\n```"
        if body["messages"][-1]["role"] == "tool":
            return f"Found: {body['messages'][-1]['content'].splitlines()[0]}"
        made = {
            "id": "c1",
            "type": "function",
            "function": {"name": "research", "arguments": '{"question": "The code?"}'},
        }
        return Reply(content="", message={"tool_calls": [made]})

    with OpenAIServer(reply) as server:
        model = ChatOpenAI(model="gpt-5", base_url=server.url, api_key=SecretStr("any"))
        graph = create_rlm(model)
        agent = create_agent(
            model,
            tools=[graph.as_tool("research", "Reads.", context=corpus)],
            checkpointer=InMemorySaver(),
        )
        out = call(agent, "Find the code.")
        own = [body for body in server.requests if body.get("tools")]
    assert out["messages"][-1].text == "Found: the code is 4711"
    assert len(own) == 2 and max(len(json.dumps(body)) for body in own) < 2_500
    assert list(own[0]["tools"][0]["function"]["parameters"]["properties"]) == [
        "question",
        "text",
        "thread",
    ]
