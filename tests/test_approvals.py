"""Approvals in the middle of code: at any depth, several at once, in any order, days later, in another process."""

import asyncio
import json
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
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

FOLDER = Path(__file__).parent.parent


@pytest.fixture(params=["live", "cold"])
def idle(request: pytest.FixtureRequest) -> int:
    """How many interpreters are kept between steps: with none, every step rebuilds its own from the log."""
    return 32 if request.param == "live" else 0


class Shop:
    """A graph whose code buys things, and what was bought."""

    def __init__(self, *codes: str, idle: int = 32, on: Any = True, **options: Any) -> None:
        self.bought: list[tuple[str, int]] = []
        self.model = root(*codes)
        self.graph = rlm(self.model, tools=[self.tool()], interrupt_on={"buy": on}, checkpointer=InMemorySaver(), **options)
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
            ({"type": "reject", "message": "too dear"}, "buy failed: rejected by a human: too dear", []),
            ({"type": "reject"}, "buy failed: rejected by a human: no reason given", []),
            ({"type": "respond", "message": "sold out"}, "sold out", []),
            ({"type": "respond", "message": {"item": "tea", "count": 0}}, {"item": "tea", "count": 0}, []),
            ([{"type": "accept", "args": None}], {"item": "tea", "count": 2}, [("tea", 2)]),
            ([{"type": "edit", "args": {"action": "buy", "args": {"item": "jam", "count": 3}}}], {"item": "jam", "count": 3}, [("jam", 3)]),
            ([{"type": "ignore"}], "buy failed: rejected by a human: no reason given", []),
            ([{"type": "response", "args": "use the old tea"}], "use the old tea", []),
        ],
    )
    @pytest.mark.parametrize("form", ["as it is", "HITLResponse", "by id"])
    def test_every_decision_in_every_form(self, decision: Any, form: str, got: Any, bought: list[Any], idle: int) -> None:
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
            "review_configs": [{"action_name": "buy", "allowed_decisions": ["approve", "edit", "reject", "respond"]}],
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
        shop = Shop("try:\n    buy(count='many')\nexcept TypeError as error:\n    FINAL(str(error))")
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
    def test_a_wrong_answer_is_refused_with_the_schema_and_the_pause_stays_open(self, wrong: Any, said: str, idle: int) -> None:
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
        assert json.loads(shop.answer({"type": "approve"})["answer"]) == [{"item": "tea", "count": 2}]
        assert shop.bought == [("tea", 2)]

    @pytest.mark.parametrize("wrong", [wrong for wrong, _ in WRONG if wrong != {}])
    @pytest.mark.parametrize(
        "saver", [InMemorySaver, lambda: SqliteSaver(sqlite3.connect(":memory:", check_same_thread=False))], ids=["memory", "sqlite"]
    )
    def test_and_so_it_is_when_the_rlm_is_a_node_of_another_graph(self, wrong: Any, saver: Any) -> None:
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

        even = StructuredTool(name="even", description="e", args_schema=Even, func=lambda number: number)
        graph = rlm([cell("FINAL(even(2))")], tools=[even], interrupt_on={"even": True}, checkpointer=InMemorySaver())
        graph.invoke({"query": "q"}, thread())
        with pytest.raises(ResumeError, match="3 is odd"):
            graph.invoke(Command(resume=edit("even", number=3)), thread())
        assert graph.invoke(Command(resume=edit("even", number=4)), thread())["answer"] == "4"

    def test_an_answer_to_nothing(self) -> None:
        shop = Shop("buy('tea')\nbuy('jam')", "FINAL('done')")
        (first,) = shop.start()["__interrupt__"]
        with pytest.raises(ResumeError, match=f"No call waits under {'0' * 32}.*Waiting are {first.id}"):
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
        with pytest.raises(ResumeError, match=f"2 calls wait: answer each by its id.*{pauses[1].id}"):
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
        shop = Shop("FINAL(rlm_query_batched(['a', 'b+c', 'd']))", sub=Tree(), idle=idle, limits={"max_depth": 3})

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

    @pytest.mark.parametrize("guard", ["except BaseException as e:", "except:", "except Exception as e:"])
    def test_code_neither_sees_nor_hides_a_pause(self, guard: str, idle: int) -> None:
        code = f"seen = []\ntry:\n    got = buy('tea')\n{guard}\n    seen.append('caught')\nfinally:\n    seen.append('finally')\nFINAL([seen, got])"
        shop = Shop(code, idle=idle)
        assert "__interrupt__" in shop.start()
        assert json.loads(shop.answer({"type": "approve"})["answer"]) == [["finally"], {"item": "tea", "count": 1}]

    def test_a_pause_that_a_tool_makes_itself_passes_through(self) -> None:
        def ask(question: str) -> str:
            """Ask a human."""
            return f"{question} {interrupt({'ask': question})}"

        graph = rlm([cell("FINAL(ask('tea?') + ask('jam?'))")], tools=[ask], checkpointer=InMemorySaver())
        (pause,) = graph.invoke({"query": "q"}, thread())["__interrupt__"]
        assert pause.value == {"ask": "tea?"}
        graph.invoke(Command(resume="yes"), thread())
        assert graph.invoke(Command(resume="no"), thread())["answer"] == "tea? yesjam? no"


