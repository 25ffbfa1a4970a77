"""Kinds: what a file is, by its first and last bytes, then by its name. Reads nothing else."""

import importlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any, Literal

Reader = Literal["library", "mail", "mailbox", "notebook", "archive", "picture", "none"]
"""What reads a file: the extraction library (the extra `documents`), our own code over the
standard library, or nothing, for what is only recognised."""

HEAD_BYTES = 1 << 16
"""First bytes of a file that tell its kind."""

TAIL_BYTES = 1 << 18
"""Last bytes: a zip has its list of files there, which may be long."""


@dataclass(frozen=True)
class Kind:
    """A kind of file that is not plain text."""

    name: str
    """How people call it."""
    type: str
    """Its MIME type."""
    reader: Reader
    extension: str
    """What names of such files end with, for a file without a name."""
    is_text: bool = False
    """Whether such a file can be read as the text that it is too, if need be."""


OFFICE = "application/vnd.openxmlformats-officedocument"
ODF = "application/vnd.oasis.opendocument"

PDF = Kind("PDF", "application/pdf", "library", ".pdf")
DOCX = Kind("DOCX", f"{OFFICE}.wordprocessingml.document", "library", ".docx")
XLSX = Kind("XLSX", f"{OFFICE}.spreadsheetml.sheet", "library", ".xlsx")
XLSM = Kind("XLSM", "application/vnd.ms-excel.sheet.macroEnabled.12", "library", ".xlsm")
XLSB = Kind("XLSB", "application/vnd.ms-excel.sheet.binary.macroEnabled.12", "library", ".xlsb")
PPTX = Kind("PPTX", f"{OFFICE}.presentationml.presentation", "library", ".pptx")
ODT = Kind("ODT", f"{ODF}.text", "library", ".odt")
ODS = Kind("ODS", f"{ODF}.spreadsheet", "library", ".ods")
ODP = Kind("ODP", f"{ODF}.presentation", "library", ".odp")
EPUB = Kind("EPUB", "application/epub+zip", "library", ".epub")
DOC = Kind("DOC", "application/msword", "library", ".doc")
XLS = Kind("XLS", "application/vnd.ms-excel", "library", ".xls")
PPT = Kind("PPT", "application/vnd.ms-powerpoint", "library", ".ppt")
MSG = Kind("MSG", "application/vnd.ms-outlook", "library", ".msg")
RTF = Kind("RTF", "application/rtf", "library", ".rtf")
HTML = Kind("HTML", "text/html", "library", ".html", is_text=True)
EML = Kind("EML", "message/rfc822", "mail", ".eml", is_text=True)
MBOX = Kind("mbox", "application/mbox", "mailbox", ".mbox", is_text=True)
IPYNB = Kind("notebook", "application/x-ipynb+json", "notebook", ".ipynb", is_text=True)
ZIP = Kind("zip", "application/zip", "archive", ".zip")
TAR = Kind("tar", "application/x-tar", "archive", ".tar")
GZIP = Kind("gzip", "application/gzip", "archive", ".gz")
BZIP2 = Kind("bzip2", "application/x-bzip2", "archive", ".bz2")
XZ = Kind("xz", "application/x-xz", "archive", ".xz")

_PICTURES = {
    rb"\x89PNG\r\n\x1a\n": Kind("PNG", "image/png", "picture", ".png"),
    rb"\xff\xd8\xff": Kind("JPEG", "image/jpeg", "picture", ".jpg"),
    rb"GIF8[79]a": Kind("GIF", "image/gif", "picture", ".gif"),
    rb"RIFF....WEBP": Kind("WebP", "image/webp", "picture", ".webp"),
    rb"BM.{4}\0\0\0\0.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0": Kind(
        "BMP", "image/bmp", "picture", ".bmp"
    ),
    rb"II\*\0|MM\0\*": Kind("TIFF", "image/tiff", "picture", ".tiff"),
}

_RECOGNISED = {
    rb"PAR1": Kind("Parquet", "application/vnd.apache.parquet", "none", ".parquet"),
    rb"SQLite format 3\0": Kind("SQLite", "application/vnd.sqlite3", "none", ".sqlite"),
    rb".{8}DUCK": Kind("DuckDB", "application/vnd.duckdb", "none", ".duckdb"),
    rb"ARROW1\0\0": Kind("Arrow", "application/vnd.apache.arrow.file", "none", ".arrow"),
    rb"RIFF....WAVE": Kind("WAV", "audio/wav", "none", ".wav"),
    rb"ID3[\0-\x04]|\xff[\xfb\xf3\xf2]": Kind("MP3", "audio/mpeg", "none", ".mp3"),
    rb"fLaC[\0\x80]": Kind("FLAC", "audio/flac", "none", ".flac"),
    rb"OggS\0": Kind("Ogg", "audio/ogg", "none", ".ogg"),
    rb"....ftyp(M4A|M4B)": Kind("M4A", "audio/mp4", "none", ".m4a"),
    rb"....ftyp(heic|heix|mif1|avif)": Kind("HEIF", "image/heif", "none", ".heic"),
    rb"....ftyp": Kind("MP4", "video/mp4", "none", ".mp4"),
    rb"\x1a\x45\xdf\xa3": Kind("WebM", "video/webm", "none", ".webm"),
}
"""Kinds that have no text: one line tells what they are, and their bytes are kept."""

