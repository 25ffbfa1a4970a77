"""Coverage at the end of an RLM: the root's shares, for its caller; a child's ranges, for its
parent. Never keeps an answer back."""

import asyncio

from langgraph_rlm.coverage.of_log import Covered, covered
from langgraph_rlm.coverage.shares import seen_by_models, shares_of
from langgraph_rlm.errors import BlobError
from langgraph_rlm.log.grown import merge_log
from langgraph_rlm.log.places import questions_of
from langgraph_rlm.repl.base import capacity_of
from langgraph_rlm.repl.host import is_loaded
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import RLMState, RLMUpdate, changed


async def with_coverage(update: RLMUpdate, state: RLMState, rlm: RLMRuntime) -> RLMUpdate:
    """Add what of its contexts an RLM has covered to what it gives.

    Nothing is added where there are no contexts, or the store has lost one: the answer is given all
    the same.

    Args:
        update: what the RLM gives, its last turn included.
        state: before it.
        rlm: its runtime.
    """
    log = merge_log(state["log"], [update.get("log", {})])
    if not any(question["contexts"] for question in questions_of(log)):
        return update
    try:
        return update | await asyncio.to_thread(_coverage, changed(state, log=log), rlm)
    except BlobError:
        return update


def _coverage(state: RLMState, rlm: RLMRuntime) -> RLMUpdate:
    known = _covered(state, rlm)
    if state.get("depth", 0):
        seen = seen_by_models(known)
        return RLMUpdate(seen=seen) if seen else RLMUpdate()
    shares = shares_of(known, rlm.blobs)
    return RLMUpdate() if shares is None else RLMUpdate(coverage=shares)


def _covered(state: RLMState, rlm: RLMRuntime) -> Covered:
    log = state["log"]
    capacity, limits = capacity_of(rlm.sandbox(log)), rlm.limits_in(log)
    return covered(
        log,
        rlm.blobs,
        is_loaded=lambda handle: is_loaded(handle, limits, capacity),
        output_chars=rlm.output_chars(state.get("depth", 0), state.get("model")),
    )
