"""Agent: an agent over a long tool result, with `RLMMiddleware` and without.

    python -m benchmarks.agent [--megabytes 20] [--questions 5]

The models are scripted, so the figures are what the agent sends, and not how well it answers: an
agent that fetches a log once and asks about it. Four characters count as a token; costs are at
`INPUT` and `OUTPUT` for the agent's model and a fifth of them for the sub-model. "Refused" is what
a window of `WINDOW` tokens would not take.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import RLMMiddleware, create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

WINDOW = 400_000
"""Tokens that the agent's model takes."""

INPUT, OUTPUT = 1.25, 10.0
"""USD per million tokens of the agent's model and of the RLM's root model."""

SUB = 5
"""How many times less the sub-model costs."""

CODE = """\
hits = grep('ERROR', max_matches=200)
parts = [chr(10).join(hit['text'] for hit in hits[at : at + 50]) for at in range(0, len(hits), 50)]
found = llm_query_batched(['Which part failed in these lines?' + chr(10) + part for part in parts])
FINAL(chr(10).join(found))"""


def log_of(size: int) -> str:
    """Make a log of some characters, with 150 errors in it."""
    rng = random.Random(1)
    lines = size // 80
    errors = {*rng.sample(range(lines), 150)}
    made = []
    for number in range(lines):
        level = "ERROR" if number in errors else "INFO"
        made.append(f"{number:09d} {level} part-{rng.randrange(400)} {rng.getrandbits(190):x}"[:79])
    return "\n".join(made)


def tokens_of(model: ScriptedModel) -> list[int]:
    """Give the tokens of each call that a model was sent."""
    return [sum(len(message.text) for message in prompt) // 4 for prompt in model.prompts]


class Told:
    """An agent's model: it fetches, asks each question, and says that it is done."""

    def __init__(self, questions: int, *, asks: bool) -> None:
        self._left = questions
        self._asks = asks

    def answer(self, text: str) -> Any:
        """Answer the last message."""
        if text == "go":
            return _call("fetch", "fetch")
        if self._asks and self._left:
            self._left -= 1
            return _call("ask_context", f"ask-{self._left}", question="Which parts failed?")
        return "done " * 50


def _call(tool: str, id: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": tool, "args": args, "id": id}])


def run(log: str, questions: int, middleware: Sequence[Any], *, asks: bool) -> ScriptedModel:
    """Run an agent over a log: it fetches it, and has that many questions about it."""

    def fetch() -> str:
        """Fetch the log."""
        return log

    model = ScriptedModel(answer=Told(questions, asks=asks).answer)
    agent = create_agent(
        model, tools=[fetch], middleware=[*middleware], checkpointer=InMemorySaver()
    )
    config: Any = {"configurable": {"thread_id": "benchmark"}}
    agent.invoke({"messages": [("user", "go")]}, config)
    if not asks:  # each question is a message of the person: the model has the log before it
        for number in range(questions):
            agent.invoke({"messages": [("user", f"Which parts failed? {number}")]}, config)
    return model


def shown(name: str, agent: Sequence[int], rlm: Sequence[int], sub: Sequence[int]) -> None:
    """Print a row."""
    cost = (sum(agent) + sum(rlm)) * INPUT / 1e6 + sum(sub) * INPUT / SUB / 1e6
    refused = sum(tokens > WINDOW for tokens in agent)
    print(
        f"| {name} | {len(agent)} | {max(agent):,} | {refused} | {sum(agent):,} "
        f"| {sum(rlm) + sum(sub):,} | {cost:.2f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--questions", type=int, default=5)
    options = parser.parse_args()
    log = log_of(int(options.megabytes * 1e6))
    print("| | calls | largest | refused | tokens of the agent | of the RLM | USD of input |")
    print("|---|---|---|---|---|---|---|")
    plain = run(log, options.questions, [], asks=False)
    shown("without", tokens_of(plain), [], [])
    with tempfile.TemporaryDirectory() as store:
        root, sub = ScriptedModel(replies=[cell(CODE)]), ScriptedModel(answer=lambda _: "part-7")
        rlm = create_rlm(root, sub_model=sub, blob_store=store)
        began = time.monotonic()
        model = run(log, options.questions, [RLMMiddleware(rlm)], asks=True)
        seconds = time.monotonic() - began
        shown("with", tokens_of(model), tokens_of(root), tokens_of(sub))
    print(f"\nWith it: {seconds:.1f} s in all; models answer at once.")


if __name__ == "__main__":
    main()
