"""The program that the local backend runs: a Python interpreter that asks its parent for the rest.

It runs on its own, with the standard library and `time_machine` alone, and never imports this
package; `local_frames.py`, beside it, does not either. Parent and worker talk in frames over a
socket, one each in turn, so that neither has to guess what it reads. Not deterministic: object
addresses (and so the order of sets of objects that hash by them), `random.seed()` and
`random.Random()` without a seed, threads, `time.monotonic`, and the name of the temporary folder.
"""

import ast
import builtins
import contextlib
import inspect
import io
import linecache
import os
import random
import re
import select
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

if __package__:
    from langgraph_rlm.repl.local_frames import Channel, FrameError
else:  # run by its path: its folder is on no path, and would hide modules of others there
    sys.path.insert(0, os.path.dirname(__file__))
    from local_frames import Channel, FrameError  # pyright: ignore

    del sys.path[0]

LIBRARIES_BYTES = 256 << 20
"""Address space granted above `max_heap_bytes`: numpy and matplotlib map 100 MB before any data."""
HEADROOM_BYTES = 64 << 20
"""Address space for the worker itself, so that it can report a cell that ran out of memory."""
DEEPEST_VALUE = 100
"""Levels of lists and dicts that cross; what is deeper crosses as text."""
LARGEST_INT_BITS = 10_000
"""A larger int crosses as hexadecimal text, because JSON readers refuse longer decimals."""
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
PRINTED_TOO_MUCH = "this cell printed more than {} characters: print less, or slices"
CELL_FILE = "<python-input-"


class Output(io.TextIOBase):
    """Stands for stdout and stderr: holds what one cell prints, up to a number of characters."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room = limit
        self._parts: list[str] = []

    def take(self) -> str:
        """Hand over the text of the cell that ended, and begin the next."""
        text = "".join(self._parts)
        self._parts = []
        self._room = self._limit
        return text

    def writable(self) -> bool:
        """Tell `print` and others that they may write."""
        return True

    def write(self, text: str, /) -> int:
        """Hold text. Raises MemoryError when the cell has printed too much."""
        self._parts.append(text[: self._room])
        self._room = max(0, self._room - len(text))
        if self._room == 0:
            raise MemoryError(PRINTED_TOO_MUCH.format(self._limit))
        return len(text)


class LazyBuiltins(dict[str, Any]):
    """The built-in names, then the lazy values. Python looks here last, for names not yet found."""

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
        self._has_run = False
        self._own: dict[str, Any] = {}
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
                report = self._report(None, described(error))
            else:
                self._values = message["values"]
                report = self._run(message["feed"], message["restore"])

    def _run(self, code: str, restore: list[str]) -> dict[str, Any]:
        sys.stdout = sys.stderr = self._output
        self._has_run = False
        self._bind(restore)
        value, error = None, None
        try:
            value = self._limited(code)
        except BaseException as raised:  # noqa: BLE001 - whatever model code raises is the outcome
            error = described(raised)
        return self._report(value, error)

    def _report(self, value: Any, error: dict[str, str] | None) -> dict[str, Any]:
        """Say how a cell ended, and which names of the host it has hidden."""
        return {
            "stdout": self._output.take(),
            "value": value,
            "error": error,
            "ran": self._has_run,
            "hidden": [name for name in self._functions + self._values if self._hides(name)],
        }

    def _hides(self, name: str) -> bool:
        """Tell whether a name is gone or has another value. A lazy value is asked for again."""
        if name not in self._globals:
            return name in self._functions
        return self._globals[name] is not self._own.get(name)

    def _limited(self, code: str) -> Any:
        """Hold a cell to the guest's memory; outside it, the worker has some more."""
        guest, worker = self._limits
        set_address_space(guest, worker)
        try:
            return plain(self._executed(code))
        finally:
            set_address_space(worker, worker)

    def _executed(self, code: str) -> Any:
        """Run a cell; give the value of its last line, if that is an expression."""
        filename = f"{CELL_FILE}{self._cells}>"
        self._cells += 1
        lines = [f"{line}\n" for line in code.split("\n")]
        linecache.cache[filename] = (len(code), None, lines, filename)
        tree = ast.parse(code, filename)
        last = tree.body[-1] if tree.body else None
        if not isinstance(last, ast.Expr):
            body = compile(tree, filename, "exec", dont_inherit=True)
            self._has_run = True
            exec(body, self._globals)
            return None
        del tree.body[-1]
        body = compile(tree, filename, "exec", dont_inherit=True)
        tail = compile(ast.Expression(last.value), filename, "eval", dont_inherit=True)
        self._has_run = True
        exec(body, self._globals)
        return eval(tail, self._globals)

    def _bind(self, names: Iterable[str]) -> None:
        """Bind host functions, and forget lazy values so that they are asked for again."""
        for name in names:
            self._globals.pop(name, None)
            self._own.pop(name, None)
            if name in self._functions:
                self._own[name] = self._globals[name] = self._function(name)

    def _function(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if (os.getpid(), threading.get_ident()) != self._owner:
                raise RuntimeError(
                    f"{name} works in the main thread only; "
                    "llm_query_batched runs calls in parallel."
                )
            message = {"call": name, "args": plain(args), "kwargs": plain(kwargs)}
            return value_of(
                self._exchanged({**message, "source": source_of(inspect.currentframe())})
            )

        call.__name__ = call.__qualname__ = name
        return call

    def _fetched(self, name: str) -> Any:
        if name not in self._values:
            raise KeyError(name)
        self._own[name] = self._globals[name] = value_of(self._exchanged({"lazy": name}))
        return self._own[name]

    def _exchanged(self, message: Mapping[str, Any]) -> Any:
        """Send the parent a message and wait for its reply; threads do so one after the other."""
        with self._lock:
            try:
                self._channel.send(message)
                return self._channel.read()
            except (EOFError, ConnectionError):
                signal.pause()  # the parent is gone: `end_with_parent` cleans up and ends this
            except (OSError, FrameError):
                os._exit(1)


def source_of(called: types.FrameType | None) -> str:
    """Give the text of a call that a cell made; empty if other code made it."""
    frame = called and called.f_back
    if frame is None or not frame.f_code.co_filename.startswith(CELL_FILE):
        return ""
    line, last, column, end = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    lines = linecache.getlines(frame.f_code.co_filename)[(line or 1) - 1 : last]
    if not lines or column is None or end is None:
        return ""
    found = [text.encode("utf-8", "replace") for text in lines]
    found[-1] = found[-1][:end]
    found[0] = found[0][column:]
    return b"".join(found).decode("utf-8", "replace")


def value_of(answer: Mapping[str, Any]) -> Any:
    """Give the value of the host's answer, or raise its exception."""
    if "raise" in answer:
        raise getattr(builtins, answer["raise"])(answer["message"])
    return answer["value"]


def plain(value: Any, depth: int = 0) -> Any:
    """Make JSON of a guest's value: tuples and (sorted) sets become lists, other objects text."""
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= LARGEST_INT_BITS else hex(value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        as_python = value.tolist()
        return text_of(value) if type(as_python) is type(value) else plain(as_python, depth)
    if depth >= DEEPEST_VALUE:
        return text_of(value)
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in cast(list[Any], value)]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item, depth + 1) for item in cast(set[Any], value)), key=str)
    if isinstance(value, dict):
        items = cast(dict[Any, Any], value).items()
        pairs = ((key if isinstance(key, str) else text_of(key), item) for key, item in items)
        return {key: plain(item, depth + 1) for key, item in pairs}
    return text_of(value)


