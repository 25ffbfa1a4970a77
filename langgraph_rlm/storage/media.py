"""Media: a picture or a sound with its bytes, within bounds. Decodes nothing, and stores nothing.

The files are hostile: what they are is read from their first bytes, and never from their names.
"""

from dataclasses import dataclass
from typing import Literal

from langgraph_rlm.documents import pictures
from langgraph_rlm.documents.kinds import HEAD_BYTES, Kind, kind_of
from langgraph_rlm.documents.outcome import Facts
from langgraph_rlm.storage.utf8 import NotText

MediaKind = Literal["image", "audio"]

MAX_BYTES = 20 << 20
"""Largest picture or sound. Providers take 5 to 20 MB."""

MAX_PIXELS = 100_000_000
"""Most pixels of a picture, by its header: what a decoder anywhere would have to hold."""

SENT = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""Types of pictures that models take."""

CONVERTED = ("image/bmp", "image/tiff")
"""Types of pictures that are sent as PNG."""

PDF = "application/pdf"

UNKNOWN = "application/octet-stream"

NAMES = {
    "image/jpeg": "JPEG",
    "image/webp": "WebP",
    "image/heif": "HEIF (HEIC, AVIF)",
    "audio/mpeg": "MP3",
    "audio/mp4": "M4A",
}
"""What types are called, where that is not the end of the type in capitals."""

MAX_SHOWN = 200
"""Characters of an address that are shown."""


@dataclass(frozen=True)
class Media:
    """A picture or a sound, with its bytes."""

    kind: MediaKind
    type: str
    """MIME type, by the content."""
    data: bytes
    size: tuple[int, int] | None = None
    """Width and height in pixels; None for a sound."""

    @property
    def facts(self) -> Facts:
        """Give what is known of it."""
        facts: Facts = {"type": self.type, "bytes": len(self.data)}
        if self.size is not None:
            facts["width"], facts["height"] = self.size
        return facts


def is_media(kind: Kind | None) -> bool:
    """Whether files of a kind are pictures or sounds."""
    return kind is not None and kind.type.startswith(("image/", "audio/"))


def media_of(data: bytes, name: str) -> Media | None:
    """Make a picture or a sound of its bytes; None where they are something else.

    Args:
        data: the whole file, or more than `MAX_BYTES` of it.
        name: what errors call it.

    Raises:
        NotText: it is too large, broken, or of a type that no model takes.
    """
    kind = kind_of(data[:HEAD_BYTES], b"", "")
    if kind is None or not is_media(kind):
        return None
    if len(data) > MAX_BYTES:
        raise NotText(
            f"over {MAX_BYTES >> 20} MB",
            f"{name} is a picture or a sound of more than {MAX_BYTES >> 20} MB, which models do "
            "not take. Make it smaller, or cut it.",
        )
    if kind.type.startswith("audio/"):
        return Media("audio", kind.type, data)
    if kind.type not in (*SENT, *CONVERTED):
        raise NotText(
            f"{kind.name} picture",
            f"{name} is a picture of type {shown_type(kind.type)}, which models do not take. "
            "Convert it to PNG or JPEG first.",
        )
    size = pictures.size_of(kind.name, data)
    if size is None:
        raise NotText(
            "broken picture",
            f"{name} is a broken {kind.name} picture: its header tells no size.",
        )
    if told := too_many_pixels(*size):
        raise NotText("too many pixels", f"{name} {told}")
    return Media("image", kind.type, data, size)


def too_many_pixels(width: int, height: int) -> str:
    """Say why a picture of this size is not taken; empty where it is."""
    if width * height <= MAX_PIXELS:
        return ""
    return (
        f"has {width:,} x {height:,} pixels by its header; a picture may have {MAX_PIXELS:,}. "
        "Make it smaller, or cut it."
    )


# Words


def described(facts: Facts) -> str:
    """Say in a few words what a picture or a sound is, such as `image 640x480 PNG, 34,112
    bytes`."""
    type = str(facts.get("type", UNKNOWN))
    kind = "audio" if type.startswith("audio") else "image"
    if "url" in facts:
        return f"{kind} at {facts['url'][:MAX_SHOWN]}"
    if "file_id" in facts:
        return f"{kind} that the provider has as {facts['file_id'][:MAX_SHOWN]}"
    size = ""
    if "width" in facts and "height" in facts:
        size = f"{facts['width']}x{facts['height']} "
    return f"{kind} {size}{shown_type(type)}, {facts.get('bytes', 0):,} bytes"


def shown_type(type: str) -> str:
    """Give a MIME type as people say it, such as PNG."""
    return NAMES.get(type) or type.rpartition("/")[2].upper()
