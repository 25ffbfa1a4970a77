"""Pay process: a tree of RLMs whose leaves each pay once, in a process of its own over one SQLite file.

    python -m tests.pay_process FOLDER '{"tree": [...], "seconds": 0, "once": false, "sync": false, "durability": "async", "steps": [...]}'

A step is "start", null (continue), or answers by the id of their pause. After each, one line of JSON: the open pauses, or the answer.
"""

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from langgraph_rlm import Limits, create_rlm
from langgraph_rlm.testing import ScriptedModel, cell


class Payer(ScriptedModel):
    """A root model that pays its question, a name, or hands each item of it, a list, to a child."""

    def _scripted(self, messages: list[Any]) -> Any:
        task = json.loads(re.findall(r"^Question:\n\n(.*)$", messages[1].text, re.MULTILINE)[-1])
        if isinstance(task, str):
            return cell(
                f"import json\ntry:\n    paid = pay({task!r}, amount=5)\nexcept Exception as error:\n    paid = str(error)\nFINAL(json.dumps(paid))"
            )
        return cell(
            f"import json\nFINAL([json.loads(kid) for kid in rlm_query_batched({[json.dumps(each) for each in task]!r})])"
        )


def graph_of(folder: Path, order: dict[str, Any], saver: Any) -> Any:
    """The RLM; what it pays is noted in a file before and after."""

    def pay(name: str, amount: int) -> list[Any]:
        """Pay somebody."""
        with (folder / "paid").open("a") as file:
            file.write(f"{name} {amount}\n")
        time.sleep(order.get("seconds", 0))
        with (folder / "done").open("a") as file:
            file.write(f"{name}\n")
        return [name, amount]

    return create_rlm(
        Payer(),
        tools=[pay],
        interrupt_on={"pay": order.get("approve", True)},
        not_idempotent=["pay"] if order.get("once") else [],
        limits=Limits(max_depth=4),
        checkpointer=saver,
        blob_store=folder / "blobs",
    )


def given(step: Any, order: dict[str, Any]) -> Any:
    """The input of a step."""
    if step == "start":
        return {"query": json.dumps(order["tree"])}
    return None if step is None else Command(resume=step)


def show(out: dict[str, Any]) -> None:
    """One line of what came of a step."""
    pauses = {pause.id: pause.value for pause in out.get("__interrupt__", ())}
    print(json.dumps({"pauses": pauses, "answer": None if pauses else out["answer"]}), flush=True)


def main(folder: Path, order: dict[str, Any]) -> None:
    """Play all steps."""
    config: Any = {"configurable": {"thread_id": "t"}}

    async def play() -> None:
        async with AsyncSqliteSaver.from_conn_string(str(folder / "db")) as saver:
            graph = graph_of(folder, order, saver)
            for step in order["steps"]:
                show(
                    await graph.ainvoke(
                        given(step, order), config, durability=order.get("durability", "async")
                    )
                )

    if not order.get("sync"):
        asyncio.run(play())
        return
    with SqliteSaver.from_conn_string(str(folder / "db")) as saver:
        graph = graph_of(folder, order, saver)
        for step in order["steps"]:
            show(
                graph.invoke(
                    given(step, order), config, durability=order.get("durability", "async")
                )
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
