"""Promises about output: whose it is, and what happens to too much of it."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from langgraph_rlm.repl.base import SandboxCrashed
from langgraph_rlm.repl.contract.check import (
    MEGABYTE,
    Opener,
    Promises,
    equal,
    fails,
    holds,
    ran,
    run,
)
from langgraph_rlm.repl.contract.host_use import memory_bytes

promise = Promises()


@promise
def output_around_a_call_is_the_cells(open_session: Opener) -> None:
    """What a cell prints before and after a call is its output, and no part of the next cell's."""
    session = open_session()
    code = "print('a')\nprint(llm_query('?'), end='')\nprint('!')"
    equal(ran(session, code, "b").stdout, "a\nb!\n")
    equal(ran(session, "print('next')").stdout, "next\n")


@promise
def output_comes_with_an_error(open_session: Opener) -> None:
    """A cell that raises still gives what it printed."""
    finished, _ = run(open_session(), "print('before')\n1 / 0")
    equal(finished.stdout, "before\n")
    holds(finished.error is not None, "the cell ends without an error")


@promise
def output_of_parallel_sessions_is_not_mixed(open_session: Opener) -> None:
    """Sessions that run at the same time, in threads, each give their own output."""

    def prints(name: str) -> None:
        code = f"for n in range(50):\n    print('{name}', llm_query(n) if n % 10 == 0 else n)"
        session = open_session()
        for _ in range(5):
            equal(ran(session, code, *"r" * 5).stdout.split()[::2], [name] * 50)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(prints, "abcd"))


@promise
def too_much_output_is_a_memory_error(open_session: Opener) -> None:
    """A cell that prints too much gets a MemoryError before its next call; its output is cut."""
    session = open_session(max_stdout_chars=1000)
    code = "x = 1\nfor _ in range(100):\n    print('é' * 100)\nllm_query('never asked')"
    finished, calls = run(session, code)
    kind = None if finished.error is None else finished.error.type
    equal((kind, len(finished.stdout), len(calls)), ("MemoryError", 1000, 0))
    equal(ran(session, "print(x)").stdout, "1\n")


@promise
def endless_output_does_not_fill_the_host(open_session: Opener) -> None:
    """A cell that prints for ever gets a MemoryError or loses its session, and the host has room.

    The host may grow by less than 50 MB.
    """
    session, before = open_session(), memory_bytes()
    with suppress(SandboxCrashed):
        fails(session, "while True:\n    print('x' * 1000)", "MemoryError")
    grown = memory_bytes() - before
    holds(grown < 50 * MEGABYTE, f"the host grew by {grown} bytes")
