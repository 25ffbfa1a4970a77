"""What every test shares: a blob store of its own, and no network."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from langgraph_rlm.repl import sandboxes

AUTO_IS = "LANGGRAPH_RLM_TEST_SANDBOX"
"""What `auto` is in tests: Monty, so that they do the same whatever the kernel has."""


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a test stores outlives it, and no key of the machine is used."""
    monkeypatch.setenv("LANGGRAPH_RLM_STORE", str(tmp_path / "blobs"))
    monkeypatch.setenv("LANGGRAPH_RLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    name = os.environ.get(AUTO_IS, "monty")
    monkeypatch.setattr(sandboxes, "chosen", lambda: name)


@pytest.fixture
def leaves_no_worker() -> Iterator[None]:
    """The test ends with no more child processes than it started with."""
    import psutil

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    after = [
        child for child in psutil.Process().children(recursive=True) if child.pid not in before
    ]
    assert not [child for child in after if child.status() == psutil.STATUS_ZOMBIE]
