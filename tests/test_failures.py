"""A failure of a model anywhere in the tree is that item's failure; the run can be continued after it."""

import json
from typing import Any

import pytest
from langchain_core.messages import SystemMessage
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, thread


class Down(Exception):
    """What a model's client raises."""


class Breaks(ScriptedModel):
    """A model that fails where it is told to, until it is mended."""

    breaks_at: Any = None
    """Takes a call's text and its number among all calls, and says whether it fails."""

    def _scripted(self, messages: list[Any]) -> Any:
        text = "\n".join(message.text for message in messages)
        if self.breaks_at is not None and self.breaks_at(text, len(self.prompts) - 1):
            raise Down("the server is down")
        return super()._scripted(messages)

    def mend(self) -> None:
        self.breaks_at = None


def is_call(number: int) -> Any:
    return lambda text, count: count == number


def always(text: str, count: int) -> bool:
    return True


def tree_root(*codes: str) -> Breaks:
    return Breaks(replies=[cell(code) for code in codes])


class Child(Breaks):
    """Plays children of any depth: it asks a child of its own until the deepest level, then answers."""

    turns: int = 1
    """Turns of a child; it answers in the last one."""

    def _scripted(self, messages: list[Any]) -> Any:
        if not isinstance(messages[0], SystemMessage):  # a plain sub-call
            if self.breaks_at is not None and self.breaks_at(messages[-1].text, 0):
                raise Down("the server is down")
            return "leaf"
        done = sum(message.type == "ai" for message in messages)
        if self.breaks_at is not None and self.breaks_at(messages[1].text, done):
            raise Down("the server is down")
        if done + 1 < self.turns:
            return cell("x = 1")
        return cell("FINAL('child')")


CALLERS = {
    "llm_query": "FINAL(llm_query('item'))",
    "llm_query_batched": "FINAL(llm_query_batched(['item', 'other'])[0])",
    "llm_query with a schema": "FINAL(llm_query('item', schema={'type': 'string'}))",
    "rlm_query": "FINAL(rlm_query('item'))",
    "rlm_query_batched": "FINAL(rlm_query_batched(['item', 'other'])[0])",
}


def caught(code: str) -> str:
    """A cell that answers with the error that its call raises."""
    return f"try:\n    {code}\nexcept Exception as error:\n    FINAL('Error: ' + str(error))"


@pytest.mark.parametrize("has_checkpointer", [True, False])
@pytest.mark.parametrize(
    ("call", "turn"),
    [(call, turn) for call in CALLERS for turn in (0, 1) if turn == 0 or call.startswith("rlm")],
)
def test_of_a_sub_call_or_a_child_is_an_error_in_code(
    call: str, turn: int, has_checkpointer: bool
) -> None:
    """In its first call, or in a later turn of the child."""
    child = Child(
        replies=["-"], turns=2, breaks_at=lambda text, done: "item" in text and done == turn
    )
    graph = rlm(
        tree_root(caught(CALLERS[call])),
        sub=child,
        limits={"max_depth": 2},
        checkpointer=InMemorySaver() if has_checkpointer else None,
    )
    out = graph.invoke({"query": "q"}, thread())
    assert out["answer"].startswith("Error: "), out["answer"]
    assert "the server is down" in out["answer"]
    assert out["usage"]["failed_sub_calls"] == 1
    if has_checkpointer:  # the thread lives on
        child.mend()
        again = graph.invoke({"query": "another"}, thread())
        assert again["stop_reason"] == "answered"


@pytest.mark.parametrize("has_checkpointer", [True, False])
@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_at_any_depth_it_is_the_error_of_the_code_one_level_up(
    depth: int, turn: int, has_checkpointer: bool
) -> None:
    class Nest(ScriptedModel):
        def _scripted(self, messages: list[Any]) -> Any:
            level = int(messages[1].text.rsplit("level ", 1)[1].split()[0])
            done = sum(message.type == "ai" for message in messages)
            if level == depth and done == turn:
                raise Down(f"down at {level}")
            if done == 0 and level == depth:
                return cell("x = 1")
            code = f"rlm_query('level {level + 1} .')"
            return cell(
                f"try:\n    FINAL('{level}>' + {code})\nexcept Exception as error:\n    FINAL('caught at {level}: ' + str(error))"
            )

    model = Nest(replies=["-"])
    graph = rlm(
        tree_root("FINAL('0>' + str(rlm_query('level 1 .')))")
        if depth > 1
        else tree_root(caught("FINAL(rlm_query('level 1 .'))")),
        sub=model,
        limits={"max_depth": 5},
        checkpointer=InMemorySaver() if has_checkpointer else None,
    )
    out = graph.invoke({"query": "q"}, thread())
    assert out["stop_reason"] == "answered"
    assert f"down at {depth}" in out["answer"]
    if depth > 1:
        assert f"caught at {depth - 1}" in out["answer"]


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_of_the_root_is_raised_and_the_thread_goes_on_where_it_stood(turn: int) -> None:
    model = Breaks(
        replies=[cell("a = llm_query('one')"), cell("b = llm_query('two')"), cell("FINAL(a + b)")],
        breaks_at=is_call(turn),
    )
    sub = ScriptedModel(answer=lambda prompt: prompt)
    graph = rlm(model, sub=sub, checkpointer=InMemorySaver())
    with pytest.raises(Down, match="the server is down"):
        graph.invoke({"query": "q"}, thread())
    model.mend()
    out = graph.invoke(None, thread())
    assert (out["answer"], sub.calls) == ("onetwo", 2)
    assert out["usage"]["turns"] == 3
    assert graph.invoke({"query": "again"}, thread())["stop_reason"] == "answered"


