"""Time travel: from any checkpoint a run goes on with everything before it taken from the log; an edit there starts a branch."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

from langgraph_rlm import ForkError, ReplayDivergedError, afork, create_rlm, fork
from langgraph_rlm.testing import ScriptedModel, cell

from .models import echo, paid_calls, rlm, root, thread, timeless

CODES = (
    "asked = [llm_query('w' * (n + 1)) for n in range(2)]\nprint(asked, peek(0, 3))",
    "kids = rlm_query_batched(['first', 'second'])\nprint(kids)",
    "parts = llm_query_batched([asked[0], kids[1], 'x'])\nFINAL(' '.join([*asked, *kids, *parts]))",
)


class Sub(ScriptedModel):
    """Answers `llm_query` with the length of its prompt, and is the root model of children."""

    def _scripted(self, messages: list[Any]) -> Any:
        return (
            super()._scripted(messages)
            if messages[0].type == "system"
            else f"len={len(messages[-1].text)}"
        )


class Play:
    """A graph that counts its model calls."""

    def __init__(self, codes: tuple[str, ...] = CODES, saver: Any = None, **options: Any) -> None:
        self.model = root(*codes)
        self.sub = Sub(
            replies=[cell("a = llm_query(context)\nb = llm_query(a + context)\nFINAL(b)")]
        )
        options = {"limits": {"max_depth": 2}, **options}
        self.graph = rlm(self.model, sub=self.sub, checkpointer=saver or InMemorySaver(), **options)

    @property
    def calls(self) -> int:
        return self.model.calls + self.sub.calls

    def ask(
        self, query: str = "go", context: Any = "lorem ipsum", name: str = "t"
    ) -> dict[str, Any]:
        return self.graph.invoke({"query": query, "context": context}, thread(name))

    def history(self, name: str = "t") -> list[Any]:
        return list(self.graph.get_state_history(thread(name)))

    def new(self, act: Callable[[], Any]) -> tuple[int, Any]:
        """How many model calls `act` makes, and its result."""
        before = self.calls
        out = act()
        return self.calls - before, out


@pytest.fixture(params=["memory", "sqlite"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        yield Play()
    else:
        with SqliteSaver.from_conn_string(str(tmp_path / "runs.db")) as saver:
            yield Play(saver=saver)


def test_from_every_checkpoint_the_same_answer_for_only_the_calls_that_follow(play: Play) -> None:
    """Inside cells too: suspended on a call, and behind its answers."""
    total, out = play.new(play.ask)
    end = play.graph.get_state(thread()).values
    assert out["usage"]["model_calls"] == total == 14
    past = [state for state in play.history() if "trajectory" in state.values]
    assert {state.next for state in past} >= {
        ("sub_call",),
        ("sub_call", "sub_call"),
        ("execute_repl",),
        ("plan_code",),
        ("finalize",),
        (),
    }
    for state in past:
        made, again = play.new(lambda state=state: play.graph.invoke(None, state.config))
        assert again["answer"] == out["answer"]
        assert made == total - (paid_calls(state.values) if "log" in state.values else 0)
        assert {**again["usage"], "seconds": 0} == {**out["usage"], "seconds": 0}
        assert timeless(play.graph.get_state(thread()).values["log"]) == timeless(end["log"])


def test_from_before_its_first_step_a_run_is_a_new_one(play: Play) -> None:
    total, out = play.new(play.ask)
    for state in play.history()[-2:]:
        made, again = play.new(lambda state=state: play.graph.invoke(None, state.config))
        assert (made, again["answer"]) == (total, out["answer"])


def test_time_travel_works_with_an_async_saver(tmp_path: Path) -> None:
    async def travel() -> None:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "runs.db")) as saver:
            play = Play(saver=saver)
            out = await play.graph.ainvoke({"query": "go", "context": "lorem ipsum"}, thread())
            total = play.calls
            past = [
                state
                async for state in play.graph.aget_state_history(thread())
                if "usage" in state.values
            ]
            for state in past[::3]:
                before = play.calls
                assert (await play.graph.ainvoke(None, state.config))["answer"] == out["answer"]
                assert play.calls - before == total - paid_calls(state.values)
            forked = await afork(play.graph, thread(), "0.0/1/0", "edited")
            assert "edited" in (await play.graph.ainvoke(None, forked))["answer"]

    asyncio.run(travel())


def test_an_edited_turn_runs_its_new_code_on_what_came_before(play: Play) -> None:
    play.ask()
    forked = fork(play.graph, thread(), "1", cell("FINAL(asked[1] + context)"))
    made, out = play.new(lambda: play.graph.invoke(None, forked))
    assert (made, out["answer"]) == (0, "len=2lorem ipsum")
    assert list(play.graph.get_state(thread()).values["log"])[-2:] == ["1", "1.0"]


def test_an_edited_turn_may_answer_in_prose(play: Play) -> None:
    play.ask()
    assert (
        play.new(
            lambda: play.graph.invoke(None, fork(play.graph, thread(), "1", "FINAL(by hand)"))
        )[1]["answer"]
        == "by hand"
    )
    made, out = play.new(
        lambda: play.graph.invoke(None, fork(play.graph, thread(), "1", cell("kids = ['a', 'b']")))
    )
    assert (made, out["answer"]) == (1 + 3, "len=1 len=2 a b len=5 len=1 len=1"), (
        "the next turn is asked for, and its cell calls three times"
    )


@pytest.mark.parametrize(
    ("place", "value", "answer", "calls"),
    [
        ("0.0/0/0", "seen", "seen len=2 len=10 len=11 len=4 len=6 len=1", 13 - 1),
        ("1.0/0/0", "seen", "len=1 len=2 seen len=11 len=5 len=6 len=1", 4),
        ("2.0/0/1", "seen", "len=1 len=2 len=10 len=11 len=5 seen len=1", 0),
    ],
)
def test_the_edited_result_of_a_call_is_what_code_and_later_calls_see(
    play: Play, place: str, value: str, answer: str, calls: int
) -> None:
    """Nothing that depended on the old result is answered from the log: it is not in the fork."""
    play.ask()
    made, out = play.new(lambda: play.graph.invoke(None, fork(play.graph, thread(), place, value)))
    assert out["answer"] == answer
    assert made == calls


def test_a_call_can_be_made_to_fail(play: Play) -> None:
    play.ask()
    forked = fork(play.graph, thread(), "1.0/0/1", ValueError("no luck"))
    assert "Error: ValueError: no luck" in play.graph.invoke(None, forked)["answer"]


def test_plain_update_state_does_what_fork_does(play: Play) -> None:
    """At the checkpoint where an entry is the newest, LangGraph's own edit is enough, and knows which node it stands for."""
    play.ask()
    after = next(state for state in reversed(play.history()) if "1" in state.values["log"])
    turn = {**after.values["log"]["1"], "reply": {"text": cell("FINAL(asked[0])")}}
    assert (
        play.graph.invoke(None, play.graph.update_state(after.config, {"log": {"1": turn}}))[
            "answer"
        ]
        == "len=1"
    )
    after = next(state for state in reversed(play.history()) if "0.0/1/0" in state.values["log"])
    reply = {**after.values["log"]["0.0/1/0"], "value": {"text": "edited"}}
    forked = play.graph.update_state(after.config, {"log": {"0.0/1/0": reply}}, as_node="sub_call")
    assert play.graph.invoke(None, forked)["answer"].startswith("len=1 edited ")


