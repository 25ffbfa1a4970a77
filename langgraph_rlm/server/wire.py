"""Wire: how the HTTP process and the run process talk over a socket, one connection a request.

Everything is a frame: its length, then its bytes. A request is a frame with its owner, and the file
that it asks for if it does; its body in frames; and an empty frame. An answer is a frame with its
head, its body in frames, and an empty frame. Closing the connection early cancels the request.
"""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any

LENGTH = struct.Struct(">I")
END = LENGTH.pack(0)


def frame(data: bytes) -> bytes:
    """Make one frame."""
    return LENGTH.pack(len(data)) + data


def head_frame(value: Mapping[str, Any]) -> bytes:
    """Make the first frame of either side."""
    return frame(json.dumps(value).encode())


async def read_head(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Read the first frame of the other side."""
    return json.loads(await read_frame(reader))


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Read the next frame; an empty one is the end.

    Raises:
        IncompleteReadError: the other side is gone.
    """
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if not length:
        return b""
    return await reader.readexactly(length)


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Read the frames up to the end."""
    while part := await read_frame(reader):
        yield part
