"""Sessions of every backend."""

from collections.abc import Iterator
from typing import Any

import pytest

from langgraph_rlm.repl.base import Backend, Session, SessionSpec
from langgraph_rlm.repl.local import LocalBackend
from langgraph_rlm.repl.monty import MontyBackend

from . import CLOCK, MEGABYTE, Open


@pytest.fixture(scope="module", params=[MontyBackend, LocalBackend], ids=["monty", "local"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    made = request.param()
    yield made
    made.close()


@pytest.fixture
def open_session(backend: Backend) -> Iterator[Open]:
    """Opens sessions with `llm_query`, `tool` and a lazy `context`; arguments replace fields of the spec."""
    opened: list[Session] = []

    def open_with(**overrides: Any) -> Session:
        defaults: dict[str, Any] = {
            "functions": frozenset({"llm_query", "tool"}),
            "values": {"context": lambda: "the context"},
            "clock": CLOCK,
            "seed": "seed",
            "max_heap_bytes": 64 * MEGABYTE,
        }
        opened.append(backend.open(SessionSpec(**{**defaults, **overrides})))
        return opened[-1]

    yield open_with
    for session in opened:
        session.close()
