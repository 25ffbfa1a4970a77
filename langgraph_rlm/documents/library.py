"""Library: office files, PDF and others by kreuzberg, which is set up here. Runs in the worker.

Nothing of it is cached, recognised in pictures (OCR) or sent anywhere. It is the fastest that we
measured, and its wheel has all that it needs; what it loses of Word files is put right in `docx`.
"""

import importlib
import re
from functools import cache
from typing import Any, Literal

from langgraph_rlm.documents.docx import for_library, from_library
from langgraph_rlm.documents.kinds import (
    DOCX,
    MSG,
    ODP,
    ODS,
    PDF,
    PPTX,
    XLS,
    XLSB,
    XLSM,
    XLSX,
    Kind,
)
from langgraph_rlm.documents.odp import read_odp
from langgraph_rlm.documents.outcome import Facts, Unreadable

SHEETS = (XLSX, XLSM, XLSB, XLS, ODS)
PAGE = "\n\U0010fffc{page_num}\U0010fffd\n"
"""What the library puts before each page; the marks are made of it afterwards, since a name may
have anything in it."""
Pages = Literal["marked", "split", "whole"]
"""What becomes of pages: marks before each, or texts of their own, or nothing."""
PAGES = re.compile("\\s*\U0010fffc(\\d+)\U0010fffd\\s*")


@cache
def _library() -> Any:
    return importlib.import_module("kreuzberg")


@cache
def _config(pages: Pages) -> Any:
    library = _library()
    return library.ExtractionConfig(
        use_cache=False,
        disable_ocr=True,
        enable_quality_processing=False,  # it rewrites what it takes for noise
        postprocessor=library.PostProcessorConfig(enabled=False),
        images=library.ImageExtractionConfig(extract_images=False),
        concurrency=library.ConcurrencyConfig(max_threads=1),
        content_filter=library.ContentFilterConfig(
            include_headers=True,
            include_footers=True,
            include_watermarks=True,
            strip_repeating_text=False,
        ),
        pages=_pages(library, pages),
    )


def _pages(library: Any, pages: Pages) -> Any:
    if pages == "whole":
        return None
    return library.PageConfig(
        extract_pages=True, insert_page_markers=pages == "marked", marker_format=PAGE
    )


def read_document(kind: Kind, data: bytes, name: str) -> tuple[str, Facts]:
    """Give the text of a document, with a mark before each page or sheet.

    Args:
        kind: what it is.
        data: its bytes.
        name: its base name, for the marks.

    Raises:
        Unreadable: it is broken or protected.
    """
    if kind is ODP:
        return read_odp(data, name)
    if kind is DOCX:
        data = for_library(data)
    result = _result(kind, data)
    if kind in SHEETS:
        return _sheets(result, name)
    if kind is DOCX:  # its pages are a guess: Word makes them when it prints
        pages: list[dict[str, Any]] = result.pages or []
        texts = [str(page["content"]).strip() for page in pages]
        text = "\n\n".join(filter(None, texts)) or result.content
        return _line(from_library(text)), {}
    facts = _facts(kind, result)
    text = PAGES.sub(lambda mark: f"\n\n[page {mark[1]} of {name}]\n", result.content)
    if kind is PDF and not PAGES.sub("", result.content).strip():
        text = f"[PDF file {name}: its pages have no text, they may be pictures]\n{text}"
    return _line(text), facts


def _result(kind: Kind, data: bytes) -> Any:
    """Read a document; if it lies about its pages, without any."""
    if kind not in (PDF, PPTX):
        return _read(kind, data, "split")
    try:
        return _read(kind, data, "marked")
    except Unreadable as error:
        if "page" not in str(error):
            raise
        return _read(kind, data, "whole")


def _read(kind: Kind, data: bytes, pages: Pages) -> Any:
    try:
        return _library().extract_bytes_sync(data, kind.type, _config(pages))
    except MemoryError:
        raise
    except BaseException as error:  # a panic of Rust's is no Exception
        raise Unreadable(f"broken: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Give what the library says, which says most of it twice."""
    said = " ".join(str(error).split()).split(": ")
    return ": ".join(dict.fromkeys(said[1:] or said))[:150] or type(error).__name__


def _facts(kind: Kind, result: Any) -> Facts:
    metadata: dict[str, Any] = result.metadata
    facts: Facts = {}
    if kind in (PDF, PPTX) and (pages := metadata.get("pages")):
        facts["pages"] = pages["total_count"]
    if title := metadata.get("title"):
        facts["title"] = str(title)
    if kind is MSG:
        facts["subject"] = str(metadata.get("subject") or "")
    return facts


def _sheets(result: Any, name: str) -> tuple[str, Facts]:
    """Give sheets as lines of cells with tabs between them. A cell's own tabs and line ends are
    spaces."""
    names: list[str] = result.metadata.get("sheet_names") or []
    rows: dict[int, list[str]] = {}
    for table in result.tables:
        rows.setdefault(table.page_number, []).extend(map(_row, table.cells))
    texts: list[str] = []
    for number, sheet in enumerate(names, 1):
        lines = rows.get(number, [])
        while lines and not lines[-1]:
            lines.pop()
        texts.append("\n".join([f"[sheet {sheet} of {name}]", *lines, ""]))
    return "\n".join(texts), {"sheets": names}


def _row(cells: list[str]) -> str:
    return "\t".join(" ".join(cell.split("\n")).replace("\t", " ") for cell in cells).rstrip("\t")


def _line(text: str) -> str:
    """End a text with one newline, and each of its lines with no more than that."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    return f"{text}\n" if text else ""
