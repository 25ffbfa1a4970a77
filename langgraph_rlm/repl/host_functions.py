"""Host functions: one table of everything that code may ask of the host.

Each row has a name, a signature, an answer, and what the prompt says. The names that are reserved
in code and the prompt's list are made from the table, so a new function is a row here. It is also
a change of format: a reserved name is bound anew before each cell, so a new one can break threads
whose code has a variable of that name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.repl.answers import BadCall, Called, Made, Reading, ask, bound, final, read
from langgraph_rlm.repl.base import Answer, HostCall, Raised, Returned
from langgraph_rlm.repl.host import Host, OpenCell
from langgraph_rlm.repl.requests import Request, tool_request
from langgraph_rlm.repl.table_answers import context_info, sql
from langgraph_rlm.storage.context import ContextHandle, Facts
from langgraph_rlm.storage.pieces import chunk_ranges, file_names, read_lines
from langgraph_rlm.tools import BadArguments, RLMTool


@dataclass(frozen=True)
class HostFunction:
    """One row of the table."""

    name: str
    signature: Callable[..., None]
    """A Python function of that signature: arguments are bound to it, a TypeError shows it."""
    kind: Literal["read", "sql", "llm", "rlm", "guest", "final"]
    """`read` and `final` are answered at once, `sql` too but with an entry in the log, `llm` and
    `rlm` become requests, and `guest` is defined in the guest itself."""
    answer: Callable[[Called], Answer | Request] | None
    """Answers a call, or raises `BadCall`. None for the kind `guest`."""
    shown: str
    """The signature in the prompt."""
    text: str
    """The description in the prompt, with names of `Limits` in braces."""
    earlier: Mapping[int, Callable[..., None]] = field(default_factory=dict[int, Any])
    """Signatures that it had before, each by the last rules of turns (`log/reply.py`) that had
    it."""
    since: int = 1
    """The first rules of turns that know it. In code of earlier turns its name was free, so what
    they have bound to it stays."""
    gives_way: bool = False
    """Whether code, and a user's tool, may take its name: what is bound to it then stays."""

    def signature_by(self, rules: int) -> Callable[..., None]:
        """Give the signature for code of a turn."""
        known = [last for last in sorted(self.earlier) if last >= rules]
        return self.earlier[known[0]] if known else self.signature


@dataclass(frozen=True)
class Description:
    """What the prompt says about one function."""

    kind: str
    shown: str
    text: str


def descriptions(limits: Limits, *, is_recursive: bool) -> tuple[Description, ...]:
    """Describe each function for the prompt, in the order of the table.

    Args:
        limits: those of the run.
        is_recursive: whether an `rlm_query` starts an RLM.
    """
    values = limits.model_dump()
    found: list[Description] = []
    for function in TABLE:
        shown, text = function.shown, function.text
        if not is_recursive and function.kind == "rlm":
            shown, text = WITHOUT_CHILDREN.get(function.name, ("", ""))
        if text:
            found.append(Description(function.kind, shown, text.format(**values)))
    return tuple(found)


def names_of(host: Host) -> frozenset[str]:
    """Give the names whose calls an interpreter hands to the host: the table's and the tools'."""
    return frozenset(row.name for row in TABLE if row.answer is not None) | frozenset(host.tools)


def respond(
    call: HostCall,
    cell: OpenCell,
    handles: Mapping[str, ContextHandle],
    host: Host,
    made: Made = dict[str, Facts],
    check: Callable[[], None] = lambda: None,
) -> Answer | Request:
    """Answer a call, or make the request that the graph has to dispatch.

    Args:
        call: the guest's call.
        cell: the cell that made it; it takes note of what is read and of a FINAL.
        handles: the contexts that the cell may read, by name.
        host: the host of its RLM.
        made: tells what is known of the files that earlier cells made, by name.
        check: raises once the time of the cell is up; what it raises passes through.
    """
    try:
        answer = _response(call, cell, handles, host, made, check)
    except BadCall as error:
        return Raised(error.type, str(error))
    if isinstance(answer, Request) and answer.items == 0:
        return Returned([])  # an empty batch waits for nobody
    return answer


