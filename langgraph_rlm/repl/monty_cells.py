"""Monty's cells: what is done with a cell before Monty gets it. Runs nothing of it.

A cell with syntax or imports that Monty lacks is refused, with all that it lacks in one error.
"""

import ast
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from langgraph_rlm.log.python import assigned_names, parsed
from langgraph_rlm.repl import stand_ins
from langgraph_rlm.repl.base import CellError, SessionSpec
from langgraph_rlm.repl.imports import Import, needed_imports
from langgraph_rlm.repl.monty_exceptions import with_text_exceptions
from langgraph_rlm.repl.monty_stand_ins import (
    Known,
    after,
    can_change,
    needed_names,
    provides,
    with_stand_ins,
)
from langgraph_rlm.repl.monty_syntax import Problem, syntax_problems
from langgraph_rlm.repl.ways_around import PLAIN, way_around

MODULES = (
    *("asyncio", "base64", "binascii", "bisect", "collections", "copy", "csv", "dataclasses"),
    *("datetime", "decimal", "functools", "hashlib", "itertools", "json", "math", "os", "os.path"),
    *("pathlib", "posixpath", "random", "re", "sys", "time", "tomllib", "typing", "unicodedata"),
)
"""The modules that Monty has; a test asks it for each module of the standard library."""

OF_THE_SYSTEM = frozenset({"binascii", "os", "os.path", "pathlib", "posixpath", "sys", "tomllib"})
"""Those of `MODULES` that are of little use without files: no text for models lists them."""

USEFUL_MODULES = tuple(
    sorted({name for name in MODULES if name not in OF_THE_SYSTEM} | {*stand_ins.MODULES})
)
"""What texts for models list: modules of Monty, and those that have stand-ins."""

KNOWN = frozenset({*MODULES, *stand_ins.MODULES})

MAX_PROBLEMS = 20
"""Most problems that the refusal of a cell lists."""

MAX_IMPORTS = 200
"""Most imports of a cell that are tried before it runs; more fail where they stand."""

NAME_WAYS = {
    "OrderedDict": "A dict keeps the order of its keys.",
    "ChainMap": "Merge dicts: {**a, **b}.",
    "cached_property": "Use a method.",
    "total_ordering": "Give sorted() a key=.",
    "cmp_to_key": "Give sorted() a key=.",
    "NamedTuple": "Use @dataclass on a class without bases, or collections.namedtuple.",
    "TypedDict": "Use a plain dict.",
    "NormalDist": "Work with mean() and stdev().",
    "linear_regression": "Work it out with mean() and sums.",
    "correlation": "Work it out with mean() and sums.",
    "Template": "Use an f-string or str.format().",
    "BytesIO": "Work with bytes.",
    "TextWrapper": "Use textwrap.wrap() with the same options.",
    "TextCalendar": "Print the days of calendar.monthcalendar().",
    "VERBOSE": "Write the pattern without spaces.",
}
"""The way around a name that a module lacks."""

Missing = Callable[[Sequence[Import]], Collection[Import]]
"""Tells which of some imports Monty does not have."""


def name_way(name: str) -> str:
    """Give the way around a name that a module lacks, as a sentence."""
    return NAME_WAYS.get(name, PLAIN)


def refusal(
    tree: ast.Module, missing: Missing, given: Callable[[Import], bool], names: Sequence[Import]
) -> CellError | None:
    """Give the error of a cell that Monty cannot run; None for one that it may.

    Args:
        tree: of the cell.
        missing: asks Monty.
        given: tells whether a stand-in has what an import takes.
        names: what the cell takes from modules that have nothing but stand-ins.
    """
    problems = syntax_problems(tree)
    imports = [each for each in needed_imports(tree) if not given(each)][:MAX_IMPORTS]
    lacking = {*(missing(imports) if imports else ()), *(each for each in names if not given(each))}
    problems += [_import_problem(each) for each in [*imports, *names] if each in lacking]
    if not problems:
        return None
    problems.sort(key=lambda problem: problem.line)
    kind = "ModuleNotFoundError" if len(lacking) == len(problems) else "NotImplementedError"
    told = ["This interpreter does not have:", *_listed(problems)]
    if any(each.module not in KNOWN for each in lacking):
        told.append(f"The modules that it has: {', '.join(USEFUL_MODULES)}.")
    lines = "\n".join(told)
    # the message alone is in the digest of a log: the ways around may be put in other words
    message = ", ".join(f"{each.what} in line {each.line}" for each in problems[:MAX_PROBLEMS])
    return CellError(kind, message, f"{kind}: {lines}")


def _import_problem(found: Import) -> Problem:
    if found.name is None or found.module not in KNOWN:
        return Problem(found.line, f"the module {found.module}", way_around(found.module))
    return Problem(found.line, f"{found.name} of {found.module}", name_way(found.name))


