"""Worker program: a child process that locks itself in, loads one module, and answers requests.

It is run by its path. What it answers is the work of the module's function `answer(request)`, whose
result is a JSON value. The module is loaded inside the jail.
"""

import importlib
import importlib.util
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from langgraph_rlm.processes import jail
    from langgraph_rlm.processes.frames import Channel
else:  # run by its path
    sys.path.insert(0, os.path.dirname(__file__))
    import jail
    from frames import Channel

    del sys.path[0]


def main() -> None:
    """Serve the socket whose file descriptor is the only argument."""
    stream = socket.socket(fileno=int(sys.argv[1]))
    stream.set_inheritable(False)
    channel = Channel(stream)
    config = channel.read()
    sys.path.insert(_place_of_packages(), config["path"])
    importlib.util.find_spec("langgraph_rlm")  # lists the folder that it is in, while that is open
    try:
        _lock(config)
        threading.Thread(target=_end_with, args=(stream,), daemon=True).start()
        module: Any = importlib.import_module(config["module"])
    except (ImportError, OSError, jail.JailError) as error:
        channel.send({"failed": str(error)})
        return
    channel.max_sent = config["reply_bytes"]
    channel.send({"ready": True})
    while True:
        try:
            reply = _reply(module.answer, channel.read())
        except EOFError:
            return
        _send(channel, reply)


def _place_of_packages() -> int:
    """Find where installed packages begin in `sys.path`: another copy of this one may be there."""
    for place, path in enumerate(sys.path):
        if path.endswith("-packages"):
            return place
    return len(sys.path)


def _reply(answer: Any, request: Any) -> dict[str, Any]:
    try:
        return {"value": answer(request)}
    except Exception as error:  # noqa: BLE001 - whatever a hostile file brings about is the answer
        return {"error": type(error).__name__, "message": str(error)}


def _send(channel: Channel, reply: Mapping[str, Any]) -> None:
    try:
        channel.send(reply)
    except (ValueError, MemoryError) as error:
        channel.send({"error": type(error).__name__, "message": str(error)})


def _lock(config: Mapping[str, Any]) -> None:
    """Enter the jail; where there is none, set the limits of memory and of files alone."""
    memory = _memory_in_use() + config["memory_bytes"]
    if config["jail"]:
        jail.lock(
            config["read"],
            [config["folder"]],
            file_bytes=config["file_bytes"],
            memory_bytes=memory,
            parent=config["parent"],
        )
        return
    import resource  # not on Windows

    for name, most in {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: config["file_bytes"],
        resource.RLIMIT_CORE: 0,
    }.items():
        hard = resource.getrlimit(name)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (bound, hard))


def _memory_in_use() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:  # not Linux
        return 1 << 30


def _end_with(stream: socket.socket) -> None:
    """End this process when its parent closes its end of the socket, or dies."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    poll.poll()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
