"""Host: what the host side of an interpreter knows. Its RLM, the open cell, and the late values."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.log.entries import QuestionEntry, ReplyEntry
from langgraph_rlm.log.places import handles_of
from langgraph_rlm.repl.base import Capacity, Session, Sharing, StoredText
from langgraph_rlm.repl.input_files import ENDING, SINCE, InputFiles
from langgraph_rlm.repl.requests import Requests
from langgraph_rlm.repl.skill_files import Importing, SkillFiles
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import MEDIA, ContextHandle, materialize
from langgraph_rlm.storage.ranges import Touched
from langgraph_rlm.storage.skills import texts_of_skills
from langgraph_rlm.tables.desk import Desk
from langgraph_rlm.tools import RLMTool

LOADED_SHARE = 4
"""A context is loaded only if this many times its size fits the heap: loading takes that much."""


STORED_BYTES = 1 << 20
"""Bytes from which a text is given as a `StoredText`: a shorter one is copied in a moment."""

OF_THREAD = ("max_heap_bytes", "max_out_bytes")
"""Limits that an interpreter has from its start. A thread keeps those of its first question."""


@dataclass(frozen=True)
class Host:
    """What the host sides of all interpreters of one RLM share. It knows nothing of any one run.

    What a question has of its own is read from the log, so that live code and code that is run
    again get the same answers.
    """

    models: Sequence[str]
    """Names that code may give as `model=`."""
    tools: Mapping[str, RLMTool]
    """Tools by their names in code."""
    is_recursive: bool
    """Whether `rlm_query` starts an RLM; otherwise it is an `llm_query`."""
    blobs: BlobStore
    requests: Requests
    limits: Limits
    capacity: Capacity = field(default_factory=Capacity)
    """What the sandbox takes as one value."""
    gives_files: bool = False
    """Whether files in `out/` are given back: those of the root's code are."""
    desk: Desk = field(default_factory=Desk)
    """Answers queries of tables."""
    depth: int = 0
    """Of the RLM."""
    withheld: frozenset[str] = frozenset()
    """Tools, by their names in code, that the code of this question may not call. Their names stay
    taken: another question has them."""

    def for_question(self, question: QuestionEntry) -> "Host":
        """Give the host of the code of one question: with the settings that the log has of it."""
        settings = question.get("settings")
        if settings is None:
            return self
        limits = self.limits.model_copy(update=settings.get("limits", {}))
        withheld = frozenset[str]()
        if "tools" in settings:
            named = settings["tools"]
            withheld = frozenset(
                function for function, tool in self.tools.items() if tool.name not in named
            )
        is_recursive = self.depth + 1 < limits.max_depth
        return replace(self, limits=limits, withheld=withheld, is_recursive=is_recursive)


def limits_of_thread(limits: Limits, questions: Sequence[QuestionEntry]) -> Limits:
    """Give limits with those of `OF_THREAD` as the first question of a log has them."""
    if not questions:
        return limits
    given = questions[0].get("settings", {}).get("limits", {})
    own = {name: given[name] for name in OF_THREAD if name in given}
    return limits.model_copy(update=own) if own else limits


@dataclass
class OpenCell:
    """The cell that is running or suspended, and what it has asked of the host."""

    place: str
    code: str
    rules: int
    """The rules of its turn: `TurnEntry.rules`."""
    ordinal: int = 0
    """The number of its next call."""
    waiting: str | None = None
    """The place of the call that it is suspended on."""
    seconds: float = 0.0
    """How long it has executed, replays left out."""
    replayed: float = 0.0
    """How long replays of it have taken."""
    reads: dict[str, Touched] = field(default_factory=dict[str, Touched])
    """What it has read, by context digest."""
    ended: bool = False
    """Whether it called FINAL or FINAL_VAR; only the first call counts."""
    final: Any = None
    final_name: str | None = None
    """The variable whose value is the answer."""

    def note_read(self, digest: str, ranges: Iterable[Sequence[int]]) -> None:
        """Add byte ranges of a context to what was read."""
        self.reads.setdefault(digest, Touched()).add(ranges)

    def note_reads_of(self, reply: ReplyEntry) -> None:
        """Add what an answer says that it has read of contexts."""
        sizes = reply.get("read_bytes", {})
        for digest, ranges in reply.get("reads", {}).items():
            self.reads.setdefault(digest, Touched()).add(ranges, sizes.get(digest))


