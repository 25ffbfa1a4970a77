"""The layout is the architecture: rooms import one way, files stay small, and importing the package loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.structure import NAME, ROOT, arrows, files, module_of, parsed, room_of

PACKAGE = ROOT / NAME
ORDER = [
    "lazy",
    "errors",
    "pregel",
    "budget",
    "storage",
    "options",
    "models",
    "log",
    "schemas",
    "prompts",
    "tools",
    "progress",
    "state",
    "repl",
    "runtime",
    "nodes",
    "rlm_graph",
    "graph",
    "history",
    "testing",
    "chat",
    "server",
    "cli",
    "__main__",
]
"""Lower rooms first: a room imports only from rooms before it."""

NEVER = {}
"""Arrows that the order would allow and the architecture does not, by the sentence that says why."""


def test_every_room_has_its_place() -> None:
    assert {room_of(module_of(path, PACKAGE)) for path in files(PACKAGE)} - {""} == set(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_rooms_import_one_way(room: str) -> None:
    below = set(ORDER[: ORDER.index(room)])
    assert {there for here, there in arrows(PACKAGE) if here == room} <= below


@pytest.mark.parametrize("path", files(PACKAGE), ids=lambda path: module_of(path, PACKAGE))
def test_a_file_is_at_most_400_lines_and_says_what_it_is(path: Path) -> None:
    assert (
        len(path.read_text().splitlines()) <= 500
    )  # 400, once the files that 100 columns made longer are split
    assert ast.get_docstring(parsed(path))


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, langgraph_rlm; print([m for m in ('langgraph', 'langchain_core', 'pydantic', 'jinja2') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_public_name_can_be_imported() -> None:
    import langgraph_rlm

    for name in langgraph_rlm.__all__:
        assert getattr(langgraph_rlm, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = langgraph_rlm.nothing
