"""Doctor: what this machine has of what runs need, each part tried for real. Never prints.

A key is only looked for, never shown or sent.
"""

import os
import platform
import shutil
import sqlite3
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from langgraph_rlm.errors import RLMError, SandboxError
from langgraph_rlm.models.http_clients import aiohttp_version
from langgraph_rlm.models.resolve import MODEL_VARIABLE, base_address
from langgraph_rlm.repl import SANDBOXES, open_backend
from langgraph_rlm.repl.base import (
    Finished,
    Returned,
    SandboxCrashed,
    Session,
    SessionSpec,
    Suspended,
)
from langgraph_rlm.repl.escapes import escapes

Mark = Literal["ok", "none", "fault"]
"""It works; it is not there, and nothing needs it; it does not work."""

PACKAGES = (
    *("langgraph-rlm", "langgraph", "langchain-core", "langchain-openai", "pydantic"),
    *("pydantic-monty", "time-machine", "langgraph-checkpoint-sqlite"),
    *("langgraph-checkpoint-postgres", "starlette", "uvicorn", "genai-prices", "fsspec", "mcp"),
    "agent-client-protocol",
)
"""Those whose versions matter, the ones of extras last."""

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "LANGGRAPH_RLM_API_KEY")

NEEDED_BYTES = 1 << 30
"""Free space below which a disk is a fault: a context of that size would not fit."""

OPEN_TO_THE_HOST = ("local",)
"""Sandboxes that isolate nothing, and say so."""

LOCK_SECONDS = 5.0
"""How long the database may be locked by somebody else."""

PROBE = "got = ask('6 * 7')\nprint(got)"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    part: str
    mark: Mark
    said: str
    """What was found and, of a fault, what to do."""


def examine(db: Path, model: str | None) -> Iterator[Finding]:
    """Examine this machine, part by part. Blocks; asks no model.

    Args:
        db: the SQLite file of the command's threads. It need not be there yet.
        model: its name; by default that of `$LANGGRAPH_RLM_MODEL`.
    """
    yield Finding("python", "ok", f"{platform.python_version()}, {sys.executable}")
    yield Finding("system", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield from (_package(name) for name in PACKAGES)
    yield from _sandboxes()
    yield _transport()
    yield from (_key(name) for name in KEYS)
    yield from _model(model or os.environ.get(MODEL_VARIABLE))
    yield _tried("database", lambda: _database(db))
    yield _tried("blob store", _blob_store)


def _tried(part: str, look: Callable[[], str]) -> Finding:
    """Look at a part; what it raises is the finding."""
    try:
        return Finding(part, "ok", look())
    except (RLMError, OSError, sqlite3.Error) as error:
        return Finding(part, "fault", str(error))


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "none", "not installed")


# Sandboxes


def _sandboxes() -> Iterator[Finding]:
    """Try each; to have none that isolates is a fault."""
    has_isolation = False
    for name in SANDBOXES:
        found = _sandbox(name)
        has_isolation = has_isolation or (found.mark == "ok" and name not in OPEN_TO_THE_HOST)
        yield found
    if not has_isolation:
        told = "none that isolates can be had here: reinstall with pip install langgraph-rlm"
        yield Finding("sandboxes", "fault", told)


def _sandbox(name: str) -> Finding:
    about = SANDBOXES[name].about
    try:
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # `about` says what is not isolated
            said = _run_in(name)
        took = time.perf_counter() - started
    except SandboxError as error:
        return Finding(f"sandbox {name}", "none", f"{about}: {error}")
    if said:
        return Finding(f"sandbox {name}", "fault", f"{about}: {said}")
    return Finding(f"sandbox {name}", "ok", f"{about}: a cell ran in {took:.2f} s")


