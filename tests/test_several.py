"""Inputs as people give them: several contexts by name, DataFrames, iterators, loaders."""

import datetime as dt
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import materialize
from langgraph_rlm.storage.ingest import ingest, ingest_all
from langgraph_rlm.storage.several import names_in_code
from langgraph_rlm.testing import ScriptedModel, cell
from tests.jails import SANDBOXES
from tests.models import rlm, root, shown, thread


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore.open(tmp_path / "blobs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "files"
    found.mkdir()
    (found / "old.txt").write_text("the old contract")
    (found / "new.txt").write_text("the new contract, longer")
    return found


# Several contexts


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_each_context_has_its_name_and_keeps_its_kind(
    folder: Path, tmp_path: Path, sandbox: str
) -> None:
    context = {
        "old": folder / "old.txt",
        "2024 sales": [{"n": 1}, {"n": 2}],
        "chat": [HumanMessage("hi")],
    }
    code = (
        "print(old == context == context_0, old)\n"
        "print(_2024_sales[1]['n'], chat[0]['content'], type(context_2).__name__)\n"
        "print(peek(4, 7, of='old'), context_info(of='_2024_sales')['kind'], grep('hi', of='chat')[0]['line'])\n"
        "FINAL('done')"
    )
    model = root(code)
    graph = rlm(model, sandbox=sandbox, blob_store=tmp_path / "b", checkpointer=InMemorySaver())
    out = graph.invoke({"query": "q", "context": context}, thread())
    assert out["answer"] == "done"
    log = graph.get_state(thread()).values["log"]
    assert log["0.0"]["stdout"]["text"].splitlines() == [
        "True the old contract",
        "2 hi list",
        "old list 1",
    ]
    asked = shown(model, 0)
    assert "- `old` (also `context`, `context_0`): str" in asked
    assert "- `_2024_sales` (also `context_1`): list" in asked


def test_a_later_context_of_the_same_name_takes_its_place(folder: Path, tmp_path: Path) -> None:
    model = root("a = doc; FINAL(a)", "FINAL(doc + '|' + context_0 + '|' + a)")
    graph = rlm(model, blob_store=tmp_path / "b", checkpointer=InMemorySaver())
    graph.invoke({"query": "q", "context": {"doc": folder / "old.txt"}}, thread())
    out = graph.invoke({"query": "q", "context": {"doc": folder / "new.txt"}}, thread())
    assert out["answer"] == "the new contract, longer|the old contract|the old contract"


def test_code_cannot_lose_a_named_context(folder: Path, tmp_path: Path) -> None:
    graph = rlm(root("doc = 5", "FINAL(doc)"), blob_store=tmp_path / "b")
    out = graph.invoke({"query": "q", "context": {"doc": folder / "old.txt"}})
    assert out["answer"] == "the old contract"


def test_a_dict_of_json_is_one_context(store: BlobStore) -> None:
    (handle,) = ingest_all({"a": 1, "b": ["x"]}, store)
    assert (handle.kind, handle.name) == ("dict", None)


def test_handles_of_several_files(folder: Path, store: BlobStore) -> None:
    handles = ingest_all({"all": [folder / "old.txt", folder / "new.txt"], "note": "text"}, store)
    assert [(handle.name, handle.kind) for handle in handles] == [
        ("all_", "files"),
        ("note", "text"),
    ]
    assert [ingest(handle, store) for handle in handles] == handles


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("old", "old"),
        ("my-file.csv", "my_file_csv"),
        ("2024", "_2024"),
        ("class", "class_"),
        ("list", "list_"),
        ("context", "context_"),
        ("context_1", "context_1_"),
        ("answer", "answer_"),
        ("größe", "größe"),
        ("../../etc/passwd", "_etc_passwd"),
        ("a'); import os #", "a_import_os_"),
    ],
)
def test_a_name_becomes_one_that_code_can_have(given: str, made: str) -> None:
    assert names_in_code([given]) == [made]
    assert made.isidentifier()


@pytest.mark.parametrize(
    ("names", "told"),
    [([""], "not empty"), ([3], "must be texts"), (["a b", "a-b"], "would both be 'a_b'")],
)
def test_names_that_cannot_be(names: list[Any], told: str) -> None:
    with pytest.raises(ContextError, match=told):
        names_in_code(names)


# DataFrames


def test_a_frame_of_pandas_is_a_list_of_its_rows(store: BlobStore) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "n": [1, 2],
            "x": [0.1 + 0.2, math.nan],
            "day": pandas.to_datetime(["2024-05-06", None]),
            "label": ["a", None],
            "tags": [["x", 1], []],
        }
    )
    handle = ingest(frame, store)
    assert (handle.kind, handle.items) == ("list", 2)
    assert materialize(handle, store) == [
        {"n": 1, "x": 0.1 + 0.2, "day": "2024-05-06T00:00:00", "label": "a", "tags": ["x", 1]},
        {"n": 2, "x": None, "day": None, "label": None, "tags": []},
    ]


