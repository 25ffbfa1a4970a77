"""Sides: the ways of doing the same work that are measured beside each other.

| | |
|---|---|
| `client` | the `openai` client in a loop (`plain.py`), under a semaphore |
| `plain` | `ChatOpenAI` in the same loop |
| `package`, `memory`, `sqlite`, `postgres` | the package without a checkpointer, and with each |
| `bare-memory`, `bare-sqlite` | LangGraph without the package (`bare.py`) |

`+aiohttp` hands the clients over on the aiohttp transport, and `+string` gives the package a
model's name, so that it makes the clients itself. `+python` runs code in that sandbox, where a case
has another. `before/` is the package of another checkout.
Databases are used at `durability="sync"`.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from worker import QUESTION, Job

Call = Callable[[str], Awaitable[str]]
"""Takes a context, and gives an answer."""


def side_of(job: Job) -> Call:
    """Make a side, ready to be called with a context."""
    way, _, transport = job["side"].partition("+")
    if way == "client":
        return looped(job, Client(job, "root", transport), Client(job, "sub", transport))
    if way == "plain":
        return looped(job, chat_model(job, "root", transport), chat_model(job, "sub", transport))
    if way.startswith("bare-"):
        return bare(job, way.removeprefix("bare-"))
    return package(job, way, transport)


def chat_model(job: Job, name: str, transport: str) -> Any:
    """Make a chat model. All sides have the same settings."""
    from langchain_openai import ChatOpenAI

    options: dict[str, Any] = {"base_url": _address(job), "api_key": "none", "max_retries": 0}
    if transport == "aiohttp":
        from openai import DefaultAioHttpClient

        options["http_async_client"] = DefaultAioHttpClient()
    return ChatOpenAI(model=name, **options)


class Client:
    """The bare client with as much of a chat model's form as `plain.py` uses."""

    def __init__(self, job: Job, name: str, transport: str) -> None:
        from openai import AsyncOpenAI, DefaultAioHttpClient

        http = DefaultAioHttpClient() if transport == "aiohttp" else None
        url = _address(job)
        self._client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0, http_client=http)
        self._name = name

    async def ainvoke(self, prompt: Any) -> Any:
        """Ask, and give something that has a `text`."""
        sent = [("user", prompt)] if isinstance(prompt, str) else prompt
        messages: Any = [{"role": role, "content": text} for role, text in sent]
        create = self._client.chat.completions.create
        reply = await create(model=self._name, messages=messages)
        return SimpleNamespace(text=reply.choices[0].message.content)


def _address(job: Job) -> str:
    return job["url"] or "http://127.0.0.1:9/v1"


def looped(job: Job, root: Any, sub: Any) -> Call:
    """Make the plain loop over two models."""
    from plain import plain_loop

    return lambda context: plain_loop(root, sub, QUESTION, context, job["at_once"])


def bare(job: Job, way: str) -> Call:
    """Make the bare graph."""
    from bare import bare_loop

    models = (chat_model(job, "root", ""), chat_model(job, "sub", ""))

    async def stored(context: str) -> str:
        async with opened(job, way) as saver:
            return await bare_loop(models, QUESTION, context, job["size"], job["at_once"], saver)

    return stored


def package(job: Job, way: str, transport: str) -> Call:
    """Make the package's graph."""
    root, sub = _models(job, transport)
    in_memory = _memory() if way == "memory" else None
    made = graph_of(job, root, sub, in_memory)

    async def asked(context: str) -> str:
        if way in ("package", "memory"):
            return await _answer(made, in_memory, context)
        async with opened(job, way) as saver:
            return await _answer(graph_of(job, root, sub, saver), saver, context)

    return asked


async def _answer(graph: Any, saver: Any, context: str) -> str:
    out = await graph.ainvoke({"query": QUESTION, "context": context}, **how(saver))
    return out["answer"]


def _memory() -> Any:
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver()


def _models(job: Job, transport: str) -> tuple[Any, Any]:
    if transport == "string":
        os.environ |= {"OPENAI_BASE_URL": _address(job), "OPENAI_API_KEY": "none"}
        return "openai:root", "openai:sub"
    return chat_model(job, "root", transport), chat_model(job, "sub", transport)


def graph_of(job: Job, root: Any, sub: Any, saver: Any, **options: Any) -> Any:
    """Make an RLM with room for all that a benchmark does.

    Args:
        job: says how many calls there are at once, and where blobs are.
        root: the root model.
        sub: the sub-model.
        saver: a checkpointer, or None.
        **options: further ones of `create_rlm`.
    """
    from langgraph_rlm import Limits, create_rlm

    limits = Limits(
        max_concurrency=job["at_once"],
        max_sub_calls=100_000,
        max_iterations=1_000,
        max_cell_seconds=300,
        max_depth=options.pop("max_depth", 1),
    )
    blobs = Path(job["folder"], "blobs")
    sandbox = "python" if job["side"].endswith("+python") else job["sandbox"]
    return create_rlm(
        root,
        sub_model=sub,
        limits=limits,
        checkpointer=saver,
        blob_store=blobs,
        sandbox=sandbox,
        **options,
    )


def how(saver: Any, thread: str = "bench") -> dict[str, Any]:
    """Give the arguments of a call on a thread; a database is written at once."""
    arguments: dict[str, Any] = {"config": {"configurable": {"thread_id": thread}}}
    if saver is not None and type(saver).__name__ != "InMemorySaver":
        arguments["durability"] = "sync"
    return arguments


@asynccontextmanager
async def opened(job: Job, way: str) -> AsyncIterator[Any]:
    """Open the empty checkpointer that a side has; None for `package` and for plain loops."""
    if way == "memory":
        yield _memory()
    elif way == "sqlite":
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

        path = str(Path(job["folder"], "run.db"))
        async with AsyncSqliteSaver.from_conn_string(path) as saver:
            yield saver
    elif way == "postgres":
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

        async with AsyncPostgresSaver.from_conn_string(await _new_database(job)) as saver:
            await saver.setup()
            yield saver
    else:
        yield None


async def _new_database(job: Job) -> str:
    """Make an empty database on the server, and give its address."""
    import psycopg

    name = f"bench_{uuid4().hex[:12]}"
    connection = await psycopg.AsyncConnection.connect(job["postgres"], autocommit=True)
    async with connection:
        await connection.execute(f"CREATE DATABASE {name}".encode())
    return job["postgres"].replace("/postgres?", f"/{name}?")


async def stored_mb(job: Job, way: str, saver: Any) -> float:
    """Measure a database, with its journal, in 10**6 bytes; 0 where there is none."""
    if way == "sqlite":
        return _size_of(job["folder"]) / 1e6
    if way == "postgres":
        cursor = await saver.conn.execute("SELECT pg_database_size(current_database()) AS size")
        return (await cursor.fetchone())["size"] / 1e6
    return 0.0


def _size_of(folder: str) -> int:
    return sum(file.stat().st_size for file in Path(folder).glob("run.db*"))
