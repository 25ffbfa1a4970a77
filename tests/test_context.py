"""Contexts: any input goes in by streaming and comes out as it was, or the error says what to do."""

import io
import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langgraph_rlm import File, create_rlm
from langgraph_rlm.errors import BlobError, ContextError
from langgraph_rlm.storage.backends import CHUNK
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle, materialize
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.storage.ingest_files import MAX_SKIPPED
from langgraph_rlm.testing import ScriptedModel, cell


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore.open(tmp_path / "blobs")


def stored(handle: ContextHandle, store: BlobStore) -> str:
    return store.get(handle.digest).decode("utf-8", "surrogatepass")


def check_counts(handle: ContextHandle, store: BlobStore) -> None:
    data = store.get(handle.digest)
    assert (handle.length, handle.size) == (len(data.decode("utf-8", "surrogatepass")), len(data))


# What comes in


@pytest.mark.parametrize(
    ("value", "kind", "items"),
    [
        ("plain", "text", None),
        ("naïve 日本 🎉 half \ud83d zero \0", "text", None),
        (["a", 1, 2.5, None, True, {"k": ["v"]}, "line\nbreak\u2028"], "list", 7),
        ({"a": 1, "b": {"c": [1]}, 2020: "int key"}, "dict", 3),
    ],
)
def test_values_come_back_as_they_were(
    store: BlobStore, value: Any, kind: str, items: int | None
) -> None:
    handle = ingest(value, store)
    assert materialize(handle, store) == value
    assert (handle.kind, handle.items) == (kind, items)
    check_counts(handle, store)


