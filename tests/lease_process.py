"""Processes that each run one thread over PostgreSQL, for `test_leases_postgres.py`.

    python -m tests.lease_process

It has imported everything, and forks for each JSON object that comes on a line of its input: `{"db": URL, "store": FOLDER, "url":
PROVIDER, "thread": ID, "out": FILE, ...}`. It answers with the child's process id. How the child ended goes to its file, as JSON.
"""

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pydantic_monty  # noqa: F401 - what a run imports late, every fork has already
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import START, StateGraph
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from langgraph_rlm import Limits, RLMError, create_rlm
from langgraph_rlm.state import RLMInput, RLMOutput

ITEMS = 20
CELL = f"got = llm_query_batched([f'item {{i}}' for i in range({ITEMS})])\nFINAL(' '.join(got))"
ANSWER = " ".join(f"<item {number}>" for number in range(ITEMS))
IN_FLIGHT = 4


def reply_to(messages: Any) -> str:
    """The provider's reply: the root's cell, or an item's answer."""
    if messages[0]["role"] == "system":
        return f"```repl\n{CELL}\n```"
    return f"<{messages[-1]['content']}>"


@asynccontextmanager
async def open_pool(
    db: str, connections: int = 2, kind: Any = AsyncConnectionPool
) -> AsyncIterator[Any]:
    """A saver over a pool that looks at a connection before it gives it, as servers have one."""
    settings: Any = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    check: Any = AsyncConnectionPool.check_connection
    least = 0 if kind is not AsyncConnectionPool else 1
    async with kind(
        db, kwargs=settings, min_size=least, max_size=connections, check=check, timeout=30
    ) as pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        yield saver


def graph_of(given: dict[str, Any], saver: Any, **options: Any) -> Any:
    """The RLM of the tests, with its models at a provider."""
    url = f"{given['url']}/{given['thread']}/v1"
    model = ChatOpenAI(model="m", base_url=url, api_key="none", max_retries=0, timeout=60)  # pyright: ignore
    limits = Limits(max_concurrency=IN_FLIGHT, max_sub_calls=ITEMS)
    return create_rlm(
        model, limits=limits, checkpointer=saver, blob_store=given["store"], **options
    )


class OuterState(RLMInput, RLMOutput):
    """Of a graph with an RLM as a node."""


def outer_of(given: dict[str, Any], saver: Any) -> Any:
    """A graph with that RLM as its node `ask`, as a server runs one: the checkpointer is the outer graph's."""
    builder: Any = StateGraph(OuterState)
    builder.add_node("ask", graph_of(given, None))
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=saver)


def config_of(given: dict[str, Any]) -> dict[str, Any]:
    """The thread, and the run as Aegra names it."""
    own = {"thread_id": given["thread"]}
    return {"configurable": own | ({"run_id": given["run"]} if "run" in given else {})}


async def play(given: dict[str, Any]) -> Any:
    """Run or resume the thread."""
    question = None if given.get("resume") else {"query": "go", "context": "some text"}
    if given.get("sync"):
        with PostgresSaver.from_conn_string(given["db"]) as saver:
            saver.setup()
            return await asyncio.to_thread(
                graph_of(given, saver).invoke, question, config_of(given)
            )
    async with open_pool(given["db"], given.get("connections", 2)) as saver:
        make = outer_of if given.get("node") else graph_of
        return await make(given, saver).ainvoke(question, config_of(given))


def run(given: dict[str, Any]) -> None:
    """Say the answer and what was spent, or the error."""
    os.environ["LANGGRAPH_RLM_LEASE_SECONDS"] = given.get("seconds", "15")
    try:
        out = asyncio.run(play(given))
        told = {"answer": out["answer"], "usage": out["usage"]}
    except RLMError as error:
        told = {"error": type(error).__name__, "message": str(error)}
    except Exception:  # noqa: BLE001 - the edge of the process: the test reads it
        told = {"error": traceback.format_exc()}
    Path(given["out"]).write_text(json.dumps(told))


def main() -> None:
    """Fork for each line. Nobody waits for the children here."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            try:
                run(json.loads(line))
            finally:
                os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
