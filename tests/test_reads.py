"""Reads: `peek`, `grep` and `context_info` are exact and quick on contexts of any size."""

import json
import random
import re
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import Limits, create_rlm
from langgraph_rlm.errors import BlobError, ReplayDivergedError
from langgraph_rlm.history.replay_run import replay_run
from langgraph_rlm.history.saved_run import save_run
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import materialize
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.storage.lines import LINE_CHARS, REACH
from langgraph_rlm.storage.ranges import merge_ranges
from langgraph_rlm.storage.reads import Reader
from langgraph_rlm.storage.text_index import BLOCK
from langgraph_rlm.testing import ScriptedModel, cell

from .models import thread


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore.open(tmp_path / "blobs")


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
    """(line, start, end, text) of each match, by Python's `re`; a match of nothing ends its line."""
    found: list[tuple[int, int, int, str]] = []
    at = 0
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        shown = line.removesuffix("\r")
        for index, match in enumerate(re.finditer(pattern, shown, flags)):
            if match[0] or not index:
                found.append((number, at + match.start(), at + match.end(), shown))
            if not match[0]:
                break
        at += len(line) + 1
    return found


def numbers(matches: list[dict[str, Any]]) -> list[tuple[int, int, int, str]]:
    return [(m["line"], m["start"], m["end"], m["text"]) for m in matches]


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
        assert numbers(matches) == reference(pattern, text)[:10_000]
        assert ranges == sorted(ranges)


@pytest.mark.parametrize("letters", ["ab\r\n", "aé日\r\n\n"])
@pytest.mark.parametrize(
    "pattern", ["a$", "^$", "$", "a*$", "a|$", r"[^a\r]+", r"a\Z", r"\Aa\z", "(a$|b)", r"[$]?a$"]
)
def test_the_end_of_a_line_is_before_either_line_ending(
    store: BlobStore, letters: str, pattern: str
) -> None:
    rng = random.Random(pattern)
    text = "".join(rng.choices([*letters.strip(), "\n", "\r\n"], k=2000))
    found = Reader(ingest(text, store), store).grep(pattern, max_matches=10_000)[0]
    assert numbers(found) == reference(pattern.replace(r"\z", r"\Z"), text)


def test_a_line_of_windows_is_shown_without_its_ending(store: BlobStore) -> None:
    reader = Reader(ingest("one\r\ntwo two\r\nthree\rhalf\r\n\r\nlast\r", store), store)
    matches, ranges = reader.grep("two$", context_lines=1)
    assert numbers(matches) == [(2, 9, 12, "one\ntwo two\nthree\rhalf")]
    assert ranges == [(0, 3), (5, 12), (14, 24)]
    assert [m["line"] for m in reader.grep("^$")[0]] == [4]
    assert [m["end"] for m in reader.grep(".*")[0]] == [3, 12, 24, 26, 33]


@pytest.mark.parametrize(
    ("pattern", "line", "found"),
    [
        (r"\Q$\E", "5 $ or 6 $", ["$", "$"]),
        (r"\$[0-9]$", "$5 $6", ["$6"]),
        ("[$]", "a$b$", ["$", "$"]),
        ("[]$]b", "$b ]b", ["$b", "]b"]),
        (r"[\]$]b", "$b ]b", ["$b", "]b"]),
        (r"[[:alpha:]$]+", "a$ b", ["a$", "b"]),
        (r"\\$", "a\\", ["\\"]),
    ],
)
def test_a_dollar_that_is_no_end_of_a_line_stays_one(
    store: BlobStore, pattern: str, line: str, found: list[str]
) -> None:
    reader = Reader(ingest(f"{line}\r\n", store), store)
    assert [reader.peek(m["start"], m["end"])[0] for m in reader.grep(pattern)[0]] == found


