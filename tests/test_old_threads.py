"""Threads of earlier versions run on: what a checkpoint says means the same for ever.

`tests/threads/cut_off` was written before the package was laid out in rooms, by a run that was
killed in its third sub-call of four. It holds turns, a cell with a read, a batch with two answers
that were paid for, and pending writes. A change of format that cannot read it raises its number.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from langgraph_rlm import create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

from .models import thread

OLD = Path(__file__).parent / "threads" / "cut_off"


def buy(item: str) -> str:
    """Buy."""
    return "bought"


def answer(prompt: str) -> str:
    """A sub-model, and the root model of the child."""
    return cell("FINAL('from a child')") if "child" in prompt else f"A {prompt}"


async def continued(folder: Path) -> tuple[dict[str, Any], list[str], int]:
    """Run the thread to its end: what it gives, what sub-models were asked, calls of the root."""
    last = cell("b = buy('apple')\nFINAL(f'{x} {parts} {k} {b}')")
    root, sub = ScriptedModel(replies=[last]), ScriptedModel(answer=answer)
    async with AsyncSqliteSaver.from_conn_string(str(folder / "threads.db")) as saver:
        rlm = create_rlm(
            root,
            sub_model=sub,
            tools=[buy],
            interrupt_on={"buy": True},
            limits={"max_depth": 2, "max_concurrency": 1},
            checkpointer=saver,
            blob_store=folder / "blobs",
        )
        paused = await rlm.ainvoke(None, thread(), durability="sync")
        assert paused["__interrupt__"][0].value["action_requests"][0]["name"] == "buy"
        out = await rlm.ainvoke(Command(resume={"type": "approve"}), thread(), durability="sync")
    return out, [prompt[-1].text for prompt in sub.prompts], root.calls


def test_a_thread_of_an_earlier_version_is_continued_and_pays_nothing_twice(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "old")
    out, asked, root_calls = asyncio.run(continued(tmp_path / "old"))
    assert out["answer"] == "5 ['A Q0', 'A Q1', 'A Q2', 'A Q3'] from a child bought"
    assert asked[:2] == ["Q2", "Q3"] and len(asked) == 3 and "child" in asked[2]
    assert root_calls == 1
    assert (
        out["usage"]["turns"] == 4
    )  # two of them by the process that was killed, one by the child
    assert out["usage"]["sub_calls"] == 5
