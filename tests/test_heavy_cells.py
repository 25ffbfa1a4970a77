"""Heavy cells: what took long to compute is not computed again, and a replay is never charged."""

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from rich.console import Console

from langgraph_rlm import BlobError, ReplayDivergedError, fork
from langgraph_rlm.budget.clock import Deadline, RunClock
from langgraph_rlm.cli.line_display import LineDisplay
from langgraph_rlm.log.positions import before, position_of
from langgraph_rlm.repl import sessions, snapshots
from langgraph_rlm.repl.base import Answer, Finished, Returned, Session, SessionSpec, Suspended
from langgraph_rlm.repl.monty import MontyBackend
from langgraph_rlm.repl.sandboxes import Sandboxes
from langgraph_rlm.storage.blobs import BlobStore, to_text
from langgraph_rlm.testing import ScriptedModel, cell

from .heavy_process import COUNT
from .models import rlm, thread
from .test_properties import RELAXED, check, trees

FOLDER = Path(__file__).parent.parent


class Counting(MontyBackend):
    """Monty, and how often a session was started, or loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = 0
        self.loaded = 0

    def open(self, spec: SessionSpec) -> Session:
        """As Monty."""
        self.opened += 1
        return super().open(spec)

    def load(self, spec: SessionSpec, state: bytes) -> Session | None:
        """As Monty."""
        session = super().load(spec, state)
        self.loaded += session is not None
        return session


class OtherVersion(Counting):
    """Another Monty."""

    state_format = "monty 0.0.1"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot after every cell and at every call."""
    monkeypatch.setattr(snapshots, "AFTER_SECONDS", 0.0)
    monkeypatch.setattr(snapshots, "BYTES_A_SECOND", float("inf"))


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """No snapshots."""
    monkeypatch.setattr(snapshots, "AFTER_SECONDS", float("inf"))


def ask(text: str) -> str:
    """Ask a human."""
    return f"{text}!"


CODES = (
    "import random\nx = random.random()\ndef f(a):\n    return a + str(len(llm_query(a)))",
    "y = f('one')\nprint(x)\nz = ask('may I')",
    "print(y, z, x)\nFINAL(' '.join([y, z, str(x), str(random.random())]))",
)


def paused(backend: MontyBackend, saver: Any, codes: Any = CODES, **options: Any) -> Any:
    """A run that waits for a human in its second cell, with no interpreter kept; and its graph."""
    graph = rlm(
        ScriptedModel(replies=[cell(code) for code in codes]),
        tools=[ask],
        interrupt_on={"ask": True},
        checkpointer=saver,
        sandbox=backend,
        **options,
    )
    graph.invoke({"query": "go", "context": "lorem"}, thread())
    graph.rlm.sessions.drop_all()
    return graph


def resumed(graph: Any) -> dict[str, Any]:
    """The run to its end."""
    return graph.invoke(Command(resume={"type": "approve"}), thread())


def log_of(graph: Any) -> dict[str, Any]:
    return graph.get_state(thread()).values["log"]


def kept(graph: Any) -> dict[str, str]:
    """The digests of the snapshots in a log, by place."""
    return {
        place: entry["snapshot"] for place, entry in log_of(graph).items() if "snapshot" in entry
    }


def file_of(graph: Any, digest: str) -> Path:
    """The file of a blob."""
    return Path(graph.rlm.blobs.location) / digest[:2] / digest[2:]


