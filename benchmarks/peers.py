"""Peers: other packages at the same work, each in a virtual environment of its own.

`rlms` is the official package, with its `local` environment; `dspy` is `dspy.RLM` with its local
interpreter; `deepagents` is an agent whose JavaScript (langchain-quickjs) asks sub-agents. Each
has as many calls at once as a benchmark says, even where that is no public option.
"""

import os
from typing import Any

from worker import QUESTION, Job

HEAP_MB = 4096
"""Of the agent's JavaScript: at its default of 64 it refuses large contexts."""


def peer(job: Job) -> Any:
    """Make a peer, ready to be called with a context."""
    return {"rlms": _rlms, "dspy": _dspy, "deepagents": _deepagents}[job["side"]](job)


def _address(job: Job) -> str:
    return job["url"] or "http://127.0.0.1:9/v1"


def _rlms(job: Job) -> Any:
    from rlm import RLM
    from rlm.core.lm_handler import LMHandler

    LMHandler.__init__.__defaults__ = (*LMHandler.__init__.__defaults__[:-1], job["at_once"])

    def client(name: str) -> dict[str, Any]:
        return {"model_name": name, "base_url": _address(job), "api_key": "none"}

    rlm = RLM(
        backend="openai",
        backend_kwargs=client("root"),
        other_backends=["openai"],
        other_backend_kwargs=[client("sub")],
        environment="local",
    )
    return lambda context: rlm.completion(context, root_prompt=QUESTION).response


def _dspy(job: Job) -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ["DSPY_CACHEDIR"] = job["folder"]
    import dspy
    from dspy.primitives.local_interpreter import LocalInterpreter

    makes: Any = dspy.RLM._make_llm_tools
    makes.__defaults__ = (*makes.__defaults__[:-1], job["at_once"])

    def model(name: str) -> Any:
        return dspy.LM(f"openai/{name}", api_base=_address(job), api_key="none", cache=False)

    dspy.configure(lm=model("root"))
    rlm = dspy.RLM(
        "context, query -> answer",
        max_iters=30,
        max_llm_calls=100_000,
        sub_lm=model("sub"),
        interpreter_factory=LocalInterpreter,
    )
    return lambda context: rlm(context=context, query=QUESTION).answer


def _deepagents(job: Job) -> Any:
    import asyncio

    from deepagents import create_deep_agent
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from langchain_quickjs import CodeInterpreterMiddleware

    held: list[str] = []

    @tool
    def get_context() -> str:
        """Return the whole input text."""
        return held[0]

    def model(name: str) -> Any:
        return ChatOpenAI(model=name, base_url=_address(job), api_key="none", max_retries=0)

    worker: Any = {
        "name": "worker",
        "description": "answers one question",
        "system_prompt": "Answer briefly.",
        "model": model("sub"),
        "tools": [],
    }
    interpreter = CodeInterpreterMiddleware(
        ptc=[get_context],
        memory_limit=HEAP_MB << 20,
        timeout=300.0,
        max_subagent_concurrency=job["at_once"],
    )
    agent: Any = create_deep_agent(model("root"), middleware=[interpreter], subagents=[worker])

    def asked(context: str) -> str:
        held.append(context)
        question = {"messages": [{"role": "user", "content": QUESTION}]}
        return asyncio.run(agent.ainvoke(question))["messages"][-1].text

    return asked
