"""Reply: what a model wrote, as cells of code, a final answer in prose, or the problem with it. Never runs anything.

Fences follow CommonMark (https://spec.commonmark.org/0.31.2/#fenced-code-blocks); `FINAL` and `FINAL_VAR` are those of the
paper (arXiv 2512.24601) and of the `rlms` package, read with balanced brackets.
"""

import ast
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

if TYPE_CHECKING:
    from langgraph_rlm.log.entries import TurnEntry
    from langgraph_rlm.storage.blobs import BlobStore

Problem = Literal["empty", "prose", "unclosed_fence", "untagged_fence"]
"""Why a reply has nothing to do, or not all of it: each kind has a nudge of its own."""

CELL_TAGS = frozenset({"repl", "python", "py", "python3"})
"""First words of an info string that make a fence a cell."""

STRING = r"""[rRuU]?(?:'{3}(?:\\.|(?!'{3})[^\\])*+'{3}|\"{3}(?:\\.|(?!\"{3})[^\\])*+\"{3}|'(?:\\.|[^'\\\n])*+'|"(?:\\.|[^"\\\n])*+")"""
STRING_LITERAL = re.compile(STRING, re.DOTALL)
BRACKETS = re.compile(r"[()]")
BRACKETS_OUTSIDE_STRINGS = re.compile(rf"{STRING}|[()]", re.DOTALL)
FINAL = re.compile(
    r"^[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?[*_]{0,3}FINAL(?P<variable>_VAR)?\(", re.MULTILINE
)
VARIABLE = re.compile(r"""\s*(?P<quote>["']?)(?P<name>[^\W\d]\w*)(?P=quote)\s*\)""")

_quiet = threading.Lock()


@dataclass(frozen=True)
class Final:
    """The end of a run, asked for in prose: `FINAL(text)`, or `FINAL_VAR(text)` where text is a variable's name."""

    kind: Literal["value", "variable"]
    text: str


@dataclass(frozen=True)
class Reply:
    """One reply of a root model.

    A reply may hold cells and a final answer, and `unclosed_fence` may stand beside both; the other problems stand alone.
    """

    cells: tuple[str, ...] = ()
    """Code of each closed fence with a tag of `CELL_TAGS`, in order; none is blank."""
    final: Final | None = None
    """The first `FINAL` or `FINAL_VAR` at the start of a line outside every fence."""
    problem: Problem | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """What the interpreter runs: the cells; FINAL_VAR in prose is one more, so that it is looked up and logged as one."""
        if self.final is not None and self.final.kind == "variable":
            return (*self.cells, f'FINAL_VAR("{self.final.text}")')
        return self.cells


@dataclass(frozen=True)
class _Fence:
    first: int
    """Offset of its opening line in the text."""
    last: int
    """Offset just behind its closing line."""
    tag: str
    code: str
    closed: bool


def reply_of(turn: "TurnEntry", blobs: "BlobStore") -> Reply:
    """What a turn's reply says. Beside tool calls of the model's own, prose is just that: a FINAL there has not seen their results."""
    reply = parse_reply(blobs.get_text(turn["reply"]))
    if not turn.get("tool_calls"):
        return reply
    return replace(
        reply, final=None, problem=None if reply.problem in ("empty", "prose") else reply.problem
    )


@lru_cache(maxsize=64)
def parse_reply(text: str) -> Reply:
    """Read a model's reply.

    Args:
        text: what the model wrote, any length; `<think>...</think>` at its start is dropped, as is a `<think>` that never ends.

    Returns:
        Its cells, its final answer in prose and its problem. A fence that is never closed is no cell: half a program must not run.
        A fence inside the brackets of a final answer belongs to the answer.
    """
    text = without_reasoning(text.replace("\r\n", "\n").replace("\r", "\n"))
    fences = _fences(text)
    final, span = _final(text, fences)
    fences = [fence for fence in fences if fence.first not in span]
    cells = tuple(
        fence.code
        for fence in fences
        if fence.closed and fence.tag in CELL_TAGS and fence.code.strip()
    )
    return Reply(cells, final, _problem(text, fences, is_done=bool(cells or final)))


@lru_cache(maxsize=1024)
def assigned_names(code: str) -> tuple[str, ...]:
    """Names that a cell binds at module level, as far as its text says.

    Args:
        code: Python source.

    Returns:
        Sorted unique names without those that start with `_`; also those that functions declare `global` and assign. Empty when
        the code does not parse.
    """
    tree = _parsed(code)
    if tree is None:
        return ()
    names = set(_bound(tree))
    for scope in ast.walk(tree):
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names |= set(_bound(scope)) & set(_declared_global(scope))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def plain_final(code: str) -> Any:
    """The value of a `FINAL(...)` in code that needs no running, such as a string; None if there is none."""
    tree = _parsed(code)
    for node in ast.walk(tree) if tree is not None else ():
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "FINAL"
            and len(node.args) == 1
        ):
            with suppress(ValueError, TypeError, MemoryError, RecursionError):
                return ast.literal_eval(node.args[0])
    return None


def without_reasoning(text: str) -> str:
    """A reply without the `<think>...</think>` at its start."""
    return text.partition("</think>")[2] if text.lstrip().startswith("<think>") else text


