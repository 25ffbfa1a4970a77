"""What comes in: whatever is long is context, in whichever message it comes, and nothing is dropped."""

from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompts import ChatPromptTemplate
from langgraph.graph import START, MessagesState, StateGraph

from langgraph_rlm import ChatRLM, ContextError, InputError
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm

CORPUS = "row of nothing\n" * 10_000 + "the needle is 4711\n" + "row of nothing\n" * 10_000
LOOK = "everything = [str(each) for each in ({contexts})]\nFINAL([i for i, text in enumerate(everything) if 'needle is 4711' in text])"


def looks(*contexts: str) -> ScriptedModel:
    """A root that says in which of these contexts the needle is."""
    return ScriptedModel(answer=lambda _: cell(LOOK.format(contexts=", ".join(contexts) + ",")))


def asked_of(model: ScriptedModel) -> str:
    """All that the root model was sent in its first call."""
    return "\n".join(message.text for message in model.prompts[0])


def through(door: str, model: ScriptedModel, messages: Any) -> str:
    """The answer of a graph, of a graph around one, or of the chat model."""
    if door == "graph":
        return rlm(model).invoke({"messages": messages})["answer"]
    if door == "node":
        outer = StateGraph(MessagesState)
        outer.add_node("rlm", rlm(model))
        outer.add_edge(START, "rlm")
        return outer.compile().invoke({"messages": messages})["messages"][-1].text
    return ChatRLM(model=model, direct_below_tokens=0).invoke(messages).text


DOORS = pytest.mark.parametrize("door", ["graph", "node", "chat"])


class TestLongIsContext:
    """A system message that is the corpus is the first thing that people try."""

    @DOORS
    @pytest.mark.parametrize(
        "long",
        [
            SystemMessage(CORPUS),
            SystemMessage(
                [{"type": "text", "text": "Be brief."}, {"type": "text", "text": CORPUS}]
            ),
            ChatMessage(CORPUS, role="developer"),
            ChatMessage(CORPUS, role="system"),
        ],
        ids=["system", "a part of it", "developer", "system by its role"],
    )
    def test_of_a_system_message(self, door: str, long: Any) -> None:
        model = looks("context")
        answer = through(door, model, [long, HumanMessage("Which number is the needle?")])
        assert answer == "[0]"
        assert len(asked_of(model)) < 40_000
        assert f"{len(CORPUS):,} characters" in asked_of(model)

    @DOORS
    def test_its_head_and_tail_stay_as_instructions(self, door: str) -> None:
        model = looks("context")
        text = f"You are a careful clerk.\n{CORPUS}\nAnswer in French."
        through(door, model, [SystemMessage(text), HumanMessage("Which number?")])
        system = model.prompts[0][0].text
        assert "You are a careful clerk." in system
        assert "Answer in French." in system
        assert "characters left out" in system
        assert "The whole of this text" in system

    @DOORS
    def test_several_become_several_contexts(self, door: str) -> None:
        model = looks("context_0", "context_1", "context_2")
        messages = [
            SystemMessage("Notes of May.\n" + "nothing " * 5_000),
            SystemMessage(CORPUS),
            HumanMessage([{"type": "text", "text": "words " * 2_000}, "Where is the needle?"]),
        ]
        assert through(door, model, messages) == "[2]"
        assert "needle is 4711" not in asked_of(model)

    @DOORS
    def test_a_long_result_of_a_tool_is_context(self, door: str) -> None:
        model = ScriptedModel(
            answer=lambda _: cell("FINAL('needle is 4711' in str(context) + str(history))")
        )
        call = {"name": "read", "args": {}, "id": "1"}
        messages = [
            HumanMessage("Which number is the needle?"),
            AIMessage("", tool_calls=[call]),
            ToolMessage(CORPUS, tool_call_id="1"),
        ]
        assert through(door, model, messages) == "true"
        assert "needle is 4711" not in asked_of(model)

    def test_a_short_system_message_stays_whole_and_is_no_context(self) -> None:
        model = ScriptedModel(replies=[cell("FINAL('x')")])
        rlm(model).invoke({"messages": [("system", "Be brief."), ("user", "Hello?")]})
        assert "Be brief." in model.prompts[0][0].text
        assert "There is no context" in asked_of(model)

    def test_a_query_that_is_the_corpus_is_not_sent_with_every_call(self) -> None:
        model = looks("context")
        assert rlm(model).invoke({"query": CORPUS + "\nWhich number?"})["answer"] == "[0]"
        assert "Which number?" in asked_of(model)
        assert len(asked_of(model)) < 40_000

    def test_a_rule_of_ones_own_decides_instead(self) -> None:
        def rule(messages: list[Any]) -> Any:
            return {"query": messages[-1].text, "messages": messages[:1]}

        model = ScriptedModel(replies=[cell("FINAL('x')")])
        chat = ChatRLM(model=model, context_rule=50_000, direct_below_tokens=0)
        chat.invoke([SystemMessage("rule " * 5_000), HumanMessage("?")])
        assert "rule " * 5_000 in asked_of(model)
        assert "There is no context" in asked_of(model)
        model = ScriptedModel(replies=[cell("FINAL('x')")])
        own = ChatRLM(model=model, context_rule=rule, direct_below_tokens=0)
        own.invoke([SystemMessage(CORPUS), HumanMessage("Where?")])
        assert CORPUS.strip() in asked_of(model)


