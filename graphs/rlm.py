"""RLM: the graph that `langgraph dev` serves. Threads and checkpoints are the server's.

LANGGRAPH_RLM_MODEL names the root model as "provider:model" (default "openai:gpt-5"),
LANGGRAPH_RLM_SUB_MODEL the sub-model (default: the root model). "offline" is a script that needs no
key: it greps for the words of the question, and says so.
"""

import os
import re

from langgraph_rlm import create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

OFFLINE_CELL = """\
words = {words!r}
size, hits = 0, []
try:
    size = context_info()["length"]
    hits = [(word, hit) for word in words for hit in grep(word, ignore_case=True, max_matches=3)]
except ValueError:
    print("There is no context.")
found = [f"line {{hit['line']}} ({{word}}): {{hit['text']}}" for word, hit in hits]
note = llm_query("\\n".join(found) or "nothing")
counts = f"{{len(found)}} lines found in {{size}} characters."
FINAL(f"[offline script, no model] {{counts}}\\n{{note}}")"""


def offline_root(prompt: str) -> str:
    """Write a cell that greps for every word of the question with four letters or more."""
    question = prompt.rpartition("Question:")[2]
    words = list(dict.fromkeys(re.findall(r"\w{4,}", question)))
    prose = "[offline script, no model] I grep for the words of the question."
    return cell(OFFLINE_CELL.format(words=words), prose)


def offline_sub(prompt: str) -> str:
    """Quote what was asked."""
    return f"[offline sub-model, no model] I was sent {len(prompt)} characters:\n{prompt}"


def model_of(name: str, offline: ScriptedModel) -> str | ScriptedModel:
    """Give `offline` for "offline", any other name as it is."""
    if name == "offline":
        return offline
    return name


MODEL = os.environ.get("LANGGRAPH_RLM_MODEL") or "openai:gpt-5"
SUB_MODEL = os.environ.get("LANGGRAPH_RLM_SUB_MODEL") or MODEL

graph = create_rlm(
    model_of(MODEL, ScriptedModel(answer=offline_root)),
    sub_model=model_of(SUB_MODEL, ScriptedModel(answer=offline_sub)),
)