@pytest.mark.parametrize("unit", ["x", "é", "🎉"])
def test_every_match_of_a_line_of_any_length_is_found(store: BlobStore, unit: str) -> None:
    """One-line JSON, and gaps around the length that is searched at first."""
    gaps = [0, 1, 100, REACH // 2 - 1, REACH // 2, REACH - 9, REACH, REACH + 1, 5 * REACH, 3]
    line = "".join(f"{unit * gap}<id:{n}>" for n, gap in enumerate(gaps))
    text = f"before\n{line}\nafter <id:last>"
    reader = Reader(ingest(text, store), store)
    for pattern in ("<id:[^>]*>", "<.*?>", r"\bid:\w+|>", f"{unit}*<id:[0-9]*>"):
        matches, ranges = reader.grep(pattern, max_matches=1000)
        assert [m[:3] for m in numbers(matches)] == [m[:3] for m in reference(pattern, text)]
        assert ranges == merge_ranges(ranges)
    assert [m["line"] for m in reader.grep("<", max_matches=4)[0]] == [2, 2, 2, 2]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(
    st.lists(st.sampled_from(["a", "b", "é", "ab" * 40, "x" * 9000, "\n", "\r\n"]), min_size=1),
    st.sampled_from(["ab", "a+", "b?a", "é|ab", "[^a]+", "x+", r"\ba", r"a\b", "x+b", "$", "ab$"]),
)
def test_matches_are_those_of_python(store: BlobStore, parts: list[str], pattern: str) -> None:
    text = "".join(parts)
    matches = Reader(ingest(text, store), store).grep(pattern, max_matches=10_000)[0]
    expected = reference(pattern.replace(r"\b", r"(?a:\b)"), text)
    assert [m[:3] for m in numbers(matches)] == [m[:3] for m in expected][:10_000]


def test_max_matches_counts_matches_and_width_their_text(store: BlobStore) -> None:
    text = json.dumps(
        [{"id": n, "status": "refused" if n % 100 == 0 else "ok"} for n in range(900)]
    )
    reader = Reader(ingest(text, store), store)
    matches, ranges = reader.grep('"refused"', max_matches=7, width=50)
    assert [(m["line"], text[m["start"] : m["end"]]) for m in matches] == [(1, '"refused"')] * 7
    for match, n in zip(matches, range(0, 700, 100), strict=True):
        assert len(match["text"]) <= 50
        assert f'{n}, "status": "refused"' in match["text"]
    assert sum(end - start for start, end in ranges) <= 7 * 50
    assert len(reader.grep("refused", width=10_000)[0][4]["text"]) == 10_000


def test_what_one_grep_shows_is_bounded(store: BlobStore) -> None:
    reader = Reader(ingest(("é" * 99 + "\n") * 20_000, store), store)
    with pytest.raises(ValueError, match=r"20,000,000 characters to show\. Lower max_"):
        reader.grep("^", max_matches=10_000, context_lines=100)
    assert len(reader.grep("^", max_matches=900, context_lines=100)[0]) == 900


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


def test_many_matches_of_one_long_line_take_linear_time(store: BlobStore) -> None:
    """Each would take the whole rest of the line by itself: 2,000 times 10 MB."""
    line = "xyyyyyyyyy" * 1_000_000
    start = time.perf_counter()
    found = Reader(ingest(line, store), store).grep("x.*z|x", max_matches=2000)[0]
    behind = Reader(ingest(f"{line}\n{'hit ' * 2000}", store), store)
    hits = behind.grep("hit", max_matches=2000, context_lines=1)[0]
    assert time.perf_counter() - start < 20
    assert [(m["start"], m["end"]) for m in found] == [(n, n + 1) for n in range(0, 20_000, 10)]
    assert {m["text"][:5] for m in hits} == {"xyyyy"}


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
        {"max_matches": True},
        {"context_lines": -1},
        {"context_lines": 101},
        {"width": 19},
        {"width": 10_001},
        {"width": None},
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
    }
    for name, text in {"a.txt": "first", "b/é.md": "zweite é\n", "c.txt": "x", ".no": ""}.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    reader = Reader(ingest(tmp_path / "in", store), store)
    about = reader.info()
    assert about["files"] == [
        {"path": "a.txt", "bytes": 5, "start": 0, "end": 5},
        {"path": "b/é.md", "bytes": 10, "start": 6, "end": 15},
        {"path": "c.txt", "bytes": 1, "start": 15, "end": 16},
    ]
    assert (about["items"], about["page"], about["pages"]) == (3, 0, 1)
    assert (about["source"], about["skipped"]) == (str(tmp_path / "in"), [".no (hidden)"])
    assert json.loads(json.dumps(about)) == about
    assert [reader.peek(file["start"], file["end"])[0] for file in about["files"]] == [
        "first",
        "zweite é\n",
        "x",
    ]


