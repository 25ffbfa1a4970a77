"""Text of a run, cut to what a model may be shown. Knows nothing of logs or prompts."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def clip(text: str, *, limit: int) -> str:
    """Keep the head and the tail of what one cell printed.

    Args:
        text: a cell's stdout, any length.
        limit: most characters kept of `text`, both ends together; at least 2.

    Returns:
        `text` if it fits; else head, one line that counts what was left out, tail.

    Raises:
        ValueError: `limit` is below 2.
    """
    if limit < 2:
        raise ValueError(
            f"clip() keeps both ends of a text: limit={limit!r} is too small, give at least 2."
        )
    if len(text) <= limit:
        return text
    tail = limit // 2
    return (
        f"{text[: limit - tail]}\n[... {len(text) - limit} characters left out ...]\n{text[-tail:]}"
    )
