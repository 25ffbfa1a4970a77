"""What a run tells while it works: to tracers, OpenTelemetry and `logging`."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.messages import HumanMessage
from langchain_core.tracers.base import BaseTracer
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, get_current_span

from langgraph_rlm import ChatRLM
from langgraph_rlm.telemetry import RLMInstrumentor
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, root, thread

APPROVE = Command(resume={"decisions": [{"type": "approve"}]})
SECRET = "sk-secret\nforged line"


class Runs(BaseTracer):
    """A tracer that keeps every run; its roots have the others as `child_runs`."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        self.roots.append(run)

    @property
    def all(self) -> list[Any]:
        """Every run, in the order in which they began."""
        found, left = [], list(reversed(self.roots))
        while left:
            run = left.pop()
            found.append(run)
            left += reversed(run.child_runs)
        return found

    def named(self, name: str) -> Any:
        """The run of that name."""
        [run] = [run for run in self.all if run.name == name]
        return run


class Handler(BaseCallbackHandler):
    """A handler that is no tracer, as Langfuse's: it keeps what each model call has spent."""

    def __init__(self) -> None:
        self.models: dict[Any, str] = {}
        self.spent: list[tuple[str, int]] = []
        self.inputs = 0

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.inputs += len(str(inputs))

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: Any, metadata: Any = None, **kwargs: Any
    ) -> None:
        self.models[run_id] = (metadata or {}).get("ls_model_name", "")

    def on_llm_end(self, response: Any, *, run_id: Any, **kwargs: Any) -> None:
        usage = response.generations[0][0].message.usage_metadata or {}
        self.spent.append((self.models[run_id], usage.get("total_tokens", 0)))


def price(item: str) -> int:
    """The price of an item."""
    return len(item)


def tokens_in(runs: list[Any]) -> int:
    """The tokens that a tracer's model runs report, as LangSmith adds them up."""
    total = 0
    for run in runs:
        if run.run_type == "llm" and run.outputs:
            usage = run.outputs["generations"][0][0]["message"]["kwargs"].get("usage_metadata")
            total += (usage or {}).get("total_tokens", 0)
    return total


class TestTracers:
    def test_every_call_is_found_by_name_tags_and_metadata(self) -> None:
        code = "print(llm_query('a'))\nprint(rlm_query('b'))\nprice('x')\nFINAL('done')"
        tracer, sub = Runs(), ScriptedModel(replies=["yes"])
        child = ScriptedModel(replies=[cell("FINAL('c')")])
        graph = rlm(
            [cell(code.replace("rlm_query('b')", "rlm_query('b', model='child')"))],
            sub=sub,
            models={"child": child},
            tools=[price],
            limits={"max_depth": 2},
        )
        mine = {
            "callbacks": [tracer],
            "tags": ["mine"],
            "metadata": {"my": 1},
            "run_name": "my run",
        }
        graph.invoke({"query": "?"}, {**mine, "configurable": {"thread_id": "t"}})
        plan, asked = (
            tracer.named("my run").child_runs[1].child_runs[0],
            tracer.named("llm_query 0.0/0/0"),
        )
        assert plan.name == "plan 0" and {"mine", "rlm", "rlm:plan", "rlm:depth:0"} <= set(
            plan.tags
        )
        assert {"mine", "rlm:llm_query", "rlm:depth:1"} <= set(asked.tags)
        about = asked.metadata
        assert about["my"] == 1 and about["thread_id"] == "t"
        assert (
            about["rlm_place"] == "0.0/0/0"
            and about["rlm_depth"] == 1
            and about["rlm_id"] == plan.metadata["rlm_id"]
        )
        below = tracer.named("rlm_query 0.0/1/0")
        assert "rlm:rlm_query" in below.tags and below.run_type == "chain"
        inner = [run for run in tracer.all if run.name == "plan 0"][1]
        assert (
            inner.metadata["rlm_depth"] == 1 and inner.metadata["rlm_id"] != plan.metadata["rlm_id"]
        )
        assert "rlm:rlm_query" not in inner.tags
        tool = tracer.named("price")
        assert (
            tool.run_type == "tool"
            and "rlm:tool" in tool.tags
            and tool.metadata["rlm_place"] == "0.0/2/0"
        )

    def test_a_trace_grows_with_the_calls_alone(self) -> None:
        """Each step's input used to repeat the log: twice the calls were four times the trace, for tracers and others."""

        def traced(calls: int) -> tuple[int, int, int]:
            tracer, handler = Runs(), Handler()
            code = f"for i in range({calls}):\n    llm_query('q' * 200)\nFINAL('x')"
            graph = rlm([cell(code)], limits={"max_sub_calls": calls})
            graph.invoke({"query": "?"}, {"callbacks": [tracer, handler]})
            size = sum(len(str(run.inputs)) + len(str(run.outputs)) for run in tracer.all)
            return size, handler.inputs, len(tracer.all)

        (small, told, _), (large, told_more, runs) = traced(40), traced(80)
        assert large < 2.2 * small and told_more < 2.2 * told
        assert runs <= 3 * 80 + 10  # of 25,000 that a trace may have

    def test_messages_still_stream(self) -> None:
        """What callbacks are told of the nodes' inputs has what LangGraph's own handlers need."""
        graph = rlm(root("FINAL('x')"))
        streamed = [chunk.text for chunk, _ in graph.stream({"query": "?"}, stream_mode="messages")]
        assert "".join(streamed).count("FINAL") == 1


