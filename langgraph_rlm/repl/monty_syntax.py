"""Monty's syntax: what of Python its parser refuses, found on the host, with the ways around it.

Monty itself stops at the first such line; here a cell hears of all of them at once. What is not
known here, Monty's own parser still refuses, before anything runs.
"""

import ast
import types
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing in a cell that the interpreter does not have."""

    line: int
    what: str
    instead: str
    """A sentence."""

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}. {self.instead}"


@dataclass(frozen=True)
class Lack:
    """One part of Python's syntax that Monty lacks."""

    what: str
    instead: str
    """A sentence or two."""
    sign: str
    """What Monty's own error says of it."""


DEL = Lack("`del`", "Set the name to None; use list.pop(i) and dict.pop(key).", "'del' statement")
YIELD = Lack("`yield`", "Collect the values in a list and return it.", "yield")
BASES = Lack(
    "a class with bases",
    "Leave the bases out: put the methods into the class itself, or keep the other object in a "
    "variable of it.",
    "class inheritance",
)
DECORATED = Lack(
    "a decorated method",
    "Write methods without decorators: for a @property a method that is called, obj.area(), for "
    "@staticmethod and @classmethod a function outside the class.",
    "method decorators",
)
BODY = Lack(
    "code in the body of a class",
    "Only methods and `name = value` may stand there: run the rest before or after the class.",
    "class bodies containing",
)
TARGET = Lack("an assignment of several names in a class", BODY.instead, "class variable targets")
WALRUS = Lack("`:=` in the body of a class", BODY.instead, "in class bodies")
ASYNC_WITH = Lack("`async with`", "Call what it would call, in try and finally.", "async with")
ASYNC_FOR = Lack("`async for`", "Await the values one by one in a loop.", "async for")
ASYNC_COMPREHENSION = Lack(
    "`async for` in a comprehension", ASYNC_FOR.instead, "async comprehensions"
)
GROUPS = Lack("`except*`", "Use a plain `except`.", "exception groups")
TYPE = Lack("a `type` statement", "Leave it out.", "type aliases")
STAR = Lack(
    "`from ... import *`", "Import the module, or name what you need of it.", "Wildcard imports"
)
RELATIVE = Lack("a relative import", "There are no other files.", "relative import")

LACKS = (
    *(DEL, YIELD, BASES, DECORATED, BODY, TARGET, WALRUS),
    *(ASYNC_COMPREHENSION, ASYNC_WITH, ASYNC_FOR, GROUPS, TYPE, STAR, RELATIVE),
)

BASE_WAYS = {
    "Exception": "Raise a built-in exception with your own text: ValueError('no date: ' + line).",
    "Error": "Raise a built-in exception with your own text: ValueError('no date: ' + line).",
    "Enum": "Leave the base out: a class of `name = value`, or plain strings.",
    "NamedTuple": "Use @dataclass on a class without bases, or collections.namedtuple.",
    "TypedDict": "Use a plain dict, or @dataclass on a class without bases.",
    "BaseModel": "Use @dataclass on a class without bases.",
    "Protocol": "Leave the class out.",
    "object": "Leave the base out.",
    "ABC": "Leave the base out.",
}
"""The way around a base, by the end of its name."""

Method = ast.FunctionDef | ast.AsyncFunctionDef
_TYPE_ALIAS: type[ast.AST] | None = getattr(ast, "TypeAlias", None)  # from Python 3.12 on


def syntax_problems(tree: ast.Module) -> list[Problem]:
    """Give what of a cell Monty's parser refuses, in the order of the code."""
    found = [problem for node in ast.walk(tree) for problem in _problems(node)]
    return sorted(set(found), key=lambda problem: problem.line)


def _problems(node: ast.AST) -> Iterator[Problem]:
    match node:
        case ast.ClassDef():
            yield from _class_problems(node)
        case ast.Delete():
            yield _problem(node, DEL)
        case ast.Yield() | ast.YieldFrom():
            yield _problem(node, YIELD)
        case ast.AsyncWith():
            yield _problem(node, ASYNC_WITH)
        case ast.AsyncFor():
            yield _problem(node, ASYNC_FOR)
        case ast.comprehension(is_async=1):
            yield _problem(node.target, ASYNC_COMPREHENSION)
        case ast.TryStar():
            yield _problem(node, GROUPS)
        case ast.ImportFrom():
            yield from _import_problems(node)
        case ast.stmt() if _TYPE_ALIAS is not None and isinstance(node, _TYPE_ALIAS):
            yield _problem(node, TYPE)
        case _:
            pass


def _problem(node: ast.stmt | ast.expr, lack: Lack) -> Problem:
    return Problem(node.lineno, lack.what, lack.instead)


def _import_problems(node: ast.ImportFrom) -> Iterator[Problem]:
    if node.level:
        yield _problem(node, RELATIVE)
    elif any(alias.name == "*" for alias in node.names):
        yield _problem(node, STAR)


def _class_problems(node: ast.ClassDef) -> Iterator[Problem]:
    if node.bases or node.keywords:
        base = _name_of([*node.bases, *node.keywords][0])
        way = next((BASE_WAYS[end] for end in BASE_WAYS if base.endswith(end)), BASES.instead)
        yield Problem(node.lineno, f"{BASES.what}, `class {node.name}({base})`", way)
    for statement in node.body:
        yield from _body_problems(statement)


def _body_problems(statement: ast.stmt) -> Iterator[Problem]:
    """Give what is refused of one statement of a class's body."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            for decorator in statement.decorator_list[:1]:
                what = f"{DECORATED.what}, `@{_name_of(decorator)}`"
                yield Problem(decorator.lineno, what, DECORATED.instead)
        case ast.Assign(targets=[ast.Name()]) | ast.AnnAssign(target=ast.Name()) | ast.Pass():
            pass
        case ast.Assign() | ast.AnnAssign():
            yield _problem(statement, TARGET)
        case ast.Expr(value=ast.Constant(value=str() | types.EllipsisType())):
            pass
        case _:
            yield _problem(statement, BODY)
            return
    if any(isinstance(node, ast.NamedExpr) for node in _evaluated(statement)):
        yield _problem(statement, WALRUS)


def _name_of(node: ast.AST) -> str:
    """Give the dotted name that an expression begins with, such as `a.b` of `a.b(1)[2]`."""
    parts: list[str] = []
    while True:
        match node:
            case ast.Name(id=name):
                return ".".join([name, *parts])
            case ast.Attribute(value=node, attr=name):
                parts.insert(0, name)
            case ast.Call(func=node) | ast.Subscript(value=node):
                pass
            case ast.keyword(arg=str(name)):
                return f"{name}=..."
            case _:
                return ".".join(["...", *parts])


def _evaluated(statement: ast.stmt) -> Iterator[ast.AST]:
    """Give the nodes of a statement that the body of a class evaluates, not functions inside it."""
    todo: list[ast.AST] = [statement]
    if isinstance(statement, Method):
        todo = [statement.args]
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.Lambda):
            todo.extend(ast.iter_child_nodes(node))
