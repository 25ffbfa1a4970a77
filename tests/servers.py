"""Servers for tests: an ASGI application on a free port of loopback in a thread, or `langgraph-rlm serve` in a process."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import ChatRLM
from langgraph_rlm.server import Settings, create_app

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "price",
        "description": "The price of an item.",
        "parameters": {
            "type": "object",
            "properties": {"item": {"type": "string"}},
            "required": ["item"],
        },
    },
}


class Served:
    """`with Served(app) as server:` clients use `server.url` as their base URL."""

    def __init__(self, app: Any) -> None:
        """Describe a server; entering it starts it."""
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            log_level="error",
            lifespan="on",
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._server.serve()), daemon=True
        )
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            self._thread.join(0.005)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)


def rlm_app(model: Callable[[], Any], *, settings: Settings | None = None, **options: Any) -> Any:
    """The server over `ChatRLM`s with scripted models, which share a saver as they do behind `langgraph-rlm serve`."""
    saver = InMemorySaver()
    base = ChatRLM(model=model(), checkpointer=saver, **{"direct_below_tokens": 0, **options})
    return create_app(settings, chat=lambda model_id, owner: base.for_owner(owner))


class Process:
    """`langgraph-rlm serve` in a process of its own."""

    def __init__(self, *options: str, **env: str) -> None:
        """Start it on a free port, and wait until it serves."""
        command = [sys.executable, "-m", "langgraph_rlm", "serve", "--port", "0", *options]
        with tempfile.NamedTemporaryFile(
            "w+", suffix=".log"
        ) as log:  # a pipe that nobody reads would fill up
            self._process = subprocess.Popen(command, env=os.environ | env, stderr=log)
            while not (line := Path(log.name).read_text()).startswith(
                "Serving "
            ) or not line.endswith("\n"):
                assert self._process.poll() is None, line
                time.sleep(0.02)
        self.url = line.split()[1]
        self.pid = self._process.pid

    def kill(self) -> None:
        """End it at once, and wait until its process of runs has followed it."""
        import psutil

        children = psutil.Process(self.pid).children(recursive=True)
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)
        _, alive = psutil.wait_procs(children, timeout=30)
        assert not alive, f"{alive} outlived the server"

    def stop(self) -> int:
        """End it in an orderly way; its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        return self._process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def folder_options(folder: Path) -> list[str]:
    """Options of a server that keeps all it has in a folder."""
    return ["--db", str(folder / "server.db")]
