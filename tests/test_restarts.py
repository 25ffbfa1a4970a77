"""Pauses and kills across processes: approvals given elsewhere, and tools that must not run twice."""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command, interrupt

from langgraph_rlm import ThreadBusyError
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, thread
from .pay_process import graph_of
from .test_approvals import edit

FOLDER = Path(__file__).parent.parent


def play(folder: Path, **order: Any) -> list[dict[str, Any]]:
    """Steps in a new process; what came of each."""
    command = [sys.executable, "-m", "tests.pay_process", str(folder), json.dumps(order)]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def paid(folder: Path) -> list[str]:
    file = folder / "paid"
    return sorted(file.read_text().splitlines()) if file.exists() else []


class TestOtherProcesses:
    def test_an_approval_is_given_in_another_process_and_the_tool_runs_there(
        self, tmp_path: Path
    ) -> None:
        """After a restart an approved tool never ran, without a warning."""
        (paused,) = play(tmp_path, tree="tea", steps=["start"])
        assert [value["action_requests"] for value in paused["pauses"].values()] == [
            [{"name": "pay", "args": {"name": "tea", "amount": 5}}]
        ]
        assert not paid(tmp_path)
        (done,) = play(tmp_path, tree="tea", steps=[{"type": "approve"}], sync=True)
        assert json.loads(done["answer"]) == ["tea", 5]
        assert paid(tmp_path) == ["tea 5"]

    @pytest.mark.slow
    def test_twenty_pauses_on_three_levels_in_random_order_over_several_processes(
        self, tmp_path: Path
    ) -> None:
        names = iter(f"n{index}" for index in range(20))
        deep = [[next(names) for _ in range(4)] for _ in range(2)]
        tree = [
            *(next(names) for _ in range(6)),
            [deep[0], next(names), next(names), next(names)],
            [next(names), next(names), next(names), deep[1]],
        ]
        chance = random.Random(7)
        (out,) = play(tmp_path, tree=tree, steps=["start"])
        assert len(out["pauses"]) == 20
        decisions = {
            id: chance.choice(
                [
                    {"type": "approve"},
                    {
                        "decisions": [
                            edit("pay", name=name_of(value), amount=chance.randint(10, 99))
                        ]
                    },
                    {"type": "reject", "message": f"no {name_of(value)}"},
                    [{"type": "response", "args": f"not {name_of(value)}"}],
                ]
            )
            for id, value in out["pauses"].items()
        }
        order = list(decisions)
        chance.shuffle(order)
        expected = {
            name_of(out["pauses"][id]): outcome_of(name_of(out["pauses"][id]), decision)
            for id, decision in decisions.items()
        }
        steps = [
            [{id: decisions[id]} for id in order[:3]],
            [{id: decisions[id] for id in order[3:9]}],
            [{id: decisions[id]} for id in order[9:14]],
        ]
        steps += [
            [
                {id: decisions[id] for id in order[14:17]},
                *({id: decisions[id]} for id in order[17:]),
            ]
        ]
        for index, part in enumerate(steps):
            out = play(tmp_path, tree=tree, steps=part, sync=index % 2 == 1)[-1]
        assert json.loads(out["answer"]) == told(tree, expected)
        assert paid(tmp_path) == sorted(
            f"{each[0]} {each[1]}" for each in expected.values() if isinstance(each, list)
        )


def name_of(value: dict[str, Any]) -> str:
    return value["action_requests"][0]["args"]["name"]


def outcome_of(name: str, decision: Any) -> Any:
    if isinstance(decision, list):
        return f"not {name}"
    if "decisions" in decision:
        return [name, decision["decisions"][0]["edited_action"]["args"]["amount"]]
    return (
        [name, 5]
        if decision["type"] == "approve"
        else f"pay failed: rejected by a human: no {name}"
    )


def told(tree: Any, expected: dict[str, Any]) -> Any:
    return expected[tree] if isinstance(tree, str) else [told(each, expected) for each in tree]


@contextmanager
def paying(folder: Path, **order: Any) -> Iterator[None]:
    """A process that is in the middle of a payment, and is killed there."""
    command = [
        sys.executable,
        "-m",
        "tests.pay_process",
        str(folder),
        json.dumps({"seconds": 60, **order}),
    ]
    process = subprocess.Popen(
        command, cwd=FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 60
    before = len(paid(folder))
    while len(paid(folder)) == before and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1]
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("sync", [False, True])
def test_a_second_process_is_kept_off_a_thread_until_the_first_is_gone(
    tmp_path: Path, sync: bool
) -> None:
    """Nothing is paid twice by two that go on with one run, and no budget counts twice; a kill leaves nothing locked."""
    options: dict[str, Any] = {"tree": ["tea"], "approve": False, "sync": sync}
    with paying(tmp_path, steps=["start"], **options):
        with sqlite(tmp_path) as saver:
            graph = graph_of(tmp_path, options, saver)
            with pytest.raises(ThreadBusyError, match="Thread 't' is running already"):
                graph.invoke(None, thread())
            assert json.loads(graph.invoke({"query": '"jam"'}, thread("another"))["answer"]) == [
                "jam",
                5,
            ]
        assert paid(tmp_path) == ["jam 5", "tea 5"]
    with sqlite(tmp_path) as saver:
        assert json.loads(graph_of(tmp_path, options, saver).invoke(None, thread())["answer"]) == [
            ["tea", 5]
        ]
    assert paid(tmp_path) == ["jam 5", "tea 5", "tea 5"]