@pytest.mark.parametrize(("count", "pages"), [(1, 1), (60, 1), (100, 1), (101, 2), (1234, 13)])
def test_all_files_are_named_page_by_page(
    store: BlobStore, tmp_path: Path, count: int, pages: int
) -> None:
    for number in range(count):
        (tmp_path / f"{number:05}.txt").write_text(f"é{number}")
    reader = Reader(ingest([tmp_path / f"{n:05}.txt" for n in range(count)], store), store)
    assert reader.info()["pages"] == pages
    files = [file for page in range(pages) for file in reader.info(page)["files"]]
    assert [file["path"] for file in files] == [f"{number:05}.txt" for number in range(count)]
    assert reader.peek(files[-1]["start"], files[-1]["end"])[0] == f"é{count - 1}"
    for page in (pages, -1, 0.5, True, None, "0"):
        with pytest.raises(ValueError, match=f"page=.*a whole number from 0 to {pages - 1}"):
            reader.info(page)  # type: ignore[arg-type]


def test_sixty_thousand_names_are_listed_at_once(store: BlobStore, tmp_path: Path) -> None:
    """The list of all is read once, not for each page."""
    rows = [[f"folder/{number}.txt", number * 2, 2] for number in range(60_000)]
    index = store.put(json.dumps(rows).encode())
    handle = replace(ingest("x\n" * 60_000, store), kind="files", items=60_000, index=index)
    start = time.perf_counter()
    names = [
        file["path"] for page in range(600) for file in Reader(handle, store).info(page)["files"]
    ]
    assert time.perf_counter() - start < 10
    assert names == [path for path, _, _ in rows]


def test_what_has_no_files_has_one_page(store: BlobStore) -> None:
    reader = Reader(ingest([1, 2], store), store)
    assert "files" not in reader.info(page=0)
    with pytest.raises(ValueError, match="from 0 to 0"):
        reader.info(page=1)


# Through the graph


def answer_of(code: str, context: Any, tmp_path: Path, **limits: Any) -> Any:
    root = ScriptedModel(replies=[cell(code)])
    run = create_rlm(root, limits=Limits(**limits), blob_store=tmp_path / "blobs")
    return json.loads(run.invoke({"query": "go", "context": context})["answer"])


def test_code_finds_all_of_a_line_and_all_files_of_what_is_not_loaded(tmp_path: Path) -> None:
    code = """
pages = context_info()["pages"]
files = [file for page in range(pages) for file in context_info(page=page)["files"]]
hits = grep("refused", max_matches=1000, width=30)
last = files[-1]
FINAL([len(files), last["path"], peek(last["start"], last["end"]), len(hits), hits[-1]["path"]])
"""
    (tmp_path / "in").mkdir()
    for number in range(149):
        (tmp_path / "in" / f"{number:03}.json").write_text("ok" * 5000)
    text = json.dumps(["ok", "refused", "refused"] * 100)
    (tmp_path / "in" / "149.json").write_text(text)
    out = answer_of(code, tmp_path / "in", tmp_path, max_heap_bytes=1 << 20)
    assert out == [150, "149.json", text, 200, "149.json"]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("context_info(page=1)", "context_info: page=1: it must be a whole number from 0 to 0."),
        ("grep('a', width=5)", "grep(width=5): it must be a whole number from 20 to 10,000."),
        ("grep('a', max_matches=0)", "grep(max_matches=0): it must be a whole number from 1"),
        ("grep('a', width='wide')", "grep(width='wide'): it must be a whole number"),
    ],
)
def test_a_wrong_number_is_a_value_error(call: str, told: str, tmp_path: Path) -> None:
    code = f"try:\n    {call}\nexcept ValueError as error:\n    FINAL([str(error)])"
    (message,) = answer_of(code, "abc", tmp_path)
    assert told in message


def test_a_turn_of_the_first_rules_is_answered_as_it_was_then(tmp_path: Path) -> None:
    """`tests/trajectories/reads_of_the_first_rules.json` is a run that was saved by then."""
    code = "print([hit['end'] for hit in grep('ok')], 'preview' in context_info())\nFINAL('ok')"
    saver = InMemorySaver()
    run = create_rlm(
        ScriptedModel(replies=[cell(code)]), checkpointer=saver, blob_store=tmp_path / "blobs"
    )
    run.invoke({"query": "go", "context": "ok ok\nok ok"}, thread())
    save_run(run, thread(), tmp_path / "run.json")
    assert replay_run(tmp_path / "run.json").cells == 1
    saved = json.loads((tmp_path / "run.json").read_text())
    assert saved["root"]["log"]["0.0"]["stdout"]["text"] == "[2, 5, 8, 11] False\n"
    del saved["root"]["log"]["0"]["rules"]
    (tmp_path / "run.json").write_text(json.dumps(saved))
    with pytest.raises(ReplayDivergedError, match=r"(?s)Cell 0\.0 .*\[2, 8\] True"):
        replay_run(tmp_path / "run.json")
