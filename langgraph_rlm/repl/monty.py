"""Monty: the default interpreter, a Python subset in Rust, in worker processes with no file system, network or environment.

Deterministic: the clock stands still, `random` is seeded, sleeps take no time. Source: https://github.com/pydantic/monty
"""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

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
from langgraph_rlm.repl.local_worker import plain

MAX_WORKERS = 1024
"""Far above what the session cache keeps alive, so that opening a session never waits for another to close."""

FLOOD = 20
"""A cell that prints this many times its limit is ended with its worker."""

NO_LIMIT = 2**31
"""Monty stops a session after 1,000 host calls unless told otherwise; how many calls a run makes is counted above it."""

_process: int | None = None
"""The process in which Monty has started its threads, of which a fork has none."""

HINTS = {
    "name 'context": "There is no such input, or it is too large to be loaded: then context_info(), grep and peek read it.",
    "cannot suspend in this synchronous context": "Call it in a comprehension or a for loop, or use the batched form: "
    "map(), sorted(key=...) and the like cannot wait for it.",
    "does not yet support": "This interpreter is a subset of Python: write it another way (no del, no yield, no class inheritance).",
    "No module named": "Only parts of the standard library are here (re, json, math, collections, itertools, functools, datetime, random, "
    "asyncio, typing); llm_query_batched runs calls in parallel.",
}


