"""Structured answers, through the public graph: what matches comes as plain JSON, what does not goes back to the model, within limits."""

import dataclasses
import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from pydantic import BaseModel, Field

from langgraph_rlm import ConfigurationError
from langgraph_rlm.testing import ScriptedModel, cell

from .jails import SANDBOXES
from .models import rlm, root, shown, thread

NUMBERS = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
N = repr(NUMBERS)
"""The same, as code writes it."""


class Contract(BaseModel):
    name: str
    ends: date
    value: float = Field(ge=0)
    tags: list[str] = []


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Sub(ScriptedModel):
    """Children follow `replies`; an `llm_query` follows `leaf`, by how often it was asked again."""

    leaf: Any = ("leaf",)

    def _scripted(self, messages: list[Any]) -> Any:
        if messages[0].type == "system":
            return super()._scripted(messages)
        asked = sum(message.type == "ai" for message in messages)
        return (
            self.leaf(messages)
            if callable(self.leaf)
            else self.leaf[min(asked, len(self.leaf) - 1)]
        )


def structured(reply: str, response_format: Any) -> Any:
    out = rlm([reply], response_format=response_format).invoke({"query": "q"})
    assert out["stop_reason"] == "answered"
    return out["structured_response"]


class TestForms:
    def test_a_number_that_json_has_not_goes_back_to_the_model(self) -> None:
        """pydantic reads "NaN" as a float, and writes it as a null that `float` does not take."""
        model = root("FINAL('NaN')", "FINAL(2.5)")
        assert (
            rlm(model, response_format=float).invoke({"query": "q"})["structured_response"] == 2.5
        )
        assert "no number that JSON has" in shown(model, 1)

    def test_a_pydantic_class(self) -> None:
        """Plain JSON with defaults filled in, which the class takes again; the same as text in `answer` and the message."""
        model = root("FINAL({'name': 'A', 'ends': '2026-03-01', 'value': '2.5'})")
        out = rlm(model, response_format=Contract).invoke({"query": "q"})
        assert out["structured_response"] == {
            "name": "A",
            "ends": "2026-03-01",
            "value": 2.5,
            "tags": [],
        }
        assert Contract.model_validate(out["structured_response"]).ends == date(2026, 3, 1)
        assert (
            json.loads(out["answer"])
            == json.loads(out["messages"][0].content)
            == out["structured_response"]
        )
        assert '"format": "date"' in model.prompts[0][0].text

    @pytest.mark.parametrize(
        ("form", "code", "value"),
        [
            (list[Point], "[{'x': 1, 'y': '2'}]", [{"x": 1, "y": 2}]),
            (list[int], "(1, 2)", [1, 2]),
            (dict[str, Point], "{'p': {'x': 1, 'y': 2}}", {"p": {"x": 1, "y": 2}}),
            (Point, "{'x': 1, 'y': 2}", {"x": 1, "y": 2}),
            (int, "'42'", 42),
            (str, "'42'", "42"),
            (str | None, "None", None),
            (bool, "True", True),
            (NUMBERS, "{'n': 3}", {"n": 3}),
            (NUMBERS, "'{\"n\": 3}'", {"n": 3}),
            ({"type": "string", "pattern": "^a(?=b)"}, "'abc'", "abc"),
            ({"type": ["array", "null"], "items": {"enum": ["x", "y"]}}, "['x']", ["x"]),
        ],
    )  # fmt: skip
    def test_types_and_json_schemas(self, form: Any, code: str, value: Any) -> None:
        assert structured(cell(f"FINAL({code})"), form) == value

    @pytest.mark.parametrize(
        "reply",
        [
            'FINAL({"n": 3})',
            'FINAL(```json\n{"n": 3}\n```)',
            'FINAL(The count [as asked, with {braces}] is {"n": 3}, see above.)',
            'I counted.\n\nFINAL(\n{\n  "n": 3\n}\n)',
            cell("x = {'n': 3}") + "\nFINAL_VAR(x)",
            cell("x = {'n': 3}\nFINAL_VAR('x')"),
            cell("answer['content'] = {'n': 3}\nanswer['ready'] = True"),
            cell('FINAL(\'<think>{"n": 4}</think>```\\n{"n": 3}\\n```\')'),
        ],
    )
    def test_every_way_to_end_a_run(self, reply: str) -> None:
        assert structured(reply, NUMBERS) == {"n": 3}

    @pytest.mark.parametrize(
        "form",
        [
            {"type": "nonsense"},
            {"$ref": "#/$defs/none"},
            {"$ref": "http://localhost:1/x"},
            5,
            object(),
        ],
    )
    def test_what_is_no_form_is_said_at_once(self, form: Any) -> None:
        with pytest.raises(ConfigurationError, match="response_format"):
            rlm(["x"], response_format=form)

    def test_without_a_form_nothing_changes(self) -> None:
        model = root("FINAL({'n': 3})")
        assert "structured_response" not in rlm(model).invoke({"query": "q"})
        assert "matches this JSON schema" not in model.prompts[0][0].text


