"""Stand-in for what Monty's `re` lacks: replacements by a function, and counts of them."""

import re

__all__ = ["UNICODE", "U", "pattern", "sub", "subn"]

UNICODE = U = 32


def sub(pattern, repl, string, count=0, flags=0):
    if isinstance(repl, str):
        return re.sub(pattern, repl, string, count=count, flags=flags)
    return _subn(pattern, repl, string, count, flags)[0]


def _subn(pattern, repl, string, count=0, flags=0):
    found = re.compile(pattern, flags)
    matches = list(found.finditer(string))
    if count:
        matches = matches[:count]
    if isinstance(repl, str):
        return found.sub(repl, string, count=count), len(matches)
    made, last = [], 0
    for match in matches:
        made.append(string[last : match.start()])
        made.append(repl(match))
        last = match.end()
    return "".join([*made, string[last:]]), len(matches)


class _Pattern:
    """A compiled pattern, for calls that replace by a function."""

    def __init__(self, found):
        self._found = found

    def sub(self, repl, string, count=0):
        return _subn(self._found, repl, string, count)[0]

    def subn(self, repl, string, count=0):
        return _subn(self._found, repl, string, count)


def pattern(found):
    """Give what takes functions in place of a compiled pattern; anything else as it is."""
    return _Pattern(found) if isinstance(found, re.Pattern) else found


subn = _subn
