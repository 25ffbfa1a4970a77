"""Every backend; one that cannot work on this machine is skipped with its reason."""

from collections.abc import Iterator

import pytest

from langgraph_rlm.repl.base import Backend
from langgraph_rlm.repl.contract.check import Opener
from langgraph_rlm.repl.local import LocalBackend
from langgraph_rlm.repl.monty import MontyBackend
from langgraph_rlm.repl.python import PythonBackend
from tests.jails import needs_a_jail

BACKENDS = [MontyBackend, LocalBackend, pytest.param(PythonBackend, marks=needs_a_jail)]


@pytest.fixture(scope="module", params=BACKENDS, ids=["monty", "local", "python"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    made = request.param()
    yield made
    made.close()


@pytest.fixture
def open_session(backend: Backend) -> Iterator[Opener]:
    with Opener(backend) as opener:
        yield opener
