"""Imports: which modules a cell cannot do without. Imports none of them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

CAUGHT = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
"""Exceptions whose handler also takes a failed import."""


@dataclass(frozen=True)
class Import:
    """One module that a cell imports, or one name from it."""

    line: int
    module: str
    name: str | None = None
    """What `from module import name` takes; None for `import module`."""

    @property
    def statement(self) -> str:
        """The import alone."""
        if self.name is None:
            return f"import {self.module}"
        return f"from {self.module} import {self.name}"


def needed_imports(tree: ast.Module) -> list[Import]:
    """Give the imports that end a cell if they fail, in the order of the code.

    An import that code is prepared to do without, in a `try` that takes its failure or below an
    `if`, is not among them, and neither are relative ones and those of `*`.
    """
    found = {found: None for node in certain_statements(tree) for found in _imports(node)}
    return sorted(found, key=lambda each: each.line)


def _imports(node: ast.AST) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            yield from (Import(node.lineno, alias.name) for alias in names)
        case ast.ImportFrom(module=str(module), level=0, names=names):
            yield from (
                Import(node.lineno, module, alias.name) for alias in names if alias.name != "*"
            )
        case _:
            pass


def certain_statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Give each statement that may not fail to import, with the tree. There is no recursion."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield node
        match node:
            case ast.If() | ast.Match():
                pass
            case ast.With() if any(_suppresses(item.context_expr) for item in node.items):
                pass
            case ast.Try() if any(_takes(handler.type) for handler in node.handlers):
                todo.extend([*node.handlers, *node.orelse, *node.finalbody])
            case ast.stmt() | ast.Module() | ast.ExceptHandler():
                todo.extend(
                    child
                    for child in ast.iter_child_nodes(node)
                    if isinstance(child, ast.stmt | ast.ExceptHandler)
                )
            case _:
                pass


def _takes(caught: ast.expr | None) -> bool:
    """Tell whether an `except` with this expression takes a failed import."""
    if caught is None:
        return True
    return any(isinstance(node, ast.Name) and node.id in CAUGHT for node in ast.walk(caught))


def _suppresses(manager: ast.expr) -> bool:
    """Tell whether a `with` has `contextlib.suppress(ImportError)`."""
    names = {node.id for node in ast.walk(manager) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(manager) if isinstance(node, ast.Attribute)}
    return "suppress" in names and bool(names & CAUGHT)
