"""Engine: the runs of children on LangGraph's protocol, asked through `langgraph_sdk`. Decides
nothing about budgets, and knows no parent.

A thread is the truth, not its runs: a run that came second in a race fails, and nothing is wrong.
What is created twice does no harm: a thread keeps its first grant, and a task begins its thread
once, whoever asks (`rlm_graph.py`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary

from typing_extensions import TypedDict

from langgraph_rlm.errors import ChildrenUnreachableError
from langgraph_rlm.log.text import clip
from langgraph_rlm.remote.tasks import TASK
from langgraph_rlm.runtime.children import RemoteChildren

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient

T = TypeVar("T")

MARK = "rlm_grant"
"""Key of a thread's metadata that has the grant of its child, signed. Engines copy a thread's
metadata into that of its runs and checkpoints, so the task itself does not stand there."""

ACTIVE = frozenset({"pending", "running"})
"""Status of a run that is not over."""

FAILED = frozenset({"error", "timeout"})

LOOKED_AT = 10
"""Newest runs of a thread that are looked at: one is active, others may have lost a race."""

TOLD_CHARS = 500
"""Most characters of what an engine says of a failure."""

LEAST_PAUSE, MOST_PAUSE = 0.2, 3.0
"""Seconds between two looks at a run: a quarter of how long it runs so far, within these."""

TRIES = 3
"""Runs of a child that end in an error before it has failed. To run it again costs little, since
what was answered is saved, and what it met may pass: a thread that another worker still holds, a
database that was away."""

SECONDS_TO_CANCEL = 10
"""For telling the engine that nobody waits any more."""

LOOKS_AT_PARENT, SECONDS_BETWEEN = 10, 0.5
"""How often it is looked whether a parent's run that was cancelled is over."""

STREAM = "updates"
"""What the engine streams of a child: each increment once. Values would be the log, each time."""


class OpenPause(TypedDict):
    """A pause of a child, as its engine shows it."""

    id: str
    value: Any
    schema: dict[str, Any] | None


class ParentRun(NamedTuple):
    """The run of a parent, as an engine names it."""

    thread: str
    run: str


class Look(NamedTuple):
    """What a thread has come to, whose runs are over."""

    values: Mapping[str, Any]
    pauses: Sequence[OpenPause] = ()
    failed: str | None = None
    run: str = ""
    """Id of its newest run."""

    @property
    def has_ended(self) -> bool:
        """Whether the child has its answer."""
        return bool(self.values.get("stop_reason"))


