"""Scripted models for the tests, and the graphs made of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import Limits, create_rlm
from langgraph_rlm.log.places import spent_on
from langgraph_rlm.testing import ScriptedModel, cell


def echo(text: str) -> str:
    """A sub-model whose answers can be checked: the length of its prompt."""
    return f"len={len(text)}"


def root(*codes: str) -> ScriptedModel:
    """A root model that writes these cells, a turn each."""
    return ScriptedModel(replies=[cell(code) for code in codes])


def rlm(
    replies: Sequence[Any] | ScriptedModel,
    *,
    sub: Callable[[str], Any] | ScriptedModel = echo,
    limits: Any = None,
    **options: Any,
) -> Any:
    """A graph from the root's replies and the sub-model's answers."""
    model = replies if isinstance(replies, ScriptedModel) else ScriptedModel(replies=replies)
    sub_model = sub if isinstance(sub, ScriptedModel) else ScriptedModel(answer=sub)
    return create_rlm(model, sub_model=sub_model, limits=Limits(**(limits or {})), **options)


def shown(model: ScriptedModel, turn: int) -> str:
    """What the root model saw as the last message of its call number `turn`."""
    return model.prompts[turn][-1].text


def paid_calls(state: Mapping[str, Any]) -> int:
    """Model calls that a checkpoint says were paid: those of its usage, and those of the answers that its open cell has not taken yet."""
    waiting = spent_on(state["log"], state.get("suspended")) or {}
    return sum(usage.get("model_calls", 0) for usage in (state.get("usage") or {}, waiting))


def timeless(log: Mapping[str, Any]) -> dict[str, Any]:
    """A log without what the clock has put there."""

    def entry_of(entry: Any) -> Any:
        clocked = {"snapshot", "at", "seconds", "run"}
        entry = {key: value for key, value in entry.items() if key not in clocked}
        if entry["kind"] == "run":
            return {**entry, "started": 0}
        return {**entry, "usage": {**entry["usage"], "seconds": 0}} if "usage" in entry else entry

    return {place: entry_of(entry) for place, entry in log.items()}


def thread(name: str = "t") -> dict[str, Any]:
    """A config for one thread."""
    return {"configurable": {"thread_id": name}}


class FailsOnce(InMemorySaver):
    """A saver whose database is full for one checkpoint."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.saves = 0
        self._at = at

    def fail_at(self, at: int) -> None:
        """Fail once more."""
        self._at = at

    async def aput(self, *args: Any, **kwargs: Any) -> Any:
        """As `InMemorySaver`."""
        self.saves += 1
        if self.saves == self._at:
            raise OSError("no space left on device")
        return await super().aput(*args, **kwargs)
