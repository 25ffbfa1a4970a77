"""Approvals in LangChain's newer forms: `when`, one request for each call, several decisions at once."""

import json
from typing import Any, get_type_hints

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import human_in_the_loop as langchains
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langgraph_rlm import ChatRLM, ConfigurationError, ResumeError
from langgraph_rlm.testing import ScriptedModel, cell
from langgraph_rlm.tools.approvals import InterruptOn

from .models import rlm, root, thread

APPROVE: Any = {"type": "approve"}


class Shop:
    """What a graph's code has bought, and the tool that buys."""

    def __init__(self) -> None:
        self.bought: list[str] = []

    def tool(self) -> Any:
        def buy(item: str, count: int = 1) -> str:
            """Buy something."""
            self.bought.append(item)
            return f"{count} {item}"

        return buy

    def graph(self, *codes: str, on: Any = True, **options: Any) -> Any:
        return rlm(
            root(*codes),
            tools=[self.tool()],
            interrupt_on={"buy": on},
            checkpointer=InMemorySaver(),
            **options,
        )


def parts_buy(prompt: str) -> str:
    """A sub-model whose children each buy their question."""
    item = prompt.rsplit("\n", 1)[-1]
    return cell(
        f"try:\n    FINAL(buy({item!r}))\nexcept RuntimeError as error:\n    FINAL(str(error))"
    )


TWO_CHILDREN = "FINAL(rlm_query_batched(['tea', 'jam']))"


class TestWhen:
    TWO = "FINAL([buy('tea'), buy('jam', count=9)])"

    def test_the_calls_that_it_names_wait_and_the_others_run(self) -> None:
        shop, asked = Shop(), []

        def is_much(request: Any) -> bool:
            asked.append(request.tool_call)
            assert request.tool.name == "buy"
            assert request.runtime.tool_call_id == request.tool_call["id"]
            return request.tool_call["args"].get("count", 1) > 5

        graph = shop.graph(self.TWO, on={"when": is_much})
        (pause,) = graph.invoke({"query": "q"}, thread())["__interrupt__"]
        assert pause.value["action_requests"] == [
            {"name": "buy", "args": {"item": "jam", "count": 9}}
        ]
        assert shop.bought == ["tea"]
        out = graph.invoke(Command(resume=APPROVE), thread())
        assert json.loads(out["answer"]) == ["1 tea", "9 jam"]
        assert [call["args"] for call in asked] == [
            {"item": "tea"},
            {"item": "jam", "count": 9},
        ]
        assert {call["type"] for call in asked} == {"tool_call"}

    def test_its_word_is_kept_while_the_call_waits(self) -> None:
        """LangChain asks it again on resume; an answer that changed then drops the human's decision."""
        shop, answers = Shop(), iter([True, False, False])
        graph = shop.graph(
            "try:\n    buy('tea')\nexcept RuntimeError as error:\n    FINAL(str(error))",
            on={"when": lambda request: next(answers)},
        )
        graph.invoke({"query": "q"}, thread())
        out = graph.invoke(Command(resume={"type": "reject", "message": "no"}), thread())
        assert (out["answer"], shop.bought) == ("buy failed: rejected by a human: no", [])

    def test_a_failure_of_it_runs_nothing_and_the_run_can_be_continued(self) -> None:
        shop, words = Shop(), iter([KeyError("amount"), True])

        def when(request: Any) -> bool:
            word = next(words)
            if isinstance(word, Exception):
                raise word
            return word

        graph = shop.graph("FINAL(buy('tea'))", on={"when": when})
        with pytest.raises(KeyError, match="amount"):
            graph.invoke({"query": "q"}, thread())
        assert graph.invoke(None, thread())["__interrupt__"]
        assert shop.bought == []
        assert graph.invoke(Command(resume=APPROVE), thread())["answer"] == "1 tea"

    def test_a_tool_that_must_not_run_twice_passes_the_gate_too(self) -> None:
        shop = Shop()
        graph = shop.graph(
            "FINAL(buy('tea'))", on={"when": lambda request: False}, not_idempotent=["buy"]
        )
        assert graph.invoke({"query": "q"}, thread())["answer"] == "1 tea"

    def test_every_key_of_langchains_config_is_taken(self) -> None:
        assert (
            InterruptOn.__annotations__.keys()
            == langchains.InterruptOnConfig.__annotations__.keys()
        )
        on = langchains.InterruptOnConfig(
            allowed_decisions=["approve"], when=lambda request: True, args_schema={"type": "object"}
        )
        (pause,) = (
            Shop()
            .graph("FINAL(buy('tea'))", on=on)
            .invoke({"query": "q"}, thread())["__interrupt__"]
        )
        assert pause.value["review_configs"][0]["allowed_decisions"] == ["approve"]

    @pytest.mark.parametrize("on", [{"when": "often"}, {"whenever": print}, {"when": None}])
    def test_what_is_no_condition_is_refused(self, on: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"interrupt_on\['buy'\].*'when': function"):
            Shop().graph("FINAL(1)", on=on)


