"""Media reads: what `context_info` tells of a picture or a sound, which has no text to read."""

import mmap
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle, Facts, facts_of
from langgraph_rlm.storage.ranges import Ranges
from langgraph_rlm.storage.reads import Reader


class MediaReader(Reader):
    """A reader of what has no text."""

    def __init__(
        self, handle: ContextHandle, blobs: BlobStore, check: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(handle, blobs, check)
        self._kind = handle.kind
        no_facts: Facts = {}
        self._facts = next(iter(facts_of(handle, blobs).items()), ("", no_facts))

    def peek(self, start: int = 0, end: int | None = None) -> tuple[str, Ranges]:
        """Refuse."""
        raise self._no_text()

    def info(self, page: int = 0) -> dict[str, Any]:
        """Tell what it is: `kind`, `name`, `type`, `bytes`; of a picture `width` and `height`; of
        one that only a provider has its `url` or `file_id`."""
        name, facts = self._facts
        return {"kind": self._kind, "name": name, **facts}

    @contextmanager
    def opened(self) -> Generator[mmap.mmap]:
        """Refuse."""
        raise self._no_text()
        yield  # what makes it a generator

    def _no_text(self) -> ValueError:
        return ValueError(
            f"this is {self._kind}, which has no text. Ask a model about it: "
            'llm_query("...", images=[NAME]).'
        )
