"""Worker: runs one side of one case once, in a fresh process.

It prints what only this process knows as one line of JSON. Peers run it in virtual environments of
their own, so it imports nothing but the standard library before it knows its side.
"""

import asyncio
import json
import sys
import time
from typing import Any, TypedDict

QUESTION = "How many lines hold the needle?"
FILLER = "the quick brown fox jumps over the lazy dog and runs on past the river bank again " * 2

PEERS = ("rlms", "dspy", "deepagents")
"""Other packages, which `peers.py` runs."""


class Job(TypedDict):
    """What to run, on the command line as JSON."""

    side: str
    """What runs; see `sides.py`."""
    task: str
    """A task of `tasks.py`; empty for the mock server's program."""
    size: int
    """How much of it: calls of a batch, questions, turns, runs, greps, or RLMs of each."""
    mb: float
    """Size of the context in 10**6 characters."""
    at_once: int
    """Sub-calls at once."""
    sandbox: str
    """Where code runs, by the name that `create_rlm` has for it."""
    url: str
    """The mock server, with `/v1`; empty to import and construct only, and for tasks."""
    folder: str
    """A new and empty folder for the blob store and the database."""
    postgres: str
    """A PostgreSQL server; empty where none runs."""


class Report(TypedDict):
    """What the run was like from inside; times in seconds."""

    import_s: float
    """`import langgraph_rlm`; of other sides, the import of what they are made of."""
    ready_s: float
    """Everything until there is something to call: imports, clients, graph."""
    called: float
    """`time.monotonic()` when it was called."""
    ended: float
    cpu_s: float
    """CPU of this process between `called` and `ended`."""
    answer: str
    figures: dict[str, float]
    """What a task has measured, by name."""


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
    __import__(imported_by(job["side"]))
    imported = time.perf_counter()
    call = made(job)
    report = Report(
        import_s=imported - start,
        ready_s=time.perf_counter() - start,
        called=0,
        ended=0,
        cpu_s=0,
        answer="",
        figures={},
    )
    if job["url"] or job["task"]:
        context = make_context(job["mb"])
        cpu = time.process_time()
        report["called"] = time.monotonic()
        answered = call(context)
        report["ended"] = time.monotonic()
        report["cpu_s"] = time.process_time() - cpu
        if isinstance(answered, str):
            report["answer"] = answered
        else:
            report["figures"] = answered
    return report


def imported_by(side: str) -> str:
    """Give the module that a side is imported by."""
    way = side.partition("+")[0]
    others = {"plain": "langchain_openai", "client": "openai", "rlms": "rlm"}
    return others.get(way, way if way in PEERS else "langgraph_rlm")


def made(job: Job) -> Any:
    """Make what answers, or measures, when it is called with a context."""
    if job["side"] in PEERS:
        from peers import peer

        return peer(job)
    if job["task"]:
        from tasks import TASKS

        return lambda _: asyncio.run(TASKS[job["task"]](job))
    from sides import side_of

    call = side_of(job)
    return lambda context: asyncio.run(call(context))


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
