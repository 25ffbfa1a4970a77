"""PDF, RTF, notebooks, mail, pages and pictures for tests, written by hand."""

import io
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from email.message import EmailMessage


def pdf(*pages: str) -> bytes:
    """A PDF with a text on each page, a line each."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids: list[str] = []
    for text in pages:
        number = len(objects) + 1
        kids.append(f"{number} 0 R")
        lines = [
            f"({line.replace(chr(92), chr(92) * 2).replace('(', chr(92) + '(').replace(')', chr(92) + ')')}) Tj T*"
            for line in text.split("\n")
        ]
        stream = "BT /F1 12 Tf 14 TL 72 720 Td " + " ".join(lines) + " ET"
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 "
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> "
            f"/Contents {number + 1} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(kids)}] >>"
    return _pdf_file([made.encode("latin-1", "replace") for made in objects])


def _pdf_file(objects: Sequence[bytes]) -> bytes:
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    starts: list[int] = []
    for number, made in enumerate(objects, 1):
        starts.append(out.tell())
        out.write(b"%d 0 obj\n%b\nendobj\n" % (number, made))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    for at in starts:
        out.write(b"%010d 00000 n \n" % at)
    out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1))
    out.write(b"startxref\n%d\n%%%%EOF\n" % start)
    return out.getvalue()


def rtf(*paragraphs: str) -> bytes:
    """Rich text."""
    text = "\\par\n".join(paragraphs)
    return (
        "{\\rtf1\\ansi\\deff0{\\fonttbl{\\f0 Helvetica;}}\\f0\\fs24 " + text + "\\par}"
    ).encode()


def notebook(*cells: tuple[str, str]) -> bytes:
    """A Jupyter notebook: `(kind, source)` a cell; code cells print "ran"."""
    made = [
        {
            "cell_type": kind,
            "metadata": {},
            "source": source.splitlines(keepends=True),
            **(
                {
                    "execution_count": 1,
                    "outputs": [{"output_type": "stream", "name": "stdout", "text": ["ran\n"]}],
                }
                if kind == "code"
                else {}
            ),
        }
        for kind, source in cells
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def eml(subject: str, text: str, attachments: Mapping[str, bytes] = {}, *, html: str = "") -> bytes:
    """A mail, with attachments."""
    mail = EmailMessage()
    mail["From"] = "Ann Baker <ann@example.org>"
    mail["To"] = "Ben <ben@example.org>"
    mail["Date"] = "Mon, 05 Jan 2026 09:00:00 +0000"
    mail["Message-ID"] = "<1@example.org>"
    mail["Subject"] = subject
    mail.set_content(text)
    if html:
        mail.add_alternative(html, subtype="html")
    for name, data in attachments.items():
        mail.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return mail.as_bytes()


def mbox(*mails: bytes) -> bytes:
    """A mailbox."""
    return b"".join(
        b"From ann@example.org Mon Jan  5 09:00:00 2026\n" + mail.rstrip(b"\n") + b"\n\n"
        for mail in mails
    )


def html(title: str, *paragraphs: str) -> bytes:
    """A page."""
    text = "".join(f"<p>{p}</p>" for p in paragraphs)
    return (
        f"<!DOCTYPE html><html><head><title>{title}</title><style>p {{color: red}}</style>"
        f"<script>var hidden = 1;</script></head><body><h1>{title}</h1>{text}</body></html>"
    ).encode()


def png(width: int = 4, height: int = 3) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(b"\0" + b"\x7f" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def picture(kind: str, width: int = 40, height: int = 30) -> bytes:
    """A picture of a kind that Pillow writes."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(out, kind)
    return out.getvalue()


def msg(subject: str, text: str) -> bytes:
    """An Outlook message: the least of [MS-CFB] and [MS-OXMSG] that readers take."""
    streams = {
        "__properties_version1.0": bytes(32),
        "__substg1.0_001A001F": "IPM.Note".encode("utf-16-le"),
        "__substg1.0_0037001F": subject.encode("utf-16-le"),
        "__substg1.0_0C1A001F": "Ann Baker".encode("utf-16-le"),
        "__substg1.0_1000001F": text.encode("utf-16-le"),
    }
    return compound(streams)


def compound(streams: Mapping[str, bytes]) -> bytes:
    """A compound file with these streams in its root, each in sectors of 512 bytes."""
    sector, end, free = 512, 0xFFFFFFFE, 0xFFFFFFFF
    least = 4096  # shorter streams would go into a stream of small sectors
    padded = {name: data.ljust(least, b"\0") for name, data in streams.items()}
    names = sorted(padded, key=lambda name: (len(name), name.upper()))
    entries = -(-(len(names) + 1) // 4)
    body, table, starts = b"", [0xFFFFFFFD] + [end] * 0, {}
    first = 1 + entries
    table += [n + 1 for n in range(1, entries)] + [end]
    for name in names:
        count = -(-len(padded[name]) // sector)
        starts[name] = first
        table += [first + n + 1 for n in range(count - 1)] + [end]
        body += padded[name].ljust(count * sector, b"\0")
        first += count
    assert len(table) <= 128, "more than one sector of the table"
    table += [free] * (128 - len(table))

    def entry(name: str, kind: int, right: int, child: int, start: int, size: int) -> bytes:
        encoded = name.encode("utf-16-le") + b"\0\0"
        return (
            encoded.ljust(64, b"\0")
            + struct.pack("<HBBIII", len(encoded), kind, 1, free, right, child)
            + bytes(36)
            + struct.pack("<IQ", start, size)
        )

    folder = entry("Root Entry", 5, free, 1, end, 0)
    for number, name in enumerate(names, 1):
        following = number + 1 if number < len(names) else free
        size = max(len(streams[name]), least)
        folder += entry(name, 2, following, free, starts[name], size)
    empty = bytes(64) + struct.pack("<HBBIII", 0, 0, 0, free, free, free) + bytes(48)
    folder += empty * (entries * 4 - len(names) - 1)
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    head += struct.pack("<IIIIIIIII", 0, 1, 1, 0, least, end, 0, end, 0)
    head += struct.pack("<I", 0) + struct.pack("<I", free) * 108
    return head + struct.pack("<128I", *table) + folder + body
