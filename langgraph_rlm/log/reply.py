"""Reply: what a model wrote, as cells of code, a final answer in prose, or the problem with it.

Never runs anything. Fences follow CommonMark
(https://spec.commonmark.org/0.31.2/#fenced-code-blocks); `FINAL` and `FINAL_VAR` are those of the
paper (arXiv 2512.24601) and of the `rlms` package, read with balanced brackets.
"""

import ast
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
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
    r"^[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?[*_]{0,3}FINAL(?P<variable>_VAR)?\(", re.MULTILINE
)
VARIABLE = re.compile(r"""\s*(?P<quote>["']?)(?P<name>[^\W\d]\w*)(?P=quote)\s*\)""")

Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_quiet = threading.Lock()


@dataclass(frozen=True)
class Final:
    """The end of a run, asked for in prose.

    It is `FINAL(text)`, or `FINAL_VAR(text)` where the text is a variable's name.
    """

    kind: Literal["value", "variable"]
    text: str


@dataclass(frozen=True)
class Reply:
    """One reply of a root model.

    A reply may hold cells and a final answer, and `unclosed_fence` may stand beside both; the other
    problems stand alone.
    """

    cells: tuple[str, ...] = ()
    """Code of each closed fence with a tag of `CELL_TAGS`, in order; none is blank."""
    final: Final | None = None
    """The first `FINAL` or `FINAL_VAR` at the start of a line outside every fence."""
    problem: Problem | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """What the interpreter runs: the cells, and FINAL_VAR in prose as one more.

        As a cell the variable is looked up and logged like everything else that runs.
        """
        if self.final is not None and self.final.kind == "variable":
            return (*self.cells, f'FINAL_VAR("{self.final.text}")')
        return self.cells


@dataclass(frozen=True)
class _Fence:
    first: int
    """Offset of its opening line in the text."""
    last: int
    """Offset just after its closing line."""
    tag: str
    code: str
    closed: bool

    @property
    def is_cell(self) -> bool:
        return self.closed and self.tag in CELL_TAGS and bool(self.code.strip())

    @property
    def is_untagged_code(self) -> bool:
        return self.tag not in CELL_TAGS and bool(self.code.strip() and _parsed(self.code))


def reply_of(turn: "TurnEntry", blobs: "BlobStore") -> Reply:
    """Read the reply of a turn.

    Beside tool calls of the model's own, prose is just prose: a FINAL there has not seen the
    results of the calls.
    """
    reply = parse_reply(blobs.get_text(turn["reply"]))
    if not turn.get("tool_calls"):
        return reply
    problem = reply.problem
    if problem in ("empty", "prose"):
        problem = None
    return replace(reply, final=None, problem=problem)


@lru_cache(maxsize=64)
def parse_reply(text: str) -> Reply:
    """Read a model's reply.

    Args:
        text: what the model wrote, any length. `<think>...</think>` at its start is dropped, as is
            a `<think>` that never ends.

    Returns:
        Its cells, its final answer in prose and its problem. A fence that is never closed is not a
        cell: half a program must not run. A fence inside the brackets of a final answer belongs to
        the answer.
    """
    text = without_reasoning(text.replace("\r\n", "\n").replace("\r", "\n"))
    fences = _fences(text)
    final, span = _final(text, fences)
    fences = [fence for fence in fences if fence.first not in span]
    cells = tuple(fence.code for fence in fences if fence.is_cell)
    return Reply(cells, final, _problem(text, fences, is_done=bool(cells or final)))


