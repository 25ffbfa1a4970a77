"""Answer in form: a direct reply that has to have a form, checked, and asked for again if wrong.

It is held to its form as the answer of a run is. What no further try would mend is passed on as it
is, with OpenAI's reason: a reply that was cut off, filtered or refused.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage

from langgraph_rlm.chat.calls import Call
from langgraph_rlm.chat.model_reply import REFUSAL, Said, refusal_in
from langgraph_rlm.chat.sendable import sendable
from langgraph_rlm.chat.shapes import blocks_of, chars_in
from langgraph_rlm.chat.told import direct_call, direct_work, note_reply, with_waits_told
from langgraph_rlm.errors import InputError, ModelReplyError, shown
from langgraph_rlm.log.thoughts import without_thoughts
from langgraph_rlm.models.ask import ask, takes_formats
from langgraph_rlm.models.replies import shortfall_of
from langgraph_rlm.models.tool_calls import pieces_of
from langgraph_rlm.models.wrapped import Model
from langgraph_rlm.prompts import reply_schema_prompt
from langgraph_rlm.runtime.structured_query import TRIES, asked_again
from langgraph_rlm.schemas.answers import Format, Hopeless, Mismatch, json_of
from langgraph_rlm.telemetry.marks import marked


async def answer_in_form(
    call: Call, model: Model, form: Format, said: Said
) -> AsyncGenerator[AIMessageChunk]:
    """Give the reply when it is whole.

    Args:
        call: that asks for the form.
        model: usable on this event loop.
        form: of the answer.
        said: takes what each try has spent.

    Raises:
        InputError: no reply can have the form: the schema itself is wrong.
        ModelReplyError: no reply had the form.
        Exception: whatever the model's client raised.
    """
    messages = _first(call, model, form)
    problem = text = ""
    for _ in range(TRIES):
        reply = await _ask(call, model, messages)
        said.called.clear()
        said.add(reply)
        said.end_reply(chars_in(messages))
        if _is_to_pass(call, reply):
            yield _passed(call, reply, said)
            return
        text = without_thoughts(str(reply.text)).strip()
        try:
            value = await asyncio.to_thread(form.read, text)
        except Hopeless as hopeless:
            raise InputError(f"response_format: {hopeless}") from hopeless
        except Mismatch as mismatch:
            problem = str(mismatch)
            messages = [*messages, *asked_again(text, problem)]
            continue
        yield AIMessageChunk(content=json_of(value))
        return
    raise ModelReplyError(
        f"The model gave no answer of the form that was asked for, in {TRIES} tries. It said: "
        f"{shown(text)}. What was wrong: {problem}. Ask for a simpler form, or ask another model."
    )


def _first(call: Call, model: Model, form: Format) -> Sequence[BaseMessage]:
    """Give the messages of the first try: where the model is not told the form by its API, they
    say it."""
    if takes_formats(model):
        return sendable(call.messages)
    asked = "Answer the conversation above."
    if call.request.tools:
        asked = "Answer the conversation above, or call a tool first."
    return _told(sendable(call.messages), reply_schema_prompt(prompt=asked, schema=form.text))


def _told(messages: Sequence[BaseMessage], text: str) -> Sequence[BaseMessage]:
    """Say something at the end of a conversation. Some chat templates refuse two messages of one
    role in a row, so it is added to a human's last one."""
    last = messages[-1]
    if not isinstance(last, HumanMessage):
        return [*messages, HumanMessage(text)]
    blocks: list[Any] = [*blocks_of(last), text]
    content: Any = blocks
    if all(isinstance(block, str) for block in blocks):
        content = "\n\n".join(blocks)
    else:
        content = [_as_part(block) for block in blocks]
    return [*messages[:-1], last.model_copy(update={"content": content})]


def _as_part(block: Any) -> Any:
    return {"type": "text", "text": block} if isinstance(block, str) else block


async def _ask(call: Call, model: Model, messages: Sequence[BaseMessage]) -> AIMessage:
    request = call.request
    response_format = request.response_format if takes_formats(model) else None
    work = direct_work(call, model, messages)
    prompt_chars = chars_in(messages)
    async with direct_call(call, work, prompt_chars):
        reply = await ask(
            model,
            messages,
            with_waits_told(marked(call.home.inner_config(), work), work),
            tools=request.tools,
            tool_options=request.tool_options,
            options=call.model_options,
            response_format=response_format,
        )
        note_reply(work, call, reply, prompt_chars)
    return reply


def _is_to_pass(call: Call, reply: AIMessage) -> bool:
    """Whether a reply is what it is, and no further try would mend it."""
    has_calls = bool(reply.tool_calls or reply.invalid_tool_calls)
    return (has_calls and bool(call.request.tools)) or shortfall_of(reply) is not None


def _passed(call: Call, reply: AIMessage, said: Said) -> AIMessageChunk:
    refusal = refusal_in(reply)
    said.has_text = True
    return AIMessageChunk(
        content=without_thoughts(str(reply.text)),
        additional_kwargs={REFUSAL: refusal} if refusal else {},
        tool_call_chunks=call.request.taken_pieces(pieces_of(reply)),
    )
