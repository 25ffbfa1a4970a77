"""Worker: runs one side of one case once, in a fresh process.

It prints what only this process knows as one line of JSON.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any, TypedDict

QUESTION = "How many lines hold the needle?"
FILLER = "the quick brown fox jumps over the lazy dog and runs on past the river bank again " * 2


class Job(TypedDict):
    """What to run, on the command line as JSON."""

    side: str
    """What runs.

    `plain` is a loop (`plain.py`), `package` has no checkpointer, `memory` has InMemorySaver, and
    `sqlite` AsyncSqliteSaver with durability "sync". `bare-memory` and `bare-sqlite` are a bare
    LangGraph graph (`bare.py`).
    """
    mb: float
    """Size of the context in 10**6 characters."""
    at_once: int
    """Sub-calls at once."""
    url: str
    """The mock server, with `/v1`; empty to import and construct only."""
    folder: str
    """A new and empty folder for the blob store and the database."""


class Report(TypedDict):
    """What the run was like from inside; times in seconds."""

    import_s: float
    """`import langgraph_rlm`; `import langchain_openai` for the plain side."""
    ready_s: float
    """Everything until there is something to call: imports, clients, graph."""
    called: float
    """`time.monotonic()` when it was called."""
    ended: float
    cpu_s: float
    """CPU of this process between `called` and `ended`."""
    answer: str


def make_context(mb: float) -> str:
    """Make lines of 100 ASCII characters, with a needle in every thousandth.

    Making them causes no peak of memory.
    """
    lines = "".join(_line(number) for number in range(round(min(mb, 1) * 10_000)))
    return lines * max(1, round(mb))


def _line(number: int) -> str:
    needle = "NEEDLE " if number % 1000 == 7 else ""
    return f"{number:08d} {needle}{FILLER}"[:99] + "\n"


def main(job: Job) -> Report:
    """Import, construct, call."""
    start = time.perf_counter()
    __import__("langchain_openai" if job["side"] == "plain" else "langgraph_rlm")
    imported = time.perf_counter()
    call = SIDES.get(job["side"], package)(job)
    report = Report(
        import_s=imported - start,
        ready_s=time.perf_counter() - start,
        called=0,
        ended=0,
        cpu_s=0,
        answer="",
    )
    if job["url"]:
        context = make_context(job["mb"])
        cpu = time.process_time()
        report["called"] = time.monotonic()
        report["answer"] = asyncio.run(call(context))
        report["ended"] = time.monotonic()
        report["cpu_s"] = time.process_time() - cpu
    return report


def client(job: Job, name: str) -> Any:
    """Make a client. All sides have the same settings."""
    from langchain_openai import ChatOpenAI

    url = job["url"] or "http://127.0.0.1:9/v1"
    return ChatOpenAI(model=name, base_url=url, api_key="none", max_retries=0)


def plain(job: Job) -> Any:
    """Make the plain loop, ready to be called with a context."""
    from plain import plain_loop

    root = client(job, "root")
    sub = client(job, "sub")
    return lambda context: plain_loop(root, sub, QUESTION, context, job["at_once"])


def bare(job: Job) -> Any:
    """Make the bare graph, ready to be called with a context."""
    from bare import bare_loop

    root = client(job, "root")
    sub = client(job, "sub")
    if job["side"] == "bare-memory":
        return lambda context: bare_loop(root, sub, QUESTION, context, job["at_once"], _memory())

    async def stored(context: str) -> str:
        async with _sqlite(job) as saver:
            return await bare_loop(root, sub, QUESTION, context, job["at_once"], saver)

    return stored


def package(job: Job) -> Any:
    """Make the package's graph, ready to be called with a context."""
    from langgraph_rlm import Limits, create_rlm

    limits = Limits(
        max_concurrency=job["at_once"],
        max_sub_calls=100_000,
        max_iterations=1_000,
        max_cell_seconds=300,
    )
    root = client(job, "root")
    sub = client(job, "sub")
    blobs = Path(job["folder"], "blobs")

    def graph(saver: Any) -> Any:
        return create_rlm(root, sub_model=sub, limits=limits, checkpointer=saver, blob_store=blobs)

    async def stored(context: str) -> str:
        async with _sqlite(job) as saver:
            return await _asked(graph(saver), context, durability="sync")

    if job["side"] == "sqlite":
        return stored
    made = graph(_memory() if job["side"] == "memory" else None)
    return lambda context: _asked(made, context)


async def _asked(graph: Any, context: str, **options: Any) -> str:
    config = {"configurable": {"thread_id": "bench"}}
    out = await graph.ainvoke({"query": QUESTION, "context": context}, config, **options)
    return out["answer"]


def _memory() -> Any:
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver()


def _sqlite(job: Job) -> Any:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    return AsyncSqliteSaver.from_conn_string(str(Path(job["folder"], "run.db")))


SIDES = {"plain": plain, "bare-memory": bare, "bare-sqlite": bare}
"""Every other side is the package."""


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
