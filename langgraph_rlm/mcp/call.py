"""Call: one request of a client: whose it is, what it may read, and its way to a result.

What the client or its user has to be asked goes both ways of MCP: as a request of the server while
the call waits, or, since 2026-07-28, as a result that the client answers by calling again.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio
from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
)
from mcp_types.version import is_version_at_least
from pydantic import ValidationError
from starlette.requests import Request

from langgraph_rlm.errors import AnsweredError, ResumeError
from langgraph_rlm.hosting.pauses import Pause
from langgraph_rlm.mcp.counted import Counted
from langgraph_rlm.mcp.desk import Desk
from langgraph_rlm.mcp.folders import paths_of
from langgraph_rlm.mcp.forms import Form, answer_of, form_of, refusal_of
from langgraph_rlm.mcp.owners import owner_of
from langgraph_rlm.mcp.results import Outcome

T = TypeVar("T")

CALLS_AGAIN = "2026-07-28"
"""The first version of MCP in which a client is asked by a result, and calls again."""
ROOTS = "roots"
"""The name under which a client's roots are asked for."""
ROOTS_SECONDS = 30.0
MOST_ROUNDS = 8
"""Times that one call asks its user: clients give up after ten. `resume` asks further."""
LOOK = 1.0
"""Seconds between two looks whether a client has gone."""


class Asks(Exception):
    """The call ends with questions to the client, which calls again with the answers."""

    def __init__(self, result: InputRequiredResult) -> None:
        super().__init__("the client is asked")
        self.result = result


class Gone(Exception):
    """The client's connection is closed: nobody reads what the call gives."""


@dataclass
class Earlier:
    """What the same call has done before its client was asked, kept with the client, sealed."""

    thread: str
    asked: Sequence[str] = ()
    """Pauses that were asked about."""
    rounds: int = 0


