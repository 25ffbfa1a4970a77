"""The program that the local backend runs: a Python interpreter that asks its parent for whatever it may not do itself.

It runs on its own, with the standard library and `time_machine` alone, and never imports this package. Parent and worker
talk in frames over a socket; the worker sends one frame and reads one, in turn, so it never has to guess what it reads.
Not deterministic, although the rest is: object addresses (and so the order of sets of objects that hash by them), `random.seed()` and
`random.Random()` without a seed, threads, `time.monotonic`, the temporary folder's name.
"""

import ast
import builtins
import contextlib
import io
import json
import linecache
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

HEADER = struct.Struct("!cQ")
TEXT, JSON = b"T", b"J"
UNBOUNDED = 2**63

LIBRARIES_BYTES = 256 << 20
"""Address space granted above `max_heap_bytes`: numpy and matplotlib map 100 MB before they hold any data."""
HEADROOM_BYTES = 64 << 20
"""Address space for the worker's own work, so that it can still report a cell that ran out of memory."""
DEEPEST_VALUE = 100
"""Levels of lists and dicts that cross; what is deeper crosses as text."""
LARGEST_INT_BITS = 10_000
"""Above it an int crosses as hexadecimal text: JSON readers refuse longer decimals."""
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
STANDS_STILL = ("perf_counter", "process_time", "thread_time")


class FrameError(Exception):
    """A frame that no honest peer sends."""


class Channel:
    """Frames over a stream socket: a kind (text or JSON), a length, the bytes. Lone surrogates cross as `?`."""

    def __init__(
        self, stream: socket.socket, *, max_sent: int = UNBOUNDED, max_read: int = UNBOUNDED
    ) -> None:
        self._stream = stream
        self._max_sent = max_sent
        self._max_read = max_read

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; `{"value": str}` goes as bytes of its own, so that a large context costs one copy.

        Raises:
            ValueError: above `max_sent`, or no JSON value.
            OSError: the peer is gone.
        """
        text = (
            message["value"]
            if len(message) == 1 and isinstance(message.get("value"), str)
            else None
        )
        body = (json.dumps(message, ensure_ascii=False) if text is None else text).encode(
            "utf-8", "replace"
        )
        if len(body) > self._max_sent:
            raise ValueError(
                f"{len(body)} bytes are more than can be handed to the host at once ({self._max_sent}): send a smaller piece."
            )
        self._stream.sendall(HEADER.pack(JSON if text is None else TEXT, len(body)))
        self._stream.sendall(body)

    def read(self) -> Any:
        """Wait for a message.

        Raises:
            EOFError: the peer closed the socket.
            FrameError: not a frame, or longer than `max_read`.
            MemoryError: no room for it; the frame is skipped.
        """
        kind, size = HEADER.unpack(self._bytes(HEADER.size))
        if kind not in (TEXT, JSON) or size > self._max_read:
            raise FrameError(f"a frame of kind {kind!r} with {size} bytes")
        body = self._body(size)
        try:
            return {"value": str(body, "utf-8")} if kind == TEXT else json.loads(body)
        except (ValueError, RecursionError) as error:
            raise FrameError(f"a frame that cannot be read: {error}") from error

    def _body(self, size: int) -> bytearray:
        try:
            return self._bytes(size)
        except MemoryError:
            raise MemoryError(f"no room for {size} bytes from the host") from None

    def _bytes(self, size: int) -> bytearray:
        try:
            buffer = bytearray(size)
        except MemoryError:
            self._skip(size)
            raise
        view, done = memoryview(buffer), 0
        while done < size:
            got = self._stream.recv_into(view[done:])
            if not got:
                raise EOFError("the socket is closed")
            done += got
        return buffer

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self._stream.recv(min(size, 1 << 16))) or size


class Output(io.TextIOBase):
    """Stands for stdout and stderr: holds what one cell prints, up to a number of characters."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.take()

    def take(self) -> str:
        """Hand over the text of the cell that ended, and begin the next."""
        text = "".join(getattr(self, "_parts", ()))
        self._parts: list[str] = []
        self._room = self._limit
        return text

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str, /) -> int:
        """Hold text. Raises MemoryError when the cell has printed too much."""
        self._parts.append(text[: self._room])
        self._room = max(0, self._room - len(text))
        if not self._room:
            raise MemoryError(
                f"this cell printed more than {self._limit} characters: print less, or slices"
            )
        return len(text)


