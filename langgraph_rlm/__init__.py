"""Recursive Language Models as a LangGraph state graph: durable, pausable, sandboxed.

Importing this package loads nothing else: each public name is imported when it is first used.
"""

from typing import TYPE_CHECKING, Any

from langgraph_rlm.lazy import imported

if TYPE_CHECKING:
    from langgraph_rlm.agents.middleware import RLMMiddleware
    from langgraph_rlm.budget.limits import Limits
    from langgraph_rlm.budget.prices import Price
    from langgraph_rlm.budget.usage import Usage
    from langgraph_rlm.chat.model import ChatRLM
    from langgraph_rlm.coverage.quotes import Quote, averify_quotes, verify_quotes
    from langgraph_rlm.errors import (
        AnsweredError,
        ApprovalNeededError,
        BlobError,
        ChildrenUnreachableError,
        ChildTaskError,
        ConfigurationError,
        ContextError,
        ForkError,
        InputError,
        ModelReplyError,
        ReplayDivergedError,
        ResumeError,
        RLMError,
        SandboxError,
        SettingsError,
        ThreadBusyError,
        ThreadTakenOverError,
        UnknownToolCallError,
    )
    from langgraph_rlm.graph import create_rlm
    from langgraph_rlm.history.answers import aanswer, answer, aresume, resume
    from langgraph_rlm.history.forget import aforget, forget
    from langgraph_rlm.history.fork import afork, fork
    from langgraph_rlm.history.freeing import Freed
    from langgraph_rlm.history.prune import aprune, prune
    from langgraph_rlm.history.threads import Thread, athreads, threads
    from langgraph_rlm.repl.base import Backend
    from langgraph_rlm.runtime.children import RemoteChildren
    from langgraph_rlm.runtime.settings import Configurable, RunSettings
    from langgraph_rlm.storage.blobs import BlobStore
    from langgraph_rlm.storage.context import ContextHandle
    from langgraph_rlm.storage.files import File
    from langgraph_rlm.storage.out_files import read_file, save_files
    from langgraph_rlm.trace.notebook import show
    from langgraph_rlm.trace.save import asave_trace, save_trace

_HOME = {
    "create_rlm": "graph",
    "ChatRLM": "chat.model",
    "Limits": "budget.limits",
    "Usage": "budget.usage",
    "Price": "budget.prices",
    "ContextHandle": "storage.context",
    "File": "storage.files",
    "read_file": "storage.out_files",
    "save_files": "storage.out_files",
    "BlobStore": "storage.blobs",
    "Backend": "repl.base",
    "RLMMiddleware": "agents.middleware",
    "Configurable": "runtime.settings",
    "RunSettings": "runtime.settings",
    "RemoteChildren": "runtime.children",
    "ChildTaskError": "errors",
    "ChildrenUnreachableError": "errors",
    "RLMError": "errors",
    "AnsweredError": "errors",
    "ApprovalNeededError": "errors",
    "InputError": "errors",
    "UnknownToolCallError": "errors",
    "ConfigurationError": "errors",
    "ContextError": "errors",
    "BlobError": "errors",
    "ReplayDivergedError": "errors",
    "ResumeError": "errors",
    "SandboxError": "errors",
    "SettingsError": "errors",
    "ThreadBusyError": "errors",
    "ThreadTakenOverError": "errors",
    "ForkError": "errors",
    "ModelReplyError": "errors",
    "answer": "history.answers",
    "aanswer": "history.answers",
    "resume": "history.answers",
    "aresume": "history.answers",
    "fork": "history.fork",
    "afork": "history.fork",
    "forget": "history.forget",
    "aforget": "history.forget",
    "prune": "history.prune",
    "aprune": "history.prune",
    "Quote": "coverage.quotes",
    "verify_quotes": "coverage.quotes",
    "averify_quotes": "coverage.quotes",
    "threads": "history.threads",
    "athreads": "history.threads",
    "Freed": "history.freeing",
    "Thread": "history.threads",
    "asave_trace": "trace.save",
    "save_trace": "trace.save",
    "show": "trace.notebook",
}
__all__ = [
    "AnsweredError",
    "ApprovalNeededError",
    "Backend",
    "BlobError",
    "BlobStore",
    "ChatRLM",
    "ChildTaskError",
    "ChildrenUnreachableError",
    "Configurable",
    "ConfigurationError",
    "ContextError",
    "ContextHandle",
    "File",
    "ForkError",
    "Freed",
    "InputError",
    "Limits",
    "ModelReplyError",
    "Price",
    "Quote",
    "RLMError",
    "RLMMiddleware",
    "RemoteChildren",
    "ReplayDivergedError",
    "ResumeError",
    "RunSettings",
    "SandboxError",
    "SettingsError",
    "Thread",
    "ThreadBusyError",
    "ThreadTakenOverError",
    "UnknownToolCallError",
    "Usage",
    "aanswer",
    "aforget",
    "afork",
    "answer",
    "aprune",
    "aresume",
    "asave_trace",
    "athreads",
    "averify_quotes",
    "create_rlm",
    "forget",
    "fork",
    "prune",
    "read_file",
    "resume",
    "save_files",
    "save_trace",
    "show",
    "threads",
    "verify_quotes",
]


def __getattr__(name: str) -> Any:
    return imported(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
