"""What a hostile file might bring a worker to do, by name; loaded inside of `processes.worker`."""

import os
import socket
import threading
import time
from pathlib import Path
from typing import Any


def answer(request: Any) -> Any:
    return globals()[request["do"]](request)


def read(request: Any) -> str:
    return Path(request["path"]).read_text()


def write(request: Any) -> int:
    return Path(request["path"]).write_text("owned")


def change(request: Any) -> None:
    os.chmod(request["path"], 0)


def link(request: Any) -> None:
    os.link(request["path"], "mine")


def connect(request: Any) -> None:
    socket.create_connection(("127.0.0.1", 9))


def start(request: Any) -> int:
    return os.fork()


def memory(request: Any) -> int:
    return len(bytearray(request["bytes"]))


def disk(request: Any) -> None:
    for number in range(100):
        Path(str(number)).write_bytes(bytes(request["bytes"]))


def threads(request: Any) -> None:
    for _ in range(request["count"]):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    time.sleep(60)


def loop(request: Any) -> None:
    while True:
        pass


def die(request: Any) -> None:
    os._exit(3)


def much(request: Any) -> str:
    return "x" * request["bytes"]


def pid(request: Any) -> int:
    return os.getpid()


def environment(request: Any) -> dict[str, str]:
    return dict(os.environ)
