"""Page pictures: make docs/trace-light.png, docs/trace-dark.png and docs/trace-phone.png again.

    python benchmarks/page_pictures.py            # into docs/
    python benchmarks/page_pictures.py FOLDER

They are of a run of scripted models (`tests/page_story.py`), in Debian's Chromium.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from langgraph_rlm.trace.save import html_of  # noqa: E402
from tests.browser import chromium  # noqa: E402
from tests.page_story import both  # noqa: E402

WIDE, PHONE = (1440, 900), (390, 844)


def picks_turn(page: Any) -> None:
    """Show the turn that asks about each lease."""
    page.locator(".row.k-turn").nth(1).click()


def shows_source(page: Any) -> None:
    """Show where a quote of the answer stands."""
    page.locator("a.quote").last.click()


PICTURES: dict[str, tuple[tuple[int, int], str, Callable[[Any], None]]] = {
    "trace-light.png": (WIDE, "light", picks_turn),
    "trace-dark.png": (WIDE, "dark", shows_source),
    "trace-phone.png": (PHONE, "light", lambda page: None),
}


def main() -> None:
    """Run the story and take the pictures."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.html"
        file.write_text(html_of(asyncio.run(both(Path(folder)))), encoding="utf-8")
        with chromium() as browser:
            for name, ((width, height), scheme, shows) in PICTURES.items():
                size = {"width": width, "height": height}
                page = browser.new_page(viewport=size, color_scheme=scheme)
                page.goto(file.as_uri())
                page.wait_for_selector(".row")
                shows(page)
                page.wait_for_timeout(500)
                page.screenshot(path=target / name)
                page.close()
                print(f"{name}: {(target / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
