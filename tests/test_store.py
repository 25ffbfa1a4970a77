"""`store=`, a LangGraph store, reaches tools at any depth; what is given as a wrong option is told what it should be."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedStore, ToolRuntime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from langgraph_rlm import ChatRLM, ConfigurationError, create_rlm
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.testing import ScriptedModel, cell

from .models import thread

REMEMBERED = cell("FINAL(injected('ann') + ' ' + from_runtime('ann'))")


def injected(name: str, store: Annotated[BaseStore, InjectedStore()]) -> str:
    """What is remembered of somebody, by an injected store."""
    return told_by(store, name)


def from_runtime(name: str, runtime: ToolRuntime) -> str:
    """What is remembered of somebody, by the runtime's store."""
    return told_by(runtime.store, name)


def told_by(store: BaseStore | None, name: str) -> str:
    item = store.get(("people",), name) if store is not None else None
    return item.value["is"] if item is not None else "nothing"


def memory(told: str = "a baker") -> InMemoryStore:
    store = InMemoryStore()
    store.put(("people",), "ann", {"is": told})
    return store


def remembering(store: BaseStore | None = None, **options: Any) -> Any:
    model = ScriptedModel(replies=[REMEMBERED])
    return create_rlm(model, tools=[injected, from_runtime], store=store, **options)


def parent_of(rlm: Any, store: BaseStore | None) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("rlm", rlm)
    graph.add_edge(START, "rlm")
    return graph.compile(store=store)


ASKED: Any = {"messages": [HumanMessage("What is Ann?")]}


class TestWhoseStore:
    def test_a_roots_tools_have_it(self) -> None:
        assert remembering(memory()).invoke({"query": "q"})["answer"] == "a baker a baker"

    def test_a_tool_that_needs_one_does_not_run_without(self) -> None:
        with pytest.raises(ConfigurationError, match="'injected' needs a LangGraph store"):
            remembering().invoke({"query": "q"})

    def test_a_tool_that_can_do_without_gets_none(self) -> None:
        def optional(name: str, store: Annotated[BaseStore | None, InjectedStore()]) -> str:
            """What is remembered of somebody, if anything is."""
            return told_by(store, name)

        model = ScriptedModel(replies=[cell("FINAL(optional('ann') + from_runtime('ann'))")])
        out = create_rlm(model, tools=[optional, from_runtime]).invoke({"query": "q"})
        assert out["answer"] == "nothingnothing"

    def test_a_childs_tools_have_it_and_after_a_pause_too(self) -> None:
        root = ScriptedModel(replies=[cell("FINAL(rlm_query('q', 'c'))")])
        graph = create_rlm(
            root,
            sub_model=ScriptedModel(replies=[REMEMBERED]),
            tools=[injected, from_runtime],
            interrupt_on={"injected": True},
            limits={"max_depth": 2},
            store=memory(),
            checkpointer=InMemorySaver(),
        )
        assert "__interrupt__" in graph.invoke({"query": "q"}, thread())
        out = graph.invoke(Command(resume={"type": "approve"}), thread())
        assert out["answer"] == "a baker a baker"

    @pytest.mark.parametrize(
        ("own", "outer", "told"),
        [
            (None, memory("outer"), "outer outer"),
            (memory("own"), memory("outer"), "own own"),
            (memory("own"), None, "own own"),
        ],
        ids=["the outer graph's", "its own beside the outer graph's", "its own"],
    )
    def test_in_a_node(self, own: BaseStore | None, outer: BaseStore | None, told: str) -> None:
        out = parent_of(remembering(own), outer).invoke(ASKED)
        assert out["messages"][-1].text == told

    @pytest.mark.parametrize(("own", "told"), [(None, "outer outer"), (memory("own"), "own own")])
    def test_a_chat_model_in_a_node(self, own: BaseStore | None, told: str) -> None:
        model = ChatRLM(
            model=ScriptedModel(replies=[REMEMBERED]), tools=[injected, from_runtime], store=own
        )
        graph = StateGraph(MessagesState)
        graph.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"])]})
        graph.add_edge(START, "ask")
        compiled = graph.compile(checkpointer=InMemorySaver(), store=memory("outer"))
        assert compiled.invoke(ASKED, thread())["messages"][-1].text == told

    def test_a_chat_model_by_itself(self) -> None:
        model = ChatRLM(
            model=ScriptedModel(replies=[REMEMBERED]),
            tools=[injected, from_runtime],
            store=memory(),
        )
        assert model.invoke("What is Ann?").text == "a baker a baker"


