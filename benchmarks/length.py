"""Length: what a follow-up question costs late in a long thread, and a turn late in a long run.

    python benchmarks/length.py [--questions 200] [--turns 300] [--savers memory sqlite]
    python benchmarks/length.py --profile 20       # and what a late question and a late turn ran

CPU time of the process, in milliseconds: the median of the questions, or turns, around each number.
The model is a fake one that costs the same whatever it is sent, so the figures are the package's
own, with LangGraph and LangChain. Each question has a context of 1 KB of its own with `--contexts`.
"""

import argparse
import asyncio
import cProfile
import pstats
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from pydantic import PrivateAttr

from langgraph_rlm import create_rlm
from langgraph_rlm.testing import cell

AROUND = 5
"""How many neighbours on each side a figure is the median of."""

KINDS = ("questions", "contexts", "turns")


class Steady(BaseChatModel):
    """A model whose calls cost the same at any length: it gives replies in turn."""

    replies: Sequence[str]
    _calls: int = PrivateAttr(default=0)
    _began: list[float] = PrivateAttr(default_factory=list[float])

    @property
    def _llm_type(self) -> str:
        return "steady"

    @property
    def began(self) -> list[float]:
        """CPU seconds of the process when each call came."""
        return self._began

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        self._began.append(time.process_time())
        reply = self.replies[self._calls % len(self.replies)]
        self._calls += 1
        usage: Any = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
        message = AIMessage(reply, usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        return self._generate(messages)


@asynccontextmanager
async def saver_of(name: str, folder: Path) -> AsyncIterator[Any]:
    """Give a saver by name."""
    if name == "memory":
        yield InMemorySaver()
        return
    async with AsyncSqliteSaver.from_conn_string(str(folder / "runs.db")) as saver:
        yield saver


async def cpu_of_questions(
    saver: Any, folder: Path, count: int, *, with_contexts: bool, profile: cProfile.Profile | None
) -> list[float]:
    """Ask questions on one thread, and give the CPU seconds of each."""
    replies = [cell("total = 1\nprint(total)\nFINAL(total)")]
    rlm = create_rlm(Steady(replies=replies), checkpointer=saver, blob_store=folder / "blobs")
    config: Any = {"configurable": {"thread_id": "length"}}
    spent: list[float] = []
    for number in range(count):
        given: dict[str, Any] = {"query": f"Question {number}?"}
        if with_contexts:
            given["context"] = f"context {number} " * 64
        if profile is not None and number == count - 2 * AROUND:
            profile.enable()
        began = time.process_time()
        await rlm.ainvoke(given, config)
        spent.append(time.process_time() - began)
    if profile is not None:
        profile.disable()
    return spent


async def cpu_of_turns(
    saver: Any, folder: Path, count: int, profile: cProfile.Profile | None
) -> list[float]:
    """Work on one question for a number of turns, and give the CPU seconds of each."""
    model = Steady(replies=[cell("total = 1\nprint(total)")])
    limits = {"max_iterations": count + 1, "max_tokens": None}
    rlm = create_rlm(
        model, checkpointer=saver, blob_store=folder / "blobs", limits=limits, compact_at=0.95
    )
    config: Any = {"configurable": {"thread_id": "length"}}
    async for event in rlm.astream({"query": "Work."}, config, stream_mode="updates"):
        if profile is not None and len(model.began) == count - 2 * AROUND and "plan_code" in event:
            profile.enable()
    if profile is not None:
        profile.disable()
    return [after - before for before, after in zip(model.began, model.began[1:], strict=False)]


def median_at(spent: Sequence[float], number: int) -> float:
    """Give the median milliseconds around a number, which counts from 1."""
    near = spent[max(0, number - 1 - AROUND) : number + AROUND]
    return 1000 * statistics.median(near)


def rows_of(spent: Sequence[float], numbers: Sequence[int]) -> str:
    """Show the figures at some numbers, and how much the last is of the first."""
    known = [number for number in numbers if number <= len(spent)]
    figures = [median_at(spent, number) for number in known]
    shown = " | ".join(f"{figure:.1f}" for figure in figures)
    return f"{shown} | {figures[-1] / figures[0]:.2f}"


async def measured(
    kind: str, saver_name: str, options: argparse.Namespace, profile: cProfile.Profile | None
) -> list[float]:
    """Measure one kind of length with one saver."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with saver_of(saver_name, folder) as saver:
            if kind == "turns":
                spent = await cpu_of_turns(saver, folder, options.turns, profile)
            else:
                spent = await cpu_of_questions(
                    saver,
                    folder,
                    options.questions,
                    with_contexts=kind == "contexts",
                    profile=profile,
                )
        return spent


def main() -> None:
    """Print a row for each kind and saver."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--turns", type=int, default=300)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--savers", nargs="*", default=["memory", "sqlite"])
    parser.add_argument("--profile", type=int, default=0, help="functions to show")
    options = parser.parse_args()
    for kind in options.kinds:
        last = options.turns if kind == "turns" else options.questions
        numbers = sorted({10, 50, 100, last})
        print(f"| {kind}, CPU ms | {' | '.join(map(str, numbers))} | ratio |")
        for saver in options.savers:
            profile = cProfile.Profile() if options.profile else None
            spent = asyncio.run(measured(kind, saver, options, profile))
            print(f"| {saver} | {rows_of(spent, numbers)} |", flush=True)
            if profile is not None:
                pstats.Stats(profile).sort_stats("cumulative").print_stats(options.profile)
                pstats.Stats(profile).sort_stats("tottime").print_stats(options.profile)


if __name__ == "__main__":
    main()
