"""The layout is the architecture: rooms import one way, files stay small, and importing the package loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.structure import (
    NAME,
    ROOT,
    arrows,
    files,
    module_of,
    parsed,
    private_uses,
    room_of,
)

PACKAGE = ROOT / NAME
ORDER = [
    "lazy",
    "errors",
    "processes",
    "documents",
    "pregel",
    "budget",
    "storage",
    "tables",
    "models",
    "log",
    "schemas",
    "prompts",
    "tools",
    "options",
    "progress",
    "state",
    "telemetry",
    "repl",
    "coverage",
    "runtime",
    "as_tool",
    "remote",
    "nodes",
    "rlm_graph",
    "graph",
    "history",
    "trace",
    "testing",
    "chat",
    "agents",
    "hosting",
    "server",
    "ui",
    "mcp",
    "acp",
    "cli",
    "__main__",
]
"""Lower rooms first: a room imports only from rooms before it."""

NEVER = {
    "the chat model calls a graph, not its nodes": ("chat", "nodes"),
    "the edge does not know the nodes": ("rlm_graph", "nodes"),
    "an interpreter writes no prompt": ("repl", "prompts"),
    "the server knows no command": ("server", "cli"),
    "nor does the page's server": ("ui", "cli"),
    "history reads checkpoints, not nodes": ("history", "nodes"),
    "a trace reads checkpoints, not nodes": ("trace", "nodes"),
    "the REPL knows no models": ("repl", "models"),
    "tools know no nodes": ("tools", "nodes"),
    "what leans on other libraries' inside leans on nothing of ours": ("pregel", "storage"),
    "storage does not know what it keeps": ("storage", "log"),
    "a model's client knows no budget": ("models", "budget"),
}
"""Arrows that the architecture does not allow, by the sentence that says why."""


def test_every_room_has_its_place() -> None:
    assert {room_of(module_of(path, PACKAGE)) for path in files(PACKAGE)} - {""} == set(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_rooms_import_one_way(room: str) -> None:
    below = set(ORDER[: ORDER.index(room)])
    assert {there for here, there in arrows(PACKAGE) if here == room} <= below


@pytest.mark.parametrize("sentence", NEVER)
def test_what_the_architecture_does_not_allow(sentence: str) -> None:
    assert NEVER[sentence] not in arrows(PACKAGE)


def test_private_parts_of_other_libraries_are_named_in_one_room() -> None:
    outside = [path for path in files(PACKAGE) if "pregel" not in path.parts]
    assert not [use for path in outside for use in private_uses(path)]


@pytest.mark.parametrize("path", files(PACKAGE), ids=lambda path: module_of(path, PACKAGE))
def test_a_file_is_at_most_400_lines_and_says_what_it_is(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    assert ast.get_docstring(parsed(path))


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, langgraph_rlm; print([m for m in ('langgraph', 'langchain_core', 'pydantic', 'jinja2') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


HEAVY = [
    "aiohttp",
    "anthropic",
    "deepagents",
    "duckdb",
    "fsspec",
    "genai_prices",
    "jinja2",
    "jsonschema",
    "kreuzberg",
    "langchain",
    "langchain_openai",
    "mcp",
    "numpy",
    "openai",
    "pandas",
    "PIL",
    "prometheus_client",
    "psycopg",
    "pydantic_monty",
    "re2",
    "referencing",
    "starlette",
    "time_machine",
    "uvicorn",
    "yaml",
]
"""What takes long to import, or is an extra, and is not needed for a graph that can be called."""

LATER_ROOMS = ORDER[ORDER.index("history") : ORDER.index("__main__")]
LATER = [f"langgraph_rlm.{room}" for room in LATER_ROOMS] + [
    f"langgraph_rlm.repl.{module}" for module in ("contract", "local", "monty", "python")
]


def test_a_graph_is_made_without_what_it_does_not_use() -> None:
    """With a model that is handed over: its own package is the caller's to import, and no other is."""
    code = (
        "import sys\n"
        "from langchain_core.language_models.fake_chat_models import FakeListChatModel\n"
        "from langgraph_rlm import create_rlm\n"
        "assert callable(create_rlm(FakeListChatModel(responses=['x'])).invoke)\n"
        f"print([name for name in {HEAVY + LATER!r} if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_public_name_can_be_imported() -> None:
    import langgraph_rlm

    for name in langgraph_rlm.__all__:
        assert getattr(langgraph_rlm, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = langgraph_rlm.nothing
