"""Opening: the accounts of a server's keys, in the database that its runs are in."""

import asyncio
from collections.abc import Callable
from inspect import isawaitable
from pathlib import Path
from typing import Any

from langgraph_rlm.budget.prices import Prices
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.server.chats import Chat
from langgraph_rlm.server.keys import limits_by_owner
from langgraph_rlm.server.limits.accounts import Accounts, unpriced
from langgraph_rlm.server.limits.days import Days, MemoryDays, PostgresDays, SqliteDays
from langgraph_rlm.server.limits.given import KeyLimits
from langgraph_rlm.server.savers import default_db, is_postgres
from langgraph_rlm.server.settings import Settings


def has_limits(settings: Settings) -> bool:
    """Whether anything is counted: `[limits]` is there, or a key has limits of its own."""
    return settings.limits is not None or any(key.own for key in settings.keys.values())


def open_accounts(
    settings: Settings, saver: Any, on_refusal: Callable[[str], None]
) -> Accounts | None:
    """Give the accounts of a server; None where nothing is counted.

    Args:
        settings: of the server.
        saver: of its runs; None where they are in no database.
        on_refusal: is told the reason of each refusal.
    """
    if not has_limits(settings):
        return None
    default = settings.limits or KeyLimits()
    named = limits_by_owner(settings)
    prices = Prices(settings.prices)
    return Accounts(_days(settings, saver), default, named, prices, on_refusal)


def _days(settings: Settings, saver: Any) -> Days:
    if saver is None:
        return MemoryDays()
    if is_postgres(settings.db):
        return PostgresDays(saver.conn)
    return SqliteDays(Path(settings.db) if settings.db else default_db())


def metered(chat: Chat, accounts: Accounts | None) -> Chat:
    """Give the chat models of a server, each with the budget of the key that asks.

    A chat model of the caller's own that is no `ChatRLM` is not counted.
    """
    if accounts is None:
        return chat

    async def counted(model_id: str, owner: str) -> Any:
        model: Any = chat(model_id, owner)
        if isawaitable(model):
            model = await model
        if not hasattr(model, "for_owner"):
            return model
        budget = accounts.budget(owner)
        if budget.limits.max_cost is None:
            return model.for_owner(model.owner, budget)
        try:  # the first look at a price may import a package
            return await asyncio.to_thread(model.for_owner, model.owner, budget)
        except ConfigurationError:
            raise unpriced(model_id, accounts.limits_of(owner)) from None

    return counted
