"""HTML: the trace page as one file that needs no network.

Models, documents and clients wrote what is in a trace. It is data in the file and never markup: it
stands in elements of JSON, in which no character can end the element, and the policy of the page
runs one script alone, known by its hash, and lets it fetch nothing.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from langgraph_rlm.trace.texts import dumps

ESCAPED = re.compile("[<>&\u2028\u2029]")
"""Characters that could end an element of JSON, or begin a comment in it."""


def page_of(
    boot: Mapping[str, Any],
    texts: Sequence[Mapping[str, str]] = (),
    pictures: Mapping[str, Any] | None = None,
    *,
    is_live: bool = False,
) -> str:
    """Make the page.

    Args:
        boot: what the page begins with: its mode, its traces.
        texts: of each trace, the texts that its records refer to, by digest.
        pictures: `{"type": ..., "base64": ...}` of each picture that the page may show, by digest.
        is_live: whether the page may ask its own server.
    """
    script, style = _asset("app.js"), _asset("app.css")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy(is_live=is_live)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="referrer" content="no-referrer">',
            "<title>langgraph-rlm trace</title>",
            f"<style>{style}</style>",
            '<div id="app"><noscript>This page needs JavaScript.</noscript></div>',
            _data("boot", boot),
            _data("texts", list(texts)),
            _data("pictures", pictures or {}),
            f"<script>{script}</script>",
            "</html>\n",
        ]
    )


def policy(*, is_live: bool = False) -> str:
    """Give the content security policy of the page, also as the header of its answer."""
    own = " 'self'" if is_live else ""
    connect = "'self'" if is_live else "'none'"
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(_asset('app.js'))}",
            f"style-src {_hash(_asset('app.css'))}",
            f"img-src data: blob:{own}",
            f"connect-src {connect}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _data(id: str, value: Any) -> str:
    return f'<script type="application/json" id="{id}">{escaped(dumps(value))}</script>'


def escaped(text: str) -> str:
    """Write JSON so that it can stand in an element of a page."""
    return ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


@cache
def _asset(name: str) -> str:
    """Read a file that `web/` was built into."""
    return files("langgraph_rlm.trace").joinpath("page", name).read_text(encoding="utf-8")
