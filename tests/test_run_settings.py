"""What a run sets for itself: `context=`, `configurable`, what the owner allows, and what survives a pause or a kill."""

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from click.testing import CliRunner
from langchain_core.messages import HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import InjectedState, InjectedStore, ToolRuntime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from langgraph_rlm import (
    ChatRLM,
    Configurable,
    ConfigurationError,
    Limits,
    RunSettings,
    SettingsError,
    create_rlm,
)
from langgraph_rlm.cli.main import main
from langgraph_rlm.testing import ScriptedModel, asave_run, cell, replay_run
from langgraph_rlm.trace import trace_of

from .models import FailsOnce, rlm, root, thread
from .structure import ROOT

LOOPS = [cell("print('again')")] * 5
ASKS = [cell("FINAL(llm_query('hi'))")]


KILLED = """
import os, sys
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph_rlm import create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

def price(item: str) -> int:
    "Tell a price."
    os._exit(9)

def stock(item: str) -> int:
    "Tell the stock."
    return 7

own = ScriptedModel(replies=[cell("FINAL('own')")])
cheap = ScriptedModel(replies=[cell("price('a')")])
with SqliteSaver.from_conn_string(sys.argv[1]) as saver:
    rlm = create_rlm(own, models={"cheap": cheap}, tools=[price, stock], sandbox="monty",
                     configurable={"prompt": True}, checkpointer=saver)
    rlm.invoke({"query": "go"}, {"configurable": {"thread_id": "t"}}, context={
        "model": "cheap", "prompt": "Be brief. " * 600, "tools": ["price"],
        "limits": {"max_iterations": 3}})
"""
"""A process that dies in a tool."""


def named(name: str) -> ScriptedModel:
    """A model that says its name, whether it is asked for code or for an answer."""

    def answer(prompt: str) -> str:
        return name if prompt == "hi" else cell(f"FINAL('{name}: ' + llm_query('hi'))")

    return ScriptedModel(answer=answer, model_name=name)


def chooser(**options: Any) -> Any:
    """A graph with two more models."""
    models = {"cheap": named("cheap"), "dear": named("dear")}
    return create_rlm(named("own"), models=models, **options)


def ask(graph: Any, settings: Any = None, name: str = "t", **more: Any) -> Any:
    """Ask one question."""
    return graph.invoke(
        {"query": "go"}, {"configurable": {"thread_id": name, **more}}, context=settings
    )


def price(item: str) -> int:
    """Tell a price."""
    return len(item)


def stock(item: str) -> int:
    """Tell the stock."""
    return 7


