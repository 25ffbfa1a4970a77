"""Demo: a needle in lines of random words, then a question for which every line must be read.

It knows the true answer to both. The offline models need no key. The root model is a script, one
cell a turn, as a good model would write it. The sub-model is a script too, but it reads the prompt
that it is given: its replies are right because the right lines reached it.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langgraph_rlm.testing import ScriptedModel

OFFLINE = "offline"
"""The provider in the name of the offline models: `offline:SUB_CALLS`."""
BATCH = 100_000
"""Lines made at a time."""
CONSONANTS = "bcdfghklmnprstvz"
VOWELS = "aeiou"
CALL_SECONDS = 0.02
"""How long a call to an offline model takes."""

NAMES = ("Ana", "Bruno", "Chidi", "Dora", "Emre", "Fatima", "Goran", "Hana", "Ivan", "Jun")
THINGS = ("kettle", "lamp", "tent", "bicycle", "umbrella", "radio", "blender", "suitcase")
COMPLAINTS = (
    "{name} wants the money back, as the {thing} broke on the first day.",
    "{name} writes that the {thing} came two months late and in the wrong colour.",
    "{name} has called four times about the {thing}, which never worked at all.",
    "{name} says that the {thing} smells of burnt rubber and is a waste of money.",
)
OTHER_REMARKS = (
    "{name} bought a second {thing}, so good was the first.",
    "{name} asks whether the {thing} is to be had in green.",
    "{name} has used the {thing} every day for a year and still likes it.",
    "{name} thanks the shop for how quickly the {thing} came.",
)
REMARK = re.compile(r"^[A-Z][a-z]+ [^\n]*\.$", re.MULTILINE)
"""A line that is a remark: the others have no capital letter and no full stop."""
SIGNS_OF_COMPLAINT = re.compile(
    r"money back|waste of money|never worked|\bbroke\b|\bwrong\b|\blate\b"
)


@dataclass(frozen=True)
class Haystack:
    """The file of lines, and what is hidden in it."""

    path: Path
    lines: int
    size: int
    """Bytes."""
    magic: int
    complaints: int


@dataclass(frozen=True)
class Question:
    """One question, and its true answer."""

    text: str
    truth: str

    def is_right(self, answer: str) -> bool:
        """Say whether the answer's only number is the true one."""
        return re.findall(r"\d+", answer.replace(",", "")) == [self.truth]


def build(path: Path, *, lines: int, sub_calls: int, seed: int) -> Haystack:
    """Write the lines. The same arguments give the same file.

    Args:
        path: the file to write.
        lines: at least four for each sub-call.
        sub_calls: two remarks are hidden for each.
        seed: seed of everything that is random.

    Raises:
        OSError: the file cannot be written.
    """
    rng = random.Random(seed)
    magic = rng.randrange(1_000_000, 10_000_000)
    remarks = [_remark(rng) for _ in range(2 * sub_calls)]
    texts = [f"the magic number is {magic}", *remarks]
    hidden = dict(zip(rng.sample(range(lines), len(texts)), texts, strict=True))
    with path.open("w", encoding="ascii") as file:
        for start, batch in _batches(rng, lines):
            for number in hidden.keys() & set(range(start, start + len(batch))):
                batch[number - start] = hidden[number]
            file.write("\n".join(batch) + "\n")
    complaints = sum(remark.startswith(_openings(COMPLAINTS)) for remark in remarks)
    return Haystack(path, lines, path.stat().st_size, magic, complaints)


def _batches(rng: random.Random, lines: int) -> Iterator[tuple[int, list[str]]]:
    """Make lines of random words, batch by batch, each with the number of its first line.

    A line is two random phrases out of many, which is quicker to make than eight random words.
    """
    words = [_word(rng) for _ in range(400)]
    phrases = [" ".join(rng.choices(words, k=4)) for _ in range(20_000)]
    for start in range(0, lines, BATCH):
        count = min(BATCH, lines - start)
        first = rng.choices(phrases, k=count)
        second = rng.choices(phrases, k=count)
        yield start, [f"{a} {b}" for a, b in zip(first, second, strict=True)]


def _word(rng: random.Random) -> str:
    syllables = range(rng.randint(2, 4))
    return "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in syllables)


def _remark(rng: random.Random) -> str:
    template = rng.choice(rng.choice((COMPLAINTS, OTHER_REMARKS)))
    return template.format(name=rng.choice(NAMES), thing=rng.choice(THINGS))


def _openings(templates: tuple[str, ...]) -> tuple[str, ...]:
    """Give what the remarks of some templates can begin with, up to the thing that they name."""
    openings = [template.split("{thing}")[0] for template in templates]
    return tuple(opening.format(name=name) for opening in openings for name in NAMES)


def questions(haystack: Haystack, sub_calls: int) -> tuple[Question, Question]:
    """Give the needle's question, then the one for which every line must be read."""
    needle = (
        "One of the lines says what the magic number is. What is it? Answer with the number alone."
    )
    reading = (
        "Hidden among the same lines of random words are remarks of customers, in plain English. "
        "How many of these remarks are complaints? "
        f"Cut the lines into {sub_calls} equal parts, have sub-models read every part and copy its "
        "complaints, and count them. "
        "Answer with the number alone."
    )
    return Question(needle, str(haystack.magic)), Question(reading, str(haystack.complaints))


def offline_models(sub_calls: int) -> "tuple[ScriptedModel, ScriptedModel]":
    """Make the root model and the sub-model.

    The root model answers both questions, if they are asked one after the other on one thread.
    """
    from langgraph_rlm.testing import ScriptedModel, cell

    replies = [cell(code.replace("SUB_CALLS", str(sub_calls)), prose) for prose, code in SCRIPT]
    root = ScriptedModel(replies=replies, seconds=CALL_SECONDS)
    sub = ScriptedModel(answer=complaints_in, seconds=CALL_SECONDS)
    return root, sub


def complaints_in(prompt: str) -> str:
    """Reply as the sub-model: the complaints among the prompt's lines, one a line, or NONE."""
    found = [remark for remark in REMARK.findall(prompt) if SIGNS_OF_COMPLAINT.search(remark)]
    return "\n".join(found) or "NONE"


FIND = r"""
hits = grep(r"magic number is \d+")
for hit in hits:
    print(hit["line"], hit["text"])
"""
TELL = r"""
import re
FINAL(re.search(r"magic number is (\d+)", hits[0]["text"]).group(1))
"""
READ = r"""
lines = context.splitlines()
cuts = [i * len(lines) // SUB_CALLS for i in range(SUB_CALLS + 1)]
parts = ["\n".join(lines[a:b]) for a, b in zip(cuts, cuts[1:])]
ask = (
    "Some of these lines are remarks of customers. "
    "Copy those that complain, one a line, or reply NONE:\n\n"
)
replies = llm_query_batched([ask + part for part in parts])
failed = [i for i, reply in enumerate(replies) if reply.startswith("Error:")]
found = [
    (line, part)
    for reply, part in zip(replies, parts)
    for line in reply.splitlines()
    if line != "NONE"
]
print(len(parts), "parts,", len(failed), "failed,", len(found), "complaints, such as:")
print("\n".join(line for line, part in found[:3]))
"""
COUNT = r"""
made_up = [line for line, part in found if line not in part]
assert not failed and not made_up, (failed, made_up)
FINAL(len(found))
"""
SCRIPT = (
    ("A fixed phrase: search for it.", FIND),
    ("One line has it.", TELL),
    ("No pattern finds a complaint: every part must be read.", READ),
    ("Count what is there word for word.", COUNT),
)
"""Prose and code of each turn."""
