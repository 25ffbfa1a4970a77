"""Office files for tests, written by hand: the least of each format that readers take."""

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape

HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
S = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
P = (
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
)
OFFICE = "application/vnd.openxmlformats-officedocument"
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
Rows = Sequence[Sequence[str | int | float]]


def zipped(files: Mapping[str, str | bytes], *, first: str = "") -> bytes:
    """Zip files; the one named `first` is stored as it is, as ODF and EPUB ask."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_STORED if name == first else zipfile.ZIP_DEFLATED
            archive.writestr(info, text)
    return out.getvalue()


def changed(data: bytes, part: str, change: Callable[[str], str]) -> bytes:
    """Change one XML part of an office file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files[part] = change(files[part].decode()).encode()
    return zipped(files, first="mimetype")


def _types(parts: Mapping[str, str]) -> str:
    listed = "".join(
        f'<Override PartName="/{part}" ContentType="{kind}+xml"/>' for part, kind in parts.items()
    )
    return (
        f'{HEAD}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{listed}</Types>'
    )


def _relations(targets: Sequence[tuple[str, str]]) -> str:
    listed = "".join(
        f'<Relationship Id="rId{n}" Type="{RELATION}/{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(targets, 1)
    )
    space = "http://schemas.openxmlformats.org/package/2006/relationships"
    return f'{HEAD}<Relationships xmlns="{space}">{listed}</Relationships>'


def docx(*paragraphs: str, table: Rows = ()) -> bytes:
    """Word: paragraphs, then a table."""
    text = "".join(f"<w:p><w:r><w:t>{escape(p)}</w:t></w:r></w:p>" for p in paragraphs)
    rows = "".join(
        "<w:tr>"
        + "".join(
            f"<w:tc><w:p><w:r><w:t>{escape(str(cell))}</w:t></w:r></w:p></w:tc>" for cell in row
        )
        + "</w:tr>"
        for row in table
    )
    rows = f"<w:tbl>{rows}</w:tbl>" if rows else ""
    return zipped(
        {
            "[Content_Types].xml": _types(
                {"word/document.xml": f"{OFFICE}.wordprocessingml.document.main"}
            ),
            "_rels/.rels": _relations([("officeDocument", "word/document.xml")]),
            "word/document.xml": f"{HEAD}<w:document {W}><w:body>{text}{rows}</w:body></w:document>",
        }
    )


def _cell(value: str | int | float) -> str:
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return f"<c><v>{value}</v></c>"


def xlsx(sheets: Mapping[str, Rows]) -> bytes:
    """Excel: sheets of rows."""
    parts = {"xl/workbook.xml": f"{OFFICE}.spreadsheetml.sheet.main"}
    files: dict[str, str] = {}
    listed = ""
    for number, (name, rows) in enumerate(sheets.items(), 1):
        part = f"xl/worksheets/sheet{number}.xml"
        parts[part] = f"{OFFICE}.spreadsheetml.worksheet"
        data = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
        files[part] = f"{HEAD}<worksheet {S}><sheetData>{data}</sheetData></worksheet>"
        listed += f'<sheet name="{escape(name)}" sheetId="{number}" r:id="rId{number}"/>'
    targets = [("worksheet", f"worksheets/sheet{n}.xml") for n in range(1, len(sheets) + 1)]
    return zipped(
        {
            "[Content_Types].xml": _types(parts),
            "_rels/.rels": _relations([("officeDocument", "xl/workbook.xml")]),
            "xl/workbook.xml": f"{HEAD}<workbook {S} {R}><sheets>{listed}</sheets></workbook>",
            "xl/_rels/workbook.xml.rels": _relations(targets),
            **files,
        }
    )


