"""A graph for `langgraph-rlm acp --graph tests.acp_process:graph`: its tools print, wait, and must not run twice."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm

CODES = {
    "print": "FINAL(prints())",
    "wait": "FINAL(waits())",
    "pay": "FINAL(pays('ann'))",
    "hello": "FINAL('hello')",
}


def prints() -> str:
    """Write to stdout in every way there is, and read stdin."""
    print("from print", flush=True)
    os.write(1, b"from a descriptor\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    return f"stdin has {sys.stdin.read()!r}"


def waits() -> str:
    """Wait for long, and say so in a file."""
    Path(os.environ["LEDGER"]).write_text("waits")
    time.sleep(0.2 if os.environ.get("QUICK") else 3)
    return "waited"


def pays(name: str) -> str:
    """Pay somebody, once."""
    with Path(os.environ["LEDGER"]).open("a") as file:
        file.write(f"{name}\n")
    if os.environ.get("DIES"):
        os._exit(9)
    return "paid"


def graph() -> Any:
    """A root model that runs the code that its question names."""

    def answer(said: str) -> str:
        word = said.rpartition("Question:")[2].split()[0]
        return cell(CODES[word])

    return rlm(
        ScriptedModel(answer=answer),
        tools=[prints, waits, pays],
        not_idempotent=["pays"],
    )
