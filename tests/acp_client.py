"""The other side of the Agent Client Protocol: the official SDK's client, which notes what it is told and answers as a test says."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import acp

from langgraph_rlm.acp import create_agent
from langgraph_rlm.acp.lines import Lines

ROOT = Path(__file__).parents[1]


class Client:
    """A client that keeps all updates, and answers each permission by `decide`."""

    def __init__(self, decide: Callable[[Any, Any], Any] | None = None) -> None:
        self.updates: list[tuple[str, Any]] = []
        self.asked: list[Any] = []
        self.decide = decide or (lambda call, options: "allow")
        self.seen = asyncio.Condition()

    def on_connect(self, conn: Any) -> None:
        """Nothing to do."""

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        """Keep an update."""
        async with self.seen:
            self.updates.append((session_id, update))
            self.seen.notify_all()

    async def request_permission(
        self, session_id: str, tool_call: Any, options: Any, **_: Any
    ) -> Any:
        """Answer as the test says: the id of an option; None leaves it open."""
        self.asked.append((tool_call, options))
        chosen = self.decide(tool_call, options)
        if asyncio.iscoroutine(chosen):
            chosen = await chosen
        outcome: Any = {"outcome": "cancelled"}
        if chosen is not None:
            outcome = {"outcome": "selected", "optionId": chosen}
        return acp.RequestPermissionResponse.model_validate({"outcome": outcome})

    async def until(self, holds: Callable[["Client"], Any]) -> Any:
        """Wait until what was told so far has something."""
        async with asyncio.timeout(20), self.seen:
            await self.seen.wait_for(lambda: holds(self))
            return holds(self)

    def of(self, kind: str, session: str | None = None) -> list[Any]:
        """The updates of a kind."""
        return [
            update
            for id, update in self.updates
            if update.session_update == kind and session in (None, id)
        ]

    def said(self, session: str | None = None) -> str:
        """What the agent said as its answer."""
        return text_of(self.of("agent_message_chunk", session))

    def thought(self, session: str | None = None) -> str:
        """What was shown beside it."""
        return text_of(self.of("agent_thought_chunk", session))

    def calls(self) -> dict[str, Any]:
        """The last status, title and content of each tool call."""
        found: dict[str, Any] = {}
        for _, update in self.updates:
            if update.session_update in ("tool_call", "tool_call_update"):
                found[update.tool_call_id] = update
        return found

    def forget(self) -> None:
        """Forget what was told so far."""
        self.updates.clear()
        self.asked.clear()


def text_of(chunks: Sequence[Any]) -> str:
    """The texts of chunks."""
    return "".join(chunk.content.text for chunk in chunks if chunk.content.type == "text")


def content_of(call: Any) -> str:
    """The texts of a tool call."""
    return "\n".join(each.content.text for each in call.content or ())


@asynccontextmanager
async def connected(graph: Any, client: Any = None, **options: Any) -> AsyncIterator[Any]:
    """A connection to an agent in this process, over a socket."""
    ours, theirs = socket.socketpair()
    agent = create_agent(graph, **options)
    lines = Lines(theirs.fileno(), theirs.fileno())
    serving = asyncio.create_task(acp.run_agent(agent, lines, use_unstable_protocol=True))
    reader, writer = await asyncio.open_connection(sock=ours)
    connection: Any = acp.connect_to_agent(client or Client(), writer, reader)
    try:
        await connection.initialize(protocol_version=acp.PROTOCOL_VERSION)
        yield connection
    finally:
        await connection.close()
        writer.close()
        await asyncio.wait_for(serving, 20)
        await agent.close()
        theirs.close()


@asynccontextmanager
async def started(*arguments: str, client: Any = None, **env: str) -> AsyncIterator[Any]:
    """A connection to `langgraph-rlm acp` as a process, and the process."""
    command = (sys.executable, "-m", "langgraph_rlm", "acp", *arguments)
    given = {**os.environ, **env}
    spawned = acp.spawn_agent_process(
        client or Client(),
        *command,
        env=given,
        cwd=ROOT,
        transport_kwargs={"stderr": None, "shutdown_timeout": 20},
    )
    async with spawned as (connection, process):
        await connection.initialize(protocol_version=acp.PROTOCOL_VERSION)
        yield connection, process
