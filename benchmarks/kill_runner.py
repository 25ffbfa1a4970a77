"""Kill runner: one run of two batches in a process of its own, which `kill.py` kills.

It is forked from a process that has imported everything (`tests/faults/runner.py`). The ledger lets
it make exactly the sub-calls that an undisturbed run makes.
"""

import argparse
import asyncio
import json
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langchain_openai import ChatOpenAI
from langgraph.errors import EmptyInputError

from langgraph_rlm import Limits, create_rlm
from tests.faults.databases import open_saver
from tests.faults.runner import serve

QUESTION = {"query": "Ask about everything, twice."}
TURNS = 3


def program(calls: int) -> list[str]:
    """Give the cells of a run of two batches of so many calls; the second depends on the first."""
    return [
        f"first = llm_query_batched([f'first {{i}}' for i in range({calls})])",
        "second = llm_query_batched([f'second {i}: {part}' for i, part in enumerate(first)])",
        "FINAL(' '.join(second))",
    ]


@asynccontextmanager
async def opened(db: str, *, is_own: bool) -> AsyncIterator[Any]:
    """Open a saver; with `is_own` in a class of the user's own, which the package leaves alone."""
    if not is_own:
        async with open_saver(db) as saver:
            yield saver
        return
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    own: Any = type("Own", (AsyncSqliteSaver,), {})
    async with own.from_conn_string(db.removeprefix("sqlite:")) as saver:
        yield saver


async def play(args: argparse.Namespace) -> dict[str, Any]:
    """Run or resume, and from the start where nothing had been saved yet."""

    def model(name: str) -> ChatOpenAI:
        url = f"{args.url}/{args.thread}/v1"
        return ChatOpenAI(model=name, base_url=url, api_key="none", max_retries=0, timeout=60)

    limits = Limits(max_sub_calls=2 * args.calls, max_concurrency=args.at_once)
    async with opened(args.db, is_own=args.own) as saver:
        graph = create_rlm(
            model("root"),
            sub_model=model("sub"),
            limits=limits,
            checkpointer=saver,
            blob_store=args.store,
            sandbox="monty",
        )
        config: Any = {"configurable": {"thread_id": args.thread}}
        try:
            given = None if args.resume else QUESTION
            out = await graph.ainvoke(given, config, durability="sync")
        except EmptyInputError:
            out = await graph.ainvoke(QUESTION, config, durability="sync")
        graph.rlm.sessions.close()
    return {key: out[key] for key in ("answer", "stop_reason", "usage")}


def main(arguments: list[str]) -> None:
    """Run once; the result goes to `--out`, an error with its traceback too."""
    parser = argparse.ArgumentParser()
    for name in ("--db", "--store", "--url", "--thread", "--out"):
        parser.add_argument(name, required=True)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--at-once", type=int, required=True)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--own", action="store_true")
    args = parser.parse_args(arguments)
    try:
        result = asyncio.run(play(args))
    except Exception:  # noqa: BLE001 - the edge of the process: the campaign reads it
        result = {"error": traceback.format_exc()}
    Path(args.out).write_text(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        import langgraph.checkpoint.postgres.aio
        import langgraph.checkpoint.sqlite.aio  # noqa: F401 - every fork has it then
        import pydantic_monty  # noqa: F401

        serve(main)
    else:
        main(sys.argv[1:])