def play(folder: Path, **order: Any) -> list[dict[str, Any]]:
    """Steps in a new process; what came of each."""
    command = [sys.executable, "-m", "tests.pay_process", str(folder), json.dumps(order)]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def paid(folder: Path) -> list[str]:
    file = folder / "paid"
    return sorted(file.read_text().splitlines()) if file.exists() else []


class TestOtherProcesses:
    def test_an_approval_is_given_in_another_process_and_the_tool_runs_there(self, tmp_path: Path) -> None:
        """After a restart an approved tool never ran, without a warning."""
        (paused,) = play(tmp_path, tree="tea", steps=["start"])
        assert [value["action_requests"] for value in paused["pauses"].values()] == [
            [{"name": "pay", "args": {"name": "tea", "amount": 5}}]
        ]
        assert not paid(tmp_path)
        (done,) = play(tmp_path, tree="tea", steps=[{"type": "approve"}], sync=True)
        assert json.loads(done["answer"]) == ["tea", 5]
        assert paid(tmp_path) == ["tea 5"]

    def test_twenty_pauses_on_three_levels_in_random_order_over_several_processes(self, tmp_path: Path) -> None:
        names = iter(f"n{index}" for index in range(20))
        deep = [[next(names) for _ in range(4)] for _ in range(2)]
        tree = [
            *(next(names) for _ in range(6)),
            [deep[0], next(names), next(names), next(names)],
            [next(names), next(names), next(names), deep[1]],
        ]
        chance = random.Random(7)
        (out,) = play(tmp_path, tree=tree, steps=["start"])
        assert len(out["pauses"]) == 20
        decisions = {
            id: chance.choice(
                [
                    {"type": "approve"},
                    {"decisions": [edit("pay", name=name_of(value), amount=chance.randint(10, 99))]},
                    {"type": "reject", "message": f"no {name_of(value)}"},
                    [{"type": "response", "args": f"not {name_of(value)}"}],
                ]
            )
            for id, value in out["pauses"].items()
        }
        order = list(decisions)
        chance.shuffle(order)
        expected = {name_of(out["pauses"][id]): outcome_of(name_of(out["pauses"][id]), decision) for id, decision in decisions.items()}
        steps = [
            [{id: decisions[id]} for id in order[:3]],
            [{id: decisions[id] for id in order[3:9]}],
            [{id: decisions[id]} for id in order[9:14]],
        ]
        steps += [[{id: decisions[id] for id in order[14:17]}, *({id: decisions[id]} for id in order[17:])]]
        for index, part in enumerate(steps):
            out = play(tmp_path, tree=tree, steps=part, sync=index % 2 == 1)[-1]
        assert json.loads(out["answer"]) == told(tree, expected)
        assert paid(tmp_path) == sorted(f"{each[0]} {each[1]}" for each in expected.values() if isinstance(each, list))


def name_of(value: dict[str, Any]) -> str:
    return value["action_requests"][0]["args"]["name"]


def outcome_of(name: str, decision: Any) -> Any:
    if isinstance(decision, list):
        return f"not {name}"
    if "decisions" in decision:
        return [name, decision["decisions"][0]["edited_action"]["args"]["amount"]]
    return [name, 5] if decision["type"] == "approve" else f"pay failed: rejected by a human: no {name}"


