"""Holders: how a process is named in a lease, so that others on its machine see when it is gone.

A machine is known by the id of its boot, and a process on it by its namespace of process ids, its
id and when it started: ids are given again, and containers number their processes anew.
"""

import os
import sys
import uuid
from pathlib import Path
from typing import Literal

from langgraph_rlm.lazy import per_process

HolderState = Literal["gone", "works", "stopped", "unknown"]
"""Unknown: it is on another machine, or this system does not tell."""

PROC = Path("/proc")


@per_process
def own_holder() -> str:
    """Name this process."""
    place = _place()
    if place is not None:
        found = _look(os.getpid())
        if found is not None:
            return f"{place} {os.getpid()} {found[1]}"
    return f"? {uuid.uuid4().hex}"


def state_of(holder: str) -> HolderState:
    """Say how a process is, by its name."""
    if holder == own_holder():
        return "works"
    boot, _, rest = holder.partition(" ")
    namespace, _, ids = rest.partition(" ")
    id, _, started = ids.partition(" ")
    if not id.isdecimal() or f"{boot} {namespace}" != _place():
        return "unknown"
    try:
        os.kill(int(id), 0)
    except (ProcessLookupError, OverflowError):
        return "gone"
    except PermissionError:  # it is there, and another user's
        pass
    found = _look(int(id))
    if found is None:  # it may be hidden from this user
        return "unknown"
    letter, now_started = found
    if now_started != started or letter in "ZX":
        return "gone"
    return "stopped" if letter in "Tt" else "works"


@per_process
def _place() -> str | None:
    """The boot of this machine and the namespace of process ids; None where these are not known."""
    if sys.platform != "linux":
        return None
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (PROC / "self/ns/pid").stat().st_ino
        is_own = (PROC / "self/stat").read_text().startswith(f"{os.getpid()} ")
    except OSError:
        return None
    return f"{boot} {namespace}" if is_own and boot else None


def _look(id: int) -> tuple[str, str] | None:
    """The state of a process, as Linux writes it, and when it started in ticks since the boot; None
    where that cannot be seen. A process whose first thread alone has ended still runs."""
    try:
        told = (PROC / str(id) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = told.rpartition(")")[2].split()  # its name, in brackets, may have any letters
    if len(fields) < 20:
        return None
    letter, threads, started = fields[0], fields[17], fields[19]
    return ("S" if threads not in ("0", "1") and letter == "Z" else letter), started
