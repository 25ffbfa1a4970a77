"""A graph with a tool that pauses, for processes that share a database: `python -m tests.ui_process DB THREAD ACT`.

`start` asks a question and ends at the pause, `wait` waits for answers until the run ends, `serve` serves the page over the
graph, with its tools. Each call of the tool is a line in the file `DB.bought`. `graph` is loaded by `--graph` too.
"""

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langgraph_rlm import resume
from langgraph_rlm.testing import ScriptedModel, cell

from .models import echo, rlm, thread

CODE = "asked = llm_query_batched(['a', 'b', 'c'])\nFINAL([len(asked), buy('tea')])"


def graph(saver: Any = None) -> Any:
    """A graph that asks a sub-model three times, and buys something if it may."""
    ledger = Path(os.environ["BOUGHT"])

    def buy(item: str) -> str:
        """Buy something."""
        with ledger.open("a") as file:
            file.write(f"{item} {os.getpid()}\n")
        return item

    return rlm(
        ScriptedModel(replies=[cell(CODE)], seconds=0.3),
        sub=ScriptedModel(answer=echo, seconds=0.3),
        tools=[buy],
        interrupt_on={"buy": True},
        checkpointer=saver,
    )


@contextmanager
def opened(db: str) -> Any:
    """A saver of a SQLite file or of PostgreSQL."""
    if db.startswith("postgresql"):
        from langgraph.checkpoint.postgres import PostgresSaver

        with PostgresSaver.from_conn_string(db) as saver:
            saver.setup()
            yield saver
        return
    from langgraph.checkpoint.sqlite import SqliteSaver

    with SqliteSaver.from_conn_string(db) as saver:
        yield saver


def main(db: str, name: str, act: str) -> None:
    """Do one of the acts."""
    with opened(db) as saver:
        if act == "serve":
            from langgraph_rlm.ui import serve_ui

            serve_ui(graph(saver), port=0, say=lambda line: print(line, flush=True))
            return
        print("up", flush=True)
        if act == "start":
            time.sleep(float(os.environ.get("START_AFTER", "0")))
            graph(saver).invoke({"query": "shop"}, thread(name))
        else:
            print(resume(graph(saver), thread(name), wait=True, seconds=0.05)["answer"])


if __name__ == "__main__":
    main(*sys.argv[1:])
