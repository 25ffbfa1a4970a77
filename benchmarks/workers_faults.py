"""Faults: what hits workers while they work, one worker at a time of a kind."""

import asyncio
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg

from benchmarks.workers_network import Bridge
from tests.deployment.cluster import CannotStart, Cluster, Worker

STARTED_AGAIN_AFTER = 1.0
"""Seconds until whatever watches workers has started a killed one again."""
OF_WORKER = "select thread_id from runs where status = 'running' and claimed_by like %s"


@dataclass
class Fault:
    """A worker that was hit."""

    kind: str
    worker: int
    at: float
    """Seconds of `time.monotonic`."""
    threads: list[str] = field(default_factory=list)
    """Of the runs that it worked on."""


class Faults:
    """Hits a worker every so many seconds, as long as it is left to."""

    def __init__(
        self,
        cluster: Cluster,
        bridge: Bridge | None,
        kinds: Sequence[str],
        *,
        every: float,
        stall: float,
        seed: int,
    ) -> None:
        """Describe them.

        Args:
            kinds: of `kill`, `stop` and `cut`.
            every: seconds between two.
            stall: how long a worker is stopped or cut off.
        """
        self._cluster, self._bridge, self._kinds = cluster, bridge, kinds
        self._every, self._stall, self._random = every, stall, random.Random(seed)
        self._down: set[int] = set()
        self._open: set[asyncio.Task[None]] = set()
        self.done: list[Fault] = []

    async def run(self) -> None:
        """Hit until it is cancelled; then let what is hit come back."""
        turn = 0
        try:
            while True:
                await asyncio.sleep(self._every)
                up = [worker for worker in self._cluster.workers if worker.number not in self._down]
                if len(up) < 2:
                    continue  # one goes on working
                task = asyncio.create_task(self._hit(self._kinds[turn % len(self._kinds)], up))
                turn += 1
                self._open.add(task)
                task.add_done_callback(self._open.discard)
        finally:
            await asyncio.gather(*self._open)

    async def _hit(self, kind: str, up: list[Worker]) -> None:
        worker = self._random.choice(up)
        self._down.add(worker.number)
        fault = Fault(kind, worker.number, time.monotonic(), await self._threads(worker))
        self.done.append(fault)
        fault.at = time.monotonic()
        try:
            await {"kill": self._kill, "stop": self._stop, "cut": self._cut}[kind](worker)
        except CannotStart as error:
            print(error)
        self._down.discard(worker.number)

    async def _threads(self, worker: Worker) -> list[str]:
        url = self._cluster.postgres.url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            rows = await connection.execute(OF_WORKER, [f"{worker.name}%"])
            return [thread for (thread,) in await rows.fetchall()]

    async def _kill(self, worker: Worker) -> None:
        await asyncio.to_thread(worker.kill)
        await asyncio.sleep(STARTED_AGAIN_AFTER)
        worker.start()
        await asyncio.to_thread(worker.wait)

    async def _stop(self, worker: Worker) -> None:
        assert worker.process is not None
        worker.process.send(signal.SIGSTOP)
        await asyncio.sleep(self._stall)
        worker.process.send(signal.SIGCONT)
        await self._back(worker)

    async def _cut(self, worker: Worker) -> None:
        assert self._bridge is not None
        self._bridge.cut(worker.number)
        await asyncio.sleep(self._stall)
        self._bridge.join(worker.number)
        await self._back(worker)

    async def _back(self, worker: Worker) -> None:
        """Wait until it serves again, and a while: what it does when it is back is what counts."""
        await asyncio.to_thread(worker.wait)
        await asyncio.sleep(self._every / 2)
