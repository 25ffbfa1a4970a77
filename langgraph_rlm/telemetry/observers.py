"""Observers: whoever is told of the work of this process's runs, and how they are told.

A piece of work costs about two microseconds where nobody but a silent logger is told.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager

from langgraph.errors import GraphBubbleUp

from langgraph_rlm.telemetry.logs import Logs
from langgraph_rlm.telemetry.work import Event, Observer, Outcome, Work

observers: list[Observer] = [Logs()]
"""All observers of this process, in the order in which they are told."""


def begin(work: Work) -> None:
    """Tell that a piece of work begins. `end` has to follow."""
    for observer in observers:
        observer.begin(work)


def end(work: Work, error: BaseException | None = None) -> None:
    """Tell that a piece of work has ended, by an exception if `error` is one."""
    work.seconds = time.perf_counter() - work.began
    if error is not None and work.error is None:
        work.error = error
        work.outcome = _outcome_of(error)
    for observer in reversed(observers):
        observer.end(work)
    work.given = work.client = None


def happened(event: Event) -> None:
    """Tell that something happened."""
    for observer in observers:
        observer.happened(event)


@contextmanager
def at_work(work: Work) -> Generator[Work]:
    """Tell of a piece of work around the code that does it."""
    begin(work)
    try:
        yield work
    except BaseException as error:
        end(work, error)
        raise
    end(work)


def _outcome_of(error: BaseException) -> Outcome:
    """Say what an exception means for the piece of work that it leaves."""
    if isinstance(error, GraphBubbleUp):
        return "paused"
    if not isinstance(error, Exception):
        return "stopped"
    return "error"
