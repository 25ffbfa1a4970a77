"""Page story: a real run of scripted models that has something of everything that the page shows.

A question about 36 leases: code looks at them, asks a model about each (the run is killed in the
middle of it and goes on), makes a mistake, asks two child RLMs, waits for an approval, and answers
with quotes. Two seconds of work. Pictures of the page in `docs/` are of this run.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from langgraph_rlm import create_rlm
from langgraph_rlm.history.fork import afork
from langgraph_rlm.testing import ScriptedModel
from langgraph_rlm.trace.reading import Trace, atrace_of

QUESTION = (
    "Which of our leases can the landlord end before March 2027, and what would it cost us to stay?"
)

TOWNS = ("Aalen", "Bremen", "Celle", "Dessau", "Erfurt", "Fulda", "Gotha", "Halle", "Ilmenau")
CLAUSES = (
    "The landlord may end this lease with three months' notice to the end of a quarter.",
    "Either party may end this lease at the end of a year, with six months' notice.",
    "This lease has a fixed term; neither party may end it early.",
    "The landlord may end this lease at once if the premises are to be rebuilt.",
)
FILLER = (
    "The premises are let for the trade named above and for no other. The tenant keeps windows, locks and meters in "
    "order. Heating is charged by use. Keys are counted and listed in the annex. Changes need the written form."
)


def lease(number: int) -> str:
    """The text of one lease."""
    town = TOWNS[number % len(TOWNS)]
    rent = 1_850 + 137 * (number % 7)
    body = "\n".join(f"§{section} {FILLER}" for section in range(3, 3 + 2 + number % 4))
    return (
        f"LEASE {number:02d}, {town}, Harbour Street {number + 3}\n§1 The rent is {rent} EUR a month.\n"
        f"§2 {CLAUSES[number % len(CLAUSES)]}\n{body}\n"
    )


LEASES = "\n".join(lease(number) for number in range(36))

LOOK = """first = peek(0, 900)
print(first)
heads = grep(r"^LEASE \\d+", max_matches=100)
print(len(heads), "leases, e.g.", heads[0]["text"])"""

ASK = """leases = ("\\n" + context).split("\\nLEASE ")[1:31]  # the first thirty
prompts = [
    f"Who may end this lease, and with what notice? One line.\\n\\nLEASE {text}" for text in leases
]
terms = llm_query_batched(prompts)
for number, line in enumerate(terms[:4]):
    print(number, line)"""

WRONG = """early = [n for n, line in enumerate(terms) if "landlord" in line.lower()]
costs = {n: rents[n] * 12 for n in early}  # rents are not read yet
print(costs)"""

CHILDREN = """early = [n for n, line in enumerate(terms) if "landlord" in line.lower()]
halves = [early[: len(early) // 2], early[len(early) // 2 :]]
parts = ["\\n\\n".join(leases[n] for n in half) for half in halves]
totals = rlm_query_batched(["What is a year's rent of these leases, in EUR?"] * 2, parts)
print(totals)"""

TELL = """answer_of_owner = send_mail(to="owner@harbour.example", subject="Leases that may end early",
                            body=f"{len(early)} leases, {totals}")
print(answer_of_owner)"""

ANSWER = """The landlord can end 15 of the first 30 leases before March 2027. Most say: "The landlord may end this lease with three months' notice to the end of a quarter." Lease 03 and its like go further: "The landlord may end this lease at once when the premises are rebuilt." To stay in all of them costs 395,000 EUR a year. One letter speaks of "a right of first refusal in every lease", which I could not confirm."""

THOUGHTS = (
    "The context is one text of 36 leases, each headed by LEASE and a number. I should look at its form first, then ask "
    "about each lease by itself: a clause on ending it is one sentence, and a small model reads that well. The rents are "
    "in §1; code can take them with a pattern, no model is needed for that."
)


def reply(code: str, prose: str, thoughts: str = "") -> AIMessage:
    """A root model's reply with one cell."""
    more = {"reasoning_content": thoughts} if thoughts else {}
    return AIMessage(f"{prose}\n\n```repl\n{code}\n```", additional_kwargs=more)


ROOT = [
    reply(LOOK, "First a look at what the leases look like.", THOUGHTS),
    reply(
        ASK, "Each lease has a clause on how it ends. I ask a model about **each lease by itself**."
    ),
    reply(WRONG, "Now what the early ones cost in a year."),
    reply(
        CHILDREN,
        "`rents` was never read. Two child RLMs take half of the early leases each.",
        "A slip: no such name.",
    ),
    reply(TELL, "The owner should hear of it before I answer."),
    AIMessage(f"FINAL({ANSWER})"),
]

CHILD_CODE = """import re
rents = [int(found) for found in re.findall(r"rent is (\\d+) EUR", context)]
note = llm_query("Is a rent of " + str(rents[0]) + " EUR usual there?\\n" + context[:300])
print(len(rents), sum(rents) * 12, note)"""


class SlowerSome(ScriptedModel):
    """A scripted model whose calls take longer or shorter by their text."""

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        length = len(messages[-1].text)
        await asyncio.sleep(self.seconds * (length * 7919 % 97) / 60)
        return self._result(messages)


def sub_answer(prompt: str) -> Any:
    """What the small model says: of a lease, of a rent, or as the root of a child RLM."""
    if "usual there" in prompt:
        return "Yes, it is in the range of the rents of the town."
    if "What is a year's rent" in prompt:
        return AIMessage(f"I take the rents with a pattern.\n\n```repl\n{CHILD_CODE}\n```")
    if found := re.search(r"LEASE (\d+), (\w+)[\s\S]*?§2 ([^\n]*)", prompt):
        if found[1] == "17":
            return RuntimeError("429: the rate limit of this model is reached")
        return f"Lease {found[1]} in {found[2]}: {found[3]}"
    if sums := re.search(r"(\d+) (\d+) Yes", prompt):
        return f"FINAL({sums[1]} leases, {int(sums[2]):,} EUR a year)"
    return "FINAL(unclear)"


@dataclass
class Story:
    """A run that is over, and the trace of it."""

    graph: Any
    config: RunnableConfig
    trace: Trace
    mails: list[str]


async def tell(
    folder: Path, saver: AsyncSqliteSaver, *, approve: bool = True, speed: float = 1.0
) -> Story:
    """Run it all.

    Args:
        folder: takes the blobs.
        saver: keeps the checkpoints.
        approve: False leaves the approval open.
        speed: 1 takes about two seconds, 0.1 ten times as long.
    """
    mails: list[str] = []
    small = SlowerSome(answer=sub_answer, seconds=0.12 / speed, model_name="atlas-small")
    graph = story_graph(folder, saver, small, mails, speed)
    config: RunnableConfig = {"configurable": {"thread_id": "leases-2026"}}
    started = asyncio.create_task(graph.ainvoke({"query": QUESTION, "context": LEASES}, config))
    while small.calls < 14 and not started.done():
        await asyncio.sleep(0.01 / speed)
    started.cancel()  # as a kill would, in the middle of the batch
    await asyncio.wait([started])
    await asyncio.sleep(0.4 / speed)
    out = await graph.ainvoke(None, config)
    if approve:
        assert "__interrupt__" in out
        await asyncio.sleep(0.2 / speed)
        await graph.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    return Story(graph, config, await atrace_of(graph, config), mails)


def story_graph(folder: Path, saver: Any, small: Any, mails: list[str], speed: float = 1.0) -> Any:
    """The graph of the story."""

    def send_mail(to: str, subject: str, body: str) -> str:
        """Send a mail."""
        mails.append(to)
        return f"sent to {to}"

    return create_rlm(
        SlowerSome(replies=ROOT, seconds=0.25 / speed, model_name="atlas-large"),
        sub_model=small,
        tools=[send_mail],
        interrupt_on={"send_mail": True},
        sandbox="monty",
        limits={"max_depth": 2, "max_concurrency": 6, "max_cost": 0.05, "max_sub_calls": 200},
        prices={
            "atlas-large": {"input": 1.5, "output": 9},
            "atlas-small": {"input": 0.2, "output": 0.9},
        },
        checkpointer=saver,
        blob_store=folder / "blobs",
    )


async def forked(story: Story) -> Trace:
    """The trace of a fork of the story, in which one answer of the batch is another."""
    config = await afork(story.graph, story.config, "1.0/0/2", "Lease 02: nobody may end it early.")
    await story.graph.ainvoke(None, config)
    await story.graph.ainvoke(
        Command(resume={"decisions": [{"type": "reject", "message": "not yet"}]}), story.config
    )
    return await atrace_of(story.graph, story.config)


async def both(folder: Path, *, speed: float = 1.0) -> Sequence[Trace]:
    """The traces of the story and of its fork."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / "threads.sqlite")) as saver:
        story = await tell(folder, saver, speed=speed)
        assert len(story.mails) == 1
        return story.trace, await forked(story)
