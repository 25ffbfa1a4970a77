"""Sandboxes: the one in which the code of an RLM runs. A thread goes on in the one it began in."""

import logging
import threading
from collections.abc import Collection, Sequence

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
    """The sandboxes of one `create_rlm`: the one that was given or, for `auto`, two of them; and
    those that a run may choose instead."""

    def __init__(self, given: str | Backend, others: Collection[str] = ()) -> None:
        """Open the sandbox that was given; no worker starts.

        Args:
            given: of the graph.
            others: names that a run may choose.

        Raises:
            ConfigurationError: it is neither a known name nor a `Backend`.
        """
        self._given = None if given == AUTO else open_backend(given)
        self._known = _stands_for(AUTO) if self._given is None else frozenset[str]()
        for name in others:
            self._known |= _stands_for(name)
        self._opened: dict[str, Backend] = {}
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The name of the one that was given."""
        return AUTO if self._given is None else self._given.name

    @property
    def new(self) -> Backend:
        """The one that a new thread begins in."""
        return self.named(self.name)

    def named(self, name: str) -> Backend:
        """Give the one that a new thread begins in whose run has chosen it by name.

        Raises:
            ConfigurationError: there is no such name here.
            SandboxError: this machine cannot have it.
        """
        if self._given is not None and name == self._given.name:
            return self._given
        return self._begun_in(chosen() if name == AUTO else name)

    def of(self, questions: Sequence[QuestionEntry]) -> Backend:
        """Give the one that an RLM began in, by the questions of its log.

        Raises:
            ConfigurationError: the graph was made with another one.
            SandboxError: this machine cannot have it.
        """
        if not questions:
            return self.new
        began = questions[0].get("sandbox")
        if self._given is not None and began in (None, self._given.name):
            return self._given
        return self._begun_in(began or FIRST)

    def is_of_thread(self, name: str, questions: Sequence[QuestionEntry]) -> bool:
        """Tell whether a name is that of the sandbox that a thread began in."""
        return self.of(questions).name in _stands_for(name)

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
            own = [] if self._given is None else [self._given]
            return [*own, *self._opened.values()]

    def _begun_in(self, began: str) -> Backend:
        if began not in self._known:
            raise ConfigurationError(_elsewhere(began, self.name))
        is_open = began in self._opened
        if began == "python" and not is_open and (reason := obstacle()):
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


def _stands_for(name: str) -> frozenset[str]:
    """What a name may stand for."""
    return frozenset(CHOICES) if name == AUTO else frozenset({name})


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
