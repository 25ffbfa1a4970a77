"""Server: `langgraph dev` with the app of this folder, started by a test and stopped by its id."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEY = "the key of the deployment in these tests"
OFFLINE = {
    "LANGSMITH_TRACING": "false",
    "LANGSMITH_API_KEY": "",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "true",
}


class Server:
    """A server whose threads outlive it: started again in the same folder, it has them."""

    def __init__(self, folder: Path) -> None:
        """Describe it."""
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        graphs = {"rlm": f"{ROOT / 'tests/remote/app.py'}:graph"}
        given = {"dependencies": [str(ROOT)], "graphs": graphs}
        (folder / "langgraph.json").write_text(json.dumps(given))

    @property
    def env(self) -> dict[str, str]:
        """What parents and workers have alike."""
        return {
            "LANGGRAPH_RLM_CHILDREN_URL": self.url,
            "LANGGRAPH_RLM_CHILDREN_KEY": KEY,
            "LANGGRAPH_RLM_STORE": str(self.folder / "blobs"),
            "RLM_TEST_NOTES": str(self.folder),
        }

    def start(self) -> None:
        """Start it, and wait until it serves."""
        command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"]
        address = ["--host", "127.0.0.1", "--port", str(self._port)]
        with (self.folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                [*command, *address, "--n-jobs-per-worker", "20"],
                cwd=self.folder,
                env={**os.environ, **OFFLINE, **self.env, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 60
        while time.monotonic() < end and self._process.poll() is None:
            with (
                suppress(OSError),
                urllib.request.urlopen(f"{self.url}/ok", timeout=1) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.1)
        log = (self.folder / "server.log").read_text()[-3000:]
        raise AssertionError(f"langgraph dev did not start: {log}")

    def stop(self) -> None:
        """Stop it, and what it started: they are a process group of their own."""
        for end in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self._process.pid, end)
                self._process.wait(20)

    def noted(self, name: str) -> list[str]:
        """What models were asked, or mails that were sent, one a line."""
        path = self.folder / name
        return path.read_text().split("\n")[:-1] if path.exists() else []


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Give a server that serves."""
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
