"""Beginnings: what conversations begin with, as it was rendered. A cache; it decides nothing.

A prefix that was sent is never rewritten. So the next message of a long conversation does not need
those before it rendered again, as long as its log has grown from the one that they were made of.
"""

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from cachetools import LRUCache
from langchain_core.messages import AnyMessage

from langgraph_rlm.log.entries import AnyLog
from langgraph_rlm.log.grown import Mark, begins_with, mark_of, new_since
from langgraph_rlm.log.places import turn_of

MOST_CHARS = 64 << 20
"""Characters of all that is kept in one graph. A conversation that fills a window of 128,000 tokens
has half a million."""


@dataclass(frozen=True)
class Beginning:
    """The first messages of a conversation, behind the system message."""

    messages: Sequence[AnyMessage] = ()
    questions: int = 0
    """How many questions they have."""
    turn: int = 0
    """The number of the first turn that they do not have."""


@dataclass(frozen=True)
class _Kept:
    beginning: Beginning
    mark: Mark
    look: Hashable
    chars: int


class Beginnings:
    """The beginnings of the conversations of one graph; those used last are kept."""

    def __init__(self, most_chars: int = MOST_CHARS) -> None:
        self._kept: LRUCache[str, _Kept] = LRUCache(most_chars, lambda kept: kept.chars)
        self._lock = threading.Lock()

    def of(self, id: str, log: AnyLog, look: Hashable) -> Beginning:
        """Give what is known of the conversation of an RLM; an empty one for nothing.

        Args:
            id: of the RLM.
            log: its log. After a fork or an edit it has grown from another one.
            look: all else that the messages were made with.
        """
        with self._lock:
            kept = self._kept.get(id)
            if kept is None or kept.look != look or not begins_with(log, kept.mark):
                return Beginning()
        first = kept.beginning.turn
        late = (turn_of(place) for place, _ in new_since(log, kept.mark))
        if any(turn is not None and turn < first for turn in late):
            return Beginning()
        return kept.beginning

    def keep(self, id: str, log: AnyLog, look: Hashable, beginning: Beginning) -> None:
        """Keep the beginning of a conversation in place of a shorter one; see `of`."""
        mark = mark_of(log)
        if mark is None:
            return
        with self._lock:
            chars = _chars(beginning, self._kept.pop(id, None))
            if chars <= self._kept.maxsize:
                self._kept[id] = _Kept(beginning, mark, look, chars)


def _chars(beginning: Beginning, before: _Kept | None) -> int:
    """Count the characters of messages; of those that were kept before, they are counted
    already."""
    messages, known, chars = beginning.messages, 0, 0
    if before is not None:
        then = before.beginning.messages
        same = len(then) - 1  # the last one may have been merged with another
        if 0 < same <= len(messages) and then[same - 1] is messages[same - 1]:
            known, chars = same, before.chars - len(then[-1].text)
    return chars + sum(len(message.text) for message in messages[known:])
