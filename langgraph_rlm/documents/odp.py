"""OpenDocument presentations: the text of each slide, which the library does not read. Runs in the
worker.

Source: OpenDocument 1.3, part 3. The XML reader is expat, as of 2.4 safe from entities that grow.
"""

import io
import zipfile
from xml.etree import ElementTree

from langgraph_rlm.documents.outcome import Facts, Unreadable

SPACE = "{urn:oasis:names:tc:opendocument:xmlns:"
PAGE = SPACE + "drawing:1.0}page"
PARAGRAPHS = (SPACE + "text:1.0}p", SPACE + "text:1.0}h")
MAX_CONTENT = 64 << 20


def read_odp(data: bytes, name: str) -> tuple[str, Facts]:
    """Give the text of a presentation, with a mark before each slide.

    Raises:
        Unreadable: it is broken.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open("content.xml") as file:
            content = file.read(MAX_CONTENT + 1)
        if len(content) > MAX_CONTENT:
            raise Unreadable(f"over {MAX_CONTENT:,} bytes when unpacked")
        root = ElementTree.fromstring(content)
    except (zipfile.BadZipFile, OSError, KeyError, ValueError, RuntimeError, SyntaxError) as error:
        raise Unreadable(f"broken: {error}") from error
    slides = [
        "\n".join("".join(each.itertext()) for each in slide.iter() if each.tag in PARAGRAPHS)
        for slide in root.iter(PAGE)
    ]
    texts = [f"[page {number} of {name}]\n{text}\n" for number, text in enumerate(slides, 1)]
    return "\n".join(texts), {"pages": len(slides)}