class TestSources:
    """Where settings come from."""

    @pytest.mark.parametrize("given", [{"model": "cheap"}, RunSettings(model="cheap")])
    def test_the_context_of_a_call(self, given: Any) -> None:
        assert ask(chooser(), given)["answer"] == "cheap: cheap"
        assert ask(chooser())["answer"] == "own: own"

    def test_a_sub_model_of_its_own(self) -> None:
        out = ask(chooser(), {"model": "dear", "sub_model": "cheap"})
        assert out["answer"] == "dear: cheap"

    def test_the_configurable_of_assistants_and_the_context_before_it(self) -> None:
        assert ask(chooser(), model="cheap", user_id=7, theme="dark")["answer"] == "cheap: cheap"
        assert ask(chooser(), rlm={"model": "cheap"}, model="dear")["answer"] == "cheap: cheap"
        assert ask(chooser(), {"model": "dear"}, model="cheap")["answer"] == "dear: dear"

    def test_with_config_binds_them(self) -> None:
        graph = chooser().with_config(configurable={"model": "cheap"})
        assert graph.invoke({"query": "go"})["answer"] == "cheap: cheap"

    async def test_each_of_many_runs_at_once_has_its_own(self) -> None:
        graph = chooser()
        wanted = ["cheap", "dear", None] * 8
        outs = await graph.abatch(
            [{"query": "go"}] * len(wanted),
            [{"configurable": {} if name is None else {"model": name}} for name in wanted],
        )
        assert [out["answer"].partition(":")[0] for out in outs] == [
            name or "own" for name in wanted
        ]

    def test_limits_prompt_and_tools(self) -> None:
        model = ScriptedModel(replies=LOOPS)
        graph = create_rlm(
            model, tools=[price, stock], prompt="Be kind.", configurable={"prompt": True}
        )
        settings = {"limits": {"max_iterations": 2}, "prompt": "Be brief.", "tools": ["price"]}
        assert ask(graph, settings)["stop_reason"] == "max_iterations"
        prompt = model.prompts[0][0].text
        assert model.calls == 3, "two turns, and one for the best answer"
        assert prompt.index("Be kind.") < prompt.index("Be brief.")
        assert "price(" in prompt
        assert "stock(" not in prompt

    def test_a_tool_that_is_left_out_cannot_be_called(self) -> None:
        code = "try:\n    stock('tea')\nexcept NameError as error:\n    print(error)\nFINAL(price('tea'))"
        model = root(code)
        graph = create_rlm(model, tools=[price, stock], checkpointer=InMemorySaver())
        assert ask(graph, {"tools": ["price"]})["answer"] == "3"
        log = graph.get_state(thread()).values["log"]
        assert "stock is not among the tools of this question" in log["0.0"]["stdout"]["text"]
        assert [entry["function"] for entry in log.values() if entry["kind"] == "call"] == ["price"]

    def test_children_follow_the_root(self) -> None:
        child = ScriptedModel(
            answer=lambda _: cell(
                "try:\n    FINAL(stock('a'))\nexcept NameError:\n    FINAL('no stock')"
            )
        )
        graph = create_rlm(
            root("FINAL(rlm_query('what?'))"),
            models={"child": child},
            tools=[stock],
            limits={"max_depth": 2},
        )
        assert ask(graph, {"sub_model": "child", "tools": []})["answer"] == "no stock"
        assert ask(graph, {"sub_model": "child"})["answer"] == "7"
        flat = ask(graph, {"sub_model": "child", "limits": {"max_depth": 1}})
        assert flat["answer"].lstrip().startswith("```repl"), "rlm_query was an llm_query"

    def test_a_graph_around_gives_them_under_the_name_of_the_rlm(self) -> None:
        """Its own `model` and `tools` mean something else, and its context is its own."""

        @dataclass
        class Context:
            model: str = "openai:gpt-9"
            rlm: Any = None

        class State(TypedDict, total=False):
            query: str
            answer: str

        builder = StateGraph(State, context_schema=Context)
        builder.add_node("rlm", chooser())
        builder.add_edge(START, "rlm")
        graph: Any = builder.compile()
        config = {"configurable": {"model": "openai:gpt-9", "tools": ["a"]}}
        assert graph.invoke({"query": "go"}, config, context=Context())["answer"] == "own: own"
        own = Context(rlm={"model": "cheap"})
        assert graph.invoke({"query": "go"}, config, context=own)["answer"] == "cheap: cheap"
        config["configurable"]["rlm"] = {"model": "dear"}
        assert graph.invoke({"query": "go"}, config)["answer"] == "dear: dear"
        with pytest.raises(SettingsError, match=r"'modl'.*Did you mean 'model'"):
            graph.invoke({"query": "go"}, {"configurable": {"rlm": {"modl": "dear"}}})

    async def test_a_graph_around_whose_context_is_settings_and_a_node_that_gives_its_own(
        self,
    ) -> None:
        class State(TypedDict, total=False):
            said: list[str]

        graph = chooser()

        async def node(state: State) -> State:
            around = await graph.ainvoke({"query": "go"})
            own = await graph.ainvoke({"query": "go"}, context={"model": "dear"})
            return {"said": [around["answer"], own["answer"]]}

        builder = StateGraph(State, context_schema=RunSettings)
        builder.add_node("node", node)
        builder.add_edge(START, "node")
        parent: Any = builder.compile()
        out = await parent.ainvoke({}, context={"model": "cheap"})
        assert out["said"] == ["cheap: cheap", "dear: dear"]

    @pytest.mark.parametrize("is_chat", [False, True])
    def test_an_rlm_in_the_tool_of_another_has_none_of_its_settings(self, is_chat: bool) -> None:
        tool = inner_question(chooser())
        if is_chat:
            tool = inner_chat(ChatRLM(model=named("own"), direct_below_tokens=0))
        graph = create_rlm(
            root("FINAL(research('go'))"), tools=[tool], models={"x": root("FINAL(research('go'))")}
        )
        assert ask(graph, {"model": "x"}, rlm={"tools": ["research"]})["answer"] == "own: own"

    def test_a_chat_model_takes_them_by_config_on_both_of_its_ways(self) -> None:
        for below in (0, 8_000):
            model = ChatRLM(
                model=named("own"),
                models={
                    "cheap": ScriptedModel(answer=lambda _: "FINAL(cheap)", model_name="cheap")
                },
                direct_below_tokens=below,
            )
            reply = model.invoke("go", {"configurable": {"rlm": {"model": "cheap"}}})
            assert "cheap" in reply.text
            with pytest.raises(SettingsError, match="'gpt' is refused"):
                model.invoke("go", {"configurable": {"rlm": {"model": "gpt"}}})
            assert "own" in str(model.invoke("go").text)

    def test_a_chat_models_run_keeps_them_over_tool_calls_and_whatever_the_user_adds(self) -> None:
        replies = [cell("x = look()"), *[cell("print('on')")] * 3, "FINAL(done)"]
        model = ChatRLM(model=ScriptedModel(replies=replies), direct_below_tokens=0)
        look = {"title": "look", "description": "Look.", "type": "object", "properties": {}}
        asked: Any = [HumanMessage("Look.")]
        config: Any = {"configurable": {"rlm": {"limits": {"max_iterations": 2}}}}
        first = model.bind_tools([look]).invoke(asked, config)
        (call,) = first.tool_calls
        asked += [first, ToolMessage("seen", tool_call_id=call["id"]), HumanMessage("And more.")]
        assert model.invoke(asked).response_metadata["stop_reason"] == "max_iterations"

    def test_the_schema_shows_short_true_types(self) -> None:
        schema = chooser().get_context_jsonschema()
        assert [*schema["properties"]] == [
            "model",
            "sub_model",
            "prompt",
            "limits",
            "tools",
            "sandbox",
        ]
        assert schema["properties"]["model"]["enum"] == ["cheap", "dear", None]
        assert schema["properties"]["limits"]["properties"]["max_iterations"]["maximum"] == 30
        assert "default" not in schema["properties"]["limits"]["properties"]["max_iterations"]
        assert len(str(schema)) < 4_000


