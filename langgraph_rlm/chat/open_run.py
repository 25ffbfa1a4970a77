"""Open run: the run that a call belongs to, and what the call gives it. Runs nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from langgraph_rlm.chat.approvals import answers_of, round_of
from langgraph_rlm.chat.calls import Call
from langgraph_rlm.chat.follow_up import follow_up, is_known, with_follow_up
from langgraph_rlm.chat.messages_to_input import input_of
from langgraph_rlm.chat.requests import Settings, settings_from, settings_text
from langgraph_rlm.chat.run_records import RunRecord
from langgraph_rlm.chat.runs import ChatRun, saved_record, unknown_calls
from langgraph_rlm.chat.tool_results import ToolResults
from langgraph_rlm.log.entries import QuestionEntry
from langgraph_rlm.runtime.run import RunOptions
from langgraph_rlm.schemas.answers import Format, user_format


@dataclass(frozen=True)
class OpenRun:
    """The run of a call, and what there is to do in it."""

    run: ChatRun
    given: Any = None
    """Input of a new run, `Command` with answers, or None: it continues where it was cut off."""
    has_work: bool = True
    """False where the run has ended, or waits: then its reply is given again."""
    is_new: bool = False


@dataclass(frozen=True)
class Before:
    """What a thread has of the questions before a new one."""

    contexts: int = 0
    """How many contexts there are."""
    tools: Sequence[dict[str, Any]] = ()
    """OpenAI functions that code has called, and calls again where it is replayed."""


BEGINNING = Before()
"""Nothing: the question is the thread's first."""


async def begin_run(call: Call, id: str, before: Before = BEGINNING) -> OpenRun:
    """Make a new run, and its input.

    Args:
        call: asks the question.
        id: of the run.
        before: what the run's thread has already.
    """
    blobs = call.chat.graphs.rlm.blobs
    settings = call.request.after(before.tools)
    first = before.contexts
    given = await asyncio.to_thread(input_of, call.messages, call.chat.rule, blobs, first=first)
    digest = await asyncio.to_thread(blobs.put, settings_text(settings).encode())
    run = _opened(call, id, RunRecord(settings=digest), settings)
    return OpenRun(run, given, is_new=True)


async def find_or_begin_run(call: Call, id: str) -> OpenRun:
    """Find the run that this task began when it ran before; begin it where it did not."""
    record = await saved_record(id, call.home)
    if record is None:
        return await begin_run(call, id)
    return await found_run(call, id, record)


async def found_run(call: Call, id: str, record: RunRecord) -> OpenRun:
    """Open a run that was begun before: it continues where it was cut off, if it was."""
    run = await _reopened(call, id, record)
    return OpenRun(run, has_work=run.is_cut_off)


async def continue_run(call: Call, results: ToolResults) -> OpenRun:
    """Give a run the results of its tool calls, or a human's decisions.

    What was given before is not given again: the reply is what came of it the first time.

    Raises:
        UnknownToolCallError: there is no such run, or it did not make one of the calls.
        ResumeError: a human's answer has the wrong form.
    """
    record = await saved_record(results.run, call.home)
    if record is None:
        ids = [message.tool_call_id for message in results.messages.values()]
        raise unknown_calls(ids or [results.run])
    run = await _reopened(call, results.run, record)
    await run.check_known(results.messages)
    answers: dict[str, Any] = {**results.messages}
    if call.resumed is not None:
        shown = round_of(run.open)
        if shown:
            answers = answers_of(shown, call.resumed.answer)
    command = run.resume(answers)
    if command is None:
        return OpenRun(run, has_work=run.is_cut_off)
    update = {**await _changed_form(call, run), **await _more_said(call, run, results)}
    run.record = run.record.begun(run.values.get("usage"))
    return OpenRun(run, replace(command, update=update or None))


async def is_awaited(call: Call, results: ToolResults) -> bool:
    """Tell whether results that a user's words follow are the business of their run.

    They are if it waits for one of them, or has already taken up what the user says. Otherwise they
    are earlier history, such as that of a run whose answer was lost.
    """
    record = await saved_record(results.run, call.home)
    if record is None:
        return False
    run = await _reopened(call, results.run, record)
    if run.open.keys() & results.messages.keys():
        return True
    return is_known(run.values["log"], await _follow_up(call, run, results))


async def _more_said(call: Call, run: ChatRun, results: ToolResults) -> dict[str, Any]:
    """Give the update of a run's state by what a user says behind the results."""
    if not results.said:
        return {}
    log = with_follow_up(run.values["log"], await _follow_up(call, run, results))
    return {"log": log} if log else {}


async def _follow_up(call: Call, run: ChatRun, results: ToolResults) -> QuestionEntry:
    log, blobs = run.values["log"], call.chat.graphs.rlm.blobs
    return await asyncio.to_thread(follow_up, results.said, call.chat.rule, log, blobs)


async def _changed_form(call: Call, run: ChatRun) -> dict[str, Any]:
    """Give the update of a run's state by the form that the answer now has to have."""
    schema = None
    if run.form is not None:
        schema = await call.chat.graphs.rlm.blobs.keep(run.form.text)
    if schema == run.values.get("answer_schema"):
        return {}
    return {"answer_schema": schema, "structured_response": None}


async def settings_of(call: Call, record: RunRecord) -> Settings:
    """Read what a run was begun with, and add the tools that are bound since."""
    text = await asyncio.to_thread(call.chat.graphs.rlm.blobs.get, record.settings)
    return call.request.continued(settings_from(text))


async def _reopened(call: Call, id: str, record: RunRecord) -> ChatRun:
    run = _opened(call, id, record, await settings_of(call, record))
    await run.refresh()
    return run


def _opened(call: Call, id: str, record: RunRecord, settings: Settings) -> ChatRun:
    graph = call.chat.graphs.with_tools(settings["tools"])
    options = RunOptions(call.request.turn_options, _form(call, settings), budget=call.budget)
    return ChatRun(id, call.home, graph, options, record)


def _form(call: Call, settings: Settings) -> Format | None:
    """Give the form of a run's answer.

    Where the call asks for the same form, its own is used: it may be a class with validators.
    """
    schema = settings["schema"]
    if schema is None:
        return None
    own = call.request.form
    if own is not None and own.schema == schema:
        return own
    return user_format(schema)
