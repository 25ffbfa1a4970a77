"""Reply files: the files of a run as a reply names them, and as content blocks where asked for."""

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any

from langgraph_rlm.chat.ids import RUN_CHARS
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.out_files import GivenFile

MAX_BLOCK_BYTES = 20 << 20
"""Most bytes of the files that one reply carries as blocks; others are named alone."""

DIGITS = 16
FILE_ID = re.compile(rf"file-([\w-]{{{RUN_CHARS}}})-([0-9a-f]{{{DIGITS}}})", re.ASCII)


class ReplyFile(GivenFile):
    """A file of a run, as `response_metadata["files"]` names it."""

    id: str
    """Of the file at a server: whoever has it, and the key that asked, gets the bytes."""


def reply_files(run: str, files: Sequence[GivenFile]) -> list[ReplyFile]:
    """Give the files of a run with their ids, which lead to the run: there is no table of them."""
    return [ReplyFile(**file, id=f"file-{run}-{_mark(file)}") for file in files]


def run_of_file(id: str) -> str | None:
    """Give the run in a file's id; None for what is no such id."""
    found = FILE_ID.fullmatch(id)
    return None if found is None else found[1]


def file_with_id(id: str, run: str, files: Sequence[GivenFile]) -> ReplyFile | None:
    """Find a file of a run by its id; None where the run has it no more."""
    return next((file for file in reply_files(run, files) if file["id"] == id), None)


def blocks_of(files: Sequence[GivenFile], blobs: BlobStore) -> list[dict[str, Any]]:
    """Give files as LangChain's content blocks, as far as they are small enough. Blocks.

    Raises:
        BlobError: the store does not have one of them.
    """
    blocks: list[dict[str, Any]] = []
    left = MAX_BLOCK_BYTES
    for file in files:
        if file["size"] <= left:
            left -= file["size"]
            blocks.append(_block(file, blobs.get(file["digest"])))
    return blocks


def _block(file: GivenFile, data: bytes) -> dict[str, Any]:
    is_picture = file["type"] in ("image/png", "image/jpeg", "image/gif", "image/webp")
    return {
        "type": "image" if is_picture else "file",
        "base64": base64.b64encode(data).decode(),
        "mime_type": file["type"],
        "extras": {"filename": file["name"]},
    }


def _mark(file: GivenFile) -> str:
    said = f"{file['name']}\0{file['digest']}"
    return hashlib.sha256(said.encode()).hexdigest()[:DIGITS]
