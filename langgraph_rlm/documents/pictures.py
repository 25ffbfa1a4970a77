"""Pictures: how large one is, by the bytes that say so. Decodes nothing.

Sources: the PNG, GIF, WebP (RFC 9649) and JPEG (ITU T.81) specifications, TIFF 6.0, and Windows'
BITMAPINFOHEADER.
"""

import struct


def size_of(kind: str, head: bytes) -> tuple[int, int] | None:
    """Give width and height in pixels; None if these bytes do not say it.

    Args:
        kind: the name of the kind, such as "PNG".
        head: its first bytes; of a JPEG with a large preview or profile they may be too few.
    """
    try:
        size = _READERS[kind](head)
    except (struct.error, IndexError):
        return None
    return size if size and min(size) > 0 else None


def _png(head: bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", head, 16)


def _gif(head: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", head, 6)


def _bmp(head: bytes) -> tuple[int, int]:
    if head[14] == 12:
        return struct.unpack_from("<HH", head, 18)
    width, height = struct.unpack_from("<ii", head, 18)
    return width, abs(height)


def _webp(head: bytes) -> tuple[int, int] | None:
    match head[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", head, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            bits = struct.unpack_from("<I", head, 21)[0]
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X" if len(head) >= 30:
            width = int.from_bytes(head[24:27], "little")
            height = int.from_bytes(head[27:30], "little")
            return width + 1, height + 1
        case _:
            return None


def _jpeg(head: bytes) -> tuple[int, int] | None:
    """Go from marker to marker, to the one that starts the frame."""
    at = 2
    while at < len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        else:
            at += 2 + struct.unpack_from(">H", head, at + 2)[0]
    return None


def _tiff(head: bytes) -> tuple[int, int] | None:
    """Read width (tag 256) and height (257) of the first picture."""
    order = "<" if head.startswith(b"II") else ">"
    first = struct.unpack_from(order + "I", head, 4)[0]
    found: dict[int, int] = {}
    for entry in range(struct.unpack_from(order + "H", head, first)[0]):
        at = first + 2 + 12 * entry
        tag, form = struct.unpack_from(order + "HH", head, at)
        if tag in (256, 257):
            found[tag] = struct.unpack_from(order + ("H" if form == 3 else "I"), head, at + 8)[0]
    return (found[256], found[257]) if len(found) == 2 else None


_READERS = {
    "PNG": _png,
    "GIF": _gif,
    "BMP": _bmp,
    "WebP": _webp,
    "JPEG": _jpeg,
    "TIFF": _tiff,
}
