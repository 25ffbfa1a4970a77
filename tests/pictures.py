"""Pictures, sounds and PDFs that tests make, each of a few bytes and valid unless it says otherwise."""

import base64
import struct
import zlib
from typing import Any


def png(width: int = 64, height: int = 48, shade: int = 0x55) -> bytes:
    """A grey PNG that any decoder takes."""
    row = b"\0" + bytes([shade]) * width
    return png_header(width, height) + b"".join(
        [_chunk(b"IDAT", zlib.compress(row * height)), _chunk(b"IEND", b"")]
    )


def png_header(width: int, height: int) -> bytes:
    """A PNG that says its size and ends there."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gif(width: int = 64, height: int = 48) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0;"


def jpeg(width: int = 64, height: int = 48) -> bytes:
    """A JPEG with a preview before its frame, whose size is another one."""
    preview = b"\xff\xe1" + struct.pack(">H", 12) + b"Exif\0\0\xff\xc0\0\0"
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\1\x11\0"
    return b"\xff\xd8" + preview + frame + b"\xff\xd9"


def webp(width: int = 64, height: int = 48) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\0" * 4 + size


def bmp(width: int = 64, height: int = 48) -> bytes:
    rows = (width * 3 + 3) // 4 * 4 * height
    head = struct.pack("<2sIHHI", b"BM", 54 + rows, 0, 0, 54)
    return (
        head
        + struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 24, 0, rows, 0, 0, 0, 0)
        + bytes(rows)
    )


def wav(seconds: float = 0.01) -> bytes:
    data = bytes(int(16_000 * seconds))
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16_000, 2, 16)
    body = head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def pdf(*texts: str) -> bytes:
    """A PDF with a page for each text."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(texts)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(texts)}>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, text in enumerate(texts):
        stream = f"BT /F 24 Tf 20 100 Td ({text}) Tj ET".encode()
        page = f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Resources<</Font<</F 3 0 R>>>>/Contents {5 + 2 * number} 0 R>>"
        objects += [page.encode(), b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream)]
    out, places = b"%PDF-1.4\n", list[int]()
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    tail = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(out))
    return out + head + table + tail


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def image_block(data: bytes, type: str = "image/png") -> dict[str, Any]:
    """As LangChain's own content blocks are."""
    return {"type": "image", "base64": b64(data), "mime_type": type}


def image_url(data: bytes, type: str = "image/png") -> dict[str, Any]:
    """As OpenAI's API takes one."""
    return {"type": "image_url", "image_url": {"url": f"data:{type};base64,{b64(data)}"}}
