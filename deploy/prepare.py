"""Prepare: make the tables and the engine's assistants, before a worker or a server starts.

May run anywhere, any number of times. Aegra's workers would make all of it too, but some of them
fail when several start at once on a new database.
"""

import asyncio
import os

import psycopg
from aegra_api.core.database import db_manager
from aegra_api.core.migrations import run_migrations
from aegra_api.services.langgraph_service import get_langgraph_service

LOCK = 0x726C6D
"""Of PostgreSQL's advisory locks: one process prepares at a time."""


async def _initialize() -> None:
    await db_manager.initialize()
    try:
        await get_langgraph_service().initialize()
    finally:
        await db_manager.close()


def main() -> None:
    """Make what is not there yet."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", [LOCK])
        run_migrations()
        asyncio.run(_initialize())
    print("The tables are there.")


if __name__ == "__main__":
    main()
