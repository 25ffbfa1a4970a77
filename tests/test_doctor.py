"""`langgraph-rlm doctor`: each part is tried for real, and a fault says what to do."""

import json
import sqlite3
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from langgraph_rlm.cli import doctor as parts
from langgraph_rlm.cli.main import main
from langgraph_rlm.errors import SandboxError
from langgraph_rlm.models.resolve import BASE_VARIABLES
from langgraph_rlm.repl import SANDBOXES


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*parts.KEYS, *BASE_VARIABLES, parts.MODEL_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANGGRAPH_RLM_STORE", str(tmp_path / "blobs"))


def run(*arguments: str, db: Path) -> Result:
    return CliRunner().invoke(main, ["doctor", "--db", str(db), *arguments])


def findings(*arguments: str, db: Path) -> dict[str, dict[str, Any]]:
    out = json.loads(run(*arguments, "--json", db=db).stdout)
    return {finding["part"]: finding for finding in out["findings"]}


def test_it_tries_every_sandbox_and_names_what_is_there(tmp_path: Path) -> None:
    found = findings(db=tmp_path / "new" / "threads.db")
    for name in SANDBOXES:
        assert found[f"sandbox {name}"]["mark"] in ("ok", "none")
    assert found["sandbox monty"]["mark"] == "ok"
    assert "NO isolation" in found["sandbox local"]["said"]
    assert found["langgraph"]["said"][0].isdigit()
    assert "to be made" in found["database"]["said"]
    assert str(tmp_path / "blobs") in found["blob store"]["said"]
    assert found["model"]["mark"] == "none"
    assert not (tmp_path / "new").exists()  # it only looks


def test_lines_are_for_people_and_the_exit_code_for_scripts(tmp_path: Path) -> None:
    good = run(db=tmp_path / "threads.db")
    assert good.exit_code == 0
    assert any(
        line.startswith("ok") and "sandbox monty" in line for line in good.stdout.splitlines()
    )
    (tmp_path / "no.db").write_text("this is no database, however long it may be " * 40)
    bad = run(db=tmp_path / "no.db")
    assert bad.exit_code == 1
    assert any(line.startswith("FAIL database") for line in bad.stdout.splitlines())


def test_keys_are_looked_for_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv(parts.MODEL_VARIABLE, "openai:gpt-5")
    out = run(db=tmp_path / "threads.db")
    assert "secret" not in out.output
    found = findings(db=tmp_path / "threads.db")
    assert found["OPENAI_API_KEY"]["said"] == "set"
    assert found["window"]["said"] == "272,000 tokens"
    assert found["price"]["mark"] in ("ok", "none")


@pytest.mark.parametrize("model", ["foo:bar", "gpt-5", ""])
def test_a_model_that_cannot_be_used_is_a_fault_with_what_to_do(model: str, tmp_path: Path) -> None:
    found = findings("--model", model or ":", db=tmp_path / "threads.db")
    assert found["model"]["mark"] == "fault"
    assert found["model"]["said"]


def test_threads_are_counted_and_a_locked_database_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    db = tmp_path / "threads.db"
    with sqlite3.connect(db) as connection:
        connection.execute("CREATE TABLE checkpoints (thread_id TEXT)")
        connection.executemany("INSERT INTO checkpoints VALUES (?)", [("a",), ("a",), ("b",)])
    assert "2 threads" in findings(db=db)["database"]["said"]
    monkeypatch.setattr(parts, "LOCK_SECONDS", 0.1)
    connection.execute("BEGIN EXCLUSIVE")
    assert findings(db=db)["database"]["mark"] == "fault"
    connection.close()


def test_a_store_that_cannot_be_written_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("LANGGRAPH_RLM_STORE", str(tmp_path / "file" / "blobs"))
    assert findings(db=tmp_path / "threads.db")["blob store"]["mark"] == "fault"


def test_a_sandbox_that_lets_code_out_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As if `local` said that it isolates."""
    monkeypatch.setattr(parts, "OPEN_TO_THE_HOST", ())
    found = findings(db=tmp_path / "threads.db")["sandbox local"]
    assert found["mark"] == "fault"
    assert "code got out" in found["said"]


def test_a_sandbox_that_cannot_be_had_is_said_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(name: str) -> Any:
        raise SandboxError("no kernel for it: use another")

    monkeypatch.setattr(parts, "open_backend", refuse)
    out = run("--json", db=tmp_path / "threads.db")
    found = {each["part"]: each for each in json.loads(out.stdout)["findings"]}
    assert found["sandbox monty"]["mark"] == "none"
    assert "no kernel for it: use another" in found["sandbox monty"]["said"]
    assert found["sandboxes"]["mark"] == "fault"  # nothing isolates here
    assert out.exit_code == 1


def test_it_says_what_sends_the_requests_of_models_by_name(tmp_path: Path) -> None:
    found = findings(db=tmp_path / "threads.db")["transport"]
    assert (found["mark"], found["said"]) == ("ok", f"aiohttp {version('aiohttp')}")
