"""Terminals for tests: a command on a pseudo-terminal, and the screen that a person would see."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from types import TracebackType
from typing import Any, Self

import pyte


class Terminal:
    """A command on a pseudo-terminal of some size.

    with Terminal(["langgraph-rlm", "ask", ...], columns=40, rows=20) as terminal:
        terminal.wait_for("[a]pprove")
        terminal.send("a\\n")
    """

    def __init__(
        self, arguments: list[str], *, columns: int = 100, rows: int = 30, **variables: str
    ) -> None:
        self.screen: Any = pyte.HistoryScreen(columns, rows, history=5_000)
        self._stream: Any = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        self._set_size(columns, rows)
        kept = {name: os.environ[name] for name in os.environ if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            arguments,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**kept, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **variables},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.written = b""
        """All that the command wrote."""
        self.tallest = 0
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

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
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
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
        os.killpg(self.process.pid, signal.SIGWINCH)

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
            assert time.monotonic() < until, f"{text!r} did not come:\n{self.text}"
            assert self.process.poll() is None or text in self.text, self.text
            time.sleep(0.05)

    def ended(self, seconds: float = 60) -> int:
        """Wait for the end, and give the exit code."""
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code
