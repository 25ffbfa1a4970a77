"""Local worker: the program of the local backend and of the jailed one.

It is a Python interpreter that asks its parent for the rest. It runs on its own, with the standard
library and `time_machine` alone, and never imports this package; the files beside it that it loads
do not either. Parent and worker talk in frames over a socket, one each in turn, so that neither has
to guess what it reads.
"""

import ast
import builtins
import contextlib
import inspect
import io
import linecache
import os
import select
import shutil
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from langgraph_rlm.processes import jail
    from langgraph_rlm.processes.frames import Channel, FrameError
    from langgraph_rlm.repl import jail_words, local_sameness
    from langgraph_rlm.repl.local_values import (
        CELL_FILE,
        PRINTED_TOO_MUCH,
        described,
        plain,
        source_of,
        value_of,
    )
else:  # run by its path: these folders are on no path, and would hide modules of others there
    _folder = os.path.dirname(__file__)
    sys.path[:0] = [_folder, os.path.join(os.path.dirname(_folder), "processes")]
    import jail
    import jail_words
    import local_sameness
    from frames import Channel, FrameError
    from local_values import (
        CELL_FILE,
        PRINTED_TOO_MUCH,
        described,
        plain,
        source_of,
        value_of,
    )

    del sys.path[:2]
    for _name in ("jail", "jail_calls", "jail_filter", "jail_words", "local_sameness"):
        del sys.modules[_name]
    del sys.modules["frames"], sys.modules["local_values"]

LIBRARIES_BYTES = 256 << 20
"""Address space granted above `max_heap_bytes`: numpy and matplotlib map 100 MB before any data."""
HEADROOM_BYTES = 64 << 20
"""Address space for the worker itself, so that it can report a cell that ran out of memory."""


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

    def __init__(
        self, channel: Channel, config: Mapping[str, Any], limits: tuple[int, int]
    ) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._functions: list[str] = config["functions"]
        self._values: list[str] = []
        self._output = Output(config["max_stdout_chars"])
        self._hint = jail_words.hint if config["jail"] else no_hint
        self._owner = (os.getpid(), threading.get_ident())
        self._cells = 0
        self._has_run = False
        self._own: dict[str, Any] = {}
        self._globals = guest_module(LazyBuiltins(self._fetched))
        self._bind(self._functions)
        self._limits = limits

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
            error = described(raised, self._hint(raised))
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


def no_hint(_error: BaseException) -> str:
    """Say nothing more than an exception does."""
    return ""


def guest_module(names: LazyBuiltins) -> dict[str, Any]:
    """Make a new `__main__`, so that classes of the guest can be pickled; give its globals."""
    sys.modules["__rlm_worker__"] = sys.modules["__main__"]
    guest = sys.modules["__main__"] = types.ModuleType("__main__")
    guest.__dict__["__builtins__"] = names
    return guest.__dict__


def memory_limits(heap: int) -> tuple[int, int]:
    """Give the address space of guest and worker in bytes; -1 where what is in use is unknown.

    Shared libraries have their `LIBRARIES_BYTES` beyond the guest's heap.
    """
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


def end_with_parent(stream: socket.socket, folder: str, is_jailed: bool) -> None:
    """Wait until the parent closes its end or dies; then end this process, children and folder.

    A jailed process has no children, and its folder is the parent's to remove.
    """
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    poll.poll()
    if is_jailed:
        os.kill(os.getpid(), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def settle(stream: socket.socket, config: Mapping[str, Any]) -> tuple[int, int]:
    """Make the process the one that its parent asks for; give its memory limits.

    The thread comes after the jail, which would not hold it otherwise.
    """
    sys.path.extend(config["site"])
    limits = memory_limits(config["max_heap_bytes"])
    ending = threading.Thread(
        target=end_with_parent, args=(stream, config["folder"], bool(config["jail"])), daemon=True
    )
    if config["jail"]:
        enter_jail(config["jail"], config["folder"], limits[1])
    ending.start()
    local_sameness.stop_clocks(datetime.fromisoformat(config["clock"]))
    local_sameness.seed_random(config["seed"])
    local_sameness.date_archives()
    return limits


def enter_jail(bounds: Mapping[str, Any], folder: str, memory: int) -> None:
    """Lock this process in, for good, and let code know what it may not do.

    Raises:
        jail.JailError: something of the jail cannot be had.
    """
    if bounds["library"]:
        sys.path[:] = [path for path in sys.path if path in bounds["library"]]
    jail.lock(
        bounds["read"],
        [folder],
        file_bytes=bounds["file_bytes"],
        memory_bytes=memory,
        parent=bounds["parent"],
    )
    jail_words.refuse_with_reasons()
    local_sameness.sort_listings()
    local_sameness.keep_modes()


def main() -> None:
    """Serve the socket whose file descriptor is the only argument."""
    stream = socket.socket(fileno=int(sys.argv[1]))
    stream.set_inheritable(False)
    os.register_at_fork(after_in_child=stream.close)
    channel = Channel(stream)
    sys.argv = [""]
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    with contextlib.suppress(ImportError):  # a folder that comes with the configuration may have it
        local_sameness.import_time_machine()
    config = channel.read()
    try:
        limits = settle(stream, config)
    except (ImportError, jail.JailError) as error:
        channel.send({"failed": str(error)})
        return
    channel.max_sent = config["max_frame"]
    channel.max_parts = config["max_parts"]
    Worker(channel, config, limits).serve()


if __name__ == "__main__":
    main()