def _listed(problems: Sequence[Problem]) -> Iterator[str]:
    """Give a line for each problem, with the way around where it is not said yet."""
    said = set[str]()
    for problem in problems[:MAX_PROBLEMS]:
        way = "" if problem.instead in said else f" {problem.instead}"
        said.add(problem.instead)
        yield f"- line {problem.line}: {problem.what}.{way}"
    if len(problems) > MAX_PROBLEMS:
        yield f"- and {len(problems) - MAX_PROBLEMS} more."


class Preparation:
    """What one session knows of its cells."""

    def __init__(self, spec: SessionSpec, missing: Missing) -> None:
        self._spec = spec
        self._missing = missing
        self._hidden: dict[str, frozenset[str]] = {}
        self._needs: dict[str, Sequence[str]] = {}
        self._written: dict[str, str] = {}
        self._known = Known()
        self._has_classes = False
        self._has_final = False
        self.has_begun = False
        """Whether a cell was prepared: those before were not, since their log is of before."""

    @property
    def hands_over_objects(self) -> bool:
        """Whether FINAL may be called with an object of a class of the guest's own."""
        return self._has_classes and self._has_final

    def prepare(self, code: str, rules: int) -> str | CellError:
        """See `Preparing.prepare`. By the rules 2, there were no stand-ins."""
        self.has_begun = True
        tree = parsed(code)
        if tree is None:  # of a newer Python than the host's
            self._note(code, code, _functions_in(code, self._spec))
            return code
        has_stand_ins = rules > 2 and can_change(code)
        known = after(tree, self._known)
        given, names = _gives_nothing, list[Import]()
        if has_stand_ins:
            given, names = provides, needed_names(tree, known)
        if (refused := refusal(tree, self._missing, given, names)) is not None:
            return refused
        self._known = known
        changed = with_text_exceptions(code, tree)
        needs: Sequence[str] = ()
        if has_stand_ins:
            if changed != code:
                tree = parsed(changed) or tree
            changed, needs = with_stand_ins(changed, tree, known)
        self._note(code, changed, _hidden(tree, self._spec), needs)
        return changed

    def _note(
        self, code: str, changed: str, hidden: frozenset[str], needs: Sequence[str] = ()
    ) -> None:
        """Note what is known of the cell that is fed next."""
        self._has_classes = self._has_classes or "class" in code or "type(" in code
        self._has_final = self._has_final or "FINAL" in code
        if changed != code:
            pairs = zip(changed.split("\n"), code.split("\n"), strict=True)
            self._written |= {new.strip(): old.strip() for new, old in pairs if new != old}
        self._hidden = {changed: hidden}
        self._needs = {changed: needs}

    def as_dict(self) -> dict[str, Any]:
        """Give what `take_up` takes, as JSON values."""
        return {
            "hidden": {code: sorted(names) for code, names in self._hidden.items()},
            "needs": {code: list(modules) for code, modules in self._needs.items()},
            "written": self._written,
            "modules": dict(self._known.modules),
            "functions": sorted(self._known.functions),
            "flags": [self._has_classes, self._has_final, self.has_begun],
        }

    def take_up(self, about: Mapping[str, Any]) -> None:
        """Know what another one knew when it gave `about`."""
        self._hidden = {code: frozenset(names) for code, names in about["hidden"].items()}
        self._needs = dict(about["needs"])
        self._written = dict(about["written"])
        self._known = Known(dict(about["modules"]), frozenset(about["functions"]))
        self._has_classes, self._has_final, self.has_begun = about["flags"]

    def needed_by(self, code: str) -> Sequence[str]:
        """Give the modules whose stand-ins the cell needs which was prepared last."""
        return self._needs.get(code, ())

    def hidden_by(self, code: str) -> frozenset[str]:
        """Give the names that the cell which was prepared last may hide, by running text as code.

        What is fed without having been prepared hides nothing.
        """
        return self._hidden.get(code, frozenset())

    def as_written(self, traceback: str) -> str:
        """Give a traceback with the lines of cells as their author wrote them."""
        lines = traceback.split("\n")
        return "\n".join(self._as_written(line) for line in lines)

    def _as_written(self, line: str) -> str:
        text = line.lstrip()
        return line[: len(line) - len(text)] + self._written.get(text, text)


def _gives_nothing(_: Import) -> bool:
    return False


def _functions_in(code: str, spec: SessionSpec) -> frozenset[str]:
    return frozenset(name for name in spec.functions if name in code)


def _hidden(tree: ast.Module, spec: SessionSpec) -> frozenset[str]:
    """Give names that a cell may hide without its text assigning to them.

    Binding a function of the host anew changes nothing where it was not hidden; a value would be
    sent again, so only those are given that a text in the cell assigns to.
    """
    nodes = list(ast.walk(tree))
    if not any(isinstance(node, ast.Name) and node.id in ("exec", "eval") for node in nodes):
        return frozenset()
    texts = [node.value for node in nodes if isinstance(node, ast.Constant)]
    assigned = {name for text in texts if isinstance(text, str) for name in assigned_names(text)}
    return spec.functions | assigned.intersection(spec.values)
