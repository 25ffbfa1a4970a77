"""Calls: one call of the chat model from its messages to its reply: directly, as a new run, or on with a run that waits."""

import asyncio
import hashlib
import json
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Any, cast

from langchain_core.messages import AIMessageChunk, BaseMessage, ToolMessage

from langgraph_rlm.chat.approvals import answers_of, called, is_call, request_of, round_of
from langgraph_rlm.chat.direct import direct, is_short
from langgraph_rlm.chat.graphs import Graphs
from langgraph_rlm.chat.ids import call_id, new_run, thread_of
from langgraph_rlm.chat.isolation import isolated
from langgraph_rlm.chat.memory import Memory
from langgraph_rlm.chat.messages_to_input import Rule, answers, stored
from langgraph_rlm.chat.replies import cut_at, final, progress_text, reasoning, usage_since
from langgraph_rlm.chat.requests import Request, Settings, settings_text
from langgraph_rlm.chat.run_records import Record, keep_reply, reply_of
from langgraph_rlm.chat.runs import ChatRun, RunHome, find, unknown
from langgraph_rlm.chat.tasks import Task
from langgraph_rlm.errors import ApprovalNeededError
from langgraph_rlm.log.places import turn_count
from langgraph_rlm.models.resolve import takes_tools
from langgraph_rlm.runtime.run import RunOptions
from langgraph_rlm.schemas.answers import text_of, user_format


@dataclass(frozen=True)
class Resumed:
    """A human's answer to the approvals of a run, given outside any graph."""

    run: str
    answer: Any


@dataclass(frozen=True)
class Chat:
    """What all calls of a chat model share."""

    graphs: Graphs
    name: str
    """As `model_name` of the replies."""
    direct_below_tokens: int
    rule: int | Rule


