"""Calls: one call of the chat model as a value: what it asks, and where. Answers none."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from langgraph_rlm.budget.ledger import Ledger
from langgraph_rlm.chat.graphs import Graphs
from langgraph_rlm.chat.messages_to_input import Rule
from langgraph_rlm.chat.requests import Request
from langgraph_rlm.chat.runs import RunHome
from langgraph_rlm.chat.tasks import Task
from langgraph_rlm.models.sampling import SAMPLING
from langgraph_rlm.runtime.shared import RLMRuntime


@dataclass(frozen=True)
class Resumed:
    """A human's answer to the approvals that a run waits for, given outside of any graph."""

    run: str
    """Id of the run."""
    answer: Any
    """In any form that `approvals.answers_of` takes."""


@dataclass(frozen=True)
class Ended:
    """Where a run has ended."""

    run: str
    """Its id."""
    checkpoint: str
    """The checkpoint of its thread that has the answer."""


@dataclass(frozen=True)
class Named:
    """The id of the run that a call begins, for a caller that keeps ids of its own.

    The same call with the same id continues the run where it was cut off.
    """

    run: str
    after: Ended | None = None
    """The run whose next question this is: the new one begins as its copy, with its variables."""
    is_kept: bool = False
    """Whether the reply of a model that is asked directly is kept too, for the same call."""


@dataclass(frozen=True)
class Chat:
    """What all calls of a chat model share."""

    graphs: Graphs
    name: str
    """The `model_name` of the replies."""
    direct_below_tokens: int
    """Shorter inputs go straight to the root model; 0 for none."""
    rule: int | Rule
    """How messages are read, as `messages_to_input.input_of` takes it."""
    max_tokens: int | None = None
    """Most tokens of the answers to calls that say nothing of it."""
    file_blocks: bool = False
    """Whether replies carry the files of their runs as content blocks."""


@dataclass(frozen=True)
class Call:
    """One call of the chat model."""

    chat: Chat
    home: RunHome
    request: Request
    messages: list[BaseMessage]
    task: Task | None = None
    """The LangGraph task that the call is made in."""
    resumed: Resumed | None = None
    """A human's answer, instead of messages."""
    named: Named | None = None
    """The run to begin, where the caller names it."""
    is_streamed: bool = True
    """Whether the caller sees the reply piece by piece."""
    budget: Ledger | None = None
    """A ledger that all that is asked for the call is counted in, and whose limits hold."""
    own: RLMRuntime | None = None
    """The runtime with the settings of this call; None where it sets nothing."""

    @property
    def rlm(self) -> RLMRuntime:
        """What the call works with."""
        return self.own or self.chat.graphs.rlm

    @property
    def max_tokens(self) -> int | None:
        """The most tokens of the answer; None for no limit."""
        return self.request.max_tokens or self.chat.max_tokens

    @property
    def model_options(self) -> dict[str, Any]:
        """The options of a model that is asked directly: what bounds the answer bounds its
        reply."""
        options = self.request.turn_options
        if self.max_tokens is not None:
            sampling = options.get(SAMPLING, {})
            options[SAMPLING] = {**sampling, "max_tokens": self.max_tokens}
        if self.request.stop:
            options["stop"] = self.request.stop
        return options

    @property
    def digest(self) -> str:
        """Digest of what is asked: the same for messages that say the same, whatever their ids."""
        said = [_said(message) for message in self.messages]
        # A `Format` holds a function, which has no stable text; the other fields say the same.
        asked = {**vars(self.request), "form": None}
        # It would change the digests of runs that an earlier version began.
        del asked["frees"]
        text = json.dumps([said, asked], default=str, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _said(message: BaseMessage) -> list[Any]:
    """List what a message says, without its ids and what a provider adds."""
    return [
        message.type,
        message.content,
        message.name,
        getattr(message, "tool_calls", None),
        getattr(message, "tool_call_id", None),
        getattr(message, "status", None),
    ]
