"""Postgres tags: who uses a store in a database. A claim is a row that its process keeps young."""

import os
import threading
from collections.abc import Iterator

from langgraph_rlm.storage.postgres_pool import Pool
from langgraph_rlm.storage.tags import Release

BEAT_SECONDS = 60.0
"""How often a process says that it lives, as long as it has claims."""

DEAD_AFTER = "30 minutes"
"""How long it may be silent. What was put in the last hour stays in any case (`GRACE`)."""

WRITE = (
    "INSERT INTO {users} VALUES (%s, %b, clock_timestamp()) ON CONFLICT (name) "
    "DO UPDATE SET data = excluded.data, seen = excluded.seen"
)


class PostgresTags:
    """Tags in a table. Whether a claim's process lives, its row says by the database's clock."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._beat = _Beat(pool)

    def read(self) -> Iterator[tuple[str, bytes]]:
        found = self._pool.ask("SELECT name, data FROM {users} ORDER BY name")
        return ((name, data) for name, data in found)

    def write(self, name: str, data: bytes) -> None:
        self._pool.tell(WRITE, (name, data))

    def claim(self, name: str, data: bytes) -> Release:
        owner = os.getpid()
        if self._beat.owner != owner:
            self._beat = _Beat(self._pool)  # this is a forked child, and the claims its parent's
        beat = self._beat
        self.write(name, data)
        beat.add(name, data)

        def release() -> None:
            if os.getpid() == owner:
                beat.remove(name)
                self.delete(name)

        return release

    def is_claimed(self, name: str) -> bool:
        alive = "SELECT 1 FROM {users} WHERE name = %s AND seen > clock_timestamp() - %s::interval"
        return bool(self._pool.ask(alive, (name, DEAD_AFTER)))

    def delete(self, name: str) -> None:
        self._pool.ask("DELETE FROM {users} WHERE name = %s", (name,))


class _Beat:
    """Keeps the claims of this process young, by a thread that ends with the last one."""

    def __init__(self, pool: Pool) -> None:
        self.owner = os.getpid()
        self._pool = pool
        self._claims: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._beats = False

    def add(self, name: str, data: bytes) -> None:
        with self._changed:
            self._claims[name] = data
            if not self._beats:
                self._beats = True
                threading.Thread(target=self._run, name="rlm-blob-claims", daemon=True).start()

    def remove(self, name: str) -> None:
        with self._changed:
            self._claims.pop(name, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(BEAT_SECONDS)
                claims = dict(self._claims)
                if not claims:
                    self._beats = False
                    return
            self._renew(claims)

    def _renew(self, claims: dict[str, bytes]) -> None:
        names, data = [*claims], [*claims.values()]
        try:
            self._pool.tell(
                "INSERT INTO {users} SELECT name, data, clock_timestamp() "
                "FROM unnest(%s::text[], %s::bytea[]) AS given(name, data) "
                "ON CONFLICT (name) DO UPDATE SET seen = excluded.seen",
                (names, data),
            )
            with self._changed:
                ended = [name for name in names if name not in self._claims]
            for name in ended:  # it may have come back after its end
                self._pool.ask("DELETE FROM {users} WHERE name = %s", (name,))
        except OSError:
            return  # the next beat may come through; it is silent for long before that matters
