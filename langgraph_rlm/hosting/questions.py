"""Questions: the input of a graph that somebody asks. Runs nothing."""

from typing import Any

from langgraph_rlm.errors import ConfigurationError, ContextError
from langgraph_rlm.rlm_graph import RLMGraph


def input_of(graph: Any, question: str, context: Any = None) -> dict[str, Any]:
    """Make the input of a graph of a question.

    Args:
        graph: an RLM, or a graph that takes messages or a query.
        question: what is asked.
        context: what it is about, as an RLM takes it; None for none.

    Raises:
        ConfigurationError: the graph takes neither a query nor messages.
        ContextError: there is a context, and the graph takes none.
    """
    if isinstance(graph, RLMGraph):
        return {"query": question} if context is None else {"query": question, "context": context}
    known = graph.get_input_jsonschema().get("properties", {})
    about: dict[str, Any] = {}
    if context is not None:
        if "context" not in known:
            raise ContextError(
                "The graph that answers here takes questions only: ask without files and text."
            )
        about = {"context": context}
    if "messages" in known:
        return {"messages": [{"role": "user", "content": question}], **about}
    if "query" in known:
        return {"query": question, **about}
    raise ConfigurationError(
        f"The graph takes {', '.join(known) or 'nothing'}: a question needs 'messages' or 'query' "
        "in its input."
    )
