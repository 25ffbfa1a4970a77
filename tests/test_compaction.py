"""Long runs: the conversation is summed up at a share of the window, and nothing is lost by it."""

import json
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import fork
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
    rewritten = [
        index
        for index, (a, b) in enumerate(zip(texts, texts[1:], strict=False))
        if b[: len(a)] != a
    ]
    assert len(rewritten) == sum(place.startswith("compaction.") for place in log)
    assert all(text[:1] == texts[0][:1] for text in texts)


def test_a_cold_replay_reads_the_same_history() -> None:
    assert play(max_idle=0)[0]["answer"] == play()[0]["answer"]


class Chatter(ScriptedModel):
    """Answers each question in one turn and prints a lot on the way; what it is asked when it is to sum up is in `asked`."""

    summary: Any = "SUMMARY"
    code: str = "print('words ' * 300)\nFINAL(len(history))"

    def _scripted(self, messages: list[Any]) -> Any:
        return self.summary if "about to be shortened" in messages[-1].text else cell(self.code)

    @property
    def asked(self) -> list[list[Any]]:
        return [
            messages for messages in self.prompts if "about to be shortened" in messages[-1].text
        ]


def test_a_thread_of_many_short_questions_is_summed_up_too() -> None:
    """No single question has turns enough for it, and long questions are shortened with their turns; `history` keeps all."""
    model = Chatter()
    graph = rlm(model, window_tokens=12_000, checkpointer=InMemorySaver())
    answers = [
        graph.invoke({"query": f"question {number} " + "long " * 200}, thread())["answer"]
        for number in range(30)
    ]
    assert answers == [str(number) for number in range(30)]
    assert (
        max(sum(len(message.text) for message in messages) // 4 for messages in model.prompts)
        < 12_000
    )
    last = "".join(message.text for message in model.prompts[-1])
    assert [f"question {number} " in last for number in range(30)] == [True] * 30
    assert "SUMMARY" in last


def test_text_of_three_bytes_a_character_is_not_thought_shorter_than_it_is() -> None:
    model = Chatter(code="print('字' * 1500)\nFINAL(1)")
    graph = rlm(model, window_tokens=8_000, checkpointer=InMemorySaver())
    for _ in range(12):
        graph.invoke({"query": "q"}, thread())
    assert model.asked


def test_the_request_for_a_summary_never_has_two_user_messages_in_a_row() -> None:
    """Some chat templates refuse them."""
    _, model, _ = play()
    assert not [
        1
        for messages in model.prompts
        for a, b in zip(messages, messages[1:], strict=False)
        if a.type == b.type == "human"
    ]


def test_a_summary_is_asked_for_with_the_same_tools_and_kept_without_its_reasoning() -> None:
    """Tools stand ahead of the messages in a provider's cache, and some refuse tool messages without them. A blank summary is said."""
    given: list[Any] = []

    class Bound(Chatter):
        def bind_tools(self, tools: Any, **options: Any) -> Any:
            given.append([tool["function"]["name"] for tool in tools])
            return self

    tool: dict[str, Any] = {
        "name": "ext",
        "description": "d",
        "parameters": {"type": "object", "properties": {}},
    }
    for summary, shown in (
        ("<think>hm</think>SHORT", "`history`):\n\nSHORT"),
        (" ", "You wrote no summary"),
    ):
        model = Bound(summary=summary)
        graph = rlm(model, window_tokens=6_000, checkpointer=InMemorySaver(), external_tools=[tool])
        for _ in range(12):
            graph.invoke({"query": "q"}, thread())
        assert shown in "".join(message.text for message in model.prompts[-1])
        assert "hm</think>" not in "".join(message.text for message in model.prompts[-1])
        assert len(given) == model.calls
        given.clear()


def test_a_follow_up_keeps_the_prefix_of_a_run_that_ended_at_a_limit() -> None:
    """What asked for the best answer stays in front of it."""
    model = ScriptedModel(
        replies=[cell("print(1)"), cell("print(2)"), "best", cell("print(3)"), cell("FINAL(4)")]
    )
    graph = rlm(model, checkpointer=InMemorySaver(), limits={"max_iterations": 2})
    assert graph.invoke({"query": "q"}, thread())["answer"] == "best"
    assert graph.invoke({"query": "q2"}, thread())["answer"] == "4"
    texts = [[(message.type, message.text) for message in messages] for messages in model.prompts]
    assert all(b[: len(a)] == a for a, b in zip(texts, texts[1:], strict=False))


def test_a_summary_that_fails_or_is_cut_by_a_limit_leaves_the_thread_whole() -> None:
    """A failing model raises, and the thread goes on from there; at a limit the best answer is given from what is not summed up."""

    class Failing(Talker):
        failures: int = 1

        def _scripted(self, messages: list[Any]) -> Any:
            if "about to be shortened" in messages[-1].text and self.failures:
                self.failures -= 1
                raise RuntimeError("overloaded")
            return super()._scripted(messages)

    saver, model = InMemorySaver(), Failing()
    with pytest.raises(RuntimeError, match="overloaded"):
        rlm(model, window_tokens=6_000, checkpointer=saver).invoke({"query": "q"}, thread())
    assert json.loads(
        rlm(model, window_tokens=6_000, checkpointer=saver).invoke(None, thread())["answer"]
    )[2:] == [400, True]

    tokens = 0
    for messages in (talker := play()[1]).prompts:
        if "about to be shortened" in messages[-1].text:
            break
        tokens += sum(len(message.text) for message in messages) // 4
    assert talker.calls > 5
    out = rlm(Talker(), window_tokens=6_000, limits={"max_tokens": tokens + 2_000}).invoke(
        {"query": "the question", "context": "abc"}
    )
    assert out["stop_reason"] == "max_tokens"
    assert "words words" in out["answer"]


def test_children_sum_up_too_and_forks_go_both_ways() -> None:
    """A child's conversation is bounded like the root's. Forked before its summary a thread sums up again; behind it, it does not."""
    child = Talker()
    graph = rlm(
        [cell("FINAL(rlm_query('the question', context='abc'))")],
        sub=child,
        window_tokens=6_000,
        limits={"max_depth": 2},
    )
    assert json.loads(graph.invoke({"query": "q"})["answer"])[2:] == [400, True]
    assert (
        max(sum(len(message.text) for message in messages) // 4 for messages in child.prompts)
        < 6_000
    )

    graph = rlm(Talker(), window_tokens=6_000, checkpointer=InMemorySaver())
    graph.invoke({"query": "the question"}, thread())
    head = graph.get_state(thread())
    first = head.values["log"]["compaction.0"]["turn"] + 2
    for place, summaries in ((str(first - 1), 0), (str(first), 1)):
        forked = fork(graph, head.config, place, cell("FINAL(len(history))"))
        assert graph.invoke(None, forked)["answer"] == place
        assert (
            sum(key.startswith("compaction.") for key in graph.get_state(thread()).values["log"])
            == summaries
        )
