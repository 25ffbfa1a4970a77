"""Observers: whoever is told of the work of this process's runs, and how they are told.

A piece of work costs about two microseconds where nobody but a silent logger is told.
"""

import time
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager

from langgraph.errors import GraphBubbleUp

from langgraph_rlm.telemetry.logs import Logs
from langgraph_rlm.telemetry.work import Event, Observer, Outcome, Work

observers: list[Observer] = [Logs()]
"""All observers of this process, in the order in which they are told."""


def begin(work: Work) -> None:
    """Tell that a piece of work begins. `end` has to follow."""
    work.told = tuple(observers)
    for observer in work.told:
        observer.begin(work)


def end(work: Work, error: BaseException | None = None) -> None:
    """Tell that a piece of work has ended, by an exception if `error` is one."""
    work.seconds = time.perf_counter() - work.began
    if error is not None and work.error is None:
        work.error = error
        work.outcome = _outcome_of(error)
    for observer in reversed(work.told):
        observer.end(work)
    work.given = work.client = None


def happened(event: Event) -> None:
    """Tell that something happened."""
    for observer in observers:
        observer.happened(event)


def tell_of_sandbox(owner: object) -> Callable[[], object]:
    """Tell that a sandbox has started. What is given back tells that it has ended, once; without
    that call it is told when the owner is gone."""
    happened(Event("sandbox started"))
    has_ended = weakref.finalize(owner, happened, Event("sandbox ended"))
    has_ended.atexit = False
    return has_ended


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
