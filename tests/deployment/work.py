"""Work: what a run is asked to do, and the one answer that is right.

A run makes rounds of batches. Each prompt carries the last reply of the round before it, and each
reply is a digest of its prompt: a reply that is lost, repeated or swapped changes the answer.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

CELL = """\
last, kids = "start", []
for round in range({rounds}):
    asks = [f"ASK {name} {{round}}.{{item}} after {{last}}" for item in range({width})]
    last = llm_query_batched(asks)[-1]
if {kids}:
    work = [f"WORK {name}.{{kid}} rounds={rounds} width={width} kids=0" for kid in range({kids})]
    kids = rlm_query_batched(work)
FINAL(" ".join([last, *kids]))"""

MAIL = """\
FINAL(send_email(to="{address}", subject="hello", body="there"))"""
MAILED = re.compile(r"MAIL (\S+@\S+\w)")
ASKED = re.compile(r"WORK (\S+) rounds=(\d+) width=(\d+) kids=(\d+)")
BEST_SO_FAR = "as far as it went"
"""What the root model's replies to a run begin with that a limit has ended."""


@dataclass(frozen=True)
class Work:
    """One run's work."""

    name: str
    rounds: int = 4
    width: int = 5
    kids: int = 0
    """Children, each with rounds of its own."""

    @property
    def question(self) -> str:
        """What the run is asked."""
        return f"WORK {self.name} rounds={self.rounds} width={self.width} kids={self.kids}"

    @property
    def answer(self) -> str:
        """What it has to answer."""
        last = "start"
        for number in range(self.rounds):
            last = reply_to(f"ASK {self.name} {number}.{self.width - 1} after {last}")
        return " ".join([last, *(child.answer for child in self.children)])

    @property
    def children(self) -> "Iterator[Work]":
        """What its children do."""
        for number in range(self.kids):
            yield replace(self, name=f"{self.name}.{number}", kids=0)

    @property
    def calls(self) -> int:
        """How many sub-calls it makes, children included."""
        return self.rounds * self.width + sum(1 + child.calls for child in self.children)


def reply_to(prompt: str) -> str:
    """What the model answers to a plain prompt."""
    return f"[{hashlib.sha256(prompt.encode()).hexdigest()[:16]}]"


def run_of(prompt: str) -> str:
    """The name of the run whose prompt it is, that of the root for a child's."""
    return prompt.split()[1].partition(".")[0]


def text_of(message: dict[str, Any]) -> str:
    """The text of a message."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def reply(messages: list[dict[str, Any]]) -> tuple[str, str]:
    """What a model is asked, as one line that names it, and its reply: a cell, or a digest."""
    last = text_of(messages[-1])
    if last.startswith("ASK "):
        return last, reply_to(last)
    said = "\n".join(map(text_of, messages))
    mailed = MAILED.search(said)
    if mailed is not None:
        return "ROOT mail", f"```repl\n{MAIL.format(address=mailed[1])}\n```"
    found = ASKED.search(said)
    if found is None:
        raise ValueError(f"nothing that a worker asks: {said[-500:]!r}")
    name, rounds, width, kids = found.groups()
    turn = sum(message["role"] == "assistant" for message in messages)
    asked = f"ROOT {name} turn {turn}"
    if turn:
        return asked, f"{BEST_SO_FAR}: {name}, turn {turn}"
    cell = CELL.format(name=name, rounds=rounds, width=width, kids=kids)
    return asked, f"```repl\n{cell}\n```"
