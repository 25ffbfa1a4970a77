"""`ChatRLM` in an agent and in any LangGraph node.

A run is found again when its node runs again, and approvals are interrupts of the outer graph.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from langgraph_rlm import ApprovalNeededError, ChatRLM, ResumeError, UnknownToolCallError
from langgraph_rlm.testing import ScriptedModel, cell

from .faults.databases import Postgres, open_saver
from .models import echo, root, thread

APPROVE: Any = {"decisions": [{"type": "approve"}]}


class Shop:
    """What was bought, and the models that buy."""

    def __init__(self) -> None:
        self.bought: list[str] = []

    def buy(self) -> Callable[..., Any]:
        def buy(item: str) -> str:
            """Buy something."""
            self.bought.append(item)
            return f"bought {item}"

        return buy

    def chat(self, *codes: str, model: ScriptedModel | None = None, **options: Any) -> ChatRLM:
        sub = ScriptedModel(answer=echo)
        return ChatRLM(
            model=model or root(*codes),
            sub_model=sub,
            tools=[self.buy()],
            interrupt_on={"buy": True},
            direct_below_tokens=0,
            **options,
        )


def node_graph(node: Callable[..., Any], saver: Any = None) -> Any:
    """A graph of one node."""
    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile(checkpointer=saver or InMemorySaver())


def call(graph: Any, given: Any, way: str) -> Any:
    return (
        graph.invoke(given, thread())
        if way == "sync"
        else asyncio.run(graph.ainvoke(given, thread()))
    )


def asked(out: Any) -> list[dict[str, Any]]:
    """The actions that a human is shown."""
    (pause,) = out["__interrupt__"]
    return [action["args"] for action in pause.value["action_requests"]]


TWICE = "a = llm_query('first')\nx = buy('tea')\ny = buy('jam')\nFINAL(x + ', ' + y)"


@pytest.mark.parametrize("way", ["sync", "async"])
def test_create_agent_runs_its_loop_with_tools_called_from_code(way: str) -> None:
    calls: list[str] = []

    def weather(city: str) -> str:
        """The weather."""
        calls.append(city)
        return f"dry in {city}"

    model = root("x = [weather(city) for city in ('Rome', 'Oslo')]", "FINAL(' and '.join(x))")
    agent = create_agent(
        ChatRLM(model=model, direct_below_tokens=0), tools=[weather], checkpointer=InMemorySaver()
    )
    out = call(agent, {"messages": [HumanMessage("Where is it dry?")]}, way)
    assert out["messages"][-1].text == "dry in Rome and dry in Oslo"
    assert (calls, model.calls) == (["Rome", "Oslo"], 2)
    assert [message.type for message in out["messages"]] == [
        "human",
        "ai",
        "tool",
        "ai",
        "tool",
        "ai",
    ]


def test_create_agent_below_the_threshold_uses_native_calls() -> None:
    def weather(city: str) -> str:
        """The weather."""
        return f"dry in {city}"

    model = ScriptedModel(
        replies=[
            AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Rome"}, "id": "x"}]),
            "It is dry.",
        ]
    )
    out = create_agent(ChatRLM(model=model), tools=[weather]).invoke(
        {"messages": [HumanMessage("?")]}
    )
    assert [message.text for message in out["messages"]] == ["?", "", "dry in Rome", "It is dry."]


@pytest.mark.parametrize("way", ["sync", "async"])
def test_approvals_round_by_round_surface_in_the_agent_and_nothing_runs_twice(way: str) -> None:
    shop = Shop()
    model = root(TWICE)
    agent = create_agent(shop.chat(model=model), tools=[], checkpointer=InMemorySaver())
    out = call(agent, {"messages": [HumanMessage("shop")]}, way)
    assert asked(out) == [{"item": "tea"}]
    assert out["__interrupt__"][0].value["review_configs"][0]["allowed_decisions"] == [
        "approve",
        "edit",
        "reject",
        "respond",
    ]
    out = call(agent, Command(resume=APPROVE), way)
    assert (asked(out), shop.bought) == ([{"item": "jam"}], ["tea"])
    out = call(
        agent,
        Command(
            resume={
                "decisions": [
                    {"type": "edit", "edited_action": {"name": "buy", "args": {"item": "ham"}}}
                ]
            }
        ),
        way,
    )
    assert out["messages"][-1].text == "bought tea, bought ham"
    assert (shop.bought, model.calls) == (["tea", "ham"], 1)


def test_several_approvals_at_once_are_one_request_with_a_decision_for_each() -> None:
    shop = Shop()
    sub = ScriptedModel(
        replies=[
            cell(
                "try:\n    FINAL(buy(context))\nexcept RuntimeError as error:\n    FINAL(str(error))"
            )
        ]
    )
    code = "FINAL(', '.join(rlm_query_batched(['buy'] * 3, contexts=['tea', 'jam', 'ham'])))"
    model = ChatRLM(
        model=root(code),
        sub_model=sub,
        tools=[shop.buy()],
        interrupt_on={"buy": True},
        limits={"max_depth": 2},
        direct_below_tokens=0,
    )
    agent = create_agent(model, tools=[], checkpointer=InMemorySaver())
    out = agent.invoke({"messages": [HumanMessage("shop")]}, thread())
    items = [action["item"] for action in asked(out)]
    assert sorted(items) == ["ham", "jam", "tea"]
    with pytest.raises(ResumeError, match="3 calls wait"):
        agent.invoke(Command(resume=APPROVE), thread())
    decisions = [
        {"type": "reject", "message": "no"} if item == "jam" else {"type": "approve"}
        for item in items
    ]
    out = agent.invoke(Command(resume={"decisions": decisions}), thread())
    assert sorted(shop.bought) == ["ham", "tea"]
    assert "rejected by a human: no" in out["messages"][-1].text


def test_a_wrong_answer_leaves_the_pause_open() -> None:
    shop = Shop()
    agent = create_agent(shop.chat(TWICE), tools=[], checkpointer=InMemorySaver())
    agent.invoke({"messages": [HumanMessage("shop")]}, thread())
    for wrong in ("yes", {"decisions": [{"type": "maybe"}]}, {"decisions": []}):
        with pytest.raises(ResumeError):
            agent.invoke(Command(resume=wrong), thread())
    assert asked(agent.invoke(Command(resume=APPROVE), thread())) == [{"item": "jam"}]


@pytest.mark.parametrize("way", ["one after the other", "at once"])
def test_two_calls_in_one_node_and_an_interrupt_of_its_own(way: str) -> None:
    """Answers reach their own calls.

    LangGraph matches them by order, over a node that runs again from its top each time.
    """
    shop = Shop()
    models = [root("FINAL(buy('a1') + buy('a2'))"), root("FINAL(buy('b1') + buy('b2'))")]
    chats = [shop.chat(model=model) for model in models]

    async def node(state: MessagesState) -> Any:
        name = interrupt("your name?")
        if way == "at once":
            replies = await asyncio.gather(*(chat.ainvoke(state["messages"]) for chat in chats))
        else:
            replies = [await chat.ainvoke(state["messages"]) for chat in chats]
        last = interrupt("sure?")
        return {"messages": [AIMessage(" ".join([name, *(reply.text for reply in replies), last]))]}

    graph = node_graph(node)

    async def all_rounds() -> Any:
        out = await graph.ainvoke({"messages": [HumanMessage("shop")]}, thread())
        seen: list[Any] = []
        while "__interrupt__" in out:
            value = out["__interrupt__"][0].value
            seen.append(
                value if isinstance(value, str) else value["action_requests"][0]["args"]["item"]
            )
            answer = (
                f"<{value}>"
                if isinstance(value, str)
                else {"decisions": [{"type": "respond", "message": f"got {seen[-1]};"}]}
            )
            out = await graph.ainvoke(Command(resume=answer), thread())
        return seen, out["messages"][-1].text

    seen, text = asyncio.run(all_rounds())
    assert seen == ["your name?", "a1", "a2", "b1", "b2", "sure?"]
    assert text == "<your name?> got a1;got a2; got b1;got b2; <sure?>"
    assert [model.calls for model in models] == [1, 1]


def test_each_round_in_a_new_process_over_one_file(tmp_path: Path) -> None:
    """The outer graph's checkpointer carries the inner run.

    Models and graphs are made anew each time.
    """
    shop, models = Shop(), list[ScriptedModel]()

    async def step(given: Any) -> Any:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
            models.append(root(TWICE))
            agent = create_agent(shop.chat(model=models[-1]), tools=[], checkpointer=saver)
            return await agent.ainvoke(given, thread())

    assert asked(asyncio.run(step({"messages": [HumanMessage("shop")]}))) == [{"item": "tea"}]
    assert asked(asyncio.run(step(Command(resume=APPROVE)))) == [{"item": "jam"}]
    assert (
        asyncio.run(step(Command(resume=APPROVE)))["messages"][-1].text == "bought tea, bought jam"
    )
    assert (shop.bought, [model.calls for model in models]) == (["tea", "jam"], [1, 0, 0])


@pytest.mark.parametrize("tokens", [0, 8_000], ids=["loop", "direct"])
def test_a_node_that_failed_after_the_call_does_not_pay_again(tokens: int) -> None:
    model, broken = (
        root("FINAL(llm_query('x'))") if tokens == 0 else ScriptedModel(replies=["len=1"]),
        [True],
    )
    chat = ChatRLM(model=model, sub_model=ScriptedModel(answer=echo), direct_below_tokens=tokens)

    def node(state: MessagesState) -> Any:
        first, second = chat.invoke(state["messages"]), chat.invoke(state["messages"])
        if broken.pop() if broken else False:
            raise RuntimeError("the process died")
        return {"messages": [first, second]}

    graph = node_graph(node)
    with pytest.raises(RuntimeError):
        graph.invoke({"messages": [HumanMessage("?")]}, thread())
    assert model.calls == 2
    out = graph.invoke(None, thread())
    assert ([message.text for message in out["messages"][1:]], model.calls) == (
        ["len=1", "len=1"],
        2,
    )
    assert all(message.usage_metadata for message in out["messages"][1:])


@pytest.mark.parametrize("tokens", [0, 8_000], ids=["loop", "direct"])
def test_calls_that_ask_the_same_at_once_in_one_node_are_two(tokens: int) -> None:
    model = root("FINAL('yes')") if tokens == 0 else ScriptedModel(replies=["yes"])
    chat = ChatRLM(model=model, direct_below_tokens=tokens)

    async def node(state: MessagesState) -> Any:
        return {
            "messages": await asyncio.gather(*(chat.ainvoke(state["messages"]) for _ in range(3)))
        }

    out = call(node_graph(node), {"messages": [HumanMessage("?")]}, "async")
    assert [message.text for message in out["messages"][1:]] == ["yes"] * 3
    assert model.calls == 3


def test_an_answer_by_the_interrupts_id() -> None:
    shop = Shop()
    agent = create_agent(shop.chat(TWICE), tools=[], checkpointer=InMemorySaver())
    out = agent.invoke({"messages": [HumanMessage("shop")]}, thread())
    for _ in range(2):
        out = agent.invoke(Command(resume={out["__interrupt__"][0].id: APPROVE}), thread())
    assert out["messages"][-1].text == "bought tea, bought jam"


def test_a_run_that_was_cut_off_goes_on_where_it_stood() -> None:
    """The provider fails in the second turn.

    The node runs again, and the first turn is not paid again.
    """
    replies = [cell("a = llm_query('x')"), RuntimeError("the provider is down"), cell("FINAL(a)")]
    failing = ScriptedModel(replies=replies[:2])
    healthy = ScriptedModel(replies=[replies[0], replies[2]])
    saver, current = InMemorySaver(), [failing]

    def node(state: MessagesState) -> Any:
        chat = ChatRLM(
            model=current[0], sub_model=ScriptedModel(answer=echo), direct_below_tokens=0
        )
        return {"messages": [chat.invoke(state["messages"])]}

    graph = node_graph(node, saver)
    with pytest.raises(RuntimeError, match="provider is down"):
        graph.invoke({"messages": [HumanMessage("?")]}, thread())
    current[0] = healthy
    assert graph.invoke(None, thread())["messages"][-1].text == "len=1"
    assert (failing.calls, healthy.calls) == (2, 1)


def test_a_run_that_died_between_a_steps_results_and_their_checkpoint_goes_on() -> None:
    """The process may die at any of the checkpoints.

    What the step did is saved by then, and LangGraph's state has nothing left to do.
    """

    class Full(InMemorySaver):
        at = 10**6

        async def aput(self, *args: Any, **kwargs: Any) -> Any:
            self.at -= 1
            if self.at == 0:
                raise OSError("the disk is full")
            return await super().aput(*args, **kwargs)

    for at in range(1, 20):
        saver, model = Full(), root("a = llm_query('x')", "FINAL(a + llm_query('y'))")
        chat = ChatRLM(model=model, sub_model=ScriptedModel(answer=echo), direct_below_tokens=0)
        graph = node_graph(
            lambda state, chat=chat: {"messages": [chat.invoke(state["messages"])]}, saver
        )
        saver.at, given = at, {"messages": [HumanMessage("?")]}
        try:
            out = asyncio.run(graph.ainvoke(given, thread(), durability="sync"))
        except OSError:
            out = asyncio.run(graph.ainvoke(None if saver.get(thread()) else given, thread()))
        assert (out["messages"][-1].text, model.calls) == ("len=1len=1", 2), at


def test_approvals_and_tool_calls_of_the_caller_in_one_run() -> None:
    """A tool call of the agent leaves the node and comes back in a later task.

    The next approval surfaces in that task.
    """
    shop = Shop()

    def weather(city: str) -> str:
        """The weather."""
        return f"dry in {city}"

    model = root(
        "x = buy('tea')", "y = weather('Rome')", "z = buy('jam')", "FINAL(', '.join([x, y, z]))"
    )
    agent = create_agent(shop.chat(model=model), tools=[weather], checkpointer=InMemorySaver())
    assert asked(agent.invoke({"messages": [HumanMessage("shop")]}, thread())) == [{"item": "tea"}]
    assert asked(agent.invoke(Command(resume=APPROVE), thread())) == [{"item": "jam"}]
    out = agent.invoke(Command(resume=APPROVE), thread())
    assert out["messages"][-1].text == "bought tea, dry in Rome, bought jam"
    assert (shop.bought, model.calls) == (["tea", "jam"], 4)


@pytest.mark.slow
def test_approvals_and_tool_calls_on_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    """The saver keeps what a human was shown between checkpoints, and replies of direct calls."""
    monkeypatch.setenv("LANGGRAPH_STRICT_MSGPACK", "true")
    shop, model = (
        Shop(),
        root(
            "x = buy('tea')", "y = weather('Rome')", "z = buy('jam')", "FINAL(', '.join([x, y, z]))"
        ),
    )

    def weather(city: str) -> str:
        """The weather."""
        return f"dry in {city}"

    async def step(url: str, given: Any, chat: ChatRLM) -> Any:
        async with open_saver(url) as saver:
            return await create_agent(chat, tools=[weather], checkpointer=saver).ainvoke(
                given, thread(chat.model_name)
            )

    with Postgres() as server:
        out = asyncio.run(
            step(server.url, {"messages": [HumanMessage("shop")]}, shop.chat(model=model))
        )
        for item in ("tea", "jam"):
            assert asked(out) == [{"item": item}]
            out = asyncio.run(step(server.url, Command(resume=APPROVE), shop.chat(model=model)))
        assert (out["messages"][-1].text, shop.bought) == (
            "bought tea, dry in Rome, bought jam",
            ["tea", "jam"],
        )
        plain = ChatRLM(model=ScriptedModel(replies=["hi"], model_name="plain"))
        assert (
            asyncio.run(step(server.url, {"messages": [HumanMessage("?")]}, plain))["messages"][
                -1
            ].text
            == "hi"
        )


def test_alone_an_approval_is_a_typed_error_that_says_how_to_go_on() -> None:
    shop = Shop()
    model = root(TWICE)
    chat = shop.chat(model=model)
    with pytest.raises(ApprovalNeededError, match=r"model\.resume") as first:
        chat.invoke("shop")
    assert first.value.request["action_requests"][0] == {"name": "buy", "args": {"item": "tea"}}
    with pytest.raises(ResumeError):
        chat.resume(first.value.run, {"decisions": [{"type": "maybe"}]})
    with pytest.raises(ApprovalNeededError) as second:
        chat.resume(first.value.run, APPROVE)
    assert second.value.request["action_requests"][0]["args"] == {"item": "jam"}
    assert (
        asyncio.run(chat.aresume(second.value.run, {"type": "approve"})).text
        == "bought tea, bought jam"
    )
    assert (shop.bought, model.calls) == (["tea", "jam"], 1)
    with pytest.raises(UnknownToolCallError):
        chat.for_owner("bob").resume(first.value.run, APPROVE)


RETRY: Any = {"wait_exponential_jitter": False}
SWALLOW = [ScriptedModel(replies=["swallowed"])]
WRAPPERS = {
    "retry": lambda chat: chat.with_retry(**RETRY),
    "fallbacks": lambda chat: chat.with_fallbacks(SWALLOW),
    "bound, retry": lambda chat: chat.bind(temperature=0).with_retry(**RETRY),
    "bound, fallbacks": lambda chat: chat.bind(temperature=0).with_fallbacks(SWALLOW),
    "both": lambda chat: chat.with_fallbacks(SWALLOW).with_retry(**RETRY),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_retries_do_not_run_it_twice_and_fallbacks_do_not_swallow_a_pause(
    wrap: Callable[[Any], Any], stream: bool
) -> None:
    """LangChain's catch every exception, and a pause is one."""
    shop, model = Shop(), root(TWICE)
    wrapped = wrap(shop.chat(model=model))

    def node(state: MessagesState) -> Any:
        if not stream:
            return {"messages": [wrapped.invoke(state["messages"])]}
        first, *rest = wrapped.stream(state["messages"])
        return {"messages": [sum(rest, start=first)]}

    graph = node_graph(node)
    assert asked(graph.invoke({"messages": [HumanMessage("shop")]}, thread())) == [{"item": "tea"}]
    assert asked(graph.invoke(Command(resume=APPROVE), thread())) == [{"item": "jam"}]
    out = graph.invoke(Command(resume=APPROVE), thread())
    assert (out["messages"][-1].text, model.calls, shop.bought) == (
        "bought tea, bought jam",
        1,
        ["tea", "jam"],
    )
    alone = wrap(shop.chat(model=root(TWICE)))
    with pytest.raises(ApprovalNeededError):
        alone.invoke("shop")
    with pytest.raises(ApprovalNeededError):
        asyncio.run(alone.ainvoke("shop"))