def sqlite(folder: Path) -> Any:
    return SqliteSaver.from_conn_string(str(folder / "db"))


class TestNotIdempotent:
    def killed_while_paying(self, folder: Path, **order: Any) -> None:
        with paying(folder, **order):
            pass

    @pytest.mark.parametrize(
        ("durability", "decision", "answer", "runs"),
        [
            ("async", {"type": "respond", "message": "was paid"}, "was paid", 1),
            pytest.param(
                "sync",
                {"type": "reject"},
                "pay failed: rejected by a human: no reason given",
                1,
                marks=pytest.mark.slow,
            ),
            pytest.param("exit", {"type": "approve"}, ["tea", 5], 2, marks=pytest.mark.slow),
        ],
        ids=["respond", "reject", "approve"],
    )
    def test_after_a_kill_in_the_middle_the_human_is_asked(
        self, tmp_path: Path, durability: str, decision: dict[str, Any], answer: Any, runs: int
    ) -> None:
        options = {"tree": ["tea"], "once": True, "approve": False, "durability": durability}
        self.killed_while_paying(tmp_path, steps=["start"], **options)
        (asked,) = play(tmp_path, steps=[None], **options)
        ((id, value),) = asked["pauses"].items()
        assert "may have run already" in value["action_requests"][0]["description"]
        assert value["review_configs"][0]["allowed_decisions"] == ["approve", "reject", "respond"]
        assert paid(tmp_path) == ["tea 5"]
        (done,) = play(tmp_path, steps=[{id: decision}], **options)
        assert json.loads(done["answer"]) == [answer]
        assert paid(tmp_path) == ["tea 5"] * runs

    @pytest.mark.slow
    def test_an_approved_call_that_was_cut_off_is_not_run_on_the_old_approval(
        self, tmp_path: Path
    ) -> None:
        options = {"tree": "tea", "once": True}
        ((id, _),) = play(tmp_path, steps=["start"], **options)[0]["pauses"].items()
        self.killed_while_paying(
            tmp_path, steps=[{id: edit("pay", name="tea", amount=7)}], **options
        )
        (asked,) = play(
            tmp_path, steps=[{id: {"type": "approve"}}], **options
        )  # the same approval, sent once more
        ((again, value),) = asked["pauses"].items()
        assert again != id
        assert value["action_requests"][0]["args"] == {"name": "tea", "amount": 7}
        self.killed_while_paying(tmp_path, steps=[{again: {"type": "approve"}}], **options)
        (asked,) = play(tmp_path, steps=[None], **options)
        (done,) = play(tmp_path, steps=[{"type": "respond", "message": "enough"}], **options)
        assert json.loads(done["answer"]) == "enough"
        assert paid(tmp_path) == ["tea 7"] * 2

    @pytest.mark.slow
    def test_other_tools_run_again(self, tmp_path: Path) -> None:
        options = {"tree": ["tea"], "approve": False, "durability": "sync"}
        self.killed_while_paying(tmp_path, steps=["start"], **options)
        (done,) = play(tmp_path, steps=[None], **options)
        assert json.loads(done["answer"]) == [["tea", 5]]
        assert paid(tmp_path) == ["tea 5"] * 2

    def test_a_cancelled_run_asks_in_the_same_process(self) -> None:
        ran: list[str] = []

        async def send(to: str) -> str:
            """Send."""
            ran.append(to)
            await asyncio.sleep(0.05 if len(ran) > 1 else 30)
            return f"sent to {to}"

        graph = rlm(
            [cell("FINAL([send('a'), send('b')])")],
            tools=[send],
            not_idempotent=["send"],
            checkpointer=InMemorySaver(),
        )

        async def cancelled() -> None:
            task = asyncio.create_task(graph.ainvoke({"query": "q"}, thread()))
            while not ran:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(cancelled())
        (pause,) = graph.invoke(None, thread())["__interrupt__"]
        assert "may have run" in pause.value["action_requests"][0]["description"]
        assert json.loads(
            graph.invoke(Command(resume={"type": "approve"}), thread())["answer"]
        ) == ["sent to a", "sent to b"]
        assert ran == ["a", "a", "b"]

    def test_an_error_is_a_result(self) -> None:
        def fails() -> str:
            """Fail."""
            raise ValueError("no luck")

        code = "try:\n    fails()\nexcept RuntimeError as error:\n    FINAL(str(error))"
        graph = rlm(
            [cell(code)], tools=[fails], not_idempotent=["fails"], checkpointer=InMemorySaver()
        )
        assert (
            graph.invoke({"query": "q"}, thread())["answer"] == "fails failed: ValueError: no luck"
        )

    def test_without_a_checkpointer_it_just_runs(self) -> None:
        def send() -> str:
            """Send."""
            return "sent"

        assert (
            rlm([cell("FINAL(send())")], tools=[send], not_idempotent=["send"]).invoke(
                {"query": "q"}
            )["answer"]
            == "sent"
        )

    def test_a_pause_of_its_own_is_not_a_doubt(self) -> None:
        def ask(question: str) -> str:
            """Ask a human."""
            return interrupt(question)

        graph = rlm(
            [cell("FINAL(ask('tea?'))")],
            tools=[ask],
            not_idempotent=["ask"],
            checkpointer=InMemorySaver(),
        )
        (pause,) = graph.invoke({"query": "q"}, thread())["__interrupt__"]
        assert pause.value == "tea?"
        assert graph.invoke(Command(resume="yes"), thread())["answer"] == "yes"