class TestPerCall:
    def test_the_pause_is_langchains_request_of_one_call(self) -> None:
        graph = Shop().graph("FINAL(buy('tea'))", interrupt_mode="per_call")
        (pause,) = graph.invoke({"query": "q"}, thread())["__interrupt__"]
        assert pause.value.keys() == get_type_hints(langchains.ToolApprovalRequest).keys()
        assert pause.value["tool_call_id"]
        del pause.value["tool_call_id"]
        assert pause.value == {
            "type": "tool_approval",
            "name": "buy",
            "args": {"item": "tea"},
            "description": "buy waits for approval.",
        }
        kinds = {form["properties"]["type"]["const"] for form in pause.response_schema["oneOf"]}
        assert kinds == {"approve", "edit", "reject", "respond"}

    @pytest.mark.parametrize(
        ("decision", "answer"),
        [
            (APPROVE, "1 tea"),
            ({"type": "edit", "edited_action": {"name": "buy", "args": {"item": "jam"}}}, "1 jam"),
            ({"type": "respond", "message": "sold out"}, "sold out"),
            ({"decisions": [APPROVE]}, "1 tea"),
        ],
    )
    def test_it_takes_a_single_decision(self, decision: Any, answer: str) -> None:
        graph = Shop().graph("FINAL(buy('tea'))", interrupt_mode="per_call")
        (pause,) = graph.invoke({"query": "q"}, thread())["__interrupt__"]
        with pytest.raises(ResumeError, match="it is no decision"):
            graph.invoke(Command(resume={pause.id: "yes"}), thread())
        assert graph.invoke(Command(resume={pause.id: decision}), thread())["answer"] == answer

    def test_a_call_that_may_have_run_asks_in_the_same_form(self) -> None:
        died: list[int] = []

        def buy(item: str, count: int = 1) -> str:
            """Buy something."""
            if not died:
                died.append(1)
                raise KeyboardInterrupt
            return item

        graph = rlm(
            root("FINAL(buy('tea'))"),
            tools=[buy],
            not_idempotent=["buy"],
            interrupt_mode="per_call",
            checkpointer=InMemorySaver(),
        )
        with pytest.raises(KeyboardInterrupt):
            graph.invoke({"query": "q"}, thread())
        (pause,) = graph.invoke(None, thread())["__interrupt__"]
        assert pause.value["type"] == "tool_approval"
        assert "may have run already" in pause.value["description"]
        assert graph.invoke(Command(resume=APPROVE), thread())["answer"] == "tea"

    def test_in_a_graph_around_chat_rlm_each_call_asks_after_the_other(self) -> None:
        shop = Shop()
        chat = ChatRLM(
            model=root(TWO_CHILDREN),
            sub_model=ScriptedModel(answer=parts_buy),
            tools=[shop.tool()],
            interrupt_on={"buy": True},
            interrupt_mode="per_call",
            limits={"max_depth": 2},
            direct_below_tokens=0,
        )
        agent = create_agent(chat, checkpointer=InMemorySaver())
        out = agent.invoke({"messages": "shop"}, thread())
        for item in ("tea", "jam"):
            (pause,) = out["__interrupt__"]
            assert (pause.value["type"], pause.value["args"]) == ("tool_approval", {"item": item})
            out = agent.invoke(Command(resume={pause.id: APPROVE}), thread())
        assert json.loads(out["messages"][-1].text) == ["1 tea", "1 jam"]

    def test_another_mode_is_refused(self) -> None:
        for make in (lambda: Shop().graph("FINAL(1)", interrupt_mode="each"),
                     lambda: ChatRLM(model=root("FINAL(1)"), interrupt_mode="each")):  # fmt: skip
            with pytest.raises(ConfigurationError, match="'batched' or 'per_call'"):
                make()


