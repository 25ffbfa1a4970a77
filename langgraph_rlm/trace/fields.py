"""Fields: the shapes of what stands in several records of a trace, or many times in one."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

State = Literal["done", "paused", "running", "stopped"]
"""It has its answer; it waits for a human; it works now, as far as that can be seen from here; it
was cut off, and can be continued."""


class Ref(TypedDict):
    """A text that is too long for a record."""

    ref: str
    """sha256 of its UTF-8 bytes: `Trace.text(ref)` gives the text."""
    chars: int
    start: str
    """Its first characters."""
    missing: NotRequired[bool]
    """True where the blob store does not have it any more."""


Shown = str | Ref
"""A text in a record."""

Ranges = dict[str, list[list[int]]]
"""Byte ranges `[start, end)` by the digest of the context that they are of."""


RunSpan = TypedDict(
    "RunSpan",
    {
        "run": str,
        "from": float,
        "to": float,
        "ended": Literal["finished", "paused", "killed", "running"],
    },
)
"""One invocation of the graph that worked on the thread.

`run` names it as in the other records. It began at `from`, and last wrote to the log at `to`. It
gave an answer (`finished`), ended to wait for a human (`paused`), ended in any other way, such as a
kill or an error (`killed`), or works now (`running`).
"""

Span = TypedDict("Span", {"from": NotRequired[float], "to": NotRequired[float]})
"""When something began, and when it last wrote to its log."""


class Branch(TypedDict):
    """One end of the thread's history. A thread has several after a fork."""

    checkpoint: str
    """The id of its newest checkpoint."""
    at: float
    current: bool
    """Whether it is the branch that this trace is of."""
    parted: NotRequired[str]
    """The last checkpoint that it shares with the branch of this trace."""
    place: NotRequired[str]
    """The first place in the log where it differs from this trace."""
    question: NotRequired[Shown]
    """Its newest question."""


class QuoteSpan(TypedDict):
    """A quote of the answer, as `langgraph_rlm.verify_quotes` checks it."""

    text: str
    answer_start: int
    """Its first character in the answer."""
    answer_end: int
    status: Literal["exact", "near", "not_found"]
    similarity: float
    """From 0 to 1, which is `exact`."""
    context: NotRequired[str]
    """The name of the context that it stands in; this and the rest is left out where it was not
    found."""
    digest: NotRequired[str]
    start: NotRequired[int]
    """Its first byte in the context's text."""
    end: NotRequired[int]
    path: NotRequired[str]
    """Its file, in a context of several."""
    page: NotRequired[int]
