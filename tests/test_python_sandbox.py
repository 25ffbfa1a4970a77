"""What `sandbox="python"` promises to its users: all of Python, in a jail that says what it is."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from langgraph_rlm.errors import ConfigurationError, SandboxError
from langgraph_rlm.processes import folder as own_folder
from langgraph_rlm.processes import jail, jail_filter
from langgraph_rlm.processes.folder import remove_tree
from langgraph_rlm.processes.jail_calls import (
    ABSENT,
    ATTRIBUTES,
    FREE,
    MACHINES,
    OWN,
    RULED,
    numbers,
)
from langgraph_rlm.repl import open_backend, python
from langgraph_rlm.repl.base import Finished, SandboxCrashed, Session
from langgraph_rlm.repl.contract.check import Opener
from langgraph_rlm.repl.escapes import escapes
from langgraph_rlm.repl.python import PythonBackend
from langgraph_rlm.testing import ScriptedModel, cell
from tests.jails import needs_a_jail

from .models import rlm, root

HOST = """
from datetime import UTC, datetime
import os, psutil
from langgraph_rlm.repl.base import SessionSpec
from langgraph_rlm.repl.python import PythonBackend
spec = SessionSpec(frozenset(), {}, datetime(2026, 1, 2, tzinfo=UTC), "seed", 1 << 26)
backend = PythonBackend()
session = backend.open(spec)
"""


@pytest.fixture
def backend() -> Iterator[PythonBackend]:
    made = PythonBackend()
    yield made
    made.close()


@pytest.fixture
def open_session(backend: PythonBackend) -> Opener:
    return Opener(backend)


def value_of(session: Session, code: str) -> Any:
    """Run a cell that must end well without a call, and give its value."""
    outcome = session.feed(textwrap.dedent(code))
    assert isinstance(outcome, Finished)
    assert outcome.error is None, outcome.error.traceback
    return outcome.value


def error_of(session: Session, code: str) -> str:
    """Run a cell that must fail, and give what the model reads."""
    outcome = session.feed(textwrap.dedent(code))
    assert isinstance(outcome, Finished)
    assert outcome.error is not None, outcome
    return outcome.error.traceback


def ends(pid: int, seconds: float = 5.0) -> bool:
    """Tell whether a process ends in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