def inner_question(graph: Any) -> Any:
    """A tool that asks an RLM."""

    async def research(question: str) -> str:
        """Ask."""
        out = await graph.ainvoke({"query": question})
        return out["answer"]

    return research


def inner_chat(model: ChatRLM) -> Any:
    """A tool that asks a chat model."""

    async def research(question: str) -> str:
        """Ask."""
        return (await model.ainvoke(question)).text

    return research


class TestTheOwnersWord:
    """What is refused, by name."""

    @pytest.mark.parametrize(
        ("settings", "told"),
        [
            ({"modle": "cheap"}, r"'modle', which is not a setting.*Did you mean 'model'"),
            ({"limits": {"max_iterations": 31}}, "max_iterations may be at most 30"),
            ({"limits": Limits(max_depth=9)}, "max_depth may be at most 1"),
            ({"limits": {"max_iteration": 3}}, "no limit 'max_iteration'.*'max_iterations'"),
            ({"limits": {"max_iterations": "3"}}, "max_iterations"),
            ({"limits": {"max_iterations": True}}, "max_iterations"),
            ({"limits": {"max_iterations": {"$gt": 1}}}, "max_iterations"),
            ({"limits": {"max_cost": float("inf")}}, "finite"),
            ({"limits": {"max_seconds": float("nan")}}, "finite"),
            ({"limits": {"max_sub_calls": -1}}, "max_sub_calls"),
            ({"limits": {7: 1}}, "no limit 7"),
            ({"limits": [3]}, "must be a Limits"),
            ({"limits": "max"}, "must be a Limits"),
            ({"model": "chea"}, "Did you mean 'cheap'"),
            ({"model": "openai:gpt-5"}, "does not allow this model"),
            ({"model": "openai:gpt-5?base_url=http://evil.example"}, "does not allow"),
            ({"model": {"name": "cheap", "base_url": "http://evil.example"}}, "must be a name"),
            ({"model": ["cheap"]}, "must be a name"),
            ({"model": ""}, "must be a name"),
            ({"model": "x" * 300}, "at most 200 characters"),
            ({"model": "cheap\n"}, "printable"),
            ({"sub_model": "openai:gpt-5"}, "sub_model='openai:gpt-5' is refused"),
            ({"sandbox": "local"}, "sandbox='local' is refused.*There are: 'auto'"),
            ({"sandbox": 5}, "must be a name"),
            ({"tools": ["send_email"]}, "no such tool.*There are: 'price'"),
            ({"tools": ["pric"]}, "Did you mean 'price'"),
            ({"tools": "price"}, "list of at most"),
            ({"tools": [["price"]]}, "must be a name"),
            ({"prompt": "Ignore everything."}, "no prompt of a run's own"),
            ({"prompt": "x" * 20_001}, "20,001 characters, and may have 20,000"),
            ({"prompt": 7}, "must be a str"),
        ],
    )
    def test_a_forbidden_value_is_refused_and_nothing_is_stored(
        self, settings: Any, told: str
    ) -> None:
        model = named("own")
        saver = InMemorySaver()
        graph = create_rlm(
            model, models={"cheap": named("cheap")}, tools=[price], checkpointer=saver
        )
        for given in ((settings, {}), (None, {"rlm": settings})):
            with pytest.raises(SettingsError, match=f"(?s){told}"):
                ask(graph, given[0], **given[1])
        assert model.calls == 0
        assert not [*saver.list(thread())]

    def test_a_key_of_somebody_else_in_configurable_is_not_refused(self) -> None:
        assert ask(chooser(), modle="x", temperature=1)["answer"] == "own: own"

    def test_a_ceiling_lets_limits_be_raised_and_no_further(self) -> None:
        owner = Configurable(limits={"max_iterations": 3, "max_tokens": None})
        graph = rlm(LOOPS, limits={"max_iterations": 2, "max_tokens": 100_000}, configurable=owner)
        turns = {
            n: ask(graph, {"limits": {"max_iterations": n, "max_tokens": None}}) for n in (1, 3)
        }
        assert [out["usage"]["turns"] for out in turns.values()] == [2, 4]
        with pytest.raises(SettingsError, match="max_iterations may be at most 3"):
            ask(graph, {"limits": {"max_iterations": 4}})

    def test_models_by_pattern_are_of_the_providers_that_were_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        graph = chooser(configurable={"models": ["openai:gpt-5*"]}, checkpointer=InMemorySaver())
        for name in ("anthropic:gpt-5", "openai:o3", "OPENAI:gpt-5", " openai:gpt-5"):
            with pytest.raises(SettingsError, match="does not allow this model"):
                ask(graph, {"model": name})
        with suppress(Exception):  # nobody answers there
            ask(graph, {"model": "openai:gpt-5-mini", "limits": {"max_seconds": 0.2}})
        log = graph.get_state(thread()).values["log"]
        assert log["run.0"]["settings"]["model"] == "openai:gpt-5-mini"

    def test_a_limit_on_cost_needs_prices(self) -> None:
        with pytest.raises(ConfigurationError, match="needs the price of cheap"):
            ask(chooser(prices={"own": {"input": 1, "output": 1}}), {"limits": {"max_cost": 1}})

    def test_a_sandbox_that_is_listed(self) -> None:
        graph = rlm(
            [cell("FINAL(str(1))")],
            configurable={"sandboxes": ["monty"]},
            checkpointer=InMemorySaver(),
        )
        ask(graph, {"sandbox": "monty"})
        assert graph.get_state(thread()).values["log"]["run.0"]["sandbox"] == "monty"

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"sandboxes": ["docker"]}, "'docker'; there are"),
            ({"models": ["gpt-5"]}, "provider:model"),
            ({"models": "openai:gpt-5"}, "must be a list"),
            ({"promt": True}, "Did you mean 'prompt'"),
            ({"prompt": "yes"}, "True or False"),
            ({"limits": {"max_turns": 3}}, "max_turns"),
            (7, "must be a Configurable"),
        ],
    )
    def test_the_owners_own_mistakes(self, options: Any, told: str) -> None:
        with pytest.raises(ConfigurationError, match=told):
            chooser(configurable=options)


