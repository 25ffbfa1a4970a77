"""Instrumentor: the door to OpenTelemetry, of the shape that its own instrumentors have.

`opentelemetry-instrument` finds it by the package's entry point.
"""

from typing import Any

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.telemetry.observers import observers

_open: list[Any] = []
"""The observer, while there is one: spans of two would be told twice."""


class RLMInstrumentor:
    """Has the runs of this process make OpenTelemetry spans and metrics.

    RLMInstrumentor().instrument()
    """

    def instrument(
        self, *, tracer_provider: Any = None, meter_provider: Any = None, **_: Any
    ) -> None:
        """Begin. What runs already is left out. A second call changes nothing.

        Args:
            tracer_provider: OpenTelemetry's; by default the global one.
            meter_provider: likewise.

        Raises:
            ConfigurationError: OpenTelemetry is not installed.
        """
        if _open:
            return
        try:
            from langgraph_rlm.telemetry.spans import Spans
        except ImportError as error:
            raise ConfigurationError(
                "RLMInstrumentor needs OpenTelemetry: pip install 'langgraph-rlm[otel]'"
            ) from error
        spans = Spans(tracer_provider, meter_provider)
        _open.append(spans)
        observers.append(spans)

    def uninstrument(self, **_: Any) -> None:
        """End. What runs now makes no further spans."""
        while _open:
            observers.remove(_open.pop())
