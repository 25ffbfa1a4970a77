"""Spans: runs as OpenTelemetry spans and metrics, by the semantic conventions for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/ (1.37 and later: `gen_ai.provider.name`,
`gen_ai.input.messages`). What the conventions have no name for begins with `langgraph_rlm.`.
Prompts, answers, arguments and texts of errors are left out unless the environment asks for them.
"""

import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

from opentelemetry import context, metrics, trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from langgraph_rlm.models.wrapped import first_of
from langgraph_rlm.pregel.keys import provider_of
from langgraph_rlm.telemetry.content import message_parts, reply_parts, value_text
from langgraph_rlm.telemetry.work import Event, Work

CONTENT_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
WITH_CONTENT = ("true", "1", "span_only", "span_and_event")
"""Values of the variable that ask for content on spans."""

PROVIDERS = {
    "amazon_bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "ibm": "ibm.watsonx.ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
}
"""The conventions' names of providers, by LangChain's. Others have the same."""

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(4**power for power in range(14))
"""Buckets of the two histograms, as the conventions have them."""

Attributes = dict[str, Any]


class _Open(NamedTuple):
    """The span of a piece of work, and what takes it out of the context again."""

    span: Span
    token: Any


class Spans:
    """The observer."""

    def __init__(self, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        """Take the providers; by default the global ones."""
        name, release = "langgraph_rlm", version("langgraph-rlm")
        self._tracer = trace.get_tracer(name, release, tracer_provider)
        meter = metrics.get_meter(name, release, meter_provider)
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="How long a call of a model took.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens that a call of a model took.",
            explicit_bucket_boundaries_advisory=TOKENS,
        )
        self._propagator = TraceContextTextMapPropagator()
        self._has_content = os.environ.get(CONTENT_VARIABLE, "").lower() in WITH_CONTENT

    def begin(self, work: Work) -> None:
        """Start a span below that of the RLM; a root's below the caller's current one.

        It is the current span while a model, a tool or a child works, so that what an HTTP client
        or a tool tells lies below it. A root's is not: it works in its caller's context.
        """
        around = context.get_current()
        within = None if work.within is None else work.within.marks.get(self)
        if within is not None:
            around = trace.set_span_in_context(within.span, around)
        name, kind, attributes = _described(work)
        span = self._tracer.start_span(
            name, around, kind, attributes=attributes, links=self._links(work)
        )
        token = None
        if work.kind == "rlm" and work.within is None:
            self._leave_behind(work, span)
        elif work.kind != "code":
            token = context.attach(trace.set_span_in_context(span, around))
        work.marks[self] = _Open(span, token)
        if self._has_content and span.is_recording():
            span.set_attributes(_content_before(work))

    def end(self, work: Work) -> None:
        """End the span, with what is known now."""
        opened: _Open = work.marks.pop(self)
        if opened.token is not None:
            context.detach(opened.token)
        span = opened.span
        if span.is_recording():
            span.set_attributes(_outcome(work))
            if self._has_content:
                span.set_attributes(_content_after(work))
            if work.outcome in ("error", "limit"):
                self._tell_error(span, work)
        span.end()
        if work.kind == "model":
            self._measure(work)

    def happened(self, event: Event) -> None:
        """Note an event on the span of its RLM; without one, it is left out."""
        opened = None if event.work is None else event.work.marks.get(self)
        if opened is not None:
            name = f"langgraph_rlm.{event.kind.replace(' ', '_')}"
            opened.span.add_event(name, {"langgraph_rlm.what": event.what})

    def _links(self, work: Work) -> list[Link]:
        """Link a resumed run to the run before it, which may have been another trace."""
        if not work.before:
            return []
        found = self._propagator.extract({"traceparent": work.before}, context.Context())
        before = trace.get_current_span(found).get_span_context()
        return [Link(before)] if before.is_valid else []

    def _leave_behind(self, work: Work, span: Span) -> None:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, trace.set_span_in_context(span, context.Context()))
        work.left_behind = carrier.get("traceparent", "")

    def _tell_error(self, span: Span, work: Work) -> None:
        error = work.error
        if error is None:
            span.set_status(Status(StatusCode.ERROR))
        elif self._has_content:
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, str(error)))
        else:  # its text may quote the prompt, or a key
            span.add_event("exception", {"exception.type": _type_of(error)})
            span.set_status(Status(StatusCode.ERROR))

    def _measure(self, work: Work) -> None:
        common = {**_model_attributes(work), **_response_model(work)}
        told = dict(common)
        if work.error is not None:
            told["error.type"] = _type_of(work.error)
        self._seconds.record(work.seconds, told)
        usage: Any = (work.reply and work.reply.usage_metadata) or {}
        for type, key in (("input", "input_tokens"), ("output", "output_tokens")):
            if usage.get(key):
                self._tokens.record(usage[key], {**common, "gen_ai.token.type": type})


