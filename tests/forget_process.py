"""Processes that store, run or prune, and are killed: `python -m tests.forget_process WHAT WHERE`.

The store of those that work or prune is `$LANGGRAPH_RLM_STORE`."""

import asyncio
import random
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosqlite
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from langgraph_rlm import Freed, aforget, aprune

from .models import rlm, root, thread

PROMPTS = (
    "answers = llm_query_batched([context[i:] + 'p' * 2100 for i in range(3)])\n"
    "print(sum(map(len, answers)))"
)
"""Three calls with prompts and replies that are stored."""


def memory(blobs: str) -> None:
    """Ask one question whose thread is in memory, and wait."""
    graph = rlm(root("FINAL(len(context))"), checkpointer=InMemorySaver(), blob_store=blobs)
    graph.invoke({"query": "q", "context": "kept " * 1000}, thread())
    print("asked", flush=True)
    time.sleep(60)


def runs(blobs: str) -> None:
    """Run without a checkpointer, and wait in a tool."""

    def slow() -> str:
        """Wait."""
        print("asked", flush=True)
        time.sleep(60)
        return ""

    graph = rlm(root("slow()"), tools=[slow], blob_store=blobs)
    graph.invoke({"query": "q", "context": "kept " * 1000})


def context_of(name: str) -> str:
    """The context of a thread: one of four, as users' come again."""
    return f"context {random.Random(name).randrange(4)} " * 500


async def work(saver: Any, count: int, seed: int) -> None:
    """Ask on threads one after another, twice on each, and forget every second one.

    Each has a question of its own, and shares all else with others.
    """
    for number in range(count):
        name = f"{seed}-{number}"
        graph = rlm(
            root(PROMPTS, "FINAL(len(context))", "FINAL(len(context))"),
            sub=lambda text: text[-2500:],
            checkpointer=saver,
        )
        config: Any = thread(name)
        context = context_of(name)
        asked = {"query": f"question {name} " * 200, "context": context}
        out = await graph.ainvoke(asked, config)
        assert out["answer"] == str(len(context)), out
        await asyncio.sleep(0.5)
        out = await graph.ainvoke({"query": "again"}, config)
        assert out["answer"] == str(len(context)), out
        if number % 2:
            await aforget(graph, name, grace=timedelta(0))


async def prune_for_ever(saver: Any, tell: Callable[[Freed], object]) -> None:
    """Prune, as often as it can be done, and without a grace."""
    while True:
        tell(await aprune(saver, timedelta(days=1), grace=timedelta(0)))
        await asyncio.sleep(0)


async def main(what: str, folder: Path, first: int = 0) -> None:
    """Prune, or have five runs at work at once; the database may be busy for long."""
    async with aiosqlite.connect(folder / "db", timeout=300) as connection:
        saver = AsyncSqliteSaver(connection)
        await saver.setup()
        if what == "work":
            seeds = range(first, first + 5)
            await asyncio.gather(*(work(saver, 10, seed) for seed in seeds))
            print("done", flush=True)
        else:
            await prune_for_ever(saver, lambda freed: print(freed.blobs, flush=True))


if __name__ == "__main__":
    what, where, *more = sys.argv[1:]
    if what in ("memory", "runs"):
        {"memory": memory, "runs": runs}[what](where)
    else:
        asyncio.run(main(what, Path(where), *map(int, more)))
