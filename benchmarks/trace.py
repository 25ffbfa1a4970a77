"""What a trace costs: seconds and megabytes to read large threads and to write their page.

    python -m benchmarks.trace

Four threads on SQLite: one batch of 10,000 calls, 100 turns of 100 calls, a tree of 1,110 RLMs on
three levels, and one of a tenth of the first, so that the ratio shows whether it is linear.
"""

import asyncio
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from langgraph_rlm import Limits, create_rlm
from langgraph_rlm.testing import ScriptedModel, cell
from langgraph_rlm.trace.follow import Follower
from langgraph_rlm.trace.html import page_of
from langgraph_rlm.trace.jsonl import jsonl_lines
from langgraph_rlm.trace.reading import Trace
from langgraph_rlm.trace.save import html_of

LIMITS = Limits(
    max_depth=4, max_iterations=200, max_sub_calls=100_000, max_concurrency=64, max_seconds=3600
)
FAN = """
replies = llm_query_batched([f'line {n}: ' + 'word ' * 20 for n in range(%d)])
print(len(replies))
"""
END = cell("FINAL('done')")


def batch(calls: int) -> ScriptedModel:
    """A root that makes all its calls at once."""
    return ScriptedModel(replies=[cell(FAN % calls), END])


def turns(number: int, calls: int) -> ScriptedModel:
    """A root that makes a batch in each of its turns."""
    return ScriptedModel(replies=[*[cell(FAN % calls)] * number, END])


class Tree(ScriptedModel):
    """Roots that ask ten more each, three levels deep: 10 + 100 + 1,000 below the first."""

    def _scripted(self, messages: Sequence[Any]) -> Any:
        asked = str(messages[1].content)
        if "level 3" in asked:
            return END
        level = next((number for number in (2, 1) if f"level {number}" in asked), 0) + 1
        code = f"rlm_query_batched([f'level {level} of {{n}}' for n in range(10)])\nFINAL('done')"
        return cell(code)


async def measure(name: str, model: Any, folder: Path) -> float:
    """Run a thread, trace it, and print what that took. Gives the seconds to read it."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / f"{name}.db")) as saver:
        rlm = create_rlm(
            model,
            sub_model=model if isinstance(model, Tree) else ScriptedModel(answer=str.upper),
            limits=LIMITS,
            checkpointer=saver,
            blob_store=folder / "blobs",
            sandbox="monty",
        )
        config: Any = {"configurable": {"thread_id": name}}
        started = time.perf_counter()
        await rlm.ainvoke({"query": "q", "context": "word " * 1000}, config)
        ran = time.perf_counter() - started
        follower = Follower(rlm, config)
        started = time.perf_counter()
        await follower.changes()
        read = time.perf_counter() - started
        started = time.perf_counter()
        await follower.changes()
        again = time.perf_counter() - started
        trace = follower.last
    started = time.perf_counter()
    page = html_of([trace])
    made = time.perf_counter() - started
    tell(name, trace, page, ran, (read, again, made))
    return read


def tell(name: str, trace: Trace, page: str, ran: float, took: tuple[float, float, float]) -> None:
    """Print a row."""
    lines = sum(len(line) + 1 for line in jsonl_lines(trace))
    own = len(page_of({"mode": "static", "traces": []}))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:<22} {ran:8.1f} {len(trace.records):9,} {took[0]:8.2f} {took[1] * 1000:9.1f} "
        f"{took[2]:8.2f} {(len(page) - own) / 1e6:8.1f} {lines / 1e6:9.1f} {peak:8.0f}",
        flush=True,
    )


async def main() -> None:
    """Print the table."""
    print(
        f"{'thread':<22} {'run s':>8} {'records':>9} {'read s':>8} {'again ms':>9} {'page s':>8} "
        f"{'page MB':>8} {'jsonl MB':>9} {'peak MB':>8}"
    )
    with tempfile.TemporaryDirectory(prefix="langgraph-rlm-") as name:
        folder = Path(name)
        small = await measure("batch of 1,000", batch(1_000), folder)
        large = await measure("batch of 10,000", batch(10_000), folder)
        few = await measure("10 turns of 100", turns(10, 100), folder)
        many = await measure("100 turns of 100", turns(100, 100), folder)
        await measure("tree of 1,111 RLMs", Tree(), folder)
    print(f"ten times the calls: {large / small:.1f} times the seconds in one batch, ", end="")
    print(f"{many / few:.1f} times in ten times the turns")


if __name__ == "__main__":
    asyncio.run(main())
