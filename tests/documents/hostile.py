"""Hostile and broken files: the files of the makers, spoiled in every way that we could think of.

The same seed gives the same files.
"""

import bz2
import gzip
import io
import lzma
import os
import random
import re
import socket
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.documents import office, papers

Spoil = Callable[[random.Random, str, bytes], tuple[str, bytes]]


def whole_files() -> dict[str, bytes]:
    """One sound file of each kind, by its name."""
    text = "Clause 7 of AT&T's contract: pay 5 < 6 percent. " * 20
    rows = [[f"item {n}", n * 1.5, "x & y"] for n in range(200)]
    inner = {"a.txt": "text", "b/c.pdf": papers.pdf(text), "d.docx": office.docx(text)}
    return {
        "a.pdf": papers.pdf(*[f"{text}\nPage {n}" for n in range(20)]),
        "a.docx": office.docx(*[text] * 20, table=rows),
        "a.xlsx": office.xlsx({"Costs": rows, "More": rows}),
        "a.pptx": office.pptx(*[text] * 10),
        "a.odt": office.odt(*[text] * 20),
        "a.ods": office.ods({"Costs": rows}),
        "a.odp": office.odp(*[text] * 10),
        "a.epub": office.epub(*[text] * 5),
        "a.rtf": papers.rtf(*[text] * 20),
        "a.html": papers.html("Title", *[text] * 20),
        "a.ipynb": papers.notebook(*[("code", text), ("markdown", text)] * 10),
        "a.eml": papers.eml("Subject", text, {"a.pdf": papers.pdf(text), "b.txt": b"x" * 999}),
        "a.mbox": papers.mbox(*[papers.eml(f"Mail {n}", text) for n in range(10)]),
        "a.msg": papers.msg("Subject", text),
        "a.zip": office.zipped(inner),
        "a.tar": tar([(name, _bytes(data)) for name, data in inner.items()]),
        "a.tar.gz": gzip.compress(tar([(name, _bytes(data)) for name, data in inner.items()])),
        "a.log.gz": gzip.compress(b"a line of a log\n" * 5000),
        "a.log.bz2": bz2.compress(b"a line of a log\n" * 5000),
        "a.log.xz": lzma.compress(b"a line of a log\n" * 5000),
        "a.png": papers.png(40, 30),
        **{f"a.{kind.lower()}": papers.picture(kind) for kind in ("JPEG", "GIF", "WEBP", "TIFF")},
        "a.db": b"SQLite format 3\0" + bytes(4096),
        "a.txt": text.encode(),
    }


def _bytes(data: str | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.encode()


def tar(files: list[tuple[str, bytes]], *others: tarfile.TarInfo) -> bytes:
    """Tar files, and whatever else an archive can have."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in others:
            archive.addfile(info)
    return out.getvalue()


# Ways to spoil any file


def _cut(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    return name, data[: rng.randrange(len(data))]


def _flip(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    spoiled = bytearray(data)
    for _ in range(rng.choice([1, 3, 20, 200])):
        spoiled[rng.randrange(len(data))] = rng.randrange(256)
    return name, bytes(spoiled)


def _lose(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    at = rng.randrange(len(data))
    return name, data[:at] + data[at + rng.randrange(1, len(data)) :]


def _repeat(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    at = rng.randrange(len(data))
    return name, data[:at] + data[at : at + 5000] * rng.choice([2, 50, 500]) + data[at:]


def _zeros(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    at = rng.randrange(len(data))
    return name, data[:at] + bytes(rng.choice([16, 4096, 1 << 20])) + data[at + 16 :]


def _rename(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    return rng.choice([*whole_names, "noname", "a.exe", "a.csv"]), data


def _numbers(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    """Claim absurd counts and sizes where the format writes them as digits."""
    huge = rng.choice([b"0", b"-1", b"9999999999", b"2147483647", b"99999999999999999999"])
    share = rng.choice([1.0, 0.1])
    return name, re.sub(rb"\d+", lambda m: huge if rng.random() < share else m[0], data)


def _sizes(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    """Claim absurd counts and sizes where the format writes them as bytes."""
    spoiled = bytearray(data)
    for _ in range(rng.choice([1, 5, 50])):
        at = rng.randrange(max(1, len(data) - 4))
        spoiled[at : at + 4] = rng.choice([b"\xff\xff\xff\x7f", b"\xff" * 4, bytes(4)])
    return name, bytes(spoiled)


def _graft(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    """Put the beginning of another kind before the rest of this one."""
    other = rng.choice(whole_datas)
    size = rng.choice([8, 64, 512])
    return name, other[:size] + data[size:]


def _wrap(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    """Put a spoiled file into archives."""
    name, data = rng.choice(PLAIN_WAYS)(rng, name, data)
    for _ in range(rng.choice([1, 2, 6])):
        data = rng.choice([lambda d: office.zipped({name: d}), lambda d: tar([(name, d)]), gzip.compress])(data)  # fmt: skip
    return f"{name}.zip", data


def _xml(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    """Spoil the XML in an office file: entities, depth, long names, odd characters."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return _flip(rng, name, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {each: archive.read(each) for each in archive.namelist()}
    part = rng.choice(
        [each for each in files if each.endswith(("xml", "rels", "opf"))] or list(files)
    )
    files[part] = rng.choice(XML_WAYS)(files[part])
    return name, office.zipped(files, first="mimetype")


def _laughs(xml: bytes) -> bytes:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">{levels}]>'.encode() + xml.split(
        b"?>", 1
    )[-1].replace(b"Clause", b"&e11;")


