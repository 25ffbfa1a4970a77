"""Files: what a run of the server gave back, to whoever has the key that asked. Runs nothing."""

import asyncio
import json
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph_rlm.chat.ids import thread_of
from langgraph_rlm.chat.reply_files import ReplyFile, file_with_id, run_of_file
from langgraph_rlm.errors import BlobError
from langgraph_rlm.server.answers import JSON, Answer, Head
from langgraph_rlm.server.errors import Refused, no_file
from langgraph_rlm.server.replies import described
from langgraph_rlm.storage.backends import CHUNK
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.out_files import UNKNOWN

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

SAFE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp", "text/plain", "text/csv")
"""Types that are told beside the bytes. Of others, which a browser may run, none is told."""

INERT = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-store",
}
"""Headers with which a browser saves the bytes, and runs nothing of them."""


class RunFiles:
    """The files of the runs in one database."""

    def __init__(self, saver: "BaseCheckpointSaver[Any]", blob_store: str | None) -> None:
        self._saver = saver
        self._blobs = BlobStore.open(blob_store)

    async def answer(self, owner: str, id: str, has_content: bool) -> Answer:
        """Answer `GET /v1/files/ID`, or with `has_content` what is under it, `/content`.

        Raises:
            Refused: the owner has no such file, or its bytes are gone.
        """
        file = await self._found(owner, id)
        if not has_content:
            yield Head(200, dict(JSON))
            yield json.dumps(described(file)).encode()
            return
        try:
            path = await asyncio.to_thread(self._blobs.path, file["digest"])
        except BlobError as error:
            raise Refused(404, f"The bytes of {id!r} are gone.", code="file_gone") from error
        yield Head(200, _headers(file))
        offset = 0
        while part := await asyncio.to_thread(_part, path, offset):
            offset += len(part)
            yield part

    async def _found(self, owner: str, id: str) -> ReplyFile:
        run = run_of_file(id)
        file: ReplyFile | None = None
        if run is not None:
            thread = {"thread_id": thread_of(owner, run), "checkpoint_ns": ""}
            saved = await self._saver.aget_tuple({"configurable": thread})
            values = {} if saved is None else saved.checkpoint["channel_values"]
            file = file_with_id(id, run, values.get("files") or [])
        if file is None:
            raise no_file(id)
        return file


def _part(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(CHUNK)


def _headers(file: ReplyFile) -> dict[str, str]:
    name = file["name"].rpartition("/")[2]
    plain = name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "_")
    encoded = urllib.parse.quote(name, safe="")
    return {
        "content-type": file["type"] if file["type"] in SAFE_TYPES else UNKNOWN,
        "content-length": str(file["size"]),
        "content-disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}",
        **INERT,
    }
