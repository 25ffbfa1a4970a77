"""Suggestions: what a name that is not known may have been meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST = 3
"""Most names that are suggested."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Give a sentence with the likeliest names, after a space; nothing where none is near."""
    names = list(known)
    near = get_close_matches(name, names, n=MOST, cutoff=0.5)
    near += [each for each in names if each.startswith(name) and each not in near][:MOST]
    if not near or not name:
        return ""
    return f" Did you mean {' or '.join(repr(each) for each in near[:MOST])}?"
