"""PostgreSQL: statements over the connections of a saver, sync or async."""

import asyncio
from collections.abc import Sequence
from typing import Any


async def asked(own: Any, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Ask PostgreSQL over a saver. An async one is asked on its own loop, a sync one in a thread.

    Each statement stands alone: nothing is left in the session, so a pool between here and the
    server may give each of them another session.

    Raises:
        psycopg.Error: as the driver does.
    """

    pipe = getattr(own, "pipe", None)  # one that is kept open commits, and answers, when told to

    async def ask_async() -> list[Any]:
        async with own._cursor() as cursor:
            await cursor.execute(sql, values)
            if pipe:
                await pipe.sync()
            return [] if cursor.description is None else await cursor.fetchall()

    def ask() -> list[Any]:
        with own._cursor() as cursor:
            cursor.execute(sql, values)
            if pipe:
                pipe.sync()
            return [] if cursor.description is None else cursor.fetchall()

    loop = getattr(own, "loop", None)
    if loop is None:
        return await asyncio.to_thread(ask)
    if loop is asyncio.get_running_loop():
        return await ask_async()
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(ask_async(), loop))


def is_closed(own: Any) -> bool:
    """Whether a saver's connection or pool will not work again."""
    return bool(getattr(own.conn, "closed", False) or getattr(own.conn, "broken", False))
