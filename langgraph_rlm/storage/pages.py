"""Pages: pictures that have to be made first: pages of PDFs, and what is no PNG yet.

They are made in locked-in workers, one for each file: what one hostile file does to its worker
reaches no picture of another. What is made is kept in the blob store.
"""

import base64
import binascii
import hashlib
import importlib.util
import json
import re
import threading
from collections import OrderedDict

from langgraph_rlm.documents.pdfium import lay_out
from langgraph_rlm.documents.reading import INSTALL
from langgraph_rlm.processes.pool import Pool
from langgraph_rlm.processes.worker import Bounds, WorkerFailed, WorkerRefused
from langgraph_rlm.storage.blobs import BlobStore, to_bytes
from langgraph_rlm.storage.media import MAX_PIXELS, Media, media_of
from langgraph_rlm.storage.utf8 import NotText

WORKER = "langgraph_rlm.storage.page_worker"
BOUNDS = Bounds(memory_bytes=1 << 30, folder_bytes=64 << 20, files=100, reply_bytes=32 << 20)
DPIS = (150, 50)
"""Dots per inch at which a page is drawn: text of 8 points can be read at the first. The second is
for pages as large as posters."""
SECONDS = 60.0
MOST_FILES = 4
"""Files whose workers are kept, while they are drawn from."""
VERSION = 1
"""Of how pictures are made: what was noted by another one is made anew."""
DIGEST = re.compile("[0-9a-f]{64}")


class NotMade(Exception):
    """A picture could not be made; the message says why, and what to do."""


class Pages:
    """The pictures that one graph has made. Blocks; may be used from several threads at once."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._pools: OrderedDict[str, Pool] = OrderedDict()
        self._lock = threading.Lock()

    def page(self, digest: str, page: int) -> Media:
        """Draw a page of a PDF, counted from 1, unless it is known.

        Raises:
            NotMade: it cannot be drawn.
            BlobError: the PDF is missing in the store.
            SandboxError: no worker can be started.
        """
        _check_installed("kreuzberg", "pages of a PDF", INSTALL)
        return self._kept(digest, page)

    def converted(self, digest: str) -> Media:
        """Make a PNG of a picture of another type; raises as `page` does."""
        _check_installed("PIL", "pictures that are BMP or TIFF", "pip install pillow")
        return self._kept(digest, 0)

    def _kept(self, digest: str, page: int) -> Media:
        about = [WORKER, VERSION, DPIS[0], digest, page]
        key = hashlib.sha256(to_bytes(json.dumps(about))).hexdigest()
        known = (self._blobs.noted(key) or b"").decode("ascii", "replace")
        if DIGEST.fullmatch(known) and self._blobs.has(known):
            return _checked(self._blobs.get(known))
        made = self._drawn(digest, page) if page else self._asked(digest, {"pixels": MAX_PIXELS})
        self._blobs.note(key, to_bytes(self._blobs.put(made.data)))
        return made

    def _drawn(self, digest: str, page: int) -> Media:
        failures: list[str] = []
        for dpi in DPIS:
            try:
                return self._asked(digest, {"page": page - 1, "dpi": dpi})
            except NotMade as failure:
                failures.append(str(failure))
        raise NotMade(f"page {page} of the PDF cannot be drawn: {failures[-1]}.")

    def _asked(self, digest: str, request: dict[str, int]) -> Media:
        path = self._blobs.path(digest)
        try:
            with self._pool(digest).worker() as worker:
                if "page" in request:
                    lay_out(worker)
                file = worker.give(path, "file")
                answer = worker.ask({"file": file, **request}, SECONDS)
            return _checked(base64.b64decode(answer, validate=True))
        except (WorkerFailed, WorkerRefused) as error:
            raise NotMade(str(error)[:500]) from None
        except (TypeError, binascii.Error):
            raise NotMade("its worker gave no picture") from None

    def _pool(self, digest: str) -> Pool:
        """Give the workers of one file; those of the file that was longest unused end."""
        with self._lock:
            pool = self._pools.pop(digest, None) or Pool(WORKER, BOUNDS, most=1)
            self._pools[digest] = pool
            old = self._pools.popitem(last=False)[1] if len(self._pools) > MOST_FILES else None
        if old is not None:
            old.release_idle()
        return pool


def _checked(data: bytes) -> Media:
    """Take a picture from a worker, which may give anything."""
    try:
        found = media_of(data, "what was made")
    except NotText as error:
        raise NotMade(str(error)) from None
    if found is None or found.type != "image/png":
        raise NotMade("its worker gave no PNG")
    return found


def _check_installed(module: str, what: str, command: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise NotMade(f"{what} cannot be shown here: {command}")