class TestRefusal:
    def test_a_mismatch_goes_back_with_the_error_and_counts_as_a_turn(self) -> None:
        model = root("rows = [{'n': 'three'}]\nFINAL(rows[0])", "rows[0]['n'] = 3\nFINAL(rows[0])")
        graph = rlm(model, response_format=NUMBERS, checkpointer=InMemorySaver())
        out = graph.invoke({"query": "q"}, thread())
        assert (out["structured_response"], out["stop_reason"], out["usage"]["turns"]) == (
            {"n": 3},
            "answered",
            2,
        )
        assert "$.n: 'three' is not of type 'integer'" in shown(model, 1)
        assert graph.get_state(thread()).values["log"]["refused.0"]["kind"] == "refused"

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("'no idea'", "it is no JSON"),
            ("[3]", "[3] is not of type 'object'"),
            ("{'n': float('nan')}", "NaN is no number"),
            ("{'n': 10 ** 30}", "beyond 64 bits"),
            ("'[' * 100_000", "nested too deeply"),
            ('\'{"n": 1} or {"n": 2}\'', "2 values that match"),
            ('\'Broken: {"a": {"n": 1}, \'', "it is no JSON"),
        ],
    )
    def test_what_does_not_match_is_said(self, value: str, said: str) -> None:
        model = root(f"FINAL({value})", "FINAL({'n': 3})")
        assert rlm(model, response_format=NUMBERS).invoke({"query": "q"})[
            "structured_response"
        ] == {"n": 3}
        assert said in shown(model, 1)

    def test_what_pydantic_refuses_is_said_with_its_place(self) -> None:
        model = root("FINAL([{'name': 'A', 'ends': 'soon', 'value': -1}])", "FINAL([])")
        assert (
            rlm(model, response_format=list[Contract]).invoke({"query": "q"})["structured_response"]
            == []
        )
        assert "$[0].ends: " in shown(model, 1)
        assert "$[0].value: " in shown(model, 1)

    def test_a_prose_answer_that_is_refused(self) -> None:
        model = ScriptedModel(
            replies=[
                "FINAL(three)",
                'FINAL({"n": 3})',
                cell("FINAL(history[0]['reply'])"),
                cell("FINAL({'n': 4})"),
            ]
        )
        graph = rlm(model, response_format=NUMBERS, checkpointer=InMemorySaver())
        assert graph.invoke({"query": "q"}, thread())["structured_response"] == {"n": 3}
        assert "neither code nor an answer" not in shown(model, 1)
        assert graph.invoke({"query": "again"}, thread())["structured_response"] == {"n": 4}
        assert "neither code nor an answer" not in shown(model, 2)

    @pytest.mark.parametrize("max_idle", [0, 32])
    @pytest.mark.parametrize("sandbox", SANDBOXES)
    def test_the_answer_variable_keeps_its_content_and_is_not_given_again_by_itself(
        self, sandbox: str, max_idle: int
    ) -> None:
        codes = [
            "answer['content'] = {'n': 'x'}\nanswer['ready'] = True",
            "llm_query('a')\nprint(answer)",
            "llm_query('b')\nanswer['content']['n'] = 3\nanswer['ready'] = True\nllm_query('c')",
        ]
        model = root(*codes)
        graph = rlm(model, response_format=NUMBERS, sandbox=sandbox)
        graph.rlm.sessions.max_idle = max_idle
        assert graph.invoke({"query": "q"})["structured_response"] == {"n": 3}
        assert "{'content': {'n': 'x'}, 'ready': False}" in shown(model, 2)
        assert model.calls == 3

    @pytest.mark.parametrize("max_idle", [0, 32])
    def test_variables_and_cells_behind_a_refused_final_stay_as_they_were(
        self, max_idle: int
    ) -> None:
        """What follows the FINAL did not run, and does not run when the log is replayed."""
        model = ScriptedModel(
            replies=[
                cell("x = [llm_query('a')]\nFINAL(x)\nx = 0") + cell("x = 1"),
                cell("x.append(3)"),
                cell("FINAL({'n': len(x)})"),
            ]
        )
        graph = rlm(model, response_format=NUMBERS, checkpointer=InMemorySaver())
        graph.rlm.sessions.max_idle = max_idle
        out = graph.invoke({"query": "q"}, thread())
        assert (out["structured_response"], out["usage"]["sub_calls"]) == ({"n": 2}, 1)

    def test_a_run_goes_on_in_another_process_after_a_refusal(self, tmp_path: Path) -> None:
        """The checkpoint after the refusal carries it, with a strict serializer."""
        replies = [cell("x = 5\nFINAL(x)"), cell("FINAL({'n': x})")]
        with SqliteSaver.from_conn_string(str(tmp_path / "runs.db")) as saver:
            first = rlm(replies, response_format=NUMBERS, checkpointer=saver)
            for update in first.stream({"query": "q"}, thread(), stream_mode="updates"):
                if "finalize" in update:
                    break
            model = ScriptedModel(replies=replies)
            out = rlm(model, response_format=NUMBERS, checkpointer=saver).invoke(None, thread())
        assert out["structured_response"] == {"n": 5}
        assert model.calls <= 1


