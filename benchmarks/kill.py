"""Kill: how many finished calls of a large batch a kill loses, because SQLite has not saved them.

    python benchmarks/kill.py

A thousand calls of 50 ms, 64 at once, killed after some seconds. `group commit` is the package as
it is; `one by one` is a saver class of the user's own, which the package leaves alone: LangGraph's
`AsyncSqliteSaver` under another name.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import Mock, mock_server
from scenarios import fan_out
from worker import Job, main

SIDES = ("group commit", "one by one")
SECONDS = (2.0, 3.0)


def killed(mock: Mock, side: str, seconds: float) -> tuple[int, int]:
    """Count the calls that were answered and the answers that were saved when a run was killed."""
    work = fan_out()[1].work
    mock.set_program(work.program)
    with tempfile.TemporaryDirectory() as folder:
        url = f"{mock.url}/v1"
        job = Job(side="sqlite", mb=work.mb, at_once=work.at_once, url=url, folder=folder)
        process = subprocess.Popen([sys.executable, __file__, side, json.dumps(job)])
        while not calls_ended(mock):
            time.sleep(0.02)
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        database = sqlite3.connect(Path(folder, "run.db"))
        [saved] = database.execute(
            "SELECT count(*) FROM writes WHERE channel = 'log' AND task_path LIKE '%push%'"
        ).fetchone()
        database.close()
        return calls_ended(mock), saved


def calls_ended(mock: Mock) -> int:
    """Count the sub-calls that have ended."""
    return sum(call["model"] != "root" and bool(call["left"]) for call in mock.calls())


def one_by_one() -> None:
    """Make the worker's saver a class of its own."""
    import langgraph.checkpoint.sqlite.aio as module

    class Own(module.AsyncSqliteSaver):
        """LangGraph's saver, unchanged."""

    module.AsyncSqliteSaver = Own


if __name__ == "__main__":
    if len(sys.argv) == 3:
        if sys.argv[1] == "one by one":
            one_by_one()
        main(json.loads(sys.argv[2]))
    else:
        with mock_server() as server:
            for name in SIDES:
                for after in SECONDS:
                    ended, held = killed(server, name, after)
                    print(
                        f"{name}, killed after {after:g} s: {ended} calls answered, {held} saved",
                        flush=True,
                    )
