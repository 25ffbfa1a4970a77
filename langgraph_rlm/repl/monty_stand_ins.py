"""Monty's stand-ins in a cell: where code names what a stand-in has, its text names the stand-in.

`import statistics` becomes `statistics = _rlm_module_statistics`, and so on. Lines stay where they
are. Parts of an f-string stay as they are: a tree of Python 3.11 does not say where they stand.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from langgraph_rlm.log.python import assigned_names
from langgraph_rlm.repl.imports import Import, certain_statements
from langgraph_rlm.repl.monty_exceptions import is_text
from langgraph_rlm.repl.stand_ins import MODULES, PARTS, names_of, variable_of

PACKAGES = {module.partition(".")[0]: module for module in MODULES if "." in module}
"""Packages of which only a module has a stand-in."""

Place = tuple[int, int]
"""A line, from 1, and a column in bytes."""


@dataclass(frozen=True)
class Edit:
    """A text in place of what stands from `start` to `end`."""

    start: Place
    end: Place
    text: str


@dataclass(frozen=True)
class Known:
    """What earlier cells have bound."""

    modules: Mapping[str, str] = field(default_factory=dict[str, str])
    """Modules with stand-ins by their names in code."""
    functions: frozenset[str] = frozenset()


def provides(found: Import) -> bool:
    """Tell whether a stand-in has what an import takes."""
    if found.name is None:
        return found.module in MODULES or found.module in PACKAGES
    if found.module in PACKAGES:
        return f"{found.module}.{found.name}" == PACKAGES[found.module]
    return found.module in (*MODULES, *PARTS) and found.name in names_of(found.module)


def can_change(code: str) -> bool:
    """Tell whether the places of a tree are those of the text."""
    return "\r" not in code and "\f" not in code


def after(tree: ast.Module, known: Known) -> Known:
    """Give what is known once a cell has run: names that it binds otherwise are no modules."""
    if not known.modules and not any(map(_binds, ast.walk(tree))):
        return known
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                bound |= dict(filter(None, map(_bound, names)))
            case ast.ImportFrom(module=str(module), level=0, names=names):
                for alias in names:
                    if f"{module}.{alias.name}" in MODULES:
                        bound[alias.asname or alias.name] = f"{module}.{alias.name}"
            case _:
                pass
    hidden = _bound_otherwise(tree)
    modules = {**known.modules, **bound}
    left = {name: modules[name] for name in modules if name not in hidden}
    return Known(left, known.functions | set(_functions(tree)))


def _binds(node: ast.AST) -> bool:
    """Tell whether a node may bind what is worth knowing."""
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.Lambda)


def _functions(tree: ast.Module) -> Iterator[str]:
    """Give the names that are bound to functions."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda()):
                yield name
            case _:
                pass


def _bound(alias: ast.alias) -> tuple[str, str] | None:
    """Give the name that an import binds to a module with a stand-in, and the module."""
    if alias.name in MODULES and "." in alias.name and alias.asname is None:
        return alias.name.partition(".")[0], alias.name.partition(".")[0]
    if alias.name in (*MODULES, *PARTS, *PACKAGES):
        return alias.asname or alias.name, alias.name
    return None


def _bound_otherwise(tree: ast.Module) -> set[str]:
    """Give names that are bound by anything but an import."""
    found = set[str]()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name)):
                found.add(name)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.add(name)
            case _:
                pass
    return found


def module_of(node: ast.expr, modules: Mapping[str, str]) -> str | None:
    """Give the module with a stand-in that an expression is, if it is one."""
    match node:
        case ast.Name(id=name):
            return modules.get(name)
        case ast.Attribute(value=ast.Name(id=name), attr=attr) if modules.get(name) in PACKAGES:
            module = f"{modules[name]}.{attr}"
            return module if module in MODULES else None
        case _:
            return None


def needed_names(tree: ast.Module, known: Known) -> list[Import]:
    """Give what a cell cannot do without of modules that have nothing but a stand-in.

    Args:
        tree: of the cell.
        known: what is known when it has run: see `after`.
    """
    found: dict[Import, None] = {}
    if not set(known.modules.values()).intersection([*MODULES, *PACKAGES]):
        return []
    for statement in certain_statements(tree):
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.expr):
                found |= dict.fromkeys(_names_of_modules(child, known.modules))
    return list(found)


def _names_of_modules(tree: ast.expr, modules: Mapping[str, str]) -> Iterator[Import]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=value, attr=attr, ctx=ast.Load()):
                if (module := module_of(value, modules)) in MODULES:
                    yield Import(node.lineno, module, attr)
            case _:
                pass


def with_stand_ins(code: str, tree: ast.Module, known: Known) -> tuple[str, list[str]]:
    """Give a cell whose text names stand-ins, and the modules whose stand-ins it needs.

    Args:
        code: the cell.
        tree: its syntax tree.
        known: what is known when it has run: see `after`.
    """
    rewriting = _Rewriting(known, frozenset(assigned_names(code)))
    edits = [edit for node in _outside_f_strings(tree) for edit in rewriting.edits(node)]
    return _edited(code, edits), list(rewriting.needs)


def _outside_f_strings(tree: ast.Module) -> Iterator[ast.AST]:
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if not isinstance(node, ast.JoinedStr):
            yield node
            todo.extend(ast.iter_child_nodes(node))


