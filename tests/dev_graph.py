"""Dev graph: an RLM for tests under `langgraph dev`, whose code does what the question says. Asks no model."""

from typing import Any

from langgraph_rlm import create_rlm, errors
from langgraph_rlm.testing import ScriptedModel, cell


def send(to: str) -> str:
    """Send it."""
    return f"sent to {to}"


def fail(name: str) -> str:
    """Raise an error of the package."""
    raise getattr(errors, name)("told to clients")


class Says(ScriptedModel):
    """Its code is the question's last line."""

    def _scripted(self, messages: list[Any]) -> Any:
        return cell(messages[1].text.strip().rpartition("\n")[2])


graph = create_rlm(
    Says(replies=["none"]),
    tools=[send, fail],
    interrupt_on={"send": True},
    limits={"max_depth": 2},
    sandbox="monty",
)