@needs_a_jail
class TestWhatCodeHas:
    def test_a_run_answers_with_all_of_python(self) -> None:
        code = """
        import csv, io, statistics
        class Base:
            def double(self):
                return self.n * 2
        class Own(Base):
            n = 4
        def numbers():
            yield from (1, 2)
        rows = list(csv.reader(io.StringIO("a,b")))
        FINAL([Own().double(), next(numbers()), rows, statistics.mean([1, 3])])
        """
        out = rlm(root(textwrap.dedent(code)), sandbox="python").invoke({"query": "q"})
        assert out["answer"] == '[8,1,[["a","b"]],2]'

    def test_nested_rlms_work_too(self) -> None:
        model = ScriptedModel(
            answer=lambda text: cell(
                "FINAL('7')" if "how many" in text else "FINAL(rlm_query('how many?'))"
            )
        )
        limits = {"max_depth": 2}
        assert (
            rlm(model, sub=model, sandbox="python", limits=limits).invoke({"query": "q"})["answer"]
            == "7"
        )

    @pytest.mark.parametrize(
        "code",
        [
            "import threading\nx = []\nt = threading.Thread(target=x.append, args=(1,))\nt.start()\nt.join()\nx == [1]",
            "import asyncio\nasyncio.run(asyncio.sleep(0, True))",
            "from concurrent.futures import ThreadPoolExecutor\nlist(ThreadPoolExecutor(3).map(abs, [-1])) == [1]",
            "import sqlite3\nc = sqlite3.connect('x.db')\nc.execute('create table t(a)')\nc.commit()\nc.execute('select count(*) from t').fetchone() == (0,)",
            "import tempfile\nwith tempfile.TemporaryDirectory() as d, tempfile.NamedTemporaryFile() as f, tempfile.TemporaryFile() as g:\n    g.write(b'x')\nTrue",
            "import shutil, pathlib\npathlib.Path('a').write_text('x')\nshutil.copy2('a', 'b')\nshutil.move('b', 'c')\nshutil.make_archive('z', 'zip', '.')\npathlib.Path('c').exists()",
            "import os, shutil\nos.makedirs('d/e')\nos.rename('d/e', 'f')\nshutil.rmtree('d')\nos.listdir('f') == []",
            "import zoneinfo\nstr(zoneinfo.ZoneInfo('Europe/Berlin')) == 'Europe/Berlin'",
            "import ssl, hashlib, lzma, decimal, uuid, secrets, ctypes\nlen(hashlib.sha256(b'x').hexdigest()) == 64",
            "import numpy as np\na = np.ones((300, 300))\nnp.save('a.npy', a)\nbool((np.load('a.npy', mmap_mode='r') @ a).sum() == 300 ** 3)",
            "import platform\nplatform.system() == 'Linux' and platform.processor() is not None",
            "import logging, warnings, subprocess, multiprocessing, socket\nTrue",
        ],
    )
    def test_usual_things_work(self, open_session: Opener, code: str) -> None:
        assert value_of(open_session(max_heap_bytes=256 << 20), code) is True

    def test_matplotlib_draws(self, open_session: Opener) -> None:
        code = "import os\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.savefig('p.png')\nos.path.getsize('p.png') > 1000"
        assert value_of(open_session(max_heap_bytes=512 << 20), code) is True

    def test_without_packages_there_is_the_standard_library_alone(self) -> None:
        backend = PythonBackend(packages=False)
        session = Opener(backend)()
        assert "numpy" not in backend.notes
        assert value_of(session, "import statistics, sqlite3\nstatistics.mean([1, 3])") == 2
        assert "ModuleNotFoundError" in error_of(session, "import numpy")
        backend.close()

    def test_it_reads_what_it_is_given(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "data.txt").write_text("data")
        (tmp_path / "other.txt").write_text("other")
        backend = PythonBackend(readable=[tmp_path / "in"])
        session = Opener(backend)()
        assert value_of(session, f"open('{tmp_path}/in/data.txt').read()") == "data"
        assert "is jailed" in error_of(session, f"open('{tmp_path}/in/data.txt', 'w')")
        assert "is jailed" in error_of(session, f"open('{tmp_path}/other.txt')")
        backend.close()

    def test_listings_are_sorted(self, open_session: Opener) -> None:
        code = """
        import glob, os, pathlib
        for name in "qwertzuiop":
            open(name, "w").close()
        found = [os.listdir(), [e.name for e in os.scandir()], glob.glob("*")]
        found += [[p.name for p in pathlib.Path().iterdir()], next(os.walk("."))[2]]
        found
        """
        assert value_of(open_session(), code) == [sorted("qwertzuiop")] * 5


@needs_a_jail
class TestWhatCodeIsTold:
    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("open('/etc/passwd')", "working folder alone"),
            ("open('/tmp/x', 'w')", "working folder alone"),
            ("import os\nos.listdir('/')", "working folder alone"),
            ("import subprocess\nsubprocess.run(['ls'])", "no processes or programs"),
            ("import os\nos.system('ls')", "no processes or programs"),
            ("import os\nos.fork()", "no processes or programs"),
            (
                "import multiprocessing\nmultiprocessing.Process(target=print).start()",
                "no processes or programs",
            ),
            ("import multiprocessing\nmultiprocessing.Pool(2)", "no processes"),
            ("import socket\nsocket.create_connection(('example.org', 80))", "no network"),
            ("import urllib.request\nurllib.request.urlopen('http://example.org')", "no network"),
            ("import os\nos.kill(1, 9)", "is jailed"),
        ],
    )
    def test_an_error_says_that_it_is_jailed(
        self, open_session: Opener, code: str, words: str
    ) -> None:
        told = error_of(open_session(), code)
        assert words in told
        assert "this Python is jailed" in told.splitlines()[-1]

    def test_code_that_catches_the_error_reads_it_too(self, open_session: Opener) -> None:
        code = "import subprocess\ntry:\n    subprocess.run(['ls'])\nexcept OSError as error:\n    text = str(error)\ntext"
        assert "Threads work" in value_of(open_session(), code)

    def test_another_error_is_left_as_it_is(self, open_session: Opener) -> None:
        session = open_session()
        assert "jailed" not in error_of(session, "open('nothing.txt')")
        assert "jailed" not in error_of(session, "raise PermissionError('mine')")

    def test_the_prompt_is_made_of_facts(self, backend: PythonBackend) -> None:
        assert f"CPython {sys.version_info.major}.{sys.version_info.minor}" in backend.notes
        assert "numpy" in backend.notes and "sklearn" not in backend.notes
        assert "no network" in backend.notes


