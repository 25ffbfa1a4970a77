"""Rounds of tool calls: calls that are forced, and a user who says more behind the results."""

import json
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import ChatRLM
from langgraph_rlm.testing import ScriptedModel, cell

from .models import echo, root, shown
from .pictures import image_block, png


def tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"item": {"type": "string"}}}
    return {"name": name, "description": f"The {name}.", "parameters": parameters}


PRICE, STOCK = tool("price"), tool("stock")
IMAGE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def chat(*codes: str, **options: Any) -> ChatRLM:
    model = options.pop("model", None) or root(*codes)
    given = {"direct_below_tokens": 0, "checkpointer": InMemorySaver()} | options
    return ChatRLM(model=model, **({"sub_model": ScriptedModel(answer=echo)} | given))


def answered(said: list[Any], reply: AIMessage, content: Any = "3") -> list[Any]:
    results = [ToolMessage(content, tool_call_id=call["id"]) for call in reply.tool_calls]
    return [*said, reply, *results]


def made(reply: AIMessage) -> list[tuple[str, dict[str, Any]]]:
    return [(call["name"], call["args"]) for call in reply.tool_calls]


class TestForced:
    TWO_ROUNDS = (
        "p = price(item='tea')\ns = stock(item='tea')\n"
        "FINAL({'name': 'price', 'arguments': {'item': p + s}})"
    )

    @pytest.mark.parametrize("choice", ["required", "any", True])
    def test_code_calls_tools_round_after_round_and_ends_in_a_call(self, choice: Any) -> None:
        bound = chat(self.TWO_ROUNDS).bind_tools([PRICE, STOCK], tool_choice=choice)
        said: list[Any] = [HumanMessage("?")]
        first = bound.invoke(said)
        second = bound.invoke(said := answered(said, first))
        last = bound.invoke(answered(said, second, "4"))
        assert [made(reply) for reply in (first, second, last)] == [
            [("price", {"item": "tea"})],
            [("stock", {"item": "tea"})],
            [("price", {"item": "34"})],
        ]
        threads = {reply.response_metadata["thread_id"] for reply in (first, second, last)}
        assert len(threads) == 1
        assert {reply.response_metadata["finish_reason"] for reply in (first, second, last)} == {
            "tool_calls"
        }

    @pytest.mark.parametrize("then", [None, "auto", "none"])
    def test_after_a_forced_round_the_answer_may_be_text(self, then: str | None) -> None:
        """As clients do that force the first call alone."""
        model = root("p = price(item='tea')", "FINAL(f'It costs {p}.')")
        base = chat(model=model)
        said: list[Any] = [HumanMessage("?")]
        first = base.bind_tools([PRICE], tool_choice="required").invoke(said)
        last = base.bind_tools([PRICE], tool_choice=then).invoke(answered(said, first))
        assert (last.text, last.tool_calls) == ("It costs 3.", [])
        assert "arguments" not in model.prompts[1][0].text.split("price")[0]

    def test_a_round_that_asks_for_another_form_gets_that(self) -> None:
        base = chat("p = price(item='tea')", "FINAL({'x': int(p)})")
        said: list[Any] = [HumanMessage("?")]
        first = base.bind_tools([PRICE], tool_choice="required").invoke(said)
        schema = {
            "title": "Answer",
            "type": "object",
            "properties": {"x": {"type": "integer"}},
            "required": ["x"],
        }
        bound = base.bind_tools([PRICE]).bind(response_format=schema)
        assert json.loads(bound.invoke(answered(said, first)).text) == {"x": 3}

    def test_a_later_round_may_be_forced(self) -> None:
        """A text is then no answer, and the model is told so."""
        model = root("p = price(item='tea')", "FINAL('no call')", "FINAL({'item': p})")
        base = chat(model=model)
        said: list[Any] = [HumanMessage("?")]
        first = base.bind_tools([PRICE]).invoke(said)
        last = base.bind_tools([PRICE], tool_choice="price").invoke(answered(said, first))
        assert made(last) == [("price", {"item": "3"})] and model.calls == 3

    def test_a_named_choice_gives_code_that_tool_alone(self) -> None:
        code = "try:\n    stock(item='tea')\nexcept NameError:\n    price(item='tea')"
        named: Any = {"type": "function", "function": {"name": "price"}}
        bound = chat(code, "FINAL({'item': 'done'})").bind_tools([PRICE, STOCK], tool_choice=named)
        said: list[Any] = [HumanMessage("?")]
        first = bound.invoke(said)
        assert made(first) == [("price", {"item": "tea"})]
        assert made(bound.invoke(answered(said, first))) == [("price", {"item": "done"})]

    def test_results_alone_continue_what_was_begun(self) -> None:
        """A call that says nothing of tools changes nothing."""
        base = chat(self.TWO_ROUNDS)
        said: list[Any] = [HumanMessage("?")]
        first = base.bind_tools([PRICE, STOCK], tool_choice="required").invoke(said)
        second = base.invoke(said := answered(said, first))
        assert made(base.invoke(answered(said, second, "4"))) == [("price", {"item": "34"})]

    def test_native_calls_of_the_root_do_too(self) -> None:
        call = AIMessage("", tool_calls=[{"name": "price", "args": {"item": "tea"}, "id": "n"}])
        model = ScriptedModel(replies=[call, cell("FINAL({'item': 'done'})")])
        bound = chat(model=model).bind_tools([PRICE], tool_choice="required")
        said: list[Any] = [HumanMessage("?")]
        first = bound.invoke(said)
        assert made(bound.invoke(answered(said, first))) == [("price", {"item": "done"})]

    def test_the_same_results_twice_give_the_same_reply(self) -> None:
        bound = chat(self.TWO_ROUNDS).bind_tools([PRICE, STOCK], tool_choice="required")
        said: list[Any] = [HumanMessage("?")]
        said = answered(said, bound.invoke(said))
        assert bound.invoke(said).tool_calls == bound.invoke(said).tool_calls

    def test_an_agent_that_forces_its_calls(self) -> None:
        """LangChain's own structured output by tools: one call a round, until the answer's own."""

        def price(item: str) -> str:
            """A price."""
            return f"{item} costs 3"

        from langchain.agents.structured_output import ToolStrategy
        from pydantic import BaseModel

        class Told(BaseModel):
            text: str

        code = "x = price(item='tea')\nTold(text=x)\nFINAL({'name': 'Told', 'arguments': {'text': 'late'}})"
        agent: Any = create_agent(chat(code), tools=[price], response_format=ToolStrategy(Told))
        assert agent.invoke({"messages": "?"})["structured_response"] == Told(text="tea costs 3")