class TestInsideAChatModel:
    def agent(self, **options: Any) -> Any:
        sub = ScriptedModel(answer=lambda _: "y" * 40, model_name="sub")
        model = ScriptedModel(
            replies=[cell("print(llm_query('a'))\nFINAL('x')")], model_name="root"
        )
        chat = ChatRLM(model=model, sub_model=sub, direct_below_tokens=0, **options)
        return create_agent(chat, checkpointer=InMemorySaver())

    def asked(self, agent: Any, *handlers: Any, mode: str = "values") -> None:
        config = {**thread("mine"), "callbacks": [*handlers], "tags": ["t"], "metadata": {"m": 1}}
        for _ in agent.stream({"messages": [HumanMessage("?")]}, config, stream_mode=mode):
            pass

    @pytest.mark.parametrize("mode", ["values", "messages"])
    def test_tags_metadata_and_thread_of_the_user_are_inside_too(self, mode: str) -> None:
        tracer = Runs()
        self.asked(self.agent(), tracer, mode=mode)
        plan = tracer.named("plan 0")
        assert "t" in plan.tags and plan.metadata["m"] == 1 and plan.metadata["thread_id"] == "mine"
        around = [run for run in tracer.all if run.metadata.get("ls_provider") == "langgraph_rlm"]
        assert len(around) == 1 and [run.name for run in around[0].child_runs] == ["rlm"]

    @pytest.mark.parametrize("mode", ["values", "messages"])
    def test_tokens_are_counted_once_by_counters_tracers_and_others(self, mode: str) -> None:
        tracer, handler = Runs(), Handler()
        with get_usage_metadata_callback() as counted:
            self.asked(self.agent(), tracer, handler, mode=mode)
        [(name, usage)] = counted.usage_metadata.items()
        assert name == "rlm:root" and tokens_in(tracer.all) == usage["total_tokens"]
        assert handler.spent == [("rlm:root", usage["total_tokens"])]

    @pytest.mark.parametrize("mode", ["values", "messages"])
    def test_other_handlers_see_inside_where_they_ask_to(self, mode: str) -> None:
        tracer, handler = Runs(), Handler()
        with get_usage_metadata_callback() as counted:
            self.asked(self.agent(trace_inside=True), tracer, handler, mode=mode)
        spent = dict(handler.spent)
        assert spent["root"] > 0 and spent["sub"] > 0 and spent["rlm:root"] == 0
        assert sum(spent.values()) == tokens_in(tracer.all)
        [(name, usage)] = counted.usage_metadata.items()  # it counts the call as one
        assert name == "rlm:root" and usage["total_tokens"] == sum(spent.values())

    async def test_the_caller_still_gets_the_usage(self) -> None:
        chat = ChatRLM(model=root("FINAL('x')"), direct_below_tokens=0, trace_inside=True)
        reply = await chat.ainvoke("?", {"callbacks": [Runs()]})
        assert reply.usage_metadata and reply.usage_metadata["total_tokens"] > 0


class Telemetry:
    """Spans and metrics of this process, in memory."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracing = TracerProvider()
        self.tracing.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.metering = MeterProvider([self.reader])

    @property
    def spans(self) -> list[Any]:
        """All spans that have ended, in the order in which they began."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time)

    def tree(self) -> list[tuple[str, str | None]]:
        """Each span's name, and that of its parent."""
        names = {span.context.span_id: span.name for span in self.spans}
        return [(span.name, span.parent and names.get(span.parent.span_id)) for span in self.spans]

    def points(self, name: str) -> list[Any]:
        """The data points of a metric."""
        data: Any = self.reader.get_metrics_data()
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        return [point for m in metrics if m.name == name for point in m.data.data_points]