def test_a_result_edited_where_later_entries_rest_on_it_is_refused(play: Play) -> None:
    """At a later checkpoint the log would hold answers to questions that were never asked."""
    play.ask()
    later = next(
        state
        for state in play.history()
        if state.next == ("plan_code",) and "1.0" in state.values["log"]
    )
    reply = {**later.values["log"]["0.0/1/0"], "value": {"text": "edited"}}
    forked = play.graph.update_state(
        later.config, {"log": {"0.0/1/0": reply}}, as_node="execute_repl"
    )
    with pytest.raises(ReplayDivergedError, match=r"Cell 0\.0 ended 'ok' with"):
        play.graph.invoke(None, forked)


def test_an_edited_question_is_what_the_model_is_asked(play: Play) -> None:
    play.ask()
    made, _ = play.new(
        lambda: play.graph.invoke(None, fork(play.graph, thread(), "run.0", "What else?"))
    )
    assert made == 14
    assert "What else?" in play.model.prompts[3][-1].text
    assert "lorem ipsum" in play.model.prompts[3][-1].text


def test_the_old_branch_stays_and_can_be_forked_again(play: Play) -> None:
    """Without a checkpoint_id a fork starts from the newest branch, with one from the branch that ends there."""
    play.ask()
    old = play.graph.get_state(thread()).config
    play.graph.invoke(None, fork(play.graph, thread(), "0", cell("asked = 'new'\nprint(asked)")))
    assert (
        play.graph.invoke(None, fork(play.graph, thread(), "1", cell("FINAL(asked)")))["answer"]
        == "new"
    )
    assert (
        play.graph.invoke(None, fork(play.graph, old, "1", cell("FINAL(asked[0])")))["answer"]
        == "len=1"
    )


