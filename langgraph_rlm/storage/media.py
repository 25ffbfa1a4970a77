"""Media: what a picture or a sound is, by its first bytes. Decodes nothing, and stores nothing.

The files are hostile: what they say of themselves is read with bounds, and never their names. Own
code, because the libraries that read sizes also parse XML and open addresses for it.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from typing_extensions import TypedDict

from langgraph_rlm.storage.utf8 import NotText

MediaKind = Literal["image", "audio"]

MAX_BYTES = 20 << 20
"""Largest picture or sound. Providers take 5 to 20 MB."""

MAX_PIXELS = 100_000_000
"""Most pixels of a picture, by its header: what a decoder anywhere would have to hold."""

START = 64
"""Bytes that are enough to know what a file is."""

SENT = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""Types of pictures that models take."""

CONVERTED = ("image/bmp", "image/tiff")
"""Types of pictures that are sent as PNG."""

PDF = "application/pdf"

UNKNOWN = "application/octet-stream"

NAMES = {
    "image/jpeg": "JPEG",
    "image/webp": "WebP",
    "audio/mpeg": "MP3",
    "audio/mp4": "M4A",
}
"""What types are called, where that is not the end of the type in capitals."""


class Facts(TypedDict, total=False):
    """What is known of a file beside its text."""

    original: str
    """Digest of the file's own bytes, where the stored text is not these."""
    type: str
    bytes: int
    pages: int
    width: int
    height: int
    url: str
    """Where a provider finds it: it was never fetched."""
    file_id: str
    """What a provider knows it by."""


@dataclass(frozen=True)
class Media:
    """A picture or a sound, with its bytes."""

    kind: MediaKind
    type: str
    """MIME type, by the content."""
    data: bytes
    size: tuple[int, int] | None = None
    """Width and height in pixels; None for a sound, and where the header is not read."""

    @property
    def facts(self) -> Facts:
        """Give what is known of it."""
        facts = Facts(type=self.type, bytes=len(self.data))
        if self.size is not None:
            facts["width"], facts["height"] = self.size
        return facts


def taken(chunks: Iterable[bytes], name: str) -> tuple[Media | None, Iterator[bytes]]:
    """Take a picture or a sound out of a stream; anything else stays in it.

    Returns:
        The picture or sound, or None; and what is left of the stream.

    Raises:
        NotText: it is one, and too large, broken, or of a type that no model takes.
    """
    rest = iter(chunks)
    start = b""
    while len(start) < START and (chunk := next(rest, b"")):
        start += chunk
    type = type_of(start)
    if type is None:
        return None, chain([start] if start else [], rest)
    return media_of(b"".join(_bounded(chain([start], rest), name)), name, type), iter(())


def media_of(data: bytes, name: str, type: str | None = None) -> Media | None:
    """Make a picture or a sound of its bytes; None where they are something else.

    Raises:
        NotText: as `taken`.
    """
    type = type or type_of(data)
    if type is None:
        return None
    if len(data) > MAX_BYTES:
        raise _too_large(name)
    if type.startswith("audio/"):
        return Media("audio", type, data)
    if type not in (*SENT, *CONVERTED):
        raise NotText(
            f"{shown_type(type)} picture",
            f"{name} is a picture of type {shown_type(type)}, which models do not take. Convert it "
            "to PNG or JPEG first.",
        )
    return Media("image", type, data, _size(type, data, name))


def type_of(data: bytes) -> str | None:
    """Tell the MIME type of a picture or a sound by its first bytes; None for anything else."""
    for magic, type in MAGIC:
        if data.startswith(magic):
            return type
    if data[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(data[8:12])
    if data[4:8] == b"ftyp":
        return BRANDS.get(data[8:12])
    if data[:2] == b"BM" and data[6:10] == b"\0\0\0\0" and data[15:18] == b"\0\0\0":
        return "image/bmp"
    if data[:4] == b"fLaC" and data[4:5] in (b"\0", b"\x80"):
        return "audio/flac"
    return _mpeg(data)


MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"OggS\0", "audio/ogg"),
    (b"ID3\2", "audio/mpeg"),
    (b"ID3\3", "audio/mpeg"),
    (b"ID3\4", "audio/mpeg"),
)
"""First bytes, and the type that they tell."""

