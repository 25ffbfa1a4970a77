"""References: what a name in `images=` stands for, as a call's request has it. Never bytes.

A name is that of a context, of a file of a context, of a page of a PDF (`a.pdf#page=3`), of a
file that code has made, or of what a tool gave. Code can name nothing else: no address, and no file
of the machine.
"""

import re
from collections.abc import Iterator, Mapping

from typing_extensions import TypedDict

from langgraph_rlm.documents.kinds import HEAD_BYTES, kind_of
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import MEDIA, ContextHandle, Facts, facts_of
from langgraph_rlm.storage.media import (
    CONVERTED,
    MAX_BYTES,
    PDF,
    SENT,
    UNKNOWN,
    too_many_pixels,
)

PAGE = re.compile(r"(?P<file>.+)#page=(?P<page>\d{1,6})")

OUT = "out/"
"""What the names of files that code has made begin with."""

TOOL = "tool/"
"""What the names of pictures and the like that tools gave begin with."""

MOST = 50
"""Pictures and the like that one prompt may have."""

MOST_BYTES = 50 << 20
"""Bytes that they may have together."""

NAMES_TOLD = 20


class Reference(TypedDict, total=False):
    """What one name stands for, with its keys in order."""

    digest: str
    """Of the file's own bytes."""
    file_id: str
    page: int
    """Which page of a PDF, counted from 1."""
    type: str
    """MIME type."""
    url: str


class Names:
    """The names that code may give."""

    def __init__(
        self,
        handles: Mapping[str, ContextHandle],
        blobs: BlobStore,
        made: Mapping[str, Facts] | None = None,
    ) -> None:
        """Look up in these.

        Args:
            handles: the contexts, by the names that code knows them by.
            blobs: has what is known of their files.
            made: the files that code has made (`out/...`), and those that tools gave
                (`tool/...`), by their names: `original`, `bytes`.
        """
        self._handles = handles
        self._blobs = blobs
        self._made = made or {}

    def all(self, names: list[str]) -> list[Reference]:
        """Give what each name of one prompt stands for.

        Raises:
            ValueError: one is not known, is nothing that a model can be shown, or they are too
                many or too large.
        """
        if len(names) > MOST:
            raise ValueError(f"{len(names):,} at once; at most {MOST} for one prompt.")
        found = [self._reference(name) for name in names]
        size = sum(size for _, size in found)
        if size > MOST_BYTES:
            raise ValueError(
                f"{size:,} bytes at once; at most {MOST_BYTES:,} for one prompt. Ask in several."
            )
        return [reference for reference, _ in found]

    def _reference(self, name: str) -> tuple[Reference, int]:
        """Give what a name stands for, and the bytes that are sent for it, as far as known."""
        paged = PAGE.fullmatch(name)
        facts = self._facts(name)
        if facts is None and paged is not None:
            facts = self._facts(paged["file"])
            if facts is not None:
                return _page(name, facts, int(paged["page"])), 0
        if facts is None:
            raise ValueError(self._unknown(name))
        return _whole(name, facts), facts.get("bytes", 0)

    def _facts(self, name: str) -> Facts | None:
        """Find a file by a context's name, by its path, or by both: `context_1/photos/a.png`."""
        if name in self._made:
            return self._typed(self._made[name])
        if name in self._handles:
            return self._only_file(name, self._handles[name])
        for handle in self._distinct():
            if name in facts_of(handle, self._blobs):
                return _of(handle, facts_of(handle, self._blobs)[name])
        context, _, path = name.partition("/")
        if context in self._handles:
            handle = self._handles[context]
            facts = facts_of(handle, self._blobs).get(path)
            return None if facts is None else _of(handle, facts)
        return None

    def _typed(self, facts: Facts) -> Facts:
        """Tell the type of what code or a tool made by its first bytes: its name may say
        anything."""
        with self._blobs.path(str(facts["original"])).open("rb") as file:
            kind = kind_of(file.read(HEAD_BYTES), b"", "")
        return {**facts, "type": UNKNOWN if kind is None else kind.type}

    def _only_file(self, name: str, handle: ContextHandle) -> Facts:
        files = facts_of(handle, self._blobs)
        if len(files) == 1 and handle.kind in (*MEDIA, "text"):
            return _of(handle, next(iter(files.values())))
        listed = ", ".join(repr(path) for path in [*files][:NAMES_TOLD])
        if listed:
            raise ValueError(f"{name!r} has several files: name one of them, such as {listed}.")
        raise ValueError(f"{name!r} is a {handle.kind}, not a picture: put its text in the prompt.")

    def _distinct(self) -> Iterator[ContextHandle]:
        """Give each context once, that of the newest question first."""
        seen: set[tuple[str, str | None]] = set()
        newest = self._handles.get("context")
        for handle in filter(None, (newest, *reversed([*self._handles.values()]))):
            key = handle.digest, handle.about
            if key not in seen:
                seen.add(key)
                yield handle

    def _unknown(self, name: str) -> str:
        known = [name for name, handle in self._handles.items() if handle.kind in MEDIA]
        for handle in self._distinct():
            if handle.kind not in MEDIA:
                files = facts_of(handle, self._blobs).items()
                known += [path for path, facts in files if is_shown(facts)]
        known += self._made
        listed = ", ".join(map(repr, known[:NAMES_TOLD])) or "none"
        more = f" and {len(known) - NAMES_TOLD:,} more" if len(known) > NAMES_TOLD else ""
        return (
            f"{name!r} is no picture that is known. There are: {listed}{more}. A file that code "
            "makes can be named from the next cell on."
        )


