"""Postgres: blobs in tables of a PostgreSQL database, for any number of machines.

A blob of at most `CHUNK` bytes is one row. A larger one is a row and its chunks, written in one
transaction, so that it is there whole or not at all. All times are of the database's clock.
"""

import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from langgraph_rlm.storage.backends import CHUNK, Fill, Stored, unusable
from langgraph_rlm.storage.cache import open_cache
from langgraph_rlm.storage.pieces_file import PiecesFile
from langgraph_rlm.storage.postgres_pool import Pool
from langgraph_rlm.storage.postgres_tags import PostgresTags
from langgraph_rlm.storage.tags import Tags

if TYPE_CHECKING:
    from psycopg import Connection

AT_ONCE = 8
"""Chunks that are on their way at the same time: a gigabyte over a network of 20 ms then waits 3 s
for answers, and not 20."""

ASK_FROM = 16 << 10
"""Bytes from which it is asked whether a blob is there before it is sent."""

LISTED = 10_000
"""Blobs of a listing that are read at a time."""

RENEW = (
    "UPDATE {blobs} SET used = clock_timestamp(), aside = NULL WHERE digest = %b "
    "AND (%b::bigint IS NULL OR size = %b AND (data IS NULL OR sha256(data) = digest)) "
    "RETURNING size"
)
KEEP = (
    "INSERT INTO {blobs} AS blob (digest, size, data) VALUES (%b, %b, %b) ON CONFLICT (digest) "
    "DO UPDATE SET used = clock_timestamp(), aside = NULL, size = excluded.size, data = CASE "
    "WHEN blob.data = excluded.data THEN blob.data ELSE excluded.data END"
)
BEGIN = (
    "INSERT INTO {blobs} AS blob (digest, size) VALUES (%b, %b) ON CONFLICT (digest) "
    "DO UPDATE SET used = clock_timestamp(), aside = NULL RETURNING size, xmax::text = '0'"
)
"""Waits while another process writes the same blob, which then needs no second time."""

LIST = (
    "SELECT digest, size, extract(epoch FROM used)::float8, aside FROM {blobs} "
    "WHERE digest > %b AND (aside IS NOT NULL) = %s ORDER BY digest LIMIT %s"
)


