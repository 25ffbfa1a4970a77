"""Monty's sessions: one worker, its cells and their calls of the host."""

import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeGuard, cast

import pydantic_monty as monty

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.log.python import FINALS
from langgraph_rlm.log.reply import RULES
from langgraph_rlm.processes.memory import own_bytes
from langgraph_rlm.repl.base import (
    MAX_DUMP_BYTES,
    Answer,
    CellError,
    Finished,
    HostCall,
    Outcome,
    SandboxCrashed,
    SessionSpec,
    StoredText,
    Suspended,
    Value,
)
from langgraph_rlm.repl.local_values import plain
from langgraph_rlm.repl.monty_cells import Missing, Preparation
from langgraph_rlm.repl.monty_hints import bare_error, cell_error, never_ran
from langgraph_rlm.repl.monty_objects import (
    HAS_OBJECTS,
    HOST,
    INNER,
    PRELUDE,
    TEXT_OF,
    UNSHOWN,
    VALUE,
    arguments_of,
    function_named,
    has_objects,
    output_of,
    without_objects,
)
from langgraph_rlm.repl.monty_out import MontyOut
from langgraph_rlm.repl.monty_pieces import PIECE, LongTexts
from langgraph_rlm.repl.monty_printed import Printed
from langgraph_rlm.repl.monty_values import (
    NODE_BYTES,
    obstacle,
    obstacle_out,
    result_of,
    room_for_code,
    sendable,
    size_of,
)
from langgraph_rlm.repl.packed import pack, unpack
from langgraph_rlm.repl.session_rules import MUST_FEED, MUST_RESUME, given_by_host
from langgraph_rlm.repl.stand_ins import source_of, variable_of

LOG = logging.getLogger("langgraph_rlm.repl")

UNDELIVERED = "request frame of"
"""Monty's words about a message that it did not send: the session cannot continue then."""