class LazyBuiltins(dict[str, Any]):
    """The built-in names, and behind them the lazy values: the interpreter looks here last, and only for a name it did not find."""

    def __init__(self, fetch: Callable[[str], Any]) -> None:
        super().__init__(vars(builtins))
        self._fetch = fetch

    def __missing__(self, name: str) -> Any:
        return self._fetch(name)


class Worker:
    """One set of globals and the cells that run in it."""

    def __init__(self, channel: Channel, config: Mapping[str, Any]) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._functions: list[str] = config["functions"]
        self._values: list[str] = []
        self._output = Output(config["max_stdout_chars"])
        self._owner = (os.getpid(), threading.get_ident())
        self._cells = 0
        self._globals = guest_module(LazyBuiltins(self._fetched))
        self._bind(self._functions)
        self._limits = memory_limits(config["max_heap_bytes"])

    def serve(self) -> None:
        """Run cells until the parent closes the socket."""
        report: dict[str, Any] = {"ready": True}
        while True:
            try:
                message = self._exchanged(report)
            except (MemoryError, ValueError) as error:
                report = {"stdout": "", "value": None, "error": described(error)}
            else:
                self._values = message["values"]
                report = self._run(message["feed"], message["restore"])

    def _run(self, code: str, restore: list[str]) -> dict[str, Any]:
        sys.stdout = sys.stderr = self._output
        self._bind(restore)
        value, error = None, None
        try:
            with self._limited():
                value = plain(self._executed(code))
        except BaseException as raised:  # noqa: BLE001 - whatever model code raises is the cell's outcome
            error = described(raised)
        return {"stdout": self._output.take(), "value": value, "error": error}

    def _executed(self, code: str) -> Any:
        """Run a cell; the value of its last line, if that is an expression."""
        filename = f"<python-input-{self._cells}>"
        self._cells += 1
        linecache.cache[filename] = (
            len(code),
            None,
            [f"{line}\n" for line in code.split("\n")],
            filename,
        )
        tree = ast.parse(code, filename)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        body = compile(tree, filename, "exec", dont_inherit=True)
        tail = (
            compile(ast.Expression(last.value), filename, "eval", dont_inherit=True)
            if isinstance(last, ast.Expr)
            else None
        )
        exec(body, self._globals)
        return eval(tail, self._globals) if tail else None

    def _bind(self, names: Iterable[str]) -> None:
        """Bind host functions, and forget lazy values so that they are asked for again."""
        for name in names:
            self._globals.pop(name, None)
            if name in self._functions:
                self._globals[name] = self._function(name)

    def _function(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if (os.getpid(), threading.get_ident()) != self._owner:
                raise RuntimeError(
                    f"{name} works in the main thread only; llm_query_batched runs calls in parallel."
                )
            return answered(
                self._exchanged({"call": name, "args": plain(args), "kwargs": plain(kwargs)})
            )

        call.__name__ = call.__qualname__ = name
        return call

    def _fetched(self, name: str) -> Any:
        if name not in self._values:
            raise KeyError(name)
        self._globals[name] = answered(self._exchanged({"lazy": name}))
        return self._globals[name]

    def _exchanged(self, message: Mapping[str, Any]) -> Any:
        """Say one thing to the parent and wait for what it says; a thread that wants a lazy value waits its turn."""
        with self._lock:
            try:
                self._channel.send(message)
                return self._channel.read()
            except (EOFError, ConnectionError):
                signal.pause()  # the parent is gone: the thread that watches for that cleans up and ends this process
            except (OSError, FrameError):
                os._exit(1)

    @contextlib.contextmanager
    def _limited(self) -> Generator[None]:
        """Hold guest code to its memory; outside, the worker has some more."""
        guest, worker = self._limits
        set_address_space(guest, worker)
        try:
            yield
        finally:
            set_address_space(worker, worker)


def answered(answer: Mapping[str, Any]) -> Any:
    """The value of the host's answer, or its exception."""
    if "raise" in answer:
        raise getattr(builtins, answer["raise"])(answer["message"])
    return answer["value"]


def plain(value: Any, depth: int = 0) -> Any:
    """What crosses the border for a guest's value: JSON types as they are, tuples and (sorted) sets as lists, else text."""
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= LARGEST_INT_BITS else hex(value)
    if depth < DEEPEST_VALUE and isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in cast(list[Any], value)]
    if depth < DEEPEST_VALUE and isinstance(value, (set, frozenset)):
        return sorted((plain(item, depth + 1) for item in cast(set[Any], value)), key=str)
    if depth < DEEPEST_VALUE and isinstance(value, dict):
        return {
            key if isinstance(key, str) else text_of(key): plain(item, depth + 1)
            for key, item in cast(dict[Any, Any], value).items()
        }
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        as_python = value.tolist()
        return text_of(value) if type(as_python) is type(value) else plain(as_python, depth)
    return text_of(value)


