"""What a root model reads: the REPL taught in its real names, and nothing of the user's text altered."""

import ast
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.log.reply import Problem, parse_reply
from langgraph_rlm.log.text import clip
from langgraph_rlm.prompts import (
    CellDoc,
    ContextDoc,
    FunctionDoc,
    ToolDoc,
    best_answer_prompt,
    nudge_prompt,
    outcome_prompt,
    question_prompt,
    system_prompt,
)
from langgraph_rlm.repl.host_functions import descriptions

BRACES = "Reply as {json}, {{ x }}, {% raw %}, {# no #}, 100 %, %s, {0}, <b> & \\n"


def system(
    *,
    depth: int = 0,
    max_depth: int = 1,
    tools: tuple[ToolDoc, ...] = (),
    models: tuple[str, ...] = (),
    limits: Limits | None = None,
    instructions: str | None = None,
) -> str:
    limits = limits or Limits()
    functions = descriptions(limits, is_recursive=depth + 1 < max_depth)
    return system_prompt(
        depth=depth,
        functions=[FunctionDoc(each.kind, each.shown, each.text) for each in functions],
        tools=tools,
        models=models,
        interpreter="A Python without {braces} trouble.",
        limits=limits,
        instructions=instructions,
    )


def outcome(*cells: CellDoc, notices: tuple[str, ...] = (), iteration: int = 1) -> str:
    return outcome_prompt(
        cells=cells, notices=notices, iteration=iteration, max_iterations=30, max_cell_seconds=7.5
    )


def context(
    *,
    name: str = "context",
    kind: str = "text",
    items: int | None = None,
    loaded: bool = True,
    preview: str = "",
    also: tuple[str, ...] = (),
) -> ContextDoc:
    return ContextDoc(name, kind, 1_234_567, items, loaded, preview, also)


# The system prompt


@pytest.mark.parametrize(
    "signature",
    [
        'peek(start, end=None, of="context") -> str',
        'grep(pattern, max_matches=50, context_lines=0, ignore_case=False, of="context", width=500) -> list[dict]',
        'context_info(of="context", page=0) -> dict',
        "llm_query(prompt, model=None) -> str",
        "llm_query_batched(prompts, model=None) -> list[str]",
        "rlm_query(prompt, context=None, model=None)",
        "rlm_query_batched(prompts, contexts=None, model=None)",
        "SHOW_VARS()",
        "FINAL(value)",
        'FINAL_VAR("name")',
        'answer["ready"] = True',
    ],
)
@pytest.mark.parametrize("max_depth", [1, 3])
def test_every_name_of_the_repl_is_taught(signature: str, max_depth: int) -> None:
    assert signature in system(max_depth=max_depth)


@pytest.mark.parametrize(
    ("depth", "max_depth", "recursive"), [(0, 1, False), (0, 2, True), (1, 2, False), (1, 3, True)]
)
def test_recursion_is_taught_only_where_there_is_some(
    depth: int, max_depth: int, recursive: bool
) -> None:
    assert ("starts an agent like you" in system(depth=depth, max_depth=max_depth)) is recursive


def test_a_child_knows_that_it_is_one() -> None:
    assert "sub-agent at depth 2" in system(depth=2, max_depth=3)
    assert "sub-agent" not in system()


def test_limits_models_tools_and_interpreter_are_told() -> None:
    limits = Limits(
        max_iterations=11,
        max_sub_calls=222,
        max_concurrency=33,
        max_output_chars=4_444,
        max_cell_seconds=5.5,
    )
    prompt = system(
        limits=limits,
        models=("fast", "deep"),
        tools=(ToolDoc("price(item: str) -> float", "What {an} item costs."),),
    )
    for told in (
        "11 turns",
        "222 sub-calls",
        "33 in parallel",
        "4,444 characters",
        "5.5 seconds",
        "fast, deep",
        "{braces} trouble",
    ):
        assert told in prompt
    assert "- `price(item: str) -> float`: What {an} item costs." in prompt


def test_instructions_are_put_in_verbatim() -> None:
    assert BRACES in system(instructions=BRACES)


@given(st.text())
def test_no_instructions_break_the_prompt(text: str) -> None:
    assert text.strip("\n") in system(instructions=text)


def test_the_prompt_stays_short() -> None:
    assert len(system(depth=1, max_depth=3, models=("a", "b"))) < 7_000


@pytest.mark.parametrize("max_depth", [1, 3])
def test_the_examples_are_cells_that_parse(max_depth: int) -> None:
    """A model copies what it is shown, so the prompt is read as a reply."""
    examples = parse_reply(system(max_depth=max_depth))
    assert len(examples.cells) == 4
    assert examples.problem is None
    for cell in examples.cells:
        ast.parse(cell)


# The question


def test_a_question_says_what_is_bound_and_what_is_asked() -> None:
    prompt = question_prompt(
        question=BRACES, contexts=[context(kind="list", items=12, preview="{{ head }}")], first=True
    )
    assert prompt.endswith(f"Question:\n\n{BRACES}")
    assert "`context`: list, 1,234,567 characters, 12 items." in prompt
    assert "{{ head }}" in prompt
    assert "follow-up" not in prompt
    assert "not bound" not in prompt


def test_an_input_too_large_for_the_interpreter_is_read_through_the_host() -> None:
    prompt = question_prompt(question="?", contexts=[context(loaded=False)], first=True)
    assert "not bound" in prompt
    assert 'peek(..., of="context")' in prompt
    assert 'grep(..., of="context")' in prompt


