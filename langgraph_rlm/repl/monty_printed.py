"""Printed: what one cell of Monty's has printed, up to a limit."""

from collections.abc import Callable

from langgraph_rlm.repl.local_values import PRINTED_TOO_MUCH

FLOOD = 20
"""A cell that prints this many times its limit is ended with its worker."""


class Printed:
    """What one cell printed, up to a limit.

    It replaces Monty's own collector, which ends the session when a cell that printed too much
    calls the host. Monty cannot tell a guest in the middle of a cell that it prints too much: one
    that never stops is flooding, and its worker is ended.
    """

    def __init__(self, limit: int, flooded: Callable[[], None]) -> None:
        self._limit = limit
        self._flooded = flooded
        self._size = 0
        self._parts: list[str] = []

    def __call__(self, _stream: str, text: str) -> None:
        self._parts.append(text[: max(0, self._limit - self._size)])
        self._size += len(text)
        if self._size > FLOOD * self._limit:
            self._flooded()

    def as_list(self) -> tuple[str, int]:
        """Give what `take_up` takes."""
        return self.text, self._size

    def take_up(self, text: str, size: int) -> None:
        """Go on from what another one has collected."""
        self._parts = [text]
        self._size = size

    @property
    def text(self) -> str:
        """What it printed, cut at the limit."""
        return "".join(self._parts)

    @property
    def excess(self) -> str | None:
        """The message of the MemoryError, if the cell printed too much."""
        if self._size <= self._limit:
            return None
        return PRINTED_TOO_MUCH.format(self._limit)
