"""The layout is the architecture: imports point one way, files stay small, and importing the package loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "langgraph_rlm"
ORDER = [
    "lazy", "errors", "limits", "homes", "blobs", "files", "context", "reads", "usage", "log", "prices", "ledger", "convoy", "parsing", "progress", "prompts", "models", "clients", "schemas", "structured",
    "tools.arguments", "tools.results", "tools.own", "tools.external", "tools", "approvals", "toolset",
    "repl.base", "repl.calls", "repl.host", "repl.watch", "repl.replay", "repl.local_worker", "repl.local", "repl.monty", "repl.sessions", "repl",
    "state", "runtime",
    "nodes", "nodes.ingest", "nodes.native_calls", "nodes.conversation", "nodes.compaction", "nodes.plan_code", "nodes.execute_repl", "nodes.structured_query", "nodes.sub_call", "nodes.tool_interrupt", "nodes.finalize",
    "loops", "group_commit", "savers", "leases", "compiled", "graph",
    "chat", "chat.apart", "chat.ids", "chat.memory", "chat.approvals", "chat.intake", "chat.requests", "chat.schemas", "chat.records", "chat.replies", "chat.runs", "chat.tasks", "chat.direct", "chat.calls", "chat.wrappers", "chat_model",
    "forks", "trajectory", "retrace", "testing", "demo", "display", "threads",
    "server.errors", "server.settings", "server.requests", "server.replies", "server.savers", "server.chats", "server.openapi", "server.engine", "server.wire", "server.worker", "server.process", "server.protocol", "server.app", "server.run", "server",
    "cli", "__main__",
]  # fmt: skip
"""Lower rooms first: a room imports only from rooms before it."""

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("langgraph_rlm."):
            module = (node.module or "").removeprefix("langgraph_rlm.")
            rooms = {f"{module}.{alias.name}" for alias in node.names} & set(ORDER)
            names |= rooms or {module}
        elif isinstance(node, ast.Import):
            names.update(
                alias.name.removeprefix("langgraph_rlm.")
                for alias in node.names
                if alias.name.startswith("langgraph_rlm.")
            )
    return names


@pytest.mark.parametrize("path", FILES, ids=room)
def test_imports_point_one_way(path: Path) -> None:
    here = room(path)
    assert here in ORDER, f"give {here!r} a place in ORDER"
    below = set(ORDER[: ORDER.index(here)])
    if here == "repl":  # opens the backends, which are rooms of its own
        below |= {"repl.monty", "repl.local"}
    assert imported(path) <= below


@pytest.mark.parametrize("path", FILES, ids=room)
def test_a_file_is_at_most_400_lines_and_says_what_it_is(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    assert room(path) == "nodes" or ast.get_docstring(ast.parse(path.read_text()))


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, langgraph_rlm; print([m for m in ('langgraph', 'langchain_core', 'pydantic', 'jinja2') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_public_name_can_be_imported() -> None:
    import langgraph_rlm

    for name in langgraph_rlm.__all__:
        assert getattr(langgraph_rlm, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = langgraph_rlm.nothing
