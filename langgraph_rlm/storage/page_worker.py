"""Page worker: draws pages of PDFs, and turns pictures into PNG, in a locked-in process.

It is loaded by `processes/worker_program.py`, inside the jail. The files are hostile, and so, after
them, is whatever this gives.
"""

import base64
import io
from typing import Any


def answer(request: dict[str, Any]) -> str:
    """Give a PNG as base64.

    Args:
        request: `file` is a path. With `page`, from 0, and `dpi` it is a PDF; else a picture of at
            most `pixels`.
    """
    if "page" in request:
        data = _page(request["file"], request["page"], request["dpi"])
    else:
        data = _converted(request["file"], request["pixels"])
    return base64.b64encode(data).decode("ascii")


def _page(path: str, page: int, dpi: int) -> bytes:
    from kreuzberg import render_pdf_page

    return render_pdf_page(path, page, dpi=dpi)


def _converted(path: str, pixels: int) -> bytes:
    from PIL import Image

    with Image.open(path, formats=("BMP", "TIFF")) as picture:
        width, height = picture.size
        if width * height > pixels:
            raise ValueError(f"it has {width:,} x {height:,} pixels, more than {pixels:,}")
        mode = "RGBA" if picture.has_transparency_data else "RGB"
        png = io.BytesIO()
        picture.convert(mode).save(png, "PNG")
    return png.getvalue()