# Attributes


def _described(work: Work) -> tuple[str, SpanKind, Attributes]:
    """Give the name of a span, its kind, and what is known at its start."""
    attributes = _place(work)
    if work.kind == "model":
        attributes |= _model_attributes(work)
        return f"chat {work.model}", SpanKind.CLIENT, attributes
    if work.kind == "tool":
        attributes |= {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": work.purpose,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": work.call_id,
        }
        return f"execute_tool {work.purpose}", SpanKind.INTERNAL, attributes
    if work.kind == "code":
        return "execute_code", SpanKind.INTERNAL, attributes
    agent = work.root.purpose
    attributes |= {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent}
    if work.model:
        attributes["gen_ai.request.model"] = work.model
    return f"invoke_agent {agent}", SpanKind.INTERNAL, attributes


def _place(work: Work) -> Attributes:
    where = work.where
    attributes: Attributes = {
        "langgraph_rlm.depth": where.depth,
        "langgraph_rlm.purpose": work.purpose,
        "langgraph_rlm.place": where.place,
        "langgraph_rlm.id": where.rlm_id,
        "langgraph_rlm.thread": where.thread,
        "gen_ai.conversation.id": where.conversation,
    }
    known = {name: value for name, value in attributes.items() if value != ""}
    if work.waited >= 0.001:
        known["langgraph_rlm.waited"] = work.waited
    if work.is_resumed:
        known["langgraph_rlm.is_resumed"] = True
    return known


def _model_attributes(work: Work) -> Attributes:
    if "model" in work.marks:
        return work.marks["model"]
    attributes: Attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": work.model}
    if work.client is not None:
        provider = provider_of(first_of(work.client))
        attributes["gen_ai.provider.name"] = PROVIDERS.get(provider, provider)
    work.marks["model"] = attributes
    return attributes


def _response_model(work: Work) -> Attributes:
    name = None if work.reply is None else work.reply.response_metadata.get("model_name")
    return {"gen_ai.response.model": name} if isinstance(name, str) and name else {}


def _outcome(work: Work) -> Attributes:
    """Give what is known at the end of a piece of work."""
    attributes: Attributes = {"langgraph_rlm.outcome": work.outcome}
    if work.error is not None:
        attributes["error.type"] = _type_of(work.error)
    if work.kind == "model":
        return attributes | _response(work)
    if work.kind == "code":
        ends: dict[str, str] = work.result or {}
        attributes["langgraph_rlm.cells"] = [f"{place} {end}" for place, end in ends.items()]
    if work.kind == "rlm":
        attributes |= _run(work)
    return attributes


def _run(work: Work) -> Attributes:
    """Give what an RLM has spent. Its tokens are those of its calls' spans, and not counted twice:
    they have names of our own here."""
    attributes: Attributes = {"langgraph_rlm.id": work.where.rlm_id}
    if work.stop_reason:
        attributes["langgraph_rlm.stop_reason"] = work.stop_reason
    for name in ("turns", "sub_calls", "model_calls", "input_tokens", "output_tokens", "cost"):
        if name in work.spent:
            attributes[f"langgraph_rlm.total.{name}"] = work.spent[name]
    return attributes


def _response(work: Work) -> Attributes:
    reply = work.reply
    if reply is None:
        return {}
    attributes = _response_model(work)
    about = reply.response_metadata
    reason, id = about.get("finish_reason") or about.get("stop_reason"), about.get("id")
    if isinstance(reason, str):
        attributes["gen_ai.response.finish_reasons"] = [reason]
    if isinstance(id, str):
        attributes["gen_ai.response.id"] = id
    usage: Mapping[str, Any] = reply.usage_metadata or {}
    sent, got = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    counts = {
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "cache_read.input_tokens": sent.get("cache_read"),
        "cache_creation.input_tokens": sent.get("cache_creation"),
        "reasoning.output_tokens": got.get("reasoning"),
    }
    known = {f"gen_ai.usage.{name}": count for name, count in counts.items() if count is not None}
    return attributes | known


def _content_before(work: Work) -> Attributes:
    if work.kind == "model" and work.given is not None:
        return {"gen_ai.input.messages": message_parts(work.given)}
    if work.kind == "tool":
        return {"gen_ai.tool.call.arguments": value_text(work.given)}
    return {}


def _content_after(work: Work) -> Attributes:
    if work.kind == "model" and work.reply is not None:
        return {"gen_ai.output.messages": reply_parts(work.reply)}
    if work.kind == "tool" and work.outcome == "ok":
        return {"gen_ai.tool.call.result": value_text(work.result)}
    return {}


def _type_of(error: BaseException) -> str:
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
