"""Series: texts that are matched one after the other, as the prompts of a batch are.

Many begin and end the same: what an earlier text has in common with the next is not gone through
again. Knows no contexts.
"""

from collections.abc import Sequence

from langgraph_rlm.coverage.common import common_end, common_start
from langgraph_rlm.coverage.matching import LEAST, Match, Matcher


class Series:
    """The texts of one series, matched by one matcher."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self._text = b""
        self._matches: list[Match] = []

    def matches(self, text: bytes) -> list[Match]:
        """Do what `Matcher.matches` does, for the next text. Matches may overlap."""
        last, most = self._text, min(len(text), len(self._text))
        start = common_start(text, 0, last, 0, most)
        if start == len(text) == len(last):
            return self._matches
        end = common_end(text, len(text), last, len(last), most - start)
        moved = len(text) - len(last)
        kept = [
            *self._kept(text, 0, start, 0),
            *self._kept(text, len(text) - end, len(text), moved),
        ]
        new = self._matcher.matches(text, (start, end))
        self._matches = [each for each in kept if not _is_within(each, new)] + new
        self._text = text
        return self._matches

    def _kept(self, text: bytes, first: int, last: int, moved: int) -> list[Match]:
        """Give what was found in a part that the last text had too.

        Args:
            text: the new text.
            first: the first byte of the part.
            last: the byte after it.
            moved: how far behind its place in the last text it stands.
        """
        found: list[Match] = []
        for match in self._matches:
            piece = _clipped(match, first, last, moved)
            piece.others = [_clipped(each, first, last, moved) for each in match.others]
            if piece.size >= LEAST:
                piece = self._matcher.between_characters(text, piece)
            if piece.size >= LEAST:
                found.append(piece)
        return found


def _is_within(piece: Match, matches: Sequence[Match]) -> bool:
    """Whether a piece of the text lies in one of some matches."""
    return any(each.start <= piece.start and piece.end <= each.end for each in matches)


def _clipped(match: Match, first: int, last: int, moved: int) -> Match:
    """Give what of a match lies in a part of the text, which may be nothing."""
    start, end = max(first, match.start + moved), min(last, match.end + moved)
    end = max(start, end)
    return Match(start, end, match.at + start - moved - match.start, match.is_settled)
