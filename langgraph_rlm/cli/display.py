"""Display: what shows a run while it works, from its progress events.

Three kinds: live on a terminal (`live_display.py`), plain lines in a pipe (`line_display.py`), and
nothing, for machines. No display writes to stdout: that is for answers.
"""

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from langgraph_rlm.budget.usage import Usage
    from langgraph_rlm.progress import Event


class Display(Protocol):
    """Shows one run."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def show(self, event: "Event") -> None:
        """Take one progress event."""
        ...

    def spent(self, usage: "Usage | None") -> None:
        """Take what this question has spent so far."""
        ...

    def note(self, text: str) -> None:
        """Show one line."""
        ...

    def done(self, usage: "Usage") -> None:
        """Show what the question has spent in all."""
        ...


class Quiet:
    """The display that shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def show(self, event: "Event") -> None:
        """Show nothing."""

    def spent(self, usage: "Usage | None") -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def done(self, usage: "Usage") -> None:
        """Show nothing."""
