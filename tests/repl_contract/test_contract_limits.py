"""What every REPL backend promises about limits, determinism and isolation. Where one legitimately differs, the test says why."""

import os
import re
import threading
import time
from typing import Any

import psutil
import pytest

from langgraph_rlm.repl.base import Backend, Raised, Returned, SandboxCrashed, Session, Suspended

from . import CLOCK, MEGABYTE, Open, failed, ran, rss, run

pytestmark = pytest.mark.filterwarnings("ignore:sandbox='local' is not a sandbox")


class TestLimits:
    @pytest.mark.parametrize("code", ["while True:\n    pass", "n = 0\nwhile True:\n    n = n + 1"])
    def test_an_endless_loop_ends_when_killed(self, open_session: Open, code: str) -> None:
        session = open_session()
        threading.Timer(0.3, session.kill).start()
        started = time.monotonic()
        with pytest.raises(SandboxCrashed):
            session.feed(code)
        assert time.monotonic() - started < 3

    def test_a_killed_session_stays_lost_and_a_new_one_opens(self, open_session: Open) -> None:
        session = open_session()
        session.feed("llm_query('a')")
        session.kill()
        for _ in range(2):
            with pytest.raises(SandboxCrashed):
                session.feed("1")
        session.kill()
        session.close()
        session.close()
        assert ran(open_session(), "1 + 1").value == 2

    def test_a_kill_during_a_pause_is_seen_by_the_answer(self, open_session: Open) -> None:
        session = open_session()
        session.feed("llm_query('a')")
        session.kill()
        with pytest.raises(SandboxCrashed):
            session.resume(Returned("reply"))

    @pytest.mark.parametrize(
        "code",
        [
            "x = 'a' * 10**10",
            "x = []\nwhile True:\n    x.append('a' * 1000000)",
            "x = [0] * 10**10",
            "x = 'a'\nwhile True:\n    x = x + x",
            "x = 2 ** (10**11)",
        ],
    )
    def test_a_memory_bomb_harms_no_one(self, open_session: Open, code: str) -> None:
        session, before = open_session(), rss()
        try:
            assert failed(session, code) in {"MemoryError", "OverflowError"}
            assert ran(session, "x = 1\nx").value == 1
        except SandboxCrashed:
            assert ran(open_session(), "1").value == 1
        assert rss() - before < 50 * MEGABYTE

    def test_closing_leaves_no_process_and_no_open_file(
        self, backend: Backend, open_session: Open
    ) -> None:
        """Monty keeps its worker for the next session, so the count must not grow rather than be zero."""
        open_session().close()
        me = psutil.Process()
        zombies = [child.pid for child in me.children() if child.status() == psutil.STATUS_ZOMBIE]
        before = me.num_fds(), len(me.children(recursive=True))
        for _ in range(5):
            session = open_session()
            ran(session, "1")
            session.close()
        assert (me.num_fds(), len(me.children(recursive=True))) <= before
        assert [
            child.pid for child in me.children() if child.status() == psutil.STATUS_ZOMBIE
        ] == zombies


class TestDeterminism:
    CELLS = (
        "import random, time, datetime\nitems = {'pear', 'apple', 'fig', 'kiwi'}\nprint(items, list(items), hash('apple'))",
        "print(random.random(), random.randint(1, 1000), random.choice('abcdef'))\nrows = list(range(20))\nrandom.shuffle(rows)\nrows",
        "print(time.time(), datetime.datetime.now(), datetime.date.today())",
        "replies = [llm_query(f'{name} {random.random()}') for name in items]\nreplies",
        "time.sleep(0.01)\ntime.time()",
        "counts = {}\nfor reply in replies:\n    counts[reply] = counts.get(reply, 0) + 1\nprint(counts)\n1 / 0",
        "try:\n    tool(sorted(counts))\nexcept ValueError as error:\n    print('caught', error)",
        "def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\nf(15)",
        "import re, json\njson.dumps(re.findall('[a-z]+', context))",
        "print(sorted(items, key=hash), f)",
        "x = [tool]\nx[0]({'b', 'a'})",
    )

    def transcript(self, session: Session) -> list[Any]:
        """Outcomes and calls of the cells, every third call failing."""
        told: list[Any] = []
        for code in self.CELLS:
            outcome = session.feed(code)
            while isinstance(outcome, Suspended):
                told.append(outcome)
                outcome = session.resume(
                    Raised("ValueError", "no")
                    if outcome.call.function == "tool"
                    else Returned(f"r{len(told) % 2}")
                )
            told.append(outcome)
        return told

    def test_the_same_cells_and_answers_do_the_same(self, open_session: Open) -> None:
        """Addresses that CPython prints are left out: the replay ignores them too."""
        first, second = (
            re.sub(r"0x[0-9a-f]+", "", repr(self.transcript(open_session()))) for _ in range(2)
        )
        assert first == second

    def test_the_clock_stands_still_at_the_specs_instant(self, open_session: Open) -> None:
        code = "import time, datetime\n[time.time(), str(datetime.datetime.now()), str(datetime.datetime.now(datetime.timezone.utc))]"
        expected = [CLOCK.timestamp(), "2026-01-02 03:04:05", "2026-01-02 03:04:05+00:00"]
        session = open_session()
        assert ran(session, code).value == expected
        time.sleep(0.05)
        assert ran(session, code).value == expected
        assert ran(open_session(), code).value == expected

    def test_stopwatches_and_sleeps_take_no_time(self, open_session: Open) -> None:
        started = time.monotonic()
        assert (
            ran(
                open_session(),
                "import time\nt = time.perf_counter()\ntime.sleep(60)\ntime.perf_counter() - t",
            ).value
            == 0
        )
        assert time.monotonic() - started < 30

    def test_the_seed_decides_what_random_gives(self, open_session: Open) -> None:
        code = "import random\n[random.random(), random.randint(0, 10**6), random.sample(range(100), 3)]"
        one, same, other = (ran(open_session(seed=seed), code).value for seed in ("a", "a", "b"))
        assert one == same
        assert one != other


class TestIsolation:
    @pytest.mark.parametrize(
        "code",
        [
            "import os\nos.environ['RLM_TEST_API_KEY']",
            "import os\nstr(os.environ)",
            "import os\nos.getenv('RLM_TEST_API_KEY')",
            "open('/proc/self/environ').read()",
            "__import__('subprocess').check_output('env').decode()",
        ],
    )
    def test_code_cannot_read_the_hosts_environment(
        self, open_session: Open, monkeypatch: pytest.MonkeyPatch, code: str
    ) -> None:
        monkeypatch.setitem(os.environ, "RLM_TEST_API_KEY", "s3cr3t-value")
        finished, _ = run(open_session(), code)
        assert "s3cr3t-value" not in repr(finished)
