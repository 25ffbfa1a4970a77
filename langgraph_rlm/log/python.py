"""Python: the source of cells, read without running any of it."""

import ast
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

FINALS = ("FINAL", "FINAL_VAR")

_quiet = threading.Lock()


def parsed(code: str) -> ast.Module | None:
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


@lru_cache(maxsize=1024)
def assigned_names(code: str) -> tuple[str, ...]:
    """Give the names that a cell binds at module level, as far as its text says.

    Args:
        code: Python source.

    Returns:
        Sorted unique names without those that start with `_`; also those that functions declare
        `global` and assign. Empty when the code does not parse.
    """
    tree = parsed(code)
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
    tree = parsed(code)
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


def names_a_variable(call: str, code: str) -> bool:
    """Tell whether a call of FINAL_VAR names a variable in quotes, and does not give a value.

    Args:
        call: its source; if that is not known, the calls in the code speak for it.
        code: the cell that calls.
    """
    tree = parsed(call)
    if tree is not None and len(tree.body) == 1:
        match tree.body[0]:
            case ast.Expr(value=ast.Call() as found):
                return _is_quoted(found)
            case _:
                pass
    tree = parsed(code)
    nodes = () if tree is None else ast.walk(tree)
    found = [node for node in nodes if _calls_final_var(node)]
    return not found or any(isinstance(node, ast.Call) and _is_quoted(node) for node in found)


def _calls_final_var(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="FINAL_VAR")):
            return True
        case _:
            return False


def _is_quoted(call: ast.Call) -> bool:
    """Tell whether the arguments of a call are made of texts in quotes alone."""
    todo: list[ast.expr] = [*call.args, *(keyword.value for keyword in call.keywords)]
    while todo:
        match todo.pop():
            case ast.Constant() | ast.JoinedStr():
                pass
            case ast.IfExp(body=body, orelse=other) | ast.BinOp(left=body, right=other):
                todo += [body, other]
            case _:
                return False
    return True


def is_code(text: str) -> bool:
    """Whether a text without any mark of code is a program all the same.

    It is Python that does something: a statement, a call, a look into a value. A word, a number or
    a JSON value is Python too, and no program.
    """
    tree = parsed(text)
    return tree is not None and any(_does_something(statement) for statement in tree.body)


def is_code_around_final(text: str) -> bool:
    """Whether a text does something beside calling FINAL or FINAL_VAR at its top."""
    tree = parsed(text)
    return tree is not None and any(
        _does_something(statement) and not _is_final(statement) for statement in tree.body
    )


def _does_something(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=value):
            return any(isinstance(node, ast.Call | ast.Subscript) for node in ast.walk(value))
        case ast.AnnAssign(value=None):
            return False  # `name: word` is how people write a list
        case _:
            return True


def _is_final(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.UnaryOp(operand=ast.Call(func=ast.Name(id=name)))):
            return name in FINALS  # `- FINAL(42)` is an item of a list
        case ast.Expr(value=ast.Call(func=ast.Name(id=name))):
            return name in FINALS
        case _:
            return False


# The names that a scope binds


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
