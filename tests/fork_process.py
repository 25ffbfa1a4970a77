"""A process that runs RLMs before and after it forks, as web servers do: `python -m tests.fork_process FOLDER CASE SANDBOX`."""

import os
import sys
import threading
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from langgraph_rlm import RLMError
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, thread

SANDBOX = sys.argv[3]


def ask(folder: Path, name: str, model: ScriptedModel) -> str:
    """One question on a thread, with a connection of its own."""
    with SqliteSaver.from_conn_string(str(folder / "db")) as saver:
        return rlm(model, sandbox=SANDBOX, checkpointer=saver, blob_store=folder / "blobs").invoke(
            {"query": "q"}, thread(name)
        )["answer"]


def child(folder: Path, name: str, model: ScriptedModel) -> None:
    """The same in a fork of this process, printed."""
    if (process := os.fork()) == 0:
        try:
            print(ask(folder, name, model), flush=True)
        except RLMError as error:
            print(type(error).__name__, error, flush=True)
        finally:
            os._exit(0)
    os.waitpid(process, 0)


def main(folder: Path, case: str) -> None:
    """The case."""
    code, prose = ScriptedModel(replies=[cell("FINAL(1)")]), ScriptedModel(replies=["FINAL(2)"])
    if case == "used":
        print(ask(folder, "a", code))
        child(folder, "b", code)
        return
    asked, go_on = threading.Event(), threading.Event()

    class Waits(ScriptedModel):
        async def _agenerate(self, *args: Any, **options: Any) -> Any:
            asked.set()
            go_on.wait(30)
            return await super()._agenerate(*args, **options)

    running = threading.Thread(target=ask, args=(folder, "a", Waits(replies=["FINAL(3)"])))
    running.start()
    asked.wait(30)
    child(folder, "a", prose)  # its parent runs the thread
    child(folder, "b", prose)
    go_on.set()
    running.join()
    child(folder, "a", prose)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
