"""Server: `ChatRLM` as OpenAI's chat completions, responses and completions over HTTP.

`create_app` makes the ASGI application, `serve` runs it. Importing this package loads nothing: each
public name is imported when it is first used.
"""

from typing import TYPE_CHECKING, Any

from langgraph_rlm.lazy import imported

if TYPE_CHECKING:
    from langgraph_rlm.server.app import create_app
    from langgraph_rlm.server.run import serve
    from langgraph_rlm.server.settings import Settings

_HOME = {"create_app": "app", "serve": "run", "Settings": "settings"}
__all__ = ["Settings", "create_app", "serve"]


def __getattr__(name: str) -> Any:
    return imported(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
