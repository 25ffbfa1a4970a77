"""Tool calls of `ChatRLM`: the id of a call alone leads back to its run."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from langgraph_rlm import ChatRLM, InputError, UnknownToolCallError
from langgraph_rlm.testing import ScriptedModel, cell

from .models import echo, root


def weather(city: str) -> str:
    """The weather."""
    raise AssertionError("the body of a bound tool is never run")


def chat(
    *codes: str,
    saver: Any = None,
    tools: Sequence[Any] = (weather,),
    model: ScriptedModel | None = None,
    **options: Any,
) -> Any:
    """The loop with bound tools."""
    made = ChatRLM(
        model=model or root(*codes),
        sub_model=ScriptedModel(answer=echo),
        direct_below_tokens=0,
        checkpointer=saver or InMemorySaver(),
        **options,
    )
    return made.bind_tools(tools)


def results(
    reply: AIMessage, say: Callable[[dict[str, Any]], str] = lambda args: f"dry in {args['city']}"
) -> list[ToolMessage]:
    """What the caller sends back for each call of a reply."""
    return [ToolMessage(say(call["args"]), tool_call_id=call["id"]) for call in reply.tool_calls]


LONG = "long text " * 4000
ASK = "x = weather('Rome')\nFINAL(x)"
NATIVE = AIMessage(
    "",
    tool_calls=[
        {"name": "weather", "args": {"city": city}, "id": f"native{n}"}
        for n, city in enumerate("ABC")
    ],
)


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
def test_a_call_from_code_is_an_ordinary_tool_call_and_its_result_goes_on_with_the_code(
    way: str,
) -> None:
    async def asked(model: Any, messages: list[BaseMessage]) -> Any:
        if way == "ainvoke":
            return await model.ainvoke(messages)
        parts = [part async for part in model.astream(messages)]
        return sum(parts[1:], start=parts[0])

    def ask(model: Any, messages: list[BaseMessage]) -> Any:
        if way.startswith("a"):
            return asyncio.run(asked(model, messages))
        if way == "invoke":
            return model.invoke(messages)
        first, *rest = model.stream(messages)
        return sum(rest, start=first)

    model, said = chat(ASK), [HumanMessage("Will it rain?")]
    reply = ask(model, said)
    (call,) = reply.tool_calls
    assert (call["name"], call["args"], call["type"], reply.text) == (
        "weather",
        {"city": "Rome"},
        "tool_call",
        "",
    )
    assert len(call["id"]) <= 40
    assert reply.response_metadata["finish_reason"] == "tool_calls"
    last = ask(model, [*said, reply, *results(reply)])
    assert (last.text, last.tool_calls, last.response_metadata["finish_reason"]) == (
        "dry in Rome",
        [],
        "stop",
    )
    assert last.response_metadata["thread_id"] == reply.response_metadata["thread_id"]


def test_a_call_of_the_models_own_and_several_rounds() -> None:
    model = ScriptedModel(replies=[NATIVE, cell("y = weather('Oslo')"), cell("FINAL(y)")])
    bound, said = chat(model=model), [HumanMessage("Compare.")]
    reply = bound.invoke(said)
    assert [call["args"]["city"] for call in reply.tool_calls] == ["A", "B", "C"]
    said += [reply, *results(reply)]
    reply = bound.invoke(said)
    assert [call["args"]["city"] for call in reply.tool_calls] == ["Oslo"]
    assert bound.invoke([*said, reply, *results(reply)]).text == "dry in Oslo"
    assert model.calls == 3
    assert [message.text for message in model.prompts[1] if message.type == "tool"] == [
        "dry in A",
        "dry in B",
        "dry in C",
    ]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_answers_in_any_order_and_in_parts(order: list[int]) -> None:
    """What is still open comes back under the same ids; meanwhile the model is not called."""
    model = ScriptedModel(replies=[NATIVE, cell("FINAL('done')")])
    bound, said = chat(model=model), [HumanMessage("Compare.")]
    reply = bound.invoke(said)
    answers = results(reply)
    part = bound.invoke([*said, reply, answers[order[0]]])
    assert [call["id"] for call in part.tool_calls] == [
        call["id"] for index, call in enumerate(reply.tool_calls) if index != order[0]
    ]
    assert model.calls == 1
    assert part.usage_metadata["input_tokens"] == 0
    last = bound.invoke(
        [*said, reply, answers[order[0]], part, *(answers[index] for index in order[1:])]
    )
    assert (last.text, model.calls) == ("done", 2)
    assert [message.text for message in model.prompts[1] if message.type == "tool"] == [
        "dry in A",
        "dry in B",
        "dry in C",
    ]


def test_one_call_at_a_time_where_the_caller_takes_no_more() -> None:
    model = ScriptedModel(replies=[NATIVE, cell("FINAL('done')")])
    bound, said = chat(model=model).bind(parallel_tool_calls=False), [HumanMessage("Compare.")]
    cities: list[str] = []
    while (reply := bound.invoke(said)).tool_calls:
        (call,) = reply.tool_calls
        cities.append(call["args"]["city"])
        said = [*said, reply, *results(reply)]
    assert (cities, reply.text, model.calls) == (["A", "B", "C"], "done", 2)


def test_the_same_answer_twice_gives_the_same_reply_and_runs_nothing_again() -> None:
    """A client that lost the response asks again.

    It also may when the run has paused anew, or with another answer.
    """
    model = root("x = weather('Rome')", "y = weather('Oslo')", "FINAL(x + y)")
    bound, said = chat(model=model), [HumanMessage("Compare.")]
    first = bound.invoke(said)
    said += [first, *results(first)]
    second = bound.invoke(said)
    again = bound.invoke(said)
    assert (again.tool_calls, again.usage_metadata) == (second.tool_calls, second.usage_metadata)
    said += [second, *results(second)]
    third, calls = bound.invoke(said), model.calls
    for _ in range(2):
        again = bound.invoke(said)
        assert (again.text, again.usage_metadata, again.response_metadata) == (
            third.text,
            third.usage_metadata,
            third.response_metadata,
        )
    assert (
        bound.invoke([*said[:-1], ToolMessage("wet", tool_call_id=second.tool_calls[0]["id"])]).text
        == third.text
    )
    assert model.calls == calls == 3


def test_two_clients_that_send_the_same_answer_at_once_get_the_same_reply() -> None:
    model = root("x = weather('Rome')", "FINAL(x)")
    bound, said = chat(model=model), [HumanMessage("?")]

    async def both() -> list[AIMessage]:
        reply = await bound.ainvoke(said)
        given = [*said, reply, *results(reply)]
        return await asyncio.gather(*(bound.ainvoke(given) for _ in range(3)))

    replies = asyncio.run(both())
    assert {reply.text for reply in replies} == {"dry in Rome"}
    assert model.calls == 2


def test_memory_of_its_own_keeps_the_runs_that_somebody_may_come_back_to() -> None:
    """Without a checkpointer, ended runs are gone, and those with tool calls stay.

    The oldest of many expire.
    """
    model = ChatRLM(
        model=root(
            "try:\n    x = weather('Rome')\nexcept NameError:\n    x = 'no such tool'\nFINAL(x)"
        ),
        direct_below_tokens=0,
    )
    bound, said = model.bind_tools([weather]), [HumanMessage("?")]
    first = bound.invoke(said)
    asked = [bound.invoke(said) for _ in range(3)]
    for _ in range(5):
        assert model.invoke(said).text == "no such tool"
    assert bound.invoke([*said, first, *results(first)]).text == "dry in Rome"
    assert bound.invoke([*said, asked[0], *results(asked[0])]).text == "dry in Rome"
    assert len(model._memory.storage) == 4
    model._memory.kept = 10
    asyncio.run(bound.abatch([said] * 20))
    assert len(model._memory.storage) == 10
    with pytest.raises(UnknownToolCallError):
        bound.invoke([*said, asked[1], *results(asked[1])])


def test_every_reply_has_its_own_usage_and_together_they_are_the_runs() -> None:
    bound, said = chat("a = llm_query('one')\nx = weather('Rome')", "FINAL(x)"), [HumanMessage("?")]
    first = bound.invoke(said)
    last = bound.invoke([*said, first, *results(first)])
    whole = chat("a = llm_query('one')", "FINAL(a)").invoke(said)
    assert first.usage_metadata["output_tokens"] > 0 < last.usage_metadata["output_tokens"]
    assert (
        first.response_metadata["sub_calls"]
        == last.response_metadata["sub_calls"]
        == whole.response_metadata["sub_calls"]
        == 1
    )


def test_errors_reach_the_code_and_text_comes_as_text() -> None:
    code = "try:\n    x = weather('Rome')\nexcept RuntimeError as error:\n    x = str(error)\nFINAL([x])"
    for content, status, got in [
        ("no such city", "error", "weather failed: no such city"),
        ('{"sky": "blue"}', "success", '{"sky": "blue"}'),
    ]:
        bound, said = chat(code), [HumanMessage("?")]
        (call,) = (reply := bound.invoke(said)).tool_calls
        answer = ToolMessage(content, tool_call_id=call["id"], status=status)
        assert json.loads(bound.invoke([*said, reply, answer]).text) == [got]
    bound = chat(code)
    (call,) = (reply := bound.invoke(said)).tool_calls
    blocks = ToolMessage(
        [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}],
        tool_call_id=call["id"],
    )
    assert "in parts" in bound.invoke([*said, reply, blocks]).text


def test_another_process_goes_on_with_the_same_file_and_knows_the_tools(tmp_path: Path) -> None:
    """A new model object over the same database, without the tools bound, continues the run.

    The id of the call leads to the run, and the run to its tools.
    """
    path = str(tmp_path / "runs.db")

    def made() -> ChatRLM:
        saver = SqliteSaver(sqlite3.connect(path, check_same_thread=False))
        return ChatRLM(
            model=root("x = weather('Rome')", "FINAL(x)"), direct_below_tokens=0, checkpointer=saver
        )

    reply = made().bind_tools([weather]).invoke("Will it rain?")
    assert (
        made().invoke([HumanMessage("Will it rain?"), reply, *results(reply)]).text == "dry in Rome"
    )
    assert (
        made()
        .bind_tools([weather])
        .invoke([HumanMessage("Will it rain?"), reply, *results(reply)])
        .text
        == "dry in Rome"
    )


def test_unknown_expired_and_other_owners_calls_are_a_typed_error() -> None:
    saver = InMemorySaver()
    alice = ChatRLM(model=root(ASK), direct_below_tokens=0, checkpointer=saver, owner="alice")
    said: list[BaseMessage] = [HumanMessage("?")]
    reply = alice.bind_tools([weather]).invoke(said)
    said = [*said, reply, *results(reply)]
    id = reply.tool_calls[0]["id"]
    for model, forged in [
        (alice.for_owner("bob"), id),
        (alice, f"{id[:-12]}000000000000"),
        (ChatRLM(model=root(ASK)), id),
    ]:
        with pytest.raises(UnknownToolCallError, match="expired") as unknown:
            model.bind_tools([weather]).invoke([*said[:-1], ToolMessage("x", tool_call_id=forged)])
        assert unknown.value.ids == [forged]
    assert "alice" not in id
    assert alice.for_owner("alice").bind_tools([weather]).invoke(said).text == "dry in Rome"


def test_finished_calls_in_older_history_and_other_models_calls_are_conversation() -> None:
    saver, said = InMemorySaver(), [HumanMessage("Will it rain?")]
    bound = chat(ASK, saver=saver)
    reply = bound.invoke(said)
    said = [*said, reply, *results(reply)]
    said = [*said, bound.invoke(said), HumanMessage("And what did I ask first?")]
    counting = root("FINAL(f\"{len(context)}: {context[0]['content']}\")")
    assert chat(model=counting, saver=saver).invoke(said).text == "4: Will it rain?"
    foreign = [
        HumanMessage("?"),
        NATIVE,
        *(ToolMessage("dry", tool_call_id=f"native{n}") for n in range(3)),
    ]
    assert chat(model=counting, saver=saver).invoke(foreign).text == "4: "


def test_a_system_message_after_the_results_does_not_hide_them() -> None:
    bound, said = chat(ASK), [HumanMessage("?")]
    reply = bound.invoke(said)
    assert (
        bound.invoke([*said, reply, *results(reply), SystemMessage("Be brief.")]).text
        == "dry in Rome"
    )


def test_answers_to_calls_of_different_replies_are_refused() -> None:
    bound, said = chat(ASK), [HumanMessage("?")]
    one, two = bound.invoke(said), bound.invoke(said)
    with pytest.raises(InputError, match="different replies"):
        bound.invoke([*said, one, *results(one), *results(two)])
    with pytest.raises(InputError, match="different replies"):
        bound.invoke([*said, one, *results(one), ToolMessage("x", tool_call_id="native0")])


def test_tools_that_are_bound_later_are_there_and_a_tool_may_have_a_name_that_code_knows() -> None:
    def grep(pattern: str) -> str:
        """Search the web."""
        raise AssertionError

    model = root("x = weather('Rome')", "y = grep_tool('rain')", "FINAL(x + y)")
    saver = InMemorySaver()
    reply = chat(model=model, saver=saver).invoke("?")
    later = chat(model=model, saver=saver, tools=[weather, grep])
    second = later.invoke([HumanMessage("?"), reply, *results(reply)])
    assert (second.tool_calls[0]["name"], second.tool_calls[0]["args"]) == (
        "grep",
        {"pattern": "rain"},
    )
    assert later.invoke([second, *results(second, lambda _: " found")]).text == "dry in Rome found"
    with pytest.raises(InputError, match="rename"):
        ChatRLM(model=root(ASK), tools=[lambda_tool()], direct_below_tokens=0).bind_tools(
            [weather]
        ).invoke("?")


def lambda_tool() -> Any:
    def weather(city: str) -> str:
        """The same name."""
        return city

    return weather


@pytest.mark.parametrize(
    "choice",
    ["any", "required", True, "weather", {"type": "function", "function": {"name": "weather"}}],
)
def test_a_forced_call_is_the_answer(choice: Any) -> None:
    model = ChatRLM(
        model=root("FINAL({'city': 5})", "FINAL({'city': 'Rome'})"), direct_below_tokens=0
    )
    reply = model.bind_tools([weather], tool_choice=choice).invoke("?")
    assert [(call["name"], call["args"]) for call in reply.tool_calls] == [
        ("weather", {"city": "Rome"})
    ]
    assert (
        reply.text,
        reply.response_metadata["finish_reason"],
        reply.response_metadata["turns"],
    ) == ("", "tool_calls", 2)
    after = [HumanMessage("?"), reply, *results(reply)]
    assert (
        model.bind_tools([weather], tool_choice="none").invoke(after).text
    )  # a run that has ended is ordinary history


def test_wrong_choices_and_tools() -> None:
    model = ChatRLM(model=root(ASK))
    with pytest.raises(InputError, match="names no tool"):
        model.bind_tools([weather], tool_choice="sunshine")
    with pytest.raises(InputError, match="is no tool"):
        model.bind_tools([5])
    with pytest.raises(InputError, match="no valid JSON schema"):
        model.bind_tools(
            [
                {
                    "name": "x",
                    "description": "",
                    "parameters": {"type": "object", "properties": {"a": {"type": "thing"}}},
                }
            ]
        ).invoke(LONG)
    with pytest.raises(InputError, match="response_format"):
        model.invoke(
            "?",
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "thing"}},
            },
        )
    with pytest.raises(InputError, match="type 'function'"):
        model.bind_tools([{"type": "web_search"}])


def test_many_callers_at_once_get_their_own() -> None:
    def code(prompt: str) -> str:
        return cell("x = weather(context[:8])\nFINAL(context[:8] + x)")

    model = ChatRLM(model=ScriptedModel(answer=code), direct_below_tokens=0, context_rule=100)
    bound = model.bind_tools([weather])

    async def caller(number: int) -> str:
        said: list[BaseMessage] = [HumanMessage(f"{number:08d}" + " text" * 100)]
        reply = await bound.ainvoke(said)
        return (await bound.ainvoke([*said, reply, *results(reply)])).text

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*(caller(number) for number in range(20)))

    assert asyncio.run(all_at_once()) == [f"{n:08d}dry in {n:08d}" for n in range(20)]


def test_many_sets_of_tools_take_no_interpreter_from_a_run_that_waits() -> None:
    """The graph of a set that has long not been used is dropped.

    Interpreters belong to the model, and end with it.
    """

    def workers() -> set[int]:
        return {child.pid for child in psutil.Process().children(recursive=True)}

    before = workers()
    model = ChatRLM(
        model=ScriptedModel(answer=lambda text: cell("FINAL(1)" if "another" in text else ASK)),
        direct_below_tokens=0,
    )
    model.bind_tools([weather]).invoke("Will it rain?")
    (waiting,) = workers() - before
    for number in range(70):
        tool = {
            "name": f"tool_{number}",
            "description": "",
            "parameters": {"type": "object", "properties": {}},
        }
        assert model.bind_tools([tool]).invoke("another").text == "1"
    assert waiting in workers()
    del model
    assert not workers() - before