class MontyBackend:
    """Sessions in a pool of `monty` worker processes, started when first needed."""

    name = "monty"
    notes = (
        "The interpreter is Monty, a sandboxed subset of Python: functions, closures, comprehensions, classes without inheritance, "
        "try/except, f-strings, async/await, and the modules re, json, math, collections, itertools, functools, datetime, random, "
        "asyncio and typing. Not there: files, network, environment, third-party packages, `yield`, `del`, `with`, decorated methods, "
        "`globals()`, a function as the replacement of `re.sub`. The clock stands still."
    )

    def __init__(self) -> None:
        self._pool: monty.Monty | None = None
        self._lock = threading.Lock()

    def open(self, spec: SessionSpec) -> Session:
        """Start a session in a worker of its own. Raises `SandboxError`."""
        try:
            return MontySession(
                self._started().checkout(limits=_limits(spec), os_policy=_policy(spec)), spec
            )
        except (OSError, RuntimeError, monty.MontyError) as error:
            raise SandboxError(
                f"The Monty sandbox did not start: {error}. Reinstall it with `pip install --force-reinstall pydantic-monty`."
            ) from error

    def release_idle(self) -> None:
        """End the pool's idle workers: those of open sessions outlive it, and the next session makes a new one."""
        self.close()

    def close(self) -> None:
        """End every worker but those of open sessions."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.__exit__(None, None, None)

    def _started(self) -> monty.Monty:
        global _process
        _process = _process or os.getpid()
        if _process != os.getpid():
            raise SandboxError(
                f"Monty was used in process {_process} before it forked process {os.getpid()}, where it would wait for ever. Run nothing "
                "before the fork (creating graphs is fine), or start processes by multiprocessing's 'spawn' or 'forkserver'."
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
    """What one cell printed, up to a limit. Monty's own collector ends the session when a cell that printed too much calls the host.

    A guest cannot be told in the middle of a cell that it prints too much: one that goes on for ever is flooding, and is ended.
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
        """What is held."""
        return "".join(self._parts)

    @property
    def excess(self) -> str | None:
        """The message of the MemoryError, if the cell printed too much."""
        return (
            f"this cell printed more than {self._limit} characters: print less, or slices"
            if self._size > self._limit
            else None
        )


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
            raise SandboxError("This session waits for an answer: resume it first.")
        self._output = Printed(self._spec.max_stdout_chars, self.kill)
        return self._drive(
            lambda: self._session.feed_start(
                code,
                print_callback=self._output,
                inputs={name: self._bound(name) for name in restore},
            )
        )

    def resume(self, answer: Answer) -> Outcome:
        """Answer the pending call; see `Session.resume`."""
        pending, self._pending = self._pending, None
        if pending is None:
            raise SandboxError("This session waits for no answer: feed it a cell first.")
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
        """Take steps, answering name lookups and refusing the operating system, until the cell ends or calls the host."""
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
            return Finished(
                self._output.text, error=CellError("TypeError", str(error), f"TypeError: {error}")
            )

    def _until_host_call(self, snapshot: monty.SyncSnapshot) -> Outcome:
        while not isinstance(snapshot, monty.MontyComplete):
            excess = self._output.excess
            if not (isinstance(snapshot, monty.FunctionSnapshot) and self._is_host_call(snapshot)):
                snapshot = self._answered_here(snapshot)
            elif excess:
                snapshot = snapshot.resume({"exc_type": "MemoryError", "message": excess})
            else:
                self._pending = snapshot
                return Suspended(
                    HostCall(
                        str(snapshot.function_name),
                        tuple(map(plain, snapshot.args)),
                        plain(snapshot.kwargs),
                    )
                )
        excess = self._output.excess
        error = CellError("MemoryError", excess, f"MemoryError: {excess}") if excess else None
        return Finished(self._output.text, None if error else plain(snapshot.output), error)

    def _is_lost(self) -> bool:
        return self._killed or self._session.worker_pid is None

    def _lost(self, error: Exception) -> SandboxCrashed:
        """The worker is gone: its id may soon be another process's."""
        self._killed, self._pid = True, None
        return SandboxCrashed(str(error))

    def _is_host_call(self, snapshot: monty.FunctionSnapshot) -> bool:
        return not snapshot.is_os_function and snapshot.function_name in self._spec.functions

    def _answered_here(self, snapshot: Any) -> monty.SyncSnapshot:
        if isinstance(snapshot, monty.NameLookupSnapshot):
            name = snapshot.variable_name
            known = snapshot.object_id is None and (
                name in self._spec.values or name in self._spec.functions
            )
            return snapshot.resume(value=self._bound(name)) if known else snapshot.resume()
        if isinstance(snapshot, monty.FunctionSnapshot) and snapshot.is_os_function:
            return snapshot.resume_not_handled()
        if isinstance(snapshot, monty.FunctionSnapshot):
            return snapshot.resume(
                {
                    "exc_type": "NameError",
                    "message": f"name '{snapshot.function_name}' is not defined",
                }
            )
        raise SandboxError(
            f"Monty waits for {snapshot!r}, which nothing here can start: report it with the cell's code."
        )

    def _given(self, name: str) -> Value:
        """A lazy value. When the host cannot give it, the cell cannot go on, and neither can the session."""
        try:
            return self._spec.values[name]()
        except BaseException:
            self.kill()
            raise

    def _bound(self, name: str) -> Any:
        """The value of a lazy global, or a stand-in that Monty makes a host function of that name."""
        if name in self._spec.values:
            return self._given(name)

        def stand_in() -> None:
            raise SandboxError(f"{name} is answered by the host, not here.")

        stand_in.__name__ = name
        return stand_in


def _encodable(value: Value) -> Value:
    """Text of an answer with `?` for lone surrogates, which a model's reply can hold and Monty refuses."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_encodable(item) for item in cast(list[Value], value)]
    if isinstance(value, dict):
        return {
            _encodable(key): _encodable(item) for key, item in cast(dict[str, Value], value).items()
        }
    return value


def _result(answer: Answer) -> monty.ExternalResult:
    if isinstance(answer, Raised):
        return {"exc_type": answer.type, "message": _encodable(answer.message)}
    return {"return_value": _encodable(answer.value)}


def _cell_error(error: monty.MontySyntaxError | monty.MontyRuntimeError) -> CellError:
    kind, _, message = error.display("type-msg").partition(": ")
    hint = next((hint for sign, hint in HINTS.items() if sign in message), None)
    return CellError(kind, message, error.display("traceback") + (f"\n{hint}" if hint else ""))
