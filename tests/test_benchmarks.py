"""Benchmarks: the scenarios of `benchmarks/run.py` run, are told, and leave nothing out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def run(folder: Path, *arguments: str) -> Any:
    """Run the command at a tenth of its sizes, once for each side, and give its figures."""
    figures = folder / "figures.json"
    files = ["--json", figures, "--markdown", folder / "tables.md", "--chart", folder / "chart.png"]
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "benchmarks" / "run.py",
            *arguments,
            "--quick",
            "--reps",
            "1",
            *files,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(figures.read_text())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_scenarios_with_a_server_and_without_one_give_rows_tables_and_a_chart(
    tmp_path: Path,
) -> None:
    """Each side has a row of each measure, compared with its reference; this checkout stands for another one too."""
    found = run(tmp_path, "sequential", "turns", "--package", str(ROOT))
    sides = {(row["scenario"], row["side"]) for row in found["rows"]}
    for scenario in ("sequential", "turns"):
        assert {(scenario, side) for side in ("plain", "sqlite", "before/sqlite")} <= sides
    for row in found["rows"]:
        if row["side"] == "plain" or row["unit"] == "x":
            assert row["reference"] == ""
        else:
            assert row["reference"] == "plain"
        assert len(row["values"]) == len(row["loads"]) == 1
    assert "`before/sqlite`" in (tmp_path / "tables.md").read_text()
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_database_that_is_away_is_measured_and_its_statements_are_counted() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "network.py", "--ms", "1", "--work", "turn"]
    done = subprocess.run(
        [*command, "--side", "one", "pool"], capture_output=True, text=True, check=False
    )
    if "CannotStart" in done.stderr:
        pytest.skip(f"no PostgreSQL server: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    found = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| 1 |")]
    assert [row[3].strip() for row in found] == ["one", "pool"]
    assert all(5 <= int(row[7]) <= int(row[6]) <= 20 for row in found)
