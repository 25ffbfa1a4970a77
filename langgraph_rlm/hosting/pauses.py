"""Pauses: the calls of a thread that wait for a person, and where in its tree. Asks nobody."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from langgraph_rlm.storage.json_types import is_dict
from langgraph_rlm.tools.approvals import DECISIONS, TOOL_APPROVAL

if TYPE_CHECKING:
    from langgraph.types import Interrupt, StateSnapshot

WITHIN = ":"
"""Stands between the place of a child RLM and a place in its own log."""
DOUBTFUL = "ask_again"
"""The step of a tool call that asks whether one that was cut off may run again."""

PauseKind = Literal["approval", "external", "other"]


@dataclass(frozen=True)
class Action:
    """One call that is to be decided."""

    tool: str
    arguments: Any
    description: str
    allowed: tuple[str, ...]
    """Decisions: approve, edit, reject, respond."""


@dataclass(frozen=True)
class Pause:
    """One open pause of a thread."""

    id: str
    place: str
    """Where the call stands: `"0.0/1/0"`, in a child `"0.0/1/0:2.0/0/0"`; empty where that is not
    known."""
    value: Any
    """What LangGraph's `Interrupt` shows."""
    schema: Any
    """JSON schema of the answers; None where none is known."""
    is_doubtful: bool
    """The call was cut off, and may have run already."""

    @property
    def kind(self) -> PauseKind:
        """Say whether it asks for a decision, for the result of a tool, or for something else."""
        if is_dict(self.value) and self.value.get("type") == "external_tool_call":
            return "external"
        return "approval" if self.actions else "other"

    @property
    def actions(self) -> list[Action]:
        """Give the calls that it asks to decide, or whose result it asks for."""
        if not is_dict(self.value):
            return []
        asked: dict[str, Any] = self.value
        if asked.get("type") in ("external_tool_call", TOOL_APPROVAL):
            return [_action(asked, _allowed_by(self.schema))]
        configs: list[dict[str, Any]] = asked.get("review_configs") or []
        allowed: dict[str, tuple[str, ...]] = {
            config.get("action_name", ""): tuple(config.get("allowed_decisions", DECISIONS))
            for config in configs
        }
        requests: list[dict[str, Any]] = asked.get("action_requests") or []
        return [_action(each, allowed.get(each.get("name", ""), DECISIONS)) for each in requests]

    def as_json(self) -> dict[str, Any]:
        """Give it as plain values, for machines."""
        return {
            "id": self.id,
            "place": self.place,
            "kind": self.kind,
            "value": self.value,
            "schema": self.schema,
        }


def _action(asked: dict[str, Any], allowed: tuple[str, ...]) -> Action:
    return Action(
        tool=str(asked.get("name", "")),
        arguments=asked.get("args", {}),
        description=str(asked.get("description") or ""),
        allowed=allowed,
    )


def _allowed_by(schema: Any) -> tuple[str, ...]:
    """Read the decisions that a schema of `decision_schema` takes."""
    if not is_dict(schema) or "oneOf" not in schema:
        return DECISIONS
    return tuple(form["properties"]["type"]["const"] for form in schema["oneOf"])


async def pauses_of(graph: Any, config: Any) -> list[Pause]:
    """Read the open pauses of a thread, in the order of their places."""
    state = await graph.aget_state(config, subgraphs=True)
    found = {pause.id: pause for pause in _within(state, "")}
    return sorted(found.values(), key=lambda pause: _order(pause.place))


def _order(place: str) -> list[tuple[int, str]]:
    """Sort numbers as numbers: 2 before 10."""
    parts = place.replace(".", "/").replace(WITHIN, "/").split("/")
    return [(int(part) if part.isdigit() else -1, part) for part in parts]


def _within(state: "StateSnapshot", prefix: str) -> Iterator[Pause]:
    """Give the pauses of a graph's state and of the graphs in it."""
    places = _places(state, prefix)
    for task in state.tasks:
        place = places.get(task.id, prefix.removesuffix(WITHIN))
        inner: Any = task.state
        if getattr(inner, "interrupts", None):
            below = f"{place}{WITHIN}" if task.name == "sub_call" else place
            yield from _within(inner, below)
        else:
            is_doubtful = task.name == DOUBTFUL
            yield from (_pause(each, place, is_doubtful) for each in task.interrupts)


def _pause(found: "Interrupt", place: str, is_doubtful: bool) -> Pause:
    schema = getattr(found, "response_schema", None)
    return Pause(found.id, place, found.value, schema, is_doubtful)


def _places(state: "StateSnapshot", prefix: str) -> dict[str, str]:
    """Give the place of the answer that each task of an RLM's state is to give, by its id."""
    values: Any = state.values
    if not is_dict(values) or "trajectory" not in values or not values.get("log"):
        return {}
    from langgraph_rlm.history.run_tree import places_of

    return {task: f"{prefix}{place}" for task, place in places_of(state).items()}
