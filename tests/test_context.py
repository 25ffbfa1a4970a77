"""Contexts: any input goes in by streaming and comes out as it was; reads of any size are exact and quick."""

import io
import json
import os
import random
import re
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langgraph_rlm.errors import BlobError, ContextError
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import MAX_SKIPPED, ContextHandle, ingest, materialize
from langgraph_rlm.storage.lines import LINE_CHARS
from langgraph_rlm.storage.reads import Reader
from langgraph_rlm.storage.text_index import BLOCK


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
        (b"caf\xe9 au lait", "not UTF-8: see the byte at offset 3.*iconv -f LATIN1"),
        (b"cut \xe2\x82", "not UTF-8: see the byte at offset 4"),
        ("text".encode("utf-16"), "iconv -f UTF-16"),
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
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


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
        ([root / "a.txt", root / "image.png"], "image.png is binary"),
        ([root / "empty.txt"], "empty.txt.* empty"),
        ([root / "a.txt", root / "b"], "b is a folder in a list"),
        (tmp_path / "nothing", "no file of text.*it is empty"),
        (tmp_path / "hidden", r"no file of text.*\.only \(hidden\)"),
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
        "from langgraph_rlm.storage.blobs import BlobStore; from langgraph_rlm.storage.context import ingest\n"
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


# Peek