class MontySession:
    """One checked-out worker."""

    def __init__(self, checkout: monty.MontySession, spec: SessionSpec, missing: Missing) -> None:
        self._spec = spec
        self._preparation = Preparation(spec, missing)
        self._session = checkout.__enter__()
        self._pid = self._session.worker_pid
        self._output = Printed(spec.max_stdout_chars, self.kill)
        self._out = MontyOut(spec.max_out_bytes)
        self._mount: dict[str, Any] = {}
        self._hidden = frozenset[str]()
        self._pending: monty.FunctionSnapshot | None = None
        self._code: list[str] = []
        self._has_prelude = False
        self._texts = LongTexts(spec.values, spec.max_heap_bytes)
        self._withheld = ""
        self._closed = False
        self._killed = False

    def prepare(self, code: str, rules: int = RULES) -> str | CellError:
        """Look at the next cell; see `Preparing.prepare`."""
        return self._preparation.prepare(code, rules)

    def feed(self, code: str, restore: frozenset[str] = frozenset()) -> Outcome:
        """Run one cell; see `Session.feed`."""
        if self._pending is not None and not self._killed:
            raise SandboxError(MUST_RESUME)
        self._output = Printed(self._spec.max_stdout_chars, self.kill)
        self._hidden = self._preparation.hidden_by(code)
        self._mount = self._out.options()
        return self._drive(lambda: self._started(code, restore))

    def resume(self, answer: Answer) -> Outcome:
        """Answer the pending call; see `Session.resume`."""
        pending = self._pending
        self._pending = None
        if pending is None:
            raise SandboxError(MUST_FEED)
        return self._drive(lambda: pending.resume(result_of(answer, self._spec.max_heap_bytes)))

    def own_bytes(self) -> int | None:
        """Give the memory of its worker; see `Measured.own_bytes`."""
        return None if self._pid is None else own_bytes(self._pid)

    def dump(self) -> bytes | None:
        """Write the session down; see `Snapshotting.dump`. None beyond 256 MiB, and where its long
        texts alone are more than is kept: making it would take twice their memory."""
        if self._texts.bytes > MAX_DUMP_BYTES:
            return None
        try:
            heap = self._session.dump()
        except (monty.MontyCrashedError, monty.MontyDisconnectError) as error:
            raise self._lost(error) from error
        except monty.MontyRuntimeError as error:
            LOG.info("No snapshot of a Monty session: %s", error)
            return None
        about = {
            "code": self._code,
            "prepared": self._preparation.as_dict(),
            "has_prelude": self._has_prelude,
            "hidden": sorted(self._hidden),
            "printed": self._output.as_list(),
            "waits": self._pending is not None,
            "has_out": self._out.is_there,
        }
        return pack(about, heap)

    def take_up(self, state: bytes) -> None:
        """Become the session that wrote `state`. Nothing may have been fed before.

        Raises:
            ValueError: the bytes cannot be read.
            SandboxCrashed: the worker died of them.
        """
        about, heap = unpack(state)
        self._code = about["code"]
        self._preparation.take_up(about["prepared"])
        self._has_prelude = about["has_prelude"]
        self._hidden = frozenset(about["hidden"])
        self._output.take_up(*about["printed"])
        if about["has_out"]:
            self._out.folder()
        try:
            if about["waits"]:
                mount = self._out.mount()
                pending = self._session.load_snapshot(
                    heap, mount=mount, print_callback=self._output
                )
                self._pending = cast("monty.FunctionSnapshot", pending)
            else:
                self._session.load_session(heap)
        except (monty.MontyCrashedError, monty.MontyDisconnectError) as error:
            raise self._lost(error) from error
        except monty.MontyRuntimeError as error:
            raise ValueError(str(error)) from error

    def out_folder(self) -> str:
        """Give the folder of the host; see `Writing.out_folder`."""
        return self._out.folder()

    def kill(self) -> None:
        """End the worker by its id; it was started by this session's pool."""
        self._killed = True
        if self._pid is not None and not self._closed:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        """Give the worker back to the pool."""
        if not self._closed:
            self._closed = True
            self._session.__exit__(None, None, None)
            self._out.close()

    # One step

    def _drive(self, step: Callable[[], monty.SyncSnapshot]) -> Outcome:
        """Take a step, and turn what Monty raises into an outcome or `SandboxCrashed`."""
        if self._is_lost():
            raise SandboxCrashed("The Monty session has ended: open a new one.")
        try:
            return self._until_host_call(step())
        except (monty.MontyCrashedError, monty.MontyDisconnectError) as error:
            raise self._lost(error) from error
        except (monty.MontySyntaxError, monty.MontyRuntimeError) as error:
            if UNDELIVERED in str(error) and not error.traceback():
                self.kill()
            if self._is_lost():
                raise self._lost(error) from error
            return self._ended(error=self._cell_error(error), ran=not never_ran(error))
        except monty.MontyConversionError as error:
            return self._ended(error=bare_error("TypeError", str(error)))

    def _until_host_call(self, snapshot: monty.SyncSnapshot) -> Outcome:
        """Answer name lookups and refuse the operating system until the cell ends or calls."""
        output = self._output
        while not isinstance(snapshot, monty.MontyComplete):
            if not self._is_host_call(snapshot):
                snapshot = self._answered_here(snapshot)
            elif (arguments := arguments_of(snapshot)) is None:
                snapshot = snapshot.resume({"exc_type": "TypeError", "message": UNSHOWN})
            elif why := output.excess or obstacle_out(arguments):
                snapshot = snapshot.resume({"exc_type": "MemoryError", "message": why})
            else:
                self._pending = snapshot
                return Suspended(self._host_call(snapshot, *arguments))
        value = output_of(snapshot)
        if why := output.excess or obstacle_out(value):
            return self._ended(error=bare_error("MemoryError", why))
        return self._ended(plain(self._shown(value)))

    def _ended(
        self, value: Value = None, error: CellError | None = None, *, ran: bool = True
    ) -> Finished:
        return Finished(self._output.text, value, error, ran, self._hidden)

    def _cell_error(self, error: monty.MontySyntaxError | monty.MontyRuntimeError) -> CellError:
        found = cell_error(error)
        return CellError(found.type, found.message, self._preparation.as_written(found.traceback))

    def _is_lost(self) -> bool:
        return self._killed or self._session.worker_pid is None

    def _lost(self, error: Exception) -> SandboxCrashed:
        """Note that the worker is gone, and forget its id: it may soon be another process's."""
        self._killed = True
        self._pid = None
        return SandboxCrashed(str(error))

    # The start of a cell

    def _started(self, code: str, restore: frozenset[str]) -> monty.SyncSnapshot:
        """Start a cell with names bound anew; what does not fit into its message goes ahead."""
        if not restore.isdisjoint(FINALS):
            self._has_prelude = False
        if self._preparation.hands_over_objects:
            self._teach()
            restore = restore.difference(FINALS)
        self._bring(self._preparation.needed_by(code))
        texts = self._texts.wanted(code, restore)
        given = {name for name, text in texts.items() if self._gave(name, text, name in restore)}
        inputs: dict[str, Any] = {}
        room = room_for_code(code)
        for name in sorted(restore - given):
            for value, size in self._deliverable(name):
                room -= size
                if room < 0:
                    self._run("None", {name: value})
                    room += size
                else:
                    inputs[name] = value
        return self._fed(code, inputs)

    def _fed(self, code: str, inputs: dict[str, Any]) -> monty.SyncSnapshot:
        begin = None if self._code else "/"  # which would else be `out/` itself
        self._code.append(code)
        return self._session.feed_start(
            code, print_callback=self._output, inputs=inputs, **self._mount, cwd=begin
        )

    def _run(self, code: str, inputs: dict[str, Any] | None = None) -> Any:
        """Run source of the host's own to its end; give the value of its last line."""
        snapshot = self._fed(code, inputs or {})
        while not isinstance(snapshot, monty.MontyComplete):
            snapshot = self._answered_here(snapshot)
        return output_of(snapshot)

    def _teach(self) -> None:
        """Have FINAL hand objects over as text."""
        if not self._has_prelude:
            self._run(PRELUDE)
            self._has_prelude = True

    def _bring(self, modules: Iterable[str]) -> None:
        """Bind the stand-ins for modules, of those that the guest does not have yet.

        It is asked, so that a session which comes from a dump knows what it has.
        """
        for module in modules:
            if not self._has(variable_of(module)):
                self._run(source_of(module))

    def _has(self, name: str) -> bool:
        """Tell whether the guest has a global, which it does not get by being asked."""
        self._withheld = name
        try:
            return self._can(lambda: self._run(f"{name} is None"))
        finally:
            self._withheld = ""

    def _gave(self, name: str, text: StoredText, is_new: bool) -> bool:
        """Have a name bound to a long text; tell whether it is. A guest that has no memory for it
        hears so where its cell reads the name."""
        path = given_by_host(self, text.path)
        if not is_new and self._has(name):
            self._texts.note(name, path)
            return True
        return self._texts.fits(path) and self._can(lambda: self._texts.give(name, path, self._run))

    def _can(self, step: Callable[[], object]) -> bool:
        """Take a step, and tell whether the guest did not raise."""
        try:
            step()
        except monty.MontyRuntimeError:
            if self._is_lost():
                raise
            return False
        return True

    # What comes from the guest

    def _shown(self, output: Any) -> Any:
        """Give a value of the guest with text in the place of its objects.

        Cells of logs from before there were preparations keep what they had.
        """
        if not self._preparation.has_begun or not has_objects(output):
            return output
        try:
            self._teach()
            return without_objects(self._run(f"{TEXT_OF}({VALUE})", {VALUE: output}))
        except monty.MontyRuntimeError:  # an object that was of no variable is gone by now
            if self._is_lost():
                raise
            return without_objects(output)

    def _host_call(
        self, snapshot: monty.FunctionSnapshot, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HostCall:
        name = str(snapshot.function_name)
        if self._preparation.has_begun and has_objects([args, kwargs]):
            args, kwargs = without_objects(args), without_objects(kwargs)
        source = "" if name.startswith(HOST) else self._source(snapshot.position)
        found = tuple(plain(arg) for arg in args)
        return HostCall(name.removeprefix(HOST), found, plain(kwargs), source)

    def _source(self, position: monty.SourceRange) -> str:
        """Give the text of a call; empty for one in text that runs as code."""
        number = position.filename.removeprefix("<python-input-").removesuffix(">")
        if not number.isdigit() or int(number) >= len(self._code):
            return ""
        source = self._code[int(number)].encode()
        return source[position.start : position.end].decode(errors="replace")

    def _is_host_call(self, snapshot: Any) -> TypeGuard[monty.FunctionSnapshot]:
        if not isinstance(snapshot, monty.FunctionSnapshot) or snapshot.is_os_function:
            return False
        return str(snapshot.function_name).removeprefix(HOST) in self._spec.functions

    # What the guest gets

    def _answered_here(self, snapshot: Any) -> monty.SyncSnapshot:
        """Resume from what is not a host call."""
        if isinstance(snapshot, monty.NameLookupSnapshot):
            return self._looked_up(snapshot)
        if not isinstance(snapshot, monty.FunctionSnapshot):
            raise SandboxError(
                f"Monty waits for {snapshot!r}, which nothing here can start: "
                "report it with the cell's code."
            )
        if snapshot.is_os_function:
            return self._out.answer(snapshot)
        if snapshot.function_name == HAS_OBJECTS:
            arguments = arguments_of(snapshot)
            return snapshot.resume({"return_value": arguments is None or has_objects(arguments)})
        if snapshot.function_name == PIECE and (piece := self._texts.next()) is not None:
            return snapshot.resume({"return_value": piece})
        message = f"name '{snapshot.function_name}' is not defined"
        return snapshot.resume({"exc_type": "NameError", "message": message})

    def _looked_up(self, snapshot: monty.NameLookupSnapshot) -> monty.SyncSnapshot:
        """Give the guest a global that it does not have; a NameError if there is none."""
        if snapshot.object_id is None:
            for value, _ in self._deliverable(snapshot.variable_name):
                return snapshot.resume(value=value)
        return snapshot.resume()

    def _deliverable(self, name: str) -> Iterator[tuple[Any, int]]:
        """Give what a name is bound to, with its size in bytes; nothing where that cannot be sent.

        Monty makes a host function of a stand-in.
        """
        if name == self._withheld:
            return
        if name in self._spec.values:
            value = given_by_host(self, self._spec.values[name])
            size = size_of(value)
            if not obstacle(size, self._spec.max_heap_bytes):
                yield sendable(value, size), size.bytes + len(name)
        elif name in self._spec.functions or name in INNER or name == PIECE:
            yield function_named(name), len(name) + NODE_BYTES
