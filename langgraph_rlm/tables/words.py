"""Words: what a worker says, checked and made the host's own. Asks nobody.

It is a stranger's word: what has another form than was asked for is an error of the query.
"""

import json
from collections.abc import Sequence
from typing import Any

from langgraph_rlm.processes.worker import WorkerFailed, WorkerRefused
from langgraph_rlm.storage.json_types import is_array, is_dict
from langgraph_rlm.tables.catalog import Known, Table, columns_of
from langgraph_rlm.tables.names import distinct, sql_name
from langgraph_rlm.tables.sources import Source

MAX_CHARS = 10_000_000
"""Most characters of one answer, as JSON."""
MAX_TABLES = 1_000
"""Tables of one context."""
MAX_COLUMNS = 2_000
COLUMNS_CHARS = 200_000
"""Most characters of all names and types of a table's columns."""
ERROR_CHARS = 2_000
TOLD_TABLES = 10
TELL_TABLES = ("RefusedQuery", "BinderException", "CatalogException")
"""Errors that name the tables there are."""


class QueryError(Exception):
    """A query has no answer. The message says why, and what to do."""


def tables_of(found: Any, source: Source, taken: Sequence[str]) -> list[Table]:
    """Make tables of what a worker has found in a file.

    Raises:
        QueryError: it is not of that form.
    """
    tables: list[Table] = []
    for each in found if is_array(found) else []:
        match each:
            case {"columns": [*columns], "rows": int() | None as rows} if _fit(columns):
                part = each.get("part")
                path = source.path or "table"
                name = distinct(sql_name(path, part), [*taken, *(table.name for table in tables)])
                table = Table(
                    name=name,
                    path=source.path,
                    part=None if part is None else str(part),
                    form=source.form,
                    digest=source.digest,
                    piece=source.piece,
                    span=source.span,
                    columns=tuple((str(column), str(kind)) for column, kind in columns),
                    rows=rows,
                )
                tables.append(table)
            case _:
                raise QueryError(
                    f"it has more than {MAX_COLUMNS:,} columns, or their types are long"
                )
    return tables[:MAX_TABLES]


def _fit(columns: Sequence[Any]) -> bool:
    """Whether columns are pairs of texts, and no more or longer than they may be."""
    pairs = [column for column in columns if is_array(column) and len(column) == 2]
    texts = [text for pair in pairs for text in pair if isinstance(text, str)]
    are_pairs = len(texts) == 2 * len(columns)
    return are_pairs and len(columns) <= MAX_COLUMNS and sum(map(len, texts)) <= COLUMNS_CHARS


def names_of(named: Any) -> list[str]:
    return [name for name in named if isinstance(name, str)] if is_array(named) else []


def rows_of(text: Any, max_rows: int) -> list[dict[str, Any]]:
    """Check an answer: JSON, a list of dicts, within its bounds."""
    try:
        rows = json.loads(text) if isinstance(text, str) and len(text) <= MAX_CHARS else None
    except (ValueError, RecursionError):
        rows = None
    if not is_array(rows) or len(rows) > max_rows or not all(map(is_dict, rows)):
        raise QueryError("the query was ended: its process answered with something else.")
    return [*rows]


def plainly(error: WorkerFailed) -> str:
    return str(error).partition(" (exit")[0]


def explained(error: WorkerRefused, known: Sequence[Known]) -> str:
    """Make of an engine's error one that code can act on."""
    message = str(error).partition("\n\nPossible solutions")[0]
    message = message.partition("\nPossible solutions")[0]
    if error.type == "OutOfMemoryException":
        return "The query needs more than 512 MB of memory: filter or aggregate first."
    if error.type == "TookTooLong":
        return f"The query was ended: {message}. Filter or aggregate first."
    if (error.type == "ConversionException" and "CSV Error" in message) or "JSON" in message:
        message += (
            "\nTypes of a large file are those of its first rows. The same table with every "
            "column as text has `_as_text` after its name: use TRY_CAST(column AS ...) on it."
        )
    tables = _told(known) if error.type in TELL_TABLES else ""
    return message[:ERROR_CHARS] + tables


def _told(known: Sequence[Known]) -> str:
    """Name the tables and their columns."""
    named = [f"{each.table.name}({columns_of(each.table)})" for each in known[:TOLD_TABLES]]
    more = f" and {len(known) - TOLD_TABLES:,} more" if len(known) > TOLD_TABLES else ""
    return f"\nTables: {'; '.join(named)}{more}." if known else ""


def first_line(message: str) -> str:
    return message.partition("\n")[0][:200]
