"""Word files: made such that the library keeps every character of them. Runs in the worker.

kreuzberg 4.10 leaves out `&amp;`, `&lt;` and other references in the text, and tabs: "AT&T" comes
back as "ATT" (xberg-io/xberg issue 1242, put right in its successor alone). So they are written as
characters of a private range first, and back after.
"""

import io
import re
import zipfile

from langgraph_rlm.documents.outcome import Unreadable

MARKUP = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
PRIVATE = {mark: chr(0x10FF00 + number) for number, mark in enumerate([*MARKUP.values(), "\t"])}
"""A character of the private range for each that stands for itself in no XML."""
PUBLIC = str.maketrans({private: mark for mark, private in PRIVATE.items()})
REFERENCE = re.compile(rb"&(amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});")
TAB = re.compile(rb"<w:tab\s*/>")
MAX_PART = 256 << 20
"""Bytes of one part of a Word file, unpacked."""


def for_library(data: bytes) -> bytes:
    """Write a Word file anew, without its pictures, such that the library reads all of its text.

    Raises:
        Unreadable: it is no zip, or too large when unpacked.
    """
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
            for info in old.infolist():
                if info.filename.endswith((".xml", ".rels")):
                    new.writestr(info.filename, _part(old, info))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise Unreadable(f"broken: {error}") from error
    return out.getvalue()


def _part(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        part = file.read(MAX_PART + 1)
    if len(part) > MAX_PART:
        raise Unreadable(f"over {MAX_PART:,} bytes when unpacked")
    if not info.filename.startswith("word/") or info.filename.endswith(".rels"):
        return part
    tab = f'<w:t xml:space="preserve">{PRIVATE[chr(9)]}</w:t>'.encode()
    return TAB.sub(tab, REFERENCE.sub(_character, part))


def _character(reference: re.Match[bytes]) -> bytes:
    """Write what a reference stands for, such that no XML reader sees markup in it."""
    name = reference[1].decode()
    if name.startswith("#x"):
        name = _of_code(int(name[2:], 16))
    elif name.startswith("#"):
        name = _of_code(int(name[1:]))
    else:
        name = MARKUP[name]
    return PRIVATE.get(name, name).encode()


def _of_code(code: int) -> str:
    """Give a character by its number; the one for "unknown" where XML allows none."""
    is_allowed = code in (9, 10, 13) or 0x20 <= code < 0xD800 or 0xE000 <= code <= 0x10FFFF
    return chr(code) if is_allowed and code not in (0xFFFE, 0xFFFF) else "\ufffd"


def from_library(text: str) -> str:
    """Give the characters back that `for_library` hid."""
    return text.translate(PUBLIC)