def test_a_str_is_content_even_when_a_file_has_that_name(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("inside")
    monkeypatch.chdir(tmp_path)
    assert materialize(ingest("notes.txt", store), store) == "notes.txt"
    assert materialize(ingest(Path("notes.txt"), store), store) == "inside"


def test_the_same_bytes_from_anywhere_are_one_blob(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("same é")
    values = [
        "same é",
        Path(tmp_path, "a"),
        "same é".encode(),
        io.StringIO("same é"),
        io.BytesIO("same é".encode()),
    ]
    handles = [ingest(value, store) for value in values]
    assert len({handle.digest for handle in handles}) == 1
    assert {(handle.length, handle.size) for handle in handles} == {(6, 7)}
    assert handles[1].source == str(tmp_path / "a")


def test_a_byte_order_mark_is_no_part_of_the_text(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfmarked")
    for value in (
        "\ufeffmarked",
        Path(tmp_path, "a"),
        b"\xef\xbb\xbfmarked",
        OneByteAtATime(b"\xef\xbb\xbfmarked"),
    ):
        handle = ingest(value, store)
        assert (materialize(handle, store), handle.length, handle.size) == ("marked", 6, 6)


class OneByteAtATime:
    """A pipe that gives as little as it can."""

    def __init__(self, data: bytes) -> None:
        self._bytes = iter([data[i : i + 1] for i in range(len(data))])

    def read(self, size: int) -> bytes:
        return next(self._bytes, b"")


def test_a_character_cut_between_two_reads_is_counted_once(store: BlobStore) -> None:
    text = "é日🎉" * 3
    handle = ingest(OneByteAtATime(text.encode()), store)
    assert (materialize(handle, store), handle.length) == (text, 9)


def test_messages_and_documents(store: BlobStore) -> None:
    messages = [
        SystemMessage("be brief"),
        HumanMessage([{"type": "text", "text": "hi "}, {"type": "text", "text": "there"}]),
        AIMessage("calling", tool_calls=[{"name": "f", "args": {"x": 1}, "id": "1"}]),
        ToolMessage("42", tool_call_id="1"),
    ]
    rows: Any = materialize(ingest(messages, store), store)
    assert [(row["role"], row["content"]) for row in rows] == [
        ("system", "be brief"),
        ("user", "hi there"),
        ("assistant", "calling"),
        ("tool", "42"),
    ]
    assert (rows[2]["tool_calls"][0]["name"], rows[3]["tool_call_id"]) == ("f", "1")
    documents = [Document("one", metadata={"page": 1, "when": Path("x")}, id="d1"), Document("two")]
    handle = ingest(documents, store)
    assert (handle.kind, handle.items) == ("documents", 2)
    assert materialize(handle, store) == [
        {"page_content": "one", "metadata": {"page": 1, "when": "x"}, "id": "d1"},
        {"page_content": "two", "metadata": {}},
    ]
    assert ingest(documents[0], store).items == 1


def test_a_folder_is_its_files_of_text_and_says_what_it_left_out(
    store: BlobStore, tmp_path: Path
) -> None:
    root = folder(tmp_path)
    handle = ingest(root, store)
    assert materialize(handle, store) == {
        "a.txt": "first",
        "b/é.md": "zweite é\n",
        "empty.txt": "",
        "z.txt": "last",
    }
    assert stored(handle, store) == "first\nzweite é\nlast"
    assert (handle.kind, handle.items, handle.source) == ("files", 4, str(root))
    assert handle.skipped == (
        ".git/ (hidden)",
        ".secret (hidden)",
        "image.png (binary)",
        "latin.txt (not UTF-8)",
        "leak.txt (a link that leads outside)",
        "loop/ (a link to a folder)",
    )
    check_counts(handle, store)


def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    (root / "b").mkdir(parents=True)
    (root / ".git").mkdir()
    (tmp_path / "outside.txt").write_text("outside")
    (root / "leak.txt").symlink_to(tmp_path / "outside.txt")
    (root / "loop").symlink_to(root)
    for name, data in {
        "z.txt": b"last",
        "a.txt": b"\xef\xbb\xbffirst",
        "b/é.md": "zweite é\n".encode(),
        "empty.txt": b"",
        ".secret": b"key",
        ".git/config": b"x",
        "image.png": b"\x89PNG\0",
        "latin.txt": b"caf\xe9",
    }.items():
        (root / name).write_bytes(data)
    return root


def test_a_list_of_files(store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path)
    handle = ingest([root / "z.txt", root / "b/é.md", root / "z.txt"], store)
    assert materialize(handle, store) == {"z.txt": "last", "b/é.md": "zweite é\n"}
    monkeypatch.chdir(root)
    assert materialize(ingest((Path("b/é.md"), Path("a.txt")), store), store) == {
        "b/é.md": "zweite é\n",
        "a.txt": "first",
    }


def test_a_handle_survives_as_plain_values(store: BlobStore, tmp_path: Path) -> None:
    handle = ingest(folder(tmp_path), store)
    assert ContextHandle.from_dict(json.loads(json.dumps(handle.as_dict()))) == handle


def test_only_so_many_skipped_names_are_kept(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("x")
    for n in range(MAX_SKIPPED + 7):
        (tmp_path / "in" / f".{n}").write_text("x")
    assert ingest(tmp_path / "in", store).skipped[-1] == "... and 7 more"


def test_a_handle_is_given_back_while_its_blob_is_there(store: BlobStore, tmp_path: Path) -> None:
    handle = ingest(folder(tmp_path), store)
    assert ingest(handle, store) is handle
    assert handle.index is not None
    for digest in (handle.digest, handle.index):
        with pytest.raises(BlobError, match=r"0000.* ingest the same input again"):
            ingest(
                replace(handle, **{"digest" if digest == handle.digest else "index": "0" * 64}),
                store,
            )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "string is empty"),
        ("\ufeff", "string is empty"),
        (b"", "empty"),
        ([], "list is empty"),
        ({}, "dict is empty"),
        (io.StringIO(""), "empty"),
        (b"ab\0c", "binary: a zero byte at offset 2"),
        (b"\xef\xbb\xbfab\0c", "binary: a zero byte at offset 5"),
        (b"caf\xe9 au lait", r"not UTF-8: see the byte at offset 3.*File\(.*iconv -f LATIN1"),
        (b"cut \xe2\x82", "not UTF-8: see the byte at offset 4"),
        ("text".encode("utf-16-le"), 'binary: a zero byte at offset 1.*encoding="utf-16-le"'),
        ("text".encode("utf-16-be"), 'binary: a zero byte at offset 0.*encoding="utf-16-be"'),
        (b"\xff\xfeo\0d", "not utf-16: see the byte at offset 4"),
        (b"caf\xe9\0 au lait", "binary: a zero byte at offset 4.*encoding="),
        ((b"x" * 89 + b"\0" * 11), "11 zero bytes .* among 100.*tr -d '.000'"),
        (b"name" + b"\0" * 253 + b"ustar" + b"text" * 1000, "cannot be read: broken: bad checksum"),
        (OneByteAtATime(b"\xef\xbb\xbf\xc3\xa9\xff"), "byte at offset 5"),
        ([1, {"a": [{2}]}], r"list\[1\]\['a'\]\[0\] is a set"),
        ({"k": {"x": object()}}, r"dict\['k'\]\['x'\] is a object"),
        ({(1, 2): 3}, "tuple as a key"),
        ([{(1, 2): 3}], r"list\[0\] has a tuple as a key"),
        ([HumanMessage("hi"), "text"], r"list\[0\] is a HumanMessage"),
        ([Path("a"), "b"], r"list\[0\] is a Posix"),
        (5, "cannot be a int"),
        (None, "cannot be a NoneType"),
        (Path("no/such/file"), "no/such/file does not exist"),
        (Path("nul\0name"), "cannot be read"),
        ([Path("no/such/file")], "no/such/file does not exist"),
    ],
)
def test_a_bad_input_says_what_is_wrong_and_stores_nothing(
    store: BlobStore, tmp_path: Path, value: Any, message: str
) -> None:
    with pytest.raises(ContextError, match=message):
        ingest(value, store)
    assert store.backend.is_empty()


def test_a_value_that_holds_itself_is_no_json(store: BlobStore) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ContextError, match=r"list\[0\]"):
        ingest([loop], store)


