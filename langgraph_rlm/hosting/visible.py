"""Visible: texts of models and files as a person may be shown them, with nothing hidden in them.

Shows nothing.
"""

import json
import re
import unicodedata

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
HIDDEN = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
"""What changes the direction of a line, ends it, or is there and not seen. The joiners within words
and emoji are not among them."""
JOINERS = "\u200c\u200d"
MOST_MARKS = 4
"""Most marks (accents, joiners, variation selectors) that one character on a terminal carries."""


def printable(text: str) -> str:
    """Replace what could steer a terminal, or cannot be encoded, in a text of a model or a file.

    Control characters, changes of direction and what is not seen become a replacement character;
    of a flood of accents the first few stay.
    """
    plain = CONTROL.sub("\ufffd", text.replace("\r\n", "\n")).encode("utf-8", "replace").decode()
    if plain.isascii():
        return plain
    return _without_floods(HIDDEN.sub("\ufffd", plain))


def _without_floods(text: str) -> str:
    """Leave out the marks of a character beyond the first few."""
    kept: list[str] = []
    marks = 0
    for char in text:
        is_mark = unicodedata.category(char) in ("Mn", "Me") or char in JOINERS
        marks = marks + 1 if is_mark else 0
        if marks <= MOST_MARKS:
            kept.append(char)
    return "".join(kept)


def escaped(text: str) -> str:
    """Write what `printable` would replace or leave out as escapes, as JSON has them."""
    kept: list[str] = []
    marks = 0
    for char in text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"):
        is_mark = unicodedata.category(char) in ("Mn", "Me") or char in JOINERS
        marks = marks + 1 if is_mark else 0
        is_hidden = char != "\n" and bool(CONTROL.match(char) or HIDDEN.match(char))
        kept.append(_escape(char) if is_hidden or marks > MOST_MARKS else char)
    return "".join(kept)


def _escape(char: str) -> str:
    number = ord(char)
    return f"\\u{number:04x}" if number < 0x10000 else json.dumps(char)[1:-1]
