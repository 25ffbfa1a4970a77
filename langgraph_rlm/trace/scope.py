"""Scope: what the records of one RLM are made with. Makes none itself."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from langgraph_rlm.budget.usage import Share
from langgraph_rlm.errors import BlobError
from langgraph_rlm.history.run_tree import RLMTree
from langgraph_rlm.log.entries import Log, LogEntry
from langgraph_rlm.storage.blobs import Text
from langgraph_rlm.trace.records import Shown, State
from langgraph_rlm.trace.texts import Texts


@dataclass(frozen=True)
class Scope:
    """One RLM, and where its texts go."""

    rlm: RLMTree
    texts: Texts
    state: State
    parent: str | None = None
    """The id of the RLM whose code asked it."""
    parent_place: str | None = None

    @property
    def log(self) -> Log:
        """Its log, the answers of an open batch included."""
        return self.rlm.log

    def head(self, place: str) -> Any:
        """Give what every record of an entry begins with."""
        return {"id": f"{self.rlm.rlm_id}:{place}", "rlm": self.rlm.rlm_id, "place": place}

    def shown(self, stored: Text | None) -> Shown | None:
        """Give a stored text as a record has it."""
        return self.texts.of(stored)

    def read(self, stored: Text) -> str | None:
        """Read a whole text; None where the store does not have it any more, which the record of
        that text says."""
        return or_none(lambda: self.texts.blobs.get_text(stored))


def or_none(read: Callable[[], Any]) -> Any:
    """Give what a read gives; None where the store does not have it any more.

    A trace is how one finds out what is left of a thread: the record of the text itself says that
    it is missing.
    """
    try:
        return read()
    except BlobError:
        return None


def known(**values: Any) -> Any:
    """Give the values that are known, for a record that leaves out the others."""
    return {name: value for name, value in values.items() if value is not None}


def stamp_of(entry: Mapping[str, Any]) -> Any:
    """Give what an entry says of its time and its invocation; nothing in threads of earlier
    versions."""
    return known(**{name: entry.get(name) for name in ("at", "seconds", "run")})


def models_in(usage: Share | None) -> Iterator[str]:
    """Give the names of the models that a usage counts: its keys are `depth/model`."""
    for key in usage["breakdown"] if usage else ():
        yield key.partition("/")[2]


def model_in(usage: Share | None) -> str | None:
    """Give the name of the model that a call went to, as far as its usage says."""
    return next(models_in(usage), None)


def entries_of(log: Log, kind: str) -> Iterator[tuple[str, Any]]:
    """Give the entries of a kind with their places, in the order of the log."""
    for place, entry in log.items():
        if entry["kind"] == kind:
            yield place, entry


def time_of(entry: LogEntry) -> float | None:
    """When what an entry records was over; None where it is not known."""
    at = entry.get("at")
    return at if at is not None else (entry["started"] if entry["kind"] == "run" else None)
