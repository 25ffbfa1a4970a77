"""A gigabyte: contexts that fit no memory are counted, cut, and asked about without a copy."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm.storage import counts, lines
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.storage.pieces import chunk_ranges, file_names, read_lines
from langgraph_rlm.storage.reads import Reader
from langgraph_rlm.testing import ScriptedModel

from .models import rlm, root, shown, thread

PATTERNS = ["a", "ab", "a+", "x*", "^", "$", "a$", "[^a]", r"\s", r"\r", "é", "ab?", r"\ba", "a|^"]


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore.open(tmp_path / "blobs")


def reader_of(value: object, store: BlobStore) -> Reader:
    return Reader(ingest(value, store), store)


# Counting and going on


@pytest.mark.parametrize("reach", [16, lines.REACH])
def test_a_count_is_that_of_what_grep_finds(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch, reach: int
) -> None:
    """From the beginning and from any match on, in lines that are short or long beside a window."""
    monkeypatch.setattr(lines, "REACH", reach)
    monkeypatch.setattr(counts, "REACH", reach)
    rng = random.Random(3)
    for _ in range(40):
        text = "".join(rng.choices(["a", "b", "ab", "xx", "é", "\n", "\r\n", "\r"], k=60))
        reader = reader_of(text, store)
        for pattern in PATTERNS:
            found = reader.grep(pattern, max_matches=1000)[0]
            assert reader.count(pattern) == len(found), (text, pattern)
            for match in found[:3]:
                if match["start"] < match["end"]:
                    rest = found[found.index(match) + 1 :]
                    assert reader.grep(pattern, start=match["end"], max_matches=1000)[0] == rest
                    assert reader.count(pattern, start=match["end"]) == len(rest)


def test_millions_of_matches_of_one_line_are_counted_at_once(store: BlobStore) -> None:
    """As of a JSON file that is one line: two million would take half a minute one by one."""
    reader = reader_of("[" + '{"id": 12}, ' * 2_000_000 + '{"id": 7}]', store)
    assert reader.count('"id": ') == 2_000_001
    assert reader.count('"ID": ', ignore_case=True, start=reader.length - 100_000) == 8333
    assert reader.grep('"id": 7')[0][0]["start"] == 24_000_002


def test_a_count_that_takes_too_long_is_a_timeout(tmp_path: Path) -> None:
    model = root("print(grep_count('[x]'))", "FINAL(1)")
    limits = {"max_cell_seconds": 0.2, "max_heap_bytes": 4 << 20}
    graph = rlm(model, limits=limits, blob_store=tmp_path / "blobs")
    assert graph.invoke({"query": "q", "context": "x" * 30_000_000})["answer"] == "1"
    assert "0.2 seconds" in shown(model, 1)


# Cutting


def test_lines_come_whole_with_where_the_next_one_starts(store: BlobStore) -> None:
    text = "".join(f"line {n} é\r\n" if n % 3 else f"{n}\n" for n in range(1000))
    reader, got, start = reader_of(text, store), [], 0
    while start is not None:
        part, ranges = read_lines(reader, start, max_lines=7)
        got += part["lines"]
        assert ranges[0][1] > ranges[0][0]
        start = part["next"]
    assert got == text.replace("\r\n", "\n").split("\n")[:-1]


def test_a_line_longer_than_any_answer_comes_in_parts(store: BlobStore) -> None:
    reader = reader_of("é" * 2_500_000 + "\nend", store)
    sizes, start = [], 0
    while start is not None:
        part = read_lines(reader, start)[0]
        sizes.append([len(line) for line in part["lines"]])
        start = part["next"]
    assert sizes == [[1_000_000], [1_000_000], [500_000, 3]]


@pytest.mark.parametrize("unit", ["some words é in a line\n", '{"a": "é"}, ', "word é ", "é"])
def test_ranges_cover_the_text_and_end_at_its_borders(store: BlobStore, unit: str) -> None:
    text = unit * 5000
    ranges = chunk_ranges(reader_of(text, store), 1000)[0]
    assert [r["start"] for r in ranges[1:]] == [r["end"] for r in ranges[:-1]]
    assert (ranges[0]["start"], ranges[-1]["end"]) == (0, len(text))
    assert max(r["end"] - r["start"] for r in ranges) <= 1000
    border = {"s": "\n", "{": "},", "w": " ", "é": "é"}[unit[0]]
    assert all(text[: r["end"]].endswith(border) for r in ranges[:-1])


def test_ranges_and_names_of_files(store: BlobStore, tmp_path: Path) -> None:
    for n in range(30):
        file = tmp_path / f"files/d{n % 3}/f{n}.{'py' if n % 2 else 'txt'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"file {n} is é\n" * (n * 20 + 1))
    reader = reader_of(tmp_path / "files", store)
    names = file_names(reader)[0]
    assert len(names) == 30
    assert file_names(reader, "*.py")[0] == [name for name in names if name.endswith(".py")]
    assert file_names(reader, "f1.*")[0] == ["d1/f1.py"]
    ranges = chunk_ranges(reader, 1000)[0]
    assert list(dict.fromkeys(r["path"] for r in ranges)) == names
    for r in ranges:
        number = re.sub(r"\D", "", r["path"].rpartition("/")[2])
        assert set(reader.peek(r["start"], r["end"])[0].split()[1::4]) == {number}


@pytest.mark.parametrize(
    "call",
    [
        "chunk_ranges(chars=1)",
        "read_lines(-1)",
        "read_lines(max_lines=0)",
        "file_names(3)",
        "grep_count('a', start='b')",
        "llm_query('q', ranges=[0, 99])",
        "llm_query('q', ranges={'start': 3})",
        "llm_query('q', ranges=[[3, 2]])",
        "llm_query('q', ranges=[0, 1], of='nothing')",
        "llm_query_batched(['q', 'r'], ranges=[[0, 1]])",
    ],
)
def test_wrong_arguments_are_value_errors(call: str, tmp_path: Path) -> None:
    code = f"try:\n    {call}\nexcept ValueError as error:\n    FINAL(str(error))"
    answer = rlm(root(code)).invoke({"query": "q", "context": "abc"})["answer"]
    assert answer.startswith(call.partition("(")[0])


# Asking about ranges

TEXT = "".join(f"line {n} é\n" for n in range(100_000))
ABOUT_RANGES = """
ranges = chunk_ranges(20_000)
replies = llm_query_batched("What?", ranges=ranges)
texts = llm_query_batched(["What?\\n\\n" + peek(r["start"], r["end"]) for r in ranges])
one = llm_query("Two", ranges=[[0, 3], grep("line 999 ")[0]])
typed = llm_query_batched(["1", "2"], ranges=[[0, 5], [5, 9]], schema={"type": "string"})
answers = [len(ranges), replies == texts, one, typed]
"""


def heard(prompt: str) -> str:
    return f'"{len(prompt)} {prompt[:3]} {prompt[-9:].strip()}"'


@pytest.mark.parametrize("sandbox", ["monty", "local"])
def test_a_batch_about_ranges_is_one_about_their_texts(tmp_path: Path, sandbox: str) -> None:
    """Also in a new process, which gives the same digests from the log alone."""
    made: dict[str, Any] = {"limits": {"max_heap_bytes": 4 << 20}, "sandbox": sandbox}
    made |= {"checkpointer": InMemorySaver(), "blob_store": tmp_path / "blobs"}
    first = rlm(root(ABOUT_RANGES, "FINAL('first')"), sub=heard, **made)
    assert first.invoke({"query": "q", "context": TEXT}, thread())["answer"] == "first"
    sub = ScriptedModel(answer=heard)
    again = rlm(["", "", *root("FINAL(answers)").replies], sub=sub, **made)
    count, same, one, typed = json.loads(again.invoke({"query": "?"}, thread())["answer"])
    assert (count, same, sub.calls) == (65, True, 0)
    assert one == '"19 Two line 999"'
    assert typed[0].startswith("Error") is False


def test_the_store_and_the_log_have_ranges_and_no_text(tmp_path: Path) -> None:
    graph = rlm(
        root('llm_query_batched("What?", ranges=chunk_ranges(20_000)); FINAL(1)'),
        limits={"max_heap_bytes": 4 << 20},
        checkpointer=InMemorySaver(),
        blob_store=tmp_path / "blobs",
    )
    graph.invoke({"query": "q", "context": TEXT}, thread())
    stored = sum(file.stat().st_size for file in (tmp_path / "blobs").rglob("*") if file.is_file())
    assert len(TEXT.encode()) < stored < len(TEXT.encode()) + 20_000
    log = graph.get_state(thread()).values["log"]
    assert log["0.0"]["reads"] == {log["run.0"]["contexts"][0]["digest"]: [[0, len(TEXT.encode())]]}


def test_what_code_binds_to_a_name_of_these_stays(tmp_path: Path) -> None:
    model = root(
        "file_names = ['mine']\ndef read_lines(): return 5", "FINAL([file_names, read_lines()])"
    )
    assert rlm(model).invoke({"query": "q", "context": "c"})["answer"] == '[["mine"],5]'
    assert "You assigned" not in shown(model, 1)
    with_tool = rlm(root("FINAL(read_lines(3))"), tools=[own_read_lines])
    assert with_tool.invoke({"query": "q", "context": "c"})["answer"] == "tool 3"


@tool("read_lines")
def own_read_lines(count: int) -> str:
    """Read lines of the user's own."""
    return f"tool {count}"