@needs_a_jail
class TestBounds:
    def test_too_many_bytes_end_the_session_and_say_so(self) -> None:
        backend = PythonBackend(folder_bytes=1 << 20)
        session = Opener(backend)()
        with pytest.raises(SandboxCrashed, match="more than the 1048576 that they may"):
            session.feed(
                "for n in range(9): open(str(n), 'wb').write(bytes(1 << 19))\nwhile True: pass"
            )
        backend.close()

    def test_what_a_short_cell_wrote_is_counted_at_its_end(self) -> None:
        backend = PythonBackend(folder_bytes=1 << 20)
        session = Opener(backend)()
        session.feed("1")
        with pytest.raises(SandboxCrashed, match="that they may"):
            session.feed("for n in range(9): open(str(n), 'wb').write(bytes(1 << 19))")
        backend.close()

    def test_nothing_runs_between_cells(self, open_session: Opener) -> None:
        code = """
        import threading
        n = [0]
        def count():
            while True:
                n[0] += 1
        threading.Thread(target=count, daemon=True).start()
        """
        session = open_session()
        session.feed(textwrap.dedent(code))
        pid = value_of(session, "import os\nos.getpid()")
        time.sleep(0.05)
        before = psutil.Process(pid).cpu_times()
        time.sleep(0.3)
        assert psutil.Process(pid).cpu_times() == before
        assert value_of(session, "n[0] > 0") is True

    @pytest.mark.parametrize(
        "guest",
        [
            "while True: pass",
            "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
            "import ctypes, sys\nsys.setswitchinterval(1e9)\nctypes.PyDLL(None).pause()",
            "import os\nos.closerange(3, 99)\nwhile True: pass",
            "import ctypes\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\nwhile True: pass",
        ],
    )
    def test_a_guest_ends_with_its_host(self, guest: str) -> None:
        code = f"{HOST}\nprint(session.feed('import os\\nos.getpid()').value, flush=True)\nsession.feed({guest!r})"
        host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert host.stdout is not None
        worker = int(host.stdout.readline())
        children = psutil.Process(host.pid).children()
        time.sleep(0.3)
        os.kill(host.pid, signal.SIGKILL)
        host.wait()
        host.stdout.close()
        assert all(ends(pid) for pid in [worker, *(child.pid for child in children)])

    def test_folders_of_a_killed_host_go_later(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        code = f"{HOST}\nprint(session.feed('import os\\nos.getcwd()').value, flush=True)\nos.kill(os.getpid(), 9)"
        environment = {**os.environ, "TMPDIR": str(tmp_path)}

        def run() -> Path:
            return Path(
                subprocess.run(
                    [sys.executable, "-c", code],
                    capture_output=True,
                    text=True,
                    env=environment,
                    check=False,
                ).stdout.strip()
            )

        left = run()
        assert left.is_dir()
        before = time.time() - own_folder.SETTLED_SECONDS - 1
        os.utime(left, (before, before))
        young = run()
        assert not left.exists()
        assert young.is_dir()

    def test_a_folder_that_another_process_has_just_removed_is_let_be(self, tmp_path: Path) -> None:
        """Both had opened it; the lock comes free once the other is done."""
        folder = tmp_path / f"{own_folder.PREFIX}x"
        folder.mkdir()
        held = os.open(folder, os.O_RDONLY)
        later = time.time() + 1
        assert own_folder._is_left(held, folder, later)
        own_folder.remove_tree(str(folder))
        assert not own_folder._is_left(held, folder, later)
        os.close(held)

    def test_a_folder_goes_however_deep_it_is_and_whatever_its_modes(self, tmp_path: Path) -> None:
        top = tmp_path / "top"
        top.mkdir()
        (top / "link").symlink_to(tmp_path)
        (tmp_path / "kept").write_text("x")
        here = os.getcwd()
        os.chdir(top)
        try:
            for _ in range(1500):
                os.mkdir("d", 0o700)
                os.chdir("d")
            os.mkdir("without", 0)
        finally:
            os.chdir(here)
        remove_tree(str(top))
        assert not top.exists()
        assert (tmp_path / "kept").exists()


@needs_a_jail
class TestSpares:
    def test_a_spare_is_ready_for_the_next_session_and_goes_when_idle(
        self, backend: PythonBackend
    ) -> None:
        def children() -> set[int]:
            return {child.pid for child in psutil.Process().children()}

        backend.release_idle()
        before = children()
        first = Opener(backend)()
        deadline = time.monotonic() + 10
        while len(children() - before) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        spare = children() - before - {value_of(first, "import os\nos.getpid()")}
        assert len(spare) == 1
        assert {value_of(Opener(backend)(), "import os\nos.getpid()")} == spare
        backend.close()
        assert all(ends(pid) for pid in children() - before)

    def test_a_spare_that_has_died_is_replaced(self, backend: PythonBackend) -> None:
        backend.release_idle()
        before = {child.pid for child in psutil.Process().children()}
        session = Opener(backend)()
        own = value_of(session, "import os\nos.getpid()")
        time.sleep(0.5)
        for child in psutil.Process().children():
            if child.pid not in before and child.pid != own:
                child.kill()
                assert ends(child.pid)
        assert value_of(Opener(backend)(), "1 + 1") == 2

    def test_a_forked_host_has_workers_of_its_own(self) -> None:
        code = f"""{HOST}
child = os.fork()
if child == 0:
    ok = backend.open(spec).feed("1 + 1").value == 2
    os._exit(0 if ok else 1)
print(os.waitpid(child, 0)[1], session.feed("2 + 2").value)
backend.close()
"""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.split() == ["0", "4"], done.stderr


class TestWhereItCannotBe:
    def test_another_system_is_refused_with_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "platform", "darwin")
        with pytest.raises(
            SandboxError, match=r"needs Linux, and this is darwin. Use sandbox='monty'"
        ):
            Opener(PythonBackend())()

    def test_another_machine_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("platform.machine", lambda: "riscv64")
        assert "riscv64" in jail.obstacle() or sys.platform != "linux"

    @needs_a_jail
    def test_a_worker_that_cannot_be_jailed_runs_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It says so instead, and the session is not opened."""
        monkeypatch.setattr(
            python.PythonSession,
            "bounds",
            lambda self: {"read": [], "library": [], "file_bytes": 1, "parent": 1},
        )
        with pytest.raises(SandboxError, match="has ended"):
            Opener(PythonBackend())()

    @needs_a_jail
    def test_it_is_tried_for_real(self, open_session: Opener) -> None:
        assert escapes(open_session()) == ""

    def test_it_is_known_by_its_name(self) -> None:
        assert open_backend("python").name == "python"

    @pytest.mark.parametrize(
        "options", [{"readable": ["/no/such/file"]}, {"folder_bytes": 0}, {"spares": -1}]
    )
    def test_options_out_of_range_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            PythonBackend(**options)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_of_each_machine_is_whole(machine: str) -> None:
    """Jumps stay inside the program, and every way through it ends in a verdict."""
    steps = list(re.findall(rb"(?s).{8}", jail_filter.program(machine, 1)))
    assert len(steps) < 4096
    for place, step in enumerate(steps):
        operation, yes, no = int.from_bytes(step[:2], "little"), step[2], step[3]
        if operation & 7 == 5:
            assert place + 1 + max(yes, no) < len(steps)
    assert int.from_bytes(steps[-1][:2], "little") == jail_filter.RETURN


def test_no_call_is_in_two_lists() -> None:
    for machine in MACHINES:
        lists = [numbers(items, machine) for items in (FREE, RULED, ABSENT, ATTRIBUTES, OWN)]
        every = [number for found in lists for number in found.values()]
        assert len(every) == len(set(every))
