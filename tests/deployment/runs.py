"""Runs: started over HTTP at any worker that answers, as a client with retries does, and what became of them."""

import asyncio
import itertools
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
from langgraph_sdk import get_client
from langgraph_sdk.errors import APIStatusError

from .cluster import KEY, Cluster, Worker
from .models import Models, Tally
from .work import BEST_SO_FAR, Work

ENDED = ("success", "error", "interrupted", "timeout")
LOOK = """
    select run_id, status, error_message, extract(epoch from updated_at - created_at)
    from runs where run_id = any(%s)
"""
TRY_SECONDS = 120
"""How long a client tries until it gives up."""
CALL_COST = 0.01
"""USD of each call: see `graphs.PRICE`."""


def thread_of(run: str) -> str:
    """The id of the thread of a run, which follows from its name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, run))


class SavedReplies:
    """Tells whether the database holds a text in what was saved of runs."""

    FIND = """
        select exists (select from checkpoint_writes where position(%(text)s in blob) > 0)
            or exists (select from checkpoint_blobs where position(%(text)s in blob) > 0)
    """

    def __init__(self) -> None:
        self.url = ""
        """The database's; until there is one, nothing is saved."""

    def __call__(self, text: str) -> bool:
        """Look for it, in all threads: a child may have one of its own."""
        if not self.url:
            return False
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(self.FIND, {"text": text.encode()}).fetchone()
        assert row is not None
        return bool(row[0])


@dataclass
class Run:
    """One run: what was asked of whom, and what came of it."""

    work: Work
    limits: dict[str, Any] = field(default_factory=dict)
    graph: str = "priced"
    thread_id: str = ""
    run_id: str = ""
    status: str = ""
    error: str = ""
    seconds: float = 0
    """From when the engine took it to its end, by the engine's own times."""
    ended_at: float = 0
    """When its end was seen, by `time.monotonic`."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    output: dict[str, Any] = field(default_factory=dict)

    def problems(self, tally: Tally, moments: Sequence[float] = ()) -> list[str]:
        """What is wrong with it.

        Args:
            tally: what it has asked the model.
            moments: when workers were hit, by `time.monotonic`.
        """
        if self.status != "success":
            return [f"ended as {self.status or 'unknown'}: {self.error[:150]}"]
        found = [] if self._is_right() else [f"WRONG ANSWER {self.output.get('answer')!r:.100}"]
        again = [ask.prompt for ask in tally.again if ask.was_saved]
        if again:
            found.append(f"SAVED AND ASKED AGAIN {len(again)}: {again[0]!r:.60}")
        return found + self._over(tally, moments)

    def _is_right(self) -> bool:
        stopped = self.output.get("stop_reason")
        if not self.limits:
            return stopped == "answered" and self.output.get("answer") == self.work.answer
        (limit,) = self.limits
        said = str(self.output.get("answer"))
        return stopped == limit and (f"Limit {limit}" in said or BEST_SO_FAR in said)

    def _over(self, tally: Tally, moments: Sequence[float]) -> list[str]:
        """What it has spent beyond its limits.

        What was in flight when a worker was hit is in no log: nobody can count it.
        """
        lost = tally.in_flight(moments)
        most = self.limits.get("max_sub_calls", self.work.calls)
        spent = (len({ask.prompt for ask in tally.asks} - lost)) * CALL_COST
        found: list[str] = []
        if len(tally.prompts) > most:
            found.append(f"OVER BUDGET: {len(tally.prompts)} sub-calls of {most}")
        if spent > self.limits.get("max_cost", float("inf")) + 1e-9:
            found.append(f"OVER BUDGET: {spent:.2f} USD of {self.limits['max_cost']}")
        return found


class Clients:
    """Starts runs, and waits for their ends."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._turn = itertools.count()
        self.retries = 0
        """How often a worker did not answer."""

    async def start(self, run: Run) -> None:
        """Start a run at a worker that answers; one that was started is never started twice."""
        run.thread_id = thread_of(run.work.name)

        async def started(client: Any) -> str:
            await client.threads.create(thread_id=run.thread_id, if_exists="do_nothing")
            for known in await client.runs.list(run.thread_id):
                return known["run_id"]
            given, context = {"query": run.work.question}, {"limits": run.limits}
            if run.graph == "steps":
                given, context = {"messages": []}, {}
            made = await client.runs.create(run.thread_id, run.graph, input=given, context=context)
            return made["run_id"]

        run.run_id = await self.asked(started)

    async def asked(self, ask: Any) -> Any:
        """What a worker says; another one is asked where one does not answer."""
        end = time.monotonic() + TRY_SECONDS
        while True:
            worker = self._next()
            client = get_client(url=worker.url, api_key=KEY, timeout=httpx.Timeout(10, connect=2))
            try:
                return await ask(client)
            except (httpx.HTTPError, APIStatusError, OSError):
                self.retries += 1
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)
            finally:
                await client.aclose()

    def _next(self) -> Worker:
        workers = self._cluster.workers
        return workers[next(self._turn) % len(workers)]

    async def all(self, runs: Sequence[Run], *, at_once: int = 100, seconds: float = 90) -> None:
        """Have runs done, so many at once, until they have ended or the time is up."""
        slots, open_runs = asyncio.Semaphore(at_once), dict[str, Run]()

        async def done(run: Run) -> None:
            async with slots:
                await self.start(run)
                open_runs[run.run_id] = run
                await run.ended.wait()

        watching = asyncio.create_task(self._watch(open_runs))
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*map(done, runs))
        except TimeoutError:
            pass  # what has not ended is told by its status
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, open_runs: dict[str, Run]) -> None:
        """See ends in the engine's own table, which costs less than asking workers, and read outputs over HTTP."""
        url = self._cluster.postgres.url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            while True:
                rows = await connection.execute(LOOK, [list(open_runs)])
                for run_id, status, error, took in await rows.fetchall():
                    run = open_runs[run_id]
                    run.status, run.error, run.seconds = status, error or "", float(took)
                    if status in ENDED:
                        del open_runs[run_id]
                        run.ended_at = time.monotonic()
                        await self._read(run)
                        run.ended.set()
                await asyncio.sleep(0.1)

    async def _read(self, run: Run) -> None:
        if run.status == "success":
            got = await self.asked(lambda client: client.runs.get(run.thread_id, run.run_id))
            run.output = got.get("output") or {}


def judged(runs: Sequence[Run], models: Models, moments: Sequence[float] = ()) -> list[str]:
    """What is wrong with runs, one line each; see `Run.problems`."""
    found = [(run, run.problems(models.tally(run.work.name), moments)) for run in runs]
    return [f"{run.work.name}: {'; '.join(problems)}" for run, problems in found if problems]
