"""Values at the edge of what Monty takes: each limit one below, at it and one above, and no run ends of it."""

from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import Limits
from langgraph_rlm.repl import monty_values
from langgraph_rlm.repl.base import (
    Backend,
    Capacity,
    Finished,
    Raised,
    Returned,
    SandboxCrashed,
    Suspended,
    capacity_of,
)
from langgraph_rlm.repl.contract.check import Opener, gives, ran, run
from langgraph_rlm.repl.host import LOADED_SHARE, is_loaded
from langgraph_rlm.repl.monty import MontyBackend
from langgraph_rlm.repl.monty_values import (
    MAX_PARTS,
    MAX_VALUE_BYTES,
    NODE_BYTES,
    Size,
    obstacle,
    obstacle_out,
    size_of,
)
from langgraph_rlm.storage.context import ContextHandle
from langgraph_rlm.testing import cell

from .models import rlm, root, shown, thread

SMALL = 4000
"""What the tests below let a value have in bytes."""
FITS = SMALL - NODE_BYTES
"""Characters of the longest text."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monty_values, "MAX_VALUE_BYTES", SMALL)
    monkeypatch.setattr(MontyBackend, "capacity", Capacity(FITS))


@pytest.fixture
def opener() -> Iterator[Opener]:
    backend = MontyBackend()
    with Opener(backend) as made:
        yield made
    backend.close()


class TestLoading:
    @pytest.mark.parametrize("beyond", [-1, 0, 1])
    def test_a_context_is_loaded_up_to_the_capacity_of_the_sandbox(self, beyond: int) -> None:
        handle = ContextHandle("d", "text", 1, 1000 + beyond)
        limits = Limits(max_heap_bytes=1 << 30)
        assert is_loaded(handle, limits, Capacity(1000)) is (beyond <= 0)

    @pytest.mark.parametrize("beyond", [-1, 0, 1])
    def test_and_up_to_a_quarter_of_the_memory(self, beyond: int) -> None:
        handle = ContextHandle("d", "text", 1, (1 << 20) // LOADED_SHARE + beyond)
        assert is_loaded(handle, Limits(max_heap_bytes=1 << 20), Capacity()) is (beyond <= 0)

    @pytest.mark.parametrize("beyond", [-1, 0, 1])
    def test_and_up_to_the_items_that_the_memory_holds(self, beyond: int) -> None:
        handle = ContextHandle("d", "list", 1, 1, items=1024 + beyond)
        limits = Limits(max_heap_bytes=1 << 20)
        assert is_loaded(handle, limits, Capacity(item_bytes=1024)) is (beyond <= 0)

    def test_a_backend_that_says_nothing_takes_anything(self) -> None:
        class Own:
            name, notes = "own", ""

        own: Any = Own()
        assert capacity_of(own) == Capacity()
        assert capacity_of(MontyBackend()).max_bytes == MAX_VALUE_BYTES - NODE_BYTES

    @pytest.mark.usefixtures("small")
    @pytest.mark.parametrize("beyond", [-1, 0, 1])
    def test_a_run_reads_a_larger_one_with_peek_and_goes_on(self, beyond: int) -> None:
        model = root("print(len(context))", "FINAL(peek(0, 3))", "FINAL([1, peek(0, 3)])")
        graph = rlm(model, checkpointer=InMemorySaver())
        context = "abc" + "x" * (FITS + beyond - 3)
        out = graph.invoke({"query": "q", "context": context}, thread())
        assert (out["answer"], out["stop_reason"]) == ("abc", "answered")
        if beyond > 0:
            assert "context_info(), grep and peek read it" in shown(model, 1)
        else:
            assert str(len(context)) in shown(model, 1)
        graph.rlm.sessions.drop_all()
        assert graph.invoke({"query": "more"}, thread())["answer"] == '[1,"abc"]'

    @pytest.mark.usefixtures("small")
    def test_a_list_that_only_turns_out_to_be_too_large_is_read_with_peek(self) -> None:
        model = root("print(len(context))", "FINAL(grep('7', max_matches=1)[0]['line'])")
        out = rlm(model).invoke({"query": "q", "context": list(range(1500))})
        assert "context_info(), grep and peek read it" in shown(model, 1)
        assert out["answer"] == "8"

    @pytest.mark.usefixtures("small")
    def test_names_bound_anew_go_one_by_one_where_they_do_not_fit_together(self) -> None:
        graph = rlm(
            root("FINAL(len(context))", "context = context_0 = 1", "FINAL([context, context_0])"),
            checkpointer=InMemorySaver(),
        )
        first, second = "a" * FITS, "b" * (FITS - 1)
        graph.invoke({"query": "q", "context": first}, thread())
        out = graph.invoke({"query": "q", "context": second}, thread())
        assert (out["answer"], out["stop_reason"]) == (f'["{second}","{first}"]', "answered")


class TestAnswers:
    @pytest.mark.usefixtures("small")
    @pytest.mark.parametrize("beyond", [-1, 0, 1])
    def test_an_answer_of_a_model_that_is_too_large_is_an_error_in_code(self, beyond: int) -> None:
        code = "try:\n    x = len(llm_query('q'))\nexcept MemoryError as error:\n    x = str(error)"
        model = root(code, "FINAL(x)", "FINAL([x])")
        graph = rlm(model, sub=lambda _: "y" * (FITS + beyond), checkpointer=InMemorySaver())
        answer = graph.invoke({"query": "q"}, thread())["answer"]
        if beyond > 0:
            assert answer.startswith("the answer is too large: it takes 4,001 bytes")
        else:
            assert answer == str(FITS + beyond)
        graph.rlm.sessions.drop_all()
        assert graph.invoke({"query": "q"}, thread())["answer"].startswith("[")

    @pytest.mark.usefixtures("small")
    def test_a_batch_and_a_peek_count_with_all_that_is_in_them(self) -> None:
        code = "def tell(f):\n    try:\n        return len(f())\n    except MemoryError:\n        return 'too large'\n"
        code += "FINAL([tell(lambda: llm_query_batched(['a'] * 2)), tell(lambda: llm_query_batched(['a'] * 5)), tell(lambda: peek(0, 3000)), tell(lambda: peek(0, 5000))])"
        out = rlm(root(code), sub=lambda _: "y" * 1000).invoke(
            {"query": "q", "context": "x" * 9000}
        )
        assert out["answer"] == '[2,"too large",3000,"too large"]'

    def test_an_answer_beyond_the_memory_is_refused_and_the_session_lives(
        self, opener: Opener
    ) -> None:
        session = opener(max_heap_bytes=8 << 20)
        code = "try:\n    llm_query('a')\nexcept MemoryError as error:\n    x = str(error)\nx"
        finished, _ = run(session, code, "y" * (5 << 20))
        assert "bytes of memory, and there are 8,388,608" in finished.value
        gives(session, "1 + 1", 2)

    def test_a_message_of_any_length_is_cut(self, opener: Opener) -> None:
        session = opener()
        code = "try:\n    llm_query('a')\nexcept ValueError as error:\n    n = len(str(error))\nn"
        finished, _ = run(session, code, Raised("ValueError", "m" * 1_000_000))
        assert finished.value < 101_000


class TestFromTheGuest:
    def test_a_value_that_is_written_out_a_million_times_is_refused(self, opener: Opener) -> None:
        session = opener()
        ran(session, "x = [1]\nfor _ in range(40):\n    x = [x, x]")
        finished, _ = run(session, "x")
        assert finished.error is not None
        assert "at most 8,100,000 can be handed over" in finished.error.message
        finished, calls = run(session, "llm_query(x)")
        assert finished.error is not None
        assert (finished.error.type, calls) == ("MemoryError", [])
        gives(session, "1 + 1", 2)

    def test_it_is_an_error_of_final_var_and_of_answer_too(self) -> None:
        big = "x = [1]\nfor _ in range(40):\n    x = [x, x]\n"
        model = root(
            f"{big}FINAL_VAR('x')",
            "answer['content'] = x\nanswer['ready'] = True",
            "answer['content'] = 'small'",
        )
        assert rlm(model).invoke({"query": "q"})["answer"] == "small"
        assert "can be handed over" in shown(model, 1)
        assert "no variable" not in shown(model, 1)
        assert "can be handed over" in shown(model, 2)


class TestSizes:
    @pytest.mark.parametrize(
        "value",
        [
            "",
            "abc",
            "é" * 10,
            5,
            -1,
            2**70,
            1.5,
            None,
            True,
            [],
            {},
            [1, "a", [None]],
            {"a": {"b": [2**64]}},
        ],
    )
    def test_no_value_takes_more_than_is_counted(self, opener: Opener, value: Any) -> None:
        assert size_of(value).parts >= 1
        gives(opener(), "llm_query('a')", value, value)

    @pytest.mark.parametrize(
        ("size", "why"),
        [
            (Size(1, MAX_VALUE_BYTES - 1, 1, False), ""),
            (Size(1, MAX_VALUE_BYTES, 1, False), ""),
            (Size(1, MAX_VALUE_BYTES + 1, 1, False), "it takes 268,434,433 bytes"),
            (Size(MAX_PARTS, 1, 1, False), ""),
            (Size(MAX_PARTS + 1, 1, 1, False), "it has 8,100,001 parts"),
            (Size(1, 1, 1000, False), ""),
            (Size(1, 1, 1001, False), "it takes 1,001 bytes of memory, and there are 1,000"),
        ],
    )
    def test_each_limit_is_one_of_its_own(self, size: Size, why: str) -> None:
        assert obstacle(size, 1000).startswith(why)
        assert bool(obstacle(size, 1000)) is bool(why)

    def test_parts_are_counted_level_by_level(self) -> None:
        assert size_of([1, {"a": "b"}, []]).parts == 6
        assert size_of("a\ud800").has_surrogates
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        assert size_of(deep).parts == 100_001
        assert "parts" not in obstacle_out([1, (2, {3}), {"a": frozenset()}])

    @pytest.mark.parametrize("beyond", [-1, 0, 1])
    def test_characters_from_a_guest(self, monkeypatch: pytest.MonkeyPatch, beyond: int) -> None:
        monkeypatch.setattr(monty_values, "MAX_CHARS_OUT", 10)
        assert bool(obstacle_out(["x" * 5, "y" * (5 + beyond)])) is (beyond > 0)


@pytest.mark.slow
class TestTheRealFrames:
    """Of 256 MiB, with up to 3 GB of memory."""

    @pytest.mark.parametrize("size", [(256 << 20) - 1, 256 << 20, (256 << 20) + 1])
    @pytest.mark.parametrize("heap", [1 << 30, 4 << 30])
    def test_a_context_around_256_mib_ends_no_run(self, size: int, heap: int) -> None:
        model = root("print(len(context))", "x = peek(0, 3)\nFINAL(x)")
        graph = rlm(model, limits={"max_heap_bytes": heap}, checkpointer=InMemorySaver())
        out = graph.invoke({"query": "q", "context": "abc" + "x" * (size - 3)}, thread())
        assert (out["answer"], out["stop_reason"]) == ("abc", "answered")
        assert "grep and peek read it" in shown(model, 1)
        graph.rlm.sessions.drop_all()
        model.replies = [*model.replies, cell("FINAL([x])")]
        assert graph.invoke({"query": "q"}, thread())["answer"] == '["abc"]'

    @pytest.mark.parametrize("beyond", [-1, 0])
    def test_the_largest_value_that_is_allowed_arrives(self, opener: Opener, beyond: int) -> None:
        session = opener(max_heap_bytes=4 << 30)
        text = "x" * (MAX_VALUE_BYTES - NODE_BYTES + beyond)
        gives(session, "len(llm_query('a'))", len(text), text)
        session.close()
        other = opener(max_heap_bytes=4 << 30, values={"context": lambda: text})
        gives(other, "len(context)", len(text))
        outcome = other.feed("len(context)", frozenset({"context", "llm_query"}))
        assert isinstance(outcome, Finished)
        assert outcome.value == len(text)

    def test_a_session_whose_answer_was_not_delivered_is_lost(
        self, opener: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(monty_values, "MAX_VALUE_BYTES", 1 << 40)
        session = opener(max_heap_bytes=4 << 30)
        assert isinstance(session.feed("llm_query('a')"), Suspended)
        with pytest.raises(SandboxCrashed):
            session.resume(Returned("x" * (257 << 20)))
        with pytest.raises(SandboxCrashed):
            session.feed("1")

    @pytest.mark.parametrize(
        "code", ["llm_query('x' * (257 << 20))", "'x' * (257 << 20)", "FINAL('x' * (257 << 20))"]
    )
    def test_what_the_guest_cannot_send_is_an_error_with_a_hint(
        self, opener: Opener, code: str
    ) -> None:
        functions = frozenset({"llm_query", "FINAL"})
        session = opener(max_heap_bytes=4 << 30, functions=functions)
        finished, _ = run(session, code)
        assert finished.error is not None
        assert "smaller pieces" in finished.error.traceback
        gives(session, "1 + 1", 2)


def test_a_graph_reads_the_capacity_of_its_own_backend() -> None:
    class Tiny(MontyBackend):
        capacity = Capacity(10)

    backend: Backend = Tiny()
    model = root("print(context)", "FINAL(1)")
    rlm(model, sandbox=backend).invoke({"query": "q", "context": "x" * 11})
    assert "grep and peek read it" in shown(model, 1)
