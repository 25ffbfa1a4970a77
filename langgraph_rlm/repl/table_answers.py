"""Table answers: what the host says of tables: `sql`, and the tables in `context_info`.

A query is a call in the log, with its answer. A read is computed again whenever the log is
replayed; of a query that would be slow, and not sure to be the same: another version of DuckDB,
less memory or a busier machine may answer otherwise, or not at all.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from langgraph_rlm.errors import ContextError
from langgraph_rlm.log.entries import ReplyEntry, error_entry
from langgraph_rlm.log.stamps import epoch, seconds_since
from langgraph_rlm.log.text import ordered
from langgraph_rlm.repl.answers import BadCall, Called, context_named, read
from langgraph_rlm.repl.base import Answer, Returned
from langgraph_rlm.repl.requests import Request
from langgraph_rlm.storage.json_types import is_dict, is_whole
from langgraph_rlm.storage.ranges import Touched, noted
from langgraph_rlm.tables.catalog import Known, catalog_of, facts, tables_among
from langgraph_rlm.tables.desk import INSTALL, QUERY_SECONDS, is_installed
from langgraph_rlm.tables.words import QueryError

MAX_ROWS = 10_000
MAX_QUERY_CHARS = 100_000
MAX_CALLS = 2_000
"""Calls of one cell after which it may make no more queries: each is in the log."""

_info = read(lambda reader, given: (reader.info(**given), []))


def context_info(called: Called) -> Answer:
    """Tell what a context is, with its tables."""
    answer = _info(called)
    handle = context_named(called.arguments["of"], called)
    if handle.tables is None or not isinstance(answer, Returned) or not is_dict(answer.value):
        return answer
    if answer.value.get("page", 0) > 0:
        return answer  # the first page has them
    known = [each.table for each in _all(called) if each.handle == handle]
    about: dict[str, Any] = {**answer.value, "tables": [facts(table) for table in known]}
    left_out = catalog_of(handle, called.host.blobs).left_out
    if left_out:
        about["no_tables"] = list(left_out)
    return Returned(about)


def sql(called: Called) -> Request:
    """Make a request of a query, which the host answers at once. Raises `BadCall`."""
    query, max_rows = called.arguments["query"], called.arguments["max_rows"]
    if not isinstance(query, str) or len(query) > MAX_QUERY_CHARS:
        raise BadCall(
            "ValueError",
            f"sql: the query must be a str of at most {MAX_QUERY_CHARS:,} characters.",
        )
    if not is_whole(max_rows) or not 1 <= max_rows <= MAX_ROWS:
        raise BadCall(
            "ValueError",
            f"sql(max_rows={max_rows!r}): it must be a whole number from 1 to {MAX_ROWS:,}.",
        )
    if called.cell.ordinal >= MAX_CALLS:
        raise BadCall(
            "RuntimeError",
            f"sql: this cell has made {MAX_CALLS:,} calls. Ask for more at once: GROUP BY, JOIN, "
            "or a larger max_rows.",
        )
    known = _wanted(called)
    handles = {(each.handle.digest, each.handle.tables) for each in known}
    payload = {
        "query": query,
        "max_rows": max_rows,
        "of": called.arguments["of"],
        "contexts": sorted(handles),
    }
    return Request(
        "sql",
        called.name,
        payload,
        1,
        on_host=lambda seconds: _answered(called, known, query, max_rows, seconds),
    )


def _all(called: Called) -> list[Known]:
    try:
        return tables_among(called.handles, called.host.blobs)
    except (ContextError, ValueError) as error:
        raise BadCall("ValueError", f"{called.name}: {error}") from None


def _wanted(called: Called) -> list[Known]:
    """Give the tables that a query may name."""
    known, of = _all(called), called.arguments["of"]
    if of is not None:
        handle = context_named(of, called)
        known = [each for each in known if each.handle == handle]
    if known:
        return known
    missing = "" if is_installed() else f" (DuckDB is not installed: {INSTALL})"
    raise BadCall(
        "ValueError",
        f"sql: no table is among the contexts{missing}. Tables are CSV, TSV, JSONL, Parquet, "
        "XLSX and SQLite files, and lists of dicts.",
    )


def _answered(
    called: Called, known: Sequence[Known], query: str, max_rows: int, seconds: float
) -> ReplyEntry:
    """Answer a query within what is left of the run's time."""
    host = called.host
    allowed = max(0.1, min(QUERY_SECONDS, seconds))
    started = time.monotonic()
    try:
        rows, touched = host.desk.rows(known, query, max_rows, host.blobs, allowed)
    except QueryError as error:
        return error_entry(str(error))
    reads = defaultdict[str, Touched](Touched)
    for each in touched:
        reads[each.handle.digest].add([each.table.span])
    return ReplyEntry(
        kind="reply",
        value=host.blobs.put_text(ordered(rows)),
        error=None,
        model=None,
        json=True,
        **noted(reads),
        at=epoch(),
        seconds=seconds_since(started),
    )
