"""Final words: a final answer that a model gives in prose.

`FINAL` and `FINAL_VAR` are those of the paper (arXiv 2512.24601) and of the `rlms` package, read
with balanced brackets; `Final answer: ...` is what many models write instead. Never runs anything.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from langgraph_rlm.log.fences import Fence
from langgraph_rlm.log.python import is_code_around_final, parsed

MOST_FINALS = 20
"""Finals of one text that are looked at."""

STRING = (
    r"[rRuU]?(?:"
    r"'{3}(?:\\.|(?!'{3})[^\\])*+'{3}|"
    r'"{3}(?:\\.|(?!"{3})[^\\])*+"{3}|'
    r"'(?:\\.|[^'\\\n])*+'|"
    r'"(?:\\.|[^"\\\n])*+")'
)
STRING_LITERAL = re.compile(STRING, re.DOTALL)
BRACKETS = re.compile(r"[()]")
BRACKETS_OUTSIDE_STRINGS = re.compile(rf"{STRING}|[()]", re.DOTALL)
DEPTH_OF = {"(": 1, ")": -1}
FINAL = re.compile(
    r"^(?P<indent>[ \t]*)(?:(?:[-*+]|\d+[.)])[ \t]+)?[*_]{0,3}FINAL(?P<variable>_VAR)?\(",
    re.MULTILINE,
)
VARIABLE = re.compile(r"""\s*(?P<quote>["']?)(?P<name>[^\W\d]\w*)(?P=quote)\s*\)""")
CODE_INDENT = 4
"""Columns from which CommonMark takes a line for code."""
PHRASE = re.compile(
    r"^[ \t#>]*(?P<mark>[*_]{0,3})final[ \t]+answer(?P<after>[*_]{0,3})[ \t]*:[*_]{0,3}[ \t]*",
    re.MULTILINE | re.IGNORECASE,
)
HEADING = re.compile(
    r"^[ \t>]*#{1,6}[ \t]+[*_]{0,3}final[ \t]+answer[*_]{0,3}[ \t]*$", re.MULTILINE | re.IGNORECASE
)
CONSTANTS = ("True", "False", "None")


@dataclass(frozen=True)
class Final:
    """The end of a run, asked for in prose.

    It is `FINAL(text)`, or `FINAL_VAR(text)` where the text is a variable's name.
    """

    kind: Literal["value", "variable"]
    text: str
    is_word: bool = False
    """A variable that was written as `FINAL(name)`: without such a variable, it is no answer."""


@dataclass(frozen=True)
class FoundFinal:
    """A final and where it stands."""

    final: Final
    first: int
    """Offset of its line in the text."""
    span: range
    """Offsets of what is between its brackets."""


def finals_of(text: str, fences: Sequence[Fence]) -> list[FoundFinal]:
    """Find the finals at the start of a line outside every fence, in their order.

    One in code that is not fenced is none: nobody knows whether that code would come to it.
    """
    found: list[FoundFinal] = []
    for final in _finals(text, fences):
        if not _is_in_code(text, final, fences):
            found.append(final)
        if len(found) == MOST_FINALS:
            break
    return found


def has_unfenced_code(text: str, fences: Sequence[Fence]) -> bool:
    """Whether a text without cells is a program, or has a FINAL in one."""
    if not fences and is_code_around_final(text):
        return True
    return any(_is_in_code(text, final, fences) for final in _finals(text, fences))


def phrase_of(text: str) -> str | None:
    """Give what follows the last `Final answer:` at the start of a line, or the last heading of
    these words; None without either."""
    phrases = [*PHRASE.finditer(text), *HEADING.finditer(text)]
    if not phrases:
        return None
    match = max(phrases, key=lambda phrase: phrase.start())
    answer = text[match.end() :].strip()
    marks = match.groupdict()
    if marks.get("mark") and not marks["after"]:
        answer = answer.removesuffix(marks["mark"]).strip()
    called = next(iter(_finals(answer, ())), None)
    if called is not None and called.first == 0 and called.final.kind == "value":
        return called.final.text
    return answer or None


def bare_final(text: str, fences: Sequence[Fence]) -> FoundFinal | None:
    """Find the first final by the rules of version 1 of a turn's entry.

    There a name in FINAL was text, and a FINAL in code without a fence was an answer.
    """
    for found in _finals(text, fences):
        if found.final.is_word:
            return FoundFinal(Final("value", found.final.text), found.first, found.span)
        return found
    return None


def _finals(text: str, fences: Sequence[Fence]) -> Iterator[FoundFinal]:
    after = 0
    for match in FINAL.finditer(text):
        is_fenced = any(fence.first <= match.start() < fence.last for fence in fences)
        if is_fenced or match.start() < after:
            continue
        start = match.end()
        if match["variable"]:
            final, after = _variable(text, start)
        else:
            final, after = _value(text, start, fences)
        if final is not None:
            yield FoundFinal(final, match.start(), range(start, after))


def _variable(text: str, start: int) -> tuple[Final | None, int]:
    match = VARIABLE.match(text, start)
    if match is None:
        return None, start
    return Final("variable", match["name"]), match.end()


def _value(text: str, start: int, fences: Sequence[Fence]) -> tuple[Final | None, int]:
    end = _argument_end(text, start, fences)
    argument = text[start:end].strip()
    if not argument:
        return None, end
    if argument.isidentifier() and argument not in CONSTANTS:
        return Final("variable", argument, is_word=True), end
    return Final("value", _unquoted(argument)), end


def _argument_end(text: str, start: int, fences: Sequence[Fence]) -> int:
    """Give the offset of the end of the argument that begins at `start`.

    It is the bracket that closes the one before `start`; if there is none, the last closing bracket
    before the next fence; if there is none either, that fence.
    """
    end = _closing(text, start, BRACKETS_OUTSIDE_STRINGS)
    if end is None or not _is_expression(text[start:end]):
        end = _closing(text, start, BRACKETS)
    closed = [fence for fence in fences if fence.closed]
    if end is not None and not any(fence.first <= end < fence.last for fence in closed):
        return end
    next_fence = min((fence.first for fence in fences if fence.first > start), default=len(text))
    last = text.rfind(")", start, next_fence)
    return next_fence if last < 0 else last


def _closing(text: str, start: int, tokens: re.Pattern[str]) -> int | None:
    depth = 1
    for match in tokens.finditer(text, start):
        depth += DEPTH_OF.get(match[0], 0)
        if depth == 0:
            return match.start()
    return None


def _unquoted(argument: str) -> str:
    """Give the value of a text that is one Python string literal; any other text as it is."""
    if not STRING_LITERAL.fullmatch(argument):
        return argument
    match parsed(argument):
        case ast.Module(body=[ast.Expr(value=ast.Constant(value=str(text)))]):
            return text
        case _:
            return argument


def _is_expression(argument: str) -> bool:
    return parsed(f"({argument}\n)") is not None


def _is_in_code(text: str, final: FoundFinal, fences: Sequence[Fence]) -> bool:
    """Whether a final stands in code that is not fenced: by its indent, or since its paragraph or
    all prose of the text is a program that does more."""
    line = text[final.first : final.span.start]
    indent = line[: len(line) - len(line.lstrip(" \t"))].expandtabs(CODE_INDENT)
    if len(indent) >= CODE_INDENT:
        return True
    before = max((fence.last for fence in fences if fence.last <= final.first), default=0)
    after = min((fence.first for fence in fences if fence.first >= final.span.stop), default=None)
    prose = text[before:after]
    if is_code_around_final(prose):
        return True
    first = text.rfind("\n\n", before, final.first) + 2
    last = text.find("\n\n", final.span.stop, after)
    paragraph = text[max(before, first if first > 1 else before) : None if last < 0 else last]
    return is_code_around_final(paragraph)