@pytest.mark.parametrize("where", ["folder", "remote"])
def test_peek_is_a_slice_of_the_stored_text(tmp_path: Path, where: str) -> None:
    store = BlobStore.open(tmp_path if where == "folder" else f"memory://{uuid4()}")
    text = "".join(random.Random(1).choices("ab é日🎉\n\ud83d", k=150_000))
    reader, data = Reader(ingest(text, store), store), text.encode("utf-8", "surrogatepass")
    spans: list[tuple[int, int | None]] = [
        (0, 10),
        (-5, None),
        (149_000, None),
        (149_999, 150_000),
        (150_000, 150_001),
        (9, 3),
        (-(10**9), 2),
    ]
    rng = random.Random(2)
    spans += [
        (at := rng.randrange(-150_000, 150_000), at + rng.randrange(0, 3000)) for _ in range(300)
    ]
    for start, end in spans:
        shown, ranges = reader.peek(start, end)
        first = max(start + len(text), 0) if start < 0 else start
        assert shown == (text[first : first + 2000] if end is None else text[start:end])
        assert "".join(data[a:b].decode("utf-8", "surrogatepass") for a, b in ranges) == shown


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(
    st.text(st.characters(), min_size=1, max_size=40),
    st.integers(1, BLOCK // 20),
    st.integers(-200_000, 200_000),
    st.integers(0, 5000),
)
@example("é", BLOCK // 2, BLOCK // 2 - 1, 2)
@example("a日", BLOCK // 4, BLOCK // 2 - 1, 3)
def test_peek_equals_the_slice_of_what_code_sees(
    store: BlobStore, text: str, times: int, start: int, length: int
) -> None:
    text = (text * times).removeprefix("\ufeff") or "x"
    handle = ingest(text, store)
    assert (
        Reader(handle, store).peek(start, start + length)[0]
        == str(materialize(handle, store))[start : start + length]
    )


def test_peek_refuses_what_is_too_much_or_no_number(store: BlobStore) -> None:
    reader = Reader(ingest("x" * 2_000_000, store), store)
    assert len(reader.peek(5, 1_000_005)[0]) == 1_000_000
    with pytest.raises(ValueError, match="asks for 1,000,001 characters; at most 1,000,000"):
        reader.peek(0, 1_000_001)
    for bad in ((0.5, 3), ("0", 3), (0, "3"), (None, 3), (True, 3)):
        with pytest.raises(ValueError, match="whole numbers"):
            reader.peek(*bad)  # type: ignore[arg-type]


def test_reads_of_a_vanished_blob_name_it(store: BlobStore) -> None:
    handle = ingest("abc", store)
    store.path(handle.digest).unlink()
    for read in (
        lambda: Reader(handle, store).peek(),
        lambda: Reader(handle, store).grep("a"),
        lambda: Reader(handle, store).info(),
    ):
        with pytest.raises(BlobError, match=handle.digest):
            read()


# Grep


def reference(pattern: str, text: str, flags: int = 0) -> list[tuple[int, int, int, str]]:
    """(line, start, end, text) of the first match in each line, by Python's `re`."""
    found, at = [], 0
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        if match := re.search(pattern, line, flags):
            found.append((number, at + match.start(), at + match.end(), line))
        at += len(line) + 1
    return found


@pytest.mark.parametrize("letters", ["ab \n", "aé日🎉b \n"])
@pytest.mark.parametrize(
    "pattern",
    [
        "a",
        "ab",
        "^",
        "$",
        "^$",
        "^a",
        "b$",
        r"a\s+b",
        "[^a]",
        "a|b b",
        "a.*b",
        "x*",
        r"\Aa",
        r"b\Z",
        "(a)(b)?",
        "(?i)A",
        "a+?",
        "[^b]+b",
    ],
)
def test_grep_agrees_with_python_line_by_line(store: BlobStore, letters: str, pattern: str) -> None:
    rng = random.Random(pattern + letters)
    for size in (1, 7, 300, BLOCK + 100):
        text = "".join(rng.choices(letters, k=size))
        handle = ingest(text, store)
        matches, ranges = Reader(handle, store).grep(pattern, max_matches=10_000)
        assert [(m["line"], m["start"], m["end"], m["text"]) for m in matches] == reference(
            pattern, text
        )[:10_000]
        assert ranges == sorted(ranges)


def test_grep_takes_case_and_a_count(store: BlobStore) -> None:
    reader = Reader(ingest("Needle\nhay\nneedle\nNEEDLE\n", store), store)
    assert [m["line"] for m in reader.grep("needle")[0]] == [3]
    assert [m["line"] for m in reader.grep("needle", ignore_case=True)[0]] == [1, 3, 4]
    assert [m["line"] for m in reader.grep("needle", ignore_case=True, max_matches=2)[0]] == [1, 3]
    assert reader.grep("nothing") == ([], [])


def test_grep_shows_context_lines_and_tells_which_bytes_it_showed(store: BlobStore) -> None:
    text = "".join(f"é line {n}\n" for n in range(100))
    reader = Reader(ingest(text, store), store)
    matches, ranges = reader.grep(r"line (0|50|99)$", context_lines=2)
    assert [m["text"] for m in matches] == [
        "é line 0\né line 1\né line 2",
        "é line 48\né line 49\né line 50\né line 51\né line 52",
        "é line 97\né line 98\né line 99",
    ]
    shown = "".join(text.encode()[a:b].decode() for a, b in ranges)
    assert all(f"line {n}" in shown for n in (0, 1, 2, 48, 52, 97, 99))
    assert "line 3" not in shown
    match = matches[1]
    assert reader.peek(match["start"], match["end"])[0] == "line 50"


@pytest.mark.parametrize("unit", ["x", "é", "🎉"])
@pytest.mark.parametrize("place", [0, 100, 50_000, 99_990])
def test_a_long_line_is_clipped_around_its_match(store: BlobStore, unit: str, place: int) -> None:
    text = unit * place + "NEEDLE" + unit * (100_000 - place)
    matches, ranges = Reader(ingest(text, store), store).grep("NEEDLE")
    shown = matches[0]["text"]
    assert "NEEDLE" in shown
    assert LINE_CHARS - 10 <= len(shown) <= LINE_CHARS
    assert "".join(text.encode()[a:b].decode() for a, b in ranges) == shown.strip(".")
    assert shown.startswith("...") == (place > 250)
    everything = Reader(ingest(text, store), store).grep(".*")[0][0]
    assert (everything["start"], everything["end"]) == (0, len(text))


def test_grep_of_files_names_the_file_and_its_line(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, text in {
        "a.txt": "é one\nhit a",
        "b.txt": "",
        "c.txt": "hit c\nlast\n",
        "d.txt": "x\ny\nhit d",
    }.items():
        (tmp_path / "in" / name).write_text(text)
    reader = Reader(ingest(tmp_path / "in", store), store)
    matches, _ = reader.grep("hit", context_lines=1)
    assert [(m["path"], m["line"], m["text"]) for m in matches] == [
        ("a.txt", 2, "é one\nhit a"),
        ("c.txt", 1, "hit c\nlast"),
        ("d.txt", 3, "y\nhit d"),
    ]
    assert all(reader.peek(m["start"], m["end"])[0] == "hit" for m in matches)


def test_a_catastrophic_pattern_is_quick(store: BlobStore) -> None:
    reader = Reader(ingest("a" * 100_000 + "b", store), store)
    start = time.perf_counter()
    assert reader.grep("(a+)+$")[0] == []
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("pattern", [r"(?=a)b", r"(?<!a)b", r"(a)\1", "(", "[z-a]", "a{2,1}"])
def test_a_pattern_that_re2_cannot_take_says_so_and_what_to_do(
    store: BlobStore, pattern: str
) -> None:
    with pytest.raises(ValueError, match="filter the matches in Python instead") as caught:
        Reader(ingest("abc", store), store).grep(pattern)
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_matches": 0},
        {"max_matches": 10_001},
        {"max_matches": 1.5},
        {"context_lines": -1},
        {"pattern": 5},
    ],
)
def test_numbers_out_of_range(store: BlobStore, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="grep"):
        Reader(ingest("abc", store), store).grep(**({"pattern": "a"} | wrong))


@pytest.mark.parametrize("letter", ["o", "ö"])
def test_a_hundred_megabytes_are_searched_quickly_in_little_memory(
    store: BlobStore, tmp_path: Path, letter: str
) -> None:
    line = f"the quick brown fox jumps {letter}ver the lazy dog\n"
    with (tmp_path / "big").open("w") as file:
        for _ in range(20):
            file.write(line * (5_000_000 // len(line)))
        file.write("a needle here")
    reader = Reader(ingest(tmp_path / "big", store), store)
    start = time.perf_counter()
    matches, _ = reader.grep("needle")
    took = time.perf_counter() - start
    assert matches[0]["line"] == 20 * (5_000_000 // len(line)) + 1
    assert matches[0]["text"] == "a needle here"
    assert took < 2
    start = time.perf_counter()
    assert reader.peek(-11, -5)[0] == "needle"
    assert len(reader.grep("fox", max_matches=1000)[0]) == 1000
    assert time.perf_counter() - start < 1
    tracemalloc.start()
    reader.grep("needle", ignore_case=True)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


# Info


def test_info_describes_each_kind(store: BlobStore, tmp_path: Path) -> None:
    about = Reader(ingest("é" * 1000, store), store).info()
    assert about == {
        "kind": "text",
        "length": 1000,
        "bytes": 2000,
        "items": None,
        "source": None,
        "skipped": [],
        "preview": "é" * 500,
    }
    root = folder(tmp_path)
    about = Reader(ingest(root, store), store).info()
    assert about["files"][:2] == [{"path": "a.txt", "bytes": 5}, {"path": "b/é.md", "bytes": 10}]
    assert (about["source"], about["items"], len(about["skipped"])) == (str(root), 4, 6)
    assert json.loads(json.dumps(about)) == about


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