def _run_in(name: str) -> str:
    """Run a cell that asks the host and, in an isolated sandbox, one that tries to get out.

    Returns:
        What went wrong; empty if nothing did.

    Raises:
        SandboxError: it cannot be had here.
    """
    backend = open_backend(name)
    try:
        session = backend.open(_spec())
        try:
            return _problem(session, is_isolated=name not in OPEN_TO_THE_HOST)
        except SandboxCrashed as error:
            return str(error)
        finally:
            session.close()
    finally:
        backend.close()


def _spec() -> SessionSpec:
    return SessionSpec(
        functions=frozenset({"ask"}),
        values={},
        clock=datetime(2026, 1, 1, tzinfo=UTC),
        seed="doctor",
        max_heap_bytes=1 << 28,
    )


def _problem(session: Session, *, is_isolated: bool) -> str:
    """Say what goes wrong in a session; empty if nothing does. Raises `SandboxCrashed`."""
    outcome = session.feed(PROBE)
    if not isinstance(outcome, Suspended):
        return f"a call of the host did not come: {outcome}"
    outcome = session.resume(Returned(42))
    if outcome != Finished("42\n"):
        return f"a cell did not end as it should: {outcome}"
    return escapes(session) if is_isolated else ""


# Models


def _transport() -> Finding:
    """Say what sends the requests of models by name."""
    found = aiohttp_version()
    if found is None:
        told = "httpx: pip install 'langgraph-rlm[openai]' halves the CPU time of a call"
        return Finding("transport", "none", told)
    return Finding("transport", "ok", f"aiohttp {found}")


def _key(name: str) -> Finding:
    if not os.environ.get(name):
        return Finding(name, "none", "not set")
    return Finding(name, "ok", "set")


def _model(name: str | None) -> Iterator[Finding]:
    if name is None:
        yield Finding("model", "none", f"${MODEL_VARIABLE} is not set: give a model with each run")
        return
    from langgraph_rlm.budget.prices import Prices
    from langgraph_rlm.models.resolve import resolve_model
    from langgraph_rlm.models.wrapped import model_name
    from langgraph_rlm.runtime.windows import Windows

    try:
        model = resolve_model(name)
    except RLMError as error:
        yield Finding("model", "fault", str(error))
        return
    yield Finding("model", "ok", f"{name} at {base_address() or 'its own address'}")
    yield Finding("window", "ok", f"{Windows(None).of(model):,} tokens")
    price = Prices().of(model_name(model))
    if price is None:
        told = "not known: give prices=, or pip install 'langgraph-rlm[prices]'"
        yield Finding("price", "none", told)
    else:
        yield Finding("price", "ok", f"{price.input} in, {price.output} out, USD a million tokens")


# Where things are kept


def _database(db: Path) -> str:
    """Write to the file where it is, else to its folder."""
    if not db.exists():
        parent = next(folder for folder in db.parents if folder.exists())
        if not os.access(parent, os.W_OK):
            raise OSError(f"{db} cannot be made: {parent} cannot be written. Give another --db.")
        return f"{db}, to be made; SQLite {sqlite3.sqlite_version}"
    with closing(sqlite3.connect(db, timeout=LOCK_SECONDS)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        threads = _threads(connection)
    return f"{db}, {threads} threads; SQLite {sqlite3.sqlite_version}"


def _threads(connection: sqlite3.Connection) -> int:
    tables = "SELECT name FROM sqlite_master WHERE name = 'checkpoints'"
    if connection.execute(tables).fetchone() is None:
        return 0
    return connection.execute("SELECT COUNT(DISTINCT thread_id) FROM checkpoints").fetchone()[0]


def _blob_store() -> str:
    from langgraph_rlm.storage.blobs import BlobStore

    store = BlobStore.open()
    digest = store.put(b"langgraph-rlm doctor")
    BlobStore.open().get(digest)  # a store remembers what it was given last
    if not Path(store.location).is_dir():
        return store.location
    free = shutil.disk_usage(store.location).free
    if free < NEEDED_BYTES:
        raise OSError(f"{store.location} has {free >> 20:,} MB left: make room, or move the store.")
    return f"{store.location}, {free >> 30:,} GB free"
