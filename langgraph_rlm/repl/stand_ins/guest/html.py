"""Stand-in for `html`: `escape` and `unescape`."""

import re
from html.entities import html5

__all__ = ["escape", "unescape"]

_REFERENCE = re.compile("&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\\t\\n\\f <&#;]{1,32};?)")
_REPLACED = {
    0x00: 0xFFFD,
    0x0D: 0x0D,
    0x80: 0x20AC,
    0x81: 0x81,
    0x82: 0x201A,
    0x83: 0x0192,
    0x84: 0x201E,
    0x85: 0x2026,
    0x86: 0x2020,
    0x87: 0x2021,
    0x88: 0x02C6,
    0x89: 0x2030,
    0x8A: 0x0160,
    0x8B: 0x2039,
    0x8C: 0x0152,
    0x8D: 0x8D,
    0x8E: 0x017D,
    0x8F: 0x8F,
    0x90: 0x90,
    0x91: 0x2018,
    0x92: 0x2019,
    0x93: 0x201C,
    0x94: 0x201D,
    0x95: 0x2022,
    0x96: 0x2013,
    0x97: 0x2014,
    0x98: 0x02DC,
    0x99: 0x2122,
    0x9A: 0x0161,
    0x9B: 0x203A,
    0x9C: 0x0153,
    0x9D: 0x9D,
    0x9E: 0x017E,
    0x9F: 0x0178,
}


def escape(s, quote=True):
    s = s.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if quote:
        s = s.replace('"', "&quot;").replace("'", "&#x27;")
    return s


def unescape(s):
    made, last = [], 0
    for match in _REFERENCE.finditer(s):
        made.append(s[last : match.start()])
        made.append(_character(match.group(1)))
        last = match.end()
    return "".join([*made, s[last:]])


def _character(reference):
    if not reference.startswith("#"):
        return _named(reference)
    digits = reference[1:].rstrip(";")
    number = int(digits[1:], 16) if digits[0] in "xX" else int(digits)
    if number in _REPLACED:
        return chr(_REPLACED[number])
    if 0xD800 <= number <= 0xDFFF or number > 0x10FFFF:
        return "\ufffd"
    return "" if _is_invalid(number) else chr(number)


def _is_invalid(number):
    if number < 0x20:
        return number not in (0x9, 0xA, 0xC)
    return 0x7F <= number <= 0x9F or 0xFDD0 <= number <= 0xFDEF or number & 0xFFFE == 0xFFFE


def _named(reference):
    if reference in html5:
        return html5[reference]
    for size in range(len(reference) - 1, 1, -1):
        if reference[:size] in html5:
            return html5[reference[:size]] + reference[size:]
    return "&" + reference
