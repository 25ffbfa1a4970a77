"""Quote marks: what an answer puts in quotes, or in Markdown's block quotes. Checks nothing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt

LEAST_WORDS = 3
"""Words that a quote has at least: shorter ones are names and words that are spoken of."""

MOST_CHARS = 5_000
"""Characters that a quote has at most."""

MOST_QUOTES = 200
"""Quotes of one answer that are checked, the first ones."""

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]|\w+")
"""A word; a character of Chinese, Japanese or Korean counts as one."""

MARKED = re.compile(
    rf"“([^“”]{{1,{MOST_CHARS}}})[”“]"
    rf"|„([^„“”]{{1,{MOST_CHARS}}})[“”]"
    rf"|«([^«»]{{1,{MOST_CHARS}}})»"
    rf"|»([^«»]{{1,{MOST_CHARS}}})«"
    rf"|「([^「」]{{1,{MOST_CHARS}}})」"
    rf"|『([^『』]{{1,{MOST_CHARS}}})』"
    rf'|(?<![\w"])"(?=\S)([^"]{{1,{MOST_CHARS}}})(?<=\S)"(?![\w"])'
)
"""A text between quotation marks. Each way ends at the next mark, so it takes linear time."""

EMPTY_LINE = re.compile(r"\n[ \t]*\n")


@dataclass(frozen=True)
class Marked:
    """What stands in quotes."""

    text: str
    start: int
    """Its first character in the answer."""
    end: int


def quotes_in(answer: str) -> list[Marked]:
    """Find the quotes of an answer, in order.

    Args:
        answer: a text, with or without Markdown.

    Returns:
        At most `MOST_QUOTES`, of at least `LEAST_WORDS` words each. Code is left out; so is a quote
        within a block quote, and what goes over an empty line.
    """
    blocks, code = _blocks(answer)
    found = [Marked(_unquoted(answer[start:end]), start, end) for start, end in blocks]
    found += _between_marks(_blanked(answer, [*blocks, *code]))
    long_enough = (each for each in found if _is_quote(each.text))
    return sorted(long_enough, key=lambda each: each.start)[:MOST_QUOTES]


def _is_quote(text: str) -> bool:
    if len(text) > MOST_CHARS:
        return False
    words = WORD.finditer(text)
    return sum(1 for _, _ in zip(range(LEAST_WORDS), words, strict=False)) == LEAST_WORDS


def _between_marks(answer: str) -> Iterator[Marked]:
    for match in MARKED.finditer(answer):
        number = match.lastindex
        if number is not None and EMPTY_LINE.search(match[number]) is None:
            yield Marked(match[number], match.start(number), match.end(number))


def _blocks(answer: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Give where block quotes and blocks of code stand: offsets of their lines."""
    if ">" not in answer and "`" not in answer and "~" not in answer:
        return [], []
    starts = [0, *(match.end() for match in re.finditer("\n", answer)), len(answer)]
    quotes: list[tuple[int, int]] = []
    code: list[tuple[int, int]] = []
    for token in _markdown().parse(answer):
        if token.map is None:
            continue
        span = starts[token.map[0]], starts[min(token.map[1], len(starts) - 1)]
        if token.type == "blockquote_open" and token.level == 0:
            quotes.append(span)
        elif token.type == "fence":
            code.append(span)
    return quotes, code


def _markdown() -> MarkdownIt:
    # Blocks are enough: what stands within a line is not looked at. And nothing nests deeply.
    return MarkdownIt("zero", {"maxNesting": 20}).enable(["blockquote", "fence", "list"])


def _unquoted(block: str) -> str:
    """Give the text of a block quote, without quotation marks around all of it."""
    lines = (re.sub(r"^[ \t]*(?:>[ \t]?)+", "", line) for line in block.splitlines())
    text = "\n".join(lines).strip()
    whole = MARKED.fullmatch(text)
    return text if whole is None or whole.lastindex is None else whole[whole.lastindex]


def _blanked(answer: str, spans: list[tuple[int, int]]) -> str:
    """Give the answer with empty lines in place of some parts, as long as it was."""
    pieces: list[str] = []
    last = 0
    for start, end in sorted(spans):
        if start >= last:
            pieces += [answer[last:start], "\n" * (end - start)]
            last = end
    return "".join([*pieces, answer[last:]])
