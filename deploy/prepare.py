"""Prepare: make the tables, before a worker or a server starts; may run any number of times.

Aegra's workers would make them too, but fail when several of them start at once on a new database.
"""

import os

import psycopg
from aegra_api.core.migrations import run_migrations
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.store.postgres import PostgresStore

LOCK = 0x726C6D
"""Of PostgreSQL's advisory locks: one process prepares at a time."""


def main() -> None:
    """Make all tables."""
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", [LOCK])
        run_migrations()
        with PostgresSaver.from_conn_string(url) as saver:
            saver.setup()
        with PostgresStore.from_conn_string(url) as store:
            store.setup()
    print("The tables are there.")


if __name__ == "__main__":
    main()
