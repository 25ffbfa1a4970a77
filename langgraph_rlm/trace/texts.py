"""Texts: which texts of a run stand in its records, and where the longer ones are found again.

A long text is known by its digest. Nothing keeps it: it is read from the blob store when it is
asked for, since the prompts of a large batch have more characters than all else together.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from cachetools import LRUCache

from langgraph_rlm.errors import BlobError
from langgraph_rlm.log.text import plain
from langgraph_rlm.repl.requests import prompt_of
from langgraph_rlm.storage.blobs import BlobStore, Text, to_bytes
from langgraph_rlm.storage.context import MEDIA, HandleDict
from langgraph_rlm.trace.fields import Ref, Shown
from langgraph_rlm.trace.records import INLINE_CHARS, START_CHARS

Read = Callable[[], str]

SURROGATE = re.compile("[\ud800-\udfff]")

KEPT_REQUESTS = 8
"""Requests that are kept when they are parsed: a batch of 10,000 prompts is one."""


class Texts:
    """The texts of one thread, by digest. Its methods block where a text is not in the state.

    It remembers which texts it has looked at, so that a thread that is read again and again reads
    each of them once.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs
        self._reads: dict[str, Read] = {}
        self.contexts: dict[str, int] = {}
        """Bytes of each context that has a text, and of what is known of it, by digest."""
        self.files: dict[str, int | None] = {}
        """Bytes of each picture and file that a record names, where they are known, by digest."""
        self._known: dict[tuple[str, int], Shown] = {}
        self._requests: LRUCache[str, Any] = LRUCache(KEPT_REQUESTS)

    def __contains__(self, digest: object) -> bool:
        """Whether a record names the digest, of a text, a context, a picture or a file."""
        return digest in self._reads or digest in self.contexts or digest in self.files

    def __iter__(self) -> Iterator[str]:
        """Give the digests of the texts, in the order in which records name them."""
        return iter([*self._reads])

    def get(self, digest: str) -> str:
        """Give the text of a digest.

        Raises:
            BlobError: no record names it, or the store does not have it any more.
        """
        read = self._reads.get(digest)
        if read is None:
            raise BlobError(f"{digest!r} is not the digest of a text of this trace.")
        return read()

    def name_context(self, handle: HandleDict) -> None:
        """Note that a record names a context."""
        if handle["kind"] in MEDIA:
            self.files[handle["digest"]] = handle["size"]
        else:
            self.contexts[handle["digest"]] = handle["size"]
        for digest in (handle["index"], handle.get("about"), handle.get("tables")):
            if digest is not None:
                self.contexts[digest] = 0

    def of(self, stored: Text | None) -> Shown | None:
        """Give a stored text as a record has it; None for None."""
        if stored is None:
            return None
        if "blob" not in stored:
            return self.put(self.blobs.get_text(stored))
        digest = stored["blob"]
        return self._once((digest, -1), lambda: self._of_blob(digest, stored.get("chars", 0)))

    def put(self, text: str | None) -> Shown | None:
        """Give a text that is at hand as a record has it; None for None."""
        return None if text is None else self._shown(text, lambda: text)

    def prompt(self, request: Text, item: int) -> Shown:
        """Give the prompt of an item of a request as a record has it."""

        def read() -> str:
            return prompt_of(self.request(request), item, self.blobs)

        def look() -> Shown:
            try:
                return self._shown(read(), read)
            except BlobError:  # of the request, or of the context that a part of the prompt is of
                return self._missing(key_of(request), 0, read)

        return self._once((key_of(request), item), look)

    def request(self, request: Text) -> Any:
        """Read what a call was given.

        Raises:
            BlobError: the store does not have it any more.
        """
        key = key_of(request)
        if key not in self._requests:
            self._requests[key] = json.loads(self.blobs.get_text(request))
        return self._requests[key]

    def _once(self, key: tuple[str, int], look: Callable[[], Shown]) -> Shown:
        if key not in self._known:
            self._known[key] = look()
        return self._known[key]

    def _of_blob(self, digest: str, chars: int) -> Shown:
        """Give a text that is in the store; where it is gone, the record says so."""

        def read() -> str:
            return self.blobs.get_text({"blob": digest})

        try:
            return self._shown(read(), read, digest)
        except BlobError:
            return self._missing(digest, chars, read)

    def _missing(self, digest: str, chars: int, read: Read) -> Ref:
        self._reads[digest] = read
        return Ref(ref=digest, chars=chars, start="", missing=True)

    def _shown(self, text: str, read: Read, digest: str | None = None) -> Shown:
        if len(text) <= INLINE_CHARS:
            return text
        digest = digest or hashlib.sha256(to_bytes(text)).hexdigest()
        self._reads.setdefault(digest, read)
        return Ref(ref=digest, chars=len(text), start=text[:START_CHARS])


def key_of(request: Text) -> str:
    """Name a request: by its digest, or where it is short by itself."""
    return request.get("blob") or request.get("text", "")


def plain_json(value: Any) -> Any:
    """Give a value of other code as JSON values that every reader takes: what JSON lacks, such as
    NaN, as text."""
    return json.loads(json.dumps(plain(value)), parse_constant=str)


def dumps(value: Any) -> str:
    """Write a value as one line of JSON, lone surrogates as escapes: nothing else can hold them."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