def text_of(value: Any) -> str:
    """`str(value)` without addresses, which differ from run to run; never raises."""
    try:
        return ADDRESS.sub("", str(value))
    except Exception:  # noqa: BLE001 - model code may define any `__str__`
        return f"<{type(value).__name__}>"


def described(error: BaseException) -> dict[str, str]:
    """An exception as the model sees it: the cell's own frames, nothing of this file or of the host."""
    kind, message = type(error).__name__, text_of(error)
    try:
        report = traceback.TracebackException.from_exception(error, compact=True)
        keep_cell_frames(report)
        text = "".join(report.format()).rstrip("\n")
    except Exception:  # noqa: BLE001 - out of memory, or an exception that cannot be printed
        text = f"{kind}: {message}"
    return {"type": kind, "message": message, "traceback": text}


def keep_cell_frames(report: traceback.TracebackException | None) -> None:
    """Drop the frames of other files, in the causes too."""
    if report is not None:
        report.stack = traceback.StackSummary.from_list(
            [frame for frame in report.stack if frame.filename.startswith("<python-input-")]
        )
        for inner in (
            report.__cause__,
            report.__context__,
            *(getattr(report, "exceptions", None) or ()),
        ):
            keep_cell_frames(inner)


def guest_module(names: LazyBuiltins) -> dict[str, Any]:
    """The globals of a new `__main__`, so that classes of the guest can be pickled."""
    sys.modules["__rlm_worker__"], sys.modules["__main__"] = (
        sys.modules["__main__"],
        types.ModuleType("__main__"),
    )
    sys.modules["__main__"].__dict__["__builtins__"] = names
    return sys.modules["__main__"].__dict__


def memory_limits(heap: int) -> tuple[int, int]:
    """Bytes of address space for the guest and for the worker, above what is in use now; no limits where that is unknown."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return -1, -1
    guest = used + heap + LIBRARIES_BYTES
    return guest, guest + HEADROOM_BYTES


def set_address_space(soft: int, hard: int) -> None:
    """Limit this process. Guest code may have lowered the hard limit itself; then that one holds."""
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def stop_clocks(instant: datetime) -> None:
    """Freeze the calendar and the stopwatches, and make sleeping take no time. `time.monotonic` runs on: time-outs need it."""
    modules: dict[str, Any] = sys.modules
    modules.update(
        pytest=None, dateutil=None
    )  # time_machine would import them, which takes longer than all the rest
    import time_machine

    del modules["pytest"], modules["dateutil"]
    time_machine.travel(instant.astimezone(UTC), tick=False).start()
    for name in STANDS_STILL:
        setattr(time, name, lambda: 0.0)
        setattr(time, f"{name}_ns", lambda: 0)
    time.sleep = lambda _seconds, /: None


def seed_random(seed: str) -> None:
    """Seed `random`, and what others seed themselves from: uuid4, secrets, and numpy with its generators."""
    random.seed(seed)
    os.urandom = random._urandom = random.Random(f"{seed}/urandom").randbytes  # pyright: ignore


def end_with_parent(stream: socket.socket, folder: str) -> None:
    """End this process and its children, and remove their folder, when the parent closes its end or dies while a cell runs."""

    def wait() -> None:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        poll.poll()
        shutil.rmtree(folder, ignore_errors=True)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Serve the socket whose file descriptor is the only argument."""
    stream = socket.socket(fileno=int(sys.argv[1]))
    stream.set_inheritable(False)
    os.register_at_fork(after_in_child=stream.close)
    channel = Channel(stream)
    config = channel.read()
    sys.argv = [""]
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    sys.path.extend(config["site"])
    end_with_parent(stream, config["folder"])
    try:
        stop_clocks(datetime.fromisoformat(config["clock"]))
    except ImportError as error:
        channel.send({"failed": str(error)})
        return
    seed_random(config["seed"])
    Worker(Channel(stream, max_sent=config["max_frame"]), config).serve()


if __name__ == "__main__":
    main()
