"""Properties: reducers take any batching, and random programs do the same live, rebuilt at every step, and from every checkpoint."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm.budget.limits import keep_first
from langgraph_rlm.budget.usage import Spending, Usage, add_usage, share, spent, whole
from langgraph_rlm.history.replay_run import replay_run
from langgraph_rlm.history.saved_run import save_run
from langgraph_rlm.log.entries import Log
from langgraph_rlm.log.grown import merge_log
from langgraph_rlm.log.text import canonical, canonical_texts, plain
from langgraph_rlm.testing import ScriptedModel, cell

from .jails import needs_a_jail
from .models import paid_calls, rlm, thread, timeless

counts = st.integers(0, 1000)
dollars = counts.map(lambda n: n / 1024)
"""Sums of these are exact."""
spendings = st.builds(
    Spending,
    model_calls=counts,
    input_tokens=counts,
    output_tokens=counts,
    cost=dollars,
    unpriced_calls=counts,
)
usages = st.builds(
    spent,
    turns=counts,
    sub_calls=counts,
    seconds=dollars,
    by=st.dictionaries(st.sampled_from(["0/a", "1/a", "1/b"]), spendings, max_size=3),
)
entries = st.builds(
    lambda text: {"kind": "turn", "reply": {"text": text}, "limit": None}, st.text(max_size=3)
)
logs: st.SearchStrategy[Any] = st.dictionaries(
    st.sampled_from(["0", "1", "0.0", "0.0/0/0", "run.0"]), entries, max_size=4
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


@given(logs, st.lists(logs, max_size=5), st.lists(logs, max_size=5))
def test_the_log_takes_its_writes_in_any_batches(
    log: Log, first: list[Log], second: list[Log]
) -> None:
    """As `DeltaChannel` asks: what a superstep writes at once, and what a thread read back applies one by one, come to the same."""
    before = json.dumps([log, first])
    assert merge_log(merge_log(log, first), second) == merge_log(log, first + second)
    assert list(merge_log(merge_log(log, first), second)) == list(merge_log(log, first + second)), (
        "in the same order"
    )
    assert merge_log(None, first) == merge_log({}, first)
    assert json.dumps([log, first]) == before, "nothing that is in a checkpoint is changed"


@given(usages, usages, usages)
def test_usage_adds_up_in_any_order(a: Usage, b: Usage, c: Usage) -> None:
    assert add_usage(add_usage(a, b), c) == add_usage(a, add_usage(b, c))
    assert add_usage(a, b) == add_usage(b, a)
    for kind in ("input_token_details", "output_token_details"):
        parts = [part.get(kind, {}).get("cache_read", 0) for part in (a, b)]
        assert add_usage(a, b).get(kind, {}).get("cache_read", 0) == sum(parts)  # type: ignore[attr-defined]
    assert add_usage(spent(), a) == add_usage(None, a) == a
    assert whole(share(a)) == a
    total = add_usage(a, b)
    for name in Spending.__required_keys__:
        assert sum(part[name] for part in total["breakdown"].values()) == total[name]  # type: ignore[literal-required]


limits = st.sampled_from(["", "max_tokens", "max_cost"])


@given(limits, limits, limits)
def test_the_first_limit_stays(a: str, b: str, c: str) -> None:
    assert keep_first(keep_first(a, b), c) == keep_first(a, keep_first(b, c))
    assert keep_first(keep_first("", a), None) == a


@given(values, st.randoms(use_true_random=False))
def test_equal_values_have_equal_text(value: Any, shuffler: random.Random) -> None:
    """What a call is known by does not depend on the order of keys, or on tuples being lists."""

    def shuffled(given: Any) -> Any:
        if isinstance(given, dict):
            items = list(given.items())
            shuffler.shuffle(items)
            return {key: shuffled(inner) for key, inner in items}
        return [shuffled(inner) for inner in given] if isinstance(given, list | tuple) else given

    text = canonical(plain(value))
    assert canonical(plain(shuffled(value))) == text
    assert canonical(json.loads(text)) == text


wild = st.text(st.characters(codec=None))
"""Control characters and lone surrogates included."""


@given(st.lists(wild, max_size=4), st.none() | wild, st.randoms())
def test_texts_have_the_same_canonical_form_whichever_way_they_are_written(
    prompts: list[str], model: str | None, shuffler: random.Random
) -> None:
    payload: dict[str, Any] = {"prompts": prompts, "model": model, "schema": "{}"}
    keys = [*payload]
    shuffler.shuffle(keys)
    assert canonical_texts({key: payload[key] for key in keys}) == canonical(payload)


NAMES = ["a", "b", "c"]
names = st.sampled_from(NAMES)
few = st.integers(1, 3)


def line(template: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda given: template.format(*given))


statements = st.one_of(
    line("{} = llm_query({} + '{}')", names, names, few),
    line("{} = ' '.join(llm_query_batched([{} + str(n) for n in range({})]))", names, names, few),
    line(
        "for n in range({}):\n    {} = llm_query({} + str(n))\n    if len({}) > 5:\n        break",
        few,
        names,
        names,
        names,
    ),
    line(
        "def ask(x):\n    return llm_query(x) + llm_query('again ' + x)\n{} = ask({})", names, names
    ),
    line("print({}, len({}))", names, names),
    line("print(SHOW_VARS(), history[-1:])"),
    line("{} = peek({}, 12) + str(len(grep('o', max_matches={})))", names, few, few),
    line("{} = str(random.randint(0, 10 ** 6)) + str(datetime.datetime.now())", names),
    line("{} = note({}, times={})", names, names, few),
    line(
        "try:\n    llm_query('fail')\nexcept RuntimeError as error:\n    {} = str(error)[:12]",
        names,
    ),
    line("{} = ' '.join(llm_query_batched(['fail', {}]))", names, names),
    line("try:\n    llm_query('')\nexcept ValueError:\n    {} += '!'", names),
    line("{} = {}[:{}]\nundefined_name", names, names, few),
    line("note({}, times='no number')", names),
    line("llm_query('fail')"),
    line("context = {}\nanswer['content'] = context", names),
)
childs = st.one_of(
    line("{} = llm_query(context + {})", names, names),
    line("{} = ' '.join(llm_query_batched([context, {}]))\nprint({})", names, names, names),
    line("{} = note(peek(0, {}))", names, few),
)
children = line("{} = rlm_query('q' + {}, context={} + '.')", names, names, names) | line(
    "{} = ' '.join(rlm_query_batched(['x', 'y'], contexts=[{}, None]))", names, names
)
START = "import random, datetime\na, b, c = 'one', 'two', 'three'"
END = "FINAL(' '.join([a, b, c]))"


def programs(lines: st.SearchStrategy[str], turns: int) -> st.SearchStrategy[list[str]]:
    """The replies of a model: cells of a few lines, several in one reply or in turns of their own."""
    cells = st.lists(lines, min_size=1, max_size=3).map("\n".join)
    replies = st.lists(
        st.lists(cells.map(cell), min_size=1, max_size=2).map("\n".join), min_size=1, max_size=turns
    )
    return replies.map(lambda made: [cell(START), *made, cell(END)])


trees = st.tuples(
    programs(st.one_of(statements, statements, statements, children), 3), programs(childs, 1)
)


class Sub(ScriptedModel):
    """Answers `llm_query` after its prompt, and is the root model of children."""

    def _scripted(self, messages: Sequence[Any]) -> Any:
        text = messages[-1].text
        if messages[0].type == "system":
            return super()._scripted(list(messages))
        return ValueError("no such luck") if text == "fail" else f"{len(text)}{text[:2]}"


def note(text: str, times: int = 1) -> str:
    """Note a text."""
    return f"{text[:5]}x{times}"


def check(
    replies: list[str],
    child: list[str],
    path: Path,
    chosen: Sequence[int] | None = None,
    sandbox: str = "monty",
) -> None:
    """One program live; from its first step on, and from other checkpoints, with no interpreter kept; and as a saved run."""
    model, sub = ScriptedModel(replies=replies), Sub(replies=child)
    graph = rlm(
        model,
        sub=sub,
        tools=[note],
        limits={"max_depth": 2},
        checkpointer=InMemorySaver(),
        sandbox=sandbox,
    )
    out = graph.invoke({"query": "go", "context": "lorem ipsum dolor"}, thread())
    calls = model.calls + sub.calls
    history = [
        state
        for state in graph.get_state_history(thread())
        if "run.0" in state.values.get("log", {})
    ]
    end = history[0].values
    save_run(graph, thread(), path / "run.json")
    assert replay_run(path / "run.json", tools=[note]).cells >= 2
    graph.rlm.sessions.max_idle = 0
    for state in [
        history[-1],
        *(history if chosen is None else [history[index % len(history)] for index in chosen]),
    ]:
        graph.rlm.sessions.drop_all()
        before = model.calls + sub.calls
        again = graph.invoke(None, state.config)
        assert again["answer"] == out["answer"]
        assert {**again["usage"], "seconds": 0} == {**out["usage"], "seconds": 0}
        assert timeless(graph.get_state(thread()).values["log"]) == timeless(end["log"])
        assert model.calls + sub.calls - before == calls - made_before(state.values)
    graph.rlm.sessions.close()


def made_before(state: dict[str, Any]) -> int:
    """Model calls that a checkpoint knows of: those that were paid, and those that failed."""
    failed = sum(
        1
        for entry in state["log"].values()
        if entry["kind"] == "reply" and "no such luck" in (entry["error"] or "")
    )
    return paid_calls(state) + failed


RELAXED = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


@settings(max_examples=12, derandomize=True, **RELAXED)
@given(trees, st.lists(st.integers(0, 100), min_size=3, max_size=3))
def test_random_programs_do_the_same_live_cold_and_forked(
    tmp_path: Path, tree: tuple[list[str], list[str]], chosen: list[int]
) -> None:
    """One mechanism for crashes, pauses and forks: whatever a run does, its log is enough to go on."""
    check(*tree, tmp_path, chosen)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=30, **RELAXED)
@given(trees)
def test_random_programs_do_the_same_from_every_checkpoint(
    tmp_path: Path, tree: tuple[list[str], list[str]]
) -> None:
    check(*tree, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=15, **RELAXED)
@given(trees, st.lists(st.integers(0, 100), min_size=2, max_size=2))
def test_random_programs_do_the_same_in_cpython(
    tmp_path: Path, tree: tuple[list[str], list[str]], chosen: list[int]
) -> None:
    check(*tree, tmp_path, chosen, "local")


@needs_a_jail
@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=15, **RELAXED)
@given(trees, st.lists(st.integers(0, 100), min_size=2, max_size=2))
def test_random_programs_do_the_same_in_a_jail(
    tmp_path: Path, tree: tuple[list[str], list[str]], chosen: list[int]
) -> None:
    check(*tree, tmp_path, chosen, "python")
