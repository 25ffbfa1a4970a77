"""Structured query: a question to a model with a schema. The prompt states it, the reply is
checked, a wrong one asked again.

It does not use the providers' own structured output: each takes another part of JSON Schema, and
fails on the rest.
"""

import asyncio
from collections.abc import Awaitable, Callable

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from langgraph_rlm.models.replies import EMPTY_REPLY
from langgraph_rlm.prompts import reply_again_prompt, reply_schema_prompt
from langgraph_rlm.schemas.answers import Format, Hopeless, Mismatch, json_of

TRIES = 3


async def structured_query(
    prompt: str, form: Format, call: Callable[[list[AnyMessage]], Awaitable[str]]
) -> str:
    """Ask a model for a value of a form.

    Args:
        prompt: what is asked.
        form: what the reply has to match.
        call: asks the model once.

    Returns:
        The value as JSON.

    Raises:
        Mismatch: no reply matched.
        Exception: whatever `call` raises.
    """
    messages: list[AnyMessage] = [
        HumanMessage(reply_schema_prompt(prompt=prompt, schema=form.text))
    ]
    problem = ""
    for _ in range(TRIES):
        text = await call(messages)
        try:
            return json_of(await asyncio.to_thread(form.read, text))
        except Hopeless:
            raise
        except Mismatch as mismatch:
            problem = str(mismatch)
        messages = [*messages, *asked_again(text, problem)]
    raise Mismatch(f"no reply matched the schema in {TRIES} tries; the last one: {problem}")


def asked_again(text: str, problem: str) -> list[AnyMessage]:
    """Give a reply that has another form, and what the model is told of it."""
    return [AIMessage(text or EMPTY_REPLY), HumanMessage(reply_again_prompt(error=problem))]
