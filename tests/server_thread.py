"""A running server for tests: an ASGI application on a free port of loopback, in a thread of its own."""

import asyncio
import threading
from types import TracebackType
from typing import Any, Self

import uvicorn


class Served:
    """`with Served(app) as server:` clients use `server.url` as their base URL."""

    def __init__(self, app: Any) -> None:
        """Describe a server; entering it starts it."""
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on", timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()), daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            self._thread.join(0.005)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join(10)