class Postgres:
    """Tables of a database. Files for `mmap`, and large blobs that were read, are in the cache.

    To set a blob aside and to put it are changes of one row, which the database does one after the
    other: whoever comes second sees what the first did.
    """

    slack = 1.0
    deletes_at_once = True

    def __init__(self, url: str) -> None:
        self._pool = Pool(url)
        self._cache = open_cache()
        self.location = self._pool.location
        self.tags: Tags = PostgresTags(self._pool)

    def where(self, digest: str) -> str:
        return f"the row {digest[:2]}/{digest[2:]} of {self.location}"

    def clock(self) -> float:
        [(now,)] = self._pool.ask("SELECT extract(epoch FROM clock_timestamp())::float8")
        return now

    def has(self, digest: str) -> bool:
        return bool(self._pool.ask("SELECT 1 FROM {blobs} WHERE digest = %b", (_key(digest),)))

    def renewed(self, digest: str, size: int | None = None) -> bool:
        return bool(self._pool.ask(RENEW, (_key(digest), size, size)))

    def read(self, digest: str) -> bytes:
        return self._cache.read(digest, self._pieces(digest))

    def local(self, digest: str) -> Path:
        path = self._cache.path(digest, self._pieces(digest))
        if path is None:
            raise unusable("altered", digest, self)
        return path

    def keep(self, digest: str, data: bytes) -> None:
        if len(data) > CHUNK:
            self._keep_large(digest, len(data), io.BytesIO(data))
        elif len(data) < ASK_FROM or not self.renewed(digest, len(data)):
            self._pool.tell(KEEP, (_key(digest), len(data), data))

    def write(self, fill: Fill) -> tuple[str, int]:
        digest, size = self._cache.write(fill)
        path = self._cache.path(digest, ())
        if path is None:
            raise OSError(f"the cache has lost {digest} while it was stored")
        with path.open("rb") as file:
            if size > CHUNK:
                self._keep_large(digest, size, file)
            else:
                self.keep(digest, file.read())
        return digest, size

    def _keep_large(self, digest: str, size: int, file: BinaryIO) -> None:
        if self.renewed(digest, size):
            return

        def upload(connection: "Connection[Any]") -> None:
            file.seek(0)
            with connection.transaction():
                self._upload(connection, digest, size, file)

        self._pool.make()
        self._pool.run(upload)

    def _upload(
        self, connection: "Connection[Any]", digest: str, size: int, file: BinaryIO
    ) -> None:
        key = _key(digest)
        [(found, is_new)] = self._pool.sent(connection, BEGIN, (key, size))
        if not is_new:
            if found == size:
                return
            self._pool.sent(connection, "DELETE FROM {chunks} WHERE digest = %b", (key,))
        insert = self._pool.statement("INSERT INTO {chunks} VALUES (%b, %b, %b)")
        number = 0
        while rows := [(key, n, part) for n, part in _next(file, number)]:
            with connection.cursor() as cursor:
                cursor.executemany(insert, rows)
            number += len(rows)
        update = "UPDATE {blobs} SET used = clock_timestamp(), size = %b, data = NULL"
        self._pool.sent(connection, f"{update} WHERE digest = %b", (size, key))

    def _pieces(self, digest: str, *, is_use: bool = True) -> Iterator[bytes]:
        """Give the bytes of a blob, a few chunks at a time. One that is set aside is put back."""
        key = _key(digest)
        found = self._pool.ask("SELECT data, aside FROM {blobs} WHERE digest = %b", (key,))
        if not found:
            raise FileNotFoundError(digest)
        [(data, aside)] = found
        if aside is not None and is_use:
            self.put_back(f"{digest}.{aside}")
        if data is not None:
            yield data
            return
        select = (
            "SELECT data FROM {chunks} WHERE digest = %b AND number >= %s AND number < %s "
            "ORDER BY number"
        )
        number = 0
        while rows := self._pool.ask(select, (key, number, number + AT_ONCE)):
            yield from (row[0] for row in rows)
            number += AT_ONCE

    def read_note(self, key: str) -> bytes:
        found = self._pool.ask("SELECT data FROM {notes} WHERE key = %s", (key,))
        if not found:
            raise FileNotFoundError(key)
        return found[0][0]

    def write_note(self, key: str, data: bytes) -> None:
        self._pool.tell(
            "INSERT INTO {notes} VALUES (%s, %b) ON CONFLICT (key) "
            "DO UPDATE SET data = excluded.data",
            (key, data),
        )

    def noted(self) -> Iterator[tuple[str, bytes]]:
        yield from self._pool.ask("SELECT key, data FROM {notes}")  # pyright: ignore[reportReturnType]

    def delete_note(self, name: str) -> None:
        self._pool.ask("DELETE FROM {notes} WHERE key = %s", (name,))

    def reader(self, digest: str) -> BinaryIO:
        return PiecesFile(self._pieces(digest, is_use=False)).buffered()

    def is_empty(self) -> bool:
        return not self._pool.ask("SELECT 1 FROM {blobs} LIMIT 1")

    def blobs(self) -> Iterator[Stored]:
        for digest, size, used, _ in self._listed(is_aside=False):
            yield Stored(digest, size, used, digest)

    def aside(self) -> Iterator[Stored]:
        for digest, size, used, token in self._listed(is_aside=True):
            yield Stored(digest, size, used, f"{digest}.{token}")

    def _listed(self, *, is_aside: bool) -> Iterator[tuple[str, int, float, str]]:
        last = b""
        while rows := self._pool.ask(LIST, (last, is_aside, LISTED)):
            for key, size, used, token in rows:
                yield key.hex(), size, used, token
            last = rows[-1][0]

    def set_aside(self, digest: str, before: float) -> str | None:
        token = uuid.uuid4().hex
        found = self._pool.ask(
            "UPDATE {blobs} SET aside = %s WHERE digest = %b AND aside IS NULL "
            "AND used < to_timestamp(%s::float8) RETURNING 1",
            (token, _key(digest), before),
        )
        return f"{digest}.{token}" if found else None

    def put_back(self, name: str) -> None:
        digest, _, token = name.partition(".")
        self._pool.ask(
            "UPDATE {blobs} SET aside = NULL WHERE digest = %b AND aside = %s",
            (_key(digest), token),
        )

    def delete_aside(self, name: str) -> None:
        digest, _, token = name.partition(".")
        self._pool.ask(
            "DELETE FROM {blobs} WHERE digest = %b AND aside = %s", (_key(digest), token)
        )
        self._cache.drop(digest)

    def delete_unfinished(self, before: float) -> int:
        return 0  # what is not committed is not there


def _key(digest: str) -> bytes:
    return bytes.fromhex(digest)


def _next(file: BinaryIO, number: int) -> Iterator[tuple[int, bytes]]:
    """Give the next chunks of a file, with their numbers from `number` on."""
    for each in range(number, number + AT_ONCE):
        part = file.read(CHUNK)
        if not part:
            return
        yield each, part