def test_bad_files_and_folders(store: BlobStore, tmp_path: Path) -> None:
    root = folder(tmp_path)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".only").write_text("x")
    cases: list[tuple[Any, str]] = [
        (root / "image.png", "image.png is binary: a zero byte at offset 4"),
        (root / "latin.txt", "latin.txt is not UTF-8"),
        (root / "empty.txt", "empty.txt is empty"),
        ([root / "image.png"], r"image.png cannot be read: binary"),
        ([root / "empty.txt"], "empty.txt.* empty"),
        (tmp_path / "nothing", "no file to read.*it is empty"),
        (tmp_path / "hidden", r"no file to read.*\.only \(hidden\)"),
    ]
    for value, message in cases:
        with pytest.raises(ContextError, match=message):
            ingest(value, store)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_without_permission(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").chmod(0)
    with pytest.raises(ContextError, match="Permission denied"):
        ingest(tmp_path / "a", store)


def test_a_large_file_is_streamed(store: BlobStore, tmp_path: Path) -> None:
    """In a process of its own: 200 MB go through in far less memory."""
    line = "0123456789 é lorem ipsum dolor sit amet\n"
    with (tmp_path / "big").open("w") as file:
        for _ in range(100):
            file.write(line * 50_000)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from langgraph_rlm.storage.blobs import BlobStore; from langgraph_rlm.storage.ingest import ingest\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; h = ingest(Path(sys.argv[1]), BlobStore.open(sys.argv[2]))\n"
        "print(h.length, h.size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big"), str(tmp_path / "b")],
        capture_output=True,
        text=True,
        check=True,
    )
    length, size, more_kb = map(int, out.stdout.split())
    assert (length, size) == (len(line) * 5_000_000, len(line.encode()) * 5_000_000)
    assert more_kb < 30_000


def test_importing_is_light() -> None:
    code = "import sys, langgraph_rlm.storage.reads; print([m for m in ('langchain_core', 'fsspec', 're2') if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    store: BlobStore, tmp_path: Path
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    unreadable = [tmp_path / "loop", Path("/proc/self/mem")]
    if os.geteuid():
        (tmp_path / "locked").write_text("x")
        (tmp_path / "locked").chmod(0)
        unreadable.append(tmp_path / "locked")
    for path in unreadable:
        with pytest.raises(ContextError, match=f"{path} cannot be read: .*Errno"):
            ingest(path, store)


# Encodings


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_byte_order_mark_tells_the_encoding(
    store: BlobStore, tmp_path: Path, encoding: str
) -> None:
    """As Windows and spreadsheets write it."""
    text = "Überschrift\r\nnaïve 日本 🎉\n" * 3
    data = text.encode(encoding)
    if encoding != "utf-16":
        data = "\ufeff".encode(encoding) + data
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_bytes(data)
    for value in (data, io.BytesIO(data), OneByteAtATime(data), tmp_path / "in" / "a.txt"):
        handle = ingest(value, store)
        assert materialize(handle, store) == text
        check_counts(handle, store)
    assert materialize(ingest(tmp_path / "in", store), store) == {"a.txt": text}


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("latin-1", "café\r\n"),
        ("cp1252", "“café” – 5 €"),
        ("shift_jis", "日本語のテキスト"),
        ("utf-16-le", "no mark é"),
        ("utf-8", "é"),
    ],
)
def test_a_file_may_say_its_encoding(
    store: BlobStore, tmp_path: Path, encoding: Any, text: str
) -> None:
    text *= CHUNK // 8  # characters are cut between two chunks
    path = tmp_path / "old.txt"
    path.write_bytes(text.encode(encoding))
    for file in (File(path, encoding=encoding), File(str(path), encoding=encoding.upper())):
        handle = ingest(file, store)
        assert materialize(handle, store) == text
        assert handle.source == str(path)
        check_counts(handle, store)
    with path.open(encoding=encoding, newline="") as opened:
        assert materialize(ingest(opened, store), store) == text