class TestLimits:
    def test_mismatch_until_the_last_turn_then_the_best_answer_matches(self) -> None:
        model = ScriptedModel(replies=[cell("FINAL('bad')")] * 2 + ['```json\n{"n": 9}\n```'])
        out = rlm(model, response_format=NUMBERS, limits={"max_iterations": 2}).invoke(
            {"query": "q"}
        )
        assert (out["structured_response"], out["stop_reason"], out["usage"]["turns"]) == (
            {"n": 9},
            "max_iterations",
            3,
        )
        assert out["answer"] == '{"n": 9}'
        assert "refused" in shown(model, 2)
        assert "as one JSON value" in shown(model, 2)

    def test_mismatch_to_the_end(self) -> None:
        model = ScriptedModel(replies=[cell("FINAL('bad')")] * 2 + ["I do not know."])
        graph = rlm(
            model,
            response_format=NUMBERS,
            limits={"max_iterations": 2},
            checkpointer=InMemorySaver(),
        )
        out = graph.invoke({"query": "q"}, thread())
        assert (out["structured_response"], out["stop_reason"], out["answer"]) == (
            None,
            "max_iterations",
            "I do not know.",
        )
        assert (model.calls, out["messages"][0].content) == (3, "I do not know.")
        model.replies = [*model.replies, cell("FINAL({'n': 1})")]
        out = graph.invoke({"query": "and now?"}, thread())
        assert (out["structured_response"], out["stop_reason"]) == ({"n": 1}, "answered")

    def test_a_budget_that_does_not_reach_for_another_call_leaves_the_refused_answer(self) -> None:
        model = root("FINAL('all I have')")
        out = rlm(model, response_format=NUMBERS, limits={"max_tokens": 3000}).invoke(
            {"query": "q"}
        )
        assert (out["structured_response"], out["stop_reason"], out["answer"]) == (
            None,
            "max_tokens",
            "all I have",
        )
        assert model.calls == 1

    def test_an_answer_at_a_limit_of_the_tree(self) -> None:
        code = "try:\n    llm_query('a')\nexcept RuntimeError:\n    pass\nFINAL({0})"
        out = rlm(
            [cell(code.format("{'n': 1}"))], response_format=NUMBERS, limits={"max_sub_calls": 0}
        ).invoke({"query": "q"})
        assert (out["structured_response"], out["stop_reason"]) == ({"n": 1}, "max_sub_calls")
        out = rlm(
            [cell(code.format("1")), '{"n": 2}'],
            response_format=NUMBERS,
            limits={"max_sub_calls": 0},
        ).invoke({"query": "q"})
        assert (out["structured_response"], out["stop_reason"]) == ({"n": 2}, "max_sub_calls")