_BINARY = {
    rb"%PDF-": PDF,
    rb"\x1f\x8b\x08": GZIP,
    rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)": BZIP2,
    rb"\xfd7zXZ\0": XZ,
    rb".{257}ustar": TAR,
    **_PICTURES,
    **_RECOGNISED,
}
_STARTS = [(re.compile(start, re.DOTALL), kind) for start, kind in _BINARY.items()]

_IN_ZIP = {
    b"word/document.xml": DOCX,
    b"xl/workbook.xml": XLSX,
    b"xl/workbook.bin": XLSB,
    b"ppt/presentation.xml": PPTX,
}
_BY_MIMETYPE = {kind.type.encode(): kind for kind in (ODT, ODS, ODP, EPUB)}
_IN_OLE = {
    "WordDocument": DOC,
    "Workbook": XLS,
    "Book": XLS,
    "PowerPoint Document": PPT,
    "__properties_version1.0": MSG,
}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP_NAMES = re.compile(rb"PK(?:\x03\x04.{26}|\x01\x02.{42})([A-Za-z]+/[a-z]+\.(?:xml|bin))", re.S)
_ZIP_EXTENSIONS = {kind.extension: kind for kind in (DOCX, XLSX, PPTX, ODT, ODS, ODP, EPUB, XLSB)}
_ZIP_EXTENSIONS[".xlsm"] = XLSM
_OLE_EXTENSIONS = {kind.extension: kind for kind in (DOC, XLS, PPT, MSG)}

_COMMENTS = rb"\s*(<!--.*?-->\s*|<\?xml.*?\?>\s*)*"
_TEXTUAL = {
    ".html": (HTML, rb"(?is)" + _COMMENTS + rb"<(!doctype\s+html|html|head|body)\b"),
    ".rtf": (RTF, rb"\{\\rtf"),
    ".eml": (EML, rb"(From .*\r?\n)?([!-9;-~]+:.*\r?\n([ \t].*\r?\n)*){2}"),
    ".ipynb": (IPYNB, rb"\s*\{"),
    ".mbox": (MBOX, rb"From "),
}
"""Kinds that are text as well: the name must say it and the content agree."""
_TEXTUAL[".htm"] = _TEXTUAL[".xhtml"] = _TEXTUAL[".html"]
_TEXTUAL[".mbx"] = _TEXTUAL[".mbox"]
_MAILBOX = rb"From .{0,200} \d\d:\d\d(:\d\d)? .{0,40}\r?\n([!-9;-~]+:.*\r?\n([ \t].*\r?\n)*){2}"
"""Mail programs give mailboxes names without an extension."""

KINDS = {
    kind.name: kind
    for kind in (
        *(PDF, DOCX, XLSX, XLSM, XLSB, PPTX, ODT, ODS, ODP, EPUB, DOC, XLS, PPT, MSG, RTF, HTML),
        *(EML, MBOX, IPYNB, ZIP, TAR, GZIP, BZIP2, XZ),
        *_PICTURES.values(),
        *_RECOGNISED.values(),
    )
}
"""Every kind by its name."""


@cache
def _linear(pattern: bytes) -> Any:
    """Compile a pattern that takes time linear in the text, whatever the text."""
    re2: Any = importlib.import_module("re2")
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes, in any encoding
    return re2.compile(pattern, options)


def kind_of(head: bytes, tail: bytes, name: str) -> Kind | None:
    """Tell what a file is; None for text, and for what is not known.

    Args:
        head: its first `HEAD_BYTES`, or all.
        tail: its last `TAIL_BYTES`, or all; empty where they cannot be had.
        name: its name; empty if it has none.
    """
    extension = PurePosixPath(name).suffix.lower()
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _kind_of_zip(head, tail, extension)
    if head.startswith(_OLE):
        return _kind_of_ole(head, tail, extension)
    for start, kind in _STARTS:
        if start.match(head):
            return kind
    if extension in _TEXTUAL:
        kind, start = _TEXTUAL[extension]
        return kind if _linear(start).match(head) else None
    return MBOX if head.startswith(b"From ") and _linear(_MAILBOX).match(head) else None


def _kind_of_zip(head: bytes, tail: bytes, extension: str) -> Kind:
    """Tell an office file from an archive, by the names of the files in it."""
    start = head[30:200]
    if start.startswith(b"mimetype"):
        for mimetype, kind in _BY_MIMETYPE.items():
            if start.startswith(mimetype, len(b"mimetype")):
                return kind
    for part in (tail, head):
        for name in _ZIP_NAMES.findall(part):
            if kind := _IN_ZIP.get(name):
                return XLSM if kind is XLSX and extension == ".xlsm" else kind
    return _ZIP_EXTENSIONS.get(extension, ZIP)


def _kind_of_ole(head: bytes, tail: bytes, extension: str) -> Kind | None:
    """Tell older office files apart, by their extension or the names of their streams."""
    if extension in _OLE_EXTENSIONS:
        return _OLE_EXTENSIONS[extension]
    for stream, kind in _IN_OLE.items():
        name = stream.encode("utf-16-le") + b"\0\0"
        if name in head or name in tail:
            return kind
    return None
