"""Processes with no folder in common: `python -m tests.blob_process WHAT URL`. One database has all."""

import sys
from pathlib import Path
from typing import Any

from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.types import Command

from langgraph_rlm import fork, read_file

from .models import rlm, root, thread

LINE = "contract {} ends in May, says Ann.\n"
CONTEXT = "".join(LINE.format(number) for number in range(150_000))
"""5 MB."""

FIRST = (
    "with open('out/table.csv', 'w') as file:\n"
    "    file.write('a,b\\n' * 100_000)\n"
    "print(llm_query(context[:5000]))\n"
    "x = context[-10:]",
    "FINAL(len(context))",
)
SECOND = ("sign('ann')\nFINAL(x + open('out/table.csv').read(3) + context[:10])",)


def made(saver: Any, url: str, *codes: str) -> Any:
    """The graph of both processes."""

    def sign(name: str) -> str:
        """Sign."""
        return name

    return rlm(
        root(*codes),
        checkpointer=saver,
        blob_store=url,
        tools=[sign],
        interrupt_on={"sign": True},
    )


def ask(graph: Any, url: str) -> None:
    """Ask about 5 MB, with a file as a result; then pause in an approval."""
    out = graph.invoke({"query": "q " * 3000, "context": CONTEXT}, thread("a"))
    assert out["answer"] == str(len(CONTEXT)), out
    assert out["files"][0]["size"] == 400_000
    out = graph.invoke({"query": "which end?"}, thread("a"))
    assert out["__interrupt__"]


def follow(graph: Any, url: str) -> None:
    """Answer the approval, ask on, and fork."""
    end = " says Ann.\n"[-10:] + "a,b" + CONTEXT[:10]
    out = graph.invoke(Command(resume={"decisions": [{"type": "approve"}]}), thread("a"))
    assert out["answer"] == end, out
    assert read_file(out["files"][0], blob_store=url) == b"a,b\n" * 100_000
    assert graph.invoke({"query": "again"}, thread("a"))["answer"] == str(len(CONTEXT) + 10)
    edited = fork(graph, thread("a"), "0.0/0/0", "another answer")
    assert graph.invoke(None, edited)["answer"] == str(len(CONTEXT) + 10)


if __name__ == "__main__":
    what, url = sys.argv[1:]
    with PostgresSaver.from_conn_string(url) as saver:
        saver.setup()
        if what == "ask":
            ask(made(saver, url, *FIRST, *SECOND), url)
        else:
            follow(made(saver, url, *["FINAL(len(context) + len(x))"] * 9), url)
    print("done", Path.cwd())
