"""Packed: a few JSON values and the bytes that they tell of, as one piece of bytes."""

import json
from collections.abc import Mapping
from typing import Any

from langgraph_rlm.storage.json_types import is_dict

LENGTH_BYTES = 8


def pack(about: Mapping[str, Any], body: bytes) -> bytes:
    """Put JSON values in front of bytes."""
    head = json.dumps(about).encode()
    return len(head).to_bytes(LENGTH_BYTES, "big") + head + body


def unpack(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Take apart what `pack` has put together.

    Raises:
        ValueError: it is something else.
    """
    start = LENGTH_BYTES
    end = start + int.from_bytes(data[:start], "big")
    about = json.loads(data[start:end])
    if not is_dict(about):
        raise ValueError(f"JSON of an object was expected, got {str(about)[:40]!r}")
    return about, data[end:]
