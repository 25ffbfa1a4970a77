"""Caching: what tells a provider which part of a conversation it will be sent again.

A conversation grows at its end alone, so what was sent once is read from the provider's cache at
about a tenth of its price. OpenAI and Gemini find such a prefix by themselves. Claude reads and
writes only where a request has breakpoints: here they are set, as the request leaves. Neither the
log nor a digest knows of them.

Anthropic: https://platform.claude.com/docs/en/build-with-claude/prompt-caching
OpenAI: https://developers.openai.com/api/docs/guides/prompt-caching
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.runnables import RunnableBinding, RunnableConfig

from langgraph_rlm.models.wrapped import Model, is_openai
from langgraph_rlm.storage.json_types import is_dict, is_list

CacheLife = Literal["5m", "1h"]
"""How long Anthropic keeps what it is told to keep, from its last use on. Writing costs 1.25 times
the price of input for five minutes, twice the price for an hour."""

CACHE_LIVES: tuple[CacheLife, ...] = ("5m", "1h")

MARK = "cache_control"
"""Key of a breakpoint of Anthropic's; a request has at most four."""

KEY = "prompt_cache_key"
"""OpenAI's option by which requests with one prefix find the same machine."""


@dataclass(frozen=True)
class Cached:
    """A conversation whose beginning will be sent again."""

    key: str
    """Names it."""
    life: CacheLife = "5m"

    @property
    def mark(self) -> dict[str, str]:
        """The breakpoint. Five minutes are what Anthropic does without being told."""
        mark = {"type": "ephemeral"}
        return mark if self.life == "5m" else {**mark, "ttl": self.life}


def cached(model: BaseChatModel, asked: Model, use: Cached) -> Model:
    """Give a model that tells its provider what to keep; as it is where nothing has to be told.

    Args:
        model: that is asked.
        asked: the same, with what goes with the call.
        use: the conversation.
    """
    if is_anthropic(model):
        if MARK in model_kwargs(model):
            return asked  # the user sets breakpoints
        return Marked(bound=_with_marked_tools(asked, use.mark), mark=use.mark)
    if is_openais_own(model) and KEY not in model_kwargs(model):
        return asked.bind(**{KEY: use.key})
    return asked


def is_anthropic(model: BaseChatModel) -> bool:
    """Whether a chat model is LangChain's for Claude, or a child of it (Bedrock's)."""
    kinds = ((kind.__module__.partition(".")[0], kind.__name__) for kind in type(model).__mro__)
    return ("langchain_anthropic", "ChatAnthropic") in kinds


def is_openais_own(model: BaseChatModel) -> bool:
    """Whether a model asks OpenAI itself: other servers of its API may refuse options that they do
    not know."""
    if not is_openai(model):
        return False
    client: Any = getattr(model, "root_async_client", None)
    host = str(client.base_url.host)
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def model_kwargs(model: BaseChatModel) -> Mapping[str, Any]:
    """Give what the user has a model send with each request."""
    return getattr(model, "model_kwargs", None) or {}


class Marked(RunnableBinding[Any, Any]):
    """A Claude whose requests have breakpoints. Callbacks see messages as they were given."""

    mark: Mapping[str, str]

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Ask, as the bound model does."""
        return await super().ainvoke(self._given(input, kwargs), config, **kwargs)

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Ask, as the bound model does."""
        async for part in super().astream(self._given(input, kwargs), config, **kwargs):
            yield part

    def _given(self, input: Any, kwargs: Mapping[str, Any]) -> Any:
        if isinstance(input, str) or MARK in kwargs:  # the user sets breakpoints
            return input
        return with_breakpoints(input, self.mark)


def with_breakpoints(messages: Sequence[BaseMessage], mark: Mapping[str, str]) -> list[BaseMessage]:
    """Mark the system's message, the last message, and the one that was last a turn ago.

    The earlier one is what the turn before has written: Anthropic looks for that in the last 20
    blocks only, and a turn with many tool calls has more.
    """
    places = {len(messages) - 1, _end_of_turn_before(messages)}
    places.update(
        index for index, message in enumerate(messages) if isinstance(message, SystemMessage)
    )
    return [
        _marked(message, mark) if index in places else message
        for index, message in enumerate(messages)
    ]


def _end_of_turn_before(messages: Sequence[BaseMessage]) -> int:
    """Give the number of the message before the model's last reply; -1 where there is none."""
    replies = (at for at, message in enumerate(messages) if isinstance(message, AIMessage))
    return max(replies, default=0) - 1


def _marked(message: BaseMessage, mark: Mapping[str, str]) -> BaseMessage:
    """Mark the end of a message. An empty text cannot be marked."""
    content: Any = message.content
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not is_list(content) or not content:
        return message
    last: Any = content[-1]
    if isinstance(last, str):
        last = {"type": "text", "text": last}
    if not is_dict(last) or last.get("text") == "":
        return message
    blocks: list[Any] = [*content[:-1], {**last, MARK: dict(mark)}]
    return message.model_copy(update={"content": blocks})


def _with_marked_tools(asked: Model, mark: Mapping[str, str]) -> Model:
    """Mark the last of the tools: all of them stand ahead of the system's message."""
    if not isinstance(asked, RunnableBinding):
        return asked
    tools: Any = asked.kwargs.get("tools")
    if not is_list(tools) or not tools or not is_dict(tools[-1]):
        return asked
    marked = [*tools[:-1], {**tools[-1], MARK: dict(mark)}]
    return asked.model_copy(update={"kwargs": {**asked.kwargs, "tools": marked}})
