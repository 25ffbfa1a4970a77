"""Figures: what `GET /metrics` says of the runs of this process, for Prometheus.

It is an observer of their work. Labels are bounded: no name that a client can choose makes a
series of its own before a call of that model has succeeded, and only so many do.
"""

import threading
from typing import Any

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.pregel.leases import how_many_held
from langgraph_rlm.telemetry.work import Event, Work

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
except ImportError as error:
    raise ConfigurationError(
        "The server needs prometheus-client: pip install 'langgraph-rlm[server]'"
    ) from error

MODELS = 100
"""Models that have series of their own; further ones share `other`."""
ERRORS = 50
"""Kinds of errors that do."""
OTHER = "other"
DEEPEST = 4
"""Depths from here on share a series."""
NAME_CHARS = 80

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
WAITS = (0.001, 0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300)


class Names:
    """The values of one label: the first ones that are let in, and `other`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def of(self, name: str, *, is_new_allowed: bool = True) -> str:
        """Give the value for a name.

        Args:
            name: any text.
            is_new_allowed: whether a name that is not known yet may become a value.
        """
        name = name[:NAME_CHARS]
        with self._lock:
            if name in self._known:
                return name
            if not is_new_allowed or len(self._known) >= self._most:
                return OTHER
            self._known.add(name)
            return name


class Figures:
    """The observer, with a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._models, self._errors = Names(MODELS), Names(ERRORS)
        self._make_run_figures()
        self._make_call_figures()
        self._make_sandbox_figures()
        self._refused = self._counter(
            "key_refusals", "Requests that a limit of their key refused.", "reason"
        )

    def refuse(self, reason: str) -> None:
        """Count a request that a limit of its key refused. Whose it was is not told."""
        self._refused.labels(reason).inc()

    def text(self) -> bytes:
        """Give all figures in Prometheus' text format."""
        return generate_latest(self.registry)

    def _make_run_figures(self) -> None:
        self._runs = self._counter("runs", "Runs that ended or paused.", "stop_reason")
        self._runs_active = self._gauge("runs_active", "Runs at work now.")
        held = self._gauge("leases_held", "Leases of threads that this process holds now.")
        held.set_function(how_many_held)
        self._run_seconds = self._histogram("run_seconds", "Time of a run until it ended or paused")
        self._pauses = self._counter("pauses", "Pauses for an approval or a tool's result.")
        self._retries = self._counter("waits", "Calls that a busy provider did not answer yet.")
        self._limits = self._counter("limits_reached", "Limits that were reached.", "limit")

    def _make_call_figures(self) -> None:
        self._calls = self._counter("calls", "Calls.", "kind", "depth", "model", "outcome")
        self._active = self._gauge("calls_active", "Calls in flight now.", "kind")
        self._call_seconds = self._histogram("call_seconds", "Time of a call", "kind")
        self._waits = self._histogram(
            "call_wait_seconds", "Time that a call waited for its slot", "kind", buckets=WAITS
        )
        self._tokens = self._counter("tokens", "Tokens of model calls.", "model", "type")
        self._cost = self._counter("cost_usd", "Cost of calls whose price is known.", "model")
        self._unpriced = self._counter("unpriced_calls", "Calls without a price.", "model")
        self._failures = self._counter("errors", "Errors.", "kind", "type")

    def _make_sandbox_figures(self) -> None:
        self._cells = self._counter("cells", "Cells that ended.", "outcome")
        self._started = self._counter("sandboxes_started", "Sandboxes that were started.")
        self._crashed = self._counter("sandboxes_crashed", "Sandboxes that died at work.")
        self._alive = self._gauge("sandboxes_alive", "Sandboxes that live now.")
        self._replayed = self._counter("replayed_cells", "Logged cells that were run again.")

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"langgraph_rlm_{name}", about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"langgraph_rlm_{name}", about, labels, registry=self.registry)

    def _histogram(
        self, name: str, about: str, *labels: str, buckets: tuple[float, ...] = SECONDS
    ) -> Histogram:
        told = f"{about}, in seconds."
        name = f"langgraph_rlm_{name}"
        return Histogram(name, told, labels, registry=self.registry, buckets=buckets)

    # What it is told

    def begin(self, work: Work) -> None:
        """Count what is under way."""
        if _is_root(work):
            self._runs_active.inc()
        else:
            self._active.labels(_kind(work)).inc()

    def end(self, work: Work) -> None:
        """Count what has ended."""
        if work.outcome == "error" and work.error is not None:
            kind = "run" if _is_root(work) else _kind(work)
            self._failures.labels(kind, self._errors.of(type(work.error).__name__)).inc()
        if _is_root(work):
            self._runs_active.dec()
            self._runs.labels(_stop_reason(work)).inc()
            self._run_seconds.observe(work.seconds)
            return
        self._end_call(work, _kind(work))

    def happened(self, event: Event) -> None:
        """Count an event."""
        match event.kind:
            case "pause":
                self._pauses.inc()
            case "limit":
                self._limits.labels(event.what).inc()
            case "wait":
                self._retries.inc()
            case "sandbox started":
                self._started.inc()
                self._alive.inc()
            case "sandbox ended":
                self._alive.dec()
            case "sandbox crashed":
                self._crashed.inc()
            case "replay":
                self._replayed.inc(int(event.what))

    def _end_call(self, work: Work, kind: str) -> None:
        model = ""
        if work.kind == "model":
            model = self._models.of(work.model, is_new_allowed=work.outcome == "ok")
            self._spend(work, model)
        depth = str(min(work.where.depth, DEEPEST))
        self._active.labels(kind).dec()
        self._calls.labels(kind, depth, model, work.outcome).inc()
        self._call_seconds.labels(kind).observe(work.seconds)
        if work.kind in ("model", "rlm"):
            self._waits.labels(kind).observe(work.waited)
        if work.kind == "code":
            ends: dict[str, str] = work.result or {}
            for outcome in ends.values():
                self._cells.labels(outcome).inc()

    def _spend(self, work: Work, model: str) -> None:
        spent: Any = work.spent
        if not spent:
            return
        sent, got = spent.get("input_token_details", {}), spent.get("output_token_details", {})
        counts = {
            "input": spent["input_tokens"],
            "output": spent["output_tokens"],
            "cache_read": sent.get("cache_read", 0),
            "reasoning": got.get("reasoning", 0),
        }
        for type, count in counts.items():
            if count:
                self._tokens.labels(model, type).inc(count)
        self._cost.labels(model).inc(spent["cost"])
        self._unpriced.labels(model).inc(spent["unpriced_calls"])


def _is_root(work: Work) -> bool:
    return work.kind == "rlm" and work.within is None


def _kind(work: Work) -> str:
    """Name what a call is for, by words of ours alone: the name of a tool may be a client's."""
    return work.kind if work.kind in ("tool", "code") else work.purpose.replace(" ", "_")


def _stop_reason(work: Work) -> str:
    return work.stop_reason if work.outcome == "ok" else work.outcome
