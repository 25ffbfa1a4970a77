"""Monty: the default interpreter, a Python subset in Rust (https://github.com/pydantic/monty).

Its worker processes have no file system, network or environment. It is deterministic: the clock
stands still, `random` is seeded, sleeps take no time.
"""

import logging
import os
import platform
import threading
from collections.abc import Sequence

import pydantic_monty as monty
from cachetools import LRUCache

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.repl.base import Capacity, SandboxCrashed, Session, SessionSpec
from langgraph_rlm.repl.imports import Import
from langgraph_rlm.repl.monty_cells import USEFUL_MODULES
from langgraph_rlm.repl.monty_session import MontySession
from langgraph_rlm.repl.monty_values import MAX_VALUE_BYTES, NODE_BYTES, SCALAR_HEAP

LOG = logging.getLogger("langgraph_rlm.repl")

MAX_WORKERS = 1024
"""Far above what the session cache keeps alive.

So opening a session never waits for another to close.
"""

NO_LIMIT = 2**31
"""Host calls of a session.

Monty stops after 1,000 unless told otherwise; how many calls a run may make is counted above it.
"""

MAX_KNOWN_IMPORTS = 1024
"""Imports of which a backend remembers whether Monty has them."""

TRIAL_HEAP = 64 << 20
"""Memory of the guest in which imports are tried."""

_process: int | None = None
"""The process in which Monty has started its threads. A fork of it has none of them."""


class MontyBackend:
    """Sessions in a pool of `monty` worker processes, started when first needed."""

    name = "monty"
    gives_files = True
    notes = (
        "The interpreter is Monty, a safe subset of Python: functions, comprehensions, "
        "classes without bases, try/except, f-strings, async/await, "
        f"and the modules {', '.join(USEFUL_MODULES)}. "
        "Not there: other files, network, other packages, `yield`, "
        "`del`, decorated methods, `globals()`. The clock stands still."
    )

    state_format = f"monty {monty.__version__} {platform.machine()}"
    """A dump of another version of Monty has no meaning here."""

    capacity = Capacity(MAX_VALUE_BYTES - NODE_BYTES, SCALAR_HEAP)

    def __init__(self) -> None:
        self._imports: LRUCache[str, bool] = LRUCache(MAX_KNOWN_IMPORTS)
        self._pool: monty.Monty | None = None
        self._lock = threading.Lock()

    def open(self, spec: SessionSpec) -> Session:
        """Start a session in a worker of its own. Raises `SandboxError`."""
        return self._opened(spec)

    def load(self, spec: SessionSpec, state: bytes) -> Session | None:
        """Start a session from what another one was; see `Loading.load`."""
        session = self._opened(spec)
        try:
            session.take_up(state)
        except (ValueError, KeyError, SandboxCrashed) as error:
            LOG.info("Monty does not read a snapshot, which is left out: %s", error)
            session.kill()
            session.close()
            return None
        return session

    def _opened(self, spec: SessionSpec) -> MontySession:
        try:
            checkout = self._started().checkout(limits=_limits(spec), os_policy=_policy(spec))
            return MontySession(checkout, spec, self._missing)
        except SandboxError:
            raise
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

    def _missing(self, imports: Sequence[Import]) -> set[Import]:
        """Tell which imports Monty does not have. A worker of its own tries each of them once."""
        with self._lock:
            known = {each: self._imports.get(each.statement) for each in imports}
        new = [each for each, is_there in known.items() if is_there is None]
        if new:
            found = self._tried(new)
            with self._lock:
                self._imports.update({each.statement: is_there for each, is_there in found.items()})
            known |= found
        return {each for each, is_there in known.items() if not is_there}

    def _tried(self, imports: Sequence[Import]) -> dict[Import, bool]:
        try:
            with self._started().checkout(limits={"max_memory": TRIAL_HEAP}) as session:
                return {each: _has(session, each) for each in imports}
        except SandboxError:
            raise
        except (OSError, RuntimeError, monty.MontyError) as error:
            raise SandboxCrashed(f"Monty could not be asked for modules: {error}") from error

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


def _has(session: monty.MontySession, needed: Import) -> bool:
    try:
        session.feed_run(needed.statement)
    except monty.MontyRuntimeError as error:
        return not isinstance(error.exception(), ImportError)
    except monty.MontySyntaxError:  # such as `from __future__ import braces`: the cell hears of it
        return True
    return True


def _limits(spec: SessionSpec) -> monty.ResourceLimits:
    return {"max_memory": spec.max_heap_bytes, "max_suspensions": NO_LIMIT}


def _policy(spec: SessionSpec) -> monty.OSPolicy:
    return {"datetime": spec.clock, "sleep": "zero", "random_start": {"seed": spec.seed}}
