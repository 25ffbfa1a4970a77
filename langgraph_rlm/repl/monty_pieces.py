"""Monty's pieces: long texts on their way into a guest, which joins what it gets.

Handed over at once, a text is in the host four times while its message is made: as bytes, as a
str, as Monty's own text and as the message.
"""

import ast
import codecs
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from langgraph_rlm.log.python import parsed
from langgraph_rlm.repl.base import StoredText
from langgraph_rlm.repl.monty_values import TEXT_SHARE
from langgraph_rlm.storage.context import encodable

PIECE = "_rlm_piece"
"""What the guest calls for the next piece."""

PIECE_BYTES = 4 << 20
"""Bytes of a file that make one piece: 25 calls for 100 MB take 10 ms."""


class LongTexts:
    """The long texts that one guest has of the host's."""

    def __init__(self, values: Mapping[str, object], max_heap_bytes: int) -> None:
        """Begin with none.

        Args:
            values: lazy values by their names; more may come later.
            max_heap_bytes: of the guest.
        """
        self._values = values
        self._max_heap_bytes = max_heap_bytes
        self._sizes: dict[str, int] = {}
        self._rest: Iterator[str] | None = None

    @property
    def bytes(self) -> int:
        """How large they are together."""
        return sum(self._sizes.values())

    def wanted(self, code: str, restore: Collection[str]) -> dict[str, StoredText]:
        """Find those that a cell reads by name and the guest may not have, and those to bind anew.

        What a cell reads otherwise, such as in text that runs as code, is not found.
        """
        near = {name for name in self._values if name in restore or name in code}
        near -= self._sizes.keys() - set(restore)
        values = {name: self._values[name] for name in sorted(near)}
        texts = {name: value for name, value in values.items() if isinstance(value, StoredText)}
        read = _names_read(code) if texts.keys() - set(restore) else frozenset[str]()
        return {name: text for name, text in texts.items() if name in restore or name in read}

    def note(self, name: str, path: Path) -> None:
        """Note that the guest has the text of a file."""
        self._sizes[name] = path.stat().st_size

    def fits(self, path: Path) -> bool:
        """Whether a guest could have the text of a file: what is too large would end its worker."""
        return TEXT_SHARE * path.stat().st_size <= self._max_heap_bytes

    def give(self, name: str, path: Path, run: Callable[[str], object]) -> None:
        """Bind a name to the text of a file.

        Args:
            name: of a global of the guest.
            path: of the text, as a `StoredText` has it.
            run: runs source in the guest, whose calls of `PIECE` are answered by `next`. It may
                raise.
        """
        count = -(-path.stat().st_size // PIECE_BYTES)
        self._sizes.pop(name, None)
        self._rest = _pieces(path)
        try:
            run(f"{name} = ''.join([{PIECE}() for _ in range({count})])\nNone")
        finally:
            self._rest = None
        self.note(name, path)

    def next(self) -> str | None:
        """Give the next piece; None while nothing is handed over."""
        return None if self._rest is None else next(self._rest, "")


def _pieces(path: Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
    with path.open("rb") as file:
        while chunk := file.read(PIECE_BYTES):
            yield encodable(decoder.decode(chunk))


def _names_read(code: str) -> frozenset[str]:
    tree = parsed(code)
    nodes = () if tree is None else ast.walk(tree)
    names = (node for node in nodes if isinstance(node, ast.Name))
    return frozenset(name.id for name in names if isinstance(name.ctx, ast.Load))
