"""A run that writes files and is killed in its middle, in a process of its own: `python -m tests.out_process FOLDER SANDBOX KILL`."""

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from langgraph_rlm import create_rlm, save_files
from langgraph_rlm.testing import ScriptedModel, cell

SPREADSHEET = """
import openpyxl, datetime
book = openpyxl.Workbook()
book.active.append(["name", "when", "amount"])
for n in range(50):
    book.active.append([f"row {n}", datetime.datetime.now(), n * 1.5])
book.save("out/table.xlsx")
"""
CHART = """
import matplotlib.pyplot as plt, random
plt.plot([random.random() for _ in range(100)])
plt.title(datetime.datetime.now().isoformat())
plt.savefig("out/chart.png")
"""
CSV = """
import csv, random, datetime
with open("out/table.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["name", "when", "amount"])
    for n in range(50):
        writer.writerow([f"row {n}", str(datetime.datetime.now()), random.random()])
"""
SVG = """
from pathlib import Path
points = " ".join([f"{n},{random.randint(0, 99)}" for n in range(100)])
Path("out/chart.svg").write_text(f'<svg><polyline points="{points}"/></svg>')
"""
ASKED = """
with open("out/words.txt", "w") as file:
    file.write("before ")
reply = llm_query("a word")
with open("out/words.txt", "a") as file:
    file.write(reply)
"""
SHOWN = """
import hashlib, os
from pathlib import Path
FINAL({name: hashlib.sha256((Path("out") / name).read_bytes()).hexdigest() for name in sorted(os.listdir("out"))})
"""


def cells(sandbox: str) -> list[str]:
    """A spreadsheet, a chart, a text around a sub-call, and what code then finds in `out/`."""
    first = [CSV, SVG] if sandbox == "monty" else [SPREADSHEET, CHART]
    return [*first, ASKED, SHOWN]


def main(folder: Path, sandbox: str, kill: str) -> None:
    """Ask, or continue, and print what is in the log and what the run gave."""

    def killed(here: str) -> None:
        flag = folder / "was-killed"
        if kill == here and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def writes(said: str) -> str:
        turn = re.search(r"Turn (\d+) of", said)
        number = int(turn[1]) if turn else 0
        if number == 2:
            killed("between")
        return cell(cells(sandbox)[number])

    def answers(_: str) -> str:
        killed("inside")
        return "after"

    with SqliteSaver.from_conn_string(str(folder / "threads.db")) as saver:
        graph = create_rlm(
            ScriptedModel(answer=writes),
            sub_model=ScriptedModel(answer=answers),
            sandbox=sandbox,
            checkpointer=saver,
            blob_store=folder / "blobs",
        )
        config: Any = {"configurable": {"thread_id": "t"}}
        before = graph.get_state(config).values.get("log", {})
        given = None if before else {"query": "Make them.", "context": "x"}
        events: list[Any] = []
        for mode, part in graph.stream(
            given, config, stream_mode=["custom", "values"], durability="sync"
        ):
            events += [part["type"]] if mode == "custom" else []
        out = graph.get_state(config).values
        saved = save_files(out["files"], folder / "saved", blob_store=folder / "blobs")
        logged = {n: f for e in before.values() for n, f in (e.get("files") or {}).items()}
        told = {
            "logged": {name: file["digest"] for name, file in logged.items()},
            "files": {file["name"]: file["digest"] for file in out["files"]},
            "sizes": {file["name"]: file["size"] for file in out["files"]},
            "in_out": json.loads(out["answer"]),
            "saved": [path.name for path in saved],
            "events": events,
        }
        print(json.dumps(told))
        graph.rlm.sessions.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