def text_of(value: Any) -> str:
    """Give `str(value)` without addresses, which differ from run to run; never raises."""
    try:
        return ADDRESS.sub("", str(value))
    except Exception:  # noqa: BLE001 - model code may define any `__str__`
        return f"<{type(value).__name__}>"


def described(error: BaseException) -> dict[str, str]:
    """Describe an exception for the model: the cell's own frames, nothing of this file or host."""
    kind, message = type(error).__name__, text_of(error)
    try:
        report = traceback.TracebackException.from_exception(error, compact=True)
        keep_cell_frames(report)
        text = "".join(report.format()).rstrip("\n")
    except Exception:  # noqa: BLE001 - out of memory, or an exception that cannot be printed
        text = f"{kind}: {message}"
    return {"type": kind, "message": message, "traceback": text}


def keep_cell_frames(report: traceback.TracebackException) -> None:
    """Drop the frames of other files, in the causes too."""
    frames = [frame for frame in report.stack if frame.filename.startswith(CELL_FILE)]
    report.stack = traceback.StackSummary.from_list(frames)
    grouped = getattr(report, "exceptions", None) or ()
    for inner in filter(None, (report.__cause__, report.__context__, *grouped)):
        keep_cell_frames(inner)


def guest_module(names: LazyBuiltins) -> dict[str, Any]:
    """Make a new `__main__`, so that classes of the guest can be pickled; give its globals."""
    sys.modules["__rlm_worker__"] = sys.modules["__main__"]
    guest = sys.modules["__main__"] = types.ModuleType("__main__")
    guest.__dict__["__builtins__"] = names
    return guest.__dict__


def memory_limits(heap: int) -> tuple[int, int]:
    """Give the address space of guest and worker in bytes; -1 where what is in use is unknown."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return -1, -1
    guest = used + heap + LIBRARIES_BYTES
    return guest, guest + HEADROOM_BYTES


def set_address_space(soft: int, hard: int) -> None:
    """Limit this process. Guest code may have lowered the hard limit itself; then that holds."""
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def stop_clocks(instant: datetime) -> None:
    """Freeze calendar and stopwatches and skip sleeps; `time.monotonic` runs, for time-outs."""
    modules: dict[str, Any] = sys.modules
    # time_machine would import these two, which takes longer than all the rest
    modules.update(pytest=None, dateutil=None)
    import time_machine

    del modules["pytest"], modules["dateutil"]
    time_machine.travel(instant.astimezone(UTC), tick=False).start()
    for name in ("perf_counter", "process_time", "thread_time"):
        setattr(time, name, lambda: 0.0)
        setattr(time, f"{name}_ns", lambda: 0)
    time.sleep = lambda _seconds, /: None


def seed_random(seed: str) -> None:
    """Seed `random`, and the source of uuid4, secrets, and numpy with its generators."""
    random.seed(seed)
    os.urandom = random._urandom = random.Random(f"{seed}/urandom").randbytes  # pyright: ignore


def end_with_parent(stream: socket.socket, folder: str) -> None:
    """Wait until the parent closes its end or dies; then end this process, children and folder."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    poll.poll()
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


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
    watching = (stream, config["folder"])
    threading.Thread(target=end_with_parent, args=watching, daemon=True).start()
    try:
        stop_clocks(datetime.fromisoformat(config["clock"]))
    except ImportError as error:
        channel.send({"failed": str(error)})
        return
    seed_random(config["seed"])
    channel.max_sent = config["max_frame"]
    Worker(channel, config).serve()


if __name__ == "__main__":
    main()