class TestThreads:
    def test_a_follow_up_has_its_own_answer(self) -> None:
        model = root("x = 1\nFINAL({'n': x})", "FINAL({'n': x + 1})")
        graph = rlm(model, response_format=NUMBERS, checkpointer=InMemorySaver())
        assert graph.invoke({"query": "one"}, thread())["structured_response"] == {"n": 1}
        graph.rlm.sessions.drop_all()
        assert graph.invoke({"query": "two"}, thread())["structured_response"] == {"n": 2}

    def test_a_follow_up_without_a_form_takes_any_answer(self) -> None:
        saver, model = InMemorySaver(), root("FINAL({'n': 1})", "FINAL('text')")
        rlm(model, response_format=NUMBERS, checkpointer=saver).invoke({"query": "one"}, thread())
        out = rlm(model, checkpointer=saver).invoke({"query": "two"}, thread())
        assert (out["answer"], out["structured_response"]) == ("text", None)


class TestLlmQuery:
    def test_a_reply_comes_parsed(self) -> None:
        sub = Sub(leaf=['Here it is:\n```json\n{"n": 5}\n```\nAnything else?'])
        out = rlm([cell(f"FINAL(llm_query('how many?', schema={N})['n'] + 1)")], sub=sub).invoke(
            {"query": "q"}
        )
        assert out["answer"] == "6"
        assert sub.prompts[0][-1].text.startswith("how many?")
        assert '"required": ["n"]' in sub.prompts[0][-1].text

    @pytest.mark.parametrize("max_idle", [0, 32])
    def test_a_mismatch_is_asked_again_and_every_try_is_paid(self, max_idle: int) -> None:
        sub = Sub(leaf=["five", '{"n": "5"}', '{"n": 5}'])
        graph = rlm(
            [
                cell(
                    f"x = llm_query('how many?', schema={N})\ny = llm_query('again', schema={N})\nFINAL([x, y])"
                )
            ],
            sub=sub,
        )
        graph.rlm.sessions.max_idle = max_idle
        out = graph.invoke({"query": "q"})
        assert json.loads(out["answer"]) == [{"n": 5}, {"n": 5}]
        assert sub.calls == 6
        assert (
            out["usage"]["sub_calls"],
            out["usage"]["breakdown"]["1/scripted"]["model_calls"],
        ) == (2, 6)
        assert "$.n: '5' is not of type 'integer'" in sub.prompts[2][-1].text

    def test_after_three_tries_it_is_a_failure_that_is_paid_for(self) -> None:
        sub = Sub(leaf=["never"])
        code = f"try:\n    llm_query('a', schema={N})\nexcept RuntimeError as e:\n    FINAL(str(e))"
        out = rlm([cell(code)], sub=sub).invoke({"query": "q"})
        assert "llm_query failed: no reply matched the schema in 3 tries" in out["answer"]
        assert (sub.calls, out["usage"]["breakdown"]["1/scripted"]["model_calls"]) == (3, 3)

    def test_a_batch_with_one_bad_entry(self) -> None:
        sub = Sub(
            leaf=lambda messages: (
                "sorry" if "bad" in messages[0].text else f'{{"n": {len(messages[0].text) > 0:d}}}'
            )
        )
        out = rlm(
            [cell(f"FINAL(llm_query_batched(['a', 'bad', 'c'], schema={N}))")], sub=sub
        ).invoke({"query": "q"})
        first, bad, last = json.loads(out["answer"])
        assert (first, last) == ({"n": 1}, {"n": 1})
        assert bad.startswith("Error: no reply matched the schema")

    def test_what_was_paid_before_a_limit_is_counted(self) -> None:
        sub = Sub(leaf=["wrong " * 2000])
        code = f"try:\n    llm_query('a', schema={N})\nexcept RuntimeError as e:\n    FINAL(str(e))"
        out = rlm([cell(code)], sub=sub, limits={"max_tokens": 10_000}).invoke({"query": "q"})
        assert out["stop_reason"] == "max_tokens"
        assert out["usage"]["breakdown"]["1/scripted"]["model_calls"] == sub.calls > 0

    def test_calls_without_a_schema_have_the_digest_that_they_had(self) -> None:
        graph = rlm([cell("FINAL(llm_query('a'))")], checkpointer=InMemorySaver())
        graph.invoke({"query": "q"}, thread())
        assert json.loads(graph.get_state(thread()).values["log"]["0.0/0"]["request"]["text"]) == {
            "model": None,
            "prompts": ["a"],
        }

    def test_the_fields_of_a_schema_are_asked_in_their_order(self) -> None:
        sub = Sub(leaf=['{"why": "w", "answer": 1}'])
        code = "FINAL(llm_query('a', schema={'type': 'object', 'properties': {'why': {}, 'answer': {}}}))"
        rlm([cell(code)], sub=sub).invoke({"query": "q"})
        assert sub.prompts[0][-1].text.index('"why"') < sub.prompts[0][-1].text.index('"answer"')

    @pytest.mark.parametrize(
        ("schema", "said"),
        [
            ("dict", "a JSON schema is a dict"),
            ("'object'", "a JSON schema is a dict"),
            ("{'type': 'objekt'}", "no valid JSON schema"),
            ("{'$ref': 'http://localhost:1/x'}", "points nowhere"),
            ("{'type': 'string', 'pattern': '(?=x)'}", "no RE2 pattern"),
            ("{'patternProperties': {'(a+)+$': {}}}", "patternProperties cannot be used"),
        ],
    )
    def test_a_wrong_schema_is_a_value_error(self, schema: str, said: str) -> None:
        sub = Sub()
        out = rlm(
            [
                cell(
                    f"try:\n    llm_query('a', schema={schema})\nexcept ValueError as e:\n    FINAL(str(e))"
                )
            ],
            sub=sub,
        ).invoke({"query": "q"})
        assert said in out["answer"]
        assert out["answer"].startswith("llm_query: schema: ")
        assert sub.calls == 0

    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "object", "properties": {"a": {"pattern": "^(a+)+$"}}},
            {"$ref": "#"},
            {
                "$defs": {
                    f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(60)
                }
                | {"d60": {}},
                "$ref": "#/$defs/d0",
            },
        ],
        ids=["pattern", "itself", "exponential"],
    )
    def test_a_schema_from_code_cannot_stop_the_host(self, schema: dict[str, Any]) -> None:
        sub = Sub(leaf=[json.dumps({"a": "a" * 60 + "b"})])
        started = time.monotonic()
        code = f"try:\n    llm_query('a', schema={schema})\nexcept RuntimeError as e:\n    FINAL('stopped')"
        assert rlm([cell(code)], sub=sub).invoke({"query": "q"})["answer"] == "stopped"
        assert time.monotonic() - started < 10

    def test_many_items_are_compared_by_their_text(self) -> None:
        """Twenty thousand unequal dicts: comparing each with each would take minutes."""
        sub = Sub(replies=[cell("FINAL([{'i': i} for i in range(20_000)])")])
        code = "FINAL(len(rlm_query('all', schema={'type': 'array', 'uniqueItems': True})))"
        started = time.monotonic()
        assert (
            rlm([cell(code)], sub=sub, limits={"max_depth": 2}).invoke({"query": "q"})["answer"]
            == "20000"
        )
        assert time.monotonic() - started < 10


