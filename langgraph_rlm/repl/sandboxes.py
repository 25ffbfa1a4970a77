"""Sandboxes: the one in which the code of an RLM runs. A thread goes on in the one it began in."""

import logging
import threading
from collections.abc import Sequence

from langgraph_rlm.errors import ConfigurationError, SandboxError
from langgraph_rlm.lazy import per_process
from langgraph_rlm.log.entries import QuestionEntry
from langgraph_rlm.repl import AUTO, open_backend
from langgraph_rlm.repl.base import Backend

LOG = logging.getLogger("langgraph_rlm.repl")

FIRST = "monty"
"""The sandbox of threads whose log does not say: the default before there was a choice."""

CHOICES = ("python", "monty")
"""What `auto` may be: sandboxes that isolate."""


class Sandboxes:
    """The sandboxes of one `create_rlm`: the one that was given or, for `auto`, two of them."""

    def __init__(self, given: str | Backend) -> None:
        """Open the sandbox that was given; no worker starts.

        Raises:
            ConfigurationError: it is neither a known name nor a `Backend`.
        """
        self._given = None if given == AUTO else open_backend(given)
        self._opened: dict[str, Backend] = {}
        self._lock = threading.Lock()

    @property
    def new(self) -> Backend:
        """The one that a new thread begins in."""
        return self._given or self._named(chosen())

    def of(self, questions: Sequence[QuestionEntry]) -> Backend:
        """Give the one that an RLM began in, by the questions of its log.

        Raises:
            ConfigurationError: the graph was made with another one.
            SandboxError: this machine cannot have it.
        """
        if not questions:
            return self.new
        began = questions[0].get("sandbox")
        if self._given is None:
            return self._chosen_before(began or FIRST)
        if began not in (None, self._given.name):
            raise ConfigurationError(_elsewhere(began, self._given.name))
        return self._given

    def release_idle(self) -> None:
        """End every worker without a session."""
        for backend in self._all():
            backend.release_idle()

    def close(self) -> None:
        """End every worker."""
        for backend in self._all():
            backend.close()

    def _all(self) -> list[Backend]:
        with self._lock:
            return [self._given] if self._given else list(self._opened.values())

    def _chosen_before(self, began: str) -> Backend:
        if began not in CHOICES:
            raise ConfigurationError(_elsewhere(began, AUTO))
        if began == "python" and (reason := obstacle()):
            raise SandboxError(
                f"This thread began in sandbox 'python', which cannot be had here. {reason} "
                "Continue it on a machine that can, or begin a new thread."
            )
        return self._named(began)

    def _named(self, name: str) -> Backend:
        with self._lock:
            if name not in self._opened:
                self._opened[name] = open_backend(name)
            return self._opened[name]


def _elsewhere(began: str | None, given: str) -> str:
    return (
        f"This thread began in sandbox {began!r}, and the graph was made with {given!r}: make it "
        f"with sandbox={began!r} (or the Backend of that name), or begin a new thread."
    )


def obstacle() -> str:
    """Say why `python` cannot be had here, and what to do; empty if it can."""
    from langgraph_rlm.repl.python import check_can_jail

    try:
        check_can_jail()
    except SandboxError as error:
        return str(error)
    return ""


def choose() -> str:
    """Choose what `auto` is, and say so in one line of the log."""
    reason = obstacle()
    name = "monty" if reason else "python"
    LOG.info("sandbox='auto' is %r here. %s", name, reason or "The kernel can jail a process.")
    return name


chosen = per_process(choose)
"""What `auto` is in this process."""
