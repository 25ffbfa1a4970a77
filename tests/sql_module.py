"""A DuckDB without any lock, for a worker: what does the jail alone hold?"""

from typing import Any

import duckdb


def answer(request: Any) -> Any:
    """Run SQL with every door of DuckDB's own open."""
    with duckdb.connect(":memory:") as connection:
        connection.execute(request["sql"])
        return str(connection.fetchall())
