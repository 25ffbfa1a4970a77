"""Host: the side of an interpreter that answers at once: reads of stored contexts, and the ways to end a run.

Calls of models, children and tools are not answered here: they become `Request`s, which the graph dispatches.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.errors import ContextError
from langgraph_rlm.repl.base import Answer, HostCall, Raised, Returned
from langgraph_rlm.repl.calls import FINALS, READS, BadCall, HostFunctions, Request, Requests, bind
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle, materialize
from langgraph_rlm.storage.reads import Reader

LOADED_SHARE = 4
"""A context is loaded into the heap only if this many times its size fits: that is what loading it takes."""


@dataclass(frozen=True)
class Host:
    """What the host side of every interpreter of one RLM shares. It knows nothing of any one run."""

    functions: HostFunctions
    store: BlobStore
    requests: Requests
    limits: Limits


@dataclass
class OpenCell:
    """The cell that is running or suspended, and what it has asked of the host."""

    place: str
    code: str
    ordinal: int = 0
    """Of its next call."""
    waiting: str | None = None
    """Place of the call that it is suspended on."""
    seconds: float = 0.0
    """For how long it has executed."""
    reads: dict[str, list[list[int]]] = field(default_factory=dict[str, list[list[int]]])
    """Byte ranges, by context digest."""
    ended: bool = False
    """FINAL or FINAL_VAR was called; the first call counts."""
    final: Any = None
    final_name: str | None = None
    """The variable whose value is the answer."""


def is_loaded(handle: ContextHandle, limits: Limits) -> bool:
    """Whether a context is bound as a value, or is to be read with `peek` and `grep` alone."""
    return handle.size * LOADED_SHARE <= limits.max_heap_bytes


class ContextValues(Mapping[str, Any]):
    """The lazy globals of a session: contexts by name as of the question being run, `answer`, and `history` as of the turn."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.handles: Mapping[str, ContextHandle] = {}
        self.history: Callable[[], list[dict[str, Any]]] = list

    def __getitem__(self, name: str) -> Callable[[], Any]:
        if name == "answer":
            return lambda: {"content": "", "ready": False}
        if name == "history":
            return self.history
        handle = self.handles[name]
        if not is_loaded(handle, self._host.limits):
            raise KeyError(name)
        return lambda: materialize(handle, self._host.store, exact=False)

    def __iter__(self) -> Iterator[str]:
        yield from ("answer", "history")
        yield from (
            name for name, handle in self.handles.items() if is_loaded(handle, self._host.limits)
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)


def respond(
    call: HostCall, cell: OpenCell, handles: Mapping[str, ContextHandle], host: Host
) -> Answer | Request:
    """The answer to a call, or the request that the graph has to dispatch."""
    try:
        if call.function in READS:
            return Returned(_read(call, cell, handles, host.store))
        if call.function in FINALS:
            return _final(call, cell)
        request = host.functions.request(call)
    except BadCall as error:
        return Raised(error.type, str(error))
    return request if request.items else Returned([])


def _read(
    call: HostCall, cell: OpenCell, handles: Mapping[str, ContextHandle], store: BlobStore
) -> Any:
    arguments = bind(call.function, SIGNATURES[call.function], call)
    of = arguments.pop("of")
    if not isinstance(of, str) or of not in handles:
        raise BadCall(
            "ValueError",
            f"{call.function}: of={of!r} is no context. There are: {', '.join(handles) or 'none'}.",
        )
    try:
        reader = Reader(handles[of], store)
        if call.function == "context_info":
            return reader.info()
        value, ranges = (
            reader.peek(**arguments) if call.function == "peek" else reader.grep(**arguments)
        )
    except (ContextError, ValueError, TypeError) as error:
        raise BadCall("ValueError", f"{call.function}: {error}") from None
    digest = handles[of].digest
    cell.reads[digest] = merge_ranges([*cell.reads.get(digest, []), *map(list, ranges)])
    return value


def _final(call: HostCall, cell: OpenCell) -> Answer:
    """FINAL ends the cell at once: SystemExit passes the `except Exception` of model code."""
    value = bind(call.function, SIGNATURES[call.function], call)["value"]
    if not cell.ended:
        cell.ended = True
        if call.function == "FINAL_VAR" and isinstance(value, str) and value.strip().isidentifier():
            cell.final_name = value.strip()
        else:
            cell.final = value
    return Raised("SystemExit", "the run ends with this answer")


def merge_ranges(ranges: list[list[int]]) -> list[list[int]]:
    """Sorted, and without overlaps."""
    merged: list[list[int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


def _peek(start: int = 0, end: int | None = None, of: str = "context") -> None: ...
def _grep(
    pattern: str,
    max_matches: int = 50,
    context_lines: int = 0,
    ignore_case: bool = False,
    of: str = "context",
) -> None: ...
def _context_info(of: str = "context") -> None: ...
def _final_of(value: Any) -> None: ...


SIGNATURES = cast(
    Mapping[str, Callable[..., Any]],
    {
        "peek": _peek,
        "grep": _grep,
        "context_info": _context_info,
        "FINAL": _final_of,
        "FINAL_VAR": _final_of,
    },
)
