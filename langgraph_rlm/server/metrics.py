"""Metrics: `GET /metrics`, and what the HTTP side counts for it itself.

Who may ask: whoever has a key of LANGGRAPH_RLM_METRICS_KEY where that is set, since what reads
figures need not be able to spend money; else whoever has a key of the server; everybody where it
has none.
"""

import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.server.answers import Answer, Asked, Head
from langgraph_rlm.server.bodies import no_body
from langgraph_rlm.server.engine import Engine
from langgraph_rlm.server.readiness import is_up, processes_of

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from langgraph_rlm.server.figures import SECONDS, WAITS
except ImportError as error:
    raise ConfigurationError(
        "The server needs Starlette, uvicorn and prometheus-client: "
        "pip install 'langgraph-rlm[server]'"
    ) from error

TEXT = {"content-type": "text/plain; version=0.0.4; charset=utf-8"}

ROUTES = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/models",
    "/v1/files",
    "/v1/usage",
    "/health",
    "/ready",
    "/metrics",
    "/openapi.json",
)
"""What requests are counted under; all others are `other`, since clients may ask for any path."""

LEFT = "left"
"""The status of a request whose client left before the answer began."""


class HttpFigures:
    """What one server counts of its requests, in a registry of its own."""

    def __init__(self, waiting: Callable[[], int], slots: int) -> None:
        """Make them.

        Args:
            waiting: gives how many requests wait in line.
            slots: requests that are worked on at once, at most.
        """
        self._registry = registry = CollectorRegistry()
        name = "langgraph_rlm_http"
        self._requests = Counter(
            f"{name}_requests", "Requests.", ("route", "status"), registry=registry
        )
        self._active = Gauge(
            f"{name}_requests_active",
            "Requests that are open, waiting ones too.",
            registry=registry,
        )
        Gauge(
            f"{name}_requests_waiting", "Requests that wait in line.", registry=registry
        ).set_function(waiting)
        Gauge(
            f"{name}_slots", "Requests that are worked on at once, at most.", registry=registry
        ).set(slots)
        self._seconds = Histogram(
            f"{name}_request_seconds",
            "Time of a request to the end of its answer, in seconds.",
            ("route",),
            registry=registry,
            buckets=SECONDS,
        )
        self._queue = Histogram(
            f"{name}_queue_seconds",
            "Time that a request waited in line, in seconds.",
            registry=registry,
            buckets=WAITS,
        )
        self._up = Gauge(
            "langgraph_rlm_run_process_up",
            "Run processes in which runs can begin.",
            registry=registry,
        )
        self._processes = Gauge(
            "langgraph_rlm_run_processes", "Run processes that there should be.", registry=registry
        )

    @contextmanager
    def in_line(self) -> Generator[None]:
        """Measure how long a request waits in line."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._queue.observe(time.perf_counter() - began)

    async def answer(self, engine: Engine) -> Answer:
        """Answer `GET /metrics`: our figures, then those of the runs where there is a process for
        them."""
        processes = processes_of(engine) or {"up": 1, "of": 1}
        self._up.set(processes["up"])
        self._processes.set(processes["of"])
        yield Head(200, TEXT)
        yield generate_latest(self._registry)
        if is_up(engine):
            figures = engine.answer(Asked("figures"), no_body())
            async with aclosing(_body(figures)) as parts:
                async for part in parts:
                    yield part

    def measured(self, app: ASGIApp) -> ASGIApp:
        """Make an application that counts its requests: a middleware."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            status, began = LEFT, time.perf_counter()

            async def noted(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = str(message["status"])
                await send(message)

            self._active.inc()
            try:
                await app(scope, receive, noted)
            finally:
                route = route_of(scope)
                self._active.dec()
                self._requests.labels(route, status).inc()
                self._seconds.labels(route).observe(time.perf_counter() - began)

        return counted


def route_of(scope: Scope) -> str:
    """Give what a request is counted under."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    for route in ROUTES:
        if path == route or path.startswith(f"{route}/"):
            return route
    return "other"


async def _body(answer: Answer) -> AsyncGenerator[bytes]:
    async with aclosing(answer) as parts:
        async for part in parts:
            if not isinstance(part, Head):
                yield part