@pytest.fixture
def otel() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    instrumentor = RLMInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry.tracing, meter_provider=telemetry.metering)
    yield telemetry
    instrumentor.uninstrument()


class TestOpenTelemetry:
    def test_one_run_is_one_tree_below_the_callers_span(self, otel: Telemetry) -> None:
        seen: list[int] = []

        def look(item: str) -> int:
            """Look."""
            seen.append(get_current_span().get_span_context().span_id)
            return 1

        code = "print(llm_query_batched(['a', 'b']))\nprint(rlm_query('c', model='child'))\nlook('x')\nFINAL('x')"
        child = ScriptedModel(replies=[cell("FINAL('c')")], model_name="small")
        graph = rlm([cell(code)], models={"child": child}, tools=[look], limits={"max_depth": 2})
        with otel.tracing.get_tracer("mine").start_as_current_span("mine"):
            graph.invoke({"query": "?"})
        agents = [span for span in otel.spans if span.name == "invoke_agent rlm"]
        below = agents[1].context.span_id
        assert {span.context.trace_id for span in otel.spans} == {otel.spans[0].context.trace_id}
        tree = otel.tree()
        assert tree[:3] == [
            ("mine", None),
            ("invoke_agent rlm", "mine"),
            ("chat scripted", "invoke_agent rlm"),
        ]
        assert tree.count(("chat scripted", "invoke_agent rlm")) == 3  # its turn, and two sub-calls
        [small] = [span for span in otel.spans if span.name == "chat small"]
        assert (
            small.parent.span_id == below and agents[1].parent.span_id == agents[0].context.span_id
        )
        [tool] = [span for span in otel.spans if span.name == "execute_tool look"]
        assert seen == [tool.context.span_id] and tool.attributes["gen_ai.tool.call.id"]
        cells = [
            span.attributes["langgraph_rlm.cells"]
            for span in otel.spans
            if span.name == "execute_code"
        ]
        assert ("0.0 ok",) in cells

    def test_spans_and_metrics_follow_the_conventions(self, otel: Telemetry) -> None:
        graph = rlm(root("FINAL('x')"), checkpointer=InMemorySaver(), name="clerk")
        graph.invoke({"query": "?"}, thread())
        agent, chat = otel.spans[0], otel.spans[1]
        assert (
            agent.name == "invoke_agent clerk" and agent.attributes["gen_ai.agent.name"] == "clerk"
        )
        assert agent.attributes["langgraph_rlm.stop_reason"] == "answered"
        about = chat.attributes
        assert (
            about["gen_ai.operation.name"] == "chat" and about["gen_ai.request.model"] == "scripted"
        )
        assert (
            about["gen_ai.conversation.id"] == "t"
            and about["gen_ai.provider.name"] == "scriptedmodel"
        )
        spent = (about["gen_ai.usage.input_tokens"], about["gen_ai.usage.output_tokens"])
        assert not [
            name for name in agent.attributes if name.startswith("gen_ai.usage")
        ]  # counted once
        tokens = {
            point.attributes["gen_ai.token.type"]: point.sum
            for point in otel.points("gen_ai.client.token.usage")
        }
        assert (tokens["input"], tokens["output"]) == spent
        [took] = otel.points("gen_ai.client.operation.duration")
        assert took.count == 1 and took.attributes["gen_ai.request.model"] == "scripted"
        assert not [name for span in otel.spans for name in span.attributes if "messages" in name]

    def test_a_resumed_run_is_linked_to_the_one_before(self, otel: Telemetry) -> None:
        code = "price('x')\nFINAL('x')"
        graph = rlm(
            [cell(code)], tools=[price], interrupt_on={"price": True}, checkpointer=InMemorySaver()
        )
        graph.invoke({"query": "?"}, thread())
        paused = otel.spans[0]
        assert [event.name for event in paused.events] == ["langgraph_rlm.pause"]
        assert paused.attributes["langgraph_rlm.outcome"] == "paused"
        assert paused.status.status_code == StatusCode.UNSET
        otel.exporter.clear()
        graph.invoke(APPROVE, thread())
        resumed = otel.spans[0]
        [link] = resumed.links
        assert link.context.span_id == paused.context.span_id
        assert resumed.context.trace_id != paused.context.trace_id
        assert resumed.attributes["langgraph_rlm.is_resumed"]

    def test_errors_have_a_type_and_their_text_only_on_demand(
        self, otel: Telemetry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def ask() -> Any:
            failing = rlm(
                [cell("llm_query('my prompt')"), cell("FINAL('x')")],
                sub=lambda _: ValueError(SECRET),
            )
            failing.invoke({"query": "?"})
            return next(span for span in otel.spans if span.status.status_code == StatusCode.ERROR)

        failed = ask()
        assert failed.attributes["error.type"] == "ValueError" and failed.name == "chat scripted"
        assert "secret" not in failed.to_json() and "my prompt" not in failed.to_json()
        RLMInstrumentor().uninstrument()
        otel.exporter.clear()
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
        RLMInstrumentor().instrument(tracer_provider=otel.tracing)
        failed = ask()
        assert "secret" in failed.to_json()
        given = json.loads(failed.attributes["gen_ai.input.messages"])
        assert given == [{"role": "user", "parts": [{"type": "text", "content": "my prompt"}]}]

    async def test_runs_at_once_do_not_mix(self, otel: Telemetry) -> None:
        graph = rlm([cell("llm_query_batched(['a'] * 5)\nFINAL('x')")])
        await asyncio.gather(*(graph.ainvoke({"query": "?"}) for _ in range(5)))
        by_trace: dict[int, int] = {}
        for span in otel.spans:
            by_trace[span.context.trace_id] = by_trace.get(span.context.trace_id, 0) + 1
        assert len(by_trace) == 5 and set(by_trace.values()) == {9}  # 1 agent, 6 chats, 2 of code

    def test_inside_a_chat_model_the_conversation_is_the_users(self, otel: Telemetry) -> None:
        chat = ChatRLM(model=root("FINAL('x')"), direct_below_tokens=0)
        agent = create_agent(chat, checkpointer=InMemorySaver())
        agent.invoke({"messages": [HumanMessage("?")]}, thread("mine"))
        assert {span.attributes["gen_ai.conversation.id"] for span in otel.spans} == {"mine"}

    def test_a_short_input_is_a_call_too(self, otel: Telemetry) -> None:
        ChatRLM(model=ScriptedModel(replies=["hello"])).invoke("?")
        [chat] = otel.spans
        assert chat.name == "chat scripted" and chat.attributes["langgraph_rlm.purpose"] == "direct"
        assert chat.attributes["gen_ai.usage.output_tokens"] > 0

    def test_without_the_extra_it_says_what_to_install(self) -> None:
        code = (
            "import sys; sys.modules['opentelemetry'] = None\n"
            "from langgraph_rlm.telemetry import RLMInstrumentor; RLMInstrumentor().instrument()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (
            "ConfigurationError" in done.stderr
            and "pip install 'langgraph-rlm[otel]'" in done.stderr
        )


class TestLogging:
    def test_an_operator_reads_how_runs_go(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "langgraph_rlm")
        graph = rlm(
            [cell("price('x')\nFINAL('x')")],
            tools=[price],
            interrupt_on={"price": True},
            checkpointer=InMemorySaver(),
        )
        graph.invoke({"query": "my question"}, thread("nightly"))
        graph.invoke(APPROVE, thread("nightly"))
        told = [
            record.getMessage() for record in caplog.records if record.name == "langgraph_rlm.runs"
        ]
        assert all(line.startswith("thread nightly: ") for line in told)
        assert [line.split(": ", 1)[1].split(" after")[0].split(",")[0] for line in told] == [
            "run begins",
            "waits for an answer about price",
            "run pauses",
            "run continues",
            "run ended (answered)",
        ]
        assert "1 turns" in told[-1] and "tokens" in told[-1] and "$0.0000" in told[-1]
        assert caplog.records[-1].rlm_thread == "nightly"

    def test_no_prompt_answer_key_or_forged_line_gets_in(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "langgraph_rlm")
        code = "try:\n    llm_query('my prompt')\nexcept RuntimeError as e:\n    print(e)\nFINAL('my answer')"
        graph = rlm([cell(code)], sub=lambda _: ValueError(SECRET), checkpointer=InMemorySaver())
        graph.invoke({"query": "my question"}, thread("a\nINFO forged \x1b[2J\u202e"))
        text = caplog.text
        assert "llm_query 0.0/0/0 of scripted at depth 1 failed: ValueError" in text
        for hidden in ("secret", "my prompt", "my answer", "my question", "\x1b", "\u202e"):
            assert hidden not in text
        assert "thread a\\nINFO forged" in text

    def test_debug_has_every_call(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "langgraph_rlm")
        rlm([cell("llm_query('a')\nFINAL('x')")]).invoke({"query": "?"})
        assert "llm_query 0.0/0/0 of scripted at depth 1 ended in" in caplog.text

    def test_no_handler_of_ours_writes_anything(self) -> None:
        own = logging.getLogger("langgraph_rlm").handlers
        assert [type(handler) for handler in own] == [logging.NullHandler]
