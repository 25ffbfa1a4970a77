"""Told: a direct call of the root model, as observers are told of it."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig

from langgraph_rlm.budget.ledger import Ledger
from langgraph_rlm.chat.calls import Call
from langgraph_rlm.models.patience import answered_by, telling
from langgraph_rlm.models.wrapped import Model, model_name
from langgraph_rlm.telemetry.observers import happened
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


def note_reply(work: Work, call: Call, reply: AIMessage, prompt_chars: int) -> None:
    """Note what came, and what it has spent."""
    rlm = call.chat.graphs.rlm
    ledger = Ledger(rlm.limits, rlm.prices)
    work.reply, work.model = reply, answered_by(reply, work.model)
    work.spent = ledger.settle(work.model, work.where.depth, reply, prompt_chars)
