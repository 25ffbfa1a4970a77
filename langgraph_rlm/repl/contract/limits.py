"""Promises about limits: a guest can be ended, and takes neither memory nor secrets of the host."""

import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from langgraph_rlm.repl.base import Returned, SandboxCrashed
from langgraph_rlm.repl.contract.check import (
    MEGABYTE,
    Opener,
    Promises,
    crashes,
    fails,
    gives,
    holds,
    ran,
    run,
)
from langgraph_rlm.repl.contract.host_use import descendants, memory_bytes, open_files

promise = Promises()

KILL_SECONDS = 3.0
"""How long an endless loop may live, of which it is left alone for 0.3 seconds."""

SECRET_NAME, SECRET = "RLM_CONTRACT_API_KEY", "s3cr3t-value"

MEMORY_BOMBS = (
    "x = 'a' * 10**10",
    "x = []\nwhile True:\n    x.append('a' * 1000000)",
    "x = [0] * 10**10",
    "x = 'a'\nwhile True:\n    x = x + x",
    "x = 2 ** (10**11)",
)

SECRET_READERS = (
    f"import os\nos.environ['{SECRET_NAME}']",
    "import os\nstr(os.environ)",
    f"import os\nos.getenv('{SECRET_NAME}')",
    "open('/proc/self/environ').read()",
    "__import__('subprocess').check_output('env').decode()",
)


@promise
def an_endless_loop_ends_when_killed(open_session: Opener) -> None:
    """`kill` from another thread ends a running cell, whose `feed` raises SandboxCrashed."""
    for code in ("while True:\n    pass", "n = 0\nwhile True:\n    n = n + 1"):
        session = open_session()
        threading.Timer(0.3, session.kill).start()
        started = time.monotonic()
        crashes(lambda session=session, code=code: session.feed(code), "the loop")
        seconds = time.monotonic() - started
        holds(seconds < KILL_SECONDS, f"it ended after {seconds:.1f} seconds")


@promise
def a_killed_session_stays_lost(open_session: Opener) -> None:
    """A killed session runs nothing more, can be killed and closed again, and a new one opens."""
    session = open_session()
    session.feed("llm_query('a')")
    session.kill()
    for _ in range(2):
        crashes(lambda: session.feed("1"), "a cell after it was killed")
    session.kill()
    session.close()
    session.close()
    gives(open_session(), "1 + 1", 2)


@promise
def a_kill_while_a_call_waits_is_seen(open_session: Opener) -> None:
    """After a kill while a call waits, `resume` raises SandboxCrashed."""
    session = open_session()
    session.feed("llm_query('a')")
    session.kill()
    crashes(lambda: session.resume(Returned("reply")), "the answer")


@promise
def a_memory_bomb_harms_no_one(open_session: Opener) -> None:
    """A cell that takes too much memory gets an error or loses its session, and the host has room.

    The host may grow by less than 50 MB.
    """
    for code in MEMORY_BOMBS:
        session, before = open_session(), memory_bytes()
        try:
            fails(session, code, "MemoryError", "OverflowError")
            gives(session, "x = 1\nx", 1)
        except SandboxCrashed:
            gives(open_session(), "1", 1)
        grown = memory_bytes() - before
        holds(grown < 50 * MEGABYTE, f"the host grew by {grown} bytes at {code!r}")
        session.close()


@promise
def closing_leaves_nothing(open_session: Opener) -> None:
    """Sessions that come and go leave no more processes and open files than one did.

    A backend may keep a worker for the next session.
    """
    open_session().close()
    files, processes = open_files(), len(descendants())
    for _ in range(5):
        session = open_session()
        ran(session, "1")
        session.close()
    holds(open_files() <= files, f"open files grew from {files} to {open_files()}")
    left = len(descendants())
    holds(left <= processes, f"processes grew from {processes} to {left}")


@promise
def the_environment_is_hidden(open_session: Opener) -> None:
    """Code cannot read an environment variable of the host."""
    with _secret():
        for code in SECRET_READERS:
            finished, _ = run(open_session(), code)
            holds(SECRET not in repr(finished), f"{code!r} gives {finished!r}")


@contextmanager
def _secret() -> Generator[None]:
    os.environ[SECRET_NAME] = SECRET
    try:
        yield
    finally:
        del os.environ[SECRET_NAME]
