"""Work on a run: continue it, have a human approve where needed, and reply with where it stands."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from langchain_core.messages import AIMessageChunk

from langgraph_rlm.chat.approvals import answers_of, human_request, is_call, round_of, subject_of
from langgraph_rlm.chat.calls import Call
from langgraph_rlm.chat.ids import call_id, thread_of
from langgraph_rlm.chat.isolation import isolated
from langgraph_rlm.chat.memory import in_use
from langgraph_rlm.chat.open_run import OpenRun, settings_of
from langgraph_rlm.chat.replies import (
    ReplyMetadata,
    RunEnd,
    cut_at,
    cut_to,
    estimated_since,
    final,
    progress_text,
    reasoning,
    usage_since,
)
from langgraph_rlm.chat.reply_files import blocks_of, reply_files
from langgraph_rlm.chat.requests import Settings, call_of
from langgraph_rlm.chat.runs import ChatRun
from langgraph_rlm.chat.tasks import Task
from langgraph_rlm.errors import ApprovalNeededError
from langgraph_rlm.log.places import turn_count
from langgraph_rlm.schemas.answers import text_of


async def work_on_run(call: Call, opened: OpenRun) -> AsyncGenerator[AIMessageChunk]:
    """Do what there is to do in a run, and reply.

    Raises:
        GraphInterrupt: a human has to decide, and the outer graph pauses.
        ApprovalNeededError: a human has to decide, and no graph is around that could pause.
    """
    run = opened.run
    with in_use(call.home.saver, thread_of(call.home.owner, run.id)) as use:
        if opened.has_work:
            async with aclosing(_progress(run, opened.given)) as chunks:
                async for chunk in chunks:
                    yield chunk
        async with aclosing(_approved(call, run)) as chunks:
            async for chunk in chunks:
                yield chunk
        ending = await _ending(call, run)
        use.is_over = opened.is_new and not run.open and call.named is None
        for chunk in ending:
            yield chunk


async def _progress(run: ChatRun, given: Any) -> AsyncGenerator[AIMessageChunk]:
    """Run on until the run ends or pauses, and show its progress as reasoning."""
    async with aclosing(isolated(lambda: run.work(given))) as events:
        async for event in events:
            text = progress_text(event)
            if text:
                yield reasoning(text)


# Approvals


async def _approved(call: Call, run: ChatRun) -> AsyncGenerator[AIMessageChunk]:
    """Have a human decide, round by round, until nothing waits for one."""
    if call.task is None:
        _check_nothing_to_approve(run)
        return
    async with aclosing(_approved_in(call.task, run)) as chunks:
        async for chunk in chunks:
            yield chunk


def _check_nothing_to_approve(run: ChatRun) -> None:
    """Raise `ApprovalNeededError` if the run waits for a human."""
    shown = round_of(run.open)
    if not shown:
        return
    request = human_request(shown)
    raise ApprovalNeededError(
        f"A human has to decide about {subject_of(request)} before the run continues. In a "
        "LangGraph graph with a checkpointer this is an interrupt; here, call "
        f"model.resume({run.id!r}, {{'decisions': [...]}}) with a decision for each.",
        run.id,
        request,
    )


async def _approved_in(task: Task, run: ChatRun) -> AsyncGenerator[AIMessageChunk]:
    """Take the answers to the rounds that this task has shown, in order, and show the next one.

    LangGraph runs a node again from its top after each answer, so each execution takes the answers
    from the first round on. What the run was given in an earlier execution waits no more: the
    answer to it is taken, and not used again.
    """
    run.record = run.record.within(task.key)
    for digests in run.record.rounds[task.used(run.id) :]:
        shown = {digest: pause for digest, pause in run.open.items() if digest in digests}
        answer = task.answer(run.id, shown)
        if not shown:
            continue
        command = run.resume(answers_of(shown, answer))
        if command is not None:
            async with aclosing(_progress(run, command)) as chunks:
                async for chunk in chunks:
                    yield chunk
    shown = round_of(run.open)
    if shown:
        await run.note(run.record.shown(list(shown)))
        task.ask(run.id, shown)


# The end of a reply


async def _ending(call: Call, run: ChatRun) -> list[AIMessageChunk]:
    """Say where the run stands: its tool calls that wait, or its answer."""
    values = run.values
    settings = await settings_of(call, run.record)
    if not run.open:
        # Nobody can continue this run: its interpreter, and the context in it, need not wait.
        sessions = call.chat.graphs.rlm.sessions
        await asyncio.to_thread(sessions.drop, values["trajectory"])
    reason = values.get("stop_reason") or "paused"
    calls = _waiting_calls(call, run) or _forced_calls(run, settings)
    answer = "" if calls else cut_at(_answer_text(run, settings), call.request.stop)
    text = cut_to(answer, call.max_tokens)
    is_whole = reason in ("answered", "paused") and text == answer
    metadata = ReplyMetadata(
        model_name=call.chat.name,
        finish_reason=_finish_reason(is_whole=is_whole, has_calls=bool(calls)),
        thread_id=thread_of(call.home.owner, run.id),
        turns=turn_count(values["log"]),
        sub_calls=values["usage"]["sub_calls"],
        stop_reason=reason,
        estimated_calls=estimated_since(run.record.before, values["usage"]),
    )
    if call.named is not None:
        metadata["run"] = RunEnd(run=run.id, checkpoint=run.checkpoint)
    if reason != "paused" and values.get("coverage"):
        metadata["coverage"] = values["coverage"]
    files, blocks = reply_files(run.id, values.get("files") or []), list[dict[str, Any]]()
    if files:
        metadata["files"] = files
    if files and call.chat.file_blocks:
        blocks = await asyncio.to_thread(blocks_of, files, call.chat.graphs.rlm.blobs)
    usage = usage_since(run.record.before, values["usage"])
    return final(text=text, calls=calls, blocks=blocks, usage=usage, metadata=metadata)


def _waiting_calls(call: Call, run: ChatRun) -> list[dict[str, Any]]:
    """Give the tool calls that the caller has to run."""
    waiting = [pause for pause in run.open.values() if is_call(pause)]
    if call.request.one_call_at_a_time:
        waiting = waiting[:1]
    return [
        {
            "name": pause.value["name"],
            "args": pause.value["args"],
            "id": call_id(run.id, pause.id),
        }
        for pause in waiting
    ]


def _forced_calls(run: ChatRun, settings: Settings) -> list[dict[str, Any]]:
    """Give the answer as the tool call that the caller asked for, if it did.

    The call's id does not lead back to the run, which has ended.
    """
    names = settings["calls"]
    value = run.values.get("structured_response")
    if not names or value is None:
        return []
    return [{**call_of(names, value), "id": f"call_{run.id}"}]


def _answer_text(run: ChatRun, settings: Settings) -> str:
    """Give the answer as text; a structured one as JSON."""
    value = run.values.get("structured_response")
    if settings["schema"] is None or value is None:
        return run.values["answer"]
    return text_of(value)


def _finish_reason(*, is_whole: bool, has_calls: bool) -> str:
    """Name why the reply ends, as OpenAI does."""
    if has_calls:
        return "tool_calls"
    return "stop" if is_whole else "length"
