"""An agent with an RLM: a chat model talks, and has an archive read by an RLM, one node for each question that it asks of it.

LANGGRAPH_RLM_ARCHIVE is a file or folder (default: a few lines of text). LANGGRAPH_RLM_MODEL and LANGGRAPH_RLM_SUB_MODEL as in `rlm.py`;
"offline" is a script that asks about the words of the last message.
"""

import os
import re
from pathlib import Path
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send

from langgraph_rlm import create_rlm
from langgraph_rlm.models.resolve import resolve_model
from langgraph_rlm.testing import ScriptedModel, cell

RESEARCH = {
    "name": "research",
    "description": "Have the archive read. It is far larger than you could read yourself; ask a whole question.",
    "parameters": {
        "type": "object",
        "properties": {"question": {"type": "string"}},
        "required": ["question"],
    },
}
FOUND = "[offline script, no model] The archive says: "
EXAMPLE = "2024-03-01 The valve was replaced.\n2024-06-12 The pump failed, and was repaired the same day.\n2024-09-30 Nothing to report."


def offline_assistant(said: str) -> Any:
    """Asks about whatever is said; repeats what comes back."""
    if said.startswith(FOUND):
        return said
    return AIMessage(
        "",
        tool_calls=[
            {
                "name": "research",
                "args": {"question": said},
                "id": f"research-{len(said)}",
                "type": "tool_call",
            }
        ],
    )


def offline_reader(prompt: str) -> str:
    """A cell that greps for the words of the question."""
    words = list(dict.fromkeys(re.findall(r"\w{4,}", prompt.rpartition("Question:")[2])))
    code = f"hits = [hit['text'] for word in {words!r} for hit in grep(word, ignore_case=True, max_matches=3)]\n"
    return cell(f"{code}FINAL({FOUND!r} + ('; '.join(dict.fromkeys(hits)) or 'nothing'))")


MODEL = os.environ.get("LANGGRAPH_RLM_MODEL") or "openai:gpt-5"
SUB_MODEL = os.environ.get("LANGGRAPH_RLM_SUB_MODEL") or MODEL
ARCHIVE = os.environ.get("LANGGRAPH_RLM_ARCHIVE")


def model_of(name: str, offline: Any) -> BaseChatModel:
    """The script for "offline", else the model of that name."""
    return ScriptedModel(answer=offline) if name == "offline" else resolve_model(name)


talker = model_of(MODEL, offline_assistant)
reader = create_rlm(model_of(MODEL, offline_reader), sub_model=model_of(SUB_MODEL, str.strip))


async def assistant(state: MessagesState) -> dict[str, Any]:
    """The chat model: an answer, or questions to the archive."""
    return {"messages": [await cast(Any, talker.bind_tools([RESEARCH])).ainvoke(state["messages"])]}


async def research(call: ToolCall) -> dict[str, Any]:
    """One question to the archive. The RLM is a subgraph of this node: it uses the agent's checkpointer, and shows in its streams."""
    out = await reader.ainvoke(
        {"query": call["args"]["question"], "context": Path(ARCHIVE) if ARCHIVE else EXAMPLE}
    )
    return {"messages": [ToolMessage(out["answer"], tool_call_id=call["id"])]}


def questions(state: MessagesState) -> list[Send] | str:
    """A node for each question; the end where there is none."""
    last = state["messages"][-1]
    return (
        [Send("research", call) for call in last.tool_calls]
        if isinstance(last, AIMessage) and last.tool_calls
        else END
    )


builder = StateGraph(MessagesState)
builder.add_node("assistant", assistant)
cast(Any, builder.add_node)("research", research, input_schema=ToolCall)
builder.add_edge(START, "assistant")
builder.add_conditional_edges("assistant", questions, ["research", END])
builder.add_edge("research", "assistant")
graph = builder.compile(name="agent_with_rlm")