def is_shown(facts: Facts) -> bool:
    """Tell whether a file is one that models can be shown."""
    type = facts.get("type", "")
    is_media = type.startswith("audio") or type in ("image", PDF, *SENT, *CONVERTED)
    return is_media and not {"original", "url", "file_id"}.isdisjoint(facts)


def names_in(handle: ContextHandle, blobs: BlobStore, most: int) -> list[str]:
    """Give the first names of a context's files that models can be shown; of a PDF its first
    page."""
    found: list[str] = []
    for path, facts in facts_of(handle, blobs).items():
        if len(found) == most:
            break
        if is_shown(facts):
            found.append(f"{path}#page=1" if facts.get("type") == PDF else path)
    return found


def _of(handle: ContextHandle, facts: Facts) -> Facts:
    """Give the facts of a file with where its bytes are."""
    if handle.kind in MEDIA and not {"url", "file_id"} & facts.keys():
        return {**facts, "original": handle.digest}
    return facts


def _whole(name: str, facts: Facts) -> Reference:
    if not is_shown(facts):
        type = facts.get("type", "unknown")
        raise ValueError(
            f"{name!r} is of type {type}, which models are not shown. PNG, JPEG, GIF and WebP are, "
            "WAV and MP3, PDF and its pages ('a.pdf#page=1')."
        )
    size = facts.get("bytes", 0)
    if size > MAX_BYTES:
        raise ValueError(f"{name!r} has {size:,} bytes; at most {MAX_BYTES:,}. Name its pages.")
    if told := too_many_pixels(facts.get("width", 0), facts.get("height", 0)):
        raise ValueError(f"{name!r} {told}")
    reference = Reference()
    if "original" in facts:
        reference["digest"] = facts["original"]
    if "file_id" in facts:
        reference["file_id"] = facts["file_id"]
    reference["type"] = facts.get("type", "")
    if "url" in facts:
        reference["url"] = facts["url"]
    return reference


def _page(name: str, facts: Facts, page: int) -> Reference:
    if facts.get("type") != PDF or "original" not in facts:
        raise ValueError(f"{name!r}: only a PDF has pages, and this is {facts.get('type')}.")
    pages = facts.get("pages")
    if page < 1 or (pages is not None and page > pages):
        raise ValueError(f"{name!r}: its pages are 1 to {pages or '...'}.")
    return Reference(digest=facts["original"], page=page, type=PDF)
