"""Next question: a run that the caller names, perhaps as the next question of one that has ended.

It begins as a copy of that run on a thread of its own, so that the same run may be followed by
several questions, also at once, and stays as it is for each of them. Asks no model.
"""

import asyncio
from typing import Any

from langgraph_rlm.chat.calls import Call, Ended, Named
from langgraph_rlm.chat.open_run import BEGINNING, Before, OpenRun, begin_run, found_run
from langgraph_rlm.chat.requests import Settings, settings_from
from langgraph_rlm.chat.run_records import record_of
from langgraph_rlm.chat.runs import saved_record
from langgraph_rlm.errors import UnknownToolCallError
from langgraph_rlm.log.places import questions_of

NOT_COPIED = frozenset({"query", "context", "messages", "instructions"})
"""Channels of one question alone. Instructions belong to the call that gave them."""
LAST_NODE = "finalize"
"""The node that the copied state is written as: nothing is left to do after it."""


async def open_named_run(call: Call, named: Named) -> OpenRun:
    """Find the run of a name, which continues where it was cut off; begin it where there is none.

    Raises:
        UnknownToolCallError: there is no such run before it.
    """
    record = await saved_record(named.run, call.home)
    if record is not None and record.settings:  # a copy without a question has no settings yet
        return await found_run(call, named.run, record)
    before = BEGINNING
    if named.after is not None:
        before = await _copied(call, named.after, named.run)
    return await begin_run(call, named.run, before)


async def _copied(call: Call, ended: Ended, id: str) -> Before:
    """Copy where a run has ended to the thread of a new one."""
    base = call.chat.graphs.with_tools([]).copy(
        {"checkpointer": call.home.saver, "store": call.home.store}
    )
    at: Any = call.home.config(ended.run)
    at["configurable"]["checkpoint_id"] = ended.checkpoint
    saved = await call.home.saver.aget_tuple(at)
    if saved is None:
        raise UnknownToolCallError(
            f"The run {ended.run!r} is not here any more: its thread was deleted. Ask anew, with "
            "the whole conversation."
        )
    state = await base.aget_state(at)
    values = {name: value for name, value in state.values.items() if name not in NOT_COPIED}
    await base.aupdate_state(call.home.config(id), values, as_node=LAST_NODE)
    contexts = sum(len(question["contexts"]) for question in questions_of(values["log"]))
    settings = await _settings(call, record_of(saved).settings)
    return Before(contexts, settings["tools"])


async def _settings(call: Call, digest: str) -> Settings:
    return settings_from(await asyncio.to_thread(call.chat.graphs.rlm.blobs.get, digest))
