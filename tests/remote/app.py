"""App: the graph that parents and workers have alike in the tests of children elsewhere. Its model is a script of words.

A question is a line of words that the root's code acts on; each child gets a line of its own.
"""

import os
from pathlib import Path
from typing import Any

from langgraph_rlm import create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

TURNS = {
    "fan": """
parts = rlm_query_batched([f"leaf {{number}}" for number in range({0})], contexts=["the context of " + str(number) for number in range({0})])
FINAL("; ".join(parts))""",
    "tree": """
parts = rlm_query_batched([f"grove {{number}} {1}" for number in range({0})])
FINAL(" ".join(parts))""",
    "grove": """
parts = rlm_query_batched([f"tip {0}-{{number}}" for number in range({1})])
FINAL(" ".join(parts))""",
    "tip": 'FINAL(llm_query("say {0}"))',
    "leaf": 'FINAL(llm_query("say {0}") + " " + context_0)',
    "deep": 'FINAL("[" + rlm_query("deep " + str({0} - 1)) + "]")',
    "bottom": 'FINAL(llm_query("say bottom"))',
    "mails": """
FINAL("; ".join(rlm_query_batched([f"mail {{number}}" for number in range({0})])))""",
    "mail": 'FINAL(str(send_email("{0}")))',
    "deepmail": 'FINAL("[" + rlm_query("mail {0}") + "]")',
    "twomails": 'FINAL(str(send_email("{0}-a")) + str(send_email("{0}-b")))',
    "through": 'FINAL(rlm_query("{0} {1}"))',
    "form": 'FINAL(rlm_query("number {0}", schema={{"type": "integer"}}) + 1)',
    "number": "FINAL({0})",
    "many": 'FINAL("; ".join(llm_query_batched([f"say {{number}}" for number in range({0})])))',
    "pair": """
parts = rlm_query_batched(["seq 1", "seq 5"])
FINAL("; ".join(parts))""",
    "seq": """
said = []
for number in range({0}):
    said.append(llm_query("say " + str(number)))
FINAL(" ".join(said))""",
    "fail": 'FINAL(rlm_query("broken x"))',
    "model": 'FINAL(rlm_query("leaf {0}", context="c", model="other"))',
}
"""Code by the first word of a question."""


def answer(prompt: str) -> Any:
    """Write the code of a question; say what a leaf is to say."""
    note(prompt)
    if prompt.startswith("say "):
        return prompt.removeprefix("say ").upper()
    words = prompt.rpartition("Question:")[2].split()
    if words[0] == "deep" and words[1] == "0":
        words[0] = "bottom"
    if words[0] == "broken":
        raise RuntimeError("the provider of this model is broken")
    if words[0] not in TURNS:
        return f"FINAL(the script has no answer to: {prompt})"
    return cell(TURNS[words[0]].format(*words[1:]))


def note(prompt: str) -> None:
    """Keep what was asked of models, in a file for each test run."""
    if folder := os.environ.get("RLM_TEST_NOTES"):
        path = Path(folder) / "asked"
        with path.open("a") as file:
            file.write(prompt.rpartition("Question:")[2].strip().split("\n")[0] + "\n")


def send_email(to: str) -> str:
    """Send an email."""
    if folder := os.environ.get("RLM_TEST_NOTES"):
        with (Path(folder) / "sent").open("a") as file:
            file.write(to + "\n")
    return f"sent to {to}"


def make(**options: Any) -> Any:
    """Make the graph."""
    seconds = float(os.environ.get("RLM_TEST_SECONDS", "0"))
    model = ScriptedModel(answer=answer, model_name="scripted", seconds=seconds)
    given = {
        "sandbox": "monty",
        "models": {"other": ScriptedModel(answer=answer, model_name="other")},
        "tools": [send_email],
        "interrupt_on": {"send_email": True},
        "limits": {"max_depth": 4, "max_sub_calls": 9_999},
        "prices": {"scripted": {"input": 1, "output": 2}, "other": {"input": 3, "output": 4}},
        "blob_store": os.environ.get("LANGGRAPH_RLM_STORE"),
        "children": "remote" if os.environ.get("LANGGRAPH_RLM_CHILDREN_URL") else None,
        **options,
    }
    return create_rlm(model, **given)


graph = make()
