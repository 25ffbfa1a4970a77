"""Monty's exceptions: Monty makes them of one text alone, and anything else ends the cell.

So `ValueError(5)` becomes `ValueError("{}".format(5))` before Monty gets it: the same message,
which `except` takes. What is called by another name than its own is left as it is.
"""

import ast
import builtins
from collections.abc import Collection, Iterator, Sequence

from langgraph_rlm.log.python import assigned_names

EXCEPTIONS = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)


def with_text_exceptions(code: str, tree: ast.Module) -> str:
    """Give code whose calls of built-in exceptions have one argument, a text.

    Lines stay where they are.

    Args:
        code: the cell.
        tree: its syntax tree.
    """
    if "\r" in code or "\f" in code:
        return code  # the tree counts lines otherwise
    lines = [line.encode() for line in code.split("\n")]
    known = EXCEPTIONS.difference(assigned_names(code))
    calls = _calls_without_text(tree, known)
    inserted = [each for call in calls for each in _insertions(call, lines)]
    for line, column, text in sorted(inserted, reverse=True):
        lines[line - 1] = lines[line - 1][:column] + text + lines[line - 1][column:]
    return b"\n".join(lines).decode()


def _calls_without_text(tree: ast.Module, known: Collection[str]) -> Iterator[ast.Call]:
    """Give the calls of the `known` exceptions whose argument may be no text.

    Those in f-strings are left out: a tree of Python 3.11 does not say where they are.
    """
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        match node:
            case ast.JoinedStr():
                continue
            case ast.Call(func=ast.Name(id=name), args=[*args], keywords=[]) if name in known:
                if len(args) > 1 or not all(map(is_text, args)):
                    yield node
            case _:
                pass
        todo.extend(ast.iter_child_nodes(node))


def is_text(node: ast.expr) -> bool:
    """Tell whether an expression is a text, as far as it shows."""
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.Call(func=ast.Name(id="str" | "repr")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str()))):
            return True
        case ast.BinOp(left=left, op=ast.Add() | ast.Mod()):
            return is_text(left)
        case _:
            return False


def _insertions(call: ast.Call, lines: Sequence[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Give what puts the arguments of one call into a text, as `str` of the exception shows them.

    `"{}".format` cannot be hidden by a variable, as `str` can.

    Returns:
        Each text with the line (from 1) and the column that it is inserted at.
    """
    before, after = b'"{}".format(', b")"
    if any(isinstance(each, ast.Starred) for each in call.args):
        before = b'(lambda *_: "{}".format(_ if _[1:] else (*_, "")[0]))('
    elif len(call.args) > 1:
        before, after = b'"{}".format((', b"))"
    line, column = _end(call.func)
    while (opening := lines[line - 1].find(b"(", column)) < 0:
        line, column = line + 1, 0
    yield line, opening + 1, before
    line, column = _end(call)
    yield line, column - 1, after


def _end(node: ast.expr) -> tuple[int, int]:
    """Give the line and column just after an expression."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset
