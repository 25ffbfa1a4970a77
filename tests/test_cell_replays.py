"""Cells of earlier versions do what they did, and those of today do the same in a new interpreter."""

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm.history.replay_run import replay_run
from langgraph_rlm.history.saved_run import load_run, save_run

from .jails import SANDBOXES
from .models import rlm, root, thread

pytestmark = pytest.mark.filterwarnings("ignore:sandbox='local' is not a sandbox")

FIRST_RULES = Path(__file__).parent / "first_rules"
"""Runs by the code before cells were prepared: cells that failed half-way, exceptions with numbers, hidden names, words given to FINAL_VAR."""

CODES = {
    "monty": [
        "print('before')\nimport numpy\nx = 1\ndel x",
        "import json\nraise ValueError(5, json)",
        "class P:\n    def __str__(self):\n        return 'text'\np = P()\np",
        "exec('llm_query = 3')",
        "print(1",
        "{p}",
        "print(llm_query('a'))",
        "loser = 'wrong'\nwinner = ['loser', p]\nFINAL_VAR(winner)",
    ],
    "local": [
        "del llm_query",
        "globals()['context'] = 5",
        "print(llm_query('a'), context)",
        "print(1",
        "class P:\n    def __str__(self):\n        return 'text'\np = P()\np",
        "loser = 'wrong'\nwinner = ['loser', p]\nFINAL_VAR(winner)",
    ],
}


@pytest.mark.parametrize("sandbox", ["monty", "local"])
def test_runs_by_the_first_rules_do_what_they_did(sandbox: str) -> None:
    path = FIRST_RULES / f"{sandbox}.json"
    assert load_run(path)["root"]["answer"] == "found"  # the variable that the word names
    assert replay_run(path, sandbox=sandbox).cells >= 10


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_runs_of_today_do_the_same_again(tmp_path: Path, sandbox: str) -> None:
    batch = "try:\n    llm_query_batched(['a'] * 11)\nexcept ValueError as error:\n    print(error)"
    codes = [batch, *CODES.get(sandbox, CODES["local"])]
    config: Any = thread()
    graph = rlm(
        root(*codes), sandbox=sandbox, limits={"max_sub_calls": 10}, checkpointer=InMemorySaver()
    )
    out = graph.invoke({"query": "q", "context": "the text"}, thread())
    assert out["answer"] == '["loser","text"]'
    save_run(graph, config, tmp_path / "run.json")
    replayed = replay_run(tmp_path / "run.json", sandbox=sandbox)
    assert (replayed.cells, replayed.calls) == (len(codes), 2)


def test_the_entry_of_a_cell_that_did_not_start_says_so(tmp_path: Path) -> None:
    config: Any = thread()
    graph = rlm(root("import numpy", "1 / 0", "FINAL(1)"), checkpointer=InMemorySaver())
    graph.invoke({"query": "q"}, thread())
    save_run(graph, config, tmp_path / "run.json")
    log = load_run(tmp_path / "run.json")["root"]["log"]
    assert [log[place].get("ran") for place in ("0.0", "1.0", "2.0")] == [False, None, None]
