"""Opening: the engine of a server, over its database and the figures of its runs."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from langchain_core.runnables import RunnableConfig

from langgraph_rlm.chat.memory import Memory
from langgraph_rlm.server.chats import Chat, open_chat
from langgraph_rlm.server.engine import Local
from langgraph_rlm.server.figures import Figures
from langgraph_rlm.server.files import RunFiles
from langgraph_rlm.server.limits.opening import metered, open_accounts
from langgraph_rlm.server.repeats import Repeats
from langgraph_rlm.server.responses.door import Responses
from langgraph_rlm.server.responses.store import Store
from langgraph_rlm.server.savers import open_saver, store_beside
from langgraph_rlm.server.settings import Settings
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.telemetry.observers import observers

NO_THREAD: RunnableConfig = {"configurable": {"thread_id": "ready", "checkpoint_ns": ""}}
"""A thread that there is not, which the database is asked for to see whether it answers."""


@asynccontextmanager
async def open_engine(settings: Settings, chat: Chat | None = None) -> AsyncGenerator[Local]:
    """Give the engine of a server, on the running loop.

    Args:
        settings: of the server.
        chat: chat models of the caller's own, which keep their runs themselves. Responses are then
            kept in memory.

    Raises:
        ConfigurationError: the database cannot be opened, or a package is missing.
    """
    beside = settings.blob_store or store_beside(settings.db)
    settings = settings.model_copy(update={"blob_store": beside})
    figures = Figures()
    observers.append(figures)
    async with AsyncExitStack() as held:
        held.callback(observers.remove, figures)
        files = None
        saver = Memory()
        accounts = open_accounts(settings, None, figures.refuse)
        if chat is None:
            saver = await held.enter_async_context(open_saver(settings.db))
            files = RunFiles(saver, settings.blob_store).answer
            accounts = open_accounts(settings, saver, figures.refuse)
            chat = open_chat(settings, saver)
        chat = metered(chat, accounts)
        store = Store(saver, BlobStore.open(settings.blob_store))
        engine = Local(
            chat,
            Responses(chat, store, settings),
            Repeats(saver),
            files=files,
            accounts=accounts,
            figures=figures.text,
            ping=lambda: saver.aget_tuple(NO_THREAD),
            keep_alive_seconds=settings.keep_alive_seconds,
        )
        held.push_async_callback(engine.close)
        yield engine
