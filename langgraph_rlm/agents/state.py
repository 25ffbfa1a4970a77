"""State: what the middleware adds to an agent's state: handles, and what was spent. No text."""

from typing import Annotated, NotRequired

from langgraph_rlm.budget.usage import Usage, add_usage
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.storage.context import HandleDict

try:
    from langchain.agents.middleware.types import (
        AgentState,
        OmitFromInput,
        PrivateStateAttr,
    )
except ImportError as error:
    raise ConfigurationError(
        "RLMMiddleware needs langchain: pip install 'langgraph-rlm[agents]'"
    ) from error

Contexts = dict[str, HandleDict]
"""The contexts of a thread, by name."""


def merge_contexts(known: Contexts, more: Contexts) -> Contexts:
    """Reducer: contexts are added. A name has the digest of its text in it, so that two tasks of a
    step may add the same."""
    return {**known, **more}


class RLMAgentState(AgentState):
    """The state of an agent with the middleware."""

    rlm_contexts: NotRequired[Annotated[Contexts, PrivateStateAttr, merge_contexts]]
    """Private: no caller can put a handle there, nor does an agent around get to see it."""
    rlm_usage: NotRequired[Annotated[Usage, OmitFromInput, add_usage]]
    """What questions about contexts have spent on this thread; with `count_agent` also the agent's
    own model calls."""
