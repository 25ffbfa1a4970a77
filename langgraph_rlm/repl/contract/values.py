"""Promises about lazy values: when the host is asked for one, and what code then finds."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langgraph_rlm.repl.base import Finished, StoredText
from langgraph_rlm.repl.contract.check import (
    MEGABYTE,
    Opener,
    Promises,
    crashes,
    equal,
    gives,
    holds,
    ran,
)

promise = Promises()

LARGE_SECONDS = 10.0
"""How long a value of 100 million characters may take."""


@promise
def a_value_is_asked_for_once_when_read(open_session: Opener) -> None:
    """A lazy value is asked for when code first reads its name, and not again."""
    asked: list[str] = []

    def context() -> list[Any]:
        asked.append("context")
        return ["a", {"b": 1}]

    def unread() -> str:
        asked.append("context_0")
        return "text"

    session = open_session(values={"context": context, "context_0": unread})
    ran(session, "def first():\n    return context[0]\nif False:\n    context_0")
    equal(asked, [])
    gives(session, "first() + context[0]", "aa")
    gives(session, "context", ["a", {"b": 1}])
    equal(asked, ["context"])


@promise
def a_value_may_come_later(open_session: Opener) -> None:
    """A value that is added to the spec between two cells is there in the second.

    The contexts of a later question of a thread come so.
    """
    values: dict[str, Callable[[], Any]] = {}
    session = open_session(values=values)
    gives(session, "1", 1)
    values["context"] = lambda: "late"
    gives(session, "context", "late")


@promise
def an_assignment_hides_a_value(open_session: Opener) -> None:
    """An assignment hides a lazy value until a cell restores it."""
    session = open_session()
    gives(session, "context = 'mine'\ncontext", "mine")
    outcome = session.feed("context", restore=frozenset({"context"}))
    equal(outcome, Finished("", "the context"))


@promise
def a_large_value_passes_quickly(open_session: Opener) -> None:
    """A context of 100 million characters is there within 10 seconds."""
    text = "é234567890" * (10 * MEGABYTE)
    session = open_session(values={"context": lambda: text}, max_heap_bytes=2048 * MEGABYTE)
    started = time.monotonic()
    gives(session, "[len(context), context[:2], context[-1]]", [100 * MEGABYTE, "é2", "0"])
    seconds = time.monotonic() - started
    holds(seconds < LARGE_SECONDS, f"it took {seconds:.1f} seconds")


@promise
def a_missing_value_is_the_hosts_error(open_session: Opener) -> None:
    """The host's own error passes through `feed` as it is, and ends the session."""

    def missing() -> str:
        raise KeyError("the blob is missing")

    session = open_session(values={"context": missing})
    try:
        outcome = session.feed("try:\n    context\nexcept BaseException:\n    pass")
    except KeyError as error:
        equal(error.args, ("the blob is missing",))
    else:
        raise AssertionError(f"the host's KeyError became {outcome!r}")
    crashes(lambda: session.feed("1"), "a cell after it")


@promise
def a_long_text_comes_from_its_file(open_session: Opener) -> None:
    """A `StoredText` is the text of its file wherever a session reads it, with `?` for half a
    character; it is a value like others, also when it is bound anew."""
    text = "a" * (4 * MEGABYTE - 1) + "\ud800" + "b€" * MEGABYTE
    shown = text.replace("\ud800", "?")
    with TemporaryDirectory() as folder:
        path = Path(folder, "text")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        stored = StoredText(lambda: path, lambda: shown)
        session = open_session(values={"context": stored, "context_0": stored})
        look = "[len({0}), {0}[4194300:4194308], {0}[-2:], {0}.count('€')]"
        seen = [len(shown), "aaa?b€b€", "b€", MEGABYTE]
        gives(session, look.format("context"), seen)
        gives(session, "context = context[4194303:4194306]\ncontext", "?b€")
        gives(session, f"eval({look.format('context_0')!r})", seen)
        outcome = session.feed(look.format("context"), frozenset({"context"}))
        equal(outcome, Finished("", seen))
        gives(session, "context == context_0", True)
