"""Plain: the smallest RLM that does a benchmark's work, a loop over the same clients.

It has no graph, no log and no sandbox.
"""

import ast
import asyncio
import contextlib
import io
import re
from types import CodeType
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI


async def plain_loop(
    root: ChatOpenAI, sub: ChatOpenAI, question: str, context: str, at_once: int
) -> str:
    """Ask the root model, run its cell, append what it printed, until a cell calls FINAL."""
    gate = asyncio.Semaphore(at_once)
    found: list[str] = []

    async def llm_query(prompt: str) -> str:
        async with gate:
            return (await sub.ainvoke(prompt)).text

    async def llm_query_batched(prompts: list[str]) -> list[str]:
        return await asyncio.gather(*map(llm_query, prompts))

    names: dict[str, Any] = {
        "context": context,
        "llm_query": llm_query,
        "llm_query_batched": llm_query_batched,
        "FINAL": found.append,
    }
    messages: list[AnyMessage] = [
        SystemMessage("Write Python in ```repl fences; call FINAL(answer)."),
        HumanMessage(question),
    ]
    while not found:
        reply = await root.ainvoke(messages)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            waiting = eval(_compiled(reply.text), names)
            if waiting:
                await waiting
        messages += [reply, HumanMessage(printed.getvalue())]
    return found[0]


def _compiled(reply: str) -> CodeType:
    """Compile the reply's code, with each call of a model awaited."""
    code = "\n".join(re.findall(r"```repl\n(.*?)\n```", reply, re.DOTALL))
    code = code.replace("llm_query", "await llm_query")
    return compile(code, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
