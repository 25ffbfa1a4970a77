"""Worker: runs one side of one case once, in a fresh process, and prints what only this process knows as one line of JSON."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any, TypedDict

QUERY = "How many lines hold the needle?"
FILLER = "the quick brown fox jumps over the lazy dog and runs on past the river bank again " * 2


class Job(TypedDict):
    """What to run, on the command line as JSON."""

    side: str
    """`plain`, `package` (no checkpointer), `memory` (InMemorySaver), `sqlite` (AsyncSqliteSaver, durability "sync"); `bare-memory` and
    `bare-sqlite` for a bare LangGraph graph (`bare.py`)."""
    mb: float
    """Size of the context in 10**6 characters."""
    at_once: int
    """Sub-calls at once."""
    url: str
    """Of the mock server, with `/v1`; empty to import and construct only."""
    folder: str
    """New and empty: takes the blob store and the database."""


class Report(TypedDict):
    """What the run was like from inside; times in seconds."""

    import_s: float
    """`import langgraph_rlm`; of the plain side `import langchain_openai`."""
    ready_s: float
    """All of it until there is something to call: imports, clients, graph."""
    called: float
    """`time.monotonic()` when it was called."""
    ended: float
    cpu_s: float
    """CPU of this process between the two."""
    answer: str


def make_context(mb: float) -> str:
    """Lines of 100 ASCII characters, a needle in every thousandth. Made without a peak of memory of its own."""
    lines = (
        f"{i:08d} {'NEEDLE ' if i % 1000 == 7 else ''}{FILLER}"[:99] + "\n"
        for i in range(round(min(mb, 1) * 10_000))
    )
    return "".join(lines) * max(1, round(mb))


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
        report["called"], cpu = time.monotonic(), time.process_time()
        report["answer"] = asyncio.run(call(context))
        report["ended"], report["cpu_s"] = time.monotonic(), time.process_time() - cpu
    return report


def client(job: Job, name: str) -> Any:
    """The client of both sides, with the same settings."""
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(
        model=name, base_url=job["url"] or "http://127.0.0.1:9/v1", api_key="none", max_retries=0
    )


def plain(job: Job) -> Any:
    """The plain loop, ready to be called with a context."""
    from plain import plain_loop

    root, sub = client(job, "root"), client(job, "sub")
    return lambda context: plain_loop(root, sub, QUERY, context, job["at_once"])


def bare(job: Job) -> Any:
    """The bare graph, ready to be called with a context."""
    from bare import bare_loop

    root, sub = client(job, "root"), client(job, "sub")
    if job["side"] == "bare-memory":
        return lambda context: bare_loop(root, sub, QUERY, context, job["at_once"], _memory())

    async def stored(context: str) -> str:
        async with _sqlite(job) as saver:
            return await bare_loop(root, sub, QUERY, context, job["at_once"], saver)

    return stored


def package(job: Job) -> Any:
    """The package, ready to be called with a context."""
    from langgraph_rlm import Limits, create_rlm

    limits = Limits(
        max_concurrency=job["at_once"],
        max_sub_calls=100_000,
        max_iterations=1_000,
        max_cell_seconds=300,
    )
    root, sub, folder = client(job, "root"), client(job, "sub"), Path(job["folder"])

    def graph(saver: Any) -> Any:
        return create_rlm(
            root, sub_model=sub, limits=limits, checkpointer=saver, blob_store=folder / "blobs"
        )

    async def stored(context: str) -> str:
        async with _sqlite(job) as saver:
            return await _asked(graph(saver), context, durability="sync")

    if job["side"] == "sqlite":
        return stored
    made = graph(_memory() if job["side"] == "memory" else None)
    return lambda context: _asked(made, context)


async def _asked(graph: Any, context: str, **options: Any) -> str:
    out = await graph.ainvoke(
        {"query": QUERY, "context": context}, {"configurable": {"thread_id": "bench"}}, **options
    )
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