def told(tree: Any, expected: dict[str, Any]) -> Any:
    return expected[tree] if isinstance(tree, str) else [told(each, expected) for each in tree]


class TestNotIdempotent:
    def killed_while_paying(self, folder: Path, **order: Any) -> None:
        command = [sys.executable, "-m", "tests.pay_process", str(folder), json.dumps({"seconds": 60, **order})]
        process = subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        until = time.monotonic() + 60
        before = len(paid(folder))
        while len(paid(folder)) == before and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        assert process.poll() is None, process.communicate()[1]
        process.kill()
        process.wait()

    @pytest.mark.parametrize(
        ("durability", "decision", "answer", "runs"),
        [
            ("async", {"type": "respond", "message": "was paid"}, "was paid", 1),
            pytest.param("sync", {"type": "reject"}, "pay failed: rejected by a human: no reason given", 1, marks=pytest.mark.slow),
            pytest.param("exit", {"type": "approve"}, ["tea", 5], 2, marks=pytest.mark.slow),
        ],
        ids=["respond", "reject", "approve"],
    )
    def test_after_a_kill_in_the_middle_the_human_is_asked(
        self, tmp_path: Path, durability: str, decision: dict[str, Any], answer: Any, runs: int
    ) -> None:
        options = {"tree": ["tea"], "once": True, "approve": False, "durability": durability}
        self.killed_while_paying(tmp_path, steps=["start"], **options)
        (asked,) = play(tmp_path, steps=[None], **options)
        ((id, value),) = asked["pauses"].items()
        assert "may have run already" in value["action_requests"][0]["description"]
        assert value["review_configs"][0]["allowed_decisions"] == ["approve", "reject", "respond"]
        assert paid(tmp_path) == ["tea 5"]
        (done,) = play(tmp_path, steps=[{id: decision}], **options)
        assert json.loads(done["answer"]) == [answer]
        assert paid(tmp_path) == ["tea 5"] * runs

    @pytest.mark.slow
    def test_an_approved_call_that_was_cut_off_is_not_run_on_the_old_approval(self, tmp_path: Path) -> None:
        options = {"tree": "tea", "once": True}
        ((id, _),) = play(tmp_path, steps=["start"], **options)[0]["pauses"].items()
        self.killed_while_paying(tmp_path, steps=[{id: edit("pay", name="tea", amount=7)}], **options)
        (asked,) = play(tmp_path, steps=[{id: {"type": "approve"}}], **options)  # the same approval, sent once more
        ((again, value),) = asked["pauses"].items()
        assert again != id
        assert value["action_requests"][0]["args"] == {"name": "tea", "amount": 7}
        self.killed_while_paying(tmp_path, steps=[{again: {"type": "approve"}}], **options)
        (asked,) = play(tmp_path, steps=[None], **options)
        (done,) = play(tmp_path, steps=[{"type": "respond", "message": "enough"}], **options)
        assert json.loads(done["answer"]) == "enough"
        assert paid(tmp_path) == ["tea 7"] * 2

    @pytest.mark.slow
    def test_other_tools_run_again(self, tmp_path: Path) -> None:
        options = {"tree": ["tea"], "approve": False, "durability": "sync"}
        self.killed_while_paying(tmp_path, steps=["start"], **options)
        (done,) = play(tmp_path, steps=[None], **options)
        assert json.loads(done["answer"]) == [["tea", 5]]
        assert paid(tmp_path) == ["tea 5"] * 2

    def test_a_cancelled_run_asks_in_the_same_process(self) -> None:
        ran: list[str] = []

        async def send(to: str) -> str:
            """Send."""
            ran.append(to)
            await asyncio.sleep(0.05 if len(ran) > 1 else 30)
            return f"sent to {to}"

        graph = rlm([cell("FINAL([send('a'), send('b')])")], tools=[send], not_idempotent=["send"], checkpointer=InMemorySaver())

        async def cancelled() -> None:
            task = asyncio.create_task(graph.ainvoke({"query": "q"}, thread()))
            while not ran:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(cancelled())
        (pause,) = graph.invoke(None, thread())["__interrupt__"]
        assert "may have run" in pause.value["action_requests"][0]["description"]
        assert json.loads(graph.invoke(Command(resume={"type": "approve"}), thread())["answer"]) == ["sent to a", "sent to b"]
        assert ran == ["a", "a", "b"]

    def test_an_error_is_a_result(self) -> None:
        def fails() -> str:
            """Fail."""
            raise ValueError("no luck")

        code = "try:\n    fails()\nexcept RuntimeError as error:\n    FINAL(str(error))"
        graph = rlm([cell(code)], tools=[fails], not_idempotent=["fails"], checkpointer=InMemorySaver())
        assert graph.invoke({"query": "q"}, thread())["answer"] == "fails failed: ValueError: no luck"

    def test_without_a_checkpointer_it_just_runs(self) -> None:
        def send() -> str:
            """Send."""
            return "sent"

        assert rlm([cell("FINAL(send())")], tools=[send], not_idempotent=["send"]).invoke({"query": "q"})["answer"] == "sent"

    def test_a_pause_of_its_own_is_not_a_doubt(self) -> None:
        def ask(question: str) -> str:
            """Ask a human."""
            return interrupt(question)

        graph = rlm([cell("FINAL(ask('tea?'))")], tools=[ask], not_idempotent=["ask"], checkpointer=InMemorySaver())
        (pause,) = graph.invoke({"query": "q"}, thread())["__interrupt__"]
        assert pause.value == "tea?"
        assert graph.invoke(Command(resume="yes"), thread())["answer"] == "yes"


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
    graph = rlm([cell(f"FINAL({name}('all'))")], tools=[shop_async if is_async else shop], checkpointer=InMemorySaver())
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
    assert json.loads(out["answer"]) == [[], [{"item": "tea", "count": 1}, {"item": "jam", "count": 1}]]
    assert shop.bought == [("tea", 1), ("jam", 1)]


