"""The garbage collector: tuned in the package's own processes, and left alone in those of its users."""

import subprocess
import sys

LIBRARY = """
import gc
before = gc.get_threshold(), gc.get_freeze_count()
from langgraph_rlm import create_rlm
from langgraph_rlm.testing import ScriptedModel, cell
rlm = create_rlm(ScriptedModel(replies=[cell("FINAL(1)")]), sandbox="monty")
assert rlm.invoke({"query": "go"})["answer"] == "1"
print((gc.get_threshold(), gc.get_freeze_count()) == before)
"""

COMMAND = """
import gc, sys
before = gc.get_threshold()
sys.argv = ["langgraph-rlm", "--version"]
from langgraph_rlm.__main__ import run
try:
    run()
except SystemExit:
    pass
print(gc.get_threshold()[0] > before[0])
"""


def last_line(code: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1]


def test_a_library_leaves_the_collector_of_its_user_alone() -> None:
    assert last_line(LIBRARY) == "True"


def test_the_command_tunes_its_own() -> None:
    assert last_line(COMMAND) == "True"
