"""Plain: the smallest RLM that does a benchmark's work, a loop over the same clients.

It has no graph, no log and no sandbox.
"""

import ast
import asyncio
import io
import re
from functools import partial
from types import CodeType
from typing import Any


async def plain_loop(root: Any, sub: Any, question: str, context: str, at_once: int) -> str:
    """Ask the root model, run its cell, append what it printed, until a cell calls FINAL.

    Args:
        root: a chat model, or something that has its `ainvoke`.
        sub: answers prompts.
        question: of the run.
        context: what code has as `context`.
        at_once: most sub-calls at once.
    """
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
    messages = [
        ("system", "Write Python in ```repl fences; call FINAL(answer)."),
        ("user", question),
    ]
    while not found:
        reply = await root.ainvoke(messages)
        printed = io.StringIO()
        names["print"] = partial(print, file=printed)  # stdout is shared by loops at once
        waiting = eval(_compiled(reply.text), names)
        if waiting:
            await waiting
        messages += [("assistant", reply.text), ("user", printed.getvalue())]
    return found[0]


def _compiled(reply: str) -> CodeType:
    """Compile the reply's code, with each call of a model awaited."""
    code = "\n".join(re.findall(r"```repl\n(.*?)\n```", reply, re.DOTALL))
    code = code.replace("llm_query", "await llm_query")
    return compile(code, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
