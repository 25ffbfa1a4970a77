"""Answering: ask a model or a child RLM for one item of a call, and make an entry of what comes."""

import asyncio
import time
from functools import reduce
from typing import Any, Literal, NamedTuple

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig

from langgraph_rlm.budget.ledger import CHARS_PER_TOKEN, LimitReached
from langgraph_rlm.budget.limits import StopReason
from langgraph_rlm.budget.usage import add_usage, share, spent
from langgraph_rlm.log.entries import ReplyEntry, error_entry, json_reply_entry, reply_entry
from langgraph_rlm.log.stamps import seconds_since
from langgraph_rlm.log.thoughts import split_thoughts
from langgraph_rlm.models.overflow import overflow_of
from langgraph_rlm.models.replies import Shortfall, message_text, shortfall_of, thought_text
from langgraph_rlm.nodes.item import Children, Item
from langgraph_rlm.pregel.keys import NO_STREAM
from langgraph_rlm.repl.requests import context_of, form_of, images_of, prompt_of
from langgraph_rlm.runtime.parts import Part, parts_of, with_parts
from langgraph_rlm.runtime.run import Caller, ModelFailed, frame_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.runtime.structured_query import structured_query
from langgraph_rlm.schemas.answers import Mismatch, json_of
from langgraph_rlm.state import PendingCall, place_of
from langgraph_rlm.storage.inputs import by_reference
from langgraph_rlm.storage.pages import NotMade
from langgraph_rlm.telemetry.work import Work

QUESTION_CHARS = 4_000
"""A child's prompt of up to this length is its question. A longer one is its context too, and the
question says so."""

ERROR_CHARS = 1_000
"""Most characters of a child's answer in the error that it does not match."""

SHORTFALLS: dict[Shortfall, str] = {
    "length": "the reply was cut off at its limit of tokens (finish_reason length)",
    "content_filter": "the provider filtered the reply (finish_reason content_filter)",
    "refusal": "the model refused",
}
"""What code gets to see where a reply is not what was asked for."""


class Answer(NamedTuple):
    """The entry for the log, and the limit of the whole tree that was reached on the way."""

    entry: ReplyEntry
    limit: StopReason | None = None


class Unfinished(Exception):
    """A reply is not what was asked for; the message says why, with what did arrive."""


class Answering:
    """Answers items of calls. The caller holds the slot of each."""

    def __init__(self, rlm: RLMRuntime, children: Children) -> None:
        self._rlm = rlm
        self._children = children

    async def answer(
        self, call: PendingCall, number: int, config: RunnableConfig, asked: float
    ) -> Answer:
        """Answer one item: its entry is whole, with what it has spent.

        A failure of a model's client becomes an entry like any other. All else passes through: a
        pause, a broken set-up, and what the checkpointer or the blob store raise in a child.

        Args:
            call: that the item is of.
            number: of the item.
            config: of the node.
            asked: when it began to wait for its slot, of `time.monotonic()`.
        """
        started = time.monotonic()
        item = await self._item(call, number, config)
        item.waited = started - asked
        answer = await self._answered(call, item)
        entry = await self._entry(answer.entry, item)
        entry["seconds"] = seconds_since(started)
        return Answer(entry, answer.limit)

    async def _item(self, call: PendingCall, number: int, config: RunnableConfig) -> Item:
        payload = self._rlm.requests.payload(call["request"])
        if "ranges" in payload:
            prompt = await asyncio.to_thread(prompt_of, payload, number, self._rlm.blobs)
        else:
            prompt = prompt_of(payload, number, self._rlm.blobs)
        return Item(
            prompt=prompt,
            context=context_of(payload, number) if "contexts" in payload else None,
            model=payload["model"],
            shown=images_of(payload, number),
            form=form_of(payload),
            caller=Caller(call["parent"], place_of(call, number)),
            config=config,
            frame=frame_of(config),
            call=call,
        )

    async def _answered(self, call: PendingCall, item: Item) -> Answer:
        """Ask, and make what came instead of an answer an entry too."""
        ask = self._ask if call["call"] == "llm" else self._recurse
        try:
            return await ask(item)
        except LimitReached as reached:
            return Answer(error_entry(str(reached), item.model), reached.limit)
        except ModelFailed as failure:
            told = _overflow(failure, item) or str(failure)
            return Answer(error_entry(told, item.model))
        except (Mismatch, NotMade, Unfinished) as failure:
            return Answer(error_entry(str(failure), item.model))

    async def _entry(self, entry: ReplyEntry, item: Item) -> ReplyEntry:
        """An answer with what it has spent, and what its model thought."""
        is_answered = entry["error"] is None
        own = spent(
            sub_calls=int(is_answered),
            failed_sub_calls=int(not is_answered),
            seconds=item.frame.run.ledger.take_seconds(),
        )
        whole: ReplyEntry = {**entry, "usage": share(reduce(add_usage, item.paid, own))}
        if item.thoughts:
            whole["thoughts"] = await self._rlm.blobs.keep(item.thoughts)
        if item.seen:
            whole["seen"] = item.seen
        if item.thread:
            whole["thread"] = item.thread
        return whole

    async def _ask(self, item: Item) -> Answer:
        """Call the model once; several times where its reply does not match the schema."""
        config, rlm = _quiet(item.config), self._rlm
        parts: list[Part] = []
        if item.shown:
            parts = await asyncio.to_thread(parts_of, item.shown, rlm.blobs, rlm.pages)
        tokens = sum(part.tokens for part in parts)

        async def call(given: str | list[AnyMessage]) -> str:
            asked = with_parts(given, parts) if parts else given
            model, work = rlm.sub(item.model), _work(item, "model")
            paid = await item.frame.run.call(model, asked, config, work, shown_tokens=tokens)
            item.paid.append(paid.cost)
            return _said(paid.reply, item)

        if item.form is None:
            text = await call(item.prompt)
            return Answer(await reply_entry(text, self._rlm.blobs, item.model))
        value = await structured_query(item.prompt, item.form, call)
        return Answer(await json_reply_entry(value, self._rlm.blobs, item.model))

    async def _recurse(self, item: Item) -> Answer:
        """Have a child answer: the same graph one level deeper, here or elsewhere."""
        given = await asyncio.to_thread(by_reference, _question(item), self._rlm.blobs)
        out, limit = await self._children.run(item, given, _work(item, "rlm"))
        if out.get("usage"):  # there is none where the first call of the child's model failed
            item.paid.append(out["usage"])
        item.seen = out.get("seen", {})
        if out["stop_reason"] == "failed":
            return Answer(error_entry(out["answer"], item.model))
        return Answer(await self._child_entry(out, item), limit)

    async def _child_entry(self, out: dict[str, Any], item: Item) -> ReplyEntry:
        """The entry of a child's answer, in the form that the parent's code wants."""
        if item.form is None:
            return await reply_entry(out["answer"], self._rlm.blobs, item.model)
        value = out.get("structured_response")
        if value is None and not await asyncio.to_thread(item.form.admits, None):
            shown = out["answer"][:ERROR_CHARS]
            told = f"its answer does not match the schema ({out['stop_reason']}): {shown}"
            return error_entry(told, item.model)
        return await json_reply_entry(json_of(value), self._rlm.blobs, item.model)