def test_an_index_and_levels_of_columns_stay(store: BlobStore) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        [[1]], index=["row"], columns=pandas.MultiIndex.from_tuples([("a", "b")])
    )
    assert materialize(ingest(frame, store), store) == [{"index ": "row", "a b": 1}]


def test_a_large_frame_is_stored_in_parts(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pandas = pytest.importorskip("pandas")
    monkeypatch.setattr("langgraph_rlm.storage.frames.PART_ROWS", 7)
    rows = materialize(ingest(pandas.DataFrame({"n": range(50)}), store), store)
    assert [row["n"] for row in rows] == list(range(50))  # type: ignore[union-attr]


def test_a_frame_of_polars(store: BlobStore) -> None:
    """A stand-in with polars' name and method, which is all that is asked of it."""
    rows = [{"n": 1, "day": dt.date(2024, 5, 6)}]
    frame = type(
        "DataFrame",
        (),
        {"iter_rows": lambda self, named: iter(rows), "__module__": "polars.dataframe"},
    )()
    assert materialize(ingest(frame, store), store) == [{"n": 1, "day": "2024-05-06"}]


def test_frames_by_name(store: BlobStore) -> None:
    pandas = pytest.importorskip("pandas")
    (handle,) = ingest_all({"sales": pandas.DataFrame({"n": [1]})}, store)
    assert (handle.name, handle.kind) == ("sales", "list")


def test_an_empty_frame_is_refused(store: BlobStore) -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ContextError, match="is empty"):
        ingest(pandas.DataFrame(), store)


# Iterators


class Loader(BaseLoader):
    """A loader that must not be read twice, or at once."""

    def __init__(self) -> None:
        self.read = 0

    def lazy_load(self) -> Iterator[Document]:
        for page in range(3):
            self.read += 1
            yield Document(f"page {page}", metadata={"page": page})


@pytest.mark.parametrize("how", ["loader", "iterator"])
def test_documents_of_a_loader(store: BlobStore, how: str) -> None:
    loader = Loader()
    handle = ingest(loader if how == "loader" else loader.lazy_load(), store)
    assert (handle.kind, handle.items, loader.read) == ("documents", 3, 3)
    rows: Any = materialize(handle, store)
    assert rows[2] == {"page_content": "page 2", "metadata": {"page": 2}}


def test_an_iterator_of_files_or_of_values(folder: Path, store: BlobStore) -> None:
    assert ingest(folder.glob("*.txt"), store).kind == "files"
    assert materialize(ingest((n * n for n in range(3)), store), store) == [0, 1, 4]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (iter([]), "is empty"),
        (iter([Document("a"), "b"]), "Item 1 of the iterator is a str among documents"),
        (iter([1, object()]), "is a object"),
    ],
)
def test_iterators_that_cannot_be_taken(store: BlobStore, values: Iterator[Any], told: str) -> None:
    with pytest.raises(ContextError, match=told):
        ingest(values, store)


def test_what_an_iterator_raises_passes_and_nothing_is_stored(tmp_path: Path) -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise KeyError("source is gone")

    with pytest.raises(KeyError, match="source is gone"):
        ingest(broken(), BlobStore.open(tmp_path / "b"))
    assert BlobStore.open(tmp_path / "b").backend.is_empty()


def test_an_open_file_among_several(store: BlobStore) -> None:
    handles = ingest_all({"a": io.BytesIO(b"bytes"), "b": "text"}, store)
    assert [materialize(handle, store) for handle in handles] == ["bytes", "text"]


def test_a_follow_up_without_contexts_keeps_the_names(folder: Path, tmp_path: Path) -> None:
    model = ScriptedModel(replies=[cell("FINAL(1)"), cell("FINAL(old)")])
    graph = rlm(model, blob_store=tmp_path / "b", checkpointer=InMemorySaver())
    graph.invoke({"query": "q", "context": {"old": folder / "old.txt"}}, thread())
    assert graph.invoke({"query": "q"}, thread())["answer"] == "the old contract"


def test_a_list_may_have_files_and_folders(folder: Path, store: BlobStore) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "c.txt").write_text("C")
    (folder / "more" / ".hidden").write_text("H")
    files = [folder / "old.txt", folder / "more", folder / "more" / "c.txt"]
    handle = ingest(files, store)
    assert materialize(handle, store) == {"old.txt": "the old contract", "more/c.txt": "C"}
    assert handle.skipped == ("more/.hidden (hidden)",)