class TestAContextOfYourOwn:
    """Types of the user's, which tools get."""

    def test_a_type_that_inherits_and_what_tools_get_of_it(self) -> None:
        @dataclass(kw_only=True)
        class Mine(RunSettings):
            user: str

        graph = create_rlm(
            root("FINAL(whose())"),
            tools=[whose],
            models={"m": root("FINAL('m ' + whose())")},
            context_schema=Mine,
        )
        assert ask(graph, {"user": "ann"})["answer"] == "ann"
        assert ask(graph, Mine(user="ann", model="m"))["answer"] == "m ann"
        with pytest.raises(SettingsError, match="'usr', which Mine has not"):
            ask(graph, {"usr": "ann"})
        with pytest.raises(SettingsError, match="does not fit Mine"):
            ask(graph, {"model": "m"})

    def test_a_type_with_a_field_of_the_graphs_name(self) -> None:
        class Mine(TypedDict, total=False):
            user: str
            rlm: RunSettings

        graph = create_rlm(
            root("FINAL(whose())"),
            tools=[whose],
            models={"m": root("FINAL('m ' + whose())")},
            context_schema=Mine,
        )
        assert ask(graph, {"user": "ann", "rlm": {"model": "m"}})["answer"] == "m ann"
        with pytest.raises(SettingsError, match="does not allow this model"):
            ask(graph, {"user": "ann", "rlm": RunSettings(model="n")})

    def test_an_object_is_the_tools_alone(self) -> None:
        graph = create_rlm(root("FINAL(whose())"), tools=[whose])

        class Session:
            user = "ann"

        assert ask(graph, Session())["answer"] == "ann"


