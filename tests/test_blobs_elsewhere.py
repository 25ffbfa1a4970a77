"""Blobs elsewhere: machines that share a database or a bucket, and no folder."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import psycopg

from .faults.databases import Postgres
from .stores import postgres_server, s3_server

__all__ = ["postgres_server", "s3_server"]
ROOT = Path(__file__).parent.parent


def new_database(server: Postgres) -> str:
    """The URL of a database of its own."""
    name = f"rlm_{uuid4().hex[:12]}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.url.replace("@/postgres?", f"@/{name}?")


def machine(tmp_path: Path, name: str, *arguments: str) -> None:
    """Run a process whose home, cache and temporary files are its own; it must end well."""
    home = tmp_path / name
    (home / "tmp").mkdir(parents=True)
    own = {"HOME": home, "XDG_DATA_HOME": home, "XDG_CACHE_HOME": home, "TMPDIR": home / "tmp"}
    environment = {**os.environ, **{key: str(value) for key, value in own.items()}}
    for shared in ("LANGGRAPH_RLM_STORE", "LANGGRAPH_RLM_CACHE"):
        environment.pop(shared, None)
    command = [sys.executable, "-m", "tests.blob_process", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "done" in done.stdout


def test_a_follow_up_on_another_machine_needs_no_shared_folder(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    """The checkpoints and the blobs are in one database: an approval is answered there, a context
    of 5 MB read, a file of code given back, and a fork made."""
    url = new_database(postgres_server)
    machine(tmp_path, "first", "ask", url)
    machine(tmp_path, "second", "follow", url)