@pytest.mark.parametrize("in_a_node", [True, False])
def test_failures_are_retried_and_fall_back_as_ever(in_a_node: bool) -> None:
    """In a node a retry goes on where the run failed; elsewhere it begins anew."""
    model = ScriptedModel(replies=[cell("a = llm_query('x')"), RuntimeError("down")])
    chat = ChatRLM(model=model, sub_model=ScriptedModel(answer=echo), direct_below_tokens=0)
    assert chat.with_fallbacks([ScriptedModel(replies=["instead"])]).invoke("?").text == "instead"
    calls, wrapped = model.calls, chat.with_retry(**RETRY, stop_after_attempt=3)
    ask = (
        node_graph(lambda state: {"messages": [wrapped.invoke(state["messages"])]}).invoke
        if in_a_node
        else None
    )
    with pytest.raises(RuntimeError, match="down"):
        ask({"messages": [HumanMessage("?")]}, thread()) if ask else wrapped.invoke("?")
    assert model.calls - calls == (4 if in_a_node else 6)


def test_tokens_of_the_outer_stream_are_the_replies_alone() -> None:
    """The outer graph's `stream_mode="messages"` shows progress as reasoning, the answer as text.

    None of the code is shown as text.
    """
    agent = create_agent(
        ChatRLM(model=root("x = 41", "FINAL(x + 1)"), direct_below_tokens=0),
        tools=[],
        checkpointer=InMemorySaver(),
    )
    chunks = [
        chunk
        for chunk, _ in agent.stream(
            {"messages": [HumanMessage("?")]}, thread(), stream_mode="messages"
        )
    ]
    assert "".join(chunk.text for chunk in chunks) == "42"
    assert any(
        block["type"] == "reasoning" and "x = 41" in block["reasoning"]
        for chunk in chunks
        for block in chunk.content_blocks
    )


def test_an_answer_never_reaches_another_run_than_the_one_that_was_shown() -> None:
    """A node whose messages differ each time it runs begins a new run.

    The human's approval of the first run is not used for it.
    """
    shop, count = Shop(), iter(range(10))
    chat = shop.chat("FINAL(buy('tea'))")
    graph = node_graph(
        lambda state: {"messages": [chat.invoke([HumanMessage(f"shop at {next(count)} o'clock")])]}
    )
    assert asked(graph.invoke({"messages": []}, thread())) == [{"item": "tea"}]
    with pytest.raises(ResumeError, match="another run"):
        graph.invoke(Command(resume=APPROVE), thread())
    assert shop.bought == []
