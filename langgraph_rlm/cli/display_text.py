"""Display text: the words and numbers that every display writes. Never writes them itself."""

import re
from typing import TYPE_CHECKING

from langgraph_rlm.hosting.visible import printable
from langgraph_rlm.progress import OUTPUT_CHARS

if TYPE_CHECKING:
    from langgraph_rlm.budget.usage import Usage
    from langgraph_rlm.progress import FilesDiffer, Nudged, Replayed, SubCalls, Waiting
    from langgraph_rlm.storage.context import ContextHandle

OUTPUT_LINES = 12
"""Most lines shown of what a cell printed."""
MAX_LEFT_OUT = 10
"""Most names shown of what a folder has and was not read."""
WRONG = {
    "empty": "an empty reply",
    "prose": "a reply without code or answer",
    "unclosed_fence": "a code block that is not closed",
    "untagged_fence": "code that is not tagged as such",
}
MARKDOWN = re.compile(r"^(#{1,6} |```|[-*+] |\d+\. |\|)|\*\*\S", re.MULTILINE)
"""What an answer that is written as Markdown has in it."""


def clipped(text: str, lines: int = OUTPUT_LINES) -> str:
    """Keep the first lines of an output, and say how many more there are."""
    all_lines = printable(text).rstrip().split("\n")
    if len(all_lines) <= lines + 1:
        return "\n".join(all_lines)
    return "\n".join([*all_lines[:lines], f"... {len(all_lines) - lines} more lines"])


def cut(output: str) -> str:
    """Give an event's output, with a sign where the event has only its start."""
    return f"{output}..." if len(output) >= OUTPUT_CHARS else output


def seconds(elapsed: float, *, whole: bool = False) -> str:
    """Write a duration for people; `whole` leaves out the tenths of a second."""
    if elapsed < 60:
        return f"{elapsed:.0f} s" if whole else f"{elapsed:.1f} s"
    large, small, size = ("min", "s", 60) if elapsed < 3600 else ("h", "min", 3600)
    rest = int(elapsed % size * 60 // size)
    return f"{int(elapsed // size)} {large}" + (f" {rest} {small}" if rest else "")


def short(number: float) -> str:
    """Write a large number in few characters: `12.3k`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit}"
    return f"{number:,.0f}"


def money(cost: float) -> str:
    """Write US dollars: cents, and more digits for less than ten of them."""
    return f"${cost:,.2f}" if cost >= 0.1 or not cost else f"${cost:.4f}"


def tokens(usage: "Usage") -> str:
    """Write the tokens of a usage for people."""
    return f"{usage['input_tokens']:,} tokens in, {usage['output_tokens']:,} out"


def nudged(event: "Nudged") -> str:
    """Say what was wrong with a reply."""
    return f"{WRONG[event['problem']]}: the model is told so"


def waiting(event: "Waiting") -> str:
    """Say that a provider has had too many calls."""
    model = printable(event["model"])
    return f"{model} is busy: its calls wait {seconds(event['seconds'])}, then start more slowly"


def replayed(event: "Replayed") -> str:
    """Say how far the replay of an interpreter is."""
    cells = counted(event["total"], "earlier cell")
    return f"{event['done']:,} of {cells} run again; their time is not counted"


def differing(event: "FilesDiffer") -> str:
    """Say that a replay wrote other files."""
    names = ", ".join(printable(name) for name in event["names"][:MAX_LEFT_OUT])
    return f"run again, the code wrote other bytes; those of the first time are kept: {names}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun: `1 turn`, `2 turns`."""
    several = plural or f"{noun}s"
    return f"{number:,} {noun if number == 1 else several}"


def batch_key(event: "SubCalls") -> str:
    """Name the batch of sub-calls that an event is about: its RLM and its place in the log."""
    return f"{event['trajectory']} {event['place']}"


def indented(text: str, depth: int) -> str:
    """Indent a line of an RLM by its depth in the tree."""
    return f"{'  ' * depth}{text}"


def about(context: "ContextHandle", name: str = "") -> list[str]:
    """Say what was read for a question; for a folder also what was not.

    Args:
        context: what was read.
        name: of the context, where it has one.
    """
    size = f"{context.length:,} characters"
    if context.kind == "files":
        size = f"{counted(context.items or 0, 'file')}, {size}"
    if context.kind in ("image", "audio"):
        size = f"{context.kind}, {context.size:,} bytes"
    lines = [f"Context {printable(name)}: {size}" if name else f"Context: {size}"]
    if context.skipped:
        names = list(context.skipped[:MAX_LEFT_OUT])
        if len(context.skipped) > MAX_LEFT_OUT:
            names.append("and others")
        lines.append(f"Left out: {', '.join(names)}")
    return lines


def summary(usage: "Usage", elapsed: float) -> str:
    """Say what a question took, on one line."""
    parts = [
        counted(usage["turns"], "turn"),
        counted(usage["sub_calls"], "sub-call"),
        tokens(usage),
    ]
    if usage["cost"]:
        parts.append(f"${usage['cost']:.4f}")
    return ", ".join([*parts, seconds(elapsed)])