class TestWhatIsKept:
    def test_a_resume_starts_from_the_newest_snapshot(self, always: None) -> None:
        backend = Counting()
        graph = paused(backend, InMemorySaver())
        assert list(kept(graph)) == ["0.0", "1.0/0", "1.0/1"]
        assert (backend.opened, backend.loaded) == (1, 0)
        out = resumed(graph)
        assert (backend.opened, backend.loaded) == (1, 1)
        assert out["answer"].startswith("one5 may I! 0.")
        assert len(re.findall(r"0\.\d+", out["answer"])) == 2

    def test_ordinary_cells_are_not_kept(self) -> None:
        """No dump, and nothing in the log, unless a cell took long."""
        codes = [f"x = {n}\nprint(llm_query(str(x)))" for n in range(12)]
        graph = rlm([*map(cell, codes), cell("FINAL(x)")], checkpointer=InMemorySaver())
        graph.invoke({"query": "go"}, thread())
        assert not kept(graph)

    def test_nothing_too_large_is_kept(self, always: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(snapshots, "MAX_BYTES", 100_000)
        codes = ["x = 'x' * 1_000_000", "x = x[:3]", "FINAL(x)"]
        graph = rlm([*map(cell, codes)], checkpointer=InMemorySaver(), sandbox=Counting())
        assert graph.invoke({"query": "go"}, thread())["answer"] == "xxx"
        assert list(kept(graph)) == ["1.0", "2.0"]

    def test_what_monty_does_not_write_down_is_not_kept(self, always: None) -> None:
        """Beyond 256 MiB it refuses; the session goes on."""
        codes = ["x = ['x' * (30 << 20) for _ in range(10)]", "x = len(x)", "FINAL(x)"]
        limits = {"max_heap_bytes": 2 << 30}
        graph = rlm([*map(cell, codes)], checkpointer=InMemorySaver(), limits=limits)
        assert graph.invoke({"query": "go"}, thread())["answer"] == "10"
        assert "0.0" not in kept(graph)

    def test_the_next_one_waits_for_more_computing_the_larger_the_last_was(self) -> None:
        spec = SessionSpec(frozenset(), {}, datetime.now(UTC), "seed", 1 << 20)
        taken = snapshots.Snapshots(BlobStore.open(), spec, "format", seconds=1.0)
        assert taken.is_due
        taken.size = 40 << 20
        assert not taken.is_due
        taken.seconds = 40.0
        assert taken.is_due
        taken.format = ""
        assert not taken.is_due


class TestWhatIsLeftOut:
    """Without harm: everything is replayed, and the answer is the same."""

    @pytest.fixture
    def saver(self, always: None) -> Any:
        return InMemorySaver()

    def goes_on_from(self, graph: Any, loaded: int, opened: int) -> None:
        backend = graph.rlm.sessions.sandboxes.new
        backend.opened = backend.loaded = 0
        out = resumed(graph)
        assert (backend.loaded, backend.opened) == (loaded, opened)
        assert re.fullmatch(r"one5 may I! 0\.\d+ 0\.\d+", out["answer"])

    @pytest.mark.parametrize("how", ["missing", "altered", "cut"])
    def test_blobs_that_are_gone_or_altered(self, saver: Any, how: str) -> None:
        graph = paused(Counting(), saver)
        for digest in kept(graph).values():
            path = file_of(graph, digest)
            if how == "missing":
                path.unlink()
            else:
                path.chmod(0o600)
                data = path.read_bytes()
                path.write_bytes(data[:-9] if how == "cut" else data[:-9] + b"\0" * 9)
        graph = again(graph, saver)
        self.goes_on_from(graph, 0, 1)

    def test_the_newest_alone(self, saver: Any) -> None:
        """The one before it is taken."""
        graph = paused(Counting(), saver)
        digest = kept(graph)["1.0/1"]
        file_of(graph, digest).unlink()
        self.goes_on_from(again(graph, saver), 1, 0)

    def test_another_version_of_monty(self, saver: Any) -> None:
        graph = paused(Counting(), saver)
        self.goes_on_from(again(graph, saver, OtherVersion()), 0, 1)

    @pytest.mark.parametrize("bytes", [64 << 20, 2 << 30])
    def test_another_limit_of_memory(self, saver: Any, bytes: int) -> None:
        """A dump brings its own limits along."""
        graph = paused(Counting(), saver)
        self.goes_on_from(again(graph, saver, limits={"max_heap_bytes": bytes}), 0, 1)

    def test_other_functions(self, saver: Any) -> None:
        def more() -> str:
            """Another tool."""
            return ""

        graph = paused(Counting(), saver)
        self.goes_on_from(again(graph, saver, tools=[ask, more]), 0, 1)

    def test_a_cell_that_was_given_up_since(self, saver: Any) -> None:
        """Another question came while it waited."""
        graph = again(paused(Counting(), saver), saver)
        graph.invoke({"query": "something else"}, thread())
        assert log_of(graph)["1.0"]["outcome"] == "stopped"
        backend = graph.rlm.sessions.sandboxes.new
        assert (backend.loaded, backend.opened) == (1, 0), "the snapshot of the first cell"

    @pytest.mark.parametrize(("how", "loaded", "opened"), [("forgets", 1, 1), ("dies", 2, 1)])
    def test_a_snapshot_that_is_at_fault(
        self, saver: Any, how: str, loaded: int, opened: int
    ) -> None:
        """What does not do as its log says, or dies of it, is rebuilt from the log alone."""

        class Faulty(Counting):
            def load(self, spec: SessionSpec, state: bytes) -> Session | None:
                self.loaded += 1
                session = MontyBackend.open(self, spec)
                if how == "dies":
                    session.kill()
                return session

        graph = paused(Counting(), saver)
        for place in ("1.0/0", "1.0/1"):
            file_of(graph, kept(graph)[place]).unlink()
        self.goes_on_from(again(graph, saver, Faulty()), loaded, opened)

    def test_a_store_that_cannot_be_written(
        self, saver: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Full(BlobStore):
            def put(self, data: bytes) -> str:
                if data.startswith(snapshots.MARK):
                    raise BlobError("The disk is full.")
                return super().put(data)

        store = BlobStore.open()
        full = Full(store.backend)  # type: ignore[attr-defined]
        graph = paused(Counting(), saver, blob_store=full)
        assert not kept(graph)
        assert "The disk is full" in caplog.text
        assert resumed(graph)["answer"]

    def test_bytes_that_monty_cannot_read(self, saver: Any) -> None:
        class Broken(Counting):
            def load(self, spec: SessionSpec, state: bytes) -> Session | None:
                return super().load(spec, state[:-50])

        graph = paused(Counting(), saver)
        self.goes_on_from(again(graph, saver, Broken()), 0, 1)


def again(graph: Any, saver: Any, backend: Any = None, **options: Any) -> Any:
    """The graph as another process makes it."""
    given = {"tools": [ask], **options}
    return rlm(
        ScriptedModel(replies=[cell(code) for code in CODES]),
        interrupt_on={"ask": True},
        checkpointer=saver,
        sandbox=backend or Counting(),
        blob_store=graph.rlm.blobs.location,
        **given,
    )


class TestForks:
    """A snapshot stands for the entries before it, and for no others."""

    CODES = (
        "a = llm_query('one')\nprint(a)",
        "b = a + llm_query('two')",
        "FINAL(b + llm_query('three'))",
    )

    @pytest.fixture
    def graph(self, always: None) -> Any:
        graph = rlm(
            [cell(code) for code in self.CODES],
            sub=lambda prompt: f"<{prompt}>",
            checkpointer=InMemorySaver(),
            sandbox=Counting(),
        )
        assert graph.invoke({"query": "go"}, thread())["answer"] == "<one><two><three>"
        graph.rlm.sessions.drop_all()
        graph.rlm.sessions.max_idle = 0
        return graph

    @pytest.mark.parametrize(
        ("place", "value", "answer"),
        [
            ("0.0/0/0", "ONE", "ONE<two><three>"),
            ("1.0/0/0", "TWO", "<one>TWO<three>"),
            ("2.0/0/0", "THREE", "<one><two>THREE"),
            ("1", cell("b = 'x' + a"), "x<one><three>"),
            ("2", cell("FINAL(b)"), "<one><two>"),
        ],
    )
    def test_an_edit_is_never_lost_in_a_snapshot(
        self, graph: Any, place: str, value: str, answer: str
    ) -> None:
        assert graph.invoke(None, fork(graph, thread(), place, value))["answer"] == answer
        assert graph.rlm.sessions.sandboxes.new.opened == 1, "what is before the edit is loaded"

    def test_a_log_that_was_edited_before_the_snapshot_does_not_use_it(self, graph: Any) -> None:
        """By `update_state`, whatever stands after it: nothing is loaded, and the replay notices."""
        end = next(
            state
            for state in graph.get_state_history(thread())
            if "1.0" in state.values["log"] and "2.0/0" not in state.values["log"]
        )
        entry = {**end.values["log"]["0.0/0/0"], "value": {"text": "ONE"}}
        graph.rlm.sessions.sandboxes.new.loaded = 0
        edited = graph.update_state(end.config, {"log": {"0.0/0/0": entry}}, as_node="sub_call")
        with pytest.raises(ReplayDivergedError, match=r"Cell 0\.0 ended"):
            graph.invoke(None, edited)
        assert graph.rlm.sessions.sandboxes.new.loaded == 0

    def test_only_snapshots_are_loaded_and_only_for_their_own_log(self, graph: Any) -> None:
        """Texts that code or callers have stored, and snapshots of other threads, are no interpreter."""
        blobs = graph.rlm.blobs
        own = kept(graph)
        graph.invoke({"query": "go"}, thread("other"))
        other = graph.get_state(thread("other")).values["log"]["1.0"]["snapshot"]
        texts = [
            blobs.put_text(text, inline=0)["blob"]
            for text in (
                "\xfflanggraph-rlm snapshot 1\n",
                "x",
                blobs.get(own["1.0"]).decode("latin-1"),
            )
        ]
        start = next(
            state
            for state in graph.get_state_history(thread())
            if "1.0" in state.values["log"] and "2" not in state.values["log"]
        )
        for digest in [*texts, other, "0" * 64, own["0.0"]]:
            log = {
                place: {**entry, "snapshot": digest}
                for place, entry in start.values["log"].items()
                if "snapshot" in entry
            }
            edited = graph.update_state(start.config, {"log": log}, as_node="execute_repl")
            backend = Counting()
            graph.rlm.sessions.sandboxes = Sandboxes(backend)
            expected = 1 if digest == own["0.0"] else 0
            assert graph.invoke(None, edited)["answer"] == "<one><two><three>"
            first_opened = backend.opened
            assert first_opened == 1 - expected

    def test_no_text_begins_like_a_snapshot(self) -> None:
        with pytest.raises(UnicodeDecodeError):
            to_text(snapshots.MARK)


@settings(max_examples=10, derandomize=True, **RELAXED)
@given(trees, st.lists(st.integers(0, 100), min_size=3, max_size=3))
def test_random_programs_do_the_same_with_snapshots_everywhere(
    tmp_path: Path, tree: tuple[list[str], list[str]], chosen: list[int]
) -> None:
    """Live, from snapshots, and forked: what `test_properties` asks, with a snapshot at each call and cell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "AFTER_SECONDS", 0.0)
        patch.setattr(snapshots, "BYTES_A_SECOND", float("inf"))
        backend: Any = Counting()
        check(*tree, tmp_path, chosen, backend)
        assert backend.loaded


KINDS = """
import random, re, datetime
from collections import Counter, defaultdict, deque, namedtuple
from dataclasses import dataclass
from decimal import Decimal
random.random()
s = {str(i) for i in range(500)}
for i in range(0, 500, 3):
    s.discard(str(i))
d = {i: i for i in range(300)}
for i in range(0, 300, 2):
    d.pop(i)
class A:
    pass
a = A()
x = [1]
y = [x, x]
p = re.compile('a(b)')
m = p.search('ab')
def counter(n):
    box = [n]
    def step():
        box[0] += 1
        return box[0]
    return step
step = counter(3)
step()
@dataclass
class Row:
    n: int
row = Row(3)
named = namedtuple('P', 'a b')(1, 2)
counted = Counter('abca')
lists = defaultdict(list)
lists['x'].append(1)
queue = deque([1, 2, 3], maxlen=3)
others = (datetime.date(2020, 1, 1), Decimal('1.1'), 7 ** 300, float('nan'), b'\\xff', range(3, 9, 2))
try:
    1 / 0
except ZeroDivisionError as error:
    caught = error
"""
LOOKS = (
    "[list(s), s.pop(), list(d)]",
    "[id(a), id(x), hash('abc'), hash((1, 2)), repr(a), repr(step)]",
    "x.append(2)\n[y, y[0] is y[1], step(), step(), p.search('ab').group(1), m.group(1)]",
    "lists['q'].append(3)\nqueue.append(9)\n[dict(lists), list(queue), counted.most_common(), named.a]",
    "[str(row), row == Row(3), isinstance(row, Row), str(others), repr(caught)]",
    "[random.random(), random.sample(range(100), 5), str(datetime.datetime.now())]",
)


class TestSessions:
    """A session that was loaded does what the one that was dumped does."""

    SPEC = SessionSpec(
        functions=frozenset({"llm_query", "FINAL_VAR", "FINAL"}),
        values={"context": lambda: "the context"},
        clock=datetime(2026, 1, 1, tzinfo=UTC),
        seed="seed",
        max_heap_bytes=64 << 20,
    )

    @pytest.fixture
    def backend(self) -> Iterator[MontyBackend]:
        backend = MontyBackend()
        yield backend
        backend.close()

    def both(self, backend: MontyBackend, session: Any) -> list[Any]:
        loaded = backend.load(self.SPEC, session.dump())
        assert loaded is not None
        return [session, loaded]

    def test_between_cells(self, backend: MontyBackend) -> None:
        session = backend.open(self.SPEC)
        session.feed(
            "import random, datetime\nrandom.random()\nclass A:\n    def __init__(self):\n        self.x = {1: (2, 3)}\n"
            "a = A()\nb = a\ndef say(winner):\n    return FINAL_VAR(winner)\ncontext += '!'"
        )
        after = "b.x[1] = 4\n[random.random(), str(datetime.datetime.now()), a.x, context, a is b]"
        first, second = [each.feed(after) for each in self.both(backend, session)]
        assert first == second
        assert first.value[2:] == [{"1": 4}, "the context!", True]

    def test_values_of_all_kinds(self, backend: MontyBackend) -> None:
        """Orders, identities, closures, generators of numbers and addresses: as live, and as replayed."""
        live, cold = backend.open(self.SPEC), backend.open(self.SPEC)
        for session in (live, cold):
            made = session.feed(KINDS)
            assert isinstance(made, Finished)
            assert made.error is None
        loaded = backend.load(self.SPEC, live.dump())  # type: ignore[attr-defined]
        assert loaded is not None
        for code in LOOKS:
            ends = [session.feed(code) for session in (live, cold, loaded)]
            assert ends[0] == ends[1] == ends[2]
            assert isinstance(ends[0], Finished)
            assert ends[0].error is None

    def test_in_the_middle_of_a_cell(self, backend: MontyBackend) -> None:
        session = backend.open(self.SPEC)
        session.feed("def say(winner):\n    return FINAL_VAR(winner)")
        outcome = session.feed(
            "print('before')\nx = [llm_query('q'), 1]\nprint('after', x)\nsay(2)"
        )
        assert isinstance(outcome, Suspended)
        ends: list[Any] = []
        for each in self.both(backend, session):
            call = each.resume(Returned("answer"))
            assert isinstance(call, Suspended)
            assert call.call.source == "FINAL_VAR(winner)"
            ends.append(each.resume(Returned(None)))
        assert ends[0] == ends[1]
        assert isinstance(ends[0], Finished)
        assert ends[0].stdout == "before\nafter ['answer', 1]\n"

    def test_printing_counts_on(self, backend: MontyBackend) -> None:
        session = backend.open(self.SPEC)
        session.feed("print('x' * 900_000)\nllm_query('q')\nprint('y' * 200_000)")
        answer: Answer = Returned("answer")
        first, second = [each.resume(answer) for each in self.both(backend, session)]
        assert first == second
        assert first.error.type == "MemoryError"

    def test_a_dump_changes_nothing(self, backend: MontyBackend) -> None:
        dumped, other = backend.open(self.SPEC), backend.open(self.SPEC)
        for code in ("import random\nx = [random.random()]", "x.append(random.random())\nx"):
            dumped.dump()  # type: ignore[attr-defined]
            assert dumped.feed(code) == other.feed(code)

    @pytest.mark.parametrize("seed", range(40))
    def test_damaged_bytes_end_nothing_but_their_own_worker(
        self, backend: MontyBackend, seed: int
    ) -> None:
        """They never get there, because a blob is checked by its digest; and if they did: no hang, no crash of the host."""
        session = backend.open(self.SPEC)
        session.feed("x = {'a': [1, 2.5, 'b']}\ndef f():\n    return x")
        data = bytearray(session.dump())  # type: ignore[attr-defined]
        chance = random.Random(seed)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        loaded = backend.load(self.SPEC, bytes(data))
        if loaded is not None:
            loaded.kill()
            loaded.close()
        assert session.feed("f()") == Finished("", {"a": [1, 2.5, "b"]})


class TestTime:
    """A replay counts neither to the run's time nor to its cell's."""

    # long enough that it is reported before the pause: see `UNREPORTED_SECONDS`
    HEAVY = (COUNT.format(8_000_000), "z = ask('go on')\nprint(n)", "FINAL(z + str(n))")
    OPEN = (f"{COUNT.format(8_000_000)}\nz = ask('go on')\nFINAL(z + str(n))",)

    @pytest.mark.parametrize("codes", [HEAVY, OPEN], ids=["before", "within the open cell"])
    def test_a_resume_is_not_charged_for_it(self, never: None, codes: tuple[str, ...]) -> None:
        """A run of 15 seconds with a cell of 10 ended on its resume."""
        saver = InMemorySaver()
        graph = paused(MontyBackend(), saver, codes)
        before = graph.get_state(thread()).values["usage"]["seconds"]
        limits = {"max_seconds": before * 1.3 + 0.3, "max_cell_seconds": before / 3}
        graph = paused_again(saver, codes, limits)
        start = time.monotonic()
        out = resumed(graph)
        wall = time.monotonic() - start
        assert (out["stop_reason"], out["answer"]) == ("answered", "go on!8000000")
        charged = out["usage"]["seconds"] - before
        assert charged < wall / 2, "the most of it was a replay"

    def test_no_time_is_left_for_a_replay_that_leads_to_nothing(self, never: None) -> None:
        """Where the run's time is up, its interpreter is not rebuilt."""
        saver = InMemorySaver()
        paused(MontyBackend(), saver, self.HEAVY)
        start = time.monotonic()
        out = resumed(paused_again(saver, self.HEAVY, {"max_seconds": 0.1}))
        assert out["stop_reason"] == "max_seconds"
        assert time.monotonic() - start < 0.5

    def test_its_progress_is_told(self, never: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sessions, "TELL_SECONDS", 0.05)
        graph = paused(MontyBackend(), InMemorySaver(), self.HEAVY)
        told = [
            event
            for event in graph.stream(
                Command(resume={"type": "approve"}), thread(), stream_mode="custom"
            )
            if event["type"] == "replay"
        ]
        assert {(event["total"], event["depth"]) for event in told} == {(2, 0)}
        assert [event["done"] for event in told] == sorted(event["done"] for event in told)
        assert (told[0]["done"], told[-1]["done"]) == (0, 2)

    def test_a_run_without_a_replay_tells_nothing_of_one(self) -> None:
        graph = rlm([cell("x = 1"), cell("FINAL(x)")])
        kinds = [event["type"] for event in graph.stream({"query": "go"}, stream_mode="custom")]
        assert "replay" not in kinds

    def test_the_command_shows_it(self) -> None:
        console = Console(record=True, width=100)
        LineDisplay(console).show(
            {"type": "replay", "done": 3, "total": 8, "depth": 0, "trajectory": "t"}
        )
        assert "3 of 8 earlier cells run again" in console.export_text()

    def test_the_clock_stands_still_while_anything_is_rebuilt(self) -> None:
        clock = RunClock()
        deadline = Deadline(clock, clock.now() + 1)
        clock.stop()
        clock.stop()
        then = clock.now()
        time.sleep(0.02)
        clock.start()
        time.sleep(0.02)
        assert clock.now() == then
        clock.start()
        assert then <= clock.now() < then + 0.02
        assert 0.9 < deadline.left() <= 1


def paused_again(saver: Any, codes: tuple[str, ...], limits: dict[str, Any]) -> Any:
    """The graph of a paused run, with other limits."""
    return rlm(
        ScriptedModel(replies=[cell(code) for code in codes]),
        tools=[ask],
        interrupt_on={"ask": True},
        checkpointer=saver,
        limits=limits,
    )


def test_a_kill_after_a_heavy_cell_does_not_compute_it_again(tmp_path: Path) -> None:
    """Two seconds of computing, a kill in the next cell, and another process."""
    command = [sys.executable, "-m", "tests.heavy_process", str(tmp_path)]
    end = time.monotonic() + 60
    process = subprocess.Popen([*command, "start", "15000000"], cwd=FOLDER)
    while not (tmp_path / "waits").exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = subprocess.run(
        [*command, "resume", "15000000"], cwd=FOLDER, capture_output=True, text=True, timeout=100
    )
    out = json.loads(done.stdout)
    assert out["answer"] == "x15000000"
    assert out["again"] == [1], "the cell that waited, and not the one that computed"


def test_positions_sort_as_a_run_writes() -> None:
    written = [
        "0",
        "0/0",
        "0/0/0",
        "0.0/0",
        "0.0/0/0",
        "0.0/0/1",
        "0.0/1",
        "0.0",
        "0.1",
        "refused.0",
    ]
    written += ["1", "1.0/0", "1.0", "1.10", "2"]
    shuffled = random.Random(3).sample(written, len(written))
    assert sorted(shuffled, key=position_of) == written
    log: Any = {place: {"kind": "cell"} for place in written}
    log |= {"run.0": {"kind": "run", "turn": 0}, "run.1": {"kind": "run", "turn": 2}}
    log |= {"compaction.0": {"kind": "compaction"}}
    assert [*before(log, "0.0/1")] == [*written[:7], "run.0"]
    assert [*before(log, "2")] == [*written, "run.0", "run.1"]
