"""Agent with an RLM: a chat model talks, and has an RLM read an archive, one node a question.

LANGGRAPH_RLM_ARCHIVE is a file or folder (default: a few lines of text). LANGGRAPH_RLM_MODEL and
LANGGRAPH_RLM_SUB_MODEL mean what they mean in `rlm.py`; "offline" is a script that asks about the
words of the last message.
"""

import os
import re
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send

from langgraph_rlm import create_rlm
from langgraph_rlm.models.resolve import resolve_model
from langgraph_rlm.testing import ScriptedModel, cell

RESEARCH = {
    "name": "research",
    "description": (
        "Have the archive read. It is far larger than you could read yourself; "
        "ask a whole question."
    ),
    "parameters": {
        "type": "object",
        "properties": {"question": {"type": "string"}},
        "required": ["question"],
    },
}
FOUND = "[offline script, no model] The archive says: "
EXAMPLE = (
    "2024-03-01 The valve was replaced.\n"
    "2024-06-12 The pump failed, and was repaired the same day.\n"
    "2024-09-30 Nothing to report."
)
"""The archive where none is given."""


def offline_assistant(said: str) -> Any:
    """Ask about whatever is said; repeat what comes back."""
    if said.startswith(FOUND):
        return said
    call = ToolCall(name="research", args={"question": said}, id=f"research-{len(said)}")
    return AIMessage("", tool_calls=[call])


def offline_reader(prompt: str) -> str:
    """Write a cell that greps for the words of the question."""
    words = list(dict.fromkeys(re.findall(r"\w{4,}", prompt.rpartition("Question:")[2])))
    find = (
        f"hits = [hit['text'] for word in {words!r} "
        "for hit in grep(word, ignore_case=True, max_matches=3)]\n"
    )
    return cell(f"{find}FINAL({FOUND!r} + ('; '.join(dict.fromkeys(hits)) or 'nothing'))")


MODEL = os.environ.get("LANGGRAPH_RLM_MODEL") or "openai:gpt-5"
SUB_MODEL = os.environ.get("LANGGRAPH_RLM_SUB_MODEL") or MODEL
ARCHIVE = os.environ.get("LANGGRAPH_RLM_ARCHIVE")


def model_of(name: str, offline: Any) -> Any:
    """Give the script for "offline", else the model of that name."""
    if name == "offline":
        return ScriptedModel(answer=offline)
    return resolve_model(name)


talker = model_of(MODEL, offline_assistant)
reader = create_rlm(model_of(MODEL, offline_reader), sub_model=model_of(SUB_MODEL, str.strip))


async def assistant(state: MessagesState) -> dict[str, Any]:
    """Ask the chat model: it gives an answer, or questions to the archive."""
    model: Any = talker.bind_tools([RESEARCH])
    return {"messages": [await model.ainvoke(state["messages"])]}


async def research(state: ToolCall) -> dict[str, Any]:
    """Answer one question to the archive, a call of the tool `research`.

    The RLM is a subgraph of this node: it uses the agent's checkpointer, and shows in its streams.
    """
    archive = Path(ARCHIVE) if ARCHIVE else EXAMPLE
    out = await reader.ainvoke({"query": state["args"]["question"], "context": archive})
    return {"messages": [ToolMessage(out["answer"], tool_call_id=state["id"])]}


def questions(state: MessagesState) -> list[Send] | str:
    """Send each question to a node of its own; end if there is none."""
    last = state["messages"][-1]
    if isinstance(last, AIMessage) and last.tool_calls:
        return [Send("research", call) for call in last.tool_calls]
    return END


builder = StateGraph(MessagesState)
builder.add_node("assistant", assistant)
builder.add_node("research", research, input_schema=ToolCall)
builder.add_edge(START, "assistant")
builder.add_conditional_edges("assistant", questions, ["research", END])
builder.add_edge("research", "assistant")
graph = builder.compile(name="agent_with_rlm")
