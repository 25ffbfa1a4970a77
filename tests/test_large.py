"""Large contexts: they are never whole in the host, wherever they go."""

import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from langgraph_rlm import BlobError
from langgraph_rlm.repl.base import MAX_DUMP_BYTES, SessionSpec, StoredText
from langgraph_rlm.repl.monty import MontyBackend
from langgraph_rlm.testing import ScriptedModel, cell

from .jails import needs_a_jail
from .models import rlm, root, thread

LINE = "the needle is in the hay, and the hay is in the barn\n"
TEXT = LINE * 1_300_000
"""Of 69 MB: more than is searched for what models have seen (`coverage`)."""

READ = "found = [len(context), context.count('needle'), context_0[-5:]]\nFINAL(str(found))"
FOUND = str([len(TEXT), 1_300_000, LINE[-5:]])


@pytest.fixture(params=["monty", "local", pytest.param("python", marks=needs_a_jail)])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """How a graph is made."""
    return {"sandbox": request.param, "blob_store": tmp_path / "blobs"}


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize("is_file", [False, True])
def test_the_host_never_has_it_whole(made: dict[str, Any], text_file: Path, is_file: bool) -> None:
    """From the caller's str, or from a file, through the store and into the interpreter."""
    context = text_file if is_file else TEXT
    rlm(root("FINAL(context)"), **made).invoke({"query": "q", "context": "a"}, thread())
    graph = rlm(root("print(context[:5])", READ), **made)
    tracemalloc.start()  # what is loaded once is loaded
    try:
        assert graph.invoke({"query": "q", "context": context}, thread())["answer"] == FOUND
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 0.5 * len(TEXT)


class Altering(ScriptedModel):
    """A root model during whose first call the blobs of a store are altered."""

    store: Path

    async def _agenerate(self, *given: Any, **named: Any) -> Any:
        for path in self.store.rglob("*"):
            if path.is_file() and path.stat().st_size > len(TEXT) // 2:
                path.write_bytes(b"!" + path.read_bytes()[1:])
        return await super()._agenerate(*given, **named)


def altering(made: dict[str, Any], code: str) -> Any:
    model = Altering(replies=[cell(code)], store=made["blob_store"])
    return rlm(model, **made)


def test_code_that_does_not_touch_it_reads_nothing(made: dict[str, Any], text_file: Path) -> None:
    graph = altering(made, "x = 'no context'\nFINAL(x)")
    out = graph.invoke({"query": "q", "context": text_file}, thread())
    assert out["answer"] == "no context"


def test_code_gets_nothing_that_was_altered(made: dict[str, Any], text_file: Path) -> None:
    with pytest.raises(BlobError, match="is altered in the store"):
        altering(made, READ).invoke({"query": "q", "context": text_file}, thread())


def session_with(path: Path, heap: int) -> Any:
    """A session of Monty's that has a text in a file."""
    text = StoredText(lambda: path, path.read_text)
    return MontyBackend().open(
        SessionSpec(frozenset(), {"context": text}, datetime.now(UTC), "seed", heap)
    )


def test_what_a_guest_has_no_memory_for_is_not_there(text_file: Path) -> None:
    session = session_with(text_file, 30 << 20)
    failed = session.feed("x = 1\ncontext[:3]")
    assert failed.error.type == "NameError"
    assert session.feed("x").value == 1
    session.close()


def test_a_guest_with_more_than_is_kept_is_not_written_down(tmp_path: Path) -> None:
    """It would take twice the text's bytes, for nothing."""
    path = tmp_path / "long.txt"
    path.write_text("a" * (MAX_DUMP_BYTES + 1))
    session = session_with(path, 1 << 30)
    assert session.feed("1").value == 1
    assert session.dump() is not None
    assert session.feed("len(context)").value == MAX_DUMP_BYTES + 1
    assert session.dump() is None
    session.close()
