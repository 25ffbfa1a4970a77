"""Answer call: the reply to a call of the chat model, by the root model alone or by a run."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace

from langchain_core.messages import AIMessageChunk

from langgraph_rlm.chat.calls import Call
from langgraph_rlm.chat.direct import (
    answer_directly,
    answer_directly_as,
    answer_directly_once,
    is_direct,
)
from langgraph_rlm.chat.ids import new_run_id
from langgraph_rlm.chat.next_question import open_named_run
from langgraph_rlm.chat.open_run import (
    begin_run,
    continue_run,
    find_or_begin_run,
    is_awaited,
)
from langgraph_rlm.chat.runs import NAME, lock_of
from langgraph_rlm.chat.tool_results import ToolResults, tool_results
from langgraph_rlm.chat.work_on_run import work_on_run
from langgraph_rlm.runtime.asked import asked_of
from langgraph_rlm.runtime.settings import RunSettings
from langgraph_rlm.runtime.variant import variant


async def answer_call(call: Call) -> AsyncGenerator[AIMessageChunk]:
    """Give the reply: progress as reasoning, then text or tool calls, then what it spent.

    Closing the iteration cancels the run.
    """
    async with AsyncExitStack() as held:
        reply = await _reply(await _with_settings(call), held)
        async with aclosing(reply) as chunks:
            async for chunk in chunks:
                yield chunk


async def _with_settings(call: Call) -> Call:
    """Check what the caller sets for this call, and give the call with it.

    Raises:
        SettingsError: a setting is not allowed.
    """
    home = call.home
    given = {} if home.settings is None else {NAME: home.settings}
    asked = asked_of(NAME, RunSettings, None, home.context, given, is_nested=True)
    own = await variant(call.chat.graphs.rlm, asked.settings)
    return call if own is call.rlm else replace(call, own=own)


async def _reply(call: Call, held: AsyncExitStack) -> AsyncGenerator[AIMessageChunk]:
    """Choose the way to answer, and give the reply.

    Args:
        call: the call.
        held: takes what has to be held while the reply is read.
    """
    results = _results(call)
    if results is not None and results.said and not await is_awaited(call, results):
        results = None
    if results is None and is_direct(call):
        if call.named is not None and call.named.is_kept:
            await held.enter_async_context(lock_of(call.home, call.named.run))
            return answer_directly_as(call, call.named.run)
        if call.task is None:
            return answer_directly(call)
        return answer_directly_once(call, call.task)
    if call.task is not None and call.chat.graphs.rlm.toolset.root:
        await held.enter_async_context(call.task.execution.lock)
    if results is not None:
        await held.enter_async_context(lock_of(call.home, results.run))
        opened = await continue_run(call, results)
    elif call.named is not None:
        await held.enter_async_context(lock_of(call.home, call.named.run))
        opened = await open_named_run(call, call.named)
    elif call.task is None:
        opened = await begin_run(call, new_run_id())
    else:
        digest = await asyncio.to_thread(lambda: call.digest)
        run = held.enter_context(call.task.run_for(digest))
        opened = await find_or_begin_run(call, run)
    return work_on_run(call, opened)


def _results(call: Call) -> ToolResults | None:
    """Give the results of tool calls in the call; none of them where a human answers a run."""
    if call.resumed is not None:
        return ToolResults(call.resumed.run)
    return tool_results(call.messages)
