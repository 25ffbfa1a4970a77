"""Heavy process: a run whose first cell computes for long, in a process of its own over one SQLite file.

    python -m tests.heavy_process FOLDER start|resume LOOPS

Its second cell calls `wait`, which notes in a file that it was called, and does not end in a process that starts the run. At the end: one line of JSON, with how many cells were run again.
"""

import json
import logging
import re
import sys
import time
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from langgraph_rlm import create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

COUNT = "n = 0\nwhile n < {}:\n    n += 1\nprint('counted', n)"


def main(folder: Path, step: str, loops: int) -> None:
    """Play one step."""

    def wait(text: str) -> str:
        """Wait for a kill."""
        (folder / "waits").touch()
        if step == "start":
            time.sleep(60)
        return text

    again: list[int] = []

    def look(record: logging.LogRecord) -> bool:
        again.extend(int(n) for n in re.findall(r"(\d+) cells run again", record.getMessage()))
        return True

    runs = logging.getLogger("langgraph_rlm.runs")
    runs.setLevel(logging.INFO)
    runs.addFilter(look)
    model = ScriptedModel(replies=[cell(COUNT.format(loops)), cell("FINAL(wait('x') + str(n))")])
    config: Any = {"configurable": {"thread_id": "t"}}
    with SqliteSaver.from_conn_string(str(folder / "db")) as saver:
        graph = create_rlm(
            model,
            tools=[wait],
            checkpointer=saver,
            blob_store=folder / "blobs",
            sandbox="monty",  # the jail has no snapshots
        )
        out = graph.invoke({"query": "go"} if step == "start" else None, config, durability="sync")
    print(json.dumps({"answer": out["answer"], "again": again}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
