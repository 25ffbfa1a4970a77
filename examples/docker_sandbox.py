"""Docker: a backend of one's own, which runs each interpreter in a container.

It needs the `docker` command, a daemon on this machine, and an image with Python 3.11 or later and
time-machine (`BUILD` makes one):

    rlm = create_rlm("openai:gpt-5", sandbox=DockerBackend())

Code has no network and no files of the host but this package's own folder, which it may only
read. Its program and the messages are those of `sandbox="local"`; a container is put around them.
Unlike in `sandbox="python"`, threads of the guest go on between cells.
"""

import logging
import os
import secrets
import socket
import subprocess
import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.processes.child import FIXED
from langgraph_rlm.repl.base import Session, SessionSpec
from langgraph_rlm.repl.local import PROGRAM
from langgraph_rlm.repl.local_session import LocalSession

LOG = logging.getLogger(__name__)
IMAGE = "langgraph-rlm-python"
BUILD = r"printf 'FROM python:3.13-slim\nRUN pip install time-machine\n' | docker build --tag {} -"
START_SECONDS = 60.0
REMOVE_SECONDS = 10.0
ENDED = ("No such container", "already in progress")
FOLDER = "/work"
EXTRA_BYTES = 768 << 20
"""Memory beyond the guest's heap: 256 MB each for libraries and for files, which are in memory,
and the rest for two interpreters."""

