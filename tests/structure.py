"""Structure: the package's rooms and the arrows between them, and counts of what makes code hard to read.

    python tests/structure.py            # of this checkout
    python tests/structure.py PATH       # of another one, such as an older commit in a worktree

A room is a folder, or a file that stands beside the folders; an arrow is an import of one room by another, wherever
in the file it stands. `test_layout.py` holds the order of rooms; the counts are for people.
"""

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAME = "langgraph_rlm"
LONG_FUNCTION, LONG_FILE = 40, 400

OURS = frozenset({"self", "cls", "os"})
"""Names of objects whose private parts are the file's own; and `os`, whose `_exit` is documented."""
PRIVATE_KEYS = re.compile(r"__pregel\w*|__interrupt__|__openai_role__|langgraph\._\w+.*")
"""Private keys of LangGraph and LangChain, as strings."""
PRIVATE_NAMES = frozenset(
    {"var_child_runnable_config", "CONFIG_KEY_CHECKPOINTER", "CONFIG_KEY_SCRATCHPAD"}
)
"""Names that LangGraph and LangChain do not document, though no underscore says so."""


@lru_cache(maxsize=1024)
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def files(package: Path) -> list[Path]:
    """The Python files of a package, in order of their names."""
    return sorted(package.rglob("*.py"))


def module_of(path: Path, package: Path) -> str:
    """`budget.ledger` for the file `budget/ledger.py`, `budget` for `budget/__init__.py`, "" for the package's own."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The room that a module is in."""
    return module.partition(".")[0]


def imported(path: Path, package: Path, known: set[str]) -> set[str]:
    """The modules of the package, of all that are `known`, that a file imports, inside functions and for types too."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in names if name.removeprefix(f"{NAME}.") in known} or {
                node.module
            }
    return {name.removeprefix(f"{NAME}.") for name in found if name.startswith(f"{NAME}.")}


@lru_cache(maxsize=8)
def arrows(package: Path) -> set[tuple[str, str]]:
    """Who imports whom, by rooms. The package's own `__init__`, which only hands names on, is no room."""
    found: set[tuple[str, str]] = set()
    known = {module_of(each, package) for each in files(package)}
    for path in files(package):
        here = room_of(module_of(path, package))
        if here:
            found |= {
                (here, room_of(module))
                for module in imported(path, package, known)
                if room_of(module) != here
            }
    return found


def layers(package: Path) -> int:
    """Rooms on the longest way of imports from a room down to one that imports none."""
    below: dict[str, set[str]] = {}
    for here, there in arrows(package):
        below.setdefault(here, set()).add(there)

    @lru_cache(maxsize=1024)
    def height(room: str) -> int:
        return 1 + max((height(other) for other in below.get(room, ())), default=0)

    return max(height(room) for room in below)


def code_lines(path: Path) -> int:
    """Lines of a file that are code: no blank ones, comments or docstrings."""
    kinds = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
        tokenize.ENCODING,
    )
    tree, told = parsed(path), set[int]()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            told.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    with path.open("rb") as file:
        tokens = [token for token in tokenize.tokenize(file.readline) if token.type not in kinds]
    return len(
        {line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - told
    )


def private_uses(path: Path) -> Iterator[str]:
    """Private parts of other libraries that a file names: `file.py:12 _arun`."""
    tree = parsed(path)
    own = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    own |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    own |= {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and re.match(r"_[a-z]", node.attr)
            and node.attr not in own
        ):
            if not (isinstance(node.value, ast.Name) and node.value.id in OURS):
                yield f"{path.name}:{node.lineno} {node.attr}"
        elif isinstance(node, ast.ImportFrom) and re.search(r"(^|\.)_[a-z]", node.module or ""):
            yield f"{path.name}:{node.lineno} {node.module}"
        elif isinstance(node, ast.ImportFrom) and any(
            alias.name in PRIVATE_NAMES for alias in node.names
        ):
            yield f"{path.name}:{node.lineno} {', '.join(alias.name for alias in node.names)}"
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and PRIVATE_KEYS.fullmatch(node.value)
        ):
            yield f"{path.name}:{node.lineno} {node.value}"
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("getattr", "setattr")
        ):
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else ""
            if re.match(r"_[a-z]", str(name)) and str(name) not in own:
                yield f"{path.name}:{node.lineno} {name}"


def report(package: Path) -> Iterator[str]:
    """The figures, a line each."""
    paths = files(package)
    found, lines = arrows(package), sum(map(code_lines, paths))
    nodes = [node for path in paths for node in ast.walk(parsed(path))]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    sizes = sorted((node.end_lineno or 0) - node.lineno + 1 for node in functions)
    conditional = sum(isinstance(node, ast.IfExp) for node in nodes)
    casts = sum(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cast"
        for node in nodes
    )
    rooms = {room_of(module_of(path, package)) for path in paths} - {""}
    outside = [use for path in paths if "pregel" not in path.parts for use in private_uses(path)]
    widest = max(len(line) for path in paths for line in path.read_text().splitlines())
    yield f"rooms {len(rooms)}, layers {layers(package)}, arrows {len(found)}"
    yield f"files {len(paths)}, of over {LONG_FILE} lines {sum(len(path.read_text().splitlines()) > LONG_FILE for path in paths)}"
    yield f"lines of code {lines} (without blank lines, comments and docstrings), the longest of {widest} columns"
    yield (
        f"functions {len(functions)}, lines median {sizes[len(sizes) // 2]}, 95th percentile {sizes[len(sizes) * 95 // 100]}, "
        f"of over {LONG_FUNCTION} lines {sum(size > LONG_FUNCTION for size in sizes)}"
    )
    yield f"per 1,000 lines of code: conditional expressions {conditional * 1000 / lines:.1f} ({conditional}), casts {casts * 1000 / lines:.1f} ({casts})"
    yield f"private names of other libraries outside pregel/: {len(outside)}"
    yield from (f"  {use}" for use in outside)


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    print("\n".join(report(root / NAME)))
