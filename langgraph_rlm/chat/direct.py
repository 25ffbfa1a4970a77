"""Direct: a short input goes to the root model as it is, without the loop: published results have RLMs behind the plain model there."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.runnables import RunnableConfig

from langgraph_rlm.chat.replies import final
from langgraph_rlm.chat.requests import Request
from langgraph_rlm.pregel.keys import NO_STREAM
from langgraph_rlm.runtime.structured_query import structured_query
from langgraph_rlm.schemas.answers import Format

CHARS_PER_TOKEN = 4


def is_short(messages: Sequence[BaseMessage], request: Request, tokens: int) -> bool:
    """Whether an input, the tools' schemas included, is below `tokens`; counted as four bytes of UTF-8 each."""
    left = tokens * CHARS_PER_TOKEN
    for text in chain(
        *map(_texts, messages), (str(request.tools), str(request.response_format or ""))
    ):
        left -= len(text) if len(text) > left else len(text.encode("utf-8", "surrogatepass"))
        if left <= 0:
            return False
    return True


def _texts(message: BaseMessage) -> Iterator[str]:
    """The texts of a message where they are: `message.text` copies them, and 100 MB take a third of a second."""
    for block in cast(
        Sequence[Any], [message.content] if isinstance(message.content, str) else message.content
    ):
        text = block if isinstance(block, str) else block.get("text")
        if isinstance(text, str):
            yield text


def takes_formats(model: BaseChatModel) -> bool:
    """Whether a model takes OpenAI's `response_format`; others are told the schema, and their reply is checked."""
    return getattr(model, "root_async_client", None) is not None


async def direct(
    model: BaseChatModel,
    messages: list[BaseMessage],
    request: Request,
    callbacks: Any,
    describe: Callable[[dict[str, Any]], dict[str, Any]],
) -> AsyncIterator[AIMessageChunk]:
    """The root model's reply, as it comes.

    Args:
        model: the root model, usable on this loop.
        messages: as the caller gave them.
        request: the call's options.
        callbacks: for the model's own run.
        describe: completes the metadata of the reply.
    """
    config: RunnableConfig = {"tags": [NO_STREAM]}
    if callbacks is not None:
        config["callbacks"] = callbacks
    if request.form is not None and not request.forced and not takes_formats(model):
        async for chunk in _checked(model, messages, request, request.form, config, describe):
            yield chunk
        return
    options = dict(request.options)
    if request.response_format is not None and not request.forced:
        options["response_format"] = request.response_format
    if takes_formats(model):
        options["stream_usage"] = True
    bound = cast(
        Any, model.bind_tools(request.tools, **request.tool_options) if request.tools else model
    )
    usage: UsageMetadata | None = None
    metadata: dict[str, Any] = {}
    async with aclosing(
        bound.astream(messages, config, stop=request.stop or None, **options)
    ) as chunks:
        async for chunk in chunks:
            usage = add_usage(usage, chunk.usage_metadata) if chunk.usage_metadata else usage
            metadata.update(chunk.response_metadata)
            plain = chunk.model_copy(
                update={
                    "usage_metadata": None,
                    "response_metadata": {},
                    "chunk_position": None,
                    "id": None,
                }
            )
            if plain.content or plain.tool_call_chunks or plain.additional_kwargs:
                yield plain
    for chunk in final(usage=usage, metadata=describe(metadata)):
        yield chunk


async def _checked(
    model: BaseChatModel,
    messages: list[BaseMessage],
    request: Request,
    form: Format,
    config: RunnableConfig,
    describe: Callable[[dict[str, Any]], dict[str, Any]],
) -> AsyncIterator[AIMessageChunk]:
    """The reply of a model that is told the schema, asked again where it does not match."""
    usage: UsageMetadata | None = None
    metadata: dict[str, Any] = {}

    async def call(given: list[Any]) -> str:
        nonlocal usage
        reply: AIMessage = await model.ainvoke(
            [*messages, *given], config, stop=request.stop or None, **request.options
        )
        usage = add_usage(usage, reply.usage_metadata) if reply.usage_metadata else usage
        metadata.update(reply.response_metadata)
        return str(reply.text)

    text = await structured_query("Answer the conversation above.", form, call)
    for chunk in final(text=text, usage=usage, metadata=describe(metadata)):
        yield chunk