def test_places_that_cannot_be_edited_are_refused(play: Play) -> None:
    play.ask()
    for place, value, message in [
        ("7", "x", r"There is no '7' in the log of this thread\. It has run\.0, 0, 0\.0/0,"),
        ("0.0", "x", r"'0\.0' is a cell, which follows from what came before"),
        ("0.0/0", "x", r"'0\.0/0' is a call"),
        ("0", 3, r"must be a non-empty str, got 3"),
    ]:
        with pytest.raises(ForkError, match=message):
            fork(play.graph, thread(), place, value)
    play.graph.invoke({"query": "again"}, thread("e"), durability="exit")
    with pytest.raises(
        ForkError, match=r"The checkpoint that has '0' has '0\.0' as well, which came after it"
    ):
        fork(play.graph, thread("e"), "0", "FINAL(1)")


def test_a_follow_up_and_its_past_can_both_be_forked(play: Play) -> None:
    """A second question finds the variables; a fork of the first one has no second."""
    model = root(
        "x = llm_query('one')\nFINAL(x)", "x += context\nFINAL(x + llm_query('two'))", "FINAL(x)"
    )
    play.graph = rlm(model, checkpointer=play.graph.checkpointer)
    play.ask("first", "a")
    assert play.ask("second", "b")["answer"] == "len=3blen=3"
    out = play.graph.invoke(None, fork(play.graph, thread(), "1.0/0/0", "edited"))
    assert out["answer"] == "len=3bedited"
    assert play.graph.invoke({"query": "third"}, thread())["answer"] == "len=3b"
    assert (
        play.graph.invoke(None, fork(play.graph, thread(), "0.0/0/0", "other"))["answer"] == "other"
    )
    assert play.ask("second", "c")["answer"] == "othercedited".replace("edited", "len=3")
    log = play.graph.get_state(thread()).values["log"]
    assert [place for place in log if place.startswith("run")] == ["run.0", "run.1"]


def test_a_tools_result_and_a_native_call_can_be_edited() -> None:
    def stock(item: str) -> dict[str, int]:
        """How many there are."""
        return {item: 3}

    play = Play(("n = stock('tea')\nprint(n)", "FINAL(n['tea'] * 2)"), tools=[stock])
    assert play.ask()["answer"] == "6"
    made, out = play.new(
        lambda: play.graph.invoke(None, fork(play.graph, thread(), "0.0/0/0", {"tea": 50}))
    )
    assert (made, out["answer"]) == (1, "100")


def paused() -> tuple[Play, list[str], list[Any]]:
    """Two children that wait for approval, and their states."""
    bought: list[str] = []

    def buy(item: str) -> str:
        """Buy something."""
        bought.append(item)
        return f"bought {item}"

    play = Play(
        ("FINAL(rlm_query_batched(['tea', 'jam']))",),
        tools=[buy],
        interrupt_on={"buy": True},
        limits={"max_depth": 3},
    )
    play.sub = Sub(replies=[cell("a = llm_query(context)\nb = buy(f'{context} {a}')\nFINAL(b)")])
    play.graph = create_rlm(
        play.model,
        sub_model=play.sub,
        tools=[buy],
        interrupt_on={"buy": True},
        limits=play.graph.rlm.limits,
        checkpointer=InMemorySaver(),
    )
    play.ask()
    kids = [task.state for task in play.graph.get_state(thread(), subgraphs=True).tasks]
    return play, bought, kids


def test_the_state_of_a_child_that_waits_can_be_read_and_edited() -> None:
    """`get_state(subgraphs=True)` shows each child; an edit there is what the child goes on from, and what its parent waits for."""
    play, bought, (tea, jam) = paused()
    assert tea.next == jam.next == ("tool_interrupt",)
    assert list(tea.values["log"]) == ["run.0", "0", "0.0/0", "0.0/0/0", "0.0/1"]
    assert tea.tasks[0].state.values["function"] == "buy"
    made, out = play.new(
        lambda: play.graph.invoke(None, fork(play.graph, tea.config, "0.0/0/0", "green"))
    )
    asked = {pause.value["action_requests"][0]["args"]["item"] for pause in out["__interrupt__"]}
    assert (made, asked) == (0, {"tea green", "jam len=3"})
    out = play.graph.invoke(
        Command(resume={pause.id: {"type": "approve"} for pause in out["__interrupt__"]}), thread()
    )
    assert out["answer"] == '["bought tea green","bought jam len=3"]'
    assert sorted(bought) == ["jam len=3", "tea green"]
    with pytest.raises(
        ForkError, match=r"Nothing waits for 'sub_call:.*' any more: it has answered"
    ):
        fork(play.graph, tea.config, "0.0/0/0", "black")


