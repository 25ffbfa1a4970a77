"""Target: a process of the same user that hostile programs are after. It notes what reaches it."""

import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

SECRET = "CANARY-SECRET-7f1d"


class Target:
    """The process, and the canary: a file beside it with a secret."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.canary = folder / "canary"
        self.canary.write_text(SECRET)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={"CANARY_SECRET": SECRET},
        )
        self.known: dict[str, Any] = self._read()
        self.before = self.state()

    def state(self) -> dict[str, Any]:
        """Everything that a program must not have changed."""
        pid = self._process.pid
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return {
            "reached": self._read(),
            "alive": self._process.poll(),
            "priority": os.getpriority(os.PRIO_PROCESS, pid),
            "processors": os.sched_getaffinity(pid),
            "scheduler": os.sched_getscheduler(pid),
            "limits": resource.prlimit(pid, resource.RLIMIT_NOFILE),
            "canary": (
                self.canary.read_text(),
                self.canary.stat()[:4],
                self.canary.stat().st_mtime_ns,
            ),
            "folder": sorted(os.listdir(self.folder)),
            "folder's mode": self.folder.stat().st_mode,
            "library": (os.stat(os.__file__)[:7], os.stat(os.__file__).st_mtime_ns),
            "host": [resource.getrlimit(n) for n in range(16)],
            "host's priority": os.getpriority(os.PRIO_PROCESS, 0),
        }

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def main(folder: str) -> None:
    """Be the target: listen, and tell what came each time that a line is asked for."""
    reached: list[str] = []
    signal.signal(signal.SIGUSR1, lambda *_: reached.append("signal"))
    memory = ctypes.create_string_buffer(SECRET.encode())
    abstract = f"hostile-{os.getpid()}"
    listening = [socket.create_server(("127.0.0.1", 0))]
    for address in (f"\0{abstract}", f"{folder}/socket"):
        listening.append(socket.socket(socket.AF_UNIX))
        listening[-1].bind(address)
        listening[-1].listen()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(listening[0].getsockname())

    def note(wait: Any) -> None:
        while True:
            wait()
            reached.append("connection")

    for wait in (*(each.accept for each in listening), lambda: datagrams.recv(9)):
        threading.Thread(target=note, args=(wait,), daemon=True).start()
    print(
        json.dumps(
            {
                "pid": os.getpid(),
                "port": listening[0].getsockname()[1],
                "abstract": abstract,
                "socket": f"{folder}/socket",
                "address": ctypes.addressof(memory),
                "folder": folder,
                "canary": f"{folder}/canary",
            }
        ),
        flush=True,
    )
    for _ in sys.stdin:
        print(json.dumps(reached), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
