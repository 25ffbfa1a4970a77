"""Interpreters that wait are kept by memory, by what a rebuild takes, and by whether their run is at work."""

import asyncio
import logging
from typing import Any, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import ConfigurationError
from langgraph_rlm.repl import idle as idle_module
from langgraph_rlm.repl.idle import Idle, idle

from .models import rlm, root, thread


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the keeper of this process anew, with other bounds."""
    keeper, before = idle(), (idle().most_bytes, idle().most)

    def bounds(*, megabytes: float = 1e6, most: int = 4096) -> Idle:
        keeper.most_bytes, keeper.most = int(megabytes * (1 << 20)), most
        return keeper

    yield bounds
    keeper.most_bytes, keeper.most = before


class TestRoom:
    def test_a_hundred_runs_at_once_open_each_interpreter_once(self) -> None:
        graph = rlm(root(*["x = llm_query('a')"] * 3, "FINAL('done')"))
        opened = count_opened(graph)

        async def all_runs() -> list[Any]:
            return await asyncio.gather(*[graph.ainvoke({"query": f"q{i}"}) for i in range(100)])

        outs = asyncio.run(all_runs())
        assert {out["answer"] for out in outs} == {"done"}
        assert len(opened) == 100

    def test_without_room_runs_are_right_all_the_same(self, room: Any) -> None:
        room(megabytes=0)
        graph = rlm(root("x = llm_query('a')", "y = x + llm_query('b')", "FINAL(y)"))
        assert graph.invoke({"query": "go"})["answer"] == "len=1len=1"
        assert graph.rlm.sessions.idle == 0

    def test_what_computed_long_goes_last_and_what_is_large_goes_first(self, room: Any) -> None:
        keeper = room(most=3)
        graphs = {
            "long": rlm(root("n = 0\nfor i in range(3_000_000):\n    n += i\nFINAL(n)")),
            "short": rlm(root("FINAL(1)")),
            "large": rlm(root("big = 'x' * 20_000_000\nFINAL(2)")),
            "newest": rlm(root("FINAL(3)")),
        }
        for graph in graphs.values():
            graph.invoke({"query": "go"})
        left = {name for name, graph in graphs.items() if graph.rlm.sessions.idle}
        assert keeper.most == 3
        assert left == {"long", "short", "newest"}

    def test_a_run_at_work_is_not_dropped_for_one_that_is_over(self, room: Any) -> None:
        """However long the other one has computed."""
        room(most=1)
        other = rlm(root("n = 0\nfor i in range(2_000_000):\n    n += i\nFINAL(n)"))
        other.invoke({"query": "go"})
        assert other.rlm.sessions.idle == 1
        graph = rlm(root("x = llm_query('a')\ny = llm_query('b')", "FINAL(x)"))
        opened = count_opened(graph)
        assert graph.invoke({"query": "go"})["answer"] == "len=1"
        assert len(opened) == 1
        assert other.rlm.sessions.idle == 0

    def test_a_child_is_not_kept_once_it_has_answered(self) -> None:
        graph = rlm(
            root("a = rlm_query('one')\nFINAL(a)"),
            sub=root("v = 1", "FINAL('child')"),
            limits={"max_depth": 2},
        )
        assert graph.invoke({"query": "go"})["answer"] == "child"
        assert graph.rlm.sessions.idle == 1

    def test_two_branches_of_one_rlm_are_one_interpreter_that_waits(self) -> None:
        """Those of a fork have the id of the thread: the later one is kept, and the other ended."""
        closed: list[str] = []

        class Own:
            unsaved_seconds = 0.0

            def own_bytes(self) -> int:
                return 1 << 20

        class Branch:
            own = Own()

            def __init__(self, name: str) -> None:
                self.name = name

            def close(self) -> None:
                closed.append(self.name)

        keeper, first, second = Idle(1 << 30, 10), Branch("first"), Branch("second")
        keeper.put(0, "rlm", cast(Any, first))
        keeper.put(0, "rlm", cast(Any, second))
        assert closed == ["first"]
        assert (keeper.count(0), keeper.held) == (1, 1 << 20)
        assert keeper.take(0, "rlm") is cast(Any, second)
        assert keeper.held == 0


class TestSnapshots:
    def test_one_that_is_dropped_leaves_a_snapshot_and_nothing_is_computed_again(
        self, room: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        keeper = room()
        loop = "n = 0\nfor i in range(1_500_000):\n    n += i"
        graph = rlm(root(loop, "FINAL(n)", "FINAL(n + 1)"), checkpointer=InMemorySaver())
        first = graph.invoke({"query": "go"}, thread())["answer"]
        keeper.most_bytes = 0
        rlm(root("FINAL(1)")).invoke({"query": "another"})
        keeper.most_bytes = 1 << 30
        assert graph.rlm.sessions.idle == 0
        caplog.set_level(logging.INFO)
        assert graph.invoke({"query": "again"}, thread())["answer"] == str(int(first) + 1)
        assert "cells run again" not in caplog.text

    def test_a_snapshot_of_another_branch_is_left_out(self, room: Any) -> None:
        keeper = room()
        graph = rlm(
            root("n = 0\nfor i in range(1_500_000):\n    n += i", "FINAL(n)", "FINAL(n)"),
            checkpointer=InMemorySaver(),
        )
        graph.invoke({"query": "go"}, thread())
        keeper.most_bytes = 0
        rlm(root("FINAL(1)")).invoke({"query": "another"})
        keeper.most_bytes = 1 << 30
        history = list(graph.get_state_history(thread()))
        early = next(state for state in history if len(state.values.get("log", {})) == 1)
        out = graph.invoke(None, early.config)
        assert out["stop_reason"] == "answered"


class TestSetting:
    @pytest.mark.parametrize("given", ["x", "-1", "1.5", "1GB"])
    def test_a_wrong_number_is_an_error_that_says_so(
        self, given: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(idle_module.VARIABLE, given)
        with pytest.raises(ConfigurationError, match="whole number of megabytes"):
            idle_module.most_bytes()

    def test_the_default_is_a_part_of_the_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(idle_module.VARIABLE, raising=False)
        assert 1 << 26 < idle_module.most_bytes() < 1 << 42
        monkeypatch.setenv(idle_module.VARIABLE, "100")
        assert idle_module.most_bytes() == 100 << 20

    def test_figures_are_logged(self, room: Any, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "langgraph_rlm.repl")
        room(megabytes=0)._figures.told = -1e9
        graph = rlm(root("x = llm_query('a')", "FINAL(x)"))
        graph.invoke({"query": "go"})
        assert "Interpreters that wait: 0 kept (0 of 0 MB), " in caplog.text


def count_opened(graph: Any) -> list[Any]:
    """Note each interpreter that a graph opens."""
    opened: list[Any] = []
    backend = graph.rlm.sessions.sandboxes.new
    open_one = backend.open

    def noted(spec: Any) -> Any:
        opened.append(spec.seed)
        return open_one(spec)

    backend.open = noted
    return opened