WRONG: dict[str, tuple[Any, str]] = {
    "model": (7, "is not a chat model"),
    "sub_model": (7, "sub_model=7 is not a chat model"),
    "models": (["a"], "must be a dict of models by name"),
    "tools": ("search", "must be a list of LangChain tools and functions"),
    "interrupt_on": (["search"], "must be a dict by tool name"),
    "not_idempotent": ("search", "must be a list of names of tools"),
    "limits": (30, "must be a Limits, or a dict of some of its fields"),
    "sandbox": (7, "sandbox=7 must be 'auto'"),
    "prices": ([1], "must be a dict by model name"),
    "prompt": (SystemMessage("Be brief."), "prompt=message.text"),
    "checkpointer": ("runs.db", "must be a LangGraph checkpointer"),
    "store": ("memories", "Where contexts and long values are kept is blob_store="),
    "blob_store": (5, "a folder, a URL, a LangGraph BaseStore or a BlobStore"),
    "name": (7, "must be a str"),
}
OF_GRAPHS: dict[str, tuple[Any, str]] = {
    "child_tools": ("search", "must be a list of tools"),
    "external_tools": ({"name": "f"}, "must be a list of schemas"),
    "response_format": (ToolStrategy({"title": "a", "type": "object"}), "neither a JSON schema"),
    "window_tokens": (-1, "must be a whole number of tokens"),
    "compact_at": (75, "must be a share of the window"),
}
OF_CHAT: dict[str, tuple[Any, str]] = {
    "temperature": ("hot", "temperature='hot'"),
    "direct_below_tokens": ("few", "direct_below_tokens='few'"),
    "context_rule": ("long", "context_rule"),
    "owner": (7, "owner=7"),
}


class TestWrongTypes:
    @pytest.mark.parametrize("name", [*WRONG, *OF_GRAPHS])
    def test_of_a_graph(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Refused by name, with what it should be; nothing is made."""
        monkeypatch.chdir(tmp_path)
        value, told = {**WRONG, **OF_GRAPHS}[name]
        options = {"model": ScriptedModel(replies=["FINAL(1)"]), name: value}
        with pytest.raises(ConfigurationError) as error:
            create_rlm(**options)
        assert str(error.value).startswith(name) and told in str(error.value)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", [*WRONG, *OF_CHAT])
    def test_of_a_chat_model(self, name: str) -> None:
        value, told = {**WRONG, **OF_CHAT}[name]
        options = {"model": ScriptedModel(replies=["FINAL(1)"]), name: value}
        with pytest.raises(ConfigurationError, match=name) as error:
            ChatRLM(**options)
        assert told in str(error.value)

    def test_an_unknown_option_of_a_chat_model_is_refused_by_name(self) -> None:
        model = ScriptedModel(replies=["FINAL(1)"])
        with pytest.raises(
            ConfigurationError, match=r"no option 'submodel'\. Did you mean sub_model"
        ):
            ChatRLM(model=model, submodel=model)
        with pytest.raises(ConfigurationError, match=r"no option 'xyz'\. There are: "):
            ChatRLM(model=model, xyz=1)

    def test_a_key_is_not_told(self) -> None:
        with pytest.raises(ConfigurationError) as error:
            ChatRLM(model="openai:gpt-5", api_key=12345678)
        assert "12345678" not in str(error.value)

    def test_what_is_right_is_taken(self, tmp_path: Path) -> None:
        graph = create_rlm(
            ScriptedModel(replies=["FINAL(1)"]),
            limits={"max_iterations": 2},
            blob_store=BlobStore.open(tmp_path),
            not_idempotent=set(),
        )
        assert graph.rlm.limits.max_iterations == 2
