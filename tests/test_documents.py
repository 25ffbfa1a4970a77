"""Documents: any file that people have is text in a context, with marks, or is refused clearly."""

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from langgraph_rlm import File, create_rlm
from langgraph_rlm.cli import files_read
from langgraph_rlm.documents import reading
from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage import ingest_files
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle, facts_of, materialize
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.storage.joined import FileDone
from langgraph_rlm.testing import ScriptedModel, cell
from tests.documents import office, papers

ODD = 'AT&T < 5 > 4 "q" it\'s é 漢 😀 snake_case *star* #1'
"""A line that any step between a file and its text may spoil."""


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore.open(tmp_path / "blobs")


def tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # pyright: ignore
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def text_of(handle: ContextHandle, store: BlobStore) -> str:
    text = materialize(handle, store)
    assert isinstance(text, str)
    return text


KINDS: dict[str, tuple[bytes, str, dict[str, Any]]] = {
    "a.pdf": (
        papers.pdf("First page\nof two", "Second (page)"),
        "[page 1 of a.pdf]\nFirst page\nof two\n\n[page 2 of a.pdf]\nSecond (page)\n",
        {"type": "application/pdf", "pages": 2},
    ),
    "a.docx": (
        office.docx(ODD, "two", table=[["a & b", "c"], [1, 2]]),
        f"{ODD}\n\ntwo\n\na & b\tc\n1\t2\n",
        {},
    ),
    "a.xlsx": (
        office.xlsx(
            {"Costs": [["item", "cost"], [ODD, 1.5]], "None": [], "B & C": [["x\ny", "", 3]]}
        ),
        f"[sheet Costs of a.xlsx]\nitem\tcost\n{ODD}\t1.5\n\n[sheet None of a.xlsx]\n\n"
        "[sheet B & C of a.xlsx]\nx y\t\t3\n",
        {"sheets": ["Costs", "None", "B & C"]},
    ),
    "a.pptx": (
        office.pptx(ODD, "two"),
        f"[page 1 of a.pptx]\n{ODD}\n\n[page 2 of a.pptx]\ntwo\n",
        {"pages": 2},
    ),
    "a.odt": (office.odt(ODD, "two"), f"{ODD}\n\ntwo\n", {}),
    "a.ods": (
        office.ods({"S": [["item", ODD]]}),
        f"[sheet S of a.ods]\nitem\t{ODD}\n",
        {"sheets": ["S"]},
    ),
    "a.odp": (
        office.odp(ODD, "two"),
        f"[page 1 of a.odp]\n{ODD}\n\n[page 2 of a.odp]\ntwo\n",
        {"pages": 2},
    ),
    "a.epub": (office.epub(ODD, "two", title="Book"), f"{ODD}\n\ntwo\n", {"title": "Book"}),
    "a.rtf": (papers.rtf("one \\u233? {\\b bold}", "two"), "one é bold\n\ntwo\n", {}),
    "a.html": (papers.html("Title", "A &amp; B"), "Title\n\nA & B\n", {"title": "Title"}),
    "a.ipynb": (
        papers.notebook(("markdown", "# One"), ("code", f"print({ODD!r})")),
        f"[cell 1 of a.ipynb, markdown]\n# One\n\n[cell 2 of a.ipynb, code]\nprint({ODD!r})\n"
        "[output]\nran\n",
        {"cells": 2},
    ),
    "a.eml": (
        papers.eml("On é", f"{ODD}\n"),
        "From: Ann Baker <ann@example.org>\nTo: Ben <ben@example.org>\n"
        f"Date: Mon, 05 Jan 2026 09:00:00 +0000\nSubject: On é\nMessage-ID: <1@example.org>\n\n{ODD}\n",
        {"subject": "On é"},
    ),
    "a.png": (papers.png(640, 480), "[image 640x480 PNG]\n", {"width": 640, "height": 480}),
    **{
        f"a.{kind.lower()}": (
            papers.picture(kind),
            f"[image 40x30 {'WebP' if kind == 'WEBP' else kind}]\n",
            {"width": 40, "height": 30},
        )
        for kind in ("JPEG", "GIF", "WEBP", "BMP", "TIFF")
    },
    "a.parquet": (b"PAR1" + bytes(92) + b"PAR1", "[Parquet file a.parquet, 100 bytes]\n", {}),
    "a.db": (b"SQLite format 3\0" + bytes(84), "[SQLite file a.db, 100 bytes]\n", {}),
    "a.mp3": (b"ID3" + bytes(97), "[MP3 file a.mp3, 100 bytes]\n", {"type": "audio/mpeg"}),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_each_kind_is_text_and_its_bytes_are_kept(
    store: BlobStore, tmp_path: Path, name: str
) -> None:
    """Pictures and sounds alone are contexts of kinds of their own: see test_images.py."""
    data, text, facts = KINDS[name]
    path = put(tmp_path, name, data)
    handle = ingest([path, put(tmp_path, "z.txt", b"z")], store)
    assert materialize(handle, store)[name] == text  # type: ignore[call-overload]
    if "image" not in text and "MP3" not in text:
        handle = ingest(path, store)
        assert (handle.kind, text_of(handle, store)) == ("text", text)
    known = facts_of(handle, store)[name]
    assert {"bytes": len(data), **facts}.items() <= known.items()
    assert store.get(known["original"]) == data


def test_the_same_bytes_are_read_however_they_are_given(store: BlobStore, tmp_path: Path) -> None:
    data = papers.pdf("Only page")
    path = put(tmp_path, "a.pdf", data)
    with path.open("rb") as opened:
        assert text_of(ingest(opened, store), store) == "[page 1 of a.pdf]\nOnly page\n"
    for value in (data, bytearray(data), io.BytesIO(data)):
        assert text_of(ingest(value, store), store) == "[page 1 of document.pdf]\nOnly page\n"
    several = ingest([path, put(tmp_path, "b.txt", b"b")], store)
    assert materialize(several, store) == {"a.pdf": "[page 1 of a.pdf]\nOnly page\n", "b.txt": "b"}


def test_a_kind_is_known_by_the_content_before_the_name(store: BlobStore, tmp_path: Path) -> None:
    assert "Only page" in text_of(
        ingest(put(tmp_path, "a.txt", papers.pdf("Only page")), store), store
    )
    assert text_of(ingest(put(tmp_path, "b.pdf", b"plain"), store), store) == "plain"
    assert text_of(ingest(put(tmp_path, "c", office.docx("x & y")), store), store) == "x & y\n"


@pytest.mark.parametrize("name", ["a.txt", "page.py", "a.md"])
def test_text_that_looks_like_a_page_stays_as_it_is(
    store: BlobStore, tmp_path: Path, name: str
) -> None:
    for data in (papers.html("T", "x"), papers.rtf("x"), papers.notebook(("code", "1"))):
        assert text_of(ingest(put(tmp_path, name, data), store), store) == data.decode()


def test_an_encoding_says_that_a_file_is_text(store: BlobStore, tmp_path: Path) -> None:
    path = put(tmp_path, "a.html", papers.html("T", "x"))
    assert text_of(ingest(File(path, encoding="utf-8"), store), store).startswith("<!DOCTYPE")


def test_a_folder_has_the_text_of_each_file_and_says_what_was_left_out(
    store: BlobStore, tmp_path: Path
) -> None:
    root = tmp_path / "in"
    put(root, "a.pdf", papers.pdf("A page"))
    put(root, "b/notes.txt", b"no newline at its end")
    put(root, "b/broken.pdf", b"%PDF-1.7\n" + bytes(range(256)) * 4)
    put(root, "c.bin", bytes(range(256)))
    put(root, "d.png", papers.png(3, 2))
    handle = ingest(root, store)
    assert materialize(handle, store) == {
        "a.pdf": "[page 1 of a.pdf]\nA page\n",
        "b/notes.txt": "no newline at its end",
        "d.png": "[image 3x2 PNG]\n",
    }
    assert [name.split(" (")[0] for name in handle.skipped] == ["b/broken.pdf", "c.bin"]
    assert "(broken: " in handle.skipped[0]
    assert set(facts_of(handle, store)) == {"a.pdf", "d.png"}


ARCHIVES = {
    "a.zip": office.zipped({"in/a.txt": "one", "in/b.pdf": papers.pdf("two")}),
    "a.tar": tar({"in/a.txt": b"one", "in/b.pdf": papers.pdf("two")}),
    "a.tar.gz": gzip.compress(tar({"in/a.txt": b"one", "in/b.pdf": papers.pdf("two")})),
    "a.tbz2": bz2.compress(tar({"in/a.txt": b"one", "in/b.pdf": papers.pdf("two")})),
    "a.tar.xz": lzma.compress(tar({"in/a.txt": b"one", "in/b.pdf": papers.pdf("two")})),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_what_is_in_an_archive_are_files(store: BlobStore, tmp_path: Path, name: str) -> None:
    handle = ingest(put(tmp_path, name, ARCHIVES[name]), store)
    assert materialize(handle, store) == {
        f"{name}/in/a.txt": "one",
        f"{name}/in/b.pdf": "[page 1 of b.pdf]\ntwo\n",
    }
    assert list(facts_of(handle, store)) == [f"{name}/in/b.pdf"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_is_the_text_in_it(store: BlobStore, tmp_path: Path, pack: Any) -> None:
    data = pack(b"a log\n" * 1000)
    assert text_of(ingest(put(tmp_path, "a.log.gz", data), store), store) == "a log\n" * 1000
    assert text_of(ingest(data, store), store) == "a log\n" * 1000


def test_archives_in_archives_are_opened_to_a_depth(store: BlobStore, tmp_path: Path) -> None:
    data = office.zipped({"deep.txt": "bottom"})
    for level in range(3):
        data = office.zipped({f"{level}.zip": data, f"{level}.txt": str(level)})
    files = materialize(ingest(put(tmp_path, "a.zip", data), store), store)
    assert files["a.zip/2.zip/1.zip/0.zip/deep.txt"] == "bottom"  # pyright: ignore
    data = office.zipped({"3.zip": data, "top.txt": "top"})
    handle = ingest(put(tmp_path, "b.zip", data), store)
    assert handle.skipped == ("b.zip/3.zip/2.zip/1.zip/0.zip/deep.txt (over 4 archives deep)",)


def test_a_mail_and_a_mailbox_have_their_attachments(store: BlobStore, tmp_path: Path) -> None:
    mail = papers.eml("One", "Hello.", {"../bill.pdf": papers.pdf("Bill")})
    inner = papers.eml("Two", "", html="<p>Only <b>html</b></p><script>x</script>")
    files = materialize(ingest(put(tmp_path, "m.eml", mail), store), store)
    assert list(files) == ["m.eml", "m.eml/bill.pdf"]
    box = ingest(put(tmp_path, "Inbox", papers.mbox(mail, inner)), store)
    texts: Any = materialize(box, store)
    assert list(texts) == ["Inbox/00001.eml", "Inbox/00002.eml", "Inbox/00001.eml/bill.pdf"]
    assert "Attachments: bill.pdf\n\nHello.\n" in texts["Inbox/00001.eml"]
    assert texts["Inbox/00001.eml/bill.pdf"] == "[page 1 of bill.pdf]\nBill\n"
    assert texts["Inbox/00002.eml"].endswith("\n\nOnly html\n")
    known = facts_of(box, store)
    assert known["Inbox/00001.eml"] == {"subject": "One", "attachments": 1}
    assert store.get(known["Inbox"]["original"]) == papers.mbox(mail, inner)


def test_names_in_archives_cannot_lead_out_or_be_two(store: BlobStore, tmp_path: Path) -> None:
    names = {"../../etc/passwd": b"1", "/abs": b"2", "C:\\win\\x": b"3", "a\x1b[2J\u202eb": b"4"}
    handle = ingest(put(tmp_path, "a.tar", tar({**names, "./abs": b"5"})), store)
    assert materialize(handle, store) == {
        "a.tar/etc/passwd": "1",
        "a.tar/abs": "2",
        "a.tar/win/x": "3",
        "a.tar/a\ufffd[2J\ufffdb": "4",
        "a.tar/abs (2)": "5",
    }


def test_a_bomb_is_refused(store: BlobStore, tmp_path: Path) -> None:
    put(tmp_path / "in", "bomb.gz", gzip.compress(bytes(90 << 20)))
    put(tmp_path / "in", "bomb.zip", office.zipped({"z": bytes(90 << 20)}))
    put(tmp_path / "in", "ok.txt", b"ok")
    handle = ingest(tmp_path / "in", store)
    reason = "a zip bomb: unpacks to over 200 times its size"
    assert handle.skipped == (f"bomb.gz ({reason})", f"bomb.zip ({reason})")


def test_entities_that_grow_stay_small(store: BlobStore, tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    laughs = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">{levels}]>'
    for name, made, part in (
        ("a.docx", office.docx("X"), "word/document.xml"),
        ("a.odt", office.odt("X"), "content.xml"),
        ("a.odp", office.odp("X"), "content.xml"),
        ("a.xlsx", office.xlsx({"A": [["X"]]}), "xl/worksheets/sheet1.xml"),
    ):
        data = office.changed(
            made, part, lambda xml: laughs + xml.split("?>", 1)[1].replace("X", "&e11;")
        )
        put(tmp_path / "in", name, data)
    put(tmp_path / "in", "ok.txt", b"ok")
    assert ingest(tmp_path / "in", store).size < 10_000


def test_without_the_extra_the_error_names_it(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LIBRARY", "a_package_that_is_not_there")
    path = put(tmp_path, "in/a.pdf", papers.pdf("x"))
    put(tmp_path, "in/b.txt", b"text")
    page = put(tmp_path, "in/c.html", papers.html("T", "x"))
    install = r"a PDF file, which needs pip install 'langgraph-rlm\[documents\]'"
    with pytest.raises(ContextError, match=f"a.pdf cannot be read: {install}"):
        ingest(path, store)
    handle = ingest(tmp_path / "in", store)
    assert handle.skipped == (f"a.pdf ({install})".replace("\\", ""),)
    assert text_of(ingest(page, store), store).startswith("<!DOCTYPE html>")


def test_a_folder_that_is_read_again_reads_no_document_again(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "in"
    for name, (data, _, _) in KINDS.items():
        put(root, name, data)
    first = ingest(root, store)

    def no_worker(*_: Any) -> Any:
        raise AssertionError("a worker was asked")

    monkeypatch.setattr(reading.Readers, "read", no_worker)
    assert ingest(root, store) == first


def test_how_far_it_is_is_told_after_each_file(store: BlobStore, tmp_path: Path) -> None:
    for number in range(7):
        put(
            tmp_path / "in",
            f"{number}.{'pdf' if number % 2 else 'txt'}",
            papers.pdf("x") if number % 2 else b"x",
        )
    told: list[FileDone] = []
    ingest(tmp_path / "in", store, on_file=told.append)
    assert [(each.done, each.total) for each in told] == [(n, 7) for n in range(1, 8)]


def test_code_sees_marks_pages_and_what_was_skipped(tmp_path: Path) -> None:
    put(tmp_path / "in", "contract.pdf", papers.pdf("Pays AT&T", "Ends in May"))
    put(tmp_path / "in", "bad.docx", office.docx("x")[:100])
    code = (
        "info = context_info()\n"
        "found = grep('May', context_lines=1)[0]\n"
        "FINAL([found['path'], found['text'], info['files'][0]['pages'], info['files'][0]['type'], info['skipped']])"
    )
    rlm = create_rlm(ScriptedModel(replies=[cell(code)]), blob_store=tmp_path / "blobs")
    answer = json.loads(
        rlm.invoke({"query": "When?", "context": tmp_path / "in"})["answer"].replace("'", '"')
    )
    assert answer[:4] == [
        "contract.pdf",
        "[page 2 of contract.pdf]\nEnds in May",
        2,
        "application/pdf",
    ]
    assert answer[4][0].startswith("bad.docx (broken: ")


def test_what_is_no_regular_file_is_left_out(store: BlobStore, tmp_path: Path) -> None:
    root = tmp_path / "in"
    put(root, "ok.txt", b"ok")
    os.mkfifo(root / "pipe")
    (root / "loop").symlink_to(root / "loop")
    (root / "zero").symlink_to("/dev/zero")
    handle = ingest(root, store)
    assert materialize(handle, store) == {"ok.txt": "ok"}
    assert len(handle.skipped) == 3


def test_a_file_that_changes_is_taken_as_it_is_when_it_is_read(
    store: BlobStore, tmp_path: Path
) -> None:
    root = tmp_path / "in"
    put(root, "a.pdf", papers.pdf("x"))
    for name in ("b.txt", "c.txt", "d.txt", "e.txt"):
        put(root, name, b"as it was")

    def change(file: FileDone) -> None:
        if file.name == "a.pdf":
            put(root, "b.txt", b"another text, which is longer")
            put(root, "c.txt", bytes(range(256)))
            (root / "d.txt").unlink()

    handle = ingest(root, store, on_file=change)
    assert materialize(handle, store) == {
        "a.pdf": "[page 1 of a.pdf]\nx\n",
        "b.txt": "another text, which is longer",
        "e.txt": "as it was",
    }
    assert handle.skipped == ("c.txt (binary)", "d.txt (unreadable)")


def test_a_document_that_takes_too_much_costs_itself_alone(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = office.changed(
        office.docx("X"), "word/document.xml", lambda xml: xml + " " * (90 << 20)
    )
    put(tmp_path / "in", "large.docx", large)
    put(tmp_path / "in", "a.eml", papers.eml("a", "a"))
    monkeypatch.setattr(ingest_files, "LIMITS", reading.Limits(memory_bytes=150 << 20))
    handle = ingest(tmp_path / "in", store)
    assert (handle.items, len(handle.skipped)) == (1, 1)
    assert "memory" in handle.skipped[0]


def test_a_document_that_takes_too_long_costs_itself_alone(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in", "a.docx", office.docx("x"))
    put(tmp_path / "in", "b.txt", b"b")
    monkeypatch.setattr(ingest_files, "LIMITS", reading.Limits(seconds=0.001))
    assert ingest(tmp_path / "in", store).skipped == ("a.docx (not read within 0.001 s)",)


def test_a_broken_document_that_is_text_too_is_that_text(store: BlobStore, tmp_path: Path) -> None:
    half = papers.notebook(("code", "print(1)"))[:-20]
    assert text_of(ingest(put(tmp_path, "a.ipynb", half), store), store) == half.decode()


def test_word_keeps_tabs_and_characters_by_number(store: BlobStore, tmp_path: Path) -> None:
    marked = "Name:</w:t><w:tab/><w:t>&#233;&#x1F600;&quot;&#0;"
    data = office.changed(
        office.docx("X"), "word/document.xml", lambda xml: xml.replace("X", marked)
    )
    assert text_of(ingest(put(tmp_path, "a.docx", data), store), store) == 'Name:\té😀"\ufffd\n'


def test_the_command_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files_read, "QUIET_SECONDS", 0.0)
    with files_read.FilesRead() as on_file:
        on_file(FileDone("in/a\x1b[2J.pdf", 1_200, 3_400))
        on_file(FileDone("in/b.pdf", 1_201, 3_400))
    assert capsys.readouterr().err.startswith("Read 1,200 of 3,400 files (in/a")
