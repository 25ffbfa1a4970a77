"""Item: one item of a call, as it is asked, and what answers those that are children. Asks
nobody."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from langchain_core.runnables import RunnableConfig

from langgraph_rlm.budget.limits import StopReason
from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.runtime.run import Caller, Frame
from langgraph_rlm.schemas.answers import Format
from langgraph_rlm.state import PendingCall
from langgraph_rlm.storage.inputs import Given
from langgraph_rlm.storage.references import Reference
from langgraph_rlm.telemetry.work import Work


@dataclass
class Item:
    """One item of a call, as it is asked."""

    prompt: str
    context: Any
    """A handle, where an `rlm_query` brings a context."""
    model: str | None
    """The name that code gave as `model=`."""
    shown: Sequence[Reference]
    """What a model is shown with the prompt."""
    form: Format | None
    caller: Caller
    config: RunnableConfig
    frame: Frame
    call: PendingCall
    waited: float = 0.0
    """Seconds that it waited for its slot."""
    paid: list[Usage] = field(default_factory=list[Usage])
    """Takes what each try has cost, as soon as it is known."""
    thoughts: str = ""
    """What the model thought before its last reply."""
    seen: dict[str, list[list[int]]] = field(default_factory=dict[str, list[list[int]]])
    """Byte ranges of a child's contexts that models have seen, by digest."""
    thread: str = ""
    """The thread of a child that runs elsewhere."""


class Ended(NamedTuple):
    """What a child has come to."""

    out: dict[str, Any]
    """An `RLMOutput`; without `usage` where its first call has failed."""
    limit: StopReason | None = None
    """The limit of the whole tree that has ended it."""


class Children(Protocol):
    """What runs the child of an item, here or elsewhere."""

    async def run(self, item: Item, given: Given, work: Work) -> Ended:
        """Run it from its question to its end, or raise its pauses."""
        ...
