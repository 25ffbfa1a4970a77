"""Direct: a short input goes to the root model as it is, without the loop.

On short inputs, by published results, RLMs do worse than the plain model.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import add_ai_message_chunks

from langgraph_rlm.chat.answer_in_form import answer_in_form
from langgraph_rlm.chat.calls import Call
from langgraph_rlm.chat.isolation import isolated
from langgraph_rlm.chat.model_reply import Said, shown
from langgraph_rlm.chat.replies import ReplyMetadata, final
from langgraph_rlm.chat.requests import Request
from langgraph_rlm.chat.run_records import keep_reply, kept_reply
from langgraph_rlm.chat.sendable import sendable
from langgraph_rlm.chat.shapes import chars_in, texts_of
from langgraph_rlm.chat.tasks import Task
from langgraph_rlm.chat.told import direct_call, direct_work, note_reply, with_waits_told
from langgraph_rlm.errors import ModelReplyError
from langgraph_rlm.log.thought_stream import ThoughtStream
from langgraph_rlm.log.thoughts import without_thoughts
from langgraph_rlm.models.ask import ask_streaming
from langgraph_rlm.models.wrapped import Model, takes_tools
from langgraph_rlm.runtime.windows import BYTES_PER_TOKEN
from langgraph_rlm.telemetry.marks import marked

# Which calls are direct


def is_direct(call: Call) -> bool:
    """Tell whether a call may go straight to the root model.

    A model's own tools are called from code, so they need the loop. So do bound tools that the
    model cannot call itself.
    """
    if call.named is not None and call.named.after is not None:
        return False  # what the question is about may be in the variables of the run before
    rlm = call.rlm
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
    for text in chain(*map(texts_of, messages), schemas):
        if len(text) > left:
            return False
        left -= len(text.encode("utf-8", "surrogatepass"))
        if left <= 0:
            return False
    return True


# Answering them


def answer_directly(call: Call) -> AsyncGenerator[AIMessageChunk]:
    """Give the root model's reply, as it comes.

    Raises:
        ModelReplyError: what came is not a reply.
        Exception: whatever the model's client raised.
    """
    model = call.rlm.root_model(0, None)
    return isolated(lambda: _reply(call, model))


async def answer_directly_once(call: Call, task: Task) -> AsyncGenerator[AIMessageChunk]:
    """Give the root model's reply and keep it, for when LangGraph runs the task again."""
    with task.run_for(call.digest) as run:
        async with aclosing(answer_directly_as(call, run)) as chunks:
            async for chunk in chunks:
                yield chunk


async def answer_directly_as(call: Call, run: str) -> AsyncGenerator[AIMessageChunk]:
    """Give the root model's reply and keep it under the id of a run: it is given again where there
    is one."""
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


async def _reply(call: Call, model: Model) -> AsyncGenerator[AIMessageChunk]:
    said = Said()
    if call.request.form is not None and not call.request.forced:
        parts = answer_in_form(call, model, call.request.form, said)
    elif call.is_streamed:
        parts = _streamed(call, model, said)
    else:
        parts = _whole(call, model, said)
    async with aclosing(parts) as chunks:
        async for chunk in chunks:
            yield chunk
    for chunk in final(usage=said.usage, metadata=_metadata(call, said)):
        yield chunk


async def _streamed(call: Call, model: Model, said: Said) -> AsyncGenerator[AIMessageChunk]:
    """Give the text and the tool calls of a model's reply, as they come."""
    thoughts = ThoughtStream(is_inside=call.chat.graphs.thinks_at_once)
    async with aclosing(_asked(call, model, said)) as chunks:
        async for chunk in chunks:
            for part in _shown(call, chunk, thoughts.feed, said):
                yield part
    rest = thoughts.end()
    if rest:
        said.has_text = True
        yield AIMessageChunk(content=rest)
    _remember(call, thoughts)
    _check_calls(call.request, said)


async def _whole(call: Call, model: Model, said: Said) -> AsyncGenerator[AIMessageChunk]:
    """Give the same when all of it is there: thoughts that the model's chat template opened are
    then known as such by their end."""
    async with aclosing(_asked(call, model, said)) as asked:
        chunks = [chunk async for chunk in asked]
    text = "".join(str(chunk.text) for chunk in chunks)
    reply = without_thoughts(text)
    has_thoughts = reply != text
    for chunk in chunks:
        for part in _shown(call, chunk, (lambda _: "") if has_thoughts else str, said):
            yield part
    if has_thoughts and reply:
        said.has_text = True
        yield AIMessageChunk(content=reply)
    if has_thoughts:
        thoughts = ThoughtStream()
        thoughts.feed(text)
        _remember(call, thoughts)
    _check_calls(call.request, said)


def _remember(call: Call, thoughts: ThoughtStream) -> None:
    """Remember of a model that its chat template opens thoughts: its next stream begins in one."""
    graphs = call.chat.graphs
    graphs.thinks_at_once = graphs.thinks_at_once or thoughts.had_no_opening


def _shown(
    call: Call, chunk: AIMessageChunk, cleaned: Callable[[str], str], said: Said
) -> Iterator[AIMessageChunk]:
    """Give what of a model's chunk the caller sees, if anything."""
    part = shown(chunk, cleaned)
    taken = call.request.taken_pieces(part.tool_call_chunks)
    if len(taken) < len(part.tool_call_chunks):
        part = part.model_copy(update={"tool_call_chunks": taken})
    if part.content or part.tool_call_chunks or part.additional_kwargs:
        said.note_shown(part)
        yield part


async def _asked(call: Call, model: Model, said: Said) -> AsyncGenerator[AIMessageChunk]:
    request, messages = call.request, sendable(call.messages)
    work = direct_work(call, model, messages)
    prompt_chars = chars_in(call.messages)
    seen = list[AIMessageChunk]()
    async with direct_call(call, work, prompt_chars, seen):
        stream = ask_streaming(
            model,
            messages,
            with_waits_told(marked(call.home.inner_config(), work), work),
            tools=request.tools,
            tool_options=request.tool_options,
            options=call.model_options,
        )
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                said.add(chunk)
                seen.append(chunk)
                yield chunk
        said.end_reply(prompt_chars)
        if seen:
            note_reply(work, call, add_ai_message_chunks(*seen), prompt_chars)


def _check_calls(request: Request, said: Said) -> None:
    """Refuse a reply that is a call of tools that were not there; beside a text it is left out.

    Raises:
        ModelReplyError: the reply has nothing else.
    """
    if said.called and not request.tools and not said.has_text:
        names = ", ".join(map(repr, said.called))
        raise ModelReplyError(
            f"The model called {names}, though it was given no tools, and said nothing else. Ask "
            "again, or another model."
        )


def _metadata(call: Call, said: Said) -> Mapping[str, Any]:
    """Complete a provider's metadata by what every reply has."""
    ours = ReplyMetadata(
        model_name=call.chat.name,
        finish_reason=said.finish_reason(has_calls=bool(said.called and call.request.tools)),
        thread_id=None,
        turns=0,
        sub_calls=0,
        stop_reason="answered",
        estimated_calls=said.estimated_calls,
    )
    return {**said.metadata, **ours}
