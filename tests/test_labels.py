"""Labels: the metadata of checkpoints says which model a run asked, what it cost, and why it ended."""

from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from .models import rlm, root, thread

PRICES = {"scripted": {"input": 1_000_000, "output": 0}}


def labels(metadata: Any) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key.startswith("rlm_")}


def send(to: str) -> str:
    """Send it."""
    return to


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_of_the_newest_checkpoint(kind: str, tmp_path: Path) -> None:
    """While the run waits, without an end; and savers find it by what it says."""
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "t.db")) as sqlite:
        saver: Any = sqlite if kind == "sqlite" else InMemorySaver()
        graph = rlm(
            root("a = llm_query('x')\nFINAL(send(a))"),
            tools=[send],
            interrupt_on={"send": True},
            prices=PRICES,
            checkpointer=saver,
        )
        await graph.ainvoke({"query": "q"}, thread())
        waits = labels((await graph.aget_state(thread())).metadata)
        assert set(waits) == {"rlm_model", "rlm_cost", "rlm_tokens"}
        out = await graph.ainvoke(Command(resume={"type": "approve"}), thread())
        usage = out["usage"]
        ended = {
            "rlm_model": "scripted",
            "rlm_cost": usage["cost"],
            "rlm_tokens": usage["input_tokens"] + usage["output_tokens"],
            "rlm_stop_reason": "answered",
        }
        assert labels((await graph.aget_state(thread())).metadata) == ended
        found = [each async for each in saver.alist(thread(), filter=ended)]
        assert len(found) == 1


async def test_a_new_question_has_no_end_yet_and_calls_without_a_price_are_told() -> None:
    graph = rlm(root("FINAL(1)"), limits={"max_iterations": 3}, checkpointer=InMemorySaver())
    for _ in range(2):
        await graph.ainvoke({"query": "q"}, thread())
    told = [labels(each.metadata) async for each in graph.aget_state_history(thread())]
    assert [each.get("rlm_stop_reason") for each in told[:4]] == ["answered", None, None, None]
    assert told[0]["rlm_cost"] == 0 and told[0]["rlm_unpriced_calls"] == 1


async def test_of_a_node_and_in_traces() -> None:
    """The graph around it has the labels of nobody; callbacks are told the model with the run."""
    told: list[Any] = []

    class Handler(BaseCallbackHandler):
        def on_chain_start(self, *args: Any, metadata: Any = None, **kwargs: Any) -> None:
            told.append((kwargs.get("name"), (metadata or {}).get("rlm_model")))

    parent: Any = StateGraph(MessagesState)
    parent.add_node("node", rlm(root("FINAL(1)")))
    parent.add_edge(START, "node")
    saver = InMemorySaver()
    graph = parent.compile(checkpointer=saver)
    config: Any = {**thread(), "callbacks": [Handler()]}
    await graph.ainvoke({"messages": [("user", "q")]}, config)
    kept = [each async for each in saver.alist(thread())]
    of_node = [each for each in kept if each.config["configurable"]["checkpoint_ns"]]
    assert labels(of_node[0].metadata)["rlm_stop_reason"] == "answered"
    assert not [each for each in kept if each not in of_node and labels(each.metadata)]
    assert ("rlm", "scripted") in told
