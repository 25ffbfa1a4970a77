"""Roles: the order in which some providers want them. Changes no text."""

import re
from collections.abc import Sequence

from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage

from langgraph_rlm.models.wrapped import Model, model_name

ALTERNATING = re.compile(r"mi[sn]tral|mixtral|magistral|codestral|devstral|pixtral", re.IGNORECASE)
"""Models whose chat templates refuse what a user says right behind a tool's result, wherever they
are served (https://docs.mistral.ai/capabilities/function_calling)."""


def in_order(messages: Sequence[AnyMessage], model: Model) -> list[AnyMessage]:
    """Give a conversation as a model takes it.

    Args:
        messages: no two of a user's stand next to each other.
        model: that they are for.

    Returns:
        The messages; where the model wants it, what the user says behind a tool's result is the end
        of that result.
    """
    if not ALTERNATING.search(f"{type(model).__name__} {model_name(model)}"):
        return list(messages)
    ordered: list[AnyMessage] = []
    for message in messages:
        before = ordered[-1] if ordered else None
        if isinstance(message, HumanMessage) and isinstance(before, ToolMessage):
            text = f"{before.text}\n\n{message.text}"
            ordered[-1] = before.model_copy(update={"content": text})
        else:
            ordered.append(message)
    return ordered
