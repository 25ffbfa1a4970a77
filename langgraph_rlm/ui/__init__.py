"""UI: the trace page over HTTP for all threads of a database, following and answering runs.

`app` makes an ASGI application to mount, `serve_ui` serves it from a process of one's own.
Importing this package loads nothing: each public name is imported when it is first used.
"""

from typing import TYPE_CHECKING, Any

from langgraph_rlm.lazy import imported

if TYPE_CHECKING:
    from langgraph_rlm.ui.pages import app
    from langgraph_rlm.ui.run import serve_ui

_HOME = {"app": "pages", "serve_ui": "run"}
__all__ = ["app", "serve_ui"]


def __getattr__(name: str) -> Any:
    return imported(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
