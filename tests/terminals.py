"""Terminals for tests: a command on a pseudo-terminal, and the screen that a person would see."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from functools import cache
from types import TracebackType
from typing import Any, Self

import pyte

SIZES = ("COLUMNS", "LINES")


@cache
def processes() -> "subprocess.Popen[str]":
    """The process that forks commands, for all tests of this process."""
    variables = {name: value for name, value in os.environ.items() if name not in SIZES}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.terminal_processes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=variables,
    )


class Terminal:
    """A command on a pseudo-terminal of some size.

    with Terminal(["ask", ...], columns=40, rows=20) as terminal:
        terminal.wait_for("[a]pprove")
        terminal.send("a\n")
        assert terminal.ended() == 0
    """

    def __init__(
        self, arguments: list[str], *, columns: int = 100, rows: int = 30, **variables: str
    ) -> None:
        self.screen: Any = pyte.HistoryScreen(columns, rows, history=5_000)
        self._stream: Any = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        self._set_size(columns, rows)
        self.written = b""
        """All that the command wrote."""
        self._code: int | None = None
        self._lock = threading.Lock()
        given = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **_kept(), **variables}
        task = {"arguments": arguments, "variables": given, "tty": os.ttyname(theirs)}
        server = processes()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(task) + "\n")
        server.stdin.flush()
        self._process = int(server.stdout.readline())
        self._theirs = theirs  # kept open, so that nothing that is written gets lost
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._reader.start()
        self._waiter.start()

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _wait(self) -> None:
        server = processes()
        assert server.stdout is not None
        self._code = int(server.stdout.readline())
        os.close(self._theirs)

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._ours, 65536)
            except OSError:  # Linux says so when the other side is closed
                return
            if not part:
                return
            with self._lock:
                self.written += part
                self._stream.feed(part)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._code is None:
            os.killpg(self._process, signal.SIGKILL)
        self._waiter.join(10)
        self._reader.join(10)
        os.close(self._ours)

    def send(self, text: str) -> None:
        """Type."""
        os.write(self._ours, text.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size, as a window manager does."""
        with self._lock:
            self._set_size(columns, rows)
            self.screen.resize(rows, columns)
        os.killpg(self._process, signal.SIGWINCH)

    @property
    def lines(self) -> list[str]:
        """The lines that have scrolled out at the top, then those on the screen."""
        with self._lock:
            columns = self.screen.columns
            above = [
                "".join(line[column].data for column in range(columns)).rstrip()
                for line in self.screen.history.top
            ]
            return [*above, *(line.rstrip() for line in self.screen.display)]

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines)

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Wait until a text is on the screen, or was."""
        until = time.monotonic() + seconds
        while text not in self.text:
            has_ended = self._code is not None and not self._reader.is_alive()
            assert not has_ended or text in self.text, f"{text!r} did not come:\n{self.text}"
            assert time.monotonic() < until, f"{text!r} did not come:\n{self.text}"
            time.sleep(0.02)

    def ended(self, seconds: float = 60) -> int:
        """Wait for the end, and give the exit code."""
        self._waiter.join(seconds)
        assert self._code is not None, f"it did not end:\n{self.text}"
        self._reader.join(10)
        return self._code


def _kept() -> dict[str, str]:
    """The variables that tests set."""
    return {name: value for name, value in os.environ.items() if name not in SIZES}