QUESTION = "When does it end?"


class TestForms:
    """Whatever LangGraph takes as `messages`."""

    @pytest.mark.parametrize(
        "messages",
        [
            QUESTION,
            {"role": "user", "content": QUESTION},
            ("user", QUESTION),
            ("human", QUESTION),
            HumanMessage(QUESTION),
            [QUESTION],
            [("user", QUESTION)],
            [{"role": "user", "content": QUESTION}],
            [{"type": "human", "content": QUESTION}],
            [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}],
            [HumanMessage([{"type": "text", "text": QUESTION}])],
            (HumanMessage("Hello"), AIMessage("Hi"), HumanMessage(QUESTION)),
            ChatPromptTemplate.from_messages([("user", "{q}")]).invoke({"q": QUESTION}),
        ],
        ids=str,
    )
    def test_every_form_of_a_message(self, messages: Any) -> None:
        model = ScriptedModel(replies=[cell("FINAL('In May.')")])
        assert rlm(model).invoke({"messages": messages})["answer"] == "In May."
        assert QUESTION in model.prompts[0][-1].text

    @pytest.mark.parametrize("messages", [5, [5], {"text": "x"}, [{"content": "x"}], [], "", " "])
    def test_what_is_no_message_is_refused_with_what_to_do(self, messages: Any) -> None:
        with pytest.raises(ContextError, match=r"'messages' must be|at least one human|is empty"):
            rlm([cell("FINAL(1)")]).invoke({"messages": messages})

    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({"query": QUESTION, "contexts": "Contract 7"}, "'contexts'"),
            ({"query": QUESTION, "documents": ["Contract 7"]}, "'documents'"),
            ({"messages": QUESTION, "Context": "x", "files": []}, "'Context', 'files'"),
        ],
    )
    def test_an_unknown_key_is_refused_by_name(self, given: Any, named: str) -> None:
        model = ScriptedModel(replies=[cell("FINAL(1)")])
        with pytest.raises(
            ContextError, match=f"The input has no {named}.*query, context, messages"
        ):
            rlm(model).invoke(given)
        assert model.calls == 0

    def test_the_state_of_a_graph_around_may_have_keys_of_its_own(self) -> None:
        class State(MessagesState):
            budget: int

        model = ScriptedModel(replies=[cell("FINAL('yes')")])
        outer = StateGraph(State)
        outer.add_node("rlm", rlm(model))
        outer.add_edge(START, "rlm")
        out = outer.compile().invoke({"messages": QUESTION, "budget": 5})
        assert out["messages"][-1].text == "yes"


REFUSALS = (ContextError, InputError)
PARTS = [
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    {"type": "video", "url": "https://example.org/x.mp4"},
    {"type": "document", "source": {"type": "base64", "data": "JVBERi0xLjQK"}},
    {"type": "of_tomorrow", "x": 1},
]


class TestParts:
    """Pictures, sounds and files are in test_image_messages.py."""

    @DOORS
    @pytest.mark.parametrize("part", PARTS[1:], ids=[part["type"] for part in PARTS[1:]])
    def test_a_part_that_is_not_text_is_refused_with_what_to_do(self, door: str, part: Any) -> None:
        model = ScriptedModel(replies=[cell("FINAL(1)")])
        message = HumanMessage([{"type": "text", "text": QUESTION}, part])
        with pytest.raises(REFUSALS, match="content of type") as refused:
            through(door, model, [message])
        hint = "direct_below_tokens" if door == "chat" else "the file itself as `context`"
        assert hint in str(refused.value)
        assert model.calls == 0

    @DOORS
    def test_in_a_system_message_too(self, door: str) -> None:
        message = SystemMessage([{"type": "text", "text": "Be brief."}, PARTS[0]])
        with pytest.raises(REFUSALS, match="The system message has content of type 'image_url'"):
            through(door, looks("context"), [message, HumanMessage(QUESTION)])

    def test_the_chat_model_passes_it_on_where_the_model_is_asked_directly(self) -> None:
        model = ScriptedModel(replies=["A cat."])
        chat = ChatRLM(model=model)
        message = HumanMessage([{"type": "text", "text": "What is it?"}, PARTS[0]])
        assert chat.invoke([message]).text == "A cat."
        assert PARTS[0] in model.prompts[0][-1].content