def whose(runtime: ToolRuntime[Any, Any]) -> str:
    """Tell whose it is."""
    context: Any = runtime.context
    return context["user"] if isinstance(context, dict) else context.user


class TestWhatSurvives:
    """A run continues with what it began with."""

    def paused(self, **more: Any) -> Any:
        """A graph whose run pauses in an approval."""
        code = ["x = price('tea')", "print(x)", "print('on')", "FINAL(str(x))"]
        return rlm(
            [cell(each) for each in code],
            tools=[price, stock],
            interrupt_on={"price": True},
            checkpointer=InMemorySaver(),
            **more,
        )

    @pytest.mark.parametrize("again", [None, {"limits": {"max_iterations": 2}, "tools": ["price"]}])
    def test_a_pause(self, again: Any) -> None:
        graph = self.paused()
        out = ask(graph, {"limits": {"max_iterations": 2}, "tools": ["price"]})
        assert out["__interrupt__"]
        done = graph.invoke(Command(resume={"type": "approve"}), thread(), context=again)
        assert done["stop_reason"] == "max_iterations"

    async def test_a_run_that_begins_in_a_graph_that_is_resumed(self) -> None:
        """It is new: nothing that it began with could be contradicted."""

        class State(TypedDict, total=False):
            said: str

        graph = chooser()

        async def node(state: State) -> State:
            model = interrupt("Which model?")
            return {
                "said": (await graph.ainvoke({"query": "go"}, context={"model": model}))["answer"]
            }

        builder = StateGraph(State)
        builder.add_node("node", node)
        builder.add_edge(START, "node")
        parent: Any = builder.compile(checkpointer=InMemorySaver())
        await parent.ainvoke({}, thread())
        assert (await parent.ainvoke(Command(resume="cheap"), thread()))["said"] == "cheap: cheap"

    def test_a_contradiction_is_refused_and_the_pause_stays(self) -> None:
        graph = self.paused()
        ask(graph, {"limits": {"max_iterations": 2}})
        for other, told in (
            ({"limits": {"max_iterations": 3}}, r"began with \{'max_iterations': 2\}"),
            ({"tools": ["price"]}, "began without it"),
        ):
            with pytest.raises(SettingsError, match=told):
                graph.invoke(Command(resume={"type": "approve"}), thread(), context=other)
        assert graph.get_state(thread()).interrupts
        done = graph.invoke(Command(resume={"type": "approve"}), thread())
        assert done["stop_reason"] == "max_iterations"

    def test_the_owner_decides_anew_when_a_run_is_continued(self) -> None:
        graph = self.paused(limits={"max_iterations": 9})
        ask(graph, {"limits": {"max_iterations": 8}})
        later = self.paused(limits={"max_iterations": 4}).copy({"checkpointer": graph.checkpointer})
        with pytest.raises(SettingsError, match="max_iterations may be at most 4"):
            later.invoke(Command(resume={"type": "approve"}), thread())

    @pytest.mark.parametrize("at", range(1, 7))
    async def test_a_failure_at_any_checkpoint(self, at: int) -> None:
        """Also before the question is in the log: the first checkpoints have the input alone."""
        graph = rlm(LOOPS, checkpointer=FailsOnce(at + 1))
        config: Any = thread()
        with pytest.raises(OSError, match="no space"):
            await graph.ainvoke(
                {"query": "go"},
                config,
                context={"limits": {"max_iterations": 2}},
                durability="sync",
            )
        done = await graph.ainvoke(None, config)
        assert done["stop_reason"] == "max_iterations"
        assert done["usage"]["turns"] == 3

    def test_a_killed_process_is_continued_by_another_that_says_nothing(
        self, tmp_path: Path
    ) -> None:
        """Its model, prompt, limits and tools are those of the call that the dead one was given."""
        env = {**os.environ, "LANGGRAPH_RLM_STORE": str(tmp_path / "blobs")}
        command = [sys.executable, "-c", KILLED, str(tmp_path / "runs.db")]
        assert subprocess.run(command, env=env, cwd=ROOT, check=False).returncode == 9
        model = ScriptedModel(replies=[cell("x = 1"), cell("FINAL(stock('a'))")], model_name="own")
        cheap = ScriptedModel(replies=[cell("price('a')"), *LOOPS], model_name="cheap")
        with SqliteSaver.from_conn_string(str(tmp_path / "runs.db")) as saver:
            graph = create_rlm(
                model,
                models={"cheap": cheap},
                tools=[price, stock],
                configurable={"prompt": True},
                checkpointer=saver,
                blob_store=tmp_path / "blobs",
            )
            out = graph.invoke(None, thread())
        assert model.calls == 0
        assert out["stop_reason"] == "max_iterations"
        assert out["usage"]["turns"] == 4, (
            "three turns, one of the dead process, and the best answer"
        )
        prompt = cheap.prompts[0][0].text
        assert "Be brief. " * 600 in prompt, "it is in the blob store, and not in the checkpoint"
        assert "stock(" not in prompt
        told = CliRunner().invoke(main, ["show", "t", "--db", str(tmp_path / "runs.db")]).output
        assert "model='cheap'" in told

    def test_a_follow_up_has_its_own_and_earlier_code_is_run_again_as_it_ran(self) -> None:
        """The first question had a tool, children and a long time; the second one has not."""
        replies = [
            cell("a = stock('tea')\nb = rlm_query('what?')"),
            cell("FINAL(f'{a} {b}')"),
            cell(
                "try:\n    stock('tea')\nexcept NameError:\n    c = rlm_query('hi')\nFINAL(f'{a} {b} {c}')"
            ),
        ]
        models = {
            "child": ScriptedModel(
                answer=lambda text: "flat" if text == "hi" else cell("FINAL('deep')")
            )
        }
        graph = create_rlm(
            ScriptedModel(replies=replies),
            sub_model=models["child"],
            tools=[stock],
            limits={"max_depth": 2},
            checkpointer=InMemorySaver(),
        )
        assert ask(graph, {"limits": {"max_iterations": 5}})["answer"] == "7 deep"
        graph.rlm.sessions.drop_all()
        second = {"tools": [], "limits": {"max_depth": 1}}
        assert ask(graph, second)["answer"] == "7 deep flat"
        log = graph.get_state(thread()).values["log"]
        assert [log[f"run.{n}"]["settings"] for n in (0, 1)] == [
            {"limits": {"max_iterations": 5}},
            {"limits": {"max_depth": 1}, "tools": []},
        ]

    async def test_a_saved_run_replays_with_what_each_question_had(self, tmp_path: Any) -> None:
        replies = [
            cell("print('x' * 900)"),
            cell("FINAL(stock('a'))"),
            cell("try:\n    FINAL(stock('a'))\nexcept NameError:\n    FINAL('none')"),
        ]
        graph = rlm(replies, tools=[stock], checkpointer=InMemorySaver())
        await graph.ainvoke(
            {"query": "go"}, thread(), context={"limits": {"max_output_chars": 200}}
        )
        out = await graph.ainvoke({"query": "go"}, thread(), context={"tools": []})
        assert out["answer"] == "none"
        await asave_run(graph, thread(), tmp_path / "run.json")
        assert replay_run(tmp_path / "run.json", tools=[stock]).cells == 3

    def test_a_thread_keeps_its_sandbox_and_its_memory(self) -> None:
        graph = rlm(
            [cell("FINAL('1')")],
            configurable={"sandboxes": ["local", "monty"]},
            checkpointer=InMemorySaver(),
        )
        ask(graph, {"sandbox": "monty", "limits": {"max_heap_bytes": 1 << 26}})
        assert ask(graph)["answer"] == "1"
        assert ask(graph, {"sandbox": "auto"})["answer"] == "1"
        with pytest.raises(SettingsError, match="began in 'monty', and stays in it"):
            ask(graph, {"sandbox": "local"})
        with pytest.raises(SettingsError, match="began with max_heap_bytes=67,108,864"):
            ask(graph, {"limits": {"max_heap_bytes": 1 << 27}})

    def test_nothing_is_in_the_log_where_nothing_was_set(self) -> None:
        graph = rlm([cell("FINAL('1')")], checkpointer=InMemorySaver())
        ask(graph, RunSettings())
        assert "settings" not in graph.get_state(thread()).values["log"]["run.0"]

    def test_the_trace_shows_what_a_run_had(self) -> None:
        graph = rlm(
            LOOPS, prompt="Be kind.", configurable={"prompt": True}, checkpointer=InMemorySaver()
        )
        ask(graph, {"prompt": "Be brief.", "limits": {"max_iterations": 1}})
        records = trace_of(graph, thread()).records
        question = next(record for record in records if record["type"] == "question")
        assert question["settings"]["limits"] == {"max_iterations": 1}
        assert "Be brief." in str(question["settings"]["prompt"])
        assert records[0]["limits"]["max_iterations"] == 1


