"""Monty: the default interpreter, a Python subset in Rust (https://github.com/pydantic/monty).

Its worker processes have no file system, network or environment. It is deterministic: the clock
stands still, `random` is seeded, sleeps take no time.
"""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeGuard

import pydantic_monty as monty

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.repl.base import (
    Answer,
    CellError,
    Finished,
    HostCall,
    Outcome,
    Raised,
    SandboxCrashed,
    Session,
    SessionSpec,
    Suspended,
    Value,
)
from langgraph_rlm.repl.local_worker import PRINTED_TOO_MUCH, plain
from langgraph_rlm.repl.session_rules import MUST_FEED, MUST_RESUME, lazy_value
from langgraph_rlm.storage.context import encodable
from langgraph_rlm.storage.json_types import is_dict, is_list

MAX_WORKERS = 1024
"""Far above what the session cache keeps alive.

So opening a session never waits for another to close.
"""

FLOOD = 20
"""A cell that prints this many times its limit is ended with its worker."""

NO_LIMIT = 2**31
"""Host calls of a session.

Monty stops after 1,000 unless told otherwise; how many calls a run may make is counted above it.
"""

_process: int | None = None
"""The process in which Monty has started its threads. A fork of it has none of them."""

HINTS = {
    "name 'context": "There is no such input, or it is too large to be loaded: "
    "then context_info(), grep and peek read it.",
    "cannot suspend in this synchronous context": "Call it in a comprehension or a for loop, "
    "or use the batched form: map(), sorted(key=...) and the like cannot wait for it.",
    "does not yet support": "This interpreter is a subset of Python: "
    "write it another way (no del, no yield, no class inheritance).",
    "No module named": "Only parts of the standard library are here "
    "(re, json, math, collections, itertools, functools, datetime, random, asyncio, typing); "
    "llm_query_batched runs calls in parallel.",
}
"""What is added to a traceback for the model, by a part of the error's message."""


class MontyBackend:
    """Sessions in a pool of `monty` worker processes, started when first needed."""

    name = "monty"
    notes = (
        "The interpreter is Monty, a sandboxed subset of Python: functions, closures, "
        "comprehensions, classes without inheritance, try/except, f-strings, async/await, "
        "and the modules re, json, math, collections, itertools, functools, datetime, random, "
        "asyncio and typing. Not there: files, network, environment, third-party packages, "
        "`yield`, `del`, `with`, decorated methods, `globals()`, "
        "a function as the replacement of `re.sub`. The clock stands still."
    )

    def __init__(self) -> None:
        self._pool: monty.Monty | None = None
        self._lock = threading.Lock()

    def open(self, spec: SessionSpec) -> Session:
        """Start a session in a worker of its own. Raises `SandboxError`."""
        try:
            checkout = self._started().checkout(limits=_limits(spec), os_policy=_policy(spec))
            return MontySession(checkout, spec)
        except (OSError, RuntimeError, monty.MontyError) as error:
            raise SandboxError(
                f"The Monty sandbox did not start: {error}. "
                "Reinstall it with `pip install --force-reinstall pydantic-monty`."
            ) from error

    def release_idle(self) -> None:
        """End the pool's idle workers.

        Those of open sessions outlive the pool, and the next session makes a new pool.
        """
        self.close()

    def close(self) -> None:
        """End every worker but those of open sessions."""
        pool = self._pool
        self._pool = None
        if pool is not None:
            pool.__exit__(None, None, None)

    def _started(self) -> monty.Monty:
        global _process
        _process = _process or os.getpid()
        if _process != os.getpid():
            raise SandboxError(
                f"Monty was used in process {_process} before it forked process {os.getpid()}, "
                "where it would wait for ever. Run nothing before the fork (creating graphs is "
                "fine), or start processes by multiprocessing's 'spawn' or 'forkserver'."
            )
        with self._lock:
            if self._pool is None:
                self._pool = monty.Monty(min_processes=0, max_processes=MAX_WORKERS).__enter__()
            return self._pool


def _limits(spec: SessionSpec) -> monty.ResourceLimits:
    return {"max_memory": spec.max_heap_bytes, "max_suspensions": NO_LIMIT}


def _policy(spec: SessionSpec) -> monty.OSPolicy:
    return {"datetime": spec.clock, "sleep": "zero", "random_start": {"seed": spec.seed}}


class Printed:
    """What one cell printed, up to a limit.

    It replaces Monty's own collector, which ends the session when a cell that printed too much
    calls the host. Monty cannot tell a guest in the middle of a cell that it prints too much: one
    that never stops is flooding, and its worker is ended.
    """

    def __init__(self, limit: int, flooded: Callable[[], None]) -> None:
        self._limit = limit
        self._flooded = flooded
        self._size = 0
        self._parts: list[str] = []

    def __call__(self, _stream: str, text: str) -> None:
        self._parts.append(text[: max(0, self._limit - self._size)])
        self._size += len(text)
        if self._size > FLOOD * self._limit:
            self._flooded()

    @property
    def text(self) -> str:
        """What it printed, cut at the limit."""
        return "".join(self._parts)

    @property
    def excess(self) -> str | None:
        """The message of the MemoryError, if the cell printed too much."""
        if self._size <= self._limit:
            return None
        return PRINTED_TOO_MUCH.format(self._limit)


