"""Logs: what an operator reads of runs, through `logging`. It makes no handler.

The logger is `langgraph_rlm.runs`. At INFO there are no prompts, answers, arguments or texts of
errors: a provider's message may quote all of them, and a key. Each record has the attributes
`rlm_thread`, `rlm_id`, `rlm_place` and `rlm_depth`, for formatters that write JSON.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from langgraph_rlm.telemetry.work import Event, Work

LOG = logging.getLogger("langgraph_rlm.runs")
logging.getLogger("langgraph_rlm").addHandler(logging.NullHandler())

SHOWN = 200
"""Most characters of a text of others in one line."""


def plain(text: object) -> str:
    """Give a text of others as part of one line: nothing in it can begin another line, or move a
    terminal's cursor."""
    given = str(text)
    shown = given if len(given) <= SHOWN else f"{given[:SHOWN]}..."
    if shown.isprintable():
        return shown
    return "".join(each if each.isprintable() else _escaped(each) for each in shown)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


class Logs:
    """The observer."""

    def begin(self, work: Work) -> None:
        """Tell that a run begins; at DEBUG, that a call is made."""
        if work.kind == "rlm" and work.within is None:
            told = "continues" if work.is_resumed else "begins"
            _tell(logging.INFO, work, f"run {told}, with {plain(work.model)}")
        elif LOG.isEnabledFor(logging.DEBUG):
            _tell(logging.DEBUG, work, f"{_named(work)} begins")

    def end(self, work: Work) -> None:
        """Tell how a run ended, and which call of a model failed; at DEBUG, every end."""
        if work.kind == "rlm" and work.within is None:
            _tell(_level_of(work), work, _about_run(work))
        elif work.kind == "model" and work.outcome == "error":
            _tell(logging.WARNING, work, f"{_named(work)} failed: {_kind_of_error(work)}")
        elif LOG.isEnabledFor(logging.DEBUG):
            _tell(logging.DEBUG, work, f"{_named(work)} {_about_end(work)}")
        if work.error is not None and LOG.isEnabledFor(logging.DEBUG):
            _tell(logging.DEBUG, work, f"{_named(work)} said: {plain(work.error)}")

    def happened(self, event: Event) -> None:
        """Tell of pauses, limits, and what became of sandboxes."""
        level, text = TOLD[event.kind](plain(event.what))
        if LOG.isEnabledFor(level):
            _tell(level, event.work, text)


TOLD: Mapping[str, Callable[[str], tuple[int, str]]] = {
    "pause": lambda what: (logging.INFO, f"waits for an answer about {what}"),
    "limit": lambda what: (logging.INFO, f"limit {what} is reached"),
    "wait": lambda what: (logging.INFO, f"the provider is busy: {what}"),
    "sandbox crashed": lambda what: (
        logging.WARNING,
        f"sandbox died in cell {what}; another one takes over",
    ),
    "replay": lambda what: (logging.INFO, f"sandbox is built again: {what} cells run again"),
    "sandbox started": lambda _: (logging.DEBUG, "sandbox started"),
    "sandbox ended": lambda _: (logging.DEBUG, "sandbox ended"),
}
"""Level and text of each kind of event."""


def _tell(level: int, work: Work | None, text: str) -> None:
    """Write one line, with the thread and the place ahead of it."""
    if not LOG.isEnabledFor(level):
        return
    where = Work("rlm", "").where if work is None else work.where
    more = {
        "rlm_thread": plain(where.thread),
        "rlm_id": where.rlm_id,
        "rlm_place": where.place,
        "rlm_depth": where.depth,
    }
    ahead = f"thread {plain(where.thread)}: " if where.thread else ""
    LOG.log(level, "%s%s", ahead, text, extra=more)


def _level_of(work: Work) -> int:
    return logging.WARNING if work.outcome == "error" else logging.INFO


def _named(work: Work) -> str:
    asked = f" of {plain(work.model)}" if work.model else ""
    return f"{plain(work.name)}{asked} at depth {work.where.depth}"


def _about_end(work: Work) -> str:
    outcome = work.stop_reason or work.outcome
    return f"ended in {work.seconds:.2f} s: {outcome}{_spent(work.spent)}"


def _about_run(work: Work) -> str:
    """Say how a run ended, what it has spent, and how long it took this time."""
    ended = f"ended ({plain(work.stop_reason)})"
    if work.outcome == "paused":
        ended = f"pauses, {work.open_pauses} answers are open"
    elif work.outcome == "stopped":
        ended = "was stopped"
    elif work.outcome == "error":
        ended = f"failed: {_kind_of_error(work)}"
    return f"run {ended} after {work.seconds:.1f} s{_spent(work.spent)}"


def _spent(usage: Mapping[str, Any]) -> str:
    if not usage:
        return ""
    parts = [f"{usage['model_calls']:,} model calls"]
    if usage["turns"]:
        parts.append(f"{usage['turns']:,} turns")
    parts.append(f"{usage['input_tokens']:,} + {usage['output_tokens']:,} tokens")
    parts.append(f"${usage['cost']:.4f}")
    if usage["unpriced_calls"]:
        parts.append(f"{usage['unpriced_calls']:,} calls without a price")
    return f"; {', '.join(parts)}"


def _kind_of_error(work: Work) -> str:
    """Give an error's class and its HTTP status; its text may quote a prompt or a key."""
    error = work.error
    status = getattr(error, "status_code", None)
    known = f" {status}" if isinstance(status, int) else ""
    return f"{type(error).__name__}{known}"