class _Rewriting:
    """The edits of one cell, and the stand-ins that they name."""

    def __init__(self, known: Known, assigned: frozenset[str]) -> None:
        self._known = known
        self._assigned = assigned
        self._stays = set[ast.expr]()
        self.needs: dict[str, None] = {}

    def edits(self, node: ast.AST) -> Iterator[Edit]:
        """Give what one node needs; a node comes before those inside it."""
        match node:
            case ast.Import(names=names):
                yield from self._changed(node, [Import(0, name.name) for name in names])
            case ast.ImportFrom(module=str(module), level=0, names=names):
                yield from self._changed(node, [Import(0, module, name.name) for name in names])
            case ast.Call():
                yield from self._call(node)
            case ast.Attribute(attr=attr, ctx=ast.Load()) if node not in self._stays:
                module = module_of(node.value, self._known.modules)
                if module in PARTS and attr in names_of(module) and _is_in_one_line(node):
                    yield Edit(*_span(node), f"{self._variable(module)}.{attr}")
            case _:
                pass

    def _variable(self, module: str) -> str:
        self.needs[module] = None
        return variable_of(module)

    # Imports

    def _changed(
        self, node: ast.Import | ast.ImportFrom, imports: Sequence[Import]
    ) -> Iterator[Edit]:
        """Change an import of what stand-ins have; the rest of it stays an import."""
        given = [provides(each) for each in imports]
        if not any(given):
            return
        pairs = list(zip(node.names, given, strict=True))
        kept = ", ".join(_alias(alias) for alias, is_given in pairs if not is_given)
        begin = f"from {node.module} import" if isinstance(node, ast.ImportFrom) else "import"
        parts = [f"{begin} {kept}"] if kept else []
        for (alias, is_given), found in zip(pairs, imports, strict=True):
            if is_given:
                name, value = self._binding(alias, found)
                parts.append(f"{name} = {value}")
        start, end = _span(node)
        text = "; ".join(parts)
        if lines := end[0] - start[0]:
            name, _, value = parts[-1].partition(" = ")
            text = "; ".join([*parts[:-1], f"{name} = ({value}" + "\n" * lines + ")"])
        yield Edit(start, end, text)

    def _binding(self, alias: ast.alias, found: Import) -> tuple[str, str]:
        """Give the name that an import binds, and what to."""
        name = alias.asname or alias.name
        whole = found.module if found.name is None else f"{found.module}.{found.name}"
        if found.name is not None and whole not in MODULES:
            return name, f"{self._variable(found.module)}.{found.name}"
        package = whole.partition(".")[0]
        if package not in PACKAGES:
            return name, self._variable(whole)
        variable = self._variable(PACKAGES[package])
        if whole in MODULES and (alias.asname or found.name is not None):
            return name, variable
        return alias.asname or package, f"{variable}.{package}"

    # Calls

    def _call(self, node: ast.Call) -> Iterator[Edit]:
        match node:
            case ast.Call(func=ast.Name(id="next"), args=[ast.GeneratorExp() as items, *_]):
                yield from self._first_of(node, items)
            case ast.Call(func=ast.Name(id="print"), keywords=keywords):
                has_files = "io" in self._known.modules.values() and "print" not in self._assigned
                if has_files and any(map(_is_file, keywords)):
                    yield Edit(*_span(node.func), f"{self._variable('io')}.print_to")
            case ast.Call(func=ast.Attribute(value=value, attr="sub" | "subn")):
                yield from self._replacement(node, node.func, value)
            case _:
                pass

    def _first_of(self, call: ast.Call, items: ast.GeneratorExp) -> Iterator[Edit]:
        """Have `next` ask an iterator: a generator expression is a list in Monty."""
        if not {"next", "iter"}.isdisjoint(self._assigned):
            return
        start, end = _span(items)
        if end == _span(call)[1]:  # `next(x for x in y)` has one pair of brackets for both
            yield Edit(start, start, "(iter")
            yield Edit(end, end, ")")
        else:
            yield Edit(start, start, "iter")

    def _replacement(self, call: ast.Call, function: ast.expr, value: ast.expr) -> Iterator[Edit]:
        """Have stand-ins take functions that replace matches."""
        if module_of(value, self._known.modules) == "re":
            repl = _argument(call, 1, "repl")
            if getattr(function, "attr", "") == "sub" and (repl is None or is_text(repl)):
                self._stays.add(function)  # Monty's own is quicker
            return
        match _argument(call, 0, "repl"):
            case ast.Lambda():
                pass
            case ast.Name(id=name) if name in self._known.functions:
                pass
            case _:
                return
        start, end = _span(value)
        yield Edit(start, start, f"{self._variable('re')}.pattern(")
        yield Edit(end, end, ")")


def _argument(call: ast.Call, number: int, name: str) -> ast.expr | None:
    if len(call.args) > number:
        return call.args[number]
    return next((each.value for each in call.keywords if each.arg == name), None)


def _is_file(keyword: ast.keyword) -> bool:
    """Tell whether `print` is told of a file that is not one of Monty's."""
    match keyword:
        case ast.keyword(arg="file", value=ast.Attribute(value=ast.Name(id="sys"))):
            return False
        case ast.keyword(arg=arg):
            return arg == "file"


def _alias(alias: ast.alias) -> str:
    return alias.name if alias.asname is None else f"{alias.name} as {alias.asname}"


def _is_in_one_line(node: ast.expr) -> bool:
    return node.lineno == node.end_lineno


def _span(node: ast.stmt | ast.expr) -> tuple[Place, Place]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def _edited(code: str, edits: Sequence[Edit]) -> str:
    """Make edits from the last to the first: those of nothing come before what they stand at."""
    if not edits:
        return code
    lines = [line.encode() for line in code.split("\n")]
    for edit in sorted(edits, key=lambda each: (each.start, each.end), reverse=True):
        (first, start), (last, end) = edit.start, edit.end
        before, behind = lines[first - 1][:start], lines[last - 1][end:]
        changed = before + edit.text.encode() + behind
        lines[first - 1 : last] = changed.split(b"\n")
    return b"\n".join(lines).decode()