class TestSeveralDecisions:
    """Agent Chat UI and Agent Inbox send `{"decisions": [...]}`, without ids."""

    @pytest.mark.parametrize(
        "answer", [{"decisions": [APPROVE]}, {"decisions": [APPROVE] * 2}, [APPROVE] * 3, APPROVE]
    )
    def test_pauses_of_their_own_are_answered_by_id_alone(self, answer: Any) -> None:
        """LangGraph shows them in the order in which they came, and keeps them in another."""
        shop = Shop()
        graph = shop.graph(
            TWO_CHILDREN, sub=ScriptedModel(answer=parts_buy), limits={"max_depth": 2}
        )
        graph.invoke({"query": "q"}, thread())
        with pytest.raises(ResumeError, match="2 calls wait: answer each by its id"):
            graph.invoke(Command(resume=answer), thread())
        assert shop.bought == []

    def test_around_chat_rlm_two_calls_are_one_request_that_the_ui_answers_as_one(self) -> None:
        shop = Shop()
        chat = ChatRLM(
            model=root(TWO_CHILDREN),
            sub_model=ScriptedModel(answer=parts_buy),
            tools=[shop.tool()],
            interrupt_on={"buy": {"allowed_decisions": ["approve", "reject"]}},
            limits={"max_depth": 2},
            direct_below_tokens=0,
        )
        agent = create_agent(chat, checkpointer=InMemorySaver())
        (pause,) = agent.invoke({"messages": "shop"}, thread())["__interrupt__"]
        actions, configs = pause.value["action_requests"], pause.value["review_configs"]
        assert [action["args"] for action in actions] == [{"item": "tea"}, {"item": "jam"}]
        assert [config["action_name"] for config in configs] == ["buy", "buy"]
        decisions = [APPROVE, {"type": "reject", "message": "no"}]
        out = agent.invoke(Command(resume={"decisions": decisions}), thread())
        tea, jam = json.loads(out["messages"][-1].text)
        assert (tea, shop.bought) == ("1 tea", ["tea"])
        assert "rejected by a human: no" in jam


@pytest.mark.parametrize("mode", ["batched", "per_call"])
@pytest.mark.parametrize("ours", ["batched", "per_call"])
def test_an_agent_within_a_tool_pauses_in_its_own_way(mode: Any, ours: Any) -> None:
    """What it asks passes through as it is, and so does the answer."""
    shop = Shop()
    call = {"name": "buy", "args": {"item": "tea"}, "id": "1"}
    agent = create_agent(
        ScriptedModel(replies=[AIMessage("", tool_calls=[call]), "bought"]),
        tools=[shop.tool()],
        middleware=[
            langchains.HumanInTheLoopMiddleware(interrupt_on={"buy": True}, interrupt_mode=mode)
        ],
    )

    def delegate(task: str) -> str:
        """Have an agent do it."""
        return agent.invoke({"messages": task})["messages"][-1].text

    graph = rlm(
        root("FINAL(delegate('buy tea'))"),
        tools=[delegate],
        interrupt_mode=ours,
        checkpointer=InMemorySaver(),
    )
    (pause,) = graph.invoke({"query": "q"}, thread())["__interrupt__"]
    assert ("action_requests" in pause.value) == (mode == "batched")
    assert shop.bought == []
    answer = {"decisions": [APPROVE]} if mode == "batched" else APPROVE
    assert graph.invoke(Command(resume={pause.id: answer}), thread())["answer"] == "bought"
    assert shop.bought == ["tea"]
