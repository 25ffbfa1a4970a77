"""Door: `as_tool`, which graphs and chat models have alike. Knows neither."""

import os
from collections.abc import Sequence
from typing import Any

from langchain_core.tools import BaseTool

from langgraph_rlm.as_tool.runs import Graph
from langgraph_rlm.as_tool.sub_agent import SubAgent, sub_agent_of
from langgraph_rlm.as_tool.tool import Offer, RLMTool, described
from langgraph_rlm.errors import ConfigurationError, ContextError
from langgraph_rlm.schemas.answers import user_format
from langgraph_rlm.storage.allowed import Allowed


class AsTool:
    """What can be a tool of an agent."""

    @property
    def asked_graph(self) -> Graph:
        """Give the graph that answers."""
        raise NotImplementedError

    def as_tool(
        self,
        name: str | None = None,
        description: str | None = None,
        *,
        context: Any = None,
        folders: Sequence[str | os.PathLike[str]] = (),
        takes_text: bool = True,
        follow_up: bool = True,
        response_format: Any = None,
    ) -> BaseTool:
        """Give the RLM as a tool of an agent, which asks a question and gets the answer alone.

        A call has a `question`, and what you allow: `paths`, `text`, `thread`. In an agent with a
        checkpointer a run that was cut off continues, and an approval within pauses the agent.

        Args:
            name: of the tool; the graph's own when left out.
            description: for the agent's model: when to ask, and what `context` is.
            context: what each question is about, as the graph takes it.
            folders: those whose files the agent's model may name; none when left out.
            takes_text: whether it may give a text of its own.
            follow_up: whether it may continue with the contexts of an earlier answer, which it
                gets a `thread` with. It finds those of its own thread alone.
            response_format: the form of the tool's answers; the graph's own when left out.

        Returns:
            A tool whose message has the answer, and an artifact with `usage`, `stop_reason`,
            `coverage`, `files`, `structured_response` and `thread`.

        Raises:
            ConfigurationError: one of `folders` is none, or `response_format` is no form.
        """
        try:
            allowed = Allowed(folders)
        except ContextError as error:
            raise ConfigurationError(f"as_tool(folders=...): {error}") from None
        form = None if response_format is None else user_format(response_format)
        offer = Offer(context, allowed, takes_text, follow_up, form)
        graph = self.asked_graph
        return RLMTool.of(graph, offer, name or graph.name, description or described(offer))

    def as_subagent(self, name: str, description: str) -> SubAgent:
        """Give the RLM as a sub-agent of a deep agent, for `create_deep_agent(subagents=[...])`.

        It gets the task as its question, and gives its answer. It works as a graph within the
        agent's: a run that was cut off continues, and an approval within pauses the agent.

        Args:
            name: by which the agent's model calls it.
            description: for the agent's model: when to call it.

        Returns:
            A dict of the keys of deepagents' `CompiledSubAgent`.
        """
        return sub_agent_of(self.asked_graph, name, description)
