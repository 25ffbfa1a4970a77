"""Ask: the one way to call a model, whole or as a stream, whatever stands behind its name.

What comes is always LangChain's AI message with ordinary tool calls (`tool_calls.py`); what a
model's client raises is marked as such (`failures.py`), and nothing else is.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp

from langgraph_rlm.errors import ModelReplyError, shown
from langgraph_rlm.models.caching import Cached, cached
from langgraph_rlm.models.failures import of_model
from langgraph_rlm.models.sampling import EXTRA_BODY, SAMPLING, sampled
from langgraph_rlm.models.tool_calls import CallStream, ids_in, pieces_of, with_ordinary_calls
from langgraph_rlm.models.tool_options import tool_options_of
from langgraph_rlm.models.wrapped import Model, chat_models_of, is_openai, mapped, model_name
from langgraph_rlm.pregel.keys import uses_responses_api

Prompt = str | Sequence[BaseMessage]


async def ask(
    model: Model,
    prompt: Prompt,
    config: RunnableConfig,
    *,
    tools: Sequence[Any] = (),
    tool_options: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    response_format: Mapping[str, Any] | None = None,
    conversation: Cached | None = None,
) -> AIMessage:
    """Call a model once, and give its whole reply.

    Args:
        model: usable on this event loop: see `http_clients.py`.
        prompt: a text, or messages.
        config: of whoever calls.
        tools: OpenAI functions that it may call.
        tool_options: such as `tool_choice`, in OpenAI's forms.
        options: sampling parameters: under their own names as they are, under `SAMPLING` as far as
            the model has them.
        response_format: OpenAI's, for models that take it: see `takes_formats`.
        conversation: that the prompt is a part of, where its beginning will be sent again.

    Raises:
        Exception: what the model's client raised, marked.
    """
    asked, given = _prepared(
        model, tools, tool_options or {}, options or {}, response_format, conversation
    )
    try:
        reply = _as_message(await asked.ainvoke(prompt, config, **given))
    except GraphBubbleUp:
        raise
    except Exception as error:
        of_model(error, model_name(model))
        raise
    if not (reply.tool_calls or reply.invalid_tool_calls):
        return reply  # whose ids are taken matters to calls alone: a prompt may be long
    return with_ordinary_calls(reply, _taken(prompt))


async def ask_streaming(
    model: Model,
    prompt: Prompt,
    config: RunnableConfig,
    *,
    tools: Sequence[Any] = (),
    tool_options: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> AsyncGenerator[AIMessageChunk]:
    """Call a model once, and give its reply in the pieces that it comes in; see `ask`."""
    asked, given = _prepared(model, tools, tool_options or {}, options or {})
    calls = CallStream(_taken(prompt))
    stream: Any = asked.astream(prompt, config, **given)
    try:
        async with aclosing(stream) as parts:
            async for part in parts:
                chunk = _as_chunk(part)
                ordinary = calls.feed([{**piece} for piece in chunk.tool_call_chunks])
                yield chunk.model_copy(update={"tool_call_chunks": ordinary})
    except GraphBubbleUp:
        raise
    except Exception as error:
        of_model(error, model_name(model))
        raise


def takes_formats(model: Model) -> bool:
    """Whether a model takes OpenAI's `response_format`, and all of its fallbacks do.

    Others are told the schema in the prompt.
    """
    return all(is_openai(each) for each in chat_models_of(model))


def _taken(prompt: Prompt) -> set[str]:
    return set() if isinstance(prompt, str) else ids_in(prompt)


def _prepared(
    model: Model,
    tools: Sequence[Any],
    tool_options: Mapping[str, Any],
    options: Mapping[str, Any],
    response_format: Mapping[str, Any] | None = None,
    conversation: Cached | None = None,
) -> tuple[Model, dict[str, Any]]:
    """Give a model with tools and parameters, and what goes with the call."""
    given = dict(options)
    sampling = given.pop(SAMPLING, {})

    def prepared(each: BaseChatModel) -> Model:
        each, more = sampled(each, sampling)
        if response_format is not None:
            more |= _with_format(each, response_format, more, tools)
        asked: Model = each
        if tools:
            asked = each.bind_tools(tools, **tool_options_of(each, tool_options))
        if more:
            asked = asked.bind(**more)
        return asked if conversation is None else cached(each, asked, conversation)

    return mapped(model, prepared), given


def _with_format(
    model: BaseChatModel,
    response_format: Mapping[str, Any],
    given: Mapping[str, Any],
    tools: Sequence[Any],
) -> dict[str, Any]:
    """Give what tells an OpenAI model the form of its reply.

    As an argument of its own, OpenAI's client would read the reply by it: it raises where the reply
    was cut off, and refuses tools beside it.
    """
    if uses_responses_api(model, tools):
        return {"response_format": dict(response_format)}
    body: dict[str, Any] = given.get(EXTRA_BODY) or getattr(model, EXTRA_BODY, None) or {}
    return {EXTRA_BODY: {**body, "response_format": dict(response_format)}}


def _as_message(reply: object) -> AIMessage:
    """Give a reply as an AI message; some models reply with a role of their own."""
    if isinstance(reply, AIMessage):
        return reply
    if isinstance(reply, BaseMessage):
        return AIMessage(str(reply.text))
    raise ModelReplyError(f"The model gave no message, but {shown(reply)}.")


def _as_chunk(part: object) -> AIMessageChunk:
    """Give a part of a stream as a chunk. A model that does not stream gives one whole message."""
    if isinstance(part, AIMessageChunk):
        return part
    whole = _as_message(part)
    return AIMessageChunk(
        content=whole.content,
        additional_kwargs=whole.additional_kwargs,
        response_metadata=whole.response_metadata,
        usage_metadata=whole.usage_metadata,
        tool_call_chunks=pieces_of(whole),
        name=whole.name,
        id=whole.id,
    )
