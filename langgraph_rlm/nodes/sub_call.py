"""Sub-call: answer one pending `rlm_query` or `llm_query`, or a batch of these. Never touches the
interpreter."""

import time
from collections.abc import Callable

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.log.places import call_of
from langgraph_rlm.log.stamps import stamp
from langgraph_rlm.nodes.answering import Answering
from langgraph_rlm.nodes.batch import Batch
from langgraph_rlm.nodes.events import answered_items
from langgraph_rlm.nodes.item import Children
from langgraph_rlm.runtime.run import frame_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import PendingCall, RLMUpdate


class SubCall:
    """The node."""

    def __init__(self, rlm: RLMRuntime, children: Callable[[RLMRuntime], Children]) -> None:
        self._answering = Answering(rlm, children(rlm))

    async def __call__(
        self, call: PendingCall, config: RunnableConfig, runtime: Runtime[None]
    ) -> RLMUpdate:
        """Take one call and give its record: a reply is saved before any code reads it."""
        frame_of(config).show_on(runtime)
        if "items" in call:
            return await Batch(self._answering, call, config).answered()
        return await self._one(call, config)

    async def _one(self, call: PendingCall, config: RunnableConfig) -> RLMUpdate:
        """Answer one item that is a task of its own."""
        frame, place = frame_of(config), call["place"]
        run = frame.run
        run.take_over(call["parent"], call_of(place))
        is_model, asked = call["call"] == "llm", time.monotonic()
        # Before anything is made: a thousand calls that wait hold little memory.
        async with run.slots if is_model else run.child_slots(frame.depth + 1):
            answer = await self._answering.answer(call, call["item"], config, asked)
        update = RLMUpdate(log=stamp({place: answer.entry}, run.id))
        if answer.limit is not None:
            update["limit"] = answer.limit
        done = answered_items(run, call, call_of(place))
        await run.batch_ends.join(call["total"] - done)
        return update
