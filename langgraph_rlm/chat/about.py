"""About: what a chat model says of itself: its profile, its parameters, how many tokens a text has.

Never asks a model for a reply.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import BaseLanguageModel
from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately

from langgraph_rlm.models.wrapped import Model, first_of, model_name, profile_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.runtime.windows import BYTES_PER_TOKEN
from langgraph_rlm.storage.blobs import to_bytes

WINDOW = 1_000_000_000
"""Tokens of an input, 4 GB of text: what a `ChatRLM` takes does not depend on a model's window.

It has to be a number: LangChain's middleware summarizes a history at a share of it, and would cut
one that the RLM reads whole.
"""

T = TypeVar("T")


def profile_of_rlm(root: Model) -> dict[str, Any]:
    """Give the profile of a `ChatRLM`: its root model's, with what an RLM does by itself."""
    known = {key: value for key, value in profile_of(root).items() if key != "max_output_tokens"}
    own = {
        "max_input_tokens": WINDOW,
        "text_inputs": True,
        "text_outputs": True,
        "tool_calling": True,
        "tool_choice": True,
        "structured_output": True,
    }
    return {**known, **own}


def parameters_of(rlm: RLMRuntime) -> dict[str, Any]:
    """Give the parameters of an RLM by which LangChain knows a model."""
    return {
        "model_name": f"rlm:{model_name(rlm.model)}",
        "sub_model": model_name(rlm.sub_model),
        "models": {name: model_name(model) for name, model in rlm.models.items()},
        "tools": sorted(rlm.toolset.root),
        "limits": rlm.limits.model_dump(),
        "prompt": rlm.prompt,
    }


# Tokens


def tokens_in_text(root: Model, text: str) -> int:
    """Count tokens as the root model does, else by an estimate."""
    model = first_of(root)
    if not _counts(model):
        return _estimated(text)
    return _counted(lambda: model.get_num_tokens(text), lambda: _estimated(text))


def tokens_in_messages(
    root: Model, messages: Sequence[BaseMessage], tools: Sequence[Any] | None
) -> int:
    """Count the tokens of messages as the root model does, else by an estimate."""
    model = first_of(root)

    def estimated() -> int:
        return count_tokens_approximately(messages, tools=[*tools] if tools else None)

    own = type(model).get_num_tokens_from_messages
    if own is BaseLanguageModel.get_num_tokens_from_messages and not _counts(model):
        return estimated()
    given: dict[str, Any] = {"tools": tools} if tools else {}
    return _counted(lambda: model.get_num_tokens_from_messages([*messages], **given), estimated)


def _counts(model: BaseChatModel) -> bool:
    """Whether a model counts by itself. LangChain's own count is that of GPT-2, for which it loads
    a package and a file from the internet."""
    kind = type(model)
    return (
        kind.get_num_tokens is not BaseLanguageModel.get_num_tokens
        or kind.get_token_ids is not BaseLanguageModel.get_token_ids
        or model.custom_get_token_ids is not None
    )


def _counted(count: Callable[[], T], estimate: Callable[[], T]) -> T:
    """Count, or estimate where the model cannot: it is unknown to its own counter, or what that
    loads is not there."""
    try:
        return count()
    except (ImportError, NotImplementedError, OSError):
        return estimate()


def _estimated(text: str) -> int:
    return len(to_bytes(text)) // BYTES_PER_TOKEN
