"""Runner: one run of the scenario in a process of its own, which dies where it is told to.

    python -m tests.faults.runner --db sqlite:PATH --store FOLDER --url PROVIDER --thread ID --out FILE [--resume] [--kill-at N ...]
    python -m tests.faults.runner --serve

With `--serve` it has imported everything, and forks for each JSON list of arguments that comes on a line of its input: the
child's process id is the first line of the answer, how it ended (an exit code, or minus a signal) the second.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
import traceback
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langchain_openai import ChatOpenAI
from langgraph.errors import EmptyInputError

from langgraph_rlm import Limits, create_rlm

from .databases import open_saver
from .scenario import QUESTION


class Killer:
    """Counts what a database is told to keep, and ends this process with SIGKILL before or after one of these moments."""

    def __init__(self, at: int, after: bool) -> None:
        self.count = 0
        self._at = at
        self._after = after

    async def around(self, write: Any) -> Any:
        """Let one write happen, or not."""
        self.count += 1
        now = self.count == self._at
        if now and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        written = await write
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return written


class Killing:
    """A saver with a `Killer`; LangGraph's copies of it share it."""

    killer: Killer

    async def aput(self, *args: Any, **kwargs: Any) -> Any:
        return await self.killer.around(super().aput(*args, **kwargs))  # type: ignore[misc]

    async def aput_writes(self, *args: Any, **kwargs: Any) -> Any:
        return await self.killer.around(super().aput_writes(*args, **kwargs))  # type: ignore[misc]


@asynccontextmanager
async def deadly_saver(url: str, killer: Killer) -> AsyncIterator[Any]:
    """The saver of a URL. In SQLite a moment is a commit, as several writes share one; in PostgreSQL a write."""
    async with open_saver(url, None if url.startswith("sqlite:") else Killing) as saver:
        saver.killer = killer
        if url.startswith("sqlite:"):
            commit = saver.conn.commit
            saver.conn.commit = lambda: killer.around(commit())
        yield saver


def graph_of(url: str, store: str, saver: Any, sandbox: str) -> Any:
    """The RLM of the scenario, with its models and its tool at a provider."""

    def stamp(label: str, text: str) -> dict[str, str]:
        """Stamp a text."""
        data = json.dumps({"label": label, "text": text}).encode()
        request = urllib.request.Request(f"{url}/stamp", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def model(name: str) -> ChatOpenAI:
        return ChatOpenAI(
            model=name, base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30
        )  # pyright: ignore

    return create_rlm(
        model("root"),
        sub_model=model("sub"),
        tools=[stamp],
        limits=Limits(max_depth=3),
        checkpointer=saver,
        blob_store=store,
        sandbox=sandbox,
    )


async def play(args: argparse.Namespace) -> dict[str, Any]:
    """Run or resume, as a user does: `ainvoke(None, config)`, and from the start when nothing had been saved yet."""
    began = time.monotonic()
    async with deadly_saver(args.db, killer := Killer(args.kill_at, args.after)) as saver:
        graph = graph_of(f"{args.url}/{args.thread}", args.store, saver, args.sandbox)
        config, again = {"configurable": {"thread_id": args.thread}}, False
        try:
            out = await graph.ainvoke(
                None if args.resume else QUESTION, config, durability=args.durability
            )
        except EmptyInputError:
            again = True
            out = await graph.ainvoke(QUESTION, config, durability=args.durability)
        graph.rlm.sessions.close()
    return {
        "answer": out["answer"],
        "stop_reason": out["stop_reason"],
        "usage": out["usage"],
        "writes": killer.count,
        "started_again": again,
        "seconds": time.monotonic() - began,
    }


def main(arguments: list[str]) -> None:
    """One run; its result goes to `--out`, an error with its traceback too."""
    parser = argparse.ArgumentParser()
    for name in ("--db", "--store", "--url", "--thread", "--out"):
        parser.add_argument(name, required=True)
    parser.add_argument("--durability", default="sync")
    parser.add_argument("--sandbox", default="monty")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument(
        "--kill-at", type=int, default=0, help="die at this moment of the database, counted from 1"
    )
    parser.add_argument("--after", action="store_true", help="die after that write, not before it")
    args = parser.parse_args(arguments)
    try:
        result = asyncio.run(play(args))
    except Exception:  # noqa: BLE001 - the edge of the process: the harness reads it
        result = {"error": traceback.format_exc()}
    Path(args.out).write_text(json.dumps(result))


def serve(main: Callable[[list[str]], None]) -> None:
    """Fork for each line of the input; one run at a time."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            try:
                main(json.loads(line))
            finally:
                os._exit(0)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        import langgraph.checkpoint.postgres.aio
        import langgraph.checkpoint.sqlite.aio  # noqa: F401 - what a run imports late, every fork has already
        import pydantic_monty  # noqa: F401

        serve(main)
    else:
        main(sys.argv[1:])