class Broken(Exception):
    """The saver is gone."""


class Breaking(InMemorySaver):
    """Stores nothing more from its write number `left` on."""

    left = 10**9

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Broken

    async def aput(self, *args: Any, **kwargs: Any) -> Any:
        self.spend()
        return await super().aput(*args, **kwargs)

    async def aput_writes(self, *args: Any, **kwargs: Any) -> None:
        self.spend()
        await super().aput_writes(*args, **kwargs)


@pytest.mark.parametrize(
    ("approved", "durability"),
    [
        (False, "async"),
        pytest.param(True, "async", marks=pytest.mark.slow),
        pytest.param(True, "exit", marks=pytest.mark.slow),
    ],
)
def test_a_saver_that_breaks_at_any_write_never_makes_such_a_tool_run_twice(approved: bool, durability: str) -> None:
    """At every write in turn: whoever goes on, with a graph made anew, is asked, or finds the result."""
    sub = ScriptedModel(replies=[cell("try:\n    got = send('a')\nexcept RuntimeError as error:\n    got = str(error)\nFINAL(got)")])
    asked = 0

    async def play_with(writes: int) -> tuple[int, str, Breaking]:
        ran: list[str] = []

        async def send(to: str) -> str:
            """Send."""
            ran.append(to)
            return f"sent to {to}"

        def made() -> Any:
            options: Any = {"sub": sub, "limits": {"max_depth": 2}, "tools": [send], "interrupt_on": {"send": approved}}
            return rlm([cell("FINAL(rlm_query('go'))")], not_idempotent=["send"], checkpointer=saver, **options)

        saver, given, out = Breaking(), {"query": "q"}, dict[str, Any]()
        saver.left = writes
        for _ in range(6):
            try:
                out = await made().ainvoke(given, thread(), durability=durability)
            except Broken:
                saver.left, began = 10**9, bool(saver.storage)
                given = None if began else {"query": "q"}
                continue
            if "__interrupt__" not in out:
                break
            (pause,) = out["__interrupt__"]
            unsure = "description" in pause.value["action_requests"][0]
            given = Command(resume={pause.id: {"type": "respond", "message": "was sent"} if unsure else {"type": "approve"}})
        return len(ran), out["answer"], saver

    runs, answer, saver = asyncio.run(play_with(10**9))
    assert (runs, answer) == (1, "sent to a")
    for writes in range(1, 10**9 - saver.left):
        runs, answer, _ = asyncio.run(play_with(writes))
        assert runs <= 1, f"broken at write {writes}"
        assert answer in ("sent to a", "was sent"), f"broken at write {writes}"
        asked += answer == "was sent"
    assert asked