def _response(
    call: HostCall,
    cell: OpenCell,
    handles: Mapping[str, ContextHandle],
    host: Host,
    made: Made,
    check: Callable[[], None],
) -> Answer | Request:
    if call.function in host.withheld:
        raise BadCall("NameError", f"{call.function} is not among the tools of this question.")
    if call.function in host.tools:
        return _tool_response(call, host.tools[call.function], cell.rules)
    function = BY_NAME[call.function]
    assert function.answer is not None, "an interpreter hands on no call of kind `guest`"
    arguments = bound(function.signature_by(cell.rules), call, cell.rules)
    return function.answer(
        Called(
            function.name,
            function.kind,
            arguments,
            cell,
            handles,
            host,
            call.source,
            made,
            check,
        )
    )


def _tool_response(call: HostCall, tool: RLMTool, rules: int) -> Request:
    try:
        return tool_request(tool, tool.arguments(call.args, call.kwargs))
    except BadArguments as error:
        told = str(error)
        if rules == 1:
            told = told.replace(tool.signature, tool.first_signature, 1)
        raise BadCall("TypeError", told) from None


# Signatures. Digests of requests do not depend on them; the texts of TypeErrors do.


def _context_info(of: str = "context", page: int = 0) -> None: ...
def _first_context_info(of: str = "context") -> None: ...
def _peek(start: int = 0, end: int | None = None, of: str = "context") -> None: ...
def _grep(
    pattern: str,
    max_matches: int = 50,
    context_lines: int = 0,
    ignore_case: bool = False,
    of: str = "context",
    width: int = 500,
    start: int = 0,
) -> None: ...
def _third_grep(
    pattern: str,
    max_matches: int = 50,
    context_lines: int = 0,
    ignore_case: bool = False,
    of: str = "context",
    width: int = 500,
) -> None: ...
def _first_grep(
    pattern: str,
    max_matches: int = 50,
    context_lines: int = 0,
    ignore_case: bool = False,
    of: str = "context",
) -> None: ...
def _grep_count(
    pattern: str, ignore_case: bool = False, of: str = "context", start: int = 0
) -> None: ...
def _read_lines(start: int = 0, max_lines: int = 100, of: str = "context") -> None: ...
def _chunk_ranges(chars: int = 100_000, of: str = "context") -> None: ...
def _file_names(pattern: str | None = None, of: str = "context") -> None: ...
def _sql(query: str, max_rows: int = 100, of: str | None = None) -> None: ...
def _llm_query(
    prompt: str,
    model: str | None = None,
    schema: dict[str, Any] | None = None,
    images: list[str] | None = None,
    ranges: Any = None,
    of: str = "context",
) -> None: ...
def _third_llm_query(
    prompt: str, model: str | None = None, schema: dict[str, Any] | None = None
) -> None: ...
def _llm_query_batched(
    prompts: list[str] | str,
    model: str | None = None,
    schema: dict[str, Any] | None = None,
    images: list[list[str]] | None = None,
    ranges: list[Any] | None = None,
    of: str = "context",
) -> None: ...
def _third_llm_query_batched(
    prompts: list[str], model: str | None = None, schema: dict[str, Any] | None = None
) -> None: ...
def _rlm_query(
    prompt: str,
    context: Any = None,
    model: str | None = None,
    schema: dict[str, Any] | None = None,
) -> None: ...
def _rlm_query_batched(
    prompts: list[str],
    contexts: list[Any] | None = None,
    model: str | None = None,
    schema: dict[str, Any] | None = None,
) -> None: ...
def _show_vars() -> None: ...
def _final_value(value: Any) -> None: ...


def _of_large(name: str, signature: Callable[..., None], reading: Reading) -> HostFunction:
    """Make the row of a read that the prompt names beside inputs that are not loaded, and only
    there."""
    return HostFunction(name, signature, "read", read(reading), "", "", since=4, gives_way=True)


