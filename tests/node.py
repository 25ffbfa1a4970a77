"""Node: programs over npm's packages, where the machine has Node.js and npm reaches them."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest


def played(folder: Path, program: str, *packages: str, **env: str) -> Any:
    """Run a program of a folder with some packages, and give its last line as JSON; skip the test where they cannot be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")

    def ran(*command: str) -> "subprocess.CompletedProcess[str]":
        options: dict[str, Any] = {"cwd": folder, "env": os.environ | env, "timeout": 90}
        return subprocess.run(command, capture_output=True, text=True, check=False, **options)

    installed = ran(npm, "install", "--no-audit", "--no-fund", *packages)
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install {', '.join(packages)}: {installed.stderr[-300:]}")
    out = ran(node, program)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout.splitlines()[-1])
