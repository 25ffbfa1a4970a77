"""Parts: the texts, contexts and files that a thread names, as answers. Hostile all of them.

Only what the thread's records name is given: a digest is no password.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from langgraph_rlm.documents.kinds import HEAD_BYTES, kind_of
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.storage.backends import CHUNK
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.media import SENT
from langgraph_rlm.ui.feeds import Follower

DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
MOST = 1 << 20
"""Bytes of a context that are given at once, at most."""
USUAL = 1 << 16
"""Bytes of a context that are given where no end is asked for."""
WIDEST = 4
"""Bytes of the widest character."""
TEXT = "text/plain; charset=utf-8"
UNKNOWN = "application/octet-stream"


def digest_of(request: Request) -> str:
    """Give the digest that is asked for.

    Raises:
        Refused: it is none.
    """
    digest = request.path_params["digest"]
    if not DIGEST.fullmatch(digest):
        raise Refused(404, "That is no digest: it has 64 hexadecimal digits.")
    return digest


def _check_named(follower: Follower, digest: str) -> None:
    if not follower.names(digest):
        raise Refused(404, f"The thread names no {digest}.")


async def text_of(follower: Follower, digest: str) -> Response:
    """Give a text."""
    _check_named(follower, digest)
    text = await follower.text(digest)
    return Response(text.encode("utf-8", "replace"), headers={"content-type": TEXT})


async def context_of(follower: Follower, blobs: BlobStore, request: Request) -> Response:
    """Give the whole characters of a byte range of a context. `x-range` says where they stand."""
    digest = digest_of(request)
    _check_named(follower, digest)
    start = _number(request, "start", 0)
    end = _number(request, "end", start + USUAL)
    if not start <= end <= start + MOST:
        raise Refused(422, f"Give start <= end, at most {MOST:,} bytes apart.")
    data = await asyncio.to_thread(blobs.part, digest, start, end)
    first, last = _whole(data)
    return Response(
        data[first:last].decode("utf-8", "replace").encode("utf-8", "replace"),
        headers={"content-type": TEXT, "x-range": f"{start + first}-{start + last}"},
    )


def _number(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, str(default))
    if not re.fullmatch(r"\d{1,15}", given, re.ASCII):
        raise Refused(422, f"{name} must be a number of bytes.")
    return int(given)


def _whole(data: bytes) -> tuple[int, int]:
    """Find the first and the last of the whole characters in some bytes of UTF-8."""
    first = 0
    while first < min(len(data), WIDEST - 1) and data[first] & 0xC0 == 0x80:
        first += 1
    for back in range(1, min(len(data) - first, WIDEST) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            width = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return first, len(data) - (back if back < width else 0)
    return first, len(data)


async def blob_of(follower: Follower, blobs: BlobStore, digest: str) -> Response:
    """Give the bytes of a picture, to show, or of any other file, to save.

    What it is is read from its bytes; a browser runs nothing of it.
    """
    _check_named(follower, digest)
    path = await asyncio.to_thread(blobs.path, digest)
    head = await asyncio.to_thread(_part, path, 0, HEAD_BYTES)
    kind = kind_of(head, b"", "")
    headers = {"content-length": str((await asyncio.to_thread(path.stat)).st_size)}
    if kind is not None and kind.type in SENT:
        headers["content-type"] = kind.type
    else:
        headers["content-type"] = UNKNOWN
        headers["content-disposition"] = f'attachment; filename="{digest[:16]}"'
    return StreamingResponse(_bytes(path), headers=headers)


async def _bytes(path: Path) -> AsyncGenerator[bytes]:
    offset = 0
    while part := await asyncio.to_thread(_part, path, offset, CHUNK):
        offset += len(part)
        yield part


def _part(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
