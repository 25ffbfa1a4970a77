"""Reply: what a model wrote, as cells of code, a final answer in prose, or the problem with it.

Never runs anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from langgraph_rlm.log.fences import Fence, fences_of, plain_fences
from langgraph_rlm.log.final_words import (
    Final,
    FoundFinal,
    bare_final,
    finals_of,
    has_unfenced_code,
    phrase_of,
)
from langgraph_rlm.log.python import is_code, parsed
from langgraph_rlm.log.thoughts import without_thoughts

if TYPE_CHECKING:
    from langgraph_rlm.log.entries import TurnEntry
    from langgraph_rlm.storage.blobs import BlobStore

Problem = Literal["empty", "prose", "unclosed_fence", "untagged_fence", "unfenced_code"]
"""Why a reply has nothing to do, or not all of it: each kind has a nudge of its own."""

RULES = 4
"""The rules by which replies are read now.

A turn's entry says by which its reply was read, so that a thread of an earlier version runs the
same cells again. Version 1 had no such key. It took code up to the first line of backticks, ran no
block that lacked a tag or an end, dropped no thoughts but a leading `<think>`, and took a FINAL
wherever it stood. Version 2 reads replies as version 3 does; in its cells, Monty had no stand-ins
for modules that it lacks. In version 3, code had fewer host functions: `HostFunction.since` says
which are newer.
"""


@dataclass(frozen=True)
class Reply:
    """One reply of a root model.

    A reply may hold cells and a final answer, and `unclosed_fence` may stand beside both; the other
    problems stand alone.
    """

    cells: tuple[str, ...] = ()
    """Code of each block that runs, in order; none is blank."""
    final: Final | None = None
    """The final answer outside every block, behind the last cell."""
    problem: Problem | None = None
    has_early_final: bool = False
    """A FINAL stands before a cell: it speaks of what the model has not seen, and is no answer."""
    prose: str = field(default="", compare=False, repr=False)
    """What stands around the blocks that run, thoughts left out. Nothing but a trace reads it."""

    @property
    def steps(self) -> tuple[str, ...]:
        """What the interpreter runs: the cells, and FINAL_VAR in prose as one more.

        As a cell the variable is looked up and logged like everything else that runs.
        """
        if self.final is not None and self.final.kind == "variable":
            return (*self.cells, f'FINAL_VAR("{self.final.text}")')
        return self.cells


def reply_of(turn: "TurnEntry", blobs: "BlobStore") -> Reply:
    """Read the reply of a turn.

    Beside tool calls of the model's own, prose is just prose: a FINAL there has not seen the
    results of the calls.
    """
    text = blobs.get_text(turn["reply"])
    is_cut = turn.get("is_cut", False)
    reply = parse_reply(text, is_cut=is_cut, rules=turn.get("rules", 1))
    if not turn.get("tool_calls"):
        return reply
    problem = reply.problem
    if problem in ("empty", "prose"):
        problem = None
    return replace(reply, final=None, problem=problem)


def text_of_reply(turn: "TurnEntry", blobs: "BlobStore") -> str:
    """Give what the model of a turn said, as it is shown to it again: without its thoughts."""
    text = blobs.get_text(turn["reply"])
    return text if turn.get("rules", 1) == 1 else without_thoughts(text).strip()


@lru_cache(maxsize=64)
def parse_reply(text: str, *, is_cut: bool = False, rules: int = RULES) -> Reply:
    """Read a model's reply.

    Args:
        text: what the model wrote, any length.
        is_cut: whether it was cut off at a limit of tokens.
        rules: see `RULES`.

    Returns:
        Its cells, its final answer in prose and its problem. A fence inside the brackets of a final
        answer belongs to the answer. The last fence, where it was not closed, is a cell only if it
        is whole Python and the reply was not cut off: half a program must not run.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if rules == 1:
        return _by_the_first_rules(text)
    text = without_thoughts(text)
    fences = fences_of(text)
    finals = finals_of(text, fences)
    fences = [fence for fence in fences if not _is_inside(fence, finals)]
    blocks = _blocks(fences, has_final=bool(finals), is_cut=is_cut)
    end = blocks[-1].last if blocks else 0
    final = next((found.final for found in finals if found.first >= end), None)
    has_early_final = any(found.first < end for found in finals)
    if not blocks and final is None:
        phrase = phrase_of(text)
        final = Final("value", phrase) if phrase is not None else None
    problem = _problem(text, fences, blocks, has_final=final is not None)
    codes = tuple(block.code for block in blocks)
    return Reply(codes, final, problem, has_early_final, _prose(text, blocks))


def _prose(text: str, blocks: Sequence[Fence]) -> str:
    """Give what stands around the blocks that run."""
    starts = [0, *(block.last for block in blocks)]
    ends = [*(block.first for block in blocks), len(text)]
    parts = [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]
    return "\n\n".join(part for part in parts if part)


def _is_inside(fence: Fence, finals: Sequence[FoundFinal]) -> bool:
    return any(fence.first in found.span for found in finals)


def _blocks(fences: Sequence[Fence], *, has_final: bool, is_cut: bool) -> list[Fence]:
    """Give the fences whose code runs: those with a tag, and a lone one that is a program."""
    runs = [
        fence
        for fence in fences
        if fence.is_tagged and (fence.closed or _is_whole(fence, fences, is_cut))
    ]
    with_code = [fence for fence in fences if fence.code.strip()]
    if runs or has_final or len(with_code) != 1:
        return runs
    lone = with_code[0]
    is_meant = not lone.tag and is_code(lone.code)
    if is_meant and (lone.closed or _is_whole(lone, fences, is_cut)):
        return [lone]
    return []


def _is_whole(fence: Fence, fences: Sequence[Fence], is_cut: bool) -> bool:
    """Whether the code of a fence that was not closed may be all of it."""
    return fence is fences[-1] and not is_cut and parsed(fence.code) is not None


def _problem(
    text: str, fences: Sequence[Fence], blocks: Sequence[Fence], *, has_final: bool
) -> Problem | None:
    if not text.strip():
        return "empty"
    if any(not (fence.closed or fence.is_stray or fence in blocks) for fence in fences):
        return "unclosed_fence"
    if blocks or has_final:
        return None
    if any(fence.is_untagged_code for fence in fences):
        return "untagged_fence"
    return "unfenced_code" if has_unfenced_code(text, fences) else "prose"


def _by_the_first_rules(text: str) -> Reply:
    if text.lstrip().startswith("<think>"):
        text = text.partition("</think>")[2]
    fences = plain_fences(text)
    found = bare_final(text, fences)
    span = range(0) if found is None else found.span
    fences = [fence for fence in fences if fence.first not in span]
    blocks = [fence for fence in fences if fence.closed and fence.is_tagged]
    final = None if found is None else found.final
    problem = _problem(text, fences, blocks, has_final=final is not None)
    codes = tuple(block.code for block in blocks)
    return Reply(codes, final, problem, prose=_prose(text, blocks))
