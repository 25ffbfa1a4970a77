"""The campaign of `benchmarks/workers.py`, and its figures: short ones of each."""

import subprocess
import sys
from pathlib import Path

import pytest

from ..faults.databases import CannotStart
from .cluster import ROOT, engine_python

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def ran(*options: str) -> str:
    """What the benchmark prints; it says nothing of failures."""
    try:
        engine_python()
    except CannotStart as error:
        pytest.skip(str(error))
    command = [sys.executable, str(ROOT / "benchmarks" / "workers.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("fault", ["kill", "stop", "cut"])
def test_workers_that_are_hit_lose_nothing_that_was_saved(fault: str) -> None:
    told = ran("--quick", "--faults", fault, "--seed", "1")
    assert "| asked again, though saved | 0 |" in told
    assert "| budgets over | 0 |" in told


def test_figures_and_what_is_made_of_them(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    told = ran("--throughput", "--runs", "8", "--rate", "0.1", "--json", str(figures))
    assert "FAILED" not in told
    assert "100,000 runs a day" in ran("--paper", str(figures))
