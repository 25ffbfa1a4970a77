"""Sub-call: answer one pending `llm_query` or `rlm_query`. Never touches the interpreter."""

import asyncio
from collections.abc import Callable
from functools import reduce
from typing import Any, Protocol, cast

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.budget.ledger import LimitReached
from langgraph_rlm.budget.limits import StopReason
from langgraph_rlm.budget.usage import Usage, add_usage, share, spent
from langgraph_rlm.log.entries import ReplyEntry, error_entry, json_reply_entry, reply_entry
from langgraph_rlm.pregel.keys import NO_STREAM
from langgraph_rlm.progress import Spent, SubCalls, Where
from langgraph_rlm.repl.requests import context_of, form_of
from langgraph_rlm.runtime.run import FRAME, Frame, ModelFailed, frame_of, with_key
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.runtime.structured_query import structured_query
from langgraph_rlm.schemas.answers import Mismatch, json_of
from langgraph_rlm.state import PendingCall, RLMUpdate

QUESTION_CHARS = 4_000
"""A child's prompt up to this length is its question; a longer one is its context as well, and the question says so."""


ERROR_CHARS = 1_000
"""Most characters of a child's answer in the error that it does not match."""

TREE_WIDE: frozenset[StopReason] = frozenset(
    {"max_sub_calls", "max_tokens", "max_cost", "max_seconds"}
)
"""Limits of the whole tree: when a child stops at one, so does its parent."""

Answered = tuple[ReplyEntry, StopReason | None]
"""The entry for the log, and the limit that was reached on the way."""


class Graph(Protocol):
    """The graph of a child."""

    async def ainvoke(self, input: Any, config: RunnableConfig) -> dict[str, Any]:
        """Run it to its end, or raise its interrupt."""
        ...


class SubCall:
    """The node."""

    def __init__(self, rlm: RLMRuntime, child: Callable[[], Graph]) -> None:
        self._rlm = rlm
        self._child = child

    async def __call__(
        self, call: PendingCall, config: RunnableConfig, runtime: Runtime[None]
    ) -> RLMUpdate:
        """One call in, one record out: the reply is checkpointed before any code reads it.

        A failure of a model's client becomes an entry like any other. All else passes through: a pause, a broken set-up, and
        what the checkpointer or the store raise in a child.
        """
        frame = frame_of(config)
        frame.show_on(runtime)
        run = frame.run
        run.take_over(call["parent"], call["place"].rpartition("/")[0])
        async with (
            run.calls if call["call"] == "llm" else run.children(frame.depth + 1)
        ):  # first of all: a thousand that wait hold little
            update = await self._answered(call, config, frame)
        await run.batch_ends.join(call["total"] - self._report(call, frame))
        return update

    async def _answered(self, call: PendingCall, config: RunnableConfig, frame: Frame) -> RLMUpdate:
        payload = self._rlm.requests.payload(call["request"])
        model = cast("str | None", payload["model"])
        paid: list[Usage] = []
        try:
            reply, limit = await (self._ask if call["call"] == "llm" else self._recurse)(
                payload, call["item"], config, frame, paid
            )
        except LimitReached as reached:
            reply, limit = error_entry(str(reached), model), reached.limit
        except (Mismatch, ModelFailed) as failure:
            reply, limit = error_entry(str(failure), model), None
        usage = reduce(add_usage, paid, spent(sub_calls=1, seconds=frame.run.ledger.lap()))
        update = RLMUpdate(log={call["place"]: {**reply, "usage": share(usage)}})
        return update if limit is None else update | RLMUpdate(limit=limit)

    async def _ask(
        self,
        payload: dict[str, Any],
        item: int,
        config: RunnableConfig,
        frame: Frame,
        paid: list[Usage],
    ) -> Answered:
        """One call of the model, several where its reply does not match the schema. What each cost goes to `paid` at once."""
        name, prompt, form = payload["model"], payload["prompts"][item], form_of(payload)

        async def call(given: str | list[AnyMessage]) -> str:
            reply, cost = await frame.run.call(
                self._rlm.sub(name), given, _quiet(config), frame.depth + 1
            )
            paid.append(cost)
            return str(reply.text)

        if form is None:
            return await reply_entry(await call(prompt), self._rlm.blobs, name), None
        return await json_reply_entry(
            await structured_query(prompt, form, call), self._rlm.blobs, name
        ), None

    async def _recurse(
        self,
        payload: dict[str, Any],
        item: int,
        config: RunnableConfig,
        frame: Frame,
        paid: list[Usage],
    ) -> Answered:
        """The same graph one level deeper; its own calls wait for their own turn."""
        given, form, name = (
            await asyncio.to_thread(self._question, payload, item),
            form_of(payload),
            payload["model"],
        )
        out = await self._child().ainvoke(given, with_key(config, FRAME, frame.below(name, form)))
        paid.append(out["usage"])
        if out["stop_reason"] == "failed":
            return error_entry(out["answer"], name), None
        limit = out["stop_reason"] if out["stop_reason"] in TREE_WIDE else None
        if form is None:
            return await reply_entry(out["answer"], self._rlm.blobs, name), limit
        value = out["structured_response"]
        if value is None and not await asyncio.to_thread(form.admits, None):
            return error_entry(
                f"its answer does not match the schema ({out['stop_reason']}): {out['answer'][:ERROR_CHARS]}",
                name,
            ), limit
        return await json_reply_entry(json_of(value), self._rlm.blobs, name), limit

    def _question(self, payload: dict[str, Any], item: int) -> dict[str, Any]:
        """A child without a context of its own works on its prompt."""
        prompt, context = payload["prompts"][item], context_of(payload, item)
        if context is not None:
            return {"query": prompt, "context": context}
        if len(prompt) <= QUESTION_CHARS:
            return {"query": prompt, "context": prompt}
        start = prompt[: QUESTION_CHARS // 2]
        return {
            "query": f"Do what the text in `context` asks. It starts so:\n{start}\n[...]\n{prompt[-QUESTION_CHARS // 4 :]}",
            "context": prompt,
        }

    def _report(self, call: PendingCall, frame: Frame) -> int:
        """Show how far a batch is, about a hundred times; how many of it are answered."""
        run, total, place = frame.run, call["total"], call["place"].rpartition("/")[0]
        key = f"{call['parent']} {place}"
        run.answered[key] += 1
        done = run.answered[key]
        if done == total or done % max(1, total // 100) == 0:
            at = Where(depth=call["depth"], trajectory=call["parent"])
            run.emit(
                SubCalls(
                    type="sub_calls",
                    place=place,
                    function=call["function"],
                    done=done,
                    total=total,
                    **at,
                )
            )
            run.emit(Spent(type="usage", usage=run.ledger.usage, **at))
        return done


def _quiet(config: RunnableConfig) -> RunnableConfig:
    return {**config, "tags": [*(config.get("tags") or []), NO_STREAM]}
