"""Near: how close a quote that does not stand in a text comes to one of its parts. Reads no files.

Words are aligned by their edit distance, a word counted by its letters, with free ends in the text
(Sellers, 1980). `difflib` finds no free ends, and takes minutes where words repeat.
"""

import re
from dataclasses import dataclass

LEAST_SIMILARITY = 0.75
"""From which on a quote is near to what stands in the text."""

MOST_WORDS = 150
"""Words of a quote that are aligned: they take 30 ms."""

SLACK = 1.3
"""How much longer than the quote the part of the text may be that it is aligned with."""

WORDS = re.compile(rb"\S+")
LETTERS = re.compile(rb"[^\w\x80-\xff]+")


@dataclass(frozen=True)
class Alignment:
    """Where a quote comes closest."""

    similarity: float
    """1 for the same words, 0 for none of them."""
    start: int
    """Its first byte in the text."""
    end: int


def aligned(quote: bytes, text: bytes) -> Alignment:
    """Align a quote with a part of a text.

    Args:
        quote: normalised; only its first `MOST_WORDS` words count.
        text: normalised, not much longer than the quote.

    Returns:
        The part that comes closest. Marks at the ends of words do not count.
    """
    asked = [*WORDS.finditer(quote)][:MOST_WORDS]
    there = [*WORDS.finditer(text)][: int(len(asked) * SLACK * 2) + 10]
    if not asked or not there:
        return Alignment(0.0, 0, 0)
    words = [_letters(word[0]) for word in there]
    costs: list[float] = [0.0] * (len(words) + 1)
    starts = [*range(len(words) + 1)]
    for match in asked:
        costs, starts = _row(_letters(match[0]), words, costs, starts)
    last = min(range(len(words) + 1), key=lambda index: costs[index])
    first = min(starts[last], len(there) - 1)
    size = sum(len(_letters(match[0])) for match in asked)
    similarity = max(0.0, 1 - costs[last] / max(1, size))
    end = there[max(first, last - 1)].end()
    return Alignment(round(similarity, 3), there[first].start(), end)


def _row(
    word: bytes, words: list[bytes], above: list[float], starts: list[int]
) -> tuple[list[float], list[int]]:
    """Align one more word of the quote with each word of the text."""
    costs, begun = [above[0] + len(word)], [starts[0]]
    for index, there in enumerate(words):
        cost, start = above[index] + _cost(word, there), starts[index]
        left_out = above[index + 1] + len(word)
        if left_out < cost:
            cost, start = left_out, starts[index + 1]
        added = costs[index] + len(there)
        if added < cost:
            cost, start = added, begun[index]
        costs.append(cost)
        begun.append(start)
    return costs, begun


def _cost(word: bytes, there: bytes) -> float:
    """Give what it costs to read one word for another: less where half of it is the same."""
    if word == there:
        return 0.0
    most, half = max(len(word), len(there)), min(len(word), len(there)) // 2
    if half and (word[:half] == there[:half] or word[-half:] == there[-half:]):
        return most / 2
    return float(most)


def _letters(word: bytes) -> bytes:
    """Give a word without the marks at its ends; a word of marks as it is."""
    return LETTERS.sub(b"", word) or word
