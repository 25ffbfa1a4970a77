"""A network of namespaces: each worker in its own, on one bridge, so that one can be cut off.

Nothing of it is outside: the benchmark itself runs in a namespace of its own, where the bridge is.
"""

import os
import shutil
import subprocess
import sys
from types import TracebackType
from typing import Self

from tests.deployment.cluster import Place

INSIDE = "LANGGRAPH_RLM_BENCH_INSIDE"
"""Set in the process that runs in the namespace with the bridge."""
HOST = "10.213.0.1"
"""The bridge's address, where the services listen."""
PORT = 2026


def why_not() -> str:
    """Say why there can be no namespaces here; empty if there can."""
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    missing = [command for command in ("ip", "unshare") if not shutil.which(command)]
    return f"no `{missing[0]}` here" if missing else ""


def enter() -> None:
    """Run this very command again, in a namespace of its own; returns only there."""
    if INSIDE in os.environ:
        return
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


class Bridge:
    """`with Bridge() as bridge:` the places of workers, each behind a link of its own."""

    def __init__(self) -> None:
        self._made: list[int] = []

    def __enter__(self) -> Self:
        _ip("link set lo up")
        _ip("link add rlm0 type bridge")
        _ip(f"addr add {HOST}/24 dev rlm0")
        _ip("link set rlm0 up")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number in self._made:
            _ip(f"netns delete {_name(number)}")

    def place(self, number: int) -> Place:
        """Make the namespace of a worker."""
        name, address = _name(number), f"10.213.0.{10 + number}"
        _ip(f"netns add {name}")
        self._made.append(number)
        _ip(f"link add w{number} type veth peer name eth0 netns {name}")
        _ip(f"-n {name} addr add {address}/24 dev eth0")
        _ip(f"-n {name} link set lo up")
        _ip(f"-n {name} link set eth0 up")
        _ip(f"link set w{number} up")
        self.join(number)
        return Place(address, PORT, ["ip", "netns", "exec", name])

    def cut(self, number: int) -> None:
        """Take a worker off the bridge: what it sends goes nowhere, without an error."""
        _ip(f"link set w{number} nomaster")

    def join(self, number: int) -> None:
        """Put it back."""
        _ip(f"link set w{number} master rlm0")


def _name(number: int) -> str:
    return f"rlm{os.getpid()}w{number}"


def _ip(arguments: str) -> None:
    done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {arguments}: {done.stderr.strip()}")
