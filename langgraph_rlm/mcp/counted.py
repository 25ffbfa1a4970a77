"""Counted: how far the run of a thread is, from its events. Tells nobody."""

from dataclasses import dataclass, field

from langgraph_rlm.progress import Event


@dataclass
class Counted:
    """Steps of one run: turns of its root models, and sub-calls."""

    turns: int = 0
    _batches: dict[tuple[str, str], tuple[int, int]] = field(
        default_factory=dict[tuple[str, str], tuple[int, int]]
    )
    """Sub-calls that are done and all of them, by the RLM and the place of their batch."""

    def take(self, event: Event) -> None:
        """Count an event."""
        if event["type"] == "turn":
            self.turns += 1
        elif event["type"] == "sub_calls":
            key = (event["trajectory"], event["place"])
            self._batches[key] = (event["done"], event["total"])

    @property
    def sub_calls(self) -> tuple[int, int]:
        """Sub-calls that are answered, and all that were made so far."""
        counts = self._batches.values()
        return sum(done for done, _ in counts), sum(total for _, total in counts)

    @property
    def steps(self) -> tuple[int, int]:
        """Steps that were taken, and all that are known of: turns that began, and sub-calls."""
        done, total = self.sub_calls
        return self.turns + done, self.turns + total

    @property
    def message(self) -> str:
        """Say how far it is, in words."""
        if not self.turns:
            return "starting"
        done, total = self.sub_calls
        return f"turn {self.turns}" + (f"; sub-calls {done:,} of {total:,}" if total else "")