class TestRlmQuery:
    def test_at_the_deepest_level_it_is_an_llm_query(self) -> None:
        sub = Sub(leaf=["[1]", '{"n": 5}'])
        out = rlm([cell(f"FINAL(rlm_query('a', context='c', schema={N})['n'])")], sub=sub).invoke(
            {"query": "q"}
        )
        assert (out["answer"], sub.calls) == ("5", 2)

    @pytest.mark.parametrize("max_idle", [0, 32])
    def test_children_at_depth_one_and_two_repair_their_own_answers(self, max_idle: int) -> None:
        deeper = f"if depth == 1:\n    got = rlm_query('deeper', context='2', schema={N})\n    FINAL({{'n': got['n'] + 1}})\nFINAL('wrong')"
        replies = [
            cell("depth = int(context)\nprint(depth)"),
            cell(deeper),
            cell("FINAL({'n': 40})"),
        ]
        model, sub = (
            root(
                f"r = rlm_query_batched(['a', 'b'], contexts=['1', '1'], schema={N})\nprint(r)",
                "FINAL(r)",
            ),
            Sub(replies=replies),
        )
        graph = rlm(model, sub=sub, limits={"max_depth": 3}, checkpointer=InMemorySaver())
        graph.rlm.sessions.max_idle = max_idle
        out = graph.invoke({"query": "q"}, thread())
        assert json.loads(out["answer"]) == [{"n": 41}, {"n": 41}]
        assert out["usage"]["sub_calls"] == 4
        assert "structured_response" not in out
        assert sum("was refused" in messages[-1].text for messages in sub.prompts) == 2

    def test_a_child_whose_answers_never_match_is_an_error_that_is_paid_for(self) -> None:
        sub = Sub(replies=[cell("FINAL(context)")])
        code = f"FINAL(rlm_query_batched(['a', 'b'], contexts=['x', '{{\"n\": 2}}'], schema={N}))"
        out = rlm([cell(code)], sub=sub, limits={"max_depth": 2, "max_iterations": 2}).invoke(
            {"query": "q"}
        )
        bad, good = json.loads(out["answer"])
        assert bad.startswith("Error: its answer does not match the schema (max_iterations)")
        assert good == {"n": 2}
        assert (out["stop_reason"], out["usage"]["breakdown"]["1/scripted"]["model_calls"]) == (
            "answered",
            4,
        )

    def test_a_child_may_answer_null_where_the_schema_takes_it(self) -> None:
        sub = Sub(replies=[cell("FINAL(None)")])
        out = rlm(
            [cell("FINAL(rlm_query('a', schema={'type': ['null', 'object']}) is None)")],
            sub=sub,
            limits={"max_depth": 2},
        ).invoke({"query": "q"})
        assert out["answer"] == "true"

    def test_children_do_not_inherit_the_root_s_form(self) -> None:
        sub = Sub(replies=[cell("FINAL('plain text')")])
        out = rlm(
            [cell("FINAL({'n': len(rlm_query('a'))})")],
            sub=sub,
            limits={"max_depth": 2},
            response_format=NUMBERS,
        ).invoke({"query": "q"})
        assert out["structured_response"] == {"n": 10}
        assert "matches this JSON schema; any other" not in sub.prompts[0][0].text
