"""Store files: a LangGraph store (`BaseStore`) as a file system, with what blobs need of one.

A store has JSON values and no transactions. A file is a head, which names an upload, and the
upload's chunks in base64. The head is written last, so that a file is there whole or not at all.
"""

import base64
import io
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, PutOp, SearchOp
from langgraph.store.base import MatchCondition as Match

from langgraph_rlm.storage.backends import chunks_of
from langgraph_rlm.storage.pieces_file import PiecesFile

NAMESPACE = "langgraph_rlm_blobs"
"""The first name of the namespaces of all that is stored."""

HEADS, DATA = "heads", "data"
"""The second name: of what files there are, and of what is in them."""

LISTED = 10_000
"""Heads that are read at a time. Tags are fewer, and so are seen as they are at one moment."""


class StoreFiles:
    """The part of fsspec's file systems that `remote.py` uses, over a store.

    Every method blocks: it must not be called on the loop of an async store.
    """

    def __init__(self, store: BaseStore) -> None:
        self._store = store

    def invalidate_cache(self, path: str = "") -> None:
        """Do nothing: nothing is remembered."""

    def makedirs(self, path: str, exist_ok: bool = True) -> None:
        """Do nothing: folders are there with their files."""

    def exists(self, path: str) -> bool:
        """Whether there is a file."""
        return self._head(path) is not None

    def info(self, path: str) -> Mapping[str, Any]:
        """Give the size and the time of a file."""
        return _info(self._there(path))

    def find(self, folder: str, detail: bool = False) -> Mapping[str, Mapping[str, Any]]:
        """List the files in a folder and the folders in it."""
        top = [each for each in folder.split("/") if each]
        return {path: _info(head) for path, head in self._heads((NAMESPACE, HEADS, *top))}

    def ls(self, folder: str, detail: bool = False) -> list[str]:
        """List the folders of the root."""
        asked = ListNamespacesOp((Match("prefix", (NAMESPACE, HEADS)),), 3, LISTED, 0)
        [found] = self._asked(asked)
        return [f"/{each[2]}" for each in found if len(each) > 2]

    def open(self, path: str, mode: str = "rb") -> BinaryIO:
        """Open a file to be read."""
        return PiecesFile(self._chunks(path, self._there(path))).buffered()

    def cat_file(self, path: str) -> bytes:
        """Read a file whole."""
        return b"".join(self._chunks(path, self._there(path)))

    def pipe_file(self, path: str, data: bytes) -> None:
        """Write a file, in place of what was there."""
        self._write(path, io.BytesIO(data))

    def put_file(self, source: str, path: str) -> None:
        """Write a file with the bytes of a local one."""
        with Path(source).open("rb") as file:
            self._write(path, file)

    def cp_file(self, path: str, target: str) -> None:
        """Copy a file."""
        with self.open(path) as file:
            self._write(target, file)

    def rm_file(self, path: str) -> None:
        """Delete a file."""
        head = self._head(path)
        if head is not None:
            self._asked(PutOp(*_place(path), None))
            self._delete(head)

    def _write(self, path: str, file: BinaryIO) -> None:
        before = self._head(path)
        upload, size, number = uuid.uuid4().hex, 0, 0
        for number, part in enumerate(chunks_of(file), 1):
            text = base64.b64encode(part).decode()
            self._asked(PutOp(_data(upload), str(number - 1), {"base64": text}, index=False))
            size += len(part)
        value = {"size": size, "upload": upload, "chunks": number}
        self._asked(PutOp(*_place(path), value, index=False))
        if before is not None:
            self._delete(before)

    def _chunks(self, path: str, head: Any) -> Iterator[bytes]:
        value = head.value
        for number in range(value["chunks"]):
            [found] = self._asked(GetOp(_data(value["upload"]), str(number)))
            if found is None:  # it was written anew, or deleted, in this moment
                raise FileNotFoundError(path)
            yield base64.b64decode(found.value["base64"])

    def _delete(self, head: Any) -> None:
        for number in range(head.value["chunks"]):
            self._asked(PutOp(_data(head.value["upload"]), str(number), None))

    def _there(self, path: str) -> Any:
        head = self._head(path)
        if head is None:
            raise FileNotFoundError(path)
        return head

    def _head(self, path: str) -> Any:
        return self._asked(GetOp(*_place(path)))[0]

    def _heads(self, prefix: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        offset = 0
        while True:
            [found] = self._asked(SearchOp(prefix, None, LISTED, offset, None))
            for head in found:
                if head.namespace[: len(prefix)] == prefix:  # some stores match names in part
                    yield f"/{'/'.join(head.namespace[2:])}/{head.key}", head
            if len(found) < LISTED:
                return
            offset += LISTED

    def _asked(self, *asked: Any) -> list[Any]:
        return self._store.batch(asked)


def _place(path: str) -> tuple[tuple[str, ...], str]:
    """Give the namespace and the key of a head. No name of ours has a dot in it."""
    *folders, name = [each for each in path.split("/") if each]
    return (NAMESPACE, HEADS, *folders), name


def _data(upload: str) -> tuple[str, ...]:
    return (NAMESPACE, DATA, upload)


def _info(head: Any) -> Mapping[str, Any]:
    return {"size": head.value["size"], "modified": head.updated_at}
