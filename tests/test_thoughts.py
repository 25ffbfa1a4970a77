"""What a model writes to itself is never its reply: for roots, sub-models, the direct path and structured answers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import Field

from langgraph_rlm import ChatRLM, create_rlm
from langgraph_rlm.log.thought_stream import ThoughtStream
from langgraph_rlm.log.thoughts import split_thoughts, without_thoughts
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, thread

MARKED = {
    "think": "<think>\nHM\n</think>\n\nREPLY",
    "think in one line": "<think>HM</think>REPLY",
    "thinking": "<thinking>\nHM\n</thinking>\nREPLY",
    "thought": "<thought>\nHM\n</thought>\nREPLY",
    "thoughts": "<thoughts>HM</thoughts>\nREPLY",
    "reasoning": "<reasoning>HM</reasoning>\nREPLY",
    "seed": "<seed:think>HM</seed:think>REPLY",
    "capitals": "<THINK>\nHM\n</THINK>\nREPLY",
    "mistral": "[THINK]HM[/THINK]\nREPLY",
    "kimi": "◁think▷HM◁/think▷REPLY",
    "an opening tag that the template ate": "HM\n</think>\n\nREPLY",
    "the same, in one line": "HM</think>REPLY",
    "the same in Mistral's words": "HM[/THINK]\nREPLY",
    "text before": "Okay.\n<think>\nHM\n</think>\nREPLY",
    "text before in the line": "Okay. <think>HM</think>\nREPLY",
    "twice": "<think>HM</think>\n<think>HM</think>\nREPLY",
    "harmony": "<|channel|>analysis<|message|>HM<|end|><|start|>assistant<|channel|>final<|message|>REPLY<|return|>",
    "harmony from its start": "<|start|>assistant<|channel|>analysis<|message|>HM<|end|><|start|>assistant<|channel|>final<|message|>REPLY",
    "harmony with a preamble": "<|channel|>analysis<|message|>HM<|end|><|start|>assistant<|channel|>commentary<|message|>Okay.<|end|><|start|>assistant<|channel|>final<|message|>REPLY",
    "harmony without its tokens": "analysisHM. assistantfinalREPLY",
}
"""Ways in which models and servers mark thoughts. HM is a thought, REPLY the reply."""


def filled(name: str, thought: str, reply: str) -> str:
    return MARKED[name].replace("HM", thought).replace("REPLY", reply)


THOUGHTS = {
    "an answer": "FINAL(a guess)",
    "code": cell("FINAL('a guess')"),
    "code that is not closed": "```repl\nFINAL('a guess')",
    "a word about tags": "I write `<think>` now.\nFINAL(a guess)",
}


@pytest.mark.parametrize("name", MARKED)
@pytest.mark.parametrize("thought", THOUGHTS)
def test_a_root_answers_from_its_reply(name: str, thought: str) -> None:
    if thought == "code that is not closed" and MARKED[name].startswith(("HM<", "HM[")):
        pytest.skip("the closing tag is then the end of a line of code")
    right = cell("FINAL(f'{len(context)} characters')")
    model = ScriptedModel(replies=[filled(name, THOUGHTS[thought], right), right])
    out = rlm(model).invoke({"query": "How long?", "context": "abc"})
    assert (out["answer"], model.calls) == ("3 characters", 1)


@pytest.mark.parametrize("name", MARKED)
def test_a_sub_model_s_thoughts_do_not_reach_code_and_are_kept(name: str) -> None:
    sub = ScriptedModel(answer=lambda _: filled(name, "HM", "REPLY"))
    graph = rlm([cell("FINAL(llm_query('q'))")], sub=sub, checkpointer=InMemorySaver())
    answer = graph.invoke({"query": "q"}, thread())["answer"]
    entry = graph.get_state(thread()).values["log"]["0.0/0/0"]
    assert answer.removeprefix("Okay.").strip() == "REPLY"
    assert "HM" in entry["thoughts"]["text"]
    assert "REPLY" not in entry["thoughts"]["text"]


@pytest.mark.parametrize("name", MARKED)
def test_a_structured_reply_is_read_from_the_reply(name: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    code = cell(f"FINAL(llm_query('q', schema={schema}))")
    sub = ScriptedModel(answer=lambda _: filled(name, 'It may be {"n": 17}', '{"n": 3}'))
    assert rlm([code], sub=sub).invoke({"query": "q"})["answer"] == '{"n":3}'


@pytest.mark.parametrize("name", MARKED)
def test_the_direct_path_gives_the_reply(name: str) -> None:
    model = ScriptedModel(answer=lambda _: filled(name, "HM", "REPLY"))
    text = ChatRLM(model=model, direct_below_tokens=1000).invoke("hi").text
    assert text.removeprefix("Okay.").strip() == "REPLY"


@pytest.mark.parametrize(
    "name", [name for name in MARKED if "ate" not in name and "same" not in name]
)
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_stream_shows_the_reply_alone(name: str, size: int) -> None:
    text = filled(name, "HM <b>", "REPLY\nand `<think>` more")
    stream = ThoughtStream()
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    shown = "".join(stream.feed(piece) for piece in pieces) + stream.end()
    assert shown == without_thoughts(text)
    assert not stream.had_no_opening


def test_a_stream_that_begins_in_a_thought_shows_what_follows_its_closing_tag() -> None:
    first = ThoughtStream()
    first.feed("HM\n</think>\nREPLY")
    assert first.had_no_opening
    stream = ThoughtStream(is_inside=True)
    assert (
        "".join(map(stream.feed, ["H", "M\n</th", "ink>\nRE", "PLY"])) + stream.end() == "\nREPLY"
    )
    assert stream.had_no_opening
    for text in (
        "Models write `</think>` and\nmore",
        "```python\ns = '</think>'\n```\nSo.\n",
        "`</think>`\n" * 99,
    ):
        mentions = ThoughtStream(is_inside=True)
        assert "".join(map(mentions.feed, text)) + mentions.end() == text
        assert not mentions.had_no_opening
    opened = ThoughtStream(is_inside=True)
    assert opened.feed("Okay. <think>HM</think>\nREPLY") + opened.end() == "Okay. \nREPLY"
    plain = ThoughtStream(is_inside=True)
    assert plain.feed("just a reply") + plain.end() == "just a reply"


def test_a_thought_that_never_ends_is_no_reply() -> None:
    for text in ("<think>\nFINAL(1)", "[THINK]\nFINAL(1)", "Okay. <think>\nFINAL(1)"):
        assert "FINAL" not in without_thoughts(text)
        stream = ThoughtStream()
        assert "FINAL" not in stream.feed(text) + stream.end()


@pytest.mark.parametrize(
    "text",
    [
        "```repl\ns = '<think>x</think>'\n```",
        "```repl\ns = '''\n</think>\n'''\n```\nFINAL(1)",
        "```repl\ns = '''\n<think>\nx\n</think>\n'''\n```",
        "Models write `<think>` and `</think>`.",
        "FINAL(Put <think> and </think> around it)",
        "I know the <think> tag well.",
        "analysis of it",
        "a < b and [THIN",
    ],
)
def test_tags_in_code_in_answers_and_in_passing_are_text(text: str) -> None:
    assert split_thoughts(text) == (text, "")
    stream = ThoughtStream()
    assert "".join(map(stream.feed, text)) + stream.end() == text


PARTS = [
    "<think>",
    "</think>",
    "[THINK]",
    "```",
    "repl",
    "\n",
    "`",
    "FINAL(",
    "a",
    " ",
    "<|channel|>",
    "analysis",
]


@given(st.lists(st.sampled_from(PARTS)).map("".join))
def test_what_is_dropped_and_what_is_kept_are_the_whole(text: str) -> None:
    reply, thoughts = split_thoughts(text)
    if not text.lstrip().startswith(("<|", "analysis")):
        assert len(reply) + len(thoughts) == len(text)


@given(st.lists(st.sampled_from(PARTS)).map("".join), st.integers(1, 9))
def test_a_stream_shows_something_or_nothing_but_never_fails(text: str, size: int) -> None:
    stream = ThoughtStream()
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    shown = "".join(stream.feed(piece) for piece in pieces) + stream.end()
    assert len(shown) <= len(text)


# Thoughts that the provider tells apart


class Thinker(BaseChatModel):
    """Thinks in a form of its provider, and calls a tool by itself the first time."""

    content: Any
    more: dict[str, Any] = Field(default_factory=dict)
    seen: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "thinker"

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        """As it is."""
        return self

    def _generate(self, messages: list[Any], *args: Any, **options: Any) -> ChatResult:
        self.seen.append(messages)
        called = any(message.type == "tool" for message in messages)
        call = {"name": "get", "args": {}, "id": "t1"}
        reply = AIMessage(
            'FINAL("it is done")' if called else self.content,
            additional_kwargs={} if called else self.more,
            tool_calls=[] if called else [call],
        )
        return ChatResult(generations=[ChatGeneration(message=reply)])


GET: dict[str, Any] = {
    "name": "get",
    "description": "Get it.",
    "parameters": {"type": "object", "properties": {}},
}


@pytest.mark.parametrize(
    ("content", "more"),
    [
        ([{"type": "thinking", "thinking": "HM", "signature": "c2ln"}], {}),
        ([{"type": "redacted_thinking", "data": "eHg="}, {"type": "text", "text": "I look."}], {}),
        ([{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "eHg="}], {}),
        ("I look.", {"reasoning_content": "HM"}),
        ("", {"reasoning_details": [{"type": "reasoning.text", "text": "HM", "signature": "s"}]}),
    ],
)
def test_thinking_goes_back_with_the_tool_call_that_it_led_to(
    content: Any, more: dict[str, Any]
) -> None:
    model = Thinker(content=content, more=more, seen=[])
    graph = create_rlm(model, external_tools=[GET], checkpointer=InMemorySaver())
    graph.invoke({"query": "q"}, thread())
    graph.rlm.sessions.release_idle()
    from langgraph.types import Command

    assert graph.invoke(Command(resume="42"), thread())["answer"] == "it is done"
    sent = next(message for message in model.seen[-1] if message.type == "ai")
    if isinstance(content, list):
        assert sent.content[: len(content)] == content
    else:
        assert sent.text == content
    assert {key: sent.additional_kwargs.get(key) for key in more} == more


def test_thinking_without_a_call_stays_in_the_log_alone() -> None:
    thinking = {"type": "thinking", "thinking": "HM", "signature": "c2ln"}

    class Once(Thinker):
        def _generate(self, messages: list[Any], *args: Any, **options: Any) -> ChatResult:
            self.seen.append(messages)
            text = cell("print(1)") if len(self.seen) == 1 else 'FINAL("it is done")'
            reply = AIMessage([thinking, {"type": "text", "text": text}])
            return ChatResult(generations=[ChatGeneration(message=reply)])

    model = Once(content="", seen=[])
    graph = create_rlm(model, checkpointer=InMemorySaver())
    graph.invoke({"query": "q"}, thread())
    assert "HM" not in str(model.seen[-1])
    assert "HM" in graph.get_state(thread()).values["log"]["0"]["thoughts"]["text"]


def test_thoughts_are_neither_sent_back_nor_read_by_code() -> None:
    model = ScriptedModel(
        replies=["<think>HM</think>" + cell("print(1)"), cell("FINAL('HM' in history[0]['reply'])")]
    )
    graph = rlm(model, checkpointer=InMemorySaver())
    assert graph.invoke({"query": "q"}, thread())["answer"] == "false"
    assert "HM" not in "".join(message.text for message in model.prompts[1])
    assert "HM" in graph.get_state(thread()).values["log"]["0"]["reply"]["text"]
