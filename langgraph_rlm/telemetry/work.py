"""Work: the pieces of a run that observers are told of, each with where in the run it stands."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AnyMessage

Kind = Literal["rlm", "model", "code", "tool"]
"""An RLM at work on its question, one call of a model, code on its way to the next call or the end
of its cell, one tool."""

Outcome = Literal["ok", "error", "limit", "paused", "stopped"]
"""How a piece ended. `limit`: a limit of the run came first; `stopped`: whoever waited for it
left."""


@dataclass(frozen=True)
class Where:
    """Where in a run a piece of work stands."""

    rlm_id: str = ""
    """Of the RLM that does it, or whose code asks for it; empty as long as it has none."""
    place: str = ""
    """Place in that RLM's log; empty where it has none."""
    depth: int = 0
    """Under which its spending is counted: 0 for the root's own turns, 1 for what its code asks."""
    thread: str = ""
    """Thread of the run; empty without a checkpointer."""
    conversation: str = ""
    """Thread of whoever asked, which is another one inside a `ChatRLM`."""


@dataclass(eq=False)
class Work:
    """One piece of work. What is known at its end only is set by whoever does it."""

    kind: Kind
    purpose: str
    """What it is for: `plan`, `summary`, `best answer`, `llm_query`, `direct` for a model;
    `rlm_query` for a child; the name of a tool."""
    where: Where = field(default_factory=Where)
    within: "Work | None" = None
    """The RLM that it belongs to; for a child, its parent."""
    model: str = ""
    client: Any = None
    """The model itself, until the end."""
    waited: float = 0.0
    """Seconds that it waited for its turn."""
    is_resumed: bool = False
    before: str = ""
    """Of a resumed run: what `left_behind` had for the run before it."""
    left_behind: str = ""
    """What an observer wants to find again when the run is resumed; goes into its checkpoints. At
    most 100 characters."""
    given: "str | list[AnyMessage] | Mapping[str, Any] | None" = None
    """Prompt of a model, arguments of a tool, until its end."""
    reply: "AIMessage | None" = None
    """What a model gave."""
    result: Any = None
    """What a tool gave; of code, how its cells ended, by place."""
    call_id: str = ""
    """Id of a tool call."""
    spent: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """A `Usage`: what a model call, or the whole tree of a root, has spent."""
    stop_reason: str = ""
    """Of an RLM that ended."""
    outcome: Outcome = "ok"
    error: BaseException | None = None
    seconds: float = 0.0
    """How long it took, without its wait."""
    open_pauses: int = 0
    """Pauses that the run now waits in."""
    told: "tuple[Observer, ...]" = ()
    """Who was told of its beginning, and is told of its end."""
    marks: dict[Any, Any] = field(default_factory=dict[Any, Any])
    """What observers keep with it, each under itself."""
    began: float = field(default_factory=time.perf_counter)

    @property
    def name(self) -> str:
        """What tracers call it: `plan 3`, `llm_query 0.0/0/17`."""
        return f"{self.purpose} {self.where.place}" if self.where.place else self.purpose

    def is_of(self, rlm_id: str) -> None:
        """Note the id of an RLM, which it has from its first step on."""
        self.where = replace(self.where, rlm_id=rlm_id)

    @property
    def root(self) -> "Work":
        """The root RLM of its tree."""
        return self if self.within is None else self.within.root


@dataclass(frozen=True)
class Event:
    """Something that happens at a moment."""

    kind: Literal[
        "pause", "limit", "wait", "sandbox started", "sandbox ended", "sandbox crashed", "replay"
    ]
    what: str = ""
    """The tool that waits, the limit, the place of the cell; the model whose provider was busy,
    and for how long."""
    work: Work | None = None
    """The RLM in which it happened, where that is known."""


class Observer(Protocol):
    """Whoever is told, in the task that does the work. It must be quick, and must not raise."""

    def begin(self, work: Work) -> None:
        """A piece of work begins."""
        ...

    def end(self, work: Work) -> None:
        """It has ended, in the same task that it began in."""
        ...

    def happened(self, event: Event) -> None:
        """Something happened. May be called from any thread."""
        ...