SHUT = (
    *("--network", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--read-only", "--tmpfs", f"{FOLDER}:size=256m,mode=1777", "--user", "65534:65534"),
    *("--pids-limit", "128", "--cpus", "1"),
    *("--log-driver", "none"),  # the default one keeps all messages on the host's disk
)

# The first program of a container. The worker wants a socket, and a container has pipes. It is a
# process apart, so that what the guest does to its own interpreter does not stop the copying. When
# one side ends, this does, and a container ends with its first program, whatever else runs in it.
RELAY = """
import os, socket, subprocess, sys, threading

def copy(source, sink):
    try:
        while data := os.read(source, 1 << 16):
            while data:
                data = data[os.write(sink, data):]
    finally:
        os._exit(0)

ours, theirs = socket.socketpair()
number = theirs.fileno()
nothing = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.DEVNULL)
worker = [sys.executable, "-P", "-X", "utf8", sys.argv[1], str(number)]
process = subprocess.Popen(worker, pass_fds=[number], **nothing)
theirs.close()
threading.Thread(target=copy, args=(0, ours.fileno())).start()
copy(ours.fileno(), 1)
"""

REMEDIES = {
    "Cannot connect to the Docker daemon": "Start the daemon, and check that `docker info` works.",
    "permission denied": "Let your user use Docker, and check that `docker info` works.",
    "No such image": f"Build it: `{BUILD}`.",
    "No module named 'time_machine'": f"Build an image that has it: `{BUILD}`.",
}
TRY = (
    "Try `docker run --rm {} python -c 'import time_machine'`, "
    f"which has to end within {START_SECONDS:.0f} seconds."
)


class Container:
    """A container that runs the worker; what `LocalSession` uses of a `WorkerProcess`.

    Nothing is left when this process dies, however it does: the client's input ends then, Docker
    closes that of the container, the relay ends the container, and the daemon removes it (`--rm`).
    """

    def __init__(self, image: str, memory: int) -> None:
        """Start it. Raises `SandboxError` where there is no `docker` command."""
        self.image = image
        self.folder = SimpleNamespace(path="")  # it is in memory, and goes with the container
        self.has_ended = False
        self.exit_code: int | None = None
        self.said = ""  # by the client, before the worker was up
        self._lock = threading.Lock()
        self._name = f"langgraph-rlm-{secrets.token_hex(8)}"
        self.stream, theirs = socket.socketpair()
        try:
            with theirs:
                self._client = subprocess.Popen(
                    _command(image, self._name, memory),
                    stdin=theirs,
                    stdout=theirs,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    start_new_session=True,
                )
        except OSError as error:
            self.stream.close()
            raise SandboxError(
                f"The command 'docker' did not start: {error}. Install Docker, and check that "
                "`docker info` works."
            ) from error

    def stop_listening(self) -> None:
        """Take no more of what the client says: a guest could make it talk for ever."""
        with self._lock:
            self._client.stderr.close()

    def kill(self) -> None:
        """End the container, and wake whoever waits for it."""
        with self._lock:
            if self.has_ended:
                return
            self.has_ended = True
            with suppress(OSError):  # the client may have closed its end
                self.stream.shutdown(socket.SHUT_RDWR)
            self._client.kill()  # before the removal: it may be about to start what it has created
            self.exit_code = self._client.wait()
            if not self._client.stderr.closed:
                os.set_blocking(self._client.stderr.fileno(), False)
                self.said = (self._client.stderr.read(4_000) or b"").decode(errors="replace")
            _remove(self._name)

    def own_bytes(self) -> int | None:
        """Nobody here knows what it takes: the container's memory is not this machine's to read."""
        return None

    def discard(self) -> None:
        """End the container. Safe to call twice."""
        self.kill()
        self.stream.close()
        self.stop_listening()


def _command(image: str, name: str, memory: int) -> list[str]:
    """Give what starts a container. Of the host's environment it gets nothing."""
    variables = {**FIXED, "HOME": FOLDER, "TMPDIR": FOLDER}
    return [
        *("docker", "run", "--rm", "--interactive", "--pull", "never", "--name", name, *SHUT),
        *("--memory", str(memory), "--memory-swap", str(memory), "--workdir", FOLDER),
        *(f"--env={variable}={value}" for variable, value in variables.items()),
        *("--volume", f"{PROGRAM.parents[1]}:/rlm:ro", image),
        *("python", "-P", "-c", RELAY, f"/rlm/repl/{PROGRAM.name}"),
    ]


def _remove(name: str) -> None:
    """Remove a container, which may have ended by itself."""
    command = ["docker", "rm", "--force", name]
    try:
        done = subprocess.run(command, capture_output=True, timeout=REMOVE_SECONDS, text=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        LOG.warning("container %s: %s. It ends by itself, as its input is closed.", name, error)
        return
    if done.returncode and not any(text in done.stderr for text in ENDED):
        LOG.warning("container %s: %s", name, done.stderr.strip())


class DockerSession(LocalSession):
    """The session of one container."""

    sandbox = "docker"
    max_parts = 4_000_000  # in the host each takes up to 100 bytes

    def remedy(self, said: str) -> str:
        """Say what to do where no container came up, by what Docker or the worker said."""
        image, told = self._process.image, self._process.said.strip()
        known = [remedy for text, remedy in REMEDIES.items() if text in f"{said} {told}"]
        return f"Docker says {told!r}. {[*known, TRY][0].format(image)}"

    def _config(self) -> dict[str, Any]:
        return {**super()._config(), "site": []}  # the host's packages are none of its business


class DockerBackend:
    """Sessions in containers of one image."""

    name = "docker"
    notes = (
        "The interpreter is CPython in a container, with the packages of its image. "
        f"It has no network, and can write in {FOLDER} alone, at most 256 MB. "
        "The clock stands still and sleeps take no time. "
        "Host functions such as llm_query work in the main thread only: "
        "llm_query_batched runs calls in parallel."
    )

    def __init__(self, image: str = IMAGE) -> None:
        """Set the image. Nothing starts before the first session, and nothing is downloaded."""
        self._image = image
        self._sessions: set[LocalSession] = set()

    def open(self, spec: SessionSpec) -> Session:
        """Start a container. Raises `SandboxError` with what to do where that fails."""
        container = Container(self._image, spec.max_heap_bytes + EXTRA_BYTES)
        too_late = threading.Timer(START_SECONDS, container.kill)
        too_late.start()
        try:
            session = DockerSession(spec, container, self._sessions)
        finally:
            too_late.cancel()
        container.stop_listening()
        return session

    def release_idle(self) -> None:
        """Do nothing: each container ends with its session."""

    def close(self) -> None:
        """End every container."""
        for session in list(self._sessions):
            session.close()