TABLE: tuple[HostFunction, ...] = (
    HostFunction(
        name="context_info",
        signature=_context_info,
        kind="read",
        answer=context_info,
        shown='context_info(of="context", page=0) -> dict',
        text="kind and size of an input; of files also their names, 100 a `page`.",
        earlier={1: _first_context_info},
    ),
    HostFunction(
        name="peek",
        signature=_peek,
        kind="read",
        answer=read(lambda reader, given: reader.peek(**given)),
        shown='peek(start, end=None, of="context") -> str',
        text="characters `[start:end]` of its text, 2,000 without `end`. The text of a list or "
        "dict is JSON, one item a line.",
    ),
    HostFunction(
        name="grep",
        signature=_grep,
        kind="read",
        answer=read(lambda reader, given: reader.grep(**given)),
        shown="grep(pattern, max_matches=50, context_lines=0, ignore_case=False, "
        'of="context", width=500) -> list[dict]',
        text="matches of an RE2 pattern (no lookaround or backreferences; `\\d`, `\\w`, `\\b` "
        "are ASCII; none spans lines), each a dict with `line` (from 1), `start` and `end` "
        "(characters from 0, as `peek` takes them) and `text` (at most `width` characters of "
        "its line). These three work on inputs of any size, also on one too large to be bound "
        "to its name.",
        earlier={1: _first_grep, 3: _third_grep},
    ),
    _of_large("grep_count", _grep_count, lambda reader, given: (reader.count(**given), [])),
    _of_large("read_lines", _read_lines, lambda reader, given: read_lines(reader, **given)),
    _of_large("chunk_ranges", _chunk_ranges, lambda reader, given: chunk_ranges(reader, **given)),
    _of_large("file_names", _file_names, lambda reader, given: file_names(reader, **given)),
    HostFunction(
        name="sql",
        signature=_sql,
        kind="sql",
        answer=sql,
        shown="sql(query, max_rows=100, of=None) -> list[dict]",
        text="",  # the message of a question that has tables tells of it
        since=4,
    ),
    HostFunction(
        name="llm_query",
        signature=_llm_query,
        kind="llm",
        answer=ask,
        shown="llm_query(prompt, model=None) -> str",
        text="asks a language model. It sees that prompt and nothing else, so put the question, "
        "the instructions and the text into it. A prompt of some 100,000 to 400,000 characters "
        "is usually fine; how much depends on the model.",
        earlier={3: _third_llm_query},
    ),
    HostFunction(
        name="llm_query_batched",
        signature=_llm_query_batched,
        kind="llm",
        answer=ask,
        shown="llm_query_batched(prompts, model=None) -> list[str]",
        text="many prompts at once, up to {max_concurrency} in parallel, answers in their order. "
        'A failed one gives `"Error: ..."` in its place: check, and ask those again. Prefer it '
        "to a loop of `llm_query`.",
        earlier={3: _third_llm_query_batched},
    ),
    HostFunction(
        name="rlm_query",
        signature=_rlm_query,
        kind="rlm",
        answer=ask,
        shown="rlm_query(prompt, context=None, model=None) -> str",
        text="starts an agent like you, with a REPL of its own, on `context` (any `str`, `list` "
        "or `dict`). For a part that needs several steps of its own; it costs far more than "
        "`llm_query`.",
    ),
    HostFunction(
        name="rlm_query_batched",
        signature=_rlm_query_batched,
        kind="rlm",
        answer=ask,
        shown="rlm_query_batched(prompts, contexts=None, model=None) -> list[str]",
        text="several of them in parallel, one context per prompt.",
    ),
    HostFunction(
        name="SHOW_VARS",
        signature=_show_vars,
        kind="guest",
        answer=None,
        shown="SHOW_VARS()",
        text="names, types and sizes of what you have defined.",
    ),
    HostFunction(
        name="FINAL",
        signature=_final_value,
        kind="final",
        answer=final,
        shown="FINAL(value)",
        text="the value is the answer.",
    ),
    HostFunction(
        name="FINAL_VAR",
        signature=_final_value,
        kind="final",
        answer=final,
        shown='FINAL_VAR("name")',
        text="that variable is the answer. Best for a long one: build it in code, do not "
        "retype it.",
    ),
)

WITHOUT_CHILDREN: Mapping[str, tuple[str, str]] = {
    "rlm_query": (
        "rlm_query(prompt, context=None, model=None)` and "
        "`rlm_query_batched(prompts, contexts=None, model=None)",
        "here no more than `llm_query` and `llm_query_batched`, with the context put into the "
        "prompt.",
    ),
}
"""What the prompt says of the kind `rlm` where RLMs may have no children.

One line stands for both functions.
"""

BY_NAME: Mapping[str, HostFunction] = {row.name: row for row in TABLE}


@cache
def reserved(rules: int) -> frozenset[str]:
    """Give the names that mean the same in every cell of turns by these rules, whatever earlier
    code has bound to them."""
    return frozenset(row.name for row in TABLE if row.since <= rules and not row.gives_way)


TAKEN = frozenset(row.name for row in TABLE if not row.gives_way) | {"context", "answer", "history"}
"""Names that no tool may have in code."""