def test_of_the_root_in_a_later_question_of_the_thread() -> None:
    model = Breaks(replies=[cell("FINAL('first')"), cell("FINAL('second')")])
    graph = rlm(model, checkpointer=InMemorySaver())
    assert graph.invoke({"query": "q"}, thread())["answer"] == "first"
    model.breaks_at = always
    with pytest.raises(Down):
        graph.invoke({"query": "next"}, thread())
    model.mend()
    assert graph.invoke(None, thread())["answer"] == "second"


@pytest.mark.parametrize("depth", [0, 1])
def test_of_the_call_that_sums_up(depth: int) -> None:
    """At the root it is raised, and asked again on resume; in a child it is an error in code."""

    class Talker(Breaks):
        def _scripted(self, messages: list[Any]) -> Any:
            if "about to be shortened" in messages[-1].text:
                if self.breaks_at is not None:
                    raise Down("the server is down")
                return "SUMMARY"
            if "summed them up" in "".join(message.text for message in messages):
                return cell("FINAL('done')")
            return cell("print('words ' * 400)")

    talker = Talker(replies=["-"], breaks_at=always)
    if depth == 0:
        graph = rlm(talker, window_tokens=5_000, checkpointer=InMemorySaver())
        with pytest.raises(Down):
            graph.invoke({"query": "q"}, thread())
        talker.mend()
        assert graph.invoke(None, thread())["answer"] == "done"
        return
    graph = rlm(
        tree_root(caught("FINAL(rlm_query('item'))")),
        sub=talker,
        limits={"max_depth": 2},
        window_tokens=5_000,
        checkpointer=InMemorySaver(),
    )
    out = graph.invoke({"query": "q"}, thread())
    assert "the server is down" in out["answer"]
    assert out["usage"]["turns"] > 2


@pytest.mark.parametrize("depth", [0, 1])
def test_of_the_call_for_the_best_answer(depth: int) -> None:
    class Endless(Breaks):
        def _scripted(self, messages: list[Any]) -> Any:
            if "Limit max_iterations" in messages[-1].text:
                if self.breaks_at is not None:
                    raise Down("the server is down")
                return "the best"
            return cell("print(1)")

    endless = Endless(replies=["-"], breaks_at=always)
    if depth == 0:
        graph = rlm(endless, limits={"max_iterations": 2}, checkpointer=InMemorySaver())
        with pytest.raises(Down):
            graph.invoke({"query": "q"}, thread())
        endless.mend()
        out = graph.invoke(None, thread())
        assert (out["answer"], out["stop_reason"]) == ("the best", "max_iterations")
        assert out["usage"]["turns"] == 3
        return
    graph = rlm(
        tree_root(caught("FINAL(rlm_query('item'))")),
        sub=endless,
        limits={"max_iterations": 2, "max_depth": 2},
        checkpointer=InMemorySaver(),
    )
    assert "the server is down" in graph.invoke({"query": "q"}, thread())["answer"]


@pytest.mark.parametrize("at", [0, 1])
def test_of_a_retry_for_the_form(at: int) -> None:
    """A sub-call with a schema: the first try, and the second after one that did not match."""

    class Wrong(Breaks):
        def _scripted(self, messages: list[Any]) -> Any:
            if len(self.prompts) - 1 == at:
                raise Down("the server is down")
            return "not a number"

    schema = "{'type': 'integer'}"
    graph = rlm(
        tree_root(caught(f"FINAL(llm_query('item', schema={schema}))")),
        sub=Wrong(replies=["-"]),
        checkpointer=InMemorySaver(),
    )
    out = graph.invoke({"query": "q"}, thread())
    assert "the server is down" in out["answer"]
    assert out["usage"]["failed_sub_calls"] == 1
    counted = sum(spent["model_calls"] for spent in out["usage"]["breakdown"].values())
    assert counted == 1 + at  # the call that raised cost nothing that is known


def test_of_a_structured_answer_of_the_root_is_raised_and_resumed() -> None:
    model = Breaks(replies=["FINAL(not a number)", "FINAL(7)"], breaks_at=is_call(1))
    graph = rlm(model, response_format={"type": "integer"}, checkpointer=InMemorySaver())
    with pytest.raises(Down):
        graph.invoke({"query": "q"}, thread())
    model.mend()
    out = graph.invoke(None, thread())
    assert (out["structured_response"], out["usage"]["turns"]) == (7, 2)


def test_items_of_a_batch_fail_one_by_one() -> None:
    def sub(prompt: str) -> str:
        if prompt.endswith("3"):
            raise Down(f"no {prompt}")
        return prompt

    code = "got = llm_query_batched([f'item {n}' for n in range(6)])\nFINAL([g for g in got])"
    out = rlm(tree_root(code), sub=ScriptedModel(answer=sub)).invoke({"query": "q"})
    got = json.loads(out["answer"])
    assert [index for index, text in enumerate(got) if text.startswith("Error: ")] == [3]
    assert "no item 3" in got[3]
    assert (out["usage"]["sub_calls"], out["usage"]["failed_sub_calls"]) == (5, 1)
