"""Children: the steps that an RLM within another takes, what of them is saved, and what a cut costs.

`tests/threads/children` was written when children began with a step that took their input apart and
one that logged their question, and answered in a step of their own. Its threads `"1"` to `"7"` were
each cut off one step later.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from langgraph_rlm import create_rlm, fork
from langgraph_rlm.testing import ScriptedModel, cell

from .models import FailsOnce, rlm, root, thread

OLD = Path(__file__).parent / "threads" / "children"
ASKS = root("FINAL(rlm_query('child'))")
FORM = "{'type': 'object', 'properties': {'n': {'type': 'integer'}}, 'required': ['n']}"


def asking(child: Callable[[str], Any] | ScriptedModel, saver: Any = None, **options: Any) -> Any:
    """A graph whose root asks one child."""
    limits = {"max_depth": 2, **options.pop("limits", {})}
    asks = options.pop("asks", ASKS)
    return rlm(asks, sub=child, limits=limits, checkpointer=saver or InMemorySaver(), **options)


def steps(graph: Any, name: str = "t") -> list[tuple[str, tuple[str, ...]]]:
    """Each checkpoint of the child, in order: where it came from, and what runs next."""
    saved = [*graph.checkpointer.list(thread(name))]
    namespace = next(
        place for each in saved if (place := each.config["configurable"]["checkpoint_ns"])
    )
    at = {"configurable": {"thread_id": name, "checkpoint_ns": namespace}}
    states = [*graph.get_state_history(at)]
    return [(state.metadata["source"], state.next) for state in reversed(states)]


def test_a_child_that_answers_by_a_cell_is_saved_three_times() -> None:
    """Before its model is asked, with the reply, and with the answer."""
    graph = asking(lambda _: cell("FINAL('yes')"))
    assert graph.invoke({"query": "q"}, thread())["answer"] == "yes"
    assert steps(graph) == [("input", ("plan_code",)), ("loop", ("execute_repl",)), ("loop", ())]


def test_each_wait_of_a_childs_code_is_two_steps_more() -> None:
    graph = asking(lambda text: "S" if text == "s" else cell("FINAL(llm_query('s'))"))
    assert graph.invoke({"query": "q"}, thread())["answer"] == "S"
    assert [ahead for _, ahead in steps(graph)] == [
        ("plan_code",),
        ("execute_repl",),
        ("sub_call",),
        ("execute_repl",),
        (),
    ]


def test_an_answer_that_does_not_match_goes_back_to_the_childs_model() -> None:
    """That takes a model, and so a step of its own."""
    child = root("FINAL('none')", "FINAL({'n': 1})")
    graph = asking(child, asks=root(f"FINAL(rlm_query('child', schema={FORM})['n'])"))
    assert graph.invoke({"query": "q"}, thread())["answer"] == "1"
    assert child.calls == 2
    assert [ahead for _, ahead in steps(graph)] == [
        ("plan_code",),
        ("execute_repl",),
        ("finalize",),
        ("plan_code",),
        ("execute_repl",),
        (),
    ]


def test_an_answer_at_a_limit_says_so() -> None:
    """A tree's limit that a child reaches in the cell that answers ends its parent too."""
    code = (
        "try:\n    llm_query_batched(['a', 'b'])\nexcept RuntimeError as error:\n    FINAL('late')"
    )
    graph = asking(lambda _: cell(code), limits={"max_sub_calls": 1})
    out = graph.invoke({"query": "q"}, thread())
    assert out["stop_reason"] == "max_sub_calls"


def test_with_durability_sync_a_childs_question_is_saved_before_its_model_is_asked() -> None:
    """LangGraph waits for a checkpoint at the end of a step, so a step comes before."""
    graph = asking(lambda _: cell("FINAL('yes')"))
    assert graph.invoke({"query": "q"}, thread(), durability="sync")["answer"] == "yes"
    assert [ahead for _, ahead in steps(graph)] == [
        ("ingest",),
        ("plan_code",),
        ("execute_repl",),
        (),
    ]


@pytest.mark.parametrize("at", range(2, 15))
def test_a_save_that_fails_costs_no_reply(at: int) -> None:
    """With durability "sync", at whichever save."""
    saver = FailsOnce(at)
    child = ScriptedModel(answer=lambda text: "S" if text == "s" else cell("FINAL(llm_query('s'))"))
    graph = asking(child, saver)
    with pytest.raises(OSError, match="no space"):
        graph.invoke({"query": "q"}, thread(), durability="sync")
    out = graph.invoke(None, thread(), durability="sync")
    assert out["answer"] == "S" and child.calls == 2
    assert out["usage"]["turns"] == 2 and out["usage"]["sub_calls"] == 2


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_child_that_waits_goes_on_from_its_checkpoints_alone(durability: Any) -> None:
    def buy(item: str) -> str:
        """Buy."""
        return f"one {item}"

    saver, child = InMemorySaver(), root("FINAL(buy('tea'))")

    def graph() -> Any:
        return asking(child, saver, tools=[buy], interrupt_on={"buy": True})

    graph().invoke({"query": "q"}, thread(), durability=durability)
    approve: Any = Command(resume={"type": "approve"})
    out = graph().invoke(approve, thread(), durability=durability)
    assert out["answer"] == "one tea"
    if durability != "exit":
        assert child.calls == 1


def test_the_question_of_a_child_that_waits_can_be_edited() -> None:
    def buy(item: str) -> str:
        """Buy."""
        return f"one {item}"

    def answer(text: str) -> str:
        return cell("FINAL('nothing')" if "another" in text else "FINAL(buy('tea'))")

    graph = asking(answer, tools=[buy], interrupt_on={"buy": True})
    graph.invoke({"query": "q"}, thread())
    waits = graph.get_state(thread(), subgraphs=True).tasks[0].state.config
    again = fork(graph, waits, "run.0", "another question")
    assert graph.invoke(None, again)["answer"] == "nothing"


@pytest.mark.parametrize("name", [str(number) for number in range(1, 8)])
def test_a_child_of_an_earlier_version_goes_on_from_any_of_its_steps(
    name: str, tmp_path: Path
) -> None:
    def answer(text: str) -> str:
        return "A s" if text == "s" else cell("FINAL(llm_query('s') + '!')")

    async def go() -> Any:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "old/threads.db")) as saver:
            graph = create_rlm(
                model,
                sub_model=sub,
                limits={"max_depth": 2},
                checkpointer=saver,
                blob_store=tmp_path / "old/blobs",
            )
            at: Any = thread(name)
            return (await graph.ainvoke(None, at, durability="sync"))["answer"]

    shutil.copytree(OLD, tmp_path / "old")
    model, sub = ScriptedModel(replies=["again"]), ScriptedModel(answer=answer)
    assert asyncio.run(go()) == "A s!"
    asked = [prompt[-1].text for prompt in sub.prompts]
    assert model.calls == 0
    assert len(asked) == (2 if name <= "3" else 1 if name <= "5" else 0)
    assert [text for text in asked if text == "s"] == ["s"] * (name <= "5")
