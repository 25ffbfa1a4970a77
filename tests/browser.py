"""Browser: Debian's Chromium through Playwright, as every test of a page starts it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def why_no_browser() -> str | None:
    """Why there is no browser on this machine; None if there is one."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    return None if Path(CHROMIUM).exists() else f"there is no Chromium at {CHROMIUM}"


def expect(locator: Any) -> Any:
    """Playwright's assertions, which wait for what is to come."""
    from playwright.sync_api import expect

    expect.set_options(
        timeout=20_000
    )  # a busy machine takes seconds to load what a first run needs
    return expect(locator)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser with a profile of its own, ended at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