@lru_cache(maxsize=1024)
def assigned_names(code: str) -> tuple[str, ...]:
    """Give the names that a cell binds at module level, as far as its text says.

    Args:
        code: Python source.

    Returns:
        Sorted unique names without those that start with `_`; also those that functions declare
        `global` and assign. Empty when the code does not parse.
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
    """Give the value of a `FINAL(...)` in code that needs no running, such as a string.

    None if there is no such call.
    """
    tree = _parsed(code)
    if tree is None:
        return None
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="FINAL"), args=[argument]):
                with suppress(ValueError, TypeError, MemoryError, RecursionError):
                    return ast.literal_eval(argument)
            case _:
                pass
    return None


def without_reasoning(text: str) -> str:
    """Give a reply without the `<think>...</think>` at its start."""
    if not text.lstrip().startswith("<think>"):
        return text
    return text.partition("</think>")[2]


def _problem(text: str, fences: Sequence[_Fence], *, is_done: bool) -> Problem | None:
    if not text.strip():
        return "empty"
    if not all(fence.closed for fence in fences):
        return "unclosed_fence"
    if is_done:
        return None
    if any(fence.is_untagged_code for fence in fences):
        return "untagged_fence"
    return "prose"


# Fences


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    """Make a parser of CommonMark's blocks.

    It leaves out HTML blocks, since `<answer>` above a fence would swallow the fence, and inlines,
    since nothing reads them.
    """
    return MarkdownIt("commonmark").disable(["html_block", "inline"])


def _fences(text: str) -> list[_Fence]:
    lines = _line_offsets(text)
    return [_fence(token, lines) for token in _markdown().parse(text) if token.type == "fence"]


def _fence(token: "Token", lines: Sequence[int]) -> _Fence:
    first, last = token.map or (0, 0)
    tag = re.split(r"\W", token.info.strip().lower(), maxsplit=1)[0]
    closed = last - first == _line_count(token.content) + 2
    return _Fence(lines[first], lines[last], tag, token.content, closed)


def _line_offsets(text: str) -> list[int]:
    """Give the offset of each line, and one just after the end."""
    return [0, *(match.end() for match in re.finditer("\n", text)), len(text) + 1]


def _line_count(content: str) -> int:
    return content.count("\n") + (not content.endswith("\n") and content != "")


# Final answers


def _final(text: str, fences: Sequence[_Fence]) -> tuple[Final | None, range]:
    """Give the first final answer in prose, and the offsets between its brackets."""
    for match in FINAL.finditer(text):
        if any(fence.first <= match.start() < fence.last for fence in fences):
            continue
        start = match.end()
        if match["variable"]:
            final, end = _variable(text, start)
        else:
            final, end = _value(text, start, fences)
        if final is not None:
            return final, range(start, end)
    return None, range(0)


def _variable(text: str, start: int) -> tuple[Final | None, int]:
    match = VARIABLE.match(text, start)
    if match is None:
        return None, start
    return Final("variable", match["name"]), match.end()


def _value(text: str, start: int, fences: Sequence[_Fence]) -> tuple[Final | None, int]:
    end = _argument_end(text, start, fences)
    argument = text[start:end].strip()
    if not argument:
        return None, end
    return Final("value", _unquoted(argument)), end


def _argument_end(text: str, start: int, fences: Sequence[_Fence]) -> int:
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
    match _parsed(argument):
        case ast.Module(body=[ast.Expr(value=ast.Constant(value=str(text)))]):
            return text
        case _:
            return argument


def _is_expression(argument: str) -> bool:
    return _parsed(f"({argument}\n)") is not None


# Python source


def _parsed(code: str) -> ast.Module | None:
    r"""Give the code's syntax tree; None when it is not Python.

    Warnings about escapes such as `\d` are silent: they are not a problem of the host.
    """
    # the filters of warnings belong to the whole process: hence the lock
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _bound(scope: Scope) -> Iterator[str]:
    """Give the names bound by the statements of one scope, without those of scopes inside it."""
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
    """Give every node below a scope, without those below another scope inside it.

    There is no recursion: code may nest deeply.
    """
    todo = list(_evaluated_in(scope, is_scope=True))
    while todo:
        node = todo.pop()
        yield node
        todo.extend(_evaluated_in(node, is_scope=False))


def _evaluated_in(node: ast.AST, *, is_scope: bool) -> Iterator[ast.AST]:
    """Give the children of a node that the scope around it evaluates.

    A comprehension's target and a function's body are not among them.
    """
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
