"""Both backends."""

from collections.abc import Iterator

import pytest

from langgraph_rlm.repl.base import Backend
from langgraph_rlm.repl.contract.check import Opener
from langgraph_rlm.repl.local import LocalBackend
from langgraph_rlm.repl.monty import MontyBackend


@pytest.fixture(scope="module", params=[MontyBackend, LocalBackend], ids=["monty", "local"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    made = request.param()
    yield made
    made.close()


@pytest.fixture
def open_session(backend: Backend) -> Iterator[Opener]:
    with Opener(backend) as opener:
        yield opener
