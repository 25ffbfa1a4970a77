"""Input files: code opens a context as a read-only file, with the same path in every session."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm.processes.folder import PREFIX
from langgraph_rlm.repl.base import Inputs
from langgraph_rlm.repl.input_files import InputFiles
from langgraph_rlm.repl.python import PythonBackend
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle, put_about
from langgraph_rlm.storage.ingest import ingest

from .jails import needs_a_jail
from .models import rlm, root, shown, thread

FILES = ["local", pytest.param("python", marks=needs_a_jail)]
"""Sandboxes whose code opens files."""
SMALL = {"max_heap_bytes": 4 << 20}
CSV = "id,name\n" + "".join(f"{n},user{n % 97}\n" for n in range(100_000))

READ = """
import csv, mmap, os
with open(context_path) as lines:
    count = sum(1 for row in csv.DictReader(lines) if row["name"] == "user3")
with open(context_path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
    size, at = len(data), data.find(b"user96")
told = [context_path, context_0_path, count, size, at]
"""


@pytest.fixture(params=FILES)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """How a graph is made whose code opens files."""
    store = tmp_path / "blobs"
    return {"sandbox": request.param, "blob_store": store, "checkpointer": InMemorySaver()}


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(CSV)
    return path


def answered(graph: Any, context: Any, name: str = "t") -> Any:
    return json.loads(graph.invoke({"query": "q", "context": context}, thread(name))["answer"])


def test_code_opens_and_maps_a_context_that_is_not_loaded(
    made: dict[str, Any], csv_file: Path
) -> None:
    model = root(READ + "FINAL(told)")
    told = answered(rlm(model, limits=SMALL, **made), csv_file)
    path = "inputs/context_0.csv"
    assert told == [path, path, 1031, len(CSV), CSV.index("user96")]
    assert "`context_path` names it as a read-only file" in shown(model, 0)


def test_a_restart_finds_the_same_path_and_a_follow_up_another(
    made: dict[str, Any], csv_file: Path
) -> None:
    """A new process runs the cells again, and code goes on with the path that it has kept."""
    rlm(root(READ, "kept = context_path; FINAL(1)"), **made).invoke(
        {"query": "q", "context": csv_file}, thread()
    )
    code = "FINAL([told[0], open(kept).read(7), context_path, context_1_path, open(context_path).read()])"
    second = rlm(["", "", *root(code).replies], **made)
    first_path, second_path = "inputs/context_0.csv", "inputs/context_1.txt"
    expected = [first_path, "id,name", second_path, second_path, "the new one"]
    assert answered(second, "the new one") == expected


def test_a_folder_is_a_folder(made: dict[str, Any], tmp_path: Path) -> None:
    for name, text in {"a/one.txt": "1", "a/b/two.csv": "2,2", "three.py": "é"}.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    code = """
import os
found = {}
for folder, _, names in os.walk(context_path):
    for name in names:
        path = os.path.join(folder, name)
        found[path] = open(path).read()
FINAL(found == {f"{context_path}/{name}": text for name, text in context.items()} and context_path)
"""
    graph = rlm(root(code), **made)
    assert graph.invoke({"query": "q", "context": tmp_path / "in"}, thread())["answer"] == (
        "inputs/context_0"
    )


def test_a_name_that_code_has_taken_stays_its_own(made: dict[str, Any]) -> None:
    code = "import os\nos.mkdir('inputs')\ncontext_path = 'mine'\nFINAL([context_path, context_0_path])"
    assert answered(rlm(root(code), **made), "text") == ["mine", "inputs_1/context_0.txt"]
    graph = rlm(root("context_path = 'mine'", "FINAL([context_path])"), **made)
    assert answered(graph, "text", "u") == ["mine"]


CHANGES = """
import os, shutil
context_path
def tried(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "done"
outcomes = {
    "write": tried(lambda: open(context_path, "r+")),
    "append": tried(lambda: open(context_path, "a")),
    "empty": tried(lambda: open(context_path, "w")),
    "empty by reading": tried(lambda: os.open(context_path, os.O_RDONLY | os.O_TRUNC)),
    "truncate": tried(lambda: os.truncate(context_path, 0)),
    "unlink": tried(lambda: os.unlink(context_path)),
    "rename": tried(lambda: os.rename(context_path, "mine.txt")),
    "replace": tried(lambda: [open("mine", "w").close(), os.replace("mine", context_path)]),
    "link": tried(lambda: os.link(context_path, "link.txt")),
    "add": tried(lambda: open("inputs/new.txt", "w")),
    "symlink": tried(lambda: os.symlink("/etc/passwd", "inputs/link")),
    "folder": tried(lambda: os.mkdir("inputs/folder")),
    "swap": tried(lambda: [os.symlink(os.path.realpath(context_path), "mine2"), open("mine2", "w")]),
}
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
path = os.path.realpath(context_path).encode()
outcomes["chmod"] = libc.chmod(path, 0o777)
outcomes["utime"] = libc.utimes(path, None)
outcomes["xattr"] = libc.setxattr(path, b"user.a", b"b", 1, 0)
own = os.path.dirname(os.path.dirname(os.path.realpath(context_path)))
assert os.listdir(own) == ["inputs"]
outcomes["blobs"] = tried(lambda: os.listdir(os.path.dirname(own)))
FINAL(outcomes)
"""


@needs_a_jail
def test_a_blob_cannot_be_changed_through_its_file(made: dict[str, Any], tmp_path: Path) -> None:
    if made["sandbox"] == "local":
        pytest.skip("Code in 'local' has the rights of the user; what it opens is a copy.")
    outcomes = answered(rlm(root(CHANGES), **made), "the text" * 1000)
    assert {
        name
        for name, outcome in outcomes.items()
        if outcome not in ("PermissionError", "OSError", -1)
    } == set()
    [blob] = [
        file
        for file in (tmp_path / "blobs").rglob("*")
        if file.is_file() and file.stat().st_size == 8000
    ]
    assert blob.read_text() == "the text" * 1000


def test_code_in_local_changes_a_copy(tmp_path: Path) -> None:
    store = tmp_path / "blobs"
    graph = rlm(
        root("open(context_path, 'w').close(); FINAL(1)"), sandbox="local", blob_store=store
    )
    graph.invoke({"query": "q", "context": "the text"})
    text = ingest("the text", BlobStore.open(store))
    assert BlobStore.open(store).get(text.digest) == b"the text"


@needs_a_jail
def test_files_are_links_and_go_with_the_session(tmp_path: Path) -> None:
    """A gigabyte is there at once, and no folder is left beside the blobs."""
    store = tmp_path / "blobs"
    code = "import os\nFINAL(os.stat(context_path).st_nlink)"
    backend = PythonBackend()
    assert answered(rlm(root(code), sandbox=backend, blob_store=store), "the text") == 2
    backend.close()
    assert [*store.glob(f"{PREFIX}*")] == []


class Shared:
    """A session whose folder is given."""

    def __init__(self, folder: Path, *, is_locked: bool) -> None:
        self.folder, self.is_locked = folder, is_locked
        folder.mkdir()

    def inputs(self) -> Inputs:
        return Inputs(str(self.folder), "inputs", self.is_locked)


@pytest.fixture(params=[True, False])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Shared:
    return Shared(tmp_path / "shared", is_locked=request.param)


def test_names_of_files_lead_nowhere_else(tmp_path: Path, shared: Shared) -> None:
    """They come from archives and mail."""
    store = BlobStore.open(tmp_path / "blobs")
    names = [
        "../out",
        "/etc/x",
        "a//b",
        "a/../../c",
        ".",
        "n\0l",
        "d",
        "d/e",
        "d",
        "y" * 300,
        "ok/f.txt",
    ]
    names += ["x/" * 3000 + "z", "file_0", ""]
    text = "".join(f"text {n:02}" for n in range(len(names)))
    manifest = [(name, 7 * n, 7) for n, name in enumerate(names)]
    handle = ContextHandle(
        digest=store.put(text.encode()),
        kind="files",
        length=len(text),
        size=len(text),
        items=len(names),
        index=store.put(json.dumps(manifest).encode()),
    )
    assert InputFiles(shared, store).path("context_0", handle) == "inputs/context_0"
    found = {
        str(path.relative_to(shared.folder / "context_0")): path.read_text()
        for path in shared.folder.rglob("*")
        if path.is_file()
    }
    assert sorted(found.values()) == sorted(text[n : n + 7] for n in range(0, len(text), 7))
    assert found["ok/f.txt"] == "text 10"
    assert found["d"] == "text 06"
    assert not (tmp_path / "out").exists()


def test_an_original_is_given_as_it_was(tmp_path: Path, shared: Shared) -> None:
    store = BlobStore.open(tmp_path / "blobs")
    original = store.put(b"%PDF-1.7 binary \xff")
    text = ingest("[page 1 of a.pdf]\ntext", store)
    about = put_about({"a.pdf": {"original": original}}, store)
    one = replace(text, source="x/a.pdf", about=about)
    files = InputFiles(shared, store)
    assert files.path("context_0", one) == "inputs/context_0.pdf"
    assert (shared.folder / "context_0.pdf").read_bytes() == b"%PDF-1.7 binary \xff"
    index = store.put(json.dumps([("a.pdf", 0, 22)]).encode())
    many = replace(one, kind="files", items=1, index=index)
    assert files.path("context_1", many) == "inputs/context_1"
    assert (shared.folder / "context_1/a.pdf").read_bytes() == b"%PDF-1.7 binary \xff"
    links = os.stat(shared.folder / "context_1/a.pdf").st_nlink
    assert links == (3 if shared.is_locked else 1)


def test_each_kind_has_a_suffix_that_readers_know(tmp_path: Path, shared: Shared) -> None:
    store = BlobStore.open(tmp_path / "blobs")
    files = InputFiles(shared, store)
    odd = tmp_path / "odd.a b"
    odd.write_text("text")
    given: list[Any] = ["text", [1, {"a": 2}], {"a": 1}, odd]
    paths = [files.path(f"c{n}", ingest(value, store)) for n, value in enumerate(given)]
    assert paths == ["inputs/c0.txt", "inputs/c1.jsonl", "inputs/c2.jsonl", "inputs/c3.txt"]
    assert (shared.folder / "c1.jsonl").read_text() == '1\n{"a": 2}\n'


def test_monty_has_no_such_name() -> None:
    model = root("FINAL(str(context_path))", "FINAL('none')")
    assert rlm(model).invoke({"query": "q", "context": "c"})["answer"] == "none"
    assert "NameError" in shown(model, 1)
