"""Every notebook runs from top to bottom, offline, in this interpreter, and its stored outputs name no machine."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


class ThisInterpreter(AsyncKernelManager):
    """The kernel of the tests' own Python, whatever kernels the machine has installed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **options)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_as_it_is_stored(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No cell raises, what it prints is what the file shows, and there is a plot where the file has one (the quickstart has)."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    stored = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(
        fresh,
        kernel_manager_class=ThisInterpreter,
        kernel_name="python3",
        timeout=60,
        resources=place,
    ).execute()
    assert [shown(cell) for cell in fresh.cells] == [shown(cell) for cell in stored.cells]
    assert any("image/png" in kinds for _, kinds in map(shown, fresh.cells)) == (
        "quickstart" in path.stem
    )


def shown(cell: Any) -> tuple[str, set[str]]:
    """What a cell printed, and the kinds of its rich outputs."""
    outputs = cell.get("outputs", [])
    printed = "".join(output["text"] for output in outputs if output.get("name") == "stdout")
    return printed, {kind for output in outputs for kind in output.get("data", {})}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_is_small_and_names_no_machine(path: Path) -> None:
    text = path.read_text()
    assert len(text) < 200_000
    assert not re.search(r"/(home|Users|root|tmp|work)/|\w:\\\\Users", text)
    assert os.path.dirname(sys.executable) not in text
