"""Stand-ins: modules for Monty that it lacks, or lacks parts of, in what it has of Python.

Their files, in `guest/`, are read here and run in the guest alone, as the code of a cell runs:
whatever code does with them, it does to itself. A file gives what its `__all__` names.
"""

from functools import cache
from html.entities import html5
from importlib import import_module
from pathlib import Path
from textwrap import indent

MODULES = (
    *("calendar", "heapq", "html", "io", "operator", "statistics", "string", "textwrap"),
    "urllib.parse",
)
"""Modules that Monty does not have at all."""

PARTS = ("dataclasses", "datetime", "functools", "re", "typing")
"""Modules that Monty has, and whose stand-ins have what it lacks of them."""

INNER_NAMES = frozenset({"pattern", "print_to"})
"""Names in stand-ins that code does not write itself."""

PREFIX = "_rlm_module_"
"""Begins the guest's variable of a stand-in."""

GUEST = f"{__name__}.guest"
"""The package of their sources."""

ENTITIES = "from html.entities import html5\n"


def variable_of(module: str) -> str:
    """Give the guest's variable that holds the stand-in for a module."""
    return PREFIX + file_of(module)


@cache
def names_of(module: str) -> frozenset[str]:
    """Give what the stand-in for a module has, of what code may name."""
    names = import_module(f"{GUEST}.{file_of(module)}").__all__
    return frozenset(names) - INNER_NAMES


@cache
def source_of(module: str) -> str:
    """Write the source that binds the stand-in for a module to its variable.

    All of it is in one function, so that it binds no other name.
    """
    file = file_of(module)
    body = (Path(__file__).parent / "guest" / f"{file}.py").read_text(encoding="utf-8")
    body = body.replace(ENTITIES, f"html5 = {html5!r}\n")
    names = import_module(f"{GUEST}.{file}").__all__
    kind = file if module in MODULES else f"part_of_{file}"
    package, _, name = module.rpartition(".")
    lines = [
        f"class {kind}:",
        "    def __repr__(self):",
        f'        return "<module {module!r}>"',
        f"made = {kind}()",
        *(f"made.{name} = {name}" for name in names),
    ]
    if package:
        lines += [f"class {package}:", "    pass"]
        lines += [f"made.{package} = {package}()", f"made.{package}.{name} = made"]
    made = f"{PREFIX}make_{file}"
    inner = indent("\n".join([body, *lines, "return made"]), "    ")
    return f"def {made}():\n{inner}\n{PREFIX}{file} = {made}()\n"


def file_of(module: str) -> str:
    """Give the name of a stand-in's file, which its class in the guest bears too."""
    return module.replace(".", "_")
