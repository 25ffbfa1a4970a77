"""Middleware: `RLMMiddleware`, for LangChain's `create_agent` and deepagents' `create_deep_agent`.

It decides when something becomes a context; what stands in its place is `notes.py`'s.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.runtime import Runtime
from langgraph.types import Command

from langgraph_rlm.agents.asking import READ, Asker
from langgraph_rlm.agents.budgets import Budgets, limits_of_thread
from langgraph_rlm.agents.file_system import FileSystem
from langgraph_rlm.agents.keeping import Keeper, older_of, size_of
from langgraph_rlm.agents.state import RLMAgentState
from langgraph_rlm.as_tool.runs import keeps_blobs
from langgraph_rlm.budget.ledger import LimitReached
from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.chat.model import ChatRLM
from langgraph_rlm.errors import ConfigurationError, shown
from langgraph_rlm.models.wrapped import model_name
from langgraph_rlm.pregel.keys import saver_around
from langgraph_rlm.pregel.sync import wait_for
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.runtime.variant import check_prices

try:
    from langchain.agents.middleware.types import (
        AgentMiddleware,
        ExtendedModelResponse,
        ModelRequest,
        ModelResponse,
        ToolCallRequest,
    )
except ImportError as error:
    raise ConfigurationError(
        "RLMMiddleware needs langchain: pip install 'langgraph-rlm[agents]'"
    ) from error

T = TypeVar("T")

LEAST_LONG = 9_000
"""Least characters of a text that can be kept as a context: what the tools themselves show is
shorter."""


class RLMMiddleware(AgentMiddleware[RLMAgentState, Any, Any]):
    """Keeps what is too long for an agent's model as contexts, which an RLM is asked about.

    Long results of tools, long messages of people, and the older part of a long conversation go to
    the blob store of the RLM; the agent's state holds handles, and its messages a short note. The
    agent gets two tools: `ask_context(question, names)`, a run of the RLM, and
    `read_context(name, start, end, pattern)`. They know the contexts of the agent's own thread.

    Example:
        >>> rlm = create_rlm("openai:gpt-5")
        >>> agent = create_agent("openai:gpt-5", tools=[search], middleware=[RLMMiddleware(rlm)])
    """

    state_schema = RLMAgentState

    def __init__(
        self,
        rlm: RLMGraph | ChatRLM,
        *,
        long_text: int = 16_000,
        long_history: int | None = 200_000,
        thread_limits: Mapping[str, Any] | None = None,
        count_agent: bool = False,
        backend: Any = None,
        folders: Sequence[str] = ("/",),
    ) -> None:
        """Make the middleware of one agent.

        Args:
            rlm: answers the questions; its `limits` are those of each question.
            long_text: most characters of a tool's result, or of a person's message, that the
                agent's model is shown; at least 9,000. Four are about one token.
            long_history: most characters of the whole conversation; what is older than its last
                quarter then becomes a context. None to leave it alone.
            thread_limits: what all questions of one thread may spend together: `max_tokens`,
                `max_cost` and `max_sub_calls`. Once one is reached, `ask_context` says so.
            count_agent: whether the agent's own model calls count in `thread_limits` and
                `rlm_usage` too. A call that would pass a limit is not made: the agent ends with a
                message that says so.
            backend: of a deep agent, such as its `StateBackend()`: `ask_context` then takes paths
                of files and folders too.
            folders: of the backend, those that may be asked about. deepagents' own `permissions`
                are not asked.

        Raises:
            ConfigurationError: an argument is wrong.
        """
        super().__init__()
        graph = rlm_of(rlm)
        if long_text < LEAST_LONG or (long_history is not None and long_history < 4 * long_text):
            raise ConfigurationError(
                f"RLMMiddleware(long_text={long_text}, long_history={long_history}): long_text "
                f"must be at least {LEAST_LONG:,}, and long_history four times that or more."
            )
        self._graph = graph
        self._long_text = long_text
        self._long_history = long_history
        self._counts_agent = count_agent
        self._budgets = Budgets(_checked(thread_limits, graph), graph.rlm.prices)
        files = None if backend is None else FileSystem(backend, folders)
        self.tools = Asker(graph, self._budgets, files).tools

    # Long results

    def wrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]],
    ) -> ToolMessage | Command[Any]:
        """Run a tool, and keep a long result as a context."""
        result = handler(request)
        if request.tool_call["name"] == READ:
            return result
        return wait_for(lambda: self._keep(lambda keeper: keeper.result(result)))

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """Do what `wrap_tool_call` does."""
        result = await handler(request)
        if request.tool_call["name"] == READ:
            return result
        return await self._keep(lambda keeper: keeper.result(result))

    async def _keep(self, make: Callable[[Keeper], T]) -> T:
        """Give what a function makes with a keeper, whose blobs the agent's database refers to."""
        blobs = self._graph.rlm.blobs
        async with keeps_blobs(blobs, saver_around()):
            return await asyncio.to_thread(make, Keeper(blobs, self._long_text))

    # Long messages and histories

    def before_model(self, state: RLMAgentState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Keep long messages, and the older part of a long conversation, as contexts."""
        if not self._is_long(state):
            return None
        return wait_for(lambda: self._keep(lambda keeper: self._update(keeper, state)))

    async def abefore_model(
        self, state: RLMAgentState, runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        """Do what `before_model` does."""
        if not self._is_long(state):
            return None
        return await self._keep(lambda keeper: self._update(keeper, state))

    def _is_long(self, state: RLMAgentState) -> bool:
        """Whether anything may have to be done: a look at the sizes alone."""
        sizes = [size_of(message) for message in state["messages"]]
        most = self._long_history
        return max(sizes, default=0) > self._long_text or (most is not None and sum(sizes) > most)

    def _update(self, keeper: Keeper, state: RLMAgentState) -> dict[str, Any] | None:
        """Make the update of the state. Blocks."""
        given = state["messages"]
        messages = [self._shortened(keeper, message) for message in given]
        update: list[Any] = [
            new for new, old in zip(messages, given, strict=True) if new is not old
        ]
        if self._long_history is not None:
            moved = older_of(messages, self._long_history)
            if moved:
                gone = {message.id for message in moved}
                update = [each for each in update if each.id not in gone]
                update += keeper.history(moved)
        return {"messages": update, "rlm_contexts": keeper.contexts} if update else None

    def _shortened(self, keeper: Keeper, message: AnyMessage) -> AnyMessage:
        if isinstance(message, HumanMessage | ToolMessage) and message.id is not None:
            return keeper.shortened(message)
        return message

    # The agent's own model calls

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> Any:
        """Call the agent's model within the budget of the thread, where it counts."""
        if not self._counts_agent:
            return handler(request)
        call = _AgentCall(self._budgets, request)
        return call.refused() or call.counted(handler(request))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Any:
        """Do what `wrap_model_call` does."""
        if not self._counts_agent:
            return await handler(request)
        call = _AgentCall(self._budgets, request)
        await self._graph.rlm.prices.prepare(call.model)
        return call.refused() or call.counted(await handler(request))


class _AgentCall:
    """One call of the agent's own model, on the ledger of its thread."""

    def __init__(self, budgets: Budgets, request: ModelRequest[Any]) -> None:
        self.model = model_name(request.model)
        self._budgets = budgets
        self._chars = sum(map(size_of, request.messages)) + len(request.system_prompt or "")
        state = cast("Mapping[str, Any]", request.state)
        self._ledger = budgets.opened(state.get("rlm_usage"))

    def refused(self) -> AIMessage | None:
        """Give what ends the agent, if the call may not be made."""
        self._budgets.check_price(self.model)
        try:
            self._ledger.release(self._ledger.hold(self.model, self._chars))
        except LimitReached as reached:
            return AIMessage(f"[{reached}: the budget of this conversation is used up.]")
        return None

    def counted(self, response: ModelResponse[Any]) -> ExtendedModelResponse[Any]:
        """Give a response, with what it has spent as an update of the state."""
        replies = [each for each in response.result if isinstance(each, AIMessage)]
        usage = self._ledger.settle(self.model, "agent", replies[0], self._chars)
        return ExtendedModelResponse(response, Command(update={"rlm_usage": usage}))


def rlm_of(given: Any) -> RLMGraph:
    """Give the graph that answers questions.

    Raises:
        ConfigurationError: it is none.
    """
    if isinstance(given, ChatRLM):
        return given.asked_graph
    if not isinstance(given, RLMGraph):
        raise ConfigurationError(
            f"RLMMiddleware({shown(given)}) must be an RLM: create_rlm(...) or ChatRLM(...)."
        )
    return given


def _checked(given: Mapping[str, Any] | None, graph: RLMGraph) -> Limits:
    """Check the limits of a thread. Raises `ConfigurationError`."""
    limits = limits_of_thread(given)
    check_prices(graph.rlm, limits)
    return limits
