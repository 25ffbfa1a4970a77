"""Direct: a short input goes to the root model as it is, without the loop.

On short inputs, by published results, RLMs do worse than the plain model.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata, add_usage

from langgraph_rlm.chat.calls import Call
from langgraph_rlm.chat.isolation import isolated
from langgraph_rlm.chat.replies import ReplyMetadata, final
from langgraph_rlm.chat.requests import Request
from langgraph_rlm.chat.run_records import keep_reply, kept_reply
from langgraph_rlm.chat.shapes import blocks_of
from langgraph_rlm.chat.tasks import Task
from langgraph_rlm.models.resolve import takes_tools
from langgraph_rlm.runtime.structured_query import structured_query
from langgraph_rlm.schemas.answers import Format

BYTES_PER_TOKEN = 4
"""Bytes of UTF-8, as inputs are counted."""

FINISH_REASONS = {"tool_use": "tool_calls", "max_tokens": "length", "end_turn": "stop"}
"""OpenAI's names of other providers' reasons to stop."""


# Which calls are direct


def is_direct(call: Call) -> bool:
    """Tell whether a call may go straight to the root model.

    A model's own tools are called from code, so they need the loop. So do bound tools that the
    model cannot call itself.
    """
    rlm = call.chat.graphs.rlm
    tokens = call.chat.direct_below_tokens
    if rlm.toolset.root:
        return False
    if call.request.tools and not takes_tools(rlm.model):
        return False
    return tokens > 0 and _is_short(call.messages, call.request, tokens)


def _is_short(messages: Sequence[BaseMessage], request: Request, tokens: int) -> bool:
    """Tell whether an input, schemas included, is below `tokens`."""
    schemas = (str(request.tools), str(request.response_format or ""))
    left = tokens * BYTES_PER_TOKEN
    for text in chain(*map(_texts, messages), schemas):
        if len(text) > left:
            return False
        left -= len(text.encode("utf-8", "surrogatepass"))
        if left <= 0:
            return False
    return True


def _texts(message: BaseMessage) -> Iterator[str]:
    """Give the texts of a message where they are.

    `message.text` would copy them, and 100 MB take a third of a second.
    """
    for block in blocks_of(message):
        text = block if isinstance(block, str) else block.get("text")
        if isinstance(text, str):
            yield text


# Answering them


def answer_directly(call: Call) -> AsyncGenerator[AIMessageChunk]:
    """Give the root model's reply, as it comes."""
    model = call.chat.graphs.rlm.root_model(0, None)
    return isolated(lambda: _reply(call, model))


async def answer_directly_once(call: Call, task: Task) -> AsyncGenerator[AIMessageChunk]:
    """Give the root model's reply and keep it, for when LangGraph runs the task again."""
    with task.run_for(call.digest) as run:
        config = call.home.config(run)
        kept = await kept_reply(call.home.saver, config)
        if kept is not None:
            yield kept
            return
        whole: AIMessageChunk | None = None
        async with aclosing(answer_directly(call)) as chunks:
            async for chunk in chunks:
                whole = chunk if whole is None else whole + chunk
                yield chunk
        if whole is not None:
            await keep_reply(call.home.saver, config, whole)


@dataclass
class _Spent:
    """What a provider says of its replies beside their text."""

    usage: UsageMetadata | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])

    def add(self, reply: AIMessage) -> None:
        """Add the usage of a reply or a chunk, and take its metadata."""
        if reply.usage_metadata:
            self.usage = add_usage(self.usage, reply.usage_metadata)
        self.metadata.update(reply.response_metadata)


async def _reply(call: Call, model: BaseChatModel) -> AsyncGenerator[AIMessageChunk]:
    request = call.request
    spent = _Spent()
    if request.form is not None and not request.forced and not _takes_formats(model):
        parts = _checked(call, model, request.form, spent)
    else:
        parts = _streamed(call, model, spent)
    async with aclosing(parts) as chunks:
        async for chunk in chunks:
            yield chunk
    for chunk in final(usage=spent.usage, metadata=_metadata(call, spent.metadata)):
        yield chunk


def _takes_formats(model: BaseChatModel) -> bool:
    """Tell whether a model takes OpenAI's `response_format`.

    Others are told the schema, and their reply is checked.
    """
    return getattr(model, "root_async_client", None) is not None


async def _streamed(
    call: Call, model: BaseChatModel, spent: _Spent
) -> AsyncGenerator[AIMessageChunk]:
    """Give the text and the tool calls of a model's reply, as they come."""
    request = call.request
    options = dict(request.options)
    if request.response_format is not None and not request.forced:
        options["response_format"] = request.response_format
    if _takes_formats(model):
        options["stream_usage"] = True
    bound: Any = model
    if request.tools:
        bound = model.bind_tools(request.tools, **request.tool_options)
    config = call.home.inner_config()
    stream = bound.astream(call.messages, config, stop=request.stop or None, **options)
    async with aclosing(stream) as chunks:
        async for chunk in chunks:
            spent.add(chunk)
            plain = _plain(chunk)
            if plain.content or plain.tool_call_chunks or plain.additional_kwargs:
                yield plain


def _plain(chunk: AIMessageChunk) -> AIMessageChunk:
    """Take out of a chunk what the last chunk of our reply says for all."""
    without = dict[str, Any](
        usage_metadata=None, response_metadata={}, chunk_position=None, id=None
    )
    return chunk.model_copy(update=without)


async def _checked(
    call: Call, model: BaseChatModel, form: Format, spent: _Spent
) -> AsyncGenerator[AIMessageChunk]:
    """Give the reply of a model that is told the schema, and asked again if it does not match."""
    request = call.request
    config = call.home.inner_config()

    async def ask(given: list[AnyMessage]) -> str:
        messages = [*call.messages, *given]
        stop = request.stop or None
        reply = await model.ainvoke(messages, config, stop=stop, **request.options)
        spent.add(reply)
        return str(reply.text)

    text = await structured_query("Answer the conversation above.", form, ask)
    if text:
        yield AIMessageChunk(content=text)


def _metadata(call: Call, provider: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a provider's metadata by what every reply has."""
    reason = provider.get("finish_reason") or provider.get("stop_reason")
    ours = ReplyMetadata(
        model_name=call.chat.name,
        finish_reason=FINISH_REASONS.get(str(reason), reason) or "stop",
        thread_id=None,
        turns=0,
        sub_calls=0,
        stop_reason="answered",
    )
    return {**provider, **ours}