def test_folders_and_lists_take_encodings_too(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    a, b, c = (tmp_path / "in" / name for name in ("a.txt", "b.txt", "c.txt"))
    a.write_bytes(b"caf\xe9")
    b.write_bytes("日".encode("shift_jis"))
    folder = ingest(File(tmp_path / "in", encoding="latin-1"), store)
    assert materialize(folder, store) == {"a.txt": "café", "b.txt": "\x93ú"}
    c.write_text("é")
    files = ingest([File(a, encoding="latin-1"), c, File(b, encoding="shift_jis")], store)
    assert materialize(files, store) == {"a.txt": "café", "c.txt": "é", "b.txt": "日"}
    strict = ingest(File(tmp_path / "in", encoding="shift_jis"), store)
    assert strict.skipped == ("a.txt (not shift_jis)",)


@pytest.mark.parametrize(("errors", "read"), [("replace", "caf\ufffd"), ("ignore", "caf")])
def test_a_file_may_say_what_becomes_of_broken_bytes(
    store: BlobStore, tmp_path: Path, errors: Any, read: str
) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    assert materialize(ingest(File(tmp_path / "a.txt", errors=errors), store), store) == read
    (tmp_path / "a.txt").write_bytes("café".encode("utf-16"))
    assert materialize(ingest(File(tmp_path / "a.txt", errors=errors), store), store) == "café"


@pytest.mark.parametrize(
    "encoding", ["latin9000", "zip", "rot13", "hex", "undefined", "", "a\0", 5]
)
def test_an_encoding_that_is_none_is_refused_at_once(encoding: Any) -> None:
    with pytest.raises(ContextError, match=r"Python has no such text encoding.*utf-8, latin-1"):
        File("never read", encoding=encoding)
    with pytest.raises(ContextError, match="must be one of strict, replace, ignore"):
        File("never read", errors="surrogateescape")  # type: ignore[arg-type]


def test_another_encoding_than_was_said_is_refused_with_its_place(
    store: BlobStore, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * (CHUNK + 7) + "é".encode())
    with pytest.raises(ContextError, match=f"not ascii: see the byte at offset {CHUNK + 7}.*File"):
        ingest(File(path, encoding="ascii"), store)
    path.write_bytes(b"no mark")
    with pytest.raises(ContextError, match="not utf-16"):
        ingest(File(path, encoding="utf-16"), store)


# NULs


@pytest.mark.parametrize(
    "data",
    [
        b'{"n": 1}\n' * 1000 + b"\0" * 64 + b'{"n": 2}\n' * 1000,
        b"\0" * 8 + b"after a crash\n" * 20,
        b"x" * 90 + b"\0" * 10,
        "naïve \0 日本 🎉 half a line of text".encode(),
        b"HOME=/root\0LANG=C.UTF-8\0" * 50,
        (b"a" * 99 + b"\0") * (3 * CHUNK // 100),
    ],
    ids=["in a log", "at its start", "one in ten", "one", "as separators", "over chunks"],
)
def test_a_few_nuls_are_part_of_the_text(store: BlobStore, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "events.jsonl"
    path.write_bytes(data)
    handle = ingest(path, store)
    assert materialize(handle, store) == data.decode()
    check_counts(handle, store)
    assert materialize(ingest(tmp_path / "in", store), store) == {"events.jsonl": data.decode()}


def test_code_gets_the_nuls(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b'{"n": 1}\n' * 20 + b"\0\0" + b'{"n": 2}\n')
    root = ScriptedModel(
        replies=[cell(r"FINAL([context.count('\0'), grep(r'\x00+')[0], peek(180, 183)])")]
    )
    out = create_rlm(root, blob_store=tmp_path / "blobs").invoke(
        {"query": "How many?", "context": tmp_path / "events.jsonl"}
    )
    match = {"line": 21, "start": 180, "end": 182, "text": '\0\0{"n": 2}'}
    assert json.loads(out["answer"]) == [2, match, "\0\0{"]


def test_an_endless_stream_of_nuls_ends(store: BlobStore) -> None:
    with pytest.raises(ContextError, match="/dev/zero is binary: a zero byte at offset 0"):
        ingest(Path("/dev/zero"), store)


# Names of files


def told(context: Any, tmp_path: Path) -> list[str]:
    """The warnings that a context gets."""
    run = create_rlm(ScriptedModel(replies=[cell("FINAL('ok')")]), blob_store=tmp_path / "blobs")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.invoke({"query": "go", "context": context})
    return [str(each.message) for each in caught if each.category is UserWarning]


@pytest.mark.parametrize("of", ["a.txt", ["a.txt"], ["a.txt", "b.txt"], ("a.txt", "sub")])
def test_names_of_files_given_as_text_are_warned_of(
    of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("Contract 7 ends in March.\n")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    (message,) = told(of, tmp_path)
    assert "Path(" in message and "'a.txt'" in message


@pytest.mark.parametrize(
    "of",
    [
        ["a.txt", "no such file"],
        ["words", "of", "a text"],
        ["a.txt", 5],
        {"a.txt": "a.txt"},
        ["a.txt" * 1000, "\0", "\ud800"],
        [Path("a.txt")],
        [{"a.txt": 1}],
    ],
)
def test_other_texts_are_not(of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("inside")
    monkeypatch.chdir(tmp_path)
    assert told(of, tmp_path) == []