@dataclass(frozen=True)
class Call:
    """One call."""

    chat: Chat
    home: RunHome
    request: Request
    messages: list[BaseMessage]
    task: Task | None = None
    resumed: Resumed | None = None

    async def chunks(self) -> AsyncIterator[AIMessageChunk]:
        """The reply: progress as reasoning, then text or tool calls, then what it spent. Closing it cancels the run."""
        async with AsyncExitStack() as held:
            reply = await held.enter_async_context(aclosing(cast(Any, await self._reply_in(held))))
            async for chunk in reply:
                yield chunk

    async def _reply_in(self, held: AsyncExitStack) -> AsyncIterator[AIMessageChunk]:
        """The stream of the reply; what has to be held meanwhile is in `held`."""
        found = (
            (self.resumed.run, dict[str, ToolMessage]()) if self.resumed else answers(self.messages)
        )
        if found is None and self._is_direct():
            return self._directly() if self.task is None else self._directly_once(self.task)
        if self.task is not None and self.chat.graphs.rlm.toolset.root:
            await held.enter_async_context(self.task.execution.lock)
        if found is not None:
            await held.enter_async_context(lock_of(self.home, found[0]))
            return self._work(*await self._continued(*found))
        if self.task is None:
            return self._work(*await self._begun(new_run()))
        return self._work(
            *await self._found(
                held.enter_context(self.task.run_of(await asyncio.to_thread(lambda: self.digest)))
            )
        )

    async def _directly(self) -> AsyncIterator[AIMessageChunk]:
        model = self.chat.graphs.rlm.root_model(0, None)
        reply = isolated(
            lambda: direct(model, self.messages, self.request, self.home.callbacks, self._described)
        )
        async with aclosing(cast(Any, reply)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _directly_once(self, task: Task) -> AsyncIterator[AIMessageChunk]:
        """In a task the reply is kept, for when the task is run again."""
        with task.run_of(self.digest) as run:
            config, whole = self.home.config(run), cast("AIMessageChunk | None", None)
            saved = await self.home.saver.aget_tuple(config)
            if saved is not None and (reply := reply_of(saved)) is not None:
                yield cast(AIMessageChunk, reply)
                return
            async with aclosing(cast(Any, self._directly())) as chunks:
                async for chunk in chunks:
                    whole = chunk if whole is None else whole + chunk
                    yield chunk
            if whole is not None:
                await keep_reply(self.home.saver, config, whole)

    def _is_direct(self) -> bool:
        """Tools of its own are called from code, so they need the loop; so does a model that cannot call the bound ones itself."""
        rlm, limit = self.chat.graphs.rlm, self.chat.direct_below_tokens
        able = not rlm.toolset.root and (not self.request.tools or takes_tools(rlm.model))
        return able and limit > 0 and is_short(self.messages, self.request, limit)

    def _described(self, provider: Mapping[str, Any]) -> dict[str, Any]:
        """The metadata of a direct reply: the provider's, under the names that every reply has."""
        ours = {
            "model_name": self.chat.name,
            "thread_id": None,
            "turns": 0,
            "sub_calls": 0,
            "stop_reason": "answered",
        }
        reason = provider.get("finish_reason") or provider.get("stop_reason")
        finish = {"tool_use": "tool_calls", "max_tokens": "length", "end_turn": "stop"}.get(
            str(reason), reason
        )
        return {**provider, **ours, "finish_reason": finish or "stop"}

    async def _found(self, id: str) -> tuple[ChatRun, Any]:
        """The run that this task began when it ran before; a new one where it did not."""
        record = await find(id, self.home)
        if record is None:
            return await self._begun(id)
        run = await self._reopened(id, record)
        return run, None if run.is_cut_off else ()

    async def _begun(self, id: str) -> tuple[ChatRun, Any]:
        """A new run, and its input."""
        blobs, settings = self.chat.graphs.rlm.blobs, self.request.settings
        given = await asyncio.to_thread(stored, self.messages, self.chat.rule, blobs)
        record = Record(
            settings=await asyncio.to_thread(blobs.put, settings_text(settings).encode())
        )
        return self._opened(id, record, settings), given

    async def _continued(self, id: str, given: dict[str, ToolMessage]) -> tuple[ChatRun, Any]:
        """The results of tool calls, or a human's decisions, for a run that waits; a second time, what came of the first."""
        record = await find(id, self.home)
        if record is None:
            raise unknown([message.tool_call_id for message in given.values()] or [id])
        run = await self._reopened(id, record)
        await run.check_known(given)
        command = run.resume(given)
        if self.resumed is not None:
            shown = round_of(run.open)
            command = run.resume(answers_of(shown, self.resumed.answer)) if shown else None
        if command is not None:
            run.record = run.record.begun(run.values.get("usage"))
            return run, command
        return run, None if run.is_cut_off else ()

    def _opened(self, id: str, record: Record, settings: Settings) -> ChatRun:
        form = (
            None
            if settings["schema"] is None
            else self.request.form or user_format(settings["schema"])
        )
        if form is not None and form.schema != settings["schema"]:
            form = user_format(settings["schema"])
        wanted = RunOptions({**self.request.options}, form)
        return ChatRun(
            id, self.home, self.chat.graphs.with_tools(settings["tools"]), wanted, record
        )

    async def _reopened(self, id: str, record: Record) -> ChatRun:
        run = self._opened(id, record, await self._settings(record))
        await run.refresh()
        return run

    async def _settings(self, record: Record) -> Settings:
        """What the run was begun with, and the tools that are bound since."""
        settings = cast(
            Settings,
            json.loads(await asyncio.to_thread(self.chat.graphs.rlm.blobs.get, record.settings)),
        )
        names = {tool["function"]["name"] for tool in settings["tools"]}
        more = (
            []
            if self.request.forced
            else [tool for tool in self.request.tools if tool["function"]["name"] not in names]
        )
        return Settings(
            tools=[*settings["tools"], *more], schema=settings["schema"], calls=settings["calls"]
        )

    async def _work(self, run: ChatRun, given: Any) -> AsyncIterator[AIMessageChunk]:
        """Run on, ask a human where that is needed, and reply. `()` is nothing to run."""
        is_over, memory, thread = False, self.home.saver, thread_of(self.home.owner, run.id)
        if isinstance(memory, Memory):
            memory.begin(thread)
        try:
            if given != ():
                async with aclosing(cast(Any, _progress(run, given))) as chunks:
                    async for chunk in chunks:
                        yield chunk
            async with aclosing(cast(Any, self._approved(run))) as chunks:
                async for chunk in chunks:
                    yield chunk
            ending = await self._reply(run)
            is_over = isinstance(given, dict) and not run.open
            for chunk in ending:
                yield chunk
        finally:
            if isinstance(memory, Memory):
                memory.end(thread, is_over=is_over)

    async def _approved(self, run: ChatRun) -> AsyncIterator[AIMessageChunk]:
        """Have a human decide, round by round, until nothing waits for one. Earlier rounds of a task are gone through again."""
        if self.task is None:
            if shown := round_of(run.open):
                raise _needed(run.id, request_of(shown))
            return
        run.record = run.record.within(self.task.key)
        number = 0
        while True:
            rounds = run.record.rounds
            if number == len(rounds):
                if not (shown := round_of(run.open)):
                    return
                await run.note(run.record.shown(list(shown)))
                self.task.ask(run.id, shown)
            number += 1
            if number <= self.task.used(run.id):
                continue
            shown = {
                digest: pause for digest, pause in run.open.items() if digest in rounds[number - 1]
            }
            answer = self.task.answer(run.id, shown)
            if shown and (command := run.resume(answers_of(shown, answer))) is not None:
                async with aclosing(cast(Any, _progress(run, command))) as chunks:
                    async for chunk in chunks:
                        yield chunk

    async def _reply(self, run: ChatRun) -> list[AIMessageChunk]:
        """Where the run stands, as the end of a reply."""
        values, settings = run.values, await self._settings(run.record)
        if (
            not run.open
        ):  # nobody can ask on in this run: its interpreter, and the context in it, need not wait
            await asyncio.to_thread(self.chat.graphs.rlm.sessions.drop, values["trajectory"])
        usage = usage_since(run.record.before, values["usage"])
        waiting = {digest: pause for digest, pause in run.open.items() if is_call(pause)}
        if self.request.one_call_at_a_time:
            waiting = dict(list(waiting.items())[:1])
        calls = [
            {
                "name": pause.value["name"],
                "args": pause.value["args"],
                "id": call_id(run.id, pause.id),
            }
            for pause in waiting.values()
        ]
        reason, text = values.get("stop_reason") or "paused", ""
        if not calls and settings["calls"] and values.get("structured_response") is not None:
            calls = [_forced_call(run.id, settings["calls"], values["structured_response"])]
        elif not calls:
            form = values.get("structured_response") if settings["schema"] is not None else None
            text = cut_at(values["answer"] if form is None else text_of(form), self.request.stop)
        metadata = {
            "model_name": self.chat.name,
            "finish_reason": "tool_calls"
            if calls
            else "stop"
            if reason == "answered"
            else "length",
            "thread_id": thread_of(self.home.owner, run.id),
            "turns": turn_count(values["log"]),
            "sub_calls": values["usage"]["sub_calls"],
            "stop_reason": reason,
        }
        return final(text=text, calls=calls, usage=usage, metadata=metadata)

    @property
    def digest(self) -> str:
        """What is asked: the same for messages that say the same, whatever their ids."""
        said = [
            (
                m.type,
                m.content,
                m.name,
                getattr(m, "tool_calls", None),
                getattr(m, "tool_call_id", None),
                getattr(m, "status", None),
            )
            for m in self.messages
        ]
        text = json.dumps(
            [said, replace(self.request, form=None).__dict__], default=str, sort_keys=True
        )
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


Locks = weakref.WeakValueDictionary[tuple[int, str], asyncio.Lock]
_locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Locks] = weakref.WeakKeyDictionary()


def lock_of(home: RunHome, run: str) -> asyncio.Lock:
    """Held while a run goes on: a second call with the same answers waits, and gets the reply of the first."""
    locks = _locks.setdefault(asyncio.get_running_loop(), Locks())
    return locks.setdefault((id(home.saver), thread_of(home.owner, run)), asyncio.Lock())


async def _progress(run: ChatRun, given: Any) -> AsyncIterator[AIMessageChunk]:
    async with aclosing(cast(Any, isolated(lambda: run.work(given)))) as events:
        async for event in events:
            if text := progress_text(event):
                yield reasoning(text)


def _forced_call(run: str, names: list[str], value: Any) -> dict[str, Any]:
    """The answer as the call that the caller asked for. Its id is no way back to the run, which has ended."""
    name, args = (names[0], value) if len(names) == 1 else (value["name"], value["arguments"])
    return {"name": name, "args": args, "id": f"call_{run}"}


def _needed(run: str, request: Any) -> ApprovalNeededError:
    return ApprovalNeededError(
        f"A human has to decide about {called(request)} before the run goes on. In a LangGraph graph with a checkpointer "
        f"this is an interrupt; here, call model.resume({run!r}, {{'decisions': [...]}}) with a decision for each.",
        run,
        request,
    )
