"""A careless model on five tasks: how many turns it takes, and how many of its cells fail.

Usage: python benchmarks/careless.py

It is a script, not a model. Each of its programs is made of idioms that models write every day and
that the default sandbox lacks, and each reply has a habit of small models: no tag on the block, no
end of it, the answer in words. After an error it mends what the last message named, and nothing
else; what no message names it mends one at a time. So the figure says how much one message tells.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("LANGGRAPH_RLM_STORE", tempfile.mkdtemp(prefix="careless-"))

from langchain_core.messages import BaseMessage

from langgraph_rlm import Limits, create_rlm
from langgraph_rlm.testing import ScriptedModel

MOST_TURNS = 30


@dataclass
class Idiom:
    """A piece of a program, as it is written first and as it works everywhere."""

    careless: str
    works: str
    signs: Sequence[str] = ()
    """Words of a message that names what is wrong with it."""
    is_mended: bool = False

    @property
    def code(self) -> str:
        return self.works if self.is_mended else self.careless


@dataclass
class Task:
    """A question, the pieces of the program that answers it, and the forms that replies take."""

    question: str
    context: str
    idioms: list[Idiom]
    answer: str
    forms: list[str] = field(default_factory=lambda: ["tagged"])


def tasks() -> list[Task]:
    rows = "\n".join(f"{n},{'refund' if n % 3 else 'praise'},{n * 2}" for n in range(90))
    names = "\n".join(
        f"name: {name}; age: {20 + n}" for n, name in enumerate(["ann", "bob", "eve"])
    )
    return [
        Task(
            "How many refunds are there, and what is the median amount?",
            rows,
            [
                Idiom("import csv, io", "", ["io"]),
                Idiom("import statistics", "", ["statistics"]),
                Idiom(
                    "rows = list(csv.reader(io.StringIO(context)))",
                    "rows = [line.split(',') for line in context.splitlines()]",
                    ["io"],
                ),
                Idiom(
                    "refunds = [row for row in rows if row[1] == 'refund']",
                    "refunds = [row for row in rows if row[1] == 'refund']",
                ),
                Idiom(
                    "middle = statistics.median(int(row[2]) for row in refunds)",
                    "middle = sorted(int(row[2]) for row in refunds)[len(refunds) // 2]",
                    ["statistics"],
                ),
                Idiom("FINAL(len(refunds))", "FINAL(len(refunds))"),
            ],
            "60",
            ["untagged"],
        ),
        Task(
            "What is the total age?",
            names,
            [
                Idiom("from abc import ABC", "", ["abc"]),
                Idiom("class Base:\n    unit = 'years'", "class Base:\n    unit = 'years'"),
                Idiom(
                    "class Person(Base):\n    def __init__(self, line):\n        self.line = line\n\n    @property\n    def age(self):\n        return int(self.line.split('age: ')[1])",
                    "class Person:\n    def __init__(self, line):\n        self.line = line\n\n    def age(self):\n        return int(self.line.split('age: ')[1])",
                    ["bases", "inherit", "decorat"],
                ),
                Idiom(
                    "total = sum(Person(line).age for line in context.splitlines())",
                    "total = sum(Person(line).age() for line in context.splitlines())",
                    ["decorat"],
                ),
                Idiom("del Base", "", ["del"]),
                Idiom("FINAL(total)", "FINAL(total)"),
            ],
            "63",
            ["unclosed"],
        ),
        Task(
            "Which is the first line of a person over 20?",
            names,
            [
                Idiom(
                    "def over(lines):\n    for line in lines:\n        if int(line.split('age: ')[1]) > 20:\n            yield line",
                    "def over(lines):\n    return [line for line in lines if int(line.split('age: ')[1]) > 20]",
                    ["yield"],
                ),
                Idiom(
                    "first = next(line for line in over(context.splitlines()))",
                    "first = over(context.splitlines())[0]",
                    ["next(", "iterator"],
                ),
                Idiom("print(first)", "print(first)"),
            ],
            "name: bob; age: 21",
            ["tagged", "words"],
        ),
        Task(
            "Write the names with a capital, joined by commas.",
            names,
            [
                Idiom("import re, string", "import re", ["string"]),
                Idiom("from operator import itemgetter", "", ["operator"]),
                Idiom(
                    "found = [{'name': n} for n in re.findall(r'name: (\\w+)', context)]",
                    "found = [{'name': n} for n in re.findall(r'name: (\\w+)', context)]",
                ),
                Idiom(
                    "names = list(map(itemgetter('name'), found))",
                    "names = [each['name'] for each in found]",
                    ["operator"],
                ),
                Idiom(
                    "text = re.sub(r'\\b[a-z]', lambda m: m.group(0).upper(), ','.join(names))",
                    "text = ','.join(name[0].upper() + name[1:] for name in names)",
                    ["re.sub", "replacement", "finditer"],
                ),
                Idiom("print(text)", "print(text)"),
            ],
            "Ann,Bob,Eve",
            ["untagged", "words"],
        ),
        Task(
            "How many rows are praise?",
            rows,
            [
                Idiom("import pandas as pd", "", ["pandas"]),
                Idiom("import calendar, heapq", "", ["calendar", "heapq"]),
                Idiom(
                    "frame = [line.split(',') for line in context.splitlines()]",
                    "frame = [line.split(',') for line in context.splitlines()]",
                ),
                Idiom(
                    "counts = {kind: 0 for kind in ('refund', 'praise')}\nfor row in frame:\n    counts[row[1]] += 1",
                    "counts = {kind: 0 for kind in ('refund', 'praise')}\nfor row in frame:\n    counts[row[1]] += 1",
                ),
                Idiom(
                    "with open('/tmp/counts.txt', 'w') as file:\n    file.write(str(counts))",
                    "",
                    ["files", "Permission", "open"],
                ),
                Idiom("FINAL(counts['praise'])", "FINAL(counts['praise'])"),
            ],
            "30",
            ["tagged"],
        ),
    ]


class Careless(ScriptedModel):
    """Plays one task."""

    task: Any = None
    turns: int = 0
    failed: int = 0
    seen: bool = False
    """Whether an output has shown it the answer."""

    def _scripted(self, messages: list[BaseMessage]) -> str:
        task: Task = self.task
        said = str(messages[-1].text)
        if self.turns:
            self._mend(said)
        self.turns += 1
        if self.turns > 1 and "rror" not in said:
            self.seen = self.seen or task.answer in said
        if self.seen and "words" in task.forms:
            task.forms.remove("words")
            return f"**Final answer:** {task.answer}"
        if self.seen:
            return f'FINAL("{task.answer}")'
        code = "\n".join(filter(None, (idiom.code for idiom in task.idioms)))
        return self._reply_of(code, said)

    def _reply_of(self, code: str, said: str) -> str:
        form = self.task.forms[0]
        if "not closed" in said or "not tagged" in said or form == "tagged":
            self.task.forms = ["tagged", *self.task.forms[1:]]
            return f"I run it.\n```repl\n{code}\n```"
        if form == "untagged":
            return f"I run it.\n```\n{code}\n```"
        return f"I run it.\n```python\n{code}\n"

    def _mend(self, said: str) -> None:
        wrong = [idiom for idiom in self.task.idioms if idiom.code != idiom.works]
        if "rror" not in said:
            return
        self.failed += 1
        named = [idiom for idiom in wrong if any(sign in said for sign in idiom.signs)]
        for idiom in named or wrong[:1]:
            idiom.is_mended = True


def main() -> None:
    """Print a line for each task, and the sums."""
    turns = failed = 0
    for number, task in enumerate(tasks(), 1):
        model = Careless(task=task, replies=["-"])
        graph = create_rlm(model, limits=Limits(max_iterations=MOST_TURNS))
        out = graph.invoke({"query": task.question, "context": task.context})
        right = out["answer"] == task.answer
        print(
            f"task {number}: {model.turns} turns, {model.failed} failed, answer {'right' if right else out['answer']!r}"
        )
        turns, failed = turns + model.turns, failed + model.failed
    print(f"five tasks: {turns} turns, {failed} with an error")


if __name__ == "__main__":
    main()