class Broken(Exception):
    """The saver is gone."""


class Breaking(InMemorySaver):
    """Stores nothing more from its write number `left` on."""

    left = 10**9

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Broken

    async def aput(self, *args: Any, **kwargs: Any) -> Any:
        self.spend()
        return await super().aput(*args, **kwargs)

    async def aput_writes(self, *args: Any, **kwargs: Any) -> None:
        self.spend()
        await super().aput_writes(*args, **kwargs)


@pytest.mark.parametrize(
    ("approved", "durability"),
    [
        (False, "async"),
        pytest.param(True, "async", marks=pytest.mark.slow),
        pytest.param(True, "exit", marks=pytest.mark.slow),
    ],
)
def test_a_saver_that_breaks_at_any_write_never_makes_such_a_tool_run_twice(
    approved: bool, durability: str
) -> None:
    """At every write in turn: whoever goes on, with a graph made anew, is asked, or finds the result."""
    sub = ScriptedModel(
        replies=[
            cell(
                "try:\n    got = send('a')\nexcept RuntimeError as error:\n    got = str(error)\nFINAL(got)"
            )
        ]
    )
    asked = 0

    async def play_with(writes: int) -> tuple[int, str, Breaking]:
        ran: list[str] = []

        async def send(to: str) -> str:
            """Send."""
            ran.append(to)
            return f"sent to {to}"

        def made() -> Any:
            options: Any = {
                "sub": sub,
                "limits": {"max_depth": 2},
                "tools": [send],
                "interrupt_on": {"send": approved},
            }
            return rlm(
                [cell("FINAL(rlm_query('go'))")],
                not_idempotent=["send"],
                checkpointer=saver,
                **options,
            )

        saver, given, out = Breaking(), {"query": "q"}, dict[str, Any]()
        saver.left = writes
        for _ in range(6):
            try:
                out = await made().ainvoke(given, thread(), durability=durability)
            except Broken:
                saver.left, began = 10**9, bool(saver.storage)
                given = None if began else {"query": "q"}
                continue
            if "__interrupt__" not in out:
                break
            (pause,) = out["__interrupt__"]
            unsure = "description" in pause.value["action_requests"][0]
            given = Command(
                resume={
                    pause.id: {"type": "respond", "message": "was sent"}
                    if unsure
                    else {"type": "approve"}
                }
            )
        return len(ran), out["answer"], saver

    runs, answer, saver = asyncio.run(play_with(10**9))
    assert (runs, answer) == (1, "sent to a")
    for writes in range(1, 10**9 - saver.left):
        runs, answer, _ = asyncio.run(play_with(writes))
        assert runs <= 1, f"broken at write {writes}"
        assert answer in ("sent to a", "was sent"), f"broken at write {writes}"
        asked += answer == "was sent"
    assert asked


class Stuck(ScriptedModel):
    """Answers twenty calls, and no more."""

    async def _agenerate(self, messages: list[Any], *args: Any, **kwargs: Any) -> Any:
        if self.calls >= 20:
            await asyncio.Event().wait()
        return await super()._agenerate(messages, *args, **kwargs)


async def test_a_limit_on_langgraphs_tasks_delays_no_save() -> None:
    """LangGraph's own `max_concurrency`, which `batch` sets too, has the saves of finished calls wait behind all calls that are open."""
    saver = InMemorySaver()
    graph = rlm(
        [cell("llm_query_batched([f'{n}' for n in range(60)])")],
        sub=Stuck(answer=str),
        checkpointer=saver,
    )
    run = asyncio.create_task(graph.ainvoke({"query": "go"}, {**thread(), "max_concurrency": 2}))

    async def saved() -> int:
        state = await saver.aget_tuple(thread())
        writes = [] if state is None else state.pending_writes or []
        return sum(len(new) for _, channel, new in writes if channel == "log")

    async with asyncio.timeout(20):
        while await saved() < 20:
            await asyncio.sleep(0.01)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