class TestInjected:
    """What tools get of the RLM."""

    def test_the_state_and_its_fields(self) -> None:
        def about(
            whole: Annotated[dict[str, Any], InjectedState],
            query: Annotated[str, InjectedState("query")],
            messages: Annotated[list[Any], InjectedState("messages")],
            runtime: ToolRuntime[Any, Any],
            store: Annotated[BaseStore, InjectedStore()],
        ) -> list[Any]:
            """Tell of itself."""
            assert whole == runtime.state
            assert whole["messages"] == messages
            told = [message.text for message in messages]
            return [query, told, whole["depth"], runtime.store is store, bool(runtime.tool_call_id)]

        graph = create_rlm(root("FINAL(str(about()))"), tools=[about], store=InMemoryStore())
        said = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}]
        out = graph.invoke({"messages": said})
        assert out["answer"] == "['Why?', ['Be kind.', 'Why?'], 0, True, True]"

    def test_a_child_gives_its_own_question(self) -> None:
        def asked(query: Annotated[str, InjectedState("query")]) -> str:
            """Tell what is asked."""
            return query

        graph = rlm(
            [cell("FINAL(rlm_query('the child'))")],
            sub=lambda _: cell("FINAL(asked())"),
            tools=[asked],
            limits={"max_depth": 2},
        )
        assert ask(graph)["answer"] == "the child"

    def test_another_field_is_refused_when_the_graph_is_made(self) -> None:
        def lacks(user: Annotated[str, InjectedState("user")]) -> str:
            """Never run."""
            return user

        def has(user: Annotated[str, InjectedState("user")] = "nobody") -> str:
            """Tell who."""
            return user

        with pytest.raises(ConfigurationError, match="of its state messages, query, depth"):
            create_rlm(root(""), tools=[lacks])
        assert ask(create_rlm(root("FINAL(has())"), tools=[has]))["answer"] == "nobody"

    @pytest.mark.parametrize("depth", [0, 1])
    def test_the_stream_writer_writes_to_the_roots_stream(self, depth: int) -> None:
        def notes(runtime: ToolRuntime[Any, Any]) -> str:
            """Write a note."""
            runtime.stream_writer({"note": "halfway"})
            return "noted"

        codes = [cell("FINAL(notes())")]
        if depth:
            codes = [cell("FINAL(rlm_query('go'))")]
        graph = rlm(
            codes, sub=lambda _: cell("FINAL(notes())"), tools=[notes], limits={"max_depth": 2}
        )
        parts = [*graph.stream({"query": "go"}, stream_mode="custom")]
        assert {"note": "halfway"} in parts

    async def test_a_chat_models_tools_get_the_context_around_it(self) -> None:
        """What a tool writes is not taken for progress."""

        def user(runtime: ToolRuntime[Any, Any]) -> str:
            """Tell who asks."""
            runtime.stream_writer("a note")
            return runtime.context["user"]

        model = ChatRLM(model=root("FINAL(user())"), tools=[user])

        class State(TypedDict, total=False):
            said: str

        async def node(state: State) -> State:
            return {"said": (await model.ainvoke("who?")).text}

        builder = StateGraph(State, context_schema=dict)
        builder.add_node("node", node)
        builder.add_edge(START, "node")
        graph: Any = builder.compile(checkpointer=InMemorySaver())
        out = await graph.ainvoke({}, thread(), context={"user": "ann"})
        assert out["said"] == "ann"
