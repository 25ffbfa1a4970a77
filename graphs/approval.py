"""Approval: an assistant that reads what it is given and writes e-mails, which a human approves.

It has the shape that Agent Chat UI expects: the state is `messages`, a pause is LangChain's
`HITLRequest`, and it is resumed with `{"decisions": [...]}`.

LANGGRAPH_RLM_MODEL and LANGGRAPH_RLM_SUB_MODEL mean what they mean in `rlm.py`; "offline" is a
script that writes to everybody with an address in the text. Nothing is sent anywhere: `send_email`
stands for your own.
"""

import os
import re
from typing import Any

from langgraph.graph import START, MessagesState, StateGraph

from langgraph_rlm import ChatRLM
from langgraph_rlm.testing import ScriptedModel, cell

OFFLINE_CELL = """\
sent = []
for address in {addresses!r}:
    try:
        sent.append(send_email(to=address, subject="Your question", body="We are looking into it."))
    except RuntimeError as error:
        sent.append(str(error))
FINAL("[offline script, no model] " + "; ".join(sent or ["no address found"]))"""


def offline(prompt: str) -> str:
    """Write a cell that writes to each address in the question."""
    addresses = re.findall(r"[\w.]+@[\w.]+\w", prompt.rpartition("Question:")[2])
    return cell(OFFLINE_CELL.format(addresses=list(dict.fromkeys(addresses))))


def send_email(to: str, subject: str, body: str) -> str:
    """Send an e-mail."""
    return f"sent to {to}: {subject} / {body}"


def model_of(name: str) -> str | ScriptedModel:
    """Give the script for "offline", any other name as it is."""
    if name == "offline":
        return ScriptedModel(answer=offline)
    return name


MODEL = os.environ.get("LANGGRAPH_RLM_MODEL") or "openai:gpt-5"
SUB_MODEL = os.environ.get("LANGGRAPH_RLM_SUB_MODEL") or MODEL

model = ChatRLM(
    model=model_of(MODEL),
    sub_model=model_of(SUB_MODEL),
    tools=[send_email],
    interrupt_on={
        "send_email": {
            "allowed_decisions": ["approve", "edit", "reject"],
            "description": "An e-mail waits for your word.",
        }
    },
    not_idempotent=["send_email"],
)


async def assistant(state: MessagesState) -> dict[str, Any]:
    """Give one reply. It pauses in the middle of the model's code, and continues there."""
    return {"messages": [await model.ainvoke(state["messages"])]}


builder = StateGraph(MessagesState)
builder.add_node("assistant", assistant)
builder.add_edge(START, "assistant")
graph = builder.compile(name="approval")
