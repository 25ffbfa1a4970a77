"""Tree: coverage over a whole run, and by what. Reads logs and texts; never a checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from typing_extensions import TypedDict

from langgraph_rlm.coverage.evidence import Way
from langgraph_rlm.coverage.of_log import Bounds, Covered, Found, covered, merged, seen_ranges
from langgraph_rlm.coverage.shares import share
from langgraph_rlm.log.entries import Log
from langgraph_rlm.log.places import AnyLog
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle, Kind
from langgraph_rlm.storage.ranges import size_of

MOST_BYTES = 256 << 20
"""Bytes of contexts that are searched, of one RLM. It takes as much memory, and an index."""

MOST_STEPS = 100_000_000
"""Steps of all RLMs together: half a minute."""

MOST_BY = 5_000
"""Ranges of a context that come with their places, the largest."""


class Node(Protocol):
    """An RLM of a run: a `history.run_tree.RLMTree` is one."""

    @property
    def rlm_id(self) -> str: ...
    @property
    def depth(self) -> int: ...
    @property
    def model(self) -> str | None: ...
    @property
    def log(self) -> Log: ...
    @property
    def children(self) -> Mapping[str, "Node"]:
        """By the places of their answers."""
        ...


class By(TypedDict):
    """A range of a context, and who got it."""

    range: list[int]
    kind: Way
    rlm: str
    """The id of the RLM in whose log the place is."""
    place: str


class ContextCoverage(TypedDict):
    """What is known of one context of a run's root. Ranges are of bytes, merged."""

    digest: str
    name: str
    size: int
    kind: Kind
    read: list[list[int]]
    sent: list[list[int]]
    shown: list[list[int]]
    seen: list[list[int]]
    """Sent or shown, with the white space between."""
    whole: bool
    """Whether the root's code used it as a variable."""
    seen_share: float | None
    """None where the context was too large, or it took too long, to find out."""
    by: list[By]


IsLoaded = Callable[[int, AnyLog, ContextHandle], bool]
OutputChars = Callable[[int, str | None], int]


def coverage_of(
    tree: Node,
    blobs: BlobStore,
    *,
    output_chars: OutputChars | None = None,
    is_loaded: IsLoaded | None = None,
    most_bytes: int = MOST_BYTES,
) -> list[ContextCoverage]:
    """Find out what of the contexts of a run's root was read, sent and shown, in its whole tree.

    Blocks.

    Args:
        tree: the root.
        blobs: has its contexts and texts.
        output_chars: gives the most characters of a cell's text that a root model is shown, by its
            RLM's depth and model name; None for as many as the log has.
        is_loaded: tells by depth and log whether a context is bound as a variable; None where every
            one may be.
        most_bytes: bytes of contexts that are searched, of each RLM.

    Returns:
        A record for each context of the root that has text.

    Raises:
        BlobError: a context or a text is missing or altered.
    """
    look = _Look(blobs, output_chars, is_loaded, most_bytes)
    known = look.at(tree)
    return [_record(name, known, tree.rlm_id, blobs) for name in known.contexts]


class _Look:
    """One look at a tree."""

    def __init__(
        self,
        blobs: BlobStore,
        output_chars: OutputChars | None,
        is_loaded: IsLoaded | None,
        most_bytes: int,
    ) -> None:
        self._blobs = blobs
        self._output_chars = output_chars
        self._is_loaded = is_loaded
        self._most_bytes = most_bytes
        self._steps = MOST_STEPS

    def at(self, node: Node) -> Covered:
        """Look at an RLM, after its children."""
        children = {place: self._of_child(child) for place, child in node.children.items()}
        known = covered(
            node.log,
            self._blobs,
            is_loaded=lambda handle: self._loaded(node, handle),
            output_chars=self._output_chars and self._output_chars(node.depth, node.model),
            children=children,
            bounds=Bounds(self._most_bytes, self._steps),
        )
        self._steps = max(0, self._steps - known.steps)
        return known

    def _of_child(self, child: Node) -> Sequence[Found]:
        """Give what models have seen of a child's contexts, and where its log, or that of a child
        of it, says so."""
        known = self.at(child)
        return [each.within(child.rlm_id) for each in known.found if each.way != "read"]

    def _loaded(self, node: Node, handle: ContextHandle) -> bool:
        return self._is_loaded is None or self._is_loaded(node.depth, node.log, handle)


def _record(name: str, known: Covered, rlm: str, blobs: BlobStore) -> ContextCoverage:
    handle = known.contexts[name]
    digest = handle.digest
    seen = seen_ranges(known, digest, blobs)
    is_known = digest not in known.unknown
    return ContextCoverage(
        digest=digest,
        name=name,
        size=handle.size,
        kind=handle.kind,
        read=_lists(known.ranges(digest, "read")),
        sent=_lists(known.ranges(digest, "sent")),
        shown=_lists(known.ranges(digest, "shown")),
        seen=_lists(seen),
        whole=digest in known.whole,
        seen_share=share(size_of(seen), handle.size) if is_known else None,
        by=_by(known, digest, rlm),
    )


def _lists(ranges: Sequence[Sequence[int]]) -> list[list[int]]:
    return [[*each] for each in ranges]


def _by(known: Covered, digest: str, rlm: str) -> list[By]:
    """Give the ranges of a context with their places, first to last; the largest, if they are too
    many."""
    places: dict[tuple[str, str, Way], list[Found]] = {}
    for each in known.found:
        if each.digest == digest:
            places.setdefault((each.rlm, each.place, each.way), []).append(each)
    every = [
        By(range=[start, end], kind=found[0].way, rlm=found[0].rlm or rlm, place=found[0].place)
        for found in places.values()
        for start, end in merged(found)
    ]
    largest = sorted(every, key=lambda each: each["range"][0] - each["range"][1])[:MOST_BY]
    return sorted(largest, key=lambda each: (each["range"], each["rlm"], each["place"]))