class Engine:
    """The engine that a graph's children run on."""

    def __init__(self, children: RemoteChildren) -> None:
        self.children = children
        self._clients = WeakKeyDictionary[asyncio.AbstractEventLoop, "LangGraphClient"]()

    async def begin(self, thread: str, grant: str, about: Mapping[str, str]) -> str:
        """Make a child's thread, with its grant, if it is not there.

        Args:
            thread: its id.
            grant: signed.
            about: what people and tools find it by.

        Returns:
            The grant that the thread has, which is an earlier one where there was one.
        """
        metadata = {**about, MARK: grant}
        made = await self._ask(
            lambda client: client.threads.create(
                thread_id=thread, metadata=metadata, if_exists="do_nothing"
            )
        )
        return _mark_of(made)

    async def known(self, thread: str) -> str | None:
        """Give the signed grant of a child's thread; None where there is no such thread."""
        from langgraph_sdk.errors import NotFoundError

        async def look(client: "LangGraphClient") -> Any:
            with suppress(NotFoundError):
                return await client.threads.get(thread)
            return None

        found = await self._ask(look)
        return None if found is None else _mark_of(found)

    async def outcome(self, thread: str, token: str, options: Mapping[str, Any]) -> Look:
        """Wait until the runs of a child's thread are over, and give what it has come to.

        A child that nobody runs is run: one that was never begun, or was cancelled.

        Args:
            thread: its id.
            token: of its task.
            options: of the run, where one is made.
        """
        while True:
            runs = await self._runs(thread)
            active = [run for run in runs if run["status"] in ACTIVE]
            if active:
                await self._wait(thread, active[0]["run_id"])
                continue
            look = await self._look(thread, runs)
            if look is not None:
                return look
            await asyncio.sleep(_failures(runs))
            await self._run(thread, {**options, "input": {TASK: token}})

    async def answer(
        self,
        thread: str,
        answers: Mapping[str, Any],
        after: str,
        options: Mapping[str, Any],
    ) -> None:
        """Give a child the answers to its pauses, unless somebody has had it continue since.

        Args:
            thread: its id.
            answers: by the pauses' ids.
            after: the newest run when they were open.
            options: of the run.
        """
        runs = await self._runs(thread)
        if runs and runs[0]["run_id"] == after:
            await self._run(thread, {**options, "command": {"resume": dict(answers)}})

    async def leave(self, thread: str, parent: ParentRun | None) -> None:
        """Stop a child that nobody waits for any more, as far as the engine can be reached.

        Engines cancel what a worker does in two cases: nobody wants the run any more, or another
        worker continues it, and finds its children. Which one it is, the run's status tells soon.

        Args:
            thread: of the child.
            parent: the run that has waited, where an engine runs it.
        """
        from httpx import HTTPError

        with suppress(HTTPError, TimeoutError, ChildrenUnreachableError):
            if parent is None or not await self._goes_on(parent):
                async with asyncio.timeout(SECONDS_TO_CANCEL):
                    for run in await self._runs(thread):
                        if run["status"] in ACTIVE:
                            await self._client().runs.cancel(thread, run["run_id"])

    async def _goes_on(self, parent: ParentRun) -> bool:
        """Whether a run whose work was cancelled here is still to be done."""
        from langgraph_sdk.errors import NotFoundError

        for _ in range(LOOKS_AT_PARENT):
            try:
                run = await self._client().runs.get(parent.thread, parent.run)
            except NotFoundError:  # another engine's
                return False
            if run["status"] not in ACTIVE:
                return False
            await asyncio.sleep(SECONDS_BETWEEN)
        return True

    async def _runs(self, thread: str) -> list[Any]:
        """The newest runs of a thread, newest first."""
        found = await self._ask(lambda client: client.runs.list(thread, limit=LOOKED_AT))
        return sorted(cast(list[Any], found), key=lambda run: run["created_at"], reverse=True)

    async def _look(self, thread: str, runs: list[Any]) -> Look | None:
        """What a thread without an active run has come to; None where it has to be run."""
        if not runs:
            return None
        newest = runs[0]
        state: Any = await self._ask(lambda client: client.threads.get_state(thread))
        values: Mapping[str, Any] = state["values"] or {}
        if values.get("stop_reason") and not state["next"]:
            return Look(values, run=newest["run_id"])
        if pauses := _pauses(state):
            return Look(values, pauses, run=newest["run_id"])
        if newest["status"] == "interrupted" or _failures(runs) < TRIES:
            return None
        return Look(values, failed=await self._why(thread, newest, state))

    async def _why(self, thread: str, run: Any, state: Any) -> str:
        """What the engine says of a run that failed."""
        told = run.get("error_message") or _errors(state)
        if not told:
            found: Any = await self._ask(lambda client: client.threads.get(thread))
            told = found.get("error") or f"its run ended with status {run['status']!r}"
        return clip(_text(told), limit=TOLD_CHARS)

    async def _run(self, thread: str, payload: Mapping[str, Any]) -> None:
        """Have a thread run. Whoever comes second in a race is refused, here or by the thread."""
        from langgraph_sdk.errors import ConflictError

        async def make(client: "LangGraphClient") -> None:
            with suppress(ConflictError):
                await cast(Any, client.runs.create)(
                    thread,
                    self.children.assistant,
                    multitask_strategy="reject",
                    stream_mode=STREAM,
                    **payload,
                )

        await self._ask(make)

    async def _wait(self, thread: str, run: str) -> None:
        """Wait until a run is over. It is looked at instead of joined: Aegra, which looks every two
        seconds for whoever joins, would be later, and a thousand joins a thousand connections."""
        from langgraph_sdk.errors import NotFoundError

        async def look(client: "LangGraphClient") -> bool:
            with suppress(NotFoundError):
                return (await client.runs.get(thread, run))["status"] in ACTIVE
            return False

        waited = 0.0
        while await self._ask(look):
            pause = min(max(LEAST_PAUSE, waited / 4), MOST_PAUSE)
            await asyncio.sleep(pause)
            waited += pause

    async def _ask(self, call: Callable[["LangGraphClient"], Awaitable[T]]) -> T:
        """Ask the engine; again for a while, where it cannot be reached or is busy.

        Raises:
            ChildrenUnreachableError: it gives no answer, or refuses.
        """
        from httpx import HTTPError
        from tenacity import (
            AsyncRetrying,
            before_sleep_log,
            retry_if_exception,
            stop_after_delay,
            wait_exponential_jitter,
        )

        attempts = AsyncRetrying(
            retry=retry_if_exception(_passes),
            wait=wait_exponential_jitter(initial=0.2, max=10, jitter=0.5),
            stop=stop_after_delay(self.children.patience),
            before_sleep=before_sleep_log(logging.getLogger(__name__), logging.WARNING),
            reraise=True,
        )

        async def once() -> T:
            return await call(self._client())

        try:
            return await attempts(once)
        except HTTPError as error:
            raise ChildrenUnreachableError(
                f"The engine of child RLMs at {self.children.url} "
                f"(assistant {self.children.assistant!r}) gave no answer, or refused: "
                f"{type(error).__name__}: {clip(str(error), limit=TOLD_CHARS)}. Children that run "
                "go on. Invoke the thread again when the engine is back."
            ) from error

    def _client(self) -> "LangGraphClient":
        """The client of this event loop."""
        from langgraph_sdk import get_client

        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            headers = dict(self.children.headers)
            client = get_client(url=self.children.url, headers=headers)
            self._clients[loop] = client
        return client


def _passes(error: BaseException) -> bool:
    """Whether to ask again may help."""
    from httpx import HTTPStatusError, TransportError

    if isinstance(error, HTTPStatusError):
        status = getattr(getattr(error, "response", None), "status_code", 0)
        return status == 429 or status >= 500
    return isinstance(error, TransportError)


def _failures(runs: Sequence[Any]) -> int:
    """How many runs have failed, one after another, up to the newest."""
    statuses = [run["status"] for run in runs]
    return next((n for n, status in enumerate(statuses) if status not in FAILED), len(statuses))


def _mark_of(thread: Any) -> str:
    metadata: dict[str, Any] = thread.get("metadata") or {}
    return str(metadata.get(MARK, ""))


def _pauses(state: Any) -> list[OpenPause]:
    """The open pauses of a thread's state."""
    found: list[dict[str, Any]] = state.get("interrupts") or []
    return [
        OpenPause(id=each["id"], value=each["value"], schema=each.get("response_schema"))
        for each in found
    ]


def _errors(state: Any) -> str:
    """What tasks of a thread's state say that failed."""
    return "; ".join(_text(task["error"]) for task in state.get("tasks", []) if task.get("error"))


def _text(told: Any) -> str:
    """What an engine says of an error, which is a text or has one."""
    if isinstance(told, Mapping):
        facts = cast(Mapping[str, Any], told)
        return ": ".join(str(facts[key]) for key in ("error", "message") if facts.get(key))
    return str(told)
