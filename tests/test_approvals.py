"""Approvals in the middle of code: at any depth, several at once, in any order, days later, in another process."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from langgraph_rlm import ResumeError
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, root, thread


@pytest.fixture(params=["live", "cold"])
def idle(request: pytest.FixtureRequest) -> int:
    """How many interpreters are kept between steps: with none, every step rebuilds its own from the log."""
    return 32 if request.param == "live" else 0


class Shop:
    """A graph whose code buys things, and what was bought."""

    def __init__(self, *codes: str, idle: int = 32, on: Any = True, **options: Any) -> None:
        self.bought: list[tuple[str, int]] = []
        self.model = root(*codes)
        self.graph = rlm(
            self.model,
            tools=[self.tool()],
            interrupt_on={"buy": on},
            checkpointer=InMemorySaver(),
            **options,
        )
        self.graph.rlm.sessions.max_idle = idle

    def tool(self) -> Callable[..., Any]:
        def buy(item: str, count: int = 1) -> dict[str, Any]:
            """Buy something."""
            self.bought.append((item, count))
            return {"item": item, "count": count}

        return buy

    def start(self) -> dict[str, Any]:
        return self.graph.invoke({"query": "shop"}, thread())

    def answer(self, answer: Any) -> dict[str, Any]:
        return self.graph.invoke(Command(resume=answer), thread())

    @property
    def open(self) -> list[Any]:
        return list(self.graph.get_state(thread()).interrupts)


def edit(tool: str = "buy", /, **args: Any) -> dict[str, Any]:
    return {"type": "edit", "edited_action": {"name": tool, "args": args}}


BUY = "try:\n    got = buy('tea', count=2)\nexcept RuntimeError as error:\n    got = str(error)\nFINAL([got])"


class TestAnswers:
    @pytest.mark.parametrize(
        ("decision", "got", "bought"),
        [
            ({"type": "approve"}, {"item": "tea", "count": 2}, [("tea", 2)]),
            (edit(item="jam"), {"item": "jam", "count": 1}, [("jam", 1)]),
            (
                {"type": "reject", "message": "too dear"},
                "buy failed: rejected by a human: too dear",
                [],
            ),
            ({"type": "reject"}, "buy failed: rejected by a human: no reason given", []),
            ({"type": "respond", "message": "sold out"}, "sold out", []),
            (
                {"type": "respond", "message": {"item": "tea", "count": 0}},
                {"item": "tea", "count": 0},
                [],
            ),
            ([{"type": "accept", "args": None}], {"item": "tea", "count": 2}, [("tea", 2)]),
            (
                [{"type": "edit", "args": {"action": "buy", "args": {"item": "jam", "count": 3}}}],
                {"item": "jam", "count": 3},
                [("jam", 3)],
            ),
            ([{"type": "ignore"}], "buy failed: rejected by a human: no reason given", []),
            ([{"type": "response", "args": "use the old tea"}], "use the old tea", []),
        ],
    )
    @pytest.mark.parametrize("form", ["as it is", "HITLResponse", "by id"])
    def test_every_decision_in_every_form(
        self, decision: Any, form: str, got: Any, bought: list[Any], idle: int
    ) -> None:
        shop = Shop(BUY, idle=idle)
        (pause,) = shop.start()["__interrupt__"]
        if form == "HITLResponse":
            decision = {"decisions": decision if isinstance(decision, list) else [decision]}
        out = shop.answer({pause.id: decision} if form == "by id" else decision)
        assert json.loads(out["answer"]) == [got]
        assert shop.bought == bought
        assert not shop.open

    def test_the_pause_is_langchains_request_with_one_action(self) -> None:
        (pause,) = Shop(BUY).start()["__interrupt__"]
        assert pause.value == {
            "action_requests": [{"name": "buy", "args": {"item": "tea", "count": 2}}],
            "review_configs": [
                {
                    "action_name": "buy",
                    "allowed_decisions": ["approve", "edit", "reject", "respond"],
                }
            ],
        }
        edited = pause.response_schema["oneOf"][1]["properties"]["edited_action"]["properties"]
        assert edited["name"] == {"const": "buy"}
        assert edited["args"]["properties"].keys() == {"item", "count"}

    def test_decisions_can_be_limited_and_described(self) -> None:
        def about(call: dict[str, Any], state: Any, runtime: Any) -> str:
            return f"{call['name']} {call['args']['count']} at depth {state['depth']}, {runtime.stream_writer is not None}"

        shop = Shop(BUY, on={"allowed_decisions": ["approve", "reject"], "description": about})
        value = shop.start()["__interrupt__"][0].value
        assert value["action_requests"][0]["description"] == "buy 2 at depth 0, True"
        assert value["review_configs"][0]["allowed_decisions"] == ["approve", "reject"]
        with pytest.raises(ResumeError, match="no decision of type approve, reject"):
            shop.answer(edit(item="jam"))
        assert (
            Shop(BUY, on={"allowed_decisions": ["approve"], "description": "Look!"})
            .start()["__interrupt__"][0]
            .value["action_requests"][0]["description"]
        )
        assert json.loads(Shop(BUY, on=False).start()["answer"]) == [{"item": "tea", "count": 2}]

    def test_no_approval_is_asked_for_arguments_that_do_not_fit(self) -> None:
        shop = Shop(
            "try:\n    buy(count='many')\nexcept TypeError as error:\n    FINAL(str(error))"
        )
        assert "item: Field required" in shop.start()["answer"]


WRONG = [
    ("yes", "it is no decision of type approve, edit, reject, respond"),
    ({}, "it is no decision"),
    ({"type": "maybe"}, "it is no decision"),
    ({"decisions": []}, "it is no decision"),
    ({"decisions": [{"type": "approve"}, {"type": "approve"}]}, "it is no decision"),
    ([{"type": "edit", "args": "tea"}], "args"),
    (edit(), "'item' is a required property"),
    (edit(item=5), "5 is not of type 'string'"),
    (edit(item="jam", colour="red"), "'colour' was unexpected"),
    (edit("sell", item="jam"), "'buy' was expected"),
    ({"type": "respond"}, "'message' is a required property"),
    ({"type": "reject", "message": 5}, "5 is not of type 'string'"),
]


class TestWrongAnswers:
    @pytest.mark.parametrize(("wrong", "said"), WRONG)
    def test_a_wrong_answer_is_refused_with_the_schema_and_the_pause_stays_open(
        self, wrong: Any, said: str, idle: int
    ) -> None:
        shop = Shop(BUY, idle=idle)
        (pause,) = shop.start()["__interrupt__"]
        for answer in (wrong, {pause.id: wrong}):
            with pytest.raises(ResumeError) as refused:
                shop.answer(answer)
            assert said in str(refused.value)
            assert '"edited_action"' in str(refused.value)
            assert shop.open == [pause]
        (again,) = shop.graph.invoke(None, thread())["__interrupt__"]
        assert again == pause
        assert not shop.bought
        assert json.loads(shop.answer({"type": "approve"})["answer"]) == [
            {"item": "tea", "count": 2}
        ]
        assert shop.bought == [("tea", 2)]

    @pytest.mark.parametrize("wrong", [wrong for wrong, _ in WRONG if wrong != {}])
    @pytest.mark.parametrize(
        "saver",
        [InMemorySaver, lambda: SqliteSaver(sqlite3.connect(":memory:", check_same_thread=False))],
        ids=["memory", "sqlite"],
    )
    def test_and_so_it_is_when_the_rlm_is_a_node_of_another_graph(
        self, wrong: Any, saver: Any
    ) -> None:
        """There the answer goes to the outer graph: the node itself refuses it before LangGraph stores it."""
        shop = Shop(BUY)
        outer = StateGraph(MessagesState)
        outer.add_node("shopper", shop.graph.copy({"checkpointer": None}))
        outer.add_edge(START, "shopper")
        graph: Any = outer.compile(checkpointer=saver())
        graph.invoke({"messages": [HumanMessage("shop")]}, thread())
        (pause,) = graph.get_state(thread()).interrupts
        for answer in (wrong, {pause.id: wrong}):
            with pytest.raises(ResumeError, match="is refused"):
                graph.invoke(Command(resume=answer), thread())
            assert graph.get_state(thread()).interrupts == (pause,)
        out = graph.invoke(Command(resume={"type": "approve"}), thread())
        assert json.loads(out["messages"][-1].content) == [{"item": "tea", "count": 2}]
        assert shop.bought == [("tea", 2)]

    def test_what_only_the_tools_own_validators_know_is_refused_as_well(self) -> None:
        from langchain_core.tools import StructuredTool
        from pydantic import BaseModel, field_validator

        class Even(BaseModel):
            number: int

            @field_validator("number")
            @classmethod
            def is_even(cls, value: int) -> int:
                if value % 2:
                    raise ValueError(f"{value} is odd")
                return value

        even = StructuredTool(
            name="even", description="e", args_schema=Even, func=lambda number: number
        )
        graph = rlm(
            [cell("FINAL(even(2))")],
            tools=[even],
            interrupt_on={"even": True},
            checkpointer=InMemorySaver(),
        )
        graph.invoke({"query": "q"}, thread())
        with pytest.raises(ResumeError, match="3 is odd"):
            graph.invoke(Command(resume=edit("even", number=3)), thread())
        assert graph.invoke(Command(resume=edit("even", number=4)), thread())["answer"] == "4"

    def test_an_answer_to_nothing(self) -> None:
        shop = Shop("buy('tea')\nbuy('jam')", "FINAL('done')")
        (first,) = shop.start()["__interrupt__"]
        with pytest.raises(
            ResumeError, match=f"No call waits under {'0' * 32}.*Waiting are {first.id}"
        ):
            shop.answer({"0" * 32: {"type": "approve"}})
        (second,) = shop.answer({first.id: {"type": "approve"}})["__interrupt__"]
        with pytest.raises(ResumeError, match=f"No call waits under {first.id}: answered already"):
            shop.answer({first.id: {"type": "approve"}})
        assert shop.bought == [("tea", 1)]
        assert shop.answer({second.id: {"type": "approve"}})["answer"] == "done"
        with pytest.raises(ResumeError, match="No call waits for an answer on this thread"):
            shop.answer({"type": "approve"})


class Tree(ScriptedModel):
    """Sub-model of a tree: a child buys its question; one whose question is `a+b` asks a child for each part."""

    def _scripted(self, messages: list[Any]) -> Any:
        question = messages[1].text.rsplit("\n", 1)[-1]
        if "+" in question:
            return cell(f"FINAL(rlm_query_batched({question.split('+')!r}))")
        return cell(f"FINAL(buy({question!r})['item'])")


class TestSeveralAtOnce:
    def test_one_bare_answer_is_not_given_to_several(self) -> None:
        shop = Shop("FINAL(rlm_query_batched(['a', 'b']))", sub=Tree(), limits={"max_depth": 2})
        pauses = shop.start()["__interrupt__"]
        with pytest.raises(
            ResumeError, match=f"2 calls wait: answer each by its id.*{pauses[1].id}"
        ):
            shop.answer({"type": "approve"})
        assert not shop.bought

    def test_one_wrong_answer_among_right_ones_starts_nothing(self) -> None:
        shop = Shop("FINAL(rlm_query_batched(['a', 'b']))", sub=Tree(), limits={"max_depth": 2})
        first, second = shop.start()["__interrupt__"]
        with pytest.raises(ResumeError, match="is refused"):
            shop.answer({first.id: {"type": "approve"}, second.id: "yes"})
        assert not shop.bought
        assert {pause.id for pause in shop.open} == {first.id, second.id}

    @pytest.mark.parametrize("together", [True, False])
    def test_two_levels_in_any_order(self, together: bool, idle: int) -> None:
        shop = Shop(
            "FINAL(rlm_query_batched(['a', 'b+c', 'd']))",
            sub=Tree(),
            idle=idle,
            limits={"max_depth": 3},
        )

        async def play_it() -> dict[str, Any]:
            out = await shop.graph.ainvoke({"query": "shop"}, thread())
            answers = {pause.id: {"type": "approve"} for pause in reversed(out["__interrupt__"])}
            assert len(answers) == 4
            for step in [answers] if together else [{id: answer} for id, answer in answers.items()]:
                out = await shop.graph.ainvoke(Command(resume=step), thread())
            return out

        out = asyncio.run(play_it())
        assert json.loads(out["answer"]) == ["a", '["b","c"]', "d"]
        assert sorted(shop.bought) == [("a", 1), ("b", 1), ("c", 1), ("d", 1)]


class TestRegressions:
    def test_paid_calls_before_an_approval_are_not_made_again(self, idle: int) -> None:
        """On resume the whole cell ran again: paid calls twice, counters moved."""
        code = "n = 0\nasked = []\nfor item in ['tea', 'jam']:\n    n += 1\n    asked.append(llm_query(item))\n    buy(item, count=n)\nFINAL([n, asked])"
        sub = ScriptedModel(answer=str.upper)
        shop = Shop(code, idle=idle, sub=sub)
        out = shop.start()
        while "__interrupt__" in out:
            out = shop.answer({"type": "approve"})
        assert json.loads(out["answer"]) == [2, ["TEA", "JAM"]]
        assert (sub.calls, shop.model.calls, out["usage"]["sub_calls"]) == (2, 1, 2)
        assert shop.bought == [("tea", 1), ("jam", 2)]

    @pytest.mark.parametrize(
        "guard", ["except BaseException as e:", "except:", "except Exception as e:"]
    )
    def test_code_neither_sees_nor_hides_a_pause(self, guard: str, idle: int) -> None:
        code = f"seen = []\ntry:\n    got = buy('tea')\n{guard}\n    seen.append('caught')\nfinally:\n    seen.append('finally')\nFINAL([seen, got])"
        shop = Shop(code, idle=idle)
        assert "__interrupt__" in shop.start()
        assert json.loads(shop.answer({"type": "approve"})["answer"]) == [
            ["finally"],
            {"item": "tea", "count": 1},
        ]

    def test_a_pause_that_a_tool_makes_itself_passes_through(self) -> None:
        def ask(question: str) -> str:
            """Ask a human."""
            return f"{question} {interrupt({'ask': question})}"

        graph = rlm(
            [cell("FINAL(ask('tea?') + ask('jam?'))")], tools=[ask], checkpointer=InMemorySaver()
        )
        (pause,) = graph.invoke({"query": "q"}, thread())["__interrupt__"]
        assert pause.value == {"ask": "tea?"}
        graph.invoke(Command(resume="yes"), thread())
        assert graph.invoke(Command(resume="no"), thread())["answer"] == "tea? yesjam? no"


@pytest.mark.parametrize("is_async", [True, False])
def test_an_rlm_in_a_tool_of_another_pauses_through_it(is_async: bool, idle: int) -> None:
    """The inner run is the tool's: it goes on where it paused, and asks no model again."""
    bought: list[str] = []

    def buy(item: str) -> str:
        """Buy something."""
        bought.append(item)
        return item

    model = root("a = buy('tea')", "FINAL(a + buy('jam'))")
    inner = rlm(model, tools=[buy], interrupt_on={"buy": True})
    inner.rlm.sessions.max_idle = idle

    def shop(what: str) -> str:
        """Shop."""
        return inner.invoke({"query": what})["answer"]

    async def shop_async(what: str) -> str:
        """Shop."""
        return (await inner.ainvoke({"query": what}))["answer"]

    name = "shop_async" if is_async else "shop"
    graph = rlm(
        [cell(f"FINAL({name}('all'))")],
        tools=[shop_async if is_async else shop],
        checkpointer=InMemorySaver(),
    )
    out = graph.invoke({"query": "q"}, thread())
    with pytest.raises(ResumeError, match="is refused"):
        graph.invoke(Command(resume="yes"), thread())
    while "__interrupt__" in out:
        out = graph.invoke(Command(resume={"type": "approve"}), thread())
    assert out["answer"] == "teajam"
    assert bought == ["tea", "jam"]
    assert model.calls == 2


def test_the_local_sandbox_pauses_the_same(idle: int) -> None:
    code = "seen = []\ntry:\n    got = [buy(item) for item in ('tea', 'jam')]\nexcept BaseException:\n    seen.append('caught')\nFINAL([seen, got])"
    shop = Shop(code, idle=idle, sandbox="local")
    out = shop.start()
    while "__interrupt__" in out:
        out = shop.answer({"type": "approve"})
    assert json.loads(out["answer"]) == [
        [],
        [{"item": "tea", "count": 1}, {"item": "jam", "count": 1}],
    ]
    assert shop.bought == [("tea", 1), ("jam", 1)]
