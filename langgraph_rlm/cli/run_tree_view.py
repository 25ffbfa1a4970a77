"""Run tree view: the RLMs of a run that are at work, and the batches that they wait for, kept from
progress events. Draws nothing.

The display reads it on a thread of its own, so everything here is done under one lock.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langgraph_rlm.progress import Event, SubCalls

ESTIMATED_AFTER = 1.0
"""Seconds that a batch works before its end is estimated."""


@dataclass
class Batch:
    """The sub-calls that one cell waits for."""

    function: str
    depth: int
    total: int
    done: int
    first: int
    """Answers that were there when this display first saw it."""
    start: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds since this display first saw it."""
        return time.monotonic() - self.start

    @property
    def rate(self) -> float | None:
        """Answers a second; None while there is nothing to go by."""
        if self.done <= self.first or self.elapsed < ESTIMATED_AFTER:
            return None
        return (self.done - self.first) / self.elapsed

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it is done, if it goes on as it went."""
        rate = self.rate
        return None if rate is None else (self.total - self.done) / rate


@dataclass
class RLMNode:
    """One RLM that is at work."""

    id: str
    depth: int
    parent: str | None
    place: str
    """Where its parent's code called it; empty where that is not known."""
    turn: str = ""
    doing: str = "starting"
    start: float = field(default_factory=time.monotonic)
    batches: dict[str, Batch] = field(default_factory=dict[str, Batch])

    @property
    def open_batch(self) -> Batch | None:
        """The batch that it waits for."""
        return next((each for each in self.batches.values() if each.done < each.total), None)


@dataclass(frozen=True)
class Row:
    """One line of the tree: an RLM, or how many are folded."""

    node: RLMNode | None
    ends: tuple[bool, ...]
    """For each level from the first child's on: whether its line ends here."""
    folded: int = 0


class RunTreeView:
    """The tree of one run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[str, RLMNode] = {}
        self.done_children = 0
        """Children that have answered."""
        self.answered = 0
        """Sub-calls that were answered while this display looked on."""

    def take(self, event: "Event") -> Batch | None:
        """Take an event; give the batch that it has ended, if any."""
        with self._lock:
            return self._take(event)

    def doing(self, text: str) -> None:
        """Say what the root does now."""
        with self._lock:
            if self._root is not None:
                self._root.doing = text

    @property
    def _root(self) -> RLMNode | None:
        return next((node for node in self._nodes.values() if node.depth == 0), None)

    def _take(self, event: "Event") -> Batch | None:
        if event["type"] in ("usage", "waiting"):
            return None
        if event["type"] == "answer" and event["depth"]:
            if self._nodes.pop(event["trajectory"], None) is not None:
                self.done_children += 1
            return None
        node = self._node(event)
        if event["type"] == "turn":
            node.turn = f"turn {event['turn']} of {event['of']}"
            node.doing = "the model writes"
        elif event["type"] == "code":
            node.doing = "code runs"
        elif event["type"] == "output":
            node.doing = "code ran"
        elif event["type"] == "replay":
            node.doing = f"{event['done']:,} of {event['total']:,} earlier cells run again"
        elif event["type"] == "sub_calls":
            return self._batch(event, node)
        return None

    def _node(self, event: "Event") -> RLMNode:
        id = event["trajectory"]
        if id not in self._nodes:
            parent = event.get("parent")
            place = event.get("parent_place", "")
            self._nodes[id] = RLMNode(id, event["depth"], parent, place)
        return self._nodes[id]

    def _batch(self, event: "SubCalls", node: RLMNode) -> Batch | None:
        batch = node.batches.get(event["place"])
        if batch is None:
            done = event["done"]
            total = event["total"]
            batch = Batch(event["function"], event["depth"], total, done, first=done)
            node.batches[event["place"]] = batch
        self.answered += max(0, event["done"] - batch.done)
        batch.done = event["done"]
        node.doing = f"waits for {batch.function}"
        if batch.done < batch.total:
            return None
        del node.batches[event["place"]]
        return batch

    def root(self) -> RLMNode | None:
        """Give the root, once it is there."""
        with self._lock:
            return self._root

    def batch(self) -> Batch | None:
        """Give the batch of more than one call that the root waits for."""
        with self._lock:
            batch = None if self._root is None else self._root.open_batch
        return batch if batch is not None and batch.total > 1 else None

    def at_work(self) -> int:
        """Count the children that have no answer yet."""
        with self._lock:
            return sum(node.depth > 0 for node in self._nodes.values())

    def rows(self, most: int) -> Sequence[Row]:
        """Give the lines of the children, depth first, folded to a number of lines."""
        with self._lock:
            below: dict[str | None, list[RLMNode]] = {}
            for node in self._nodes.values():
                if node.depth:
                    below.setdefault(self._above(node), []).append(node)
            root = self._root
            rows = _rows(below, None if root is None else root.id, ())
        if len(rows) <= most:
            return rows
        if most < 1:
            return ()
        kept = rows[: most - 1]
        return [*kept, Row(None, (True,), folded=len(rows) - len(kept))]

    def _above(self, node: RLMNode) -> str | None:
        """Give the id of the RLM that a child stands under: its parent, else the root."""
        if node.parent in self._nodes:
            return node.parent
        root = self._root
        return None if root is None else root.id


def _rows(
    below: dict[str | None, list[RLMNode]], id: str | None, ends: tuple[bool, ...]
) -> list[Row]:
    children = below.get(id, [])
    rows: list[Row] = []
    for number, child in enumerate(children, 1):
        here = (*ends, number == len(children))
        rows += [Row(child, here), *_rows(below, child.id, here)]
    return rows
