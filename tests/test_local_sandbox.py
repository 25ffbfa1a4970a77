"""What the sandboxes with CPython do beyond the contract.

The user's packages are there, processes end, and nothing that a worker sends is believed.
"""

import os
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

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.repl.base import Finished, Returned, SandboxCrashed, Session, Suspended
from langgraph_rlm.repl.contract.check import Opener
from langgraph_rlm.repl.local import LocalBackend
from langgraph_rlm.repl.python import PythonBackend
from tests.jails import needs_a_jail

pytestmark = pytest.mark.filterwarnings("ignore:sandbox='local' is not a sandbox")

SPEC = """
from datetime import UTC, datetime
from langgraph_rlm.repl.base import SessionSpec
from langgraph_rlm.repl.local import LocalBackend
spec = SessionSpec(frozenset(), {}, datetime(2026, 1, 2, tzinfo=UTC), "seed", 1 << 26)
"""

FIND_SOCKET = """
import os, stat
there = [fd for fd in range(3, 8192) if os.path.exists(f"/proc/self/fd/{fd}")]
fd = next(fd for fd in there if stat.S_ISSOCK(os.fstat(fd).st_mode))
"""
FRAME = (
    "def frame(body, kind=b'J'):\n    os.write(fd, kind + len(body).to_bytes(8, 'big') + body)\n"
)


@pytest.fixture
def others() -> set[int]:
    """Child processes that other tests have left running."""
    return {child.pid for child in psutil.Process().children()}


BACKENDS = [
    LocalBackend,
    pytest.param(lambda: PythonBackend(spares=0), marks=needs_a_jail),
]


@pytest.fixture(params=BACKENDS, ids=["local", "python"])
def open_session(request: pytest.FixtureRequest) -> Iterator[Opener]:
    backend = request.param()
    yield Opener(backend)
    backend.close()


@pytest.fixture
def open_local() -> Iterator[Opener]:
    """Opens sessions that are not jailed."""
    backend = LocalBackend()
    yield Opener(backend)
    backend.close()


def value_of(session: Session, code: str) -> Any:
    """Run a cell that must end well without a call, and give its value."""
    outcome = session.feed(code)
    assert isinstance(outcome, Finished)
    assert outcome.error is None, outcome.error.traceback
    return outcome.value


