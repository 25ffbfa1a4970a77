"""One budget for the whole tree: tokens, USD and seconds, shared by parallel children, and carried on by a resume."""

import asyncio
import json
import time
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from langgraph_rlm import ConfigurationError, Limits, create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

from .models import FailsOnce, rlm, root, thread
from .openai_server import OpenAIServer

PRICES = {"scripted": {"input": 1_000_000, "output": 0}}
"""One USD a token of input: a prompt of four characters."""


def note(text: str) -> str:
    """Note it."""
    return text


def tokens(model: ScriptedModel) -> int:
    """What it was sent and, at one for four characters, what it said: nothing that is long enough to count."""
    return sum(sum(len(message.text) for message in messages) // 4 for messages in model.prompts)


class Tree(ScriptedModel):
    """A sub-model that writes code as a child's root, and says a leaf's word else."""

    def _scripted(self, messages: list[Any]) -> Any:
        return super()._scripted(messages) if messages[0].type == "system" else "leaf"


class Slow(Tree):
    """Its leaves take as long as they are told."""

    async def _agenerate(self, messages: list[Any], *args: Any, **options: Any) -> Any:
        await asyncio.sleep({"slow": 60, "a while": 1.5}.get(messages[-1].text, 0))
        return await super()._agenerate(messages, *args, **options)


def test_usage_has_totals_and_a_breakdown_by_depth_and_model() -> None:
    sub = Tree(replies=[cell("FINAL(llm_query('x' * 40, model='cheap'))")], model_name="small")
    graph = rlm(
        ScriptedModel(replies=[cell("FINAL(rlm_query('go'))")], model_name="big"),
        sub=sub,
        models={"cheap": ScriptedModel(answer=lambda _: "ok", model_name="cheap")},
        limits={"max_depth": 2},
        prices={"cheap": {"input": 2, "output": 4}},
    )
    usage = graph.invoke({"query": "q"})["usage"]
    assert {key: spending["model_calls"] for key, spending in usage["breakdown"].items()} == {
        "0/big": 1,
        "1/small": 1,
        "2/cheap": 1,
    }
    assert usage["model_calls"] == 3
    assert usage["input_tokens"] == sum(
        spending["input_tokens"] for spending in usage["breakdown"].values()
    )
    assert usage["breakdown"]["2/cheap"]["cost"] == pytest.approx(10 * 2e-6)
    assert usage["cost"] == pytest.approx(10 * 2e-6)
    assert usage["unpriced_calls"] == 2
    assert (usage["turns"], usage["sub_calls"]) == (2, 2)
    assert 0 < usage["seconds"] < 20


def test_parallel_children_cannot_overspend_together() -> None:
    """64 children ask at once; what is spent passes the limit by no more than what was in flight."""
    sub = Tree(
        replies=[
            cell(
                "FINAL(str(len([r for r in llm_query_batched(['y' * 4000] * 20) if r == 'leaf'])))"
            )
        ],
        seconds=0.001,
    )
    model = ScriptedModel(
        replies=[
            cell("r = rlm_query_batched(['x'] * 64)\nprint(sum(int(n) for n in r if n.isdigit()))"),
            "stopped",
        ]
    )
    limit, in_flight = 400_000, 16 * 2_000
    out = rlm(
        model, sub=sub, limits={"max_depth": 2, "max_tokens": limit, "max_sub_calls": 10_000}
    ).invoke({"query": "q"})
    usage = out["usage"]
    assert out["stop_reason"] == "max_tokens"
    assert limit / 2 < usage["input_tokens"] + usage["output_tokens"] <= limit + in_flight
    counted = sum(
        sum(len(message.text) for message in messages) // 4
        for messages in [*model.prompts, *sub.prompts]
    )
    assert usage["input_tokens"] == counted
    assert usage["model_calls"] == model.calls + sub.calls


def test_cost_is_a_limit_where_prices_are_known() -> None:
    out = rlm(
        [cell("FINAL(llm_query_batched(['a' * 40] * 100))")],
        sub=ScriptedModel(answer=lambda _: "b", model_name="dear"),
        prices={"scripted": {"input": 0, "output": 0}, "dear": {"input": 100_000, "output": 0}},
        limits={"max_cost": 30},
    ).invoke({"query": "q"})
    answers = json.loads(out["answer"])
    assert out["stop_reason"] == "max_cost"
    assert answers.count("b") == 30
    assert answers.count("Error: Limit max_cost of 30 reached") == 70
    assert out["usage"]["cost"] == pytest.approx(30)


def test_a_limit_on_cost_without_a_price_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="needs the price of scripted"):
        rlm(["x"], limits={"max_cost": 1})


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ({"input": -1, "output": 1}, r"prices\['m'\].* input: Input should be greater"),
        ({"input": 1}, "output: Field required"),
        (0.5, "it: Input should be a valid dictionary.*USD per million tokens"),
    ],
)
def test_a_price_that_is_wrong_is_named(price: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        rlm(["FINAL(1)"], prices={"m": price})


def test_list_prices_come_from_the_package_where_it_is_installed() -> None:
    pytest.importorskip("genai_prices")
    out = rlm(
        ScriptedModel(replies=["FINAL(1)"], model_name="gpt-4o"),
        prices=PRICES,
        limits={"max_cost": 1},
    ).invoke({"query": "q"})
    assert out["usage"]["cost"] > 0
    assert out["usage"]["unpriced_calls"] == 0


class TestSeconds:
    def test_a_deadline_reaches_into_a_running_cell(self) -> None:
        started = time.monotonic()
        out = rlm(
            root("print('seen so far')", "while True:\n    pass"), limits={"max_seconds": 4}
        ).invoke({"query": "q"})
        assert time.monotonic() - started < 12
        assert (out["answer"], out["stop_reason"]) == ("seen so far", "max_seconds")

    def test_a_deadline_reaches_into_a_running_model_call(self) -> None:
        started = time.monotonic()
        out = rlm(
            [cell("FINAL(llm_query('x'))")],
            sub=ScriptedModel(answer=str, seconds=60),
            limits={"max_seconds": 1},
        ).invoke({"query": "q"})
        assert time.monotonic() - started < 10
        assert out["stop_reason"] == "max_seconds"

    @pytest.mark.parametrize(
        "code", ["while True:\n    pass", "FINAL(llm_query('slow'))"], ids=["cell", "call"]
    )
    def test_a_deadline_reaches_down_the_tree(self, code: str) -> None:
        started = time.monotonic()
        sub = Slow(replies=[cell(code)])
        out = rlm(
            [cell("print('seen so far')\nrlm_query('go')")],
            sub=sub,
            limits={"max_depth": 2, "max_seconds": 2},
        ).invoke({"query": "q"})
        assert time.monotonic() - started < 12
        assert (out["answer"], out["stop_reason"]) == ("seen so far", "max_seconds")

    def test_a_deadline_goes_on_after_a_pause_in_a_child(self) -> None:
        """Three seconds, of which a second and a half are gone before the pause, whatever process goes on."""
        saver, sub = (
            InMemorySaver(),
            Slow(replies=[cell("llm_query('a while')\nnote('x')\nFINAL(llm_query('slow'))")]),
        )

        def graph() -> Any:
            options: Any = {
                "tools": [note],
                "interrupt_on": {"note": True},
                "limits": {"max_depth": 2, "max_seconds": 3},
            }
            return rlm(
                [cell("print('seen so far')\nrlm_query('go')")],
                sub=sub,
                checkpointer=saver,
                **options,
            )

        graph().invoke({"query": "q"}, thread())
        out = graph().invoke(Command(resume={"type": "approve"}), thread())
        assert (out["answer"], out["stop_reason"]) == ("seen so far", "max_seconds")
        assert 3 <= out["usage"]["seconds"] < 10

    def test_a_pause_does_not_count_but_a_resume_counts_on(self) -> None:
        slow = ScriptedModel(answer=str, seconds=0.4)
        graph = rlm(
            [cell("llm_query('a')\nnote('b')\nFINAL(llm_query('c'))")],
            sub=slow,
            tools=[note],
            interrupt_on={"note": True},
            limits={"max_seconds": 30},
            checkpointer=InMemorySaver(),
        )
        graph.invoke({"query": "q"}, thread())
        time.sleep(1.5)
        seconds = graph.invoke(Command(resume={"type": "approve"}), thread())["usage"]["seconds"]
        assert 0.8 <= seconds < 1.9


class TestResume:
    def test_the_count_goes_on_after_a_pause(self) -> None:
        """Five calls before the pause, five after: a limit of seven stops the sixth to eighth the same as without it."""

        code = "a = llm_query_batched(['1'] * 5)\nnote('x')\nFINAL(len([r for r in [llm_query_or_not(i) for i in range(5)] if r]))"
        helper = "def llm_query_or_not(i):\n    try:\n        return llm_query(str(i))\n    except RuntimeError:\n        return None"
        graph = rlm(
            ScriptedModel(replies=[cell(f"{helper}\n{code}")]),
            tools=[note],
            interrupt_on={"note": True},
            limits={"max_sub_calls": 7},
            checkpointer=InMemorySaver(),
        )
        graph.invoke({"query": "q"}, thread())
        out = graph.invoke(Command(resume={"type": "approve"}), thread())
        assert (out["answer"], out["stop_reason"], out["usage"]["sub_calls"]) == (
            "2",
            "max_sub_calls",
            7,
        )

    def test_what_children_had_spent_is_carried_on(self) -> None:
        """Two children pause in mid-run; after the resume the tree's tokens are those that the models counted."""

        sub = Tree(
            replies=[cell("a = llm_query('x' * 4000)\nnote(a)\nFINAL(llm_query('y' * 4000))")]
        )
        graph = rlm(
            [cell("FINAL(rlm_query_batched(['p', 'q']))")],
            sub=sub,
            tools=[note],
            interrupt_on={"note": True},
            limits={"max_depth": 2, "max_tokens": 50_000},
            checkpointer=InMemorySaver(),
        )
        out = graph.invoke({"query": "q"}, thread())
        answers = {interrupt.id: {"type": "approve"} for interrupt in out["__interrupt__"]}
        assert len(answers) == 2
        live: list[Any] = []

        async def resume() -> Any:
            async for mode, part in graph.astream(
                Command(resume=answers), thread(), stream_mode=["custom", "values"]
            ):
                if mode == "custom" and part["type"] == "usage":
                    live.append(part["usage"])
                elif mode == "values":
                    last = part
            return last

        usage = asyncio.run(resume())["usage"]
        counted = sum(
            sum(len(m.text) for m in messages) // 4
            for messages in [*sub.prompts, *graph.rlm.model.prompts]
        )
        assert usage["input_tokens"] == counted
        assert live[-1]["input_tokens"] == counted

    def test_at_whatever_save_a_run_was_cut_off(self) -> None:
        """Each save of the database fails once. The resume's ledger has every call once: answers that code has taken, and that wait."""

        async def go(at: int) -> int:
            saver, live = FailsOnce(at), list[int]()
            model, sub = (
                root(
                    "a = llm_query_batched(['p', 'q'])",
                    "b = rlm_query('r', context=a)\nFINAL(llm_query(b))",
                ),
                Tree(),
            )
            sub.replies = [cell("c = llm_query('s')\nFINAL(c + llm_query(c))")]
            graph = rlm(model, sub=sub, limits={"max_depth": 2}, checkpointer=saver)

            async def run(given: Any) -> None:
                async for event in graph.astream(
                    given, thread(), stream_mode="custom", durability="sync"
                ):
                    if event["type"] == "usage":
                        live.append(event["usage"]["model_calls"])

            try:
                await run({"query": "q"})
            except OSError:
                await run(None if at > 1 else {"query": "q"})
            state = (await graph.aget_state(thread())).values
            assert state["answer"] == "leaf"
            assert live[-1] == state["usage"]["model_calls"] == model.calls + sub.calls == 8, at
            return saver.saves

        for at in range(1, asyncio.run(go(0)) + 1):
            asyncio.run(go(at))

    def test_turns_are_counted_on_as_well(self) -> None:
        """Three turns that each pause: the limit is reached after the third, not after three more."""
        model, saver = root("note('x')"), InMemorySaver()
        options: Any = {
            "tools": [note],
            "interrupt_on": {"note": True},
            "limits": {"max_iterations": 3},
            "checkpointer": saver,
        }
        out = rlm(model, **options).invoke({"query": "q"}, thread())
        for _ in range(3):
            assert "__interrupt__" in out
            out = rlm(model, **options).invoke(Command(resume={"type": "approve"}), thread())
        assert (out["stop_reason"], model.calls, out["usage"]["turns"]) == ("max_iterations", 4, 4)

    def test_children_that_wait_for_their_turn_have_spent_too(self) -> None:
        """The first of four to go on after a pause may not spend what the other three had spent before it."""
        saver, sub = (
            InMemorySaver(),
            Tree(replies=[cell("llm_query('x' * 4000)\nnote('a')\nFINAL(llm_query('y' * 4000))")]),
        )

        def graph(max_tokens: int | None) -> Any:
            return rlm(
                [cell("FINAL(rlm_query_batched(['a', 'b', 'c', 'd']))")],
                sub=sub,
                tools=[note],
                interrupt_on={"note": True},
                limits={"max_depth": 2, "max_concurrency": 1, "max_tokens": max_tokens},
                checkpointer=saver,
            )

        first = graph(None)
        out = first.invoke({"query": "q"}, thread())
        before = tokens(sub) + tokens(first.rlm.model)
        calls = sub.calls
        answers = {pause.id: {"type": "approve"} for pause in out["__interrupt__"]}
        out = graph(before + 500).invoke(Command(resume=answers), thread())
        assert (out["stop_reason"], sub.calls) == ("max_tokens", calls)
        assert out["usage"]["input_tokens"] == before

    def test_as_a_node_of_another_graph_too(self) -> None:
        """LangGraph gives a node its first input again when it goes on: that is no new budget."""
        code = "llm_query_batched(['1'] * 5)\nnote('x')\nFINAL(llm_query_batched(['2'] * 2) + llm_query_batched(['3']))"
        parent = StateGraph(MessagesState)
        parent.add_node(
            "rlm",
            rlm(
                [cell(code)], tools=[note], interrupt_on={"note": True}, limits={"max_sub_calls": 7}
            ),
        )
        parent.add_edge(START, "rlm")
        graph = parent.compile(checkpointer=InMemorySaver())
        graph.invoke({"messages": [("user", "q")]}, thread())
        message = graph.invoke(Command(resume={"type": "approve"}), thread())["messages"][-1]
        assert message.response_metadata["stop_reason"] == "max_sub_calls"
        assert json.loads(message.text) == [
            "len=1",
            "len=1",
            "Error: Limit max_sub_calls of 7 reached",
        ]

    def test_time_travel_counts_what_it_does_anew_once(self) -> None:
        graph = rlm(
            [cell("llm_query_batched(['1'] * 5)\nFINAL(llm_query('z'))")],
            limits={"max_sub_calls": 6},
            checkpointer=InMemorySaver(),
        )
        graph.invoke({"query": "q"}, thread())
        states = graph.get_state_history(thread())
        waiting = [state for state in states if state.next == ("sub_call",)][-1]
        out = graph.invoke(None, waiting.config)
        assert (out["answer"], out["stop_reason"], out["usage"]["sub_calls"]) == (
            "len=1",
            "answered",
            6,
        )

    def test_time_spent_in_a_child_is_kept_when_the_process_ends_there(self) -> None:
        """Cut off in a child's fourth call: the three before it took 1.2 seconds, and the rest of the run knows."""
        saver, began = InMemorySaver(), asyncio.Event()

        class Sub(Tree):
            async def _agenerate(self, messages: list[Any], *args: Any, **options: Any) -> Any:
                if messages[-1].text == "last" and not began.is_set():
                    began.set()
                    await asyncio.sleep(60)
                return await super()._agenerate(messages, *args, **options)

        sub = Sub(
            replies=[
                cell("for name in ['a', 'b', 'c', 'last']:\n    llm_query(name)\nFINAL('done')")
            ],
            seconds=0.4,
        )

        def graph() -> Any:
            return rlm(
                [cell("FINAL(rlm_query('go'))")],
                sub=sub,
                limits={"max_depth": 2, "max_seconds": 60},
                checkpointer=saver,
            )

        async def cut_off() -> None:
            task = asyncio.create_task(graph().ainvoke({"query": "q"}, thread()))
            await began.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(cut_off())
        began.set()
        assert graph().invoke(None, thread())["usage"]["seconds"] > 0.4 * 5


def test_a_child_whose_model_fails_has_spent_what_it_spent() -> None:
    """Its parent's code sees the error, and the tree's usage has the calls that came before it."""
    sub = Tree(replies=[cell("print(llm_query('x' * 400))"), ValueError("overloaded")])
    graph = rlm(
        [
            "```repl\ntry:\n    rlm_query('go')\nexcept RuntimeError as error:\n    FINAL(str(error))\n```"
        ],
        sub=sub,
        limits={"max_depth": 2},
    )
    out = graph.invoke({"query": "q"})
    assert out["answer"] == "rlm_query failed: ValueError: overloaded"
    failed = sub.prompts[-1]
    assert (
        out["usage"]["input_tokens"]
        == tokens(sub) + tokens(graph.rlm.model) - sum(len(m.text) for m in failed) // 4
    )
    assert {
        key: spending["model_calls"] for key, spending in out["usage"]["breakdown"].items()
    } == {
        "0/scripted": 1,
        "1/scripted": 1,
        "2/scripted": 1,
    }


def test_the_ledger_is_what_the_server_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 children at once over HTTP: never more than the limit and what was in flight, and not a token off at the end."""
    child = (
        "```repl\nFINAL(len([r for r in llm_query_batched(['y' * 2000] * 5) if r == 'leaf']))\n```"
    )

    def reply(body: Any) -> Any:
        if body["model"] == "root":
            return (
                "stopped"
                if len(body["messages"]) > 2
                else "```repl\nrlm_query_batched(['x'] * 64)\n```"
            )
        text = child if body["messages"][0]["role"] == "system" else "leaf"
        return {
            "content": text,
            "seconds": 0.005,
            "usage": {"prompt_tokens": 1000, "completion_tokens": 7},
        }

    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with OpenAIServer(reply) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        limits = {
            "max_depth": 2,
            "max_tokens": 150_000,
            "max_sub_calls": 10_000,
            "max_concurrency": 64,
        }
        out = create_rlm("openai:root", sub_model="openai:sub", limits=Limits(**limits)).invoke(
            {"query": "q"}
        )
    usage, served = out["usage"], [body for body in server.answered if body["model"] == "sub"]
    assert out["stop_reason"] == "max_tokens"
    assert sum(
        spent["input_tokens"] + spent["output_tokens"]
        for key, spent in usage["breakdown"].items()
        if key != "0/root"
    ) == 1007 * len(served)
    assert usage["model_calls"] == len(server.answered) == len(server.requests)
    assert 75_000 < usage["input_tokens"] + usage["output_tokens"] <= 150_000 + 64 * 1007
