"""Agent: the methods of the protocol that a client calls. Each does one thing, and says its errors.

It is the edge of the room: whatever is raised is told the client, with nothing secret in it.
"""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Any

from langgraph_rlm.acp.asking import Asking, follower_of
from langgraph_rlm.acp.prompts import Block, read_prompt, stored
from langgraph_rlm.acp.replay import replayed
from langgraph_rlm.acp.sdk import RequestError, acp, schema
from langgraph_rlm.acp.sessions import Files, Session, Sessions
from langgraph_rlm.acp.shown import TITLE_CHARS, Shower, Update, thoughts
from langgraph_rlm.errors import ConfigurationError, ContextError, RLMError, ThreadBusyError
from langgraph_rlm.hosting.questions import input_of
from langgraph_rlm.hosting.runs import Runs, told
from langgraph_rlm.hosting.sources import Opened, Source
from langgraph_rlm.hosting.status import status_of
from langgraph_rlm.hosting.visible import printable
from langgraph_rlm.pregel.kept_answers import newest_of

LOG = logging.getLogger("langgraph_rlm.acp")

CONTINUE = "continue"
"""The command that continues what was stopped, written `/continue`."""
FILES = "files"
"""The option of a session that says which files its prompts get."""
INVALID, FAILED, BUSY = -32602, -32603, -32600


