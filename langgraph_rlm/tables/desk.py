"""Desk: asks the workers that have DuckDB: what tables a context has, and what a query gives.

What a worker answers is a stranger's word: its files may be hostile. So each set of contexts has
workers of its own, and answers are checked for their form and size.
"""

import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Hashable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from langgraph_rlm.processes.pool import Pool
from langgraph_rlm.processes.worker import Bounds, Worker, WorkerFailed, WorkerRefused
from langgraph_rlm.storage.backends import CHUNK
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle
from langgraph_rlm.tables.catalog import Catalog, Known, Table
from langgraph_rlm.tables.infer import columns_of_rows
from langgraph_rlm.tables.sources import Source, sources_of
from langgraph_rlm.tables.words import (
    MAX_CHARS,
    MAX_TABLES,
    QueryError,
    explained,
    first_line,
    names_of,
    plainly,
    rows_of,
    tables_of,
)

ENGINE = "langgraph_rlm.tables.engine"
INSTALL = "pip install 'langgraph-rlm[sql]'"
QUERY_SECONDS = 60.0
"""How long a query may take; one pass over a gigabyte of CSV takes 5 on a quiet machine."""
LOOK_SECONDS = 10.0
"""How long one file is looked at."""
ALL_LOOKS_SECONDS = 20.0
"""How long the files of one context are looked at; those that are left are no tables."""
GRACE_SECONDS = 5.0
"""How long a worker has to stop by itself before it is ended."""
MAX_SOURCES = 200
"""Files of one context that are looked at."""
WHOLE_BYTES = 64 << 20
"""Largest text file that is read to its end when it is looked at; of a larger one the first rows
tell the types."""
LIST_BYTES = 8 << 20
"""Largest list that is looked at here and not by a worker."""
MAX_POOLS = 4
"""Sets of contexts whose workers are kept."""
WORKERS = 2
"""Workers of one set at a time: a query has one thread."""
BOUNDS = Bounds(memory_bytes=2 << 30, reply_bytes=48 << 20)
"""DuckDB itself keeps to 512 MB."""


def is_installed() -> bool:
    """Tell whether DuckDB is there. Does not import it."""
    return find_spec("duckdb") is not None


