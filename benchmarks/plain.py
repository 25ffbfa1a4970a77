"""Plain: the smallest RLM that does a benchmark's work, a loop over the same clients. No graph, no log, no sandbox."""

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
    root: ChatOpenAI, sub: ChatOpenAI, query: str, context: str, at_once: int
) -> str:
    """Ask the root model, `exec` its cell, append what it printed; until the cell calls FINAL."""
    gate, found = asyncio.Semaphore(at_once), list[str]()

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
        HumanMessage(query),
    ]
    while not found:
        reply = await root.ainvoke(messages)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            if waiting := eval(_compiled(reply.text), names):
                await waiting
        messages += [reply, HumanMessage(printed.getvalue())]
    return found[0]


def _compiled(reply: str) -> CodeType:
    """The reply's cell, in which a call of a model is awaited."""
    code = "\n".join(re.findall(r"```repl\n(.*?)\n```", reply, re.DOTALL)).replace(
        "llm_query", "await llm_query"
    )
    return compile(code, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
