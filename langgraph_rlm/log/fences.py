"""Fences: the blocks of code in a model's text, after CommonMark
(https://spec.commonmark.org/0.31.2/#fenced-code-blocks). Never runs anything."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from markdown_it import MarkdownIt
from markdown_it.token import Token

from langgraph_rlm.log.python import is_code, parsed

CELL_TAGS = frozenset({"repl", "python", "py", "python3"})
"""First words of an info string that make a fence a cell."""

MOST_MENDED = 8
"""Fences of one text that are read on past a line that seems to close them."""

MOST_ENDS = 32
"""Lines that are tried as the end of such a fence."""

OPENING = re.compile(r" {0,3}(?P<marks>`{3,}|~{3,})[^\n]*\n")


@dataclass(frozen=True)
class Fence:
    """One fence."""

    first: int
    """Offset of its opening line in the text."""
    last: int
    """Offset just after its closing line."""
    tag: str
    code: str
    closed: bool

    @property
    def is_tagged(self) -> bool:
        """Whether it has code that is tagged as a cell."""
        return self.tag in CELL_TAGS and bool(self.code.strip())

    @property
    def is_stray(self) -> bool:
        """Whether it is a line of marks with nothing behind it."""
        return not self.closed and not self.tag and not self.code.strip()

    @property
    def is_untagged_code(self) -> bool:
        """Whether it has a program, and no tag that says so."""
        return self.tag not in CELL_TAGS and is_code(self.code)


def fences_of(text: str) -> list[Fence]:
    """Find the fences of a text.

    A line of backticks within a string of code looks like the end of the code. Where code stops in
    the middle of a string there, and is a program up to a later line of backticks, it goes on to
    that one.
    """
    found: list[Fence] = []
    start = 0
    for _ in range(MOST_MENDED):
        more = _moved(plain_fences(text[start:]), start)
        mended = next(((at, longer) for at, longer in _mended(text, more)), None)
        if mended is None:
            return [*found, *more]
        at, fence = mended
        found += [*more[:at], fence]
        start = fence.last
    return [*found, *_moved(plain_fences(text[start:]), start)]


def plain_fences(text: str) -> list[Fence]:
    """Find the fences of a text as CommonMark has them."""
    lines = _line_offsets(text)
    return [_fence(token, lines) for token in _markdown().parse(text) if token.type == "fence"]


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    """Make a parser of CommonMark's blocks.

    It leaves out HTML blocks, since `<answer>` above a fence would swallow the fence, and inlines,
    since nothing reads them.
    """
    return MarkdownIt("commonmark").disable(["html_block", "inline"])


def _fence(token: Token, lines: Sequence[int]) -> Fence:
    first, last = token.map or (0, 0)
    tag = re.split(r"\W", token.info.strip().lower(), maxsplit=1)[0]
    closed = last - first == _line_count(token.content) + 2
    return Fence(lines[first], lines[last], tag, token.content, closed)


def _line_offsets(text: str) -> list[int]:
    """Give the offset of each line, and one just after the end."""
    return [0, *(match.end() for match in re.finditer("\n", text)), len(text) + 1]


def _line_count(content: str) -> int:
    return content.count("\n") + (not content.endswith("\n") and content != "")


def _moved(fences: Sequence[Fence], by: int) -> list[Fence]:
    return [
        Fence(fence.first + by, fence.last + by, fence.tag, fence.code, fence.closed)
        for fence in fences
    ]


# Lines of backticks within code


def _mended(text: str, fences: Sequence[Fence]) -> Iterator[tuple[int, Fence]]:
    """Give the fences that end too early, each with its number and as it should be."""
    broken = (
        (number, fence)
        for number, fence in enumerate(fences)
        if fence.closed and fence.is_tagged and parsed(fence.code) is None
    )
    for number, fence in islice(broken, MOST_MENDED):
        longer = _longer(text, fence)
        if longer is not None:
            yield number, longer


def _longer(text: str, fence: Fence) -> Fence | None:
    """Read a fence on to the first line of marks up to which it is a program."""
    opening = OPENING.match(text, fence.first)
    if opening is None:  # in a list or a quote: not worth its own rules
        return None
    marks = re.escape(opening["marks"])
    end = re.compile(rf"^ {{0,3}}{marks}{marks[-1]}*[ \t]*(?:\n|\Z)", re.MULTILINE)
    for closing in islice(end.finditer(text, fence.last), MOST_ENDS):
        code = text[opening.end() : closing.start()]
        if parsed(code) is not None:
            return Fence(fence.first, closing.end(), fence.tag, code, closed=True)
    return None
