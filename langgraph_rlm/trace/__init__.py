"""Trace: a run as plain records, and what is made of them: JSONL, a page, the view in a notebook.

It reads checkpoints and blobs, and changes neither.
"""

from typing import TYPE_CHECKING, Any

from langgraph_rlm.lazy import imported

if TYPE_CHECKING:
    from langgraph_rlm.trace.notebook import show
    from langgraph_rlm.trace.reading import Trace, atrace_of, trace_of
    from langgraph_rlm.trace.save import asave_trace, save_trace

_HOME = {
    "Trace": "reading",
    "asave_trace": "save",
    "atrace_of": "reading",
    "save_trace": "save",
    "show": "notebook",
    "trace_of": "reading",
}
__all__ = ["Trace", "asave_trace", "atrace_of", "save_trace", "show", "trace_of"]


def __getattr__(name: str) -> Any:
    return imported(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