BRANDS = {
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
    b"avif": "image/avif",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
}
"""Brands of ISO media files, which stand behind `ftyp`."""


def _mpeg(data: bytes) -> str | None:
    """Tell MP3 and AAC without a header by their first frame. A byte order mark is none."""
    if len(data) < 3 or data[0] != 0xFF or data[1] & 0xF0 != 0xF0:
        return None
    layer = data[1] & 0x06
    if layer == 0x02 and data[2] & 0xF0 != 0xF0:
        return "audio/mpeg"
    return "audio/aac" if data[1] & 0xF6 == 0xF0 else None


# Sizes, as headers tell them


def _size(type: str, data: bytes, name: str) -> tuple[int, int] | None:
    """Read a picture's width and height; None for types whose headers are not read."""
    reader = HEADERS.get(type)
    if reader is None:
        return None
    try:
        width, height = reader(data)
    except (struct.error, IndexError):
        width = height = 0
    if width < 1 or height < 1:
        raise NotText(
            "broken picture",
            f"{name} is a broken {shown_type(type)} picture: its header tells no size.",
        )
    if width * height > MAX_PIXELS:
        raise NotText(
            "too many pixels",
            f"{name} has {width:,} x {height:,} pixels by its header; a picture may have "
            f"{MAX_PIXELS:,}. Make it smaller, or cut it.",
        )
    return width, height


def _png(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        return 0, 0
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # a negative height means rows from the top


def _webp(data: bytes) -> tuple[int, int]:
    if data[12:16] == b"VP8X":
        wide, high = data[24:27], data[27:30]
        if len(high) < 3:
            return 0, 0
        return int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1
    if data[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg(data: bytes) -> tuple[int, int]:
    """Go from marker to marker to the first that starts a frame."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return 0, 0
        marker = data[at + 1]
        if marker == 0xFF:  # a byte of padding
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            if length < 2:
                return 0, 0
            at += 2 + length
    return 0, 0


HEADERS = {
    "image/png": _png,
    "image/gif": _gif,
    "image/bmp": _bmp,
    "image/webp": _webp,
    "image/jpeg": _jpeg,
}


# Words


def described(facts: Facts) -> str:
    """Say in a few words what a picture or a sound is, such as `image 640x480 PNG, 34,112
    bytes`."""
    kind = "audio" if facts.get("type", "").startswith("audio") else "image"
    if "url" in facts:
        return f"{kind} at {facts['url'][:MAX_SHOWN]}"
    if "file_id" in facts:
        return f"{kind} that the provider has as {facts['file_id'][:MAX_SHOWN]}"
    type = facts.get("type", UNKNOWN)
    if type == UNKNOWN:
        return f"unreadable data, {facts.get('bytes', 0):,} bytes"
    size = ""
    if "width" in facts and "height" in facts:
        size = f"{facts['width']}x{facts['height']} "
    return f"{kind} {size}{shown_type(type)}, {facts.get('bytes', 0):,} bytes"


MAX_SHOWN = 200
"""Characters of an address that are shown."""


def shown_type(type: str) -> str:
    """Give a MIME type as people say it, such as PNG."""
    return NAMES.get(type) or type.rpartition("/")[2].upper()


def _bounded(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_BYTES:
            raise _too_large(name)
        yield chunk


def _too_large(name: str) -> NotText:
    return NotText(
        f"over {MAX_BYTES >> 20} MB",
        f"{name} is a picture or a sound of more than {MAX_BYTES >> 20} MB, which models do not "
        "take. Make it smaller, or cut it.",
    )