def _problem(text: str, fences: list[_Fence], *, is_done: bool) -> Problem | None:
    if not text.strip():
        return "empty"
    if not all(fence.closed for fence in fences):
        return "unclosed_fence"
    if is_done:
        return None
    is_code = any(
        fence.tag not in CELL_TAGS and fence.code.strip() and _parsed(fence.code)
        for fence in fences
    )
    return "untagged_fence" if is_code else "prose"


# Fences


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    """CommonMark blocks. Not HTML blocks, since `<answer>` above a fence would swallow it; not inlines, since nothing reads them."""
    return MarkdownIt("commonmark").disable(["html_block", "inline"])


def _fences(text: str) -> list[_Fence]:
    lines = _line_offsets(text)
    return [_fence(token, lines) for token in _markdown().parse(text) if token.type == "fence"]


def _fence(token: "Token", lines: list[int]) -> _Fence:
    first, last = token.map or (0, 0)
    tag = re.match(r"\w*", token.info.strip().lower())
    closed = last - first == _line_count(token.content) + 2
    return _Fence(lines[first], lines[last], tag[0] if tag else "", token.content, closed)


def _line_offsets(text: str) -> list[int]:
    """Offset of each line, and one behind the end."""
    return [0, *(match.end() for match in re.finditer("\n", text)), len(text) + 1]


def _line_count(content: str) -> int:
    return content.count("\n") + (not content.endswith("\n") and content != "")


# Final answers


def _final(text: str, fences: list[_Fence]) -> tuple[Final | None, range]:
    """The first final answer in prose, and the offsets between its brackets."""
    for match in FINAL.finditer(text):
        if any(fence.first <= match.start() < fence.last for fence in fences):
            continue
        final, end = (
            _variable(text, match.end()) if match["variable"] else _value(text, match.end(), fences)
        )
        if final is not None:
            return final, range(match.end(), end)
    return None, range(0)


def _variable(text: str, start: int) -> tuple[Final | None, int]:
    match = VARIABLE.match(text, start)
    return (Final("variable", match["name"]), match.end()) if match else (None, start)


def _value(text: str, start: int, fences: list[_Fence]) -> tuple[Final | None, int]:
    end = _argument_end(text, start, fences)
    argument = text[start:end].strip()
    return (Final("value", _unquoted(argument)) if argument else None), end


def _argument_end(text: str, start: int, fences: list[_Fence]) -> int:
    """Offset of the bracket that closes the one before `start`; else of the last one before the next fence; else of that fence."""
    end = _closing(text, start, BRACKETS_OUTSIDE_STRINGS)
    if end is None or not _is_expression(text[start:end]):
        end = _closing(text, start, BRACKETS)
    if end is not None and not any(
        fence.first <= end < fence.last for fence in fences if fence.closed
    ):
        return end
    rest = min((fence.first for fence in fences if fence.first > start), default=len(text))
    last = text.rfind(")", start, rest)
    return rest if last < 0 else last


def _closing(text: str, start: int, tokens: re.Pattern[str]) -> int | None:
    depth = 1
    for match in tokens.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    return None


def _unquoted(argument: str) -> str:
    """The value of a text that is one Python string literal; any other text as it is."""
    match _parsed(argument) if STRING_LITERAL.fullmatch(argument) else None:
        case ast.Module(body=[ast.Expr(value=ast.Constant(value=str(text)))]):
            return text
        case _:
            return argument


def _is_expression(argument: str) -> bool:
    return _parsed(f"({argument}\n)") is not None


# Python source


def _parsed(code: str) -> ast.Module | None:
    """The code's syntax tree, or None when it is not Python. Silent about escapes such as "\\d", which are no problem of the host."""
    with _quiet, warnings.catch_warnings():  # the filters are the process's own, hence the lock
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _bound(
    scope: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
) -> Iterator[str]:
    """Names bound by the statements of one scope, without those of scopes inside it."""
    for node in _own_nodes(scope):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                yield name
            case ast.alias(name=path, asname=name) if path != "*":
                yield name or path.partition(".")[0]
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                yield name
            case ast.MatchMapping(rest=str(name)):
                yield name
            case _:
                pass


def _declared_global(scope: ast.AST) -> Iterator[str]:
    for node in _own_nodes(scope):
        if isinstance(node, ast.Global):
            yield from node.names


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Every node below a scope that is not below another scope inside it, without recursion: code may nest deeply."""
    todo = list(_evaluated_in(scope, is_scope=True))
    while todo:
        node = todo.pop()
        yield node
        todo.extend(_evaluated_in(node, is_scope=False))


def _evaluated_in(node: ast.AST, *, is_scope: bool) -> Iterator[ast.AST]:
    """Children of a node that its scope evaluates: a comprehension's target and a function's body are not among them."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            body: list[ast.stmt] = node.body
            yield from body if is_scope else node.decorator_list
        case ast.Lambda():
            pass
        case ast.comprehension():
            yield from (node.iter, *node.ifs)
        case ast.AnnAssign(value=None):
            pass
        case _:
            yield from ast.iter_child_nodes(node)
