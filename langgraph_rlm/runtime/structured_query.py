"""Structured query: an `llm_query` with a schema. The prompt states it, the reply is checked, and a wrong one is asked again.

Not by the providers' own structured output: that takes a part of JSON Schema that differs from one to the next, and fails on the rest.
"""

import asyncio
from collections.abc import Awaitable, Callable

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from langgraph_rlm.prompts import reply_again_prompt, reply_schema_prompt
from langgraph_rlm.schemas.answers import Format, Hopeless, Mismatch, json_of

TRIES = 3


async def structured_query(
    prompt: str, form: Format, call: Callable[[list[AnyMessage]], Awaitable[str]]
) -> str:
    """The value that a model replies with, as JSON.

    Args:
        prompt: what code asks.
        form: what the reply has to match.
        call: asks the model once.

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
        messages = [
            *messages,
            AIMessage(text or "(empty)"),
            HumanMessage(reply_again_prompt(error=problem)),
        ]
    raise Mismatch(f"no reply matched the schema in {TRIES} tries; the last one: {problem}")
