"""Wire: how the HTTP process and the process of the runs talk, over a socket: one connection a request, frames with their length ahead.

A request is a frame with its owner, its body in frames, an empty frame. An answer is a frame with its head, its body in frames, an empty
frame. Closing the connection early cancels the request.
"""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any

LENGTH = struct.Struct(">I")
END = LENGTH.pack(0)


def frame(data: bytes) -> bytes:
    """One frame."""
    return LENGTH.pack(len(data)) + data


def head_frame(value: Mapping[str, Any]) -> bytes:
    """The first frame of either side."""
    return frame(json.dumps(value).encode())


async def read_head(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The first frame of the other side."""
    return json.loads(await read_frame(reader))


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame; an empty one is the end. Raises IncompleteReadError: the other side is gone."""
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    return await reader.readexactly(length) if length else b""


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The frames up to the end."""
    while part := await read_frame(reader):
        yield part
