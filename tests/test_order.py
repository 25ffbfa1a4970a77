"""Order is data: dicts keep the order of their keys wherever values pass."""

import json
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel

from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, root, thread

ORDERED = "{'z': 1, 'a': {'y': 2, 'b': [{'x': 3, 'c': 4}]}}"
KEYS = ["z", "a", "y", "b", "x", "c"]


def in_order(text: str) -> bool:
    places = [text.index(f'"{key}"') for key in KEYS]
    return places == sorted(places)


def test_of_an_answer() -> None:
    for idle in (0, 32):
        graph = rlm(root(f"FINAL({ORDERED})"), checkpointer=InMemorySaver())
        graph.rlm.sessions.max_idle = idle
        assert in_order(graph.invoke({"query": "q"}, thread())["answer"])


def test_of_a_variable_and_of_printed_values() -> None:
    model = root(f"x = {ORDERED}\nprint(x)", 'FINAL_VAR("x")')
    assert in_order(rlm(model).invoke({"query": "q"})["answer"])
    assert in_order(model.prompts[1][-1].text.replace("'", '"'))


def test_of_a_structured_answer() -> None:
    class Row(BaseModel):
        z: int
        a: dict[str, int]

    out = rlm(root("FINAL({'z': 1, 'a': {'y': 2, 'b': 3}})"), response_format=Row).invoke(
        {"query": "q"}
    )
    assert list(out["structured_response"]) == ["z", "a"]
    assert list(out["structured_response"]["a"]) == ["y", "b"]
    assert out["answer"] == '{"z": 1, "a": {"y": 2, "b": 3}}'


def test_of_arguments_and_results_of_a_tool() -> None:
    given: list[Any] = []

    def keep(row: dict[str, Any]) -> dict[str, Any]:
        """Keep a row."""
        given.append(row)
        return {"second": 2, "first": 1}

    for idle in (0, 32):
        graph = rlm(
            root(f"FINAL(list(keep({ORDERED})))"),
            tools=[keep],
            interrupt_on={"keep": True},
            checkpointer=InMemorySaver(),
        )
        graph.rlm.sessions.max_idle = idle
        (pause,) = graph.invoke({"query": "q"}, thread())["__interrupt__"]
        assert in_order(json.dumps(pause.value["action_requests"][0]["args"]))
        out = graph.invoke(Command(resume={"type": "approve"}), thread())
        assert out["answer"] == '["second","first"]'
    assert all(in_order(json.dumps(row)) for row in given)


def test_of_contexts_that_are_dicts_and_lists_of_dicts() -> None:
    context = {"z": {"y": 1, "b": 2}, "a": {"y": 3, "b": 4}}
    out = rlm(root("FINAL([list(context), list(context['z'])])")).invoke(
        {"query": "q", "context": context}
    )
    assert json.loads(out["answer"]) == [["z", "a"], ["y", "b"]]
    out = rlm(root("FINAL(context)")).invoke({"query": "q", "context": [context]})
    assert list(json.loads(out["answer"])[0]) == ["z", "a"]


def test_of_what_a_child_is_given_and_answers() -> None:
    sub = ScriptedModel(answer=lambda _: cell("FINAL([list(context), context])"))
    out = rlm(
        root(f"FINAL(rlm_query('q', context={ORDERED}))"), sub=sub, limits={"max_depth": 2}
    ).invoke({"query": "q"})
    keys, value = json.loads(out["answer"])
    assert keys == ["z", "a"]
    assert in_order(json.dumps(value))


def test_of_schemas_in_prompts() -> None:
    schema = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "integer"}}}
    model = ScriptedModel(replies=['FINAL({"z": "x", "a": 1})'])
    rlm(model, response_format=schema).invoke({"query": "q"})
    system = model.prompts[0][0].text
    assert system.index('"z"') < system.index('"a"')


def test_requests_that_differ_in_order_alone_are_one_request() -> None:
    """Digests do not depend on order: replay finds the call that was made."""
    from langgraph_rlm.log.text import canonical, digest_of, ordered

    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1})
    assert digest_of(canonical({"b": 1, "a": 2})) == digest_of(canonical({"a": 2, "b": 1}))
    assert ordered({"b": 1, "a": 2}) == '{"b":1,"a":2}'