class Call:
    """One call of a tool."""

    def __init__(self, context: "Context[Any, Any]") -> None:
        self._context = context
        self._session = context.session
        self.desk: Desk = context.request_context.lifespan_context
        self._request: Request | None = context.request_context.request
        version = context.protocol_version or ""
        self._calls_again = bool(version) and is_version_at_least(version, CALLS_AGAIN)
        self._responses = dict(context.input_responses or {})
        self.owner = owner_of(self._request)
        self.earlier = _earlier(context.request_state)
        self._told = 0
        self._rounds = 0 if self.earlier is None else self.earlier.rounds

    # What may be read

    async def roots(self) -> list[Path] | None:
        """Ask the client for its roots, as they are now; None of a client that has no such thing.

        Raises:
            Asks: the client is asked by the call's result.
            ToolError: it has not told them.
        """
        capabilities = self._context.client_capabilities
        if capabilities is None or capabilities.roots is None:
            return None
        if self._calls_again:
            given: Any = self._responses.pop(ROOTS, None)
            if given is None:
                raise Asks(InputRequiredResult(input_requests={ROOTS: ListRootsRequest()}))
        else:
            given = await self._asked_roots()
        if not isinstance(given, ListRootsResult):
            raise ToolError("The client has not told its roots, so no file is read.")
        return paths_of(given)

    async def _asked_roots(self) -> Any:
        try:
            return await self._session.send_request(
                ListRootsRequest(),
                ListRootsResult,
                request_read_timeout_seconds=ROOTS_SECONDS,
                metadata=ServerMessageMetadata(related_request_id=self._context.request_id),
            )
        except (MCPError, ValidationError):  # it refuses, takes too long, or answers nonsense
            return None

    # The way to a result

    async def outcome(self, thread: str, seconds: float, *, asks_again: bool = False) -> Outcome:
        """Wait for a run, and ask the user about calls that wait.

        Args:
            thread: its id.
            seconds: how long to wait for the run. The time that the user takes does not count.
            asks_again: whether the user is asked about calls that were left open before.

        Raises:
            Asks: the client is asked by the call's result.
            Gone: nobody waits for the result any more. The run is stopped.
        """
        if asks_again:
            async with self.working(thread):
                waiting = await self.desk.pauses(self.owner, thread)
            self.desk.left -= {pause.id for pause in waiting}
        problems: dict[str, str] = {}
        while True:
            async with self.working(thread):
                await self.desk.wait(thread, seconds, self._tell)
            pauses = await self._asked_about(thread)
            answered = await self._answered(thread, pauses, problems) if pauses else {}
            problems = await self._kept(thread, pauses, answered)
            if not answered:
                return await self.desk.outcome(self.owner, thread)
            await self.desk.go_on(self.owner, thread)

    @asynccontextmanager
    async def working(self, thread: str) -> AsyncGenerator[None]:
        """Stop a run if its call is cancelled, or its client gone, unless others wait for it."""
        try:
            yield
        except (asyncio.CancelledError, Gone):
            with anyio.CancelScope(shield=True):
                await self.desk.leave(thread)
            raise

    async def _tell(self, counted: Counted) -> None:
        await self._check_here()
        done, total = counted.steps
        if done > self._told:  # MCP has each number be larger than the last
            self._told = done
            await self._context.report_progress(done, total, counted.message)

    async def _check_here(self) -> None:
        """Raise `Gone` where the client's connection is closed. Over stdio the process ends."""
        if self._request is not None and await self._request.is_disconnected():
            raise Gone

    # The user

    @property
    def _can_ask(self) -> bool:
        capabilities = self._context.client_capabilities
        elicitation = None if capabilities is None else capabilities.elicitation
        if elicitation is None or (elicitation.form is None and elicitation.url is not None):
            return False
        return self._calls_again or self._session.can_send_request

    async def _asked_about(self, thread: str) -> Sequence[Pause]:
        """Give the calls that wait and that the user has not left open."""
        if not self._can_ask:
            return ()
        pauses = await self.desk.pauses(self.owner, thread)
        return [pause for pause in pauses if pause.id not in self.desk.left]

    async def _answered(
        self, thread: str, pauses: Sequence[Pause], problems: Mapping[str, str]
    ) -> dict[str, ElicitResult]:
        """Ask the user about some pauses, and give what was filled in, by their ids.

        Raises:
            Asks: the client is asked by the call's result.
        """
        asked = () if self.earlier is None else self.earlier.asked
        given = {id: self._responses.pop(id) for id in asked if id in self._responses}
        found = {id: each for id, each in given.items() if isinstance(each, ElicitResult)}
        if found:
            return found
        forms = {pause.id: form_of(pause, problems.get(pause.id, "")) for pause in pauses}
        shown = {id: form for id, form in forms.items() if form is not None}
        if self._rounds >= MOST_ROUNDS or not shown:
            return {}
        self._rounds += 1
        if self._calls_again:
            raise self._asking(thread, shown)
        return {id: await self._attended(self._elicited(form)) for id, form in shown.items()}

    def _asking(self, thread: str, forms: Mapping[str, Form]) -> Asks:
        requests: dict[str, InputRequest] = {
            id: ElicitRequest(
                params=ElicitRequestFormParams(message=form.message, requested_schema=form.schema)
            )
            for id, form in forms.items()
        }
        state = {"thread": thread, "asked": [*forms], "rounds": self._rounds}
        return Asks(InputRequiredResult(input_requests=requests, request_state=json.dumps(state)))

    async def _elicited(self, form: Form) -> ElicitResult:
        return await self._session.elicit_form(
            form.message, form.schema, related_request_id=self._context.request_id
        )

    async def _attended(self, work: Awaitable[T]) -> T:
        """Wait for the user as long as the client is there."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=LOOK))[0]:
                await self._check_here()
            return task.result()
        finally:
            task.cancel()

    async def _kept(
        self, thread: str, pauses: Sequence[Pause], answered: Mapping[str, ElicitResult]
    ) -> dict[str, str]:
        """Keep what the user has decided; give why of what was not taken, by the pauses' ids."""
        problems: dict[str, str] = {}
        for pause in pauses:
            if pause.id not in answered:
                continue
            try:
                answer = _answer(pause, answered[pause.id])
                if answer is None:
                    self.desk.left.add(pause.id)
                else:
                    await self.desk.keep(self.owner, thread, {pause.id: answer}, BY)
            except AnsweredError:
                continue  # somebody was faster, elsewhere: the first answer counts
            except ResumeError as error:
                problems[pause.id] = str(error)
        return problems


BY = "MCP client"
"""Who has decided, as the log tells: the user of a client."""


def _answer(pause: Pause, given: ElicitResult) -> Any:
    """Read a user's answer; None where the pause is left open.

    Raises:
        ResumeError: it has the wrong form.
    """
    if given.action == "accept":
        return answer_of(pause, given.content or {})
    return refusal_of(pause) if given.action == "decline" else None


def _earlier(state: str | None) -> Earlier | None:
    """Read what the SDK has sealed and opened again: nobody else can have written it."""
    return None if not state else Earlier(**json.loads(state))