def _outside(xml: bytes) -> bytes:
    head = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd"><!ENTITY h SYSTEM "http://127.0.0.1:9/x">]>'
    return head + xml.split(b"?>", 1)[-1].replace(b"Clause", b"&f;&h;")


XML_WAYS: list[Callable[[bytes], bytes]] = [
    _laughs,
    _outside,
    lambda xml: xml.replace(b"Clause", b"<a>" * 100_000),
    lambda xml: xml.replace(b"Clause", b"<w:tbl><w:tr><w:tc>" * 2_000, 1),
    lambda xml: xml.replace(b"Clause", b"<" + b"n" * 1_000_000 + b"/>", 1),
    lambda xml: xml.replace(b"Clause", b"\x00\x01\xff\xfe&#0;&#xFFFFFF;&nope;"),
    lambda xml: xml.replace(b"Clause", b"x" * 5_000_000, 1),
    lambda xml: b"",
    lambda xml: xml[: len(xml) // 2],
    lambda xml: xml.decode("utf-8", "replace").encode("utf-16"),
    lambda xml: re.sub(rb"\d+", b"4294967295", xml),
]

PLAIN_WAYS: list[Spoil] = [
    _cut,
    _flip,
    _lose,
    _repeat,
    _zeros,
    _rename,
    _numbers,
    _sizes,
    _graft,
    _xml,
]
WAYS: list[Spoil] = [*PLAIN_WAYS, _wrap]
whole_names: list[str] = []
whole_datas: list[bytes] = []


# Files that are hostile by design


def designed() -> dict[str, bytes]:
    """Bombs, depth, and archives whose members lie."""
    info = tarfile.TarInfo("link")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard = tarfile.TarInfo("hard")
    hard.type, hard.linkname = tarfile.LNKTYPE, "../../etc/passwd"
    device = tarfile.TarInfo("device")
    device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 5
    deep = b"bottom"
    for level in range(30):
        deep = office.zipped({f"{level}.zip": deep})
    bomb = office.zipped({f"{n}": bytes(9 << 20) for n in range(10)})
    encrypted = bytearray(office.zipped({"a.txt": "secret"}))
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for n in range(20_000):
            archive.writestr(f"{n}", "")
    return {
        "bomb.zip": bomb,
        "bombs.zip": office.zipped({f"{n}.zip": bomb for n in range(10)}),
        "bomb.gz": gzip.compress(bytes(90 << 20)),
        "bomb.xz": lzma.compress(bytes(90 << 20), preset=1),
        "bomb.docx": office.zipped({"word/document.xml": b"<a>" + b" " * (300 << 20)}),
        "deep.zip": deep,
        "links.tar": tar([("ok.txt", b"ok")], info, hard, device),
        "names.zip": office.zipped(
            dict.fromkeys(("../up", "/abs", "C:\\x", "a\nb", "\u202ex", "n" * 5000), "x")
        ),
        "encrypted.zip": bytes(encrypted),
        "many.zip": many.getvalue(),
        "pages.pdf": papers.pdf("x").replace(b"/Count 1", b"/Count 10000"),
        "many_pages.pdf": papers.pdf(*["x"] * 3000),
        "loop.pdf": papers.pdf("x").replace(b"/Kids [3 0 R]", b"/Kids [2 0 R]"),
        "brackets.pdf": papers.pdf("x").replace(
            b"<< /Type /Catalog", b"[" * 200_000 + b"<< /Type /Catalog"
        ),
        "braces.rtf": b"{\\rtf1 " + b"{" * 200_000,
        "deep.html": b"<html>" + b"<div>" * 200_000,
        "deep.ipynb": b"[" * 200_000,
        "wide.html": b"<html><table>" + b"<tr><td>x" * 100_000,
        "parts.eml": b"A: b\nContent-Type: multipart/mixed; boundary=x\n\n" + b"--x\n" * 50_000,
        "heads.eml": b"A: b\nSubject: " + b"=?utf-8?q?=41?= " * 50_000 + b"\n\nx",
        "charset.eml": b'A: b\nContent-Type: text/plain; charset="../../x"\n\nx\xff',
        "big.png": papers.png(4, 3)[:16] + b"\xff\xff\xff\xff" * 2 + papers.png(4, 3)[24:],
        "nuls.txt": bytes(1 << 20),
        "empty.pdf": b"",
        "empty.txt": b"",
        "sheet.xlsx": office.changed(
            office.xlsx({"A": [["x"]]}),
            "xl/worksheets/sheet1.xml",
            lambda xml: xml.replace('<c t="inlineStr">', '<c r="XFD1048576" t="inlineStr">'),
        ),
    }


def write_files(folder: Path, seed: int, count: int) -> None:
    """Write `count` spoiled files into a folder, by seed."""
    whole = whole_files()
    whole_names[:], whole_datas[:] = list(whole), list(whole.values())
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        name = rng.choice(whole_names)
        name, data = rng.choice(WAYS)(rng, name, whole[name])
        (folder / f"{number:04}-{name}").write_bytes(data)


def write_designed(folder: Path) -> None:
    """Write the files that are hostile by design."""
    folder.mkdir(parents=True)
    for name, data in designed().items():
        (folder / name).write_bytes(data)


def write_odd(folder: Path) -> None:
    """Make what is no regular file, what has an odd name, and what is odd to read."""
    folder.mkdir(parents=True)
    (folder / "ok.txt").write_text("ok")
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "up").symlink_to("..")
    (folder / "nowhere").symlink_to("not/there")
    for name, target in {
        "zero": "/dev/zero",
        "mem": "/proc/self/mem",
        "maps": "/proc/self/maps",
    }.items():
        (folder / name).symlink_to(target)
    path = b"latin-\xe9\xff.txt"
    Path(os.fsdecode(os.fsencode(folder) + b"/" + path)).write_text("odd name")
    (folder / "line\nbreak.txt").write_text("odd name")
    (folder / ("n" * 250 + ".txt")).write_text("long name")
    with (folder / "sparse.bin").open("wb") as file:
        file.truncate(1 << 40)
    with (folder / "sparse.pdf").open("wb") as file:
        file.write(b"%PDF-1.4\n")
        file.truncate(200 << 20)
    secret = folder / "secret.txt"
    secret.write_text("x")
    secret.chmod(0)
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.getcwd()
        os.chdir(folder)
        try:
            bound.bind("socket")
        finally:
            os.chdir(here)
    deep = folder
    for _ in range(100):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "deep.txt").write_text("deep")
    assert stat.S_ISSOCK((folder / "socket").stat().st_mode)