def edge(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Make errors of the protocol of whatever a method raises."""

    @functools.wraps(method)
    async def answered(agent: "RLMAgent", **given: Any) -> Any:
        try:
            return await method(agent, **given)
        except RequestError:
            raise
        except Exception as error:  # the edge: a client gets a line, the log the rest
            if not isinstance(error, RLMError):
                LOG.error("%s failed", method.__name__, exc_info=error)
            raise RequestError(_code(error), told(error)) from None

    return answered


class RLMAgent:
    """An agent of the protocol, for one client. Make it with `langgraph_rlm.acp.create_agent`."""

    def __init__(
        self, source: Source, *, allowed: Sequence[str] = (), files: Files = "named", by: str | None
    ) -> None:
        """Take the threads, on the event loop that serves.

        Args:
            source: what keeps and runs them.
            allowed: folders that sessions may be in; none for any that the client names.
            files: which files the prompts of a new session get.
            by: who is noted as having decided about calls.

        Raises:
            ConfigurationError: nothing here can run a thread.
            ContextError: an allowed folder is not there.
        """
        if not source.opened(None).can_run:
            raise ConfigurationError("No graph or model is given: there is nobody to answer.")
        self._source = source
        self._sessions = Sessions(source.saver, allowed, files)
        self._runs = Runs(source.saver)
        self._by = by
        self._client: Any = None
        self._later = set[asyncio.Task[None]]()

    def on_connect(self, conn: acp.Client) -> None:
        """Take the client."""
        self._client = conn

    async def close(self) -> None:
        """Cancel all runs. What is finished is kept, and they can be continued."""
        for task in self._later:
            task.cancel()
        await self._runs.close()

    # Sessions

    @edge
    async def initialize(self, protocol_version: int, **_: Any) -> schema.InitializeResponse:
        """Say what this agent can."""
        return schema.InitializeResponse(
            protocol_version=acp.PROTOCOL_VERSION,
            agent_info=schema.Implementation(
                name="langgraph-rlm", title="langgraph-rlm", version=version("langgraph-rlm")
            ),
            agent_capabilities=schema.AgentCapabilities(
                load_session=True,
                prompt_capabilities=schema.PromptCapabilities(
                    image=True, audio=True, embedded_context=True
                ),
                mcp_capabilities=schema.McpCapabilities(http=False, sse=False),
                session_capabilities=schema.SessionCapabilities(
                    list=schema.SessionListCapabilities(),
                    additional_directories=schema.SessionAdditionalDirectoriesCapabilities(),
                    resume=schema.SessionResumeCapabilities(),
                    close=schema.SessionCloseCapabilities(),
                ),
            ),
        )

    @edge
    async def new_session(
        self,
        cwd: str,
        additional_directories: list[str] | None = None,
        mcp_servers: Sequence[Any] | None = None,
        **_: Any,
    ) -> schema.NewSessionResponse:
        """Begin a session."""
        session = self._sessions.new(cwd, additional_directories or ())
        self._begun(session, mcp_servers)
        return schema.NewSessionResponse(session_id=session.id, config_options=_options(session))

    @edge
    async def load_session(
        self,
        cwd: str,
        session_id: str,
        mcp_servers: Sequence[Any] | None = None,
        additional_directories: list[str] | None = None,
        **_: Any,
    ) -> schema.LoadSessionResponse:
        """Open a session of before, and show its conversation."""
        session = await self._sessions.load(session_id, cwd, additional_directories or ())
        await self._replay(session)
        self._begun(session, mcp_servers)
        return schema.LoadSessionResponse(config_options=_options(session))

    @edge
    async def resume_session(
        self,
        session_id: str,
        cwd: str,
        additional_directories: list[str] | None = None,
        mcp_servers: Sequence[Any] | None = None,
        **_: Any,
    ) -> schema.ResumeSessionResponse:
        """Open a session of before; the client has its conversation."""
        session = await self._sessions.load(session_id, cwd, additional_directories or ())
        self._begun(session, mcp_servers)
        return schema.ResumeSessionResponse(config_options=_options(session))

    @edge
    async def list_sessions(
        self, cwd: str | None = None, cursor: str | None = None, **_: Any
    ) -> schema.ListSessionsResponse:
        """List the sessions that have a thread."""
        found, after = await self._sessions.listed(cwd, cursor)
        return schema.ListSessionsResponse(sessions=found, next_cursor=after)

    @edge
    async def close_session(self, session_id: str, **_: Any) -> schema.CloseSessionResponse:
        """Stop what a session does, and forget it. Its thread stays."""
        session = self._sessions.get(session_id)
        if session.work is not None:
            session.work.cancel()
        await self._runs.stop(session_id)
        self._sessions.close(session_id)
        return schema.CloseSessionResponse()

    @edge
    async def set_config_option(
        self, config_id: str, session_id: str, value: str | bool, **_: Any
    ) -> schema.SetSessionConfigOptionResponse:
        """Change which files the prompts of a session get."""
        session = self._sessions.get(session_id)
        if config_id != FILES or value not in ("named", "folder"):
            raise RequestError(INVALID, f"The option is {FILES!r}: 'named' or 'folder'.")
        session.files = "folder" if value == "folder" else "named"
        return schema.SetSessionConfigOptionResponse(config_options=_options(session))

    # Prompts

    @edge
    async def prompt(
        self, prompt: Sequence[Block], session_id: str, **_: Any
    ) -> schema.PromptResponse:
        """Answer a prompt: a question, or `/continue`."""
        session = self._sessions.get(session_id)
        session.check_free()
        session.work = asyncio.create_task(self._answered(session, prompt))
        try:
            await asyncio.wait({session.work})
            if not session.work.cancelled():
                return session.work.result()
            return await (await self._asking(session)).stopped()
        finally:
            session.work.cancel()  # where the connection has ended
            session.work = None

    @edge
    async def cancel(self, session_id: str, **_: Any) -> None:
        """Stop what a session does. Its prompt is answered with `cancelled`."""
        work = self._sessions.get(session_id).work
        if work is not None:
            work.cancel()

    async def _answered(self, session: Session, prompt: Sequence[Block]) -> schema.PromptResponse:
        for note in session.notes:
            LOG.warning("%s", note)
            await self._send(session, thoughts(f"{note}\n\n"))
        session.notes.clear()
        if _command(prompt) == CONTINUE:
            return await (await self._asking(session)).go_on(self._by)
        opened = await self._opened(session)
        folder = session.cwd if session.files == "folder" else None
        asked = await asyncio.to_thread(read_prompt, prompt, session.allowed, folder)
        context = await stored(asked, opened.blobs)
        await self._name(session, prompt)
        asking = await self._asking(session)
        return await asking.ask(input_of(opened.graph, asked.question, context), self._by)

    async def _asking(self, session: Session) -> Asking:
        opened = await self._opened(session)
        return Asking(self._client, session, opened, self._runs, self._source.saver)

    async def _opened(self, session: Session) -> Opened:
        opened = self._source.opened(await newest_of(self._source.saver, session.id))
        if not opened.can_run:
            raise ConfigurationError(
                "The session was begun with a graph of yours: start with --graph FILE.py:NAME."
            )
        return opened

    async def _name(self, session: Session, prompt: Sequence[Block]) -> None:
        """Name a session after the first thing that was asked in it."""
        if session.title:
            return
        said = " ".join(block.text for block in prompt if block.type == "text")
        session.title = " ".join(printable(said).split())[:TITLE_CHARS]
        named = schema.SessionInfoUpdate(session_update="session_info_update", title=session.title)
        await self._client.session_update(session_id=session.id, update=named)

    # Updates

    async def _replay(self, session: Session) -> None:
        opened = await self._opened(session)
        status = await status_of(opened.graph, session.id)
        follower = session.follower = follower_of(session.id, opened)
        trace = await follower.trace()
        shower = session.shower = Shower(lambda digest: follower.last.text(digest))
        updates = await asyncio.to_thread(replayed, trace.records, shower, status.answer)
        await self._send(session, updates)
        if status.state == "open":
            await self._send(session, shower.ended())

    async def _send(self, session: Session, updates: Sequence[Update]) -> None:
        for update in updates:
            await self._client.session_update(session_id=session.id, update=update)

    def _begun(self, session: Session, servers: Sequence[Any] | None) -> None:
        """Tell the commands of a session once the client knows it, and what is not used of it."""
        if servers:
            names = ", ".join(printable(server.name) for server in servers)
            session.notes.append(
                f"The MCP servers of this client are not used: {names}. Tools are those of the "
                "graph that the agent is started with (--graph)."
            )
        task = asyncio.create_task(self._tell_commands(session))
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _tell_commands(self, session: Session) -> None:
        command = schema.AvailableCommand(
            name=CONTINUE,
            description="Go on with a question that was stopped, or whose calls wait for you.",
        )
        told = schema.AvailableCommandsUpdate(
            session_update="available_commands_update", available_commands=[command]
        )
        try:
            await self._client.session_update(session_id=session.id, update=told)
        except OSError:
            LOG.info("The client has left before it was told the commands")


def _command(prompt: Sequence[Block]) -> str | None:
    """Give the command that a prompt is, without its slash; None where it is a question."""
    texts = [block.text for block in prompt if block.type == "text"]
    said = "".join(texts).strip()
    return said[1:] if len(texts) == len(prompt) and said == f"/{CONTINUE}" else None


def _options(session: Session) -> list[Any]:
    kinds = {
        "named": ("Named files", "A prompt gets the files that it names."),
        "folder": ("Whole folder", "Each prompt also gets the whole of the session's folder."),
    }
    return [
        schema.SessionConfigOptionSelect(
            type="select",
            id=FILES,
            name="Files",
            description="Which files the questions are about.",
            current_value=session.files,
            options=[
                schema.SessionConfigSelectOption(value=value, name=name, description=about)
                for value, (name, about) in kinds.items()
            ],
        )
    ]


def _code(error: Exception) -> int:
    if isinstance(error, ContextError):
        return INVALID
    return BUSY if isinstance(error, ThreadBusyError) else FAILED