def pptx(*slides: str) -> bytes:
    """PowerPoint: a text on each slide."""
    parts = {"ppt/presentation.xml": f"{OFFICE}.presentationml.presentation.main"}
    files: dict[str, str] = {}
    listed = ""
    for number, text in enumerate(slides, 1):
        part = f"ppt/slides/slide{number}.xml"
        parts[part] = f"{OFFICE}.presentationml.slide"
        files[part] = (
            f"{HEAD}<p:sld {P} {R}><p:cSld><p:spTree><p:sp><p:nvSpPr>"
            f'<p:cNvPr id="{number + 1}" name="t"/></p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/>'
            f"<a:p><a:r><a:t>{escape(text)}</a:t></a:r></a:p></p:txBody></p:sp></p:spTree>"
            "</p:cSld></p:sld>"
        )
        listed += f'<p:sldId id="{255 + number}" r:id="rId{number}"/>'
    targets = [("slide", f"slides/slide{n}.xml") for n in range(1, len(slides) + 1)]
    return zipped(
        {
            "[Content_Types].xml": _types(parts),
            "_rels/.rels": _relations([("officeDocument", "ppt/presentation.xml")]),
            "ppt/presentation.xml": f"{HEAD}<p:presentation {P} {R}><p:sldIdLst>{listed}"
            "</p:sldIdLst></p:presentation>",
            "ppt/_rels/presentation.xml.rels": _relations(targets),
            **files,
        }
    )


ODF = "urn:oasis:names:tc:opendocument:xmlns"


def _odf(kind: str, body: str) -> bytes:
    mime = f"application/vnd.oasis.opendocument.{kind}"
    spaces = (
        " ".join(
            f'xmlns:{name}="{ODF}:{name}:1.0"'
            for name in ("office", "text", "table", "presentation")
        )
        + f' xmlns:draw="{ODF}:drawing:1.0"'
    )
    manifest = f"{ODF}:manifest:1.0"
    return zipped(
        {
            "mimetype": mime,
            "META-INF/manifest.xml": f'{HEAD}<m:manifest xmlns:m="{manifest}"><m:file-entry '
            f'm:full-path="/" m:media-type="{mime}"/></m:manifest>',
            "content.xml": f'{HEAD}<office:document-content {spaces} office:version="1.2">'
            f"<office:body>{body}</office:body></office:document-content>",
        },
        first="mimetype",
    )


def odt(*paragraphs: str) -> bytes:
    """OpenDocument text."""
    text = "".join(f"<text:p>{escape(p)}</text:p>" for p in paragraphs)
    return _odf("text", f"<office:text>{text}</office:text>")


def ods(sheets: Mapping[str, Rows]) -> bytes:
    """OpenDocument spreadsheet."""
    tables = ""
    for name, rows in sheets.items():
        cells = "".join(
            "<table:table-row>"
            + "".join(
                '<table:table-cell office:value-type="string">'
                f"<text:p>{escape(str(cell))}</text:p></table:table-cell>"
                for cell in row
            )
            + "</table:table-row>"
            for row in rows
        )
        tables += f'<table:table table:name="{escape(name)}">{cells}</table:table>'
    return _odf("spreadsheet", f"<office:spreadsheet>{tables}</office:spreadsheet>")


def odp(*slides: str) -> bytes:
    """OpenDocument presentation."""
    pages = "".join(
        f'<draw:page draw:name="page{n}"><draw:frame><draw:text-box><text:p>{escape(text)}'
        "</text:p></draw:text-box></draw:frame></draw:page>"
        for n, text in enumerate(slides, 1)
    )
    return _odf("presentation", f"<office:presentation>{pages}</office:presentation>")


def epub(*chapters: str, title: str = "A book") -> bytes:
    """An EPUB of chapters."""
    items = "".join(
        f'<item id="c{n}" href="c{n}.xhtml" media-type="application/xhtml+xml"/>'
        for n in range(1, len(chapters) + 1)
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(1, len(chapters) + 1))
    texts = {
        f"c{n}.xhtml": f'{HEAD}<html xmlns="http://www.w3.org/1999/xhtml"><head><title>c</title>'
        f"</head><body><p>{escape(text)}</p></body></html>"
        for n, text in enumerate(chapters, 1)
    }
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": f'{HEAD}<container version="1.0" '
            'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile '
            'full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles>'
            "</container>",
            "book.opf": f'{HEAD}<package xmlns="http://www.idpf.org/2007/opf" version="3.0" '
            'unique-identifier="id"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f'<dc:title>{escape(title)}</dc:title><dc:identifier id="id">x</dc:identifier>'
            f"<dc:language>en</dc:language></metadata><manifest>{items}</manifest>"
            f"<spine>{spine}</spine></package>",
            **texts,
        },
        first="mimetype",
    )