def test_a_follow_up_says_that_variables_persist_and_what_is_new() -> None:
    prompt = question_prompt(
        question="?",
        contexts=[context(also=("context_1",)), context(name="context_2")],
        first=False,
    )
    assert "variables" in prompt
    assert "`context` is new" in prompt
    assert "- `context` (also `context_1`): str" in prompt
    assert "- `context_2`: str" in prompt


def test_a_follow_up_without_an_input_says_that_nothing_is_new() -> None:
    prompt = question_prompt(question="?", contexts=[], first=False)
    assert "No new input" in prompt
    assert "no context" not in prompt


@pytest.mark.parametrize(
    ("kind", "said"),
    [("text", "str"), ("files", "dict of path to text"), ("messages", "list of message dicts")],
)
def test_a_kind_is_said_as_the_type_that_code_sees(kind: str, said: str) -> None:
    assert f"`context`: {said}" in question_prompt(
        question="?", contexts=[context(kind=kind)], first=True
    )


def test_a_question_without_context_says_so() -> None:
    assert "no context" in question_prompt(question="?", contexts=[], first=True)


# The outcome


def test_one_cell_is_not_numbered_and_silence_is_said() -> None:
    assert (
        outcome(CellDoc(1, "hello {{ x }}\n", None, None, "ok"))
        == "Turn 1 of 30. Your code printed:\n\nhello {{ x }}"
    )
    assert (
        outcome(CellDoc(1, "", None, None, "ok"))
        == "Turn 1 of 30. Your code printed:\n\n(no output)"
    )


def test_several_cells_are_numbered_with_their_values() -> None:
    prompt = outcome(CellDoc(1, "a", None, None, "ok"), CellDoc(2, "b", "{'k': 3}", None, "ok"))
    assert prompt == (
        "Turn 1 of 30.\n\nCell 1 printed:\n\na\n\nCell 2 printed:\n\nb\n\n"
        "Value of its last line: {'k': 3}"
    )


def test_a_turn_without_code_that_ran_says_its_number_too() -> None:
    assert outcome(notices=("Write code.",)) == "Turn 1 of 30.\n\nWrite code."


def test_an_error_is_shown_with_what_it_left() -> None:
    prompt = outcome(CellDoc(1, "a", None, "Traceback\nValueError: {x}", "error"))
    assert "Traceback\nValueError: {x}" in prompt
    assert "is kept" in prompt
    assert "rolled back" not in prompt


@pytest.mark.parametrize("kind", ["timeout", "crashed"])
def test_a_stopped_cell_is_said_to_be_rolled_back(kind: str) -> None:
    prompt = outcome(CellDoc(1, "", None, None, "timeout" if kind == "timeout" else "crashed"))
    assert "stopped" in prompt
    assert "rolled back: nothing that it bound is kept" in prompt
    assert "7.5 seconds" in prompt


def test_notices_follow_the_cells() -> None:
    prompt = outcome(
        CellDoc(1, "a", None, None, "ok"), notices=("`context` was restored.", "One {thing}.")
    )
    assert prompt.endswith("a\n\n`context` was restored.\nOne {thing}.")


@pytest.mark.parametrize(
    ("iteration", "said"),
    [(27, None), (28, "Two turns are left of 30"), (29, "One turn is left of 30")],
)
def test_the_last_turns_ask_for_the_answer(iteration: int, said: str | None) -> None:
    prompt = outcome(CellDoc(1, "a", None, None, "ok"), iteration=iteration)
    assert (said or "") in prompt
    assert ("Answer now" in prompt) is (said is not None)


# Nudges


def test_each_nudge_is_short_and_its_own() -> None:
    nudges = {nudge_prompt(problem) for problem in get_args(Problem)} | {
        nudge_prompt("final_failed"),
        nudge_prompt("final_unseen"),
        nudge_prompt("skipped"),
        nudge_prompt("no_word", name="x"),
    }
    assert len(nudges) == 9
    assert all(0 < len(nudge) < 350 for nudge in nudges)


def test_a_word_that_is_no_variable_is_given_in_quotes() -> None:
    assert 'FINAL("total")' in nudge_prompt("no_word", name="total")


def test_a_request_for_the_best_answer_gives_the_reason_and_wants_text() -> None:
    prompt = best_answer_prompt(reason="Limit max_iterations of 30 reached (spent 30).")
    assert prompt.startswith("Limit max_iterations of 30 reached (spent 30).")
    assert "plain text" in prompt
    assert "```" not in prompt


# Clipping


@given(st.text(), st.integers(min_value=2, max_value=50))
def test_clip_keeps_head_and_tail_and_counts_the_rest(text: str, limit: int) -> None:
    clipped = clip(text, limit=limit)
    if len(text) <= limit:
        assert clipped == text
        return
    note = f"\n[... {len(text) - limit} characters left out ...]\n"
    head, tail = clipped[: limit - limit // 2], clipped[-(limit // 2) :]
    assert clipped == head + note + tail
    assert text.startswith(head)
    assert text.endswith(tail)
    assert head
    assert tail


@pytest.mark.parametrize("limit", [1, 0, -5])
def test_clip_refuses_a_limit_without_room_for_both_ends(limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit={limit} "):
        clip("text", limit=limit)
