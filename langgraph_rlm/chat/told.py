"""Told: a direct call of the root model, as observers and budgets are told of it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.runnables import RunnableConfig

from langgraph_rlm.budget.ledger import Ledger
from langgraph_rlm.chat.calls import Call
from langgraph_rlm.models.patience import answered_by, telling
from langgraph_rlm.models.wrapped import Model, model_name
from langgraph_rlm.telemetry.observers import at_work, happened
from langgraph_rlm.telemetry.work import Event, Where, Work


def direct_work(call: Call, model: Model, messages: Sequence[BaseMessage]) -> Work:
    """Give the piece of work that one direct call is."""
    asked: Any = list(messages)
    options = call.model_options
    work = Work("model", "direct", Where(conversation=call.home.thread))
    work.model, work.client = options.get("model") or model_name(model), model
    work.given = asked
    return work


def with_waits_told(config: RunnableConfig, work: Work) -> RunnableConfig:
    """Give the config of a direct call, whose waits are told."""
    return telling(config, lambda wait: happened(Event("wait", str(wait), work)))


@asynccontextmanager
async def direct_call(
    call: Call, work: Work, prompt_chars: int, seen: Sequence[AIMessageChunk] = ()
) -> AsyncGenerator[None]:
    """Tell of a direct call around the code that makes it, and hold what it may spend, where the
    caller has a budget.

    Args:
        call: that is answered.
        work: the piece of work that it is.
        prompt_chars: of what the model is sent.
        seen: what has come so far. Of a call that is cut off it is counted: its model is paid.

    Raises:
        LimitReached: the budget has not so much left.
    """
    budget = call.budget
    if budget is None:
        with at_work(work):
            yield
        return
    await budget.prepare(work.model, prompt_chars)
    hold = budget.hold(work.model, prompt_chars)
    try:
        with at_work(work):
            yield
    except (asyncio.CancelledError, GeneratorExit):
        if seen:
            budget.settle(work.model, "direct", add_ai_message_chunks(*seen), prompt_chars)
        else:
            budget.cut_off(hold)
        raise
    finally:
        budget.release(hold)


def note_reply(work: Work, call: Call, reply: AIMessage, prompt_chars: int) -> None:
    """Note what came, and what it has spent."""
    rlm = call.chat.graphs.rlm
    ledger = Ledger(rlm.limits, rlm.prices, call.budget)
    work.reply, work.model = reply, answered_by(reply, work.model)
    work.spent = ledger.settle(work.model, work.where.depth, reply, prompt_chars)
