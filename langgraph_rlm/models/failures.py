"""Failures: errors that a model's client raised, told apart from those of everything else.

The error stays the provider's own, which callers know and catch. It is only marked, so that the
server can say who failed. Never handles one.
"""

import re

MARK = "rlm_model"
"""Attribute of an error that a model's client raised: the name of the model."""

PAGE_CHARS = 300
"""Most characters of a page that are told."""
READ_CHARS = 20_000
"""Most characters of a page that are looked at."""
TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^<>]*>", re.DOTALL | re.IGNORECASE)
IS_PAGE = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?<(?:!doctype|html|head|body)\b", re.IGNORECASE)


def of_model(error: Exception, model: str) -> None:
    """Mark an error as raised by the client of a model."""
    setattr(error, MARK, model)


def failed_model(error: BaseException) -> str | None:
    """Give the name of the model whose client raised an error; None for any other error."""
    return getattr(error, MARK, None)


def is_page(text: str) -> bool:
    """Whether a text is a page of HTML, such as a proxy's, instead of an API's reply."""
    return IS_PAGE.match(text) is not None


def page_text(page: str) -> str:
    """Give what a page of HTML says, without its tags and in one line."""
    text = " ".join(TAGS.sub(" ", page[:READ_CHARS]).split())
    return text if len(text) <= PAGE_CHARS else f"{text[:PAGE_CHARS]}..."
