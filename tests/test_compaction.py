"""Long runs: the conversation is summed up at a share of the window, and nothing is lost by it."""

import json
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, thread


class Talker(ScriptedModel):
    """Prints a lot for ten turns, sums up when it is asked to, then reads its own history."""

    def _scripted(self, messages: list[Any]) -> Any:
        if "about to be shortened" in messages[-1].text:
            return "SUMMARY: x counts the turns"
        if len(self.prompts) < 14:
            return cell(f"x = {len(self.prompts)}\nprint('words ' * 400, x)")
        return cell(
            "FINAL([x, len(history), history[0]['output'].count('words'), [h['turn'] for h in history] == list(range(len(history)))])"
        )


def play(max_idle: int = 32) -> tuple[dict[str, Any], Talker, dict[str, Any]]:
    model = Talker()
    graph = rlm(model, window_tokens=6_000, checkpointer=InMemorySaver())
    graph.rlm.sessions.max_idle = max_idle
    out = graph.invoke({"query": "the question", "context": "abc"}, thread())
    return out, model, graph.get_state(thread()).values["log"]


def test_a_long_conversation_is_summed_up_and_stays_readable() -> None:
    out, model, log = play()
    x, turns, words, in_order = json.loads(out["answer"])
    sizes = [sum(len(message.text) for message in messages) // 4 for messages in model.prompts]
    assert max(sizes) < 6_000
    assert "compaction.0" in log
    assert (turns, words, in_order) == (out["usage"]["turns"] - 1, 400, True)
    assert x == 13
    assert "SUMMARY: x counts the turns" in "".join(message.text for message in model.prompts[-1])


def test_what_was_sent_is_a_prefix_of_what_is_sent_next_until_it_is_summed_up() -> None:
    """A provider's cache keeps its prefix."""
    _, model, log = play()
    texts = [[(message.type, message.text) for message in messages] for messages in model.prompts]
    rewritten = [index for index, (a, b) in enumerate(zip(texts, texts[1:], strict=False)) if b[: len(a)] != a]
    assert len(rewritten) == sum(place.startswith("compaction.") for place in log)
    assert all(text[:1] == texts[0][:1] for text in texts)


def test_a_cold_replay_reads_the_same_history() -> None:
    assert play(max_idle=0)[0]["answer"] == play()[0]["answer"]
