"""Agent runner: one step of `create_agent(ChatRLM(...))` in a process of its own, which dies where it is told to.

    python -m tests.faults.agent_runner --serve

It forks for each JSON list of a line: the folder, the models' URL, the step, and the write of the saver to die at (0 for none).
"""

import asyncio
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from langgraph.errors import EmptyInputError
from langgraph.types import Command

from langgraph_rlm import ChatRLM, Limits

from .runner import Killer, deadly_saver, serve

QUESTION = {"messages": [HumanMessage("shop")]}
STEPS = {
    "start": QUESTION,
    "continue": None,
    "approve": Command(resume={"decisions": [{"type": "approve"}]}),
}


def agent_of(folder: Path, url: str, saver: Any) -> Any:
    """An agent with a tool of its own, whose model has one that waits for a human."""

    def buy(item: str) -> str:
        """Buy something."""
        with (folder / "bought").open("a") as file:
            file.write(f"{item}\n")
        return f"bought {item}"

    def weather(city: str) -> str:
        """The weather."""
        return f"dry in {city}"

    def model(name: str) -> ChatOpenAI:
        return ChatOpenAI(model=name, base_url=url, api_key="none", max_retries=0, timeout=30)  # pyright: ignore

    chat = ChatRLM(
        model=model("root"),
        sub_model=model("sub"),
        tools=[buy],
        interrupt_on={"buy": True},
        limits=Limits(max_depth=2),
        direct_below_tokens=0,
        blob_store=folder / "blobs",
    )
    return create_agent(chat, tools=[weather], checkpointer=saver)


async def play(folder: Path, url: str, step: str, kill_at: int) -> dict[str, Any]:
    """One step; `ainvoke(None, config)` from the start when nothing had been saved yet."""
    async with deadly_saver(
        f"sqlite:{folder / 'db'}", killer := Killer(kill_at, after=False)
    ) as saver:
        agent, config = agent_of(folder, url, saver), {"configurable": {"thread_id": "t"}}
        try:
            out = await agent.ainvoke(STEPS[step], config)
        except EmptyInputError:
            out = await agent.ainvoke(QUESTION, config)
    asked = [
        action["args"]["item"]
        for pause in out.get("__interrupt__", ())
        for action in pause.value["action_requests"]
    ]
    return {"asked": asked, "answer": out["messages"][-1].text, "writes": killer.count}


def main(arguments: list[str]) -> None:
    """One step; what came of it goes to `out.json` in the folder, an error with its traceback too."""
    folder, url, step, kill_at = arguments
    try:
        result = asyncio.run(play(Path(folder), url, step, int(kill_at)))
    except Exception:  # noqa: BLE001 - the edge of the process: the test reads it
        result = {"error": traceback.format_exc()}
    Path(folder, "out.json").write_text(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        import pydantic_monty  # noqa: F401 - what a run imports late, every fork has already

        serve(main)
    else:
        main(sys.argv[1:])
