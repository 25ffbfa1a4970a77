"""Uses: what the code of a cell does with the contexts that are bound as variables. Runs nothing.

A context that code uses as a variable is used as a whole, since nobody sees what the code looks at,
except for what is told apart here: its length and type; a slice between two numbers that stand in
the code; and a context that is handed to a host function as it is, whose call is in the log.
"""

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

from langgraph_rlm.log.python import parsed

ABOUT = frozenset(["len", "type", "isinstance", "bool", "id"])
"""Functions that tell nothing of what is in a context."""

HANDED = frozenset(
    [
        *("llm_query", "llm_query_batched", "rlm_query", "rlm_query_batched"),
        *("FINAL", "FINAL_VAR"),
    ]
)
"""Host functions that take a value: what they are given is in the log."""

ALL = frozenset(["globals", "locals", "vars", "eval", "exec"])
"""Functions through which code has every variable."""

SOMETIMES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.Try,
    ast.TryStar,
    ast.Match,
    ast.BoolOp,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.Assert,
)
"""What is in these may never run."""


@dataclass(frozen=True)
class Slice:
    """`name[first:last]`, between numbers that stand in the code."""

    name: str
    first: int | None
    last: int | None
    is_sure: bool
    """Whether it is computed, if the cell ends well."""


@dataclass(frozen=True)
class Uses:
    """What a cell does with contexts, by their names."""

    whole: frozenset[str] = frozenset()
    """Used so that what is read of them is not known."""
    handed: frozenset[str] = frozenset()
    """Given to a host function as they are."""
    slices: tuple[Slice, ...] = ()


@lru_cache(maxsize=1024)
def uses_of(code: str, names: frozenset[str]) -> Uses:
    """Tell what a cell does with contexts.

    Args:
        code: Python source; what does not parse does nothing.
        names: of the contexts, and of their paths.
    """
    tree = parsed(code)
    if tree is None:
        return Uses()
    found = [*_loads(tree, names)]
    whole = {each for each in found if isinstance(each, str)}
    if whole & ALL:
        whole |= names
    return Uses(
        whole=frozenset(whole) & names,
        handed=frozenset(each.name for each in found if isinstance(each, _Handed)),
        slices=tuple(each for each in found if isinstance(each, Slice)),
    )


@dataclass(frozen=True)
class _Handed:
    name: str


def _loads(tree: ast.Module, names: Collection[str]) -> Iterator[str | _Handed | Slice]:
    """Give each use of a name: the name itself, where it is used as a whole.

    There is no recursion: code may nest deeply.
    """
    todo: list[tuple[ast.AST, bool]] = [(tree, True)]
    told_apart: set[ast.AST] = set()
    while todo:
        node, is_sure = todo.pop()
        if node in told_apart:
            continue
        match node:
            case ast.Call(func=ast.Name(id=function)) if function in ABOUT:
                told_apart |= {each for each in node.args if _name_in(each, names)}
            case ast.Call(func=ast.Name(id=function)) if function in HANDED:
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                for each in given:
                    if isinstance(each, ast.Name) and each.id in names:
                        told_apart.add(each)
                        yield _Handed(each.id)
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Slice() as part) if name in names:
                bounds = _bounds(part)
                if bounds is not None and isinstance(node.ctx, ast.Load):
                    told_apart.add(node.value)
                    yield Slice(name, *bounds, is_sure)
            case ast.Name(id=name, ctx=ast.Load()) if name in names or name in ALL:
                yield name
            case _:
                pass
        inner = is_sure and not isinstance(node, SOMETIMES)
        todo += [(each, inner) for each in ast.iter_child_nodes(node)]


def _name_in(node: ast.expr, names: Collection[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _bounds(part: ast.Slice) -> tuple[int | None, int | None] | None:
    """Give the two numbers of a slice; None where one has to be computed."""
    if part.step is not None:
        return None
    first, last = _number(part.lower), _number(part.upper)
    return None if isinstance(first, str) or isinstance(last, str) else (first, last)


def _number(node: ast.expr | None) -> int | str | None:
    """Give a whole number that stands in the code; `""` for anything else."""
    match node:
        case None:
            return None
        case ast.Constant(value=int(value)):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
            return -value
        case _:
            return ""