def in_new_process(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", SPEC + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_says_once_that_it_is_no_sandbox() -> None:
    done = in_new_process(
        "backend = LocalBackend()\nfor _ in range(3):\n    backend.open(spec)\nLocalBackend().open(spec)\nbackend.close()"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is not a sandbox") == 1


def test_without_time_machine_it_names_the_command(
    open_session: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "time_machine", None)
    with pytest.raises(SandboxError, match=r"pip install 'langgraph-rlm\[local\]'"):
        open_session()


def test_the_environment_holds_what_is_listed_and_nothing_else(open_session: Opener) -> None:
    allowed = {"PATH", "LANG", "HOME", "TMPDIR", "TZ", "PYTHONHASHSEED", "MPLBACKEND"} | {
        f"{name}_NUM_THREADS" for name in ("OPENBLAS", "OMP", "MKL")
    }
    names = value_of(open_session(), "import os\nlist(os.environ)")
    assert {name for name in names if not name.startswith("LC_")} <= allowed


def test_code_works_in_a_folder_of_its_own_that_goes_away(open_session: Opener) -> None:
    session = open_session()
    folder = Path(value_of(session, "import os\nopen('made.txt', 'w').write('x')\nos.getcwd()"))
    assert (folder / "made.txt").read_text() == "x"
    session.close()
    assert not folder.exists()


def test_the_users_packages_are_there_and_their_values_arrive_plain(open_session: Opener) -> None:
    session = open_session()
    suspended = session.feed(
        "import numpy as np\nllm_query(np.float64(1.5), np.int64(2), np.arange(3), {'a': np.bool_(True)}, n=np.str_('x'))"
    )
    assert isinstance(suspended, Suspended)
    assert suspended.call.args == (1.5, 2, [0, 1, 2], {"a": True})
    assert suspended.call.kwargs == {"n": "x"}
    assert session.resume(Returned("ok")) == Finished("", "ok")


@pytest.mark.parametrize(
    "code",
    [
        "import numpy as np\n[np.random.rand(), np.random.default_rng().random()]",
        "import uuid, secrets\n[uuid.uuid4(), secrets.token_hex(), uuid.uuid1().time]",
        "import random\nrandom.SystemRandom().random()",
        "import time, datetime\n[time.time(), time.process_time(), time.strftime('%c'), datetime.datetime.now().astimezone()]",
        "class Own:\n    pass\n[Own(), {Own}, print, lambda: 1]",
    ],
)
def test_what_differs_from_run_to_run_elsewhere_is_equal_in_two_sessions(
    open_session: Opener, code: str
) -> None:
    first, second = value_of(open_session(), code), value_of(open_session(), code)
    assert first == second


def test_another_seed_gives_numpy_other_numbers(open_session: Opener) -> None:
    code = "import numpy as np\n[np.random.rand(), np.random.default_rng().random()]"
    assert value_of(open_session(seed="a"), code) != value_of(open_session(seed="b"), code)


def test_what_monty_lacks_is_here(open_session: Opener) -> None:
    code = """
    import dataclasses, pickle, re
    @dataclasses.dataclass
    class Base:
        n: int
    class Own(Base):
        @property
        def double(self):
            return self.n * 2
    def numbers():
        yield from (1, 2)
    x = pickle.loads(pickle.dumps(Own(4)))
    del Base
    [x.double, list(numbers()), re.sub("a", lambda match: "b", "cat"), 'x' in globals()]
    """
    assert value_of(open_session(), textwrap.dedent(code)) == [8, [1, 2], "cbt", True]


def test_standard_error_is_captured_and_nothing_reaches_the_hosts_streams(
    open_local: Opener, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = open_local().feed(
        "import os, sys\nprint('a', file=sys.stderr)\nsys.stdout.write('b\\n')\nos.system('echo c')\nos.write(1, b'd')\nNone"
    )
    assert outcome == Finished("a\nb\n")
    assert capfd.readouterr() == ("", "")


def test_an_error_inside_a_library_shows_the_cells_frames_alone(open_session: Opener) -> None:
    outcome = open_session().feed(
        "import json\ntry:\n    json.loads('{')\nexcept ValueError as error:\n    raise KeyError('k') from error"
    )
    assert isinstance(outcome, Finished)
    assert outcome.error is not None
    assert (
        outcome.error.traceback.count("File ")
        == outcome.error.traceback.count('File "<python-input-0>"')
        == 2
    )
    assert "json.loads('{')" in outcome.error.traceback


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos._exit(0)",
        "import ctypes\nctypes.string_at(0)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "import os\nos.closerange(3, 8192)",
    ],
)
def test_a_worker_that_dies_is_reported_and_reaped(
    others: set[int], open_session: Opener, code: str
) -> None:
    session = open_session()
    with pytest.raises(SandboxCrashed):
        session.feed(code)
    assert {child.pid for child in psutil.Process().children()} <= others
    assert value_of(open_session(), "1 + 1") == 2


@pytest.mark.parametrize(
    "forged",
    [
        "os.write(fd, b'J' + b'\\xff' * 8)",
        "os.write(fd, b'?' + bytes(8))",
        "frame(b'not json')",
        "frame(b'\\xff\\xfe')",
        "frame(b'[' * 100000)",
        "frame(b'9' * 10000)",
        "frame(b'null')",
        "frame(b'{}')",
        'frame(b\'{"call": "os.system", "args": ["true"], "kwargs": {}}\')',
        'frame(b\'{"call": "llm_query", "args": {}, "kwargs": []}\')',
        'frame(b\'{"call": ["llm_query"]}\')',
        'frame(b\'{"lazy": "secret"}\')',
        "frame(b'{\"lazy\": [[]]}')",
        'frame(b\'{"stdout": 1, "value": null, "error": null}\')',
        'frame(b\'{"stdout": "", "value": null, "error": {"type": 1}}\')',
        "import pickle\nframe(pickle.dumps(print))",
    ],
)
def test_a_forged_frame_ends_the_session_and_nothing_else(
    others: set[int], open_session: Opener, forged: str
) -> None:
    session = open_session()
    with pytest.raises(SandboxCrashed):
        session.feed(f"{FIND_SOCKET}{FRAME}{forged}\nwhile True:\n    pass")
    assert {child.pid for child in psutil.Process().children()} <= others
    with pytest.raises(SandboxCrashed):
        session.feed("1")


def test_processes_that_code_starts_end_with_the_session(open_local: Opener) -> None:
    session = open_local()
    child = value_of(session, "import subprocess\nsubprocess.Popen(['sleep', '1000']).pid")
    assert psutil.pid_exists(child)
    session.kill()
    assert gone(child)


def test_a_fork_of_the_guest_cannot_speak_for_it(open_local: Opener) -> None:
    session = open_local()
    outcome = session.feed(
        "import os\npid = os.fork()\nif pid == 0:\n    llm_query('from the child')\nos.waitpid(pid, 0)[1] != 0"
    )
    assert outcome == Finished("", True)
    assert (
        value_of(session, "pid = os.fork()\nos.waitpid(pid, 0)[0] == pid if pid else 'child'")
        is True
    )
    assert value_of(session, "1 + 1") == 2


def test_another_thread_may_read_the_context_but_not_call_the_host(open_session: Opener) -> None:
    code = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda n: context[n], range(4)))
        refused = pool.submit(llm_query, "a").exception()
    [read, str(refused)]
    """
    read, refused = value_of(open_session(), textwrap.dedent(code))
    assert read == list("the ")
    assert "main thread only; llm_query_batched" in refused


def test_the_worker_and_its_folder_go_when_the_host_is_killed() -> None:
    code = (
        "import psutil\nsession = LocalBackend().open(spec)\n"
        "print(psutil.Process().children()[0].pid, session.feed('import os\\nos.getcwd()').value, flush=True)\n"
        "session.feed('while True: pass')"
    )
    host = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SPEC + code], stdout=subprocess.PIPE, text=True
    )
    assert host.stdout is not None
    worker, folder = host.stdout.readline().split()
    assert Path(folder).is_dir()
    host.stdout.close()
    os.kill(host.pid, signal.SIGKILL)
    host.wait()
    assert gone(int(worker))
    assert not Path(folder).exists()


def test_a_full_heap_is_an_error_from_which_the_session_recovers(open_session: Opener) -> None:
    session = open_session(max_heap_bytes=64 << 20)
    outcome = session.feed("rows = []\nwhile True:\n    rows.append('a' * 100_000)")
    assert isinstance(outcome, Finished)
    assert outcome.error is not None
    assert outcome.error.type == "MemoryError"
    assert value_of(session, "rows = len(rows) > 0\nrows") is True
    assert value_of(session, "'a' * (32 << 20) != ''") is True


def test_the_heap_limit_holds_in_real_memory(open_session: Opener) -> None:
    session = open_session(max_heap_bytes=64 << 20)
    pid = value_of(session, "import os\nos.getpid()")
    session.feed("rows = []\nwhile True:\n    rows.append(bytearray(b'a' * 100_000))")
    assert psutil.Process(pid).memory_info().rss < 512 << 20


def test_a_value_too_large_to_hand_over_is_the_cells_error(open_session: Opener) -> None:
    session = open_session(max_heap_bytes=1 << 20)
    outcome = session.feed("x = 'a' * (20 << 20)\nllm_query(x)")
    assert isinstance(outcome, Finished)
    assert outcome.error is not None
    assert "send a smaller piece" in outcome.error.message
    assert value_of(session, "1") == 1
    outcome = session.feed("x")
    assert isinstance(outcome, Finished)
    assert outcome.error is not None
    assert value_of(session, "1") == 1


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Tell whether a process ends in time; one that nobody has reaped yet has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False