class TestFollowUp:
    def test_what_a_user_says_behind_the_results_is_seen_before_the_run_ends(self) -> None:
        model = root("p = price(item='tea')\nFINAL(p)", "FINAL(f'{p} euros')")
        bound = chat(model=model).bind_tools([PRICE])
        said: list[Any] = [HumanMessage("?")]
        first = bound.invoke(said)
        last = bound.invoke([*answered(said, first), HumanMessage("In euros, please.")])
        assert last.text == "3 euros" and model.calls == 2
        assert last.response_metadata["thread_id"] == first.response_metadata["thread_id"]
        assert "In euros, please." in shown(model, 1) and "while your code waited" in shown(
            model, 1
        )

    def test_it_stays_where_the_run_waits_again(self) -> None:
        model = root("p = price(item='tea')\ns = stock(item='tea')", "FINAL('both')")
        bound = chat(model=model).bind_tools([PRICE, STOCK])
        said: list[Any] = [HumanMessage("?")]
        said = [*answered(said, bound.invoke(said)), HumanMessage("In euros, please.")]
        second = bound.invoke(said)
        assert made(second) == [("stock", {"item": "tea"})]
        assert bound.invoke(answered(said, second)).text == "both"
        assert "In euros, please." in shown(model, 1)

    def test_a_picture_of_a_tool_comes_so(self) -> None:
        """As a context, which code shows to models."""
        picture = HumanMessage(["The chart:", image_block(png(64, 48))])
        model = root(
            "p = price(item='tea')", "FINAL([context_0, llm_query('?', images=['context_0'])])"
        )
        bound = chat(model=model, sub_model=ScriptedModel(answer=lambda _: "rising")).bind_tools(
            [PRICE]
        )
        said: list[Any] = [HumanMessage("?")]
        said = [*answered(said, bound.invoke(said)), picture]
        last = json.loads(bound.invoke(said).text)
        assert last[0].startswith("<image 64x48 PNG") and last[1] == "rising"
        assert "The chart:\n\n(image 64x48 PNG" in shown(model, 1)
        assert bound.invoke(said).text and model.calls == 2

    def test_a_broken_picture_of_a_tool_stops_nothing(self) -> None:
        """Code is told; as data it is there."""
        picture = HumanMessage([{"type": "text", "text": "The chart:"}, IMAGE])
        model = root("p = price(item='tea')", "FINAL(context_0[0]['content'][1]['type'])")
        bound = chat(model=model).bind_tools([PRICE])
        said: list[Any] = [HumanMessage("?")]
        last = bound.invoke([*answered(said, bound.invoke(said)), picture])
        assert last.text == "image_url"
        assert "The chart:" in shown(model, 1) and "image_url" in shown(model, 1)
        assert "`context_0`" in shown(model, 1)

    def test_a_picture_alone_and_several_messages(self) -> None:
        for messages in (
            [HumanMessage([IMAGE])],
            [HumanMessage("One."), SystemMessage("Be brief."), HumanMessage("Two.")],
        ):
            model = root("p = price(item='tea')", "FINAL(p)")
            bound = chat(model=model).bind_tools([PRICE])
            said: list[Any] = [HumanMessage("?")]
            assert bound.invoke([*answered(said, bound.invoke(said)), *messages]).text == "3"
            texts = [message.text for message in messages if message.type == "human"]
            assert all(text in shown(model, 1) for text in texts)

    def test_a_long_one_is_context(self) -> None:
        model = root("p = price(item='tea')", "FINAL(len(context_0))")
        bound = chat(model=model).bind_tools([PRICE])
        said: list[Any] = [HumanMessage("?")]
        last = bound.invoke([*answered(said, bound.invoke(said)), HumanMessage("word " * 4_000)])
        assert last.text == "20000"

    def test_the_same_request_twice_runs_nothing_again(self) -> None:
        """Also after the run has ended, or waits anew."""
        model = root("p = price(item='tea')\ns = stock(item='tea')", "FINAL('both')")
        bound = chat(model=model).bind_tools([PRICE, STOCK])
        said: list[Any] = [HumanMessage("?")]
        said = [*answered(said, bound.invoke(said)), HumanMessage("In euros, please.")]
        second = bound.invoke(said)
        assert bound.invoke(said).tool_calls == second.tool_calls
        said = [*answered(said, second), HumanMessage("And fast.")]
        assert [bound.invoke(said).text for _ in range(2)] == ["both", "both"]
        assert model.calls == 2

    def test_a_question_after_a_run_that_has_ended_is_a_new_one(self) -> None:
        """The client has lost the answer, and the user asks on: the results are history."""
        model = root("p = price(item='tea')\nFINAL(p)")
        saver = InMemorySaver()
        bound = chat(model=model, checkpointer=saver).bind_tools([PRICE])
        said: list[Any] = [HumanMessage("?")]
        first = bound.invoke(said)
        said = answered(said, first)
        assert bound.invoke(said).text == "3"
        other = root("FINAL(context[-1]['content'])")
        reply = (
            chat(model=other, checkpointer=saver)
            .bind_tools([PRICE])
            .invoke([*said, HumanMessage("Now what?")])
        )
        assert reply.text == "3" and "Now what?" in shown(other, 0)
        assert reply.response_metadata["thread_id"] != first.response_metadata["thread_id"]

    def test_calls_that_are_not_known_here_are_history_too(self) -> None:
        """Without words behind them they are an error: see `test_chat_tools.py`."""
        said: list[Any] = [HumanMessage("?")]
        said = answered(said, chat("p = price(item='tea')").bind_tools([PRICE]).invoke(said))
        model = root("FINAL('new')")
        reply = chat(model=model).bind_tools([PRICE]).invoke([*said, HumanMessage("Go on.")])
        assert reply.text == "new" and "Go on." in shown(model, 0)

    def test_short_ones_are_asked_directly_where_no_run_waits(self) -> None:
        said: list[BaseMessage] = [
            HumanMessage("?"),
            AIMessage("", tool_calls=[{"name": "price", "args": {}, "id": "x"}]),
            ToolMessage("3", tool_call_id="x"),
            HumanMessage([{"type": "text", "text": "See:"}, IMAGE]),
        ]
        model = ScriptedModel(replies=["unused", "a chart"])
        assert ChatRLM(model=model).bind_tools([PRICE]).invoke(said).text == "a chart"

    def test_the_limit_of_turns_still_ends_such_a_run(self) -> None:
        model = ScriptedModel(
            replies=[
                cell("p = price(item='tea')"),
                cell("print('on')"),
                cell("print('on')"),
                "best",
            ]
        )
        bound = chat(model=model, limits={"max_iterations": 2}).bind_tools([PRICE])
        said: list[Any] = [HumanMessage("?")]
        last = bound.invoke([*answered(said, bound.invoke(said)), HumanMessage("In euros.")])
        assert (last.text, last.response_metadata["stop_reason"]) == ("best", "max_iterations")

    def test_in_another_process_it_is_there_too(self) -> None:
        """The follow-up is in the run's log: a new interpreter arrives at the same place."""
        saver = InMemorySaver()
        codes = ("p = price(item='tea')", "s = stock(item='tea')", "FINAL(f'{p} {s}')")

        def bound() -> Any:
            return chat(model=root(*codes), checkpointer=saver).bind_tools([PRICE, STOCK])

        said: list[Any] = [HumanMessage("?")]
        said = [*answered(said, bound().invoke(said)), HumanMessage("In euros.")]
        second = bound().invoke(said)
        assert bound().invoke(answered(said, second, "4")).text == "3 4"