class Desk:
    """The workers of one `create_rlm`. May be used from several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.pools: OrderedDict[Hashable, Pool] = OrderedDict()
        self._held: WeakKeyDictionary[Worker, _Held] = WeakKeyDictionary()

    def look(self, handle: ContextHandle, blobs: BlobStore) -> Catalog:
        """Find the tables of a context. Blocks.

        Returns:
            Its catalog, empty where DuckDB is not installed. A file that cannot be read as a table
            is among those that are left out.

        Raises:
            BlobError: a blob is missing.
            SandboxError: no worker can be started.
        """
        sources = sources_of(handle, blobs)
        if not sources or not is_installed():  # most contexts have none: that is known at once
            return Catalog(())
        tables: list[Table] = []
        left_out: list[str] = []
        deadline = time.monotonic() + ALL_LOOKS_SECONDS
        for number, source in enumerate(sources):
            left = deadline - time.monotonic()
            if number >= MAX_SOURCES or len(tables) >= MAX_TABLES or left <= 0:
                left_out.append(f"{len(sources) - number:,} more files: they are too many")
                break
            try:
                if source.path is None and handle.size <= LIST_BYTES:
                    tables += _list(source, blobs)
                    continue
                tables += self._look(handle, source, tables, blobs, min(left, LOOK_SECONDS))
            except QueryError as error:
                left_out.append(f"{source.path}: {error}")
        return Catalog(tuple(tables), tuple(left_out))

    def rows(
        self,
        known: Sequence[Known],
        query: str,
        max_rows: int,
        blobs: BlobStore,
        seconds: float = QUERY_SECONDS,
    ) -> tuple[list[dict[str, Any]], list[Known]]:
        """Answer a query. Blocks.

        Args:
            known: the tables that it may name.
            query: of one statement.
            max_rows: most rows of the answer.
            blobs: has their files.
            seconds: how long it may take.

        Returns:
            The rows, and the tables that were read.

        Raises:
            QueryError: it has no answer.
            BlobError: a blob is missing.
            SandboxError: no worker can be started.
        """
        if not is_installed():
            raise QueryError(f"SQL needs DuckDB, which is not installed here: {INSTALL}.")
        by_name = {each.table.name: each for each in known}
        try:
            with self._worker(_key([each.handle for each in known]), blobs) as worker:
                self._define(worker, [each.table for each in known])
                named = _asked(worker, "named", {"query": query}, seconds)
                read = [by_name[name] for name in names_of(named) if name in by_name]
                for each in read:
                    self._give(worker, each.table, blobs)
                given = {"query": query, "max_rows": max_rows, "max_chars": MAX_CHARS}
                text = _asked(worker, "rows", {**given, "seconds": seconds}, seconds)
        except WorkerFailed as error:
            raise QueryError(f"the query was ended: {plainly(error)}.") from None
        except WorkerRefused as error:
            raise QueryError(explained(error, known)) from None
        return rows_of(text, max_rows), read

    def release_idle(self) -> None:
        """End every worker that does nothing."""
        with self._lock:
            pools = list(self.pools.values())
            self.pools.clear()
        for pool in pools:
            pool.release_idle()

    # Workers

    @contextmanager
    def _worker(self, key: Hashable, blobs: BlobStore) -> Generator[Worker]:
        with self._lock:
            pool = self.pools.pop(key, None)
            if pool is None:
                at = blobs.folder
                pool = Pool(ENGINE, BOUNDS, most=WORKERS, inbox_at=at, keeps_files=True)
            self.pools[key] = pool
            old = [self.pools.popitem(last=False)[1] for _ in range(len(self.pools) - MAX_POOLS)]
        for each in old:
            each.release_idle()
        with pool.worker() as worker:
            yield worker

    def _define(self, worker: Worker, tables: Sequence[Table]) -> None:
        """Tell a worker its tables, unless it knows them."""
        held = self._held.setdefault(worker, _Held())
        names = [table.name for table in tables]
        if held.tables == names:
            return
        defined = [
            {
                "name": table.name,
                "file": _file_name(table),
                "form": table.form,
                "part": table.part,
                "columns": table.columns,
            }
            for table in tables
        ]
        _asked(worker, "define", {"tables": defined}, LOOK_SECONDS)
        held.tables = names

    def _give(self, worker: Worker, table: Table | Source, blobs: BlobStore) -> str:
        """Give a worker the file of a table, unless it has it."""
        name = _file_name(table)
        held = self._held.setdefault(worker, _Held())
        if name not in held.files:
            path = blobs.path(table.digest)
            if table.piece is None:
                worker.give(path, name)
            else:
                _give_piece(worker, path, table.piece, name)
            held.files.add(name)
        return name

    # Looks

    def _look(
        self,
        handle: ContextHandle,
        source: Source,
        before: Sequence[Table],
        blobs: BlobStore,
        seconds: float,
    ) -> list[Table]:
        start, end = source.span
        is_whole = end - start <= WHOLE_BYTES
        try:
            with self._worker(_key([handle]), blobs) as worker:
                file = self._give(worker, source, blobs)
                given = {"file": file, "form": source.form, "whole": is_whole}
                found = _asked(worker, "look", {**given, "seconds": seconds}, seconds)
        except WorkerFailed as error:
            raise QueryError(f"it could not be read: {plainly(error)}") from None
        except WorkerRefused as error:
            raise QueryError(first_line(str(error))) from None
        return tables_of(found, source, [table.name for table in before])


@dataclass
class _Held:
    """What a worker has."""

    files: set[str] = field(default_factory=set[str])
    tables: list[str] = field(default_factory=list[str])


def _key(handles: Sequence[ContextHandle]) -> Hashable:
    """Say whose files a worker may have together: those of these contexts."""
    return tuple(dict.fromkeys((handle.digest, handle.about) for handle in handles))


def _asked(worker: Worker, do: str, given: dict[str, Any], seconds: float) -> Any:
    """Ask a worker for what takes it some seconds at most. Raises what `Worker.ask` raises."""
    request = {"inbox": str(worker.inbox), "do": do, "with": given}
    return worker.ask(request, seconds + GRACE_SECONDS)


def _file_name(table: Table | Source) -> str:
    """Name a file in the inbox. DuckDB takes `*` and the like in a path for a pattern."""
    start, end = table.piece or (0, 0)
    return f"{table.digest}-{start}-{end}"


def _give_piece(worker: Worker, path: Path, piece: tuple[int, int], name: str) -> None:
    """Give a worker a part of a file, as a file of its own, next to where it will be."""
    start, end = piece
    number, new = tempfile.mkstemp(prefix=".piece-", dir=worker.inbox)
    try:
        with path.open("rb") as source, os.fdopen(number, "wb") as file:
            source.seek(start)
            while start < end:
                chunk = source.read(min(CHUNK, end - start))
                file.write(chunk)
                start += len(chunk) or end
        worker.give(Path(new), name)
    finally:
        os.unlink(new)


def _list(source: Source, blobs: BlobStore) -> list[Table]:
    """Give the table that a list of dicts is."""
    found = columns_of_rows(blobs.get(source.digest).splitlines())
    if found is None or not found[0]:
        return []
    columns, rows = found
    return tables_of([{"columns": columns, "rows": rows}], source, [])
