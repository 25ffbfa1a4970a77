"""Thought stream: tells thoughts from the reply while the reply still comes in."""

import re
from typing import Literal

from langgraph_rlm.log.thoughts import (
    ANSWER,
    CLOSE,
    CLOSING,
    FENCE,
    HARMONY_STARTS,
    OPEN,
    OPENING,
    OpenFence,
    without_thoughts,
)

NAMES = ("think", "thinking", "seed:think", "thought", "thoughts", "reasoning")
TAG_STARTS = (
    *(f"<{name}>" for name in NAMES),
    *(f"</{name}>" for name in NAMES),
    *("[think]", "[/think]", "◁think▷", "◁/think▷"),
)
LONGEST_TAG = max(map(len, TAG_STARTS))
"""Characters that are held back at most, where they may be the start of a tag."""

MOST_MENTIONS = 20
"""Each is looked at with all that stands before it."""

Thinks = Literal["no", "surely", "likely", "perhaps"]
"""Whether a stream is in a thought: `likely` after an opening tag in the middle of a line, which
may be a mention, `perhaps` where a chat template may have written the opening tag."""


class ThoughtStream:
    """Tells thoughts from the reply while it streams.

    A closing tag that was never opened comes too late here: what stands before it has been shown.
    `had_no_opening` then says so, and the next stream of the same model is begun with
    `is_inside=True`.
    """

    def __init__(self, *, is_inside: bool = False) -> None:
        self.had_no_opening = False
        """A closing tag came without an opening one."""
        self._held = ""
        self._line = ""
        """The part of the current line that was shown already."""
        self._has_begun = False
        self._fence: OpenFence | None = None
        self._thinks: Thinks = "perhaps" if is_inside else "no"
        self._mentions = 0
        """Closing tags in code, where the stream perhaps began in a thought."""
        self._looked_at = 0
        """Up to where `_held` has no other closing tags."""

    def feed(self, text: str) -> str:
        """Take more of the stream, and give what of it is surely reply."""
        self._held += text
        shown: list[str] = []
        while self._held:
            piece = self._reply() if self._thinks == "no" else self._thought()
            if piece is None:
                break
            shown.append(piece)
        return "".join(shown)

    def end(self) -> str:
        """Give the rest of the reply."""
        held, self._held = self._held, ""
        if self._thinks == "surely":
            return ""
        return held if self._thinks == "likely" else without_thoughts(held)

    def _thought(self) -> str | None:
        """Skip what is held up to the closing tag; None if it is not there yet."""
        if self._thinks == "perhaps":
            return self._perhaps()
        closing = CLOSING.search(self._held)
        if closing is None:
            if self._thinks == "surely":
                self._held = self._held[-LONGEST_TAG:]
            return None
        self._held = self._held[closing.end() :]
        self._thinks = "no"
        return ""

    def _perhaps(self) -> str | None:
        """Skip what is held up to a closing tag that is not part of code: its line tells, so it has
        to be there. Where many are part of code, the end of the stream decides."""
        for closing in CLOSING.finditer(self._held, self._looked_at):
            end = self._held.find("\n", closing.end()) + 1
            if not end or self._mentions > MOST_MENTIONS:
                return None
            head = self._held[:end]
            reply = without_thoughts(head)
            if reply != head:
                self._held = reply + self._held[end:]
                self.had_no_opening = not OPENING.search(head)
                self._thinks = "no"
                return ""
            self._mentions += 1
            self._looked_at = closing.end()
        return None

    def _reply(self) -> str | None:
        """Give the next piece of what is held; None if it has to wait for more."""
        if not self._has_begun and _may_be_harmony(self._held):
            return None
        end = self._held.find("\n") + 1 or len(self._held)
        piece = self._held[:end]
        tag = None if self._fence is not None else self._tag_in(piece)
        if tag is not None and tag.start() == 0:
            return self._passed(tag, piece)
        if tag is not None:
            return self._show(piece[: tag.start()])
        if not piece.endswith("\n") and self._fence is None:
            piece = piece[: _start_of_tag(piece)]
        return self._show(piece) if piece else None

    def _tag_in(self, piece: str) -> re.Match[str] | None:
        """The first tag of a piece of a line that is neither in inline code nor in an answer."""
        for tag in re.finditer(rf"(?P<open>{OPEN})|{CLOSE}", piece, re.IGNORECASE):
            before = self._line + piece[: tag.start()]
            if before.count("`") % 2 == 0 and not ANSWER.search(before):
                return tag
        return None

    def _passed(self, tag: re.Match[str], piece: str) -> str:
        """Leave a tag out. An opening one in the middle of its line may be a mention."""
        self._held = self._held[tag.end() :]
        if not tag["open"]:
            self.had_no_opening = True
            return ""
        is_at_an_edge = not self._line.strip() or piece[tag.end() :] == "\n"
        self._thinks = "surely" if is_at_an_edge else "likely"
        if not is_at_an_edge:
            self._held = tag[0] + self._held
        return ""

    def _show(self, piece: str) -> str:
        self._has_begun = True
        self._held = self._held[len(piece) :]
        self._line += piece
        if self._line.endswith("\n"):
            self._end_line(self._line)
            self._line = ""
        return piece

    def _end_line(self, line: str) -> None:
        opening = FENCE.match(line)
        if self._fence is not None:
            if self._fence.is_closed_by(line.strip()):
                self._fence = None
        elif opening is not None:
            self._fence = OpenFence(opening["marks"], "", 0)


def _start_of_tag(piece: str) -> int:
    """Where the end of a piece may be the start of a tag; its length if it is not."""
    for start in range(max(0, len(piece) - LONGEST_TAG), len(piece)):
        if any(tag.startswith(piece[start:].lower()) for tag in TAG_STARTS):
            return start
    return len(piece)


def _may_be_harmony(start: str) -> bool:
    """Whether the first characters of a text are harmony, or may become it."""
    start = start.lstrip()
    starts = (*HARMONY_STARTS, "analysis")
    return any(start.startswith(mark) or mark.startswith(start) for mark in starts)