def is_loaded(handle: ContextHandle, limits: Limits, capacity: Capacity) -> bool:
    """Tell whether a context is bound as a value. If not, code reads it with `peek` and `grep`.

    Args:
        handle: of the context.
        limits: of the run.
        capacity: of the sandbox.
    """
    if handle.kind in MEDIA:
        return True  # as a few words
    memory = max(handle.size * LOADED_SHARE, (handle.items or 0) * capacity.item_bytes)
    return memory <= limits.max_heap_bytes and handle.size <= capacity.max_bytes


def with_paths(names: Sequence[str]) -> set[str]:
    """Give names of contexts, and those of their paths."""
    return {*names, *(name + ENDING for name in names)}


class LateValues(Mapping[str, Any]):
    """The globals that code reads late: the contexts of the question, `answer` and `history`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.handles: Mapping[str, ContextHandle] = {}
        """Contexts by name, up to the question that the interpreter has come to."""
        self.history: Callable[[], list[dict[str, Any]]] = list
        """Makes `history`, up to the turn that the interpreter has come to."""
        self._rules = 1
        self._files: InputFiles | None = None
        self._skills: str | None = None
        self._skill_files: SkillFiles | None = None

    def enter(
        self,
        questions: Sequence[QuestionEntry],
        history: Callable[[], list[dict[str, Any]]],
        rules: int,
    ) -> None:
        """Take up a turn: the contexts and the skills of its questions, `history`, and its rules.
        The texts of skills are contexts that no variable has."""
        self._skills = questions[-1].get("skills")
        self.handles = {
            **handles_of(questions),
            **texts_of_skills(self._skills, self._host.blobs),
        }
        self.history = history
        self._rules = rules

    def use(self, session: Session) -> None:
        """Give contexts as files too, if code of the session can open files."""
        if isinstance(session, Sharing):
            self._files = InputFiles(session, self._host.blobs)
        if isinstance(session, Importing):
            self._skill_files = SkillFiles(session, self._host.blobs)

    def code_before(self) -> str:
        """Give code that has to run before the next cell; empty for none. Raises `BlobError`."""
        return "" if self._skill_files is None else self._skill_files.entered(self._skills)

    def __getitem__(self, name: str) -> Callable[[], Any]:
        if name == "answer":
            return lambda: {"content": "", "ready": False}
        if name == "history":
            return self.history
        if self._files is not None and name in self._paths():
            return partial(self._path, self._files, name.removesuffix(ENDING))
        handle = self.handles[name]
        if not self._is_loaded(handle):
            raise KeyError(name)
        blobs = self._host.blobs
        if handle.kind == "text" and handle.size >= STORED_BYTES:
            return StoredText(
                path=lambda: blobs.path(handle.digest),
                whole=lambda: str(materialize(handle, blobs, exact=False)),
            )
        return lambda: materialize(handle, blobs, exact=False)

    def __iter__(self) -> Iterator[str]:
        yield from ("answer", "history")
        for name, handle in self.handles.items():
            if name.isidentifier() and self._is_loaded(handle):
                yield name
        yield from self._paths()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _paths(self) -> list[str]:
        """Give the names that paths of contexts have; a context of such a name comes first."""
        if self._files is None or self._rules < SINCE:
            return []
        names = [name for name in self.handles if name.isidentifier()]
        return [name + ENDING for name in names if name + ENDING not in self.handles]

    def _path(self, files: InputFiles, name: str) -> str:
        """Have a context there as a file, by the first of its names: `context` moves on."""
        handle = self.handles[name]
        place = next(known for known, found in self.handles.items() if found is handle)
        return files.path(place, handle)

    def _is_loaded(self, handle: ContextHandle) -> bool:
        return is_loaded(handle, self._host.limits, self._host.capacity)
