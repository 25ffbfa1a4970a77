"""A graph for MCP servers in processes of their own, loaded by `--graph tests.mcp_process:graph`, which prints where it should not.

Its answer is the question's text, after a sub-call. A question with `slow` in it takes a minute. The file in `$LEDGER` has a line
for each call of a model that begins and ends, and for what was bought.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm

print("printed while it is imported")
os.system("echo printed by another program")

CODE = "len_of = llm_query(context)\nFINAL(f'{context} {len_of}')"


def note(line: str) -> None:
    """Add a line to the ledger."""
    with Path(os.environ["LEDGER"]).open("a") as file:
        file.write(f"{line}\n")


class Noted(ScriptedModel):
    """A model whose calls are noted, and that takes its time for slow questions."""

    async def _agenerate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        note("begins")
        try:
            if "slow" in messages[-1].text:
                await asyncio.sleep(60)
            return await super()._agenerate(messages, *args, **kwargs)
        finally:
            note("ends")


def write(text: str) -> str:
    """What the root model writes."""
    print("printed while it runs")
    return cell("FINAL(buy('tea'))" if "shop" in text else CODE)


def graph() -> Any:
    """The graph."""

    def buy(item: str) -> str:
        """Buy something."""
        note(f"bought {item}")
        return f"bought {item}"

    return rlm(
        Noted(answer=write),
        sub=ScriptedModel(answer=lambda text: f"len={len(text)}", seconds=0.2),
        tools=[buy],
        interrupt_on={"buy": True},
    )
