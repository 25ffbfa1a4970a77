"""Idioms: small programs of the kinds that models write every day, and what CPython prints.

`python -m tests.idioms` tells how many of them each sandbox runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from langgraph_rlm.repl import SANDBOXES, open_backend
from langgraph_rlm.repl.base import Backend, Finished, Suspended
from langgraph_rlm.repl.contract.check import Opener, run

from . import language, library


@dataclass(frozen=True)
class Idiom:
    """One program."""

    kind: str
    name: str
    program: str
    printed: str
    """What CPython prints."""

    @property
    def id(self) -> str:
        """Its name in lists."""
        return f"{self.kind}: {self.name}"

    @property
    def is_at_hand(self) -> bool:
        """Whether the packages that it needs are installed here."""
        return all(find_spec(package) for package in ("numpy", "pandas") if package in self.program)


IDIOMS = [
    Idiom(kind, name, *row)
    for table in (language.IDIOMS, library.IDIOMS)
    for kind, rows in table.items()
    for name, row in rows.items()
]


def not_run(backend: Backend, idioms: list[Idiom]) -> Iterator[tuple[Idiom, str]]:
    """Give the idioms that a sandbox does not run as CPython does, with the reason.

    Those of one kind share a session.
    """
    for kind in dict.fromkeys(idiom.kind for idiom in idioms):
        with Opener(backend) as opener:
            session = opener()
            for idiom in idioms:
                if idiom.kind == kind:
                    finished, _ = run(session, idiom.program)
                    if finished.error is not None:
                        yield idiom, finished.error.message
                    elif finished.stdout != idiom.printed:
                        yield idiom, f"it prints {finished.stdout!r}"


def opened(sandbox: str) -> Backend:
    """Open a sandbox, and try that it starts. Raises `RLMError` where it cannot."""
    backend = open_backend(sandbox)
    with Opener(backend) as opener:
        outcome = opener().feed("None")
        assert not isinstance(outcome, Suspended)
        assert isinstance(outcome, Finished)
    return backend


__all__ = ["IDIOMS", "SANDBOXES", "Idiom", "not_run", "opened"]