def _work(item: Item, kind: Literal["model", "rlm"]) -> Work:
    """One try of an item, as observers are told of it."""
    depth, purpose = item.frame.depth + 1, f"{item.call['call']}_query"
    work = item.frame.piece(kind, purpose, item.caller.rlm_id, item.caller.place, depth)
    work.waited, item.waited = item.waited, 0.0
    return work


def _said(reply: AIMessage, item: Item) -> str:
    """The text of a reply without its thoughts, which the item keeps.

    Raises:
        Unfinished: the reply is not what was asked for.
    """
    text, thoughts = split_thoughts(message_text(reply))
    item.thoughts = "\n".join(part for part in (thought_text(reply), thoughts) if part)
    text = text.strip() if thoughts else text
    shortfall = shortfall_of(reply)
    if shortfall is None:
        return text
    arrived = f"; this did arrive: {text}" if text else ", before any of it arrived"
    raise Unfinished(f"{SHORTFALLS[shortfall]}{arrived}")


def _overflow(failure: ModelFailed, item: Item) -> str | None:
    """What code gets to see where a prompt is longer than the model's window; None for another
    failure."""
    overflow = overflow_of(failure.error)
    if overflow is None:
        return None
    length = len(item.prompt)
    fits = length // 2
    if overflow.window is not None:
        fits = overflow.window * CHARS_PER_TOKEN * 3 // 4
    more = f" and {len(item.shown)} pictures or the like" if item.shown else ""
    return (
        f"the prompt has {length:,} characters{more}, more than the model takes: about {fits:,} "
        "fit. Cut it into smaller pieces."
    )


def _question(item: Item) -> dict[str, Any]:
    """The input of a child. One without a context of its own works on its prompt."""
    prompt = item.prompt
    if item.context is not None:
        return {"query": prompt, "context": item.context}
    if len(prompt) <= QUESTION_CHARS:
        return {"query": prompt, "context": prompt}
    start, end = prompt[: QUESTION_CHARS // 2], prompt[-QUESTION_CHARS // 4 :]
    query = f"Do what the text in `context` asks. It starts so:\n{start}\n[...]\n{end}"
    return {"query": query, "context": prompt}


def _quiet(config: RunnableConfig) -> RunnableConfig:
    """The config of a call whose tokens stay out of the "messages" stream, which is the root
    model's."""
    return {**config, "tags": [*(config.get("tags") or []), NO_STREAM]}