def test_plain_update_state_in_a_child_is_checked_against_its_log() -> None:
    play, bought, (tea, _) = paused()
    turn = {**tea.values["log"]["0"], "reply": {"text": cell("FINAL('no shopping')")}}
    play.graph.update_state(tea.config, {"log": {"0": turn}}, as_node="plan_code")
    with pytest.raises(
        ReplayDivergedError,
        match=r"Cell 0\.0 answered|Cell 0\.0 ended 'ok' with .*, but its log has a call 'llm_query'",
    ):
        play.graph.invoke(None, thread())
    assert bought == []


def test_a_child_that_answered_is_edited_through_its_parent(play: Play) -> None:
    """At the checkpoint where the parent waited for it, all children of that step run anew; behind it, none does."""
    total, _ = play.new(play.ask)
    waiting = next(state for state in play.history() if state.next == ("sub_call", "sub_call"))
    made, _ = play.new(lambda: play.graph.invoke(None, waiting.config))
    assert made == total - waiting.values["usage"]["model_calls"] == 2 * 3 + 1 + 3
    made, out = play.new(
        lambda: play.graph.invoke(None, fork(play.graph, thread(), "1.0/0/0", "by hand"))
    )
    assert (made, "by hand" in out["answer"]) == (1 + 3, True)


def test_subgraphs_are_found_as_deep_as_the_limits_allow() -> None:
    graph = rlm(["FINAL(1)"], limits={"max_depth": 3})
    steps, child, elsewhere = "tool_interrupt", "sub_call", "remote_call"
    assert {name for name, _ in graph.get_subgraphs()} == {child, steps, elsewhere}
    levels = ["", f"{child}|", f"{child}|{child}|"]
    everywhere = {f"{level}{name}" for level in levels for name in (steps, elsewhere)}
    everywhere |= {child, f"{child}|{child}"}
    assert {name for name, _ in graph.get_subgraphs(recurse=True)} == everywhere
    assert [
        name for name, _ in graph.get_subgraphs(namespace=f"{child}|{child}|{steps}", recurse=True)
    ] == [f"{child}|{child}|{steps}"]
    drawn = graph.get_graph(xray=True)
    assert {f"{child}:plan_code", f"{child}:{child}_2:plan_code", f"{steps}:approve"} <= set(
        drawn.nodes
    )
    assert f"{child}:{child}_2:{steps}_3:approve" in drawn.nodes
    assert "plan_code" in drawn.draw_mermaid()
    assert len(asyncio.run(graph.aget_graph(xray=True)).nodes) == len(drawn.nodes)
    assert {name for name, _ in rlm(["FINAL(1)"]).get_subgraphs(recurse=True)} == {steps, elsewhere}


def test_debug_streams_work_with_and_without_a_checkpointer() -> None:
    for options in ({"checkpointer": InMemorySaver()}, {}):
        graph = rlm(
            root("FINAL(rlm_query('q'))"),
            sub=Sub(replies=["FINAL(kid)"]),
            limits={"max_depth": 2},
            **options,
        )
        parts = list(
            graph.stream({"query": "go"}, thread(), stream_mode=["debug", "values"], subgraphs=True)
        )
        assert [part for namespace, mode, part in parts if mode == "values" and not namespace][-1][
            "answer"
        ] == "kid"


def test_an_rlm_inside_another_graph_can_be_forked_while_it_waits() -> None:
    class Shop(TypedDict):
        query: str
        answer: str

    def buy(item: str) -> str:
        """Buy something."""
        return f"bought {item}"

    inner = create_rlm(
        root("x = llm_query('a')\nFINAL(buy(x))"),
        sub_model=ScriptedModel(answer=echo),
        tools=[buy],
        interrupt_on={"buy": True},
    )
    outer = StateGraph(Shop)
    outer.add_node("shopper", inner)
    outer.add_edge(START, "shopper")
    outer.add_edge("shopper", END)
    graph = outer.compile(checkpointer=InMemorySaver())
    graph.invoke({"query": "shop"}, thread())
    state = graph.get_state(thread(), subgraphs=True).tasks[0].state
    assert state.next == ("tool_interrupt",)
    graph.invoke(None, fork(graph, state.config, "0.0/0/0", "tea"))
    assert graph.invoke(Command(resume={"type": "approve"}), thread())["answer"] == "bought tea"
    with pytest.raises(ForkError, match="There is no RLM at checkpoint_ns='' of this graph"):
        fork(graph, thread(), "0", "x")


def test_a_graph_around_an_rlm_can_be_drawn() -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("rlm", rlm(["FINAL(1)"], limits={"max_depth": 3}))
    builder.add_edge(START, "rlm")
    assert "plan_code" in builder.compile().get_graph(xray=True).draw_mermaid()
