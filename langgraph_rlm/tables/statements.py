"""Statements: whether a query does nothing but read the tables that there are.

Runs in the worker. It is a list of what is allowed, over the tree that DuckDB's own parser makes
of a query: whatever is not on it is refused, also what DuckDB will have tomorrow. DuckDB's own
locks (`engine.py`) and the jail of the process hold by themselves.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from langgraph_rlm.storage.json_types import is_dict, is_list

MAX_DEPTH = 200
"""Levels of a query's tree, about two for each pair of brackets."""
TELLING = frozenset({"current_setting", "getenv", "getvariable", "write_log", "nextval", "currval"})
"""Functions that tell of the process, or change something in it."""
FUNCTIONS = frozenset(
    {"range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree"}
)
"""Functions that may stand for a table: those that read neither files nor the database itself."""
NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
"""Statements and parts of one, as the tree names them: none of them writes."""


class RefusedQuery(ValueError):
    """The query is no single read of the tables that there are. The message says what to do."""


def tables_in(query: str, known: Mapping[str, str], connection: Any) -> list[str]:
    """Check a query, and name the tables that it reads.

    Args:
        query: of one statement.
        known: the tables that there are: from their names in lower case to their names.
        connection: parses it.

    Raises:
        RefusedQuery: it does anything but read them.
        duckdb.Error: it is no SQL.
    """
    _check_kind(query)
    tree = _tree(query, connection)
    nodes = [node for node in _dicts(tree, 0) if isinstance(node.get("type"), str)]
    own = {name.lower() for node in _dicts(tree, 0) for name in _ctes_of(node)}
    found: dict[str, None] = {}
    for node in nodes:
        _check_node(node)
        if node["type"] == "BASE_TABLE":
            name = _table_name(node)
            if name.lower() in known:
                found[known[name.lower()]] = None
            elif name.lower() not in own:
                raise RefusedQuery(f"There is no table {name!r}.")
    return list(found)


def _check_kind(query: str) -> None:
    kinds = [statement.type for statement in duckdb.extract_statements(query)]
    if not kinds:
        raise RefusedQuery("The query is empty.")
    if len(kinds) > 1 and kinds[0] == duckdb.StatementType.SELECT:
        raise RefusedQuery(f"One statement at a time, and these are {len(kinds)}.")
    if kinds != [duckdb.StatementType.SELECT]:
        name = str(kinds[0]).rpartition(".")[2]
        raise RefusedQuery(
            f"Only one SELECT (or WITH, FROM, VALUES, DESCRIBE, SUMMARIZE) is answered, and this "
            f"is {name}. PIVOT needs its values named: PIVOT t ON column IN ('a', 'b') USING ..."
        )


def _tree(query: str, connection: Any) -> Any:
    """Give the tree of a query's syntax."""
    text = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchone()[0]
    try:
        tree = json.loads(text)
    except RecursionError:
        raise RefusedQuery("The query is nested too deeply.") from None
    if tree.get("error"):
        raise RefusedQuery(str(tree.get("error_message")))
    return tree["statements"]


def _dicts(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Give every dict of a tree."""
    if depth > MAX_DEPTH:
        raise RefusedQuery("The query is nested too deeply.")
    if is_dict(value):
        yield value
        for inner in value.values():
            yield from _dicts(inner, depth + 1)
    elif is_list(value):
        for inner in value:
            yield from _dicts(inner, depth + 1)


def _ctes_of(node: dict[str, Any]) -> Iterator[str]:
    """Name the tables that a query's own WITH defines."""
    for pair in node.get("cte_map", {}).get("map", []):
        yield pair["key"]
    if node.get("type") in ("RECURSIVE_CTE_NODE", "CTE_NODE"):
        yield node["cte_name"]


def _check_node(node: dict[str, Any]) -> None:
    kind = node["type"]
    if kind.endswith("_NODE") and kind not in NODES:
        raise RefusedQuery("The query writes: only reading is answered.")
    if str(node.get("function_name", "")).lower() in TELLING:
        raise RefusedQuery(f"There is no function {node['function_name']}() here.")
    if kind == "SHOW_REF" and node.get("query") is None:
        raise RefusedQuery("SHOW is not answered: context_info() lists the tables.")
    if kind == "TABLE_FUNCTION":
        name = node["function"].get("function_name", "")
        if str(name).lower() not in FUNCTIONS:
            raise RefusedQuery(
                f"{name}() cannot stand for a table here: files are read by the names of their "
                f"tables, and of functions there are {', '.join(sorted(FUNCTIONS))}."
            )


def _table_name(node: dict[str, Any]) -> str:
    place = ".".join(filter(None, (node.get("catalog_name"), node.get("schema_name"))))
    if place and place.lower() not in ("main", "memory", "memory.main"):
        raise RefusedQuery(f"There is no table {place + '.' + node['table_name']!r}.")
    return node["table_name"]