class MontySession:
    """One checked-out worker."""

    def __init__(self, checkout: monty.MontySession, spec: SessionSpec) -> None:
        self._spec = spec
        self._session = checkout.__enter__()
        self._pid = self._session.worker_pid
        self._pending: monty.FunctionSnapshot | None = None
        self._closed = False
        self._killed = False

    def feed(self, code: str, restore: frozenset[str] = frozenset()) -> Outcome:
        """Run one cell; see `Session.feed`."""
        if self._pending is not None and not self._killed:
            raise SandboxError(MUST_RESUME)
        output = Printed(self._spec.max_stdout_chars, self.kill)
        self._output = output

        def start() -> monty.SyncSnapshot:
            inputs = {name: self._bound(name) for name in restore}
            return self._session.feed_start(code, print_callback=output, inputs=inputs)

        return self._drive(start)

    def resume(self, answer: Answer) -> Outcome:
        """Answer the pending call; see `Session.resume`."""
        pending = self._pending
        self._pending = None
        if pending is None:
            raise SandboxError(MUST_FEED)
        return self._drive(lambda: pending.resume(_result(answer)))

    def kill(self) -> None:
        """End the worker by its id; it was started by this session's pool."""
        self._killed = True
        if self._pid is not None and not self._closed:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        """Give the worker back to the pool."""
        if not self._closed:
            self._closed = True
            self._session.__exit__(None, None, None)

    def _drive(self, step: Callable[[], monty.SyncSnapshot]) -> Outcome:
        """Take a step, and turn what Monty raises into an outcome or `SandboxCrashed`."""
        if self._is_lost():
            raise SandboxCrashed("The Monty session has ended: open a new one.")
        try:
            return self._until_host_call(step())
        except (monty.MontyCrashedError, monty.MontyDisconnectError) as error:
            raise self._lost(error) from error
        except (monty.MontySyntaxError, monty.MontyRuntimeError) as error:
            if self._is_lost():
                raise self._lost(error) from error
            return Finished(self._output.text, error=_cell_error(error))
        except monty.MontyConversionError as error:
            return Finished(self._output.text, error=_bare_error("TypeError", str(error)))

    def _until_host_call(self, snapshot: monty.SyncSnapshot) -> Outcome:
        """Answer name lookups and refuse the operating system until the cell ends or calls."""
        output = self._output
        while not isinstance(snapshot, monty.MontyComplete):
            if not self._is_host_call(snapshot):
                snapshot = self._answered_here(snapshot)
            elif output.excess is not None:
                snapshot = snapshot.resume({"exc_type": "MemoryError", "message": output.excess})
            else:
                self._pending = snapshot
                return Suspended(_host_call(snapshot))
        if output.excess is not None:
            return Finished(output.text, error=_bare_error("MemoryError", output.excess))
        return Finished(output.text, plain(snapshot.output))

    def _is_lost(self) -> bool:
        return self._killed or self._session.worker_pid is None

    def _lost(self, error: Exception) -> SandboxCrashed:
        """Note that the worker is gone, and forget its id: it may soon be another process's."""
        self._killed = True
        self._pid = None
        return SandboxCrashed(str(error))

    def _is_host_call(self, snapshot: Any) -> TypeGuard[monty.FunctionSnapshot]:
        if not isinstance(snapshot, monty.FunctionSnapshot) or snapshot.is_os_function:
            return False
        return snapshot.function_name in self._spec.functions

    def _answered_here(self, snapshot: Any) -> monty.SyncSnapshot:
        """Resume from what is not a host call."""
        if isinstance(snapshot, monty.NameLookupSnapshot):
            return self._looked_up(snapshot)
        if not isinstance(snapshot, monty.FunctionSnapshot):
            raise SandboxError(
                f"Monty waits for {snapshot!r}, which nothing here can start: "
                "report it with the cell's code."
            )
        if snapshot.is_os_function:
            return snapshot.resume_not_handled()
        message = f"name '{snapshot.function_name}' is not defined"
        return snapshot.resume({"exc_type": "NameError", "message": message})

    def _looked_up(self, snapshot: monty.NameLookupSnapshot) -> monty.SyncSnapshot:
        """Give the guest a global that it does not have; a NameError if there is none."""
        name = snapshot.variable_name
        known = name in self._spec.values or name in self._spec.functions
        if snapshot.object_id is None and known:
            return snapshot.resume(value=self._bound(name))
        return snapshot.resume()

    def _bound(self, name: str) -> Any:
        """Give a lazy value, or a stand-in that Monty makes a host function of that name."""
        if name in self._spec.values:
            return lazy_value(self, self._spec, name)

        def stand_in() -> None:
            raise SandboxError(f"{name} is answered by the host, not here.")

        stand_in.__name__ = name
        return stand_in


def _host_call(snapshot: monty.FunctionSnapshot) -> HostCall:
    args = tuple(plain(arg) for arg in snapshot.args)
    return HostCall(str(snapshot.function_name), args, plain(snapshot.kwargs))


def _encodable(value: Value) -> Value:
    """Put `?` for lone surrogates, which a model's reply can hold and Monty refuses."""
    if isinstance(value, str):
        return encodable(value)
    if is_list(value):
        return [_encodable(item) for item in value]
    if is_dict(value):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return value


def _result(answer: Answer) -> monty.ExternalResult:
    if isinstance(answer, Raised):
        return {"exc_type": answer.type, "message": _encodable(answer.message)}
    return {"return_value": _encodable(answer.value)}


def _bare_error(kind: str, message: str) -> CellError:
    """Make an error that has no frames to show."""
    return CellError(kind, message, f"{kind}: {message}")


def _cell_error(error: monty.MontySyntaxError | monty.MontyRuntimeError) -> CellError:
    kind, _, message = error.display("type-msg").partition(": ")
    lines = [error.display("traceback")]
    lines += [hint for sign, hint in HINTS.items() if sign in message][:1]
    return CellError(kind, message, "\n".join(lines))
