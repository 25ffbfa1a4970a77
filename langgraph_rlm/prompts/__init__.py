"""Prompts: every text that a root model reads, as Jinja2 templates in this folder, and a renderer.

Never decides what is said when. What a user or a model wrote goes into a template as a value, so
its braces are text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.log.reply import Problem
from langgraph_rlm.storage.context import MEDIA

if TYPE_CHECKING:
    from jinja2 import Environment

Nudge = Problem | Literal["final_failed", "final_unseen", "no_word", "skipped"]
"""What a reply got wrong.

It is a problem of the reply's text; or `final_failed`, a FINAL in prose beside a cell that raised;
or `final_unseen`, one beside a cell whose output the model had not seen; or `no_word`, a FINAL of a
name that is not a variable; or `skipped`, cells behind one that raised.
"""


@dataclass(frozen=True)
class FunctionDoc:
    """A host function as code sees it."""

    kind: str
    """`final` if it ends a run, `guest` if it looks into the REPL itself; else anything."""
    shown: str
    """The signature."""
    text: str
    """What the function does, in one or more sentences."""


@dataclass(frozen=True)
class ToolDoc:
    """A tool as code sees it."""

    signature: str
    """One line of Python, such as `price(item: str) -> float`."""
    description: str


@dataclass(frozen=True)
class ContextDoc:
    """A context as the model is told of it."""

    name: str
    """The name that code knows it by, as `peek(..., of=name)` takes it."""
    kind: str
    """`ContextHandle.kind`; the prompt says it as the Python type that code sees."""
    length: int
    """Characters of the stored text."""
    items: int | None
    """Items, messages, documents or files; None for a text."""
    loaded: bool
    """False when it does not fit the interpreter's memory: then only the host can read it."""
    preview: str
    """The first characters; may be empty."""
    also: tuple[str, ...] = ()
    """Its other names, such as `context_0` for the one named `context`."""
    shape: str = ""
    """What its items are, or what a picture is; empty where that says nothing."""
    path: bool = False
    """Whether code may open it as a file, which `name` with `_path` behind it names."""
    tables: tuple[str, ...] = ()
    """A line about each of its tables."""
    shown: tuple[str, ...] = ()
    """Some of the names in it that a model can be shown, as literals."""

    @property
    def is_shown(self) -> bool:
        """Whether it has no text, and is for models to see."""
        return self.kind in MEDIA

    @property
    def left(self) -> int:
        """Characters that the preview leaves out."""
        return self.length - len(self.preview)

    @property
    def fence(self) -> str:
        """A line of backticks that the preview does not have: it is data, and cannot end its
        block."""
        longest = max(map(len, re.findall("`+", self.preview)), default=0)
        return "`" * max(3, longest + 1)


@dataclass(frozen=True)
class SkillDoc:
    """A skill as the model is told of it."""

    place: str
    """The name that `peek(..., of=place)` takes."""
    description: str
    """What it is for, on one line."""
    files: tuple[str, ...] = ()
    """Paths of the files beside its text."""
    left: int = 0
    """How many more there are."""
    package: str = ""
    """What code imports its modules from; empty where it cannot, or there are none."""
    is_hidden: bool = False
    """Whether an installed package of that name is imported instead."""


@dataclass(frozen=True)
class CellDoc:
    """What one cell did, its texts already clipped."""

    number: int
    """Number in its turn, from 1."""
    stdout: str
    value: str | None
    """`repr` of a trailing expression; None when there is none, or when it is None."""
    error: str | None
    """The traceback, when the outcome is `error`; else what is known of how it ended."""
    outcome: Literal["ok", "error", "timeout", "crashed", "stopped"]
    ran: bool = True
    """False where not one line of it ran."""
    files: str = ""
    """Names of the files that the user gets now, from `out/`, as text."""
    left_out: tuple[str, ...] = ()
    """What of `out/` was not taken, and why."""


def system_prompt(
    *,
    depth: int,
    functions: Sequence[FunctionDoc],
    tools: Sequence[ToolDoc],
    models: Sequence[str],
    interpreter: str,
    limits: Limits,
    instructions: str | None,
    schema: str | None = None,
    gives_files: bool = False,
) -> str:
    """Explain the REPL, how to work in it, what is defined and what may be spent.

    Args:
        depth: depth of the RLM that reads it; the root is 0.
        functions: the host functions that code may call, in the order in which they are listed.
        tools: the tools that code may call; may be empty.
        models: names for `model=`; may be empty.
        interpreter: the backend's own words about the Python that it runs.
        limits: the limits that the model should know.
        instructions: the user's own text, put in verbatim; None for none.
        schema: JSON schema of the answer; None for any answer.
        gives_files: whether the user gets the files that code writes into `out/`.
    """
    return _render(
        "system",
        depth=depth,
        functions=functions,
        tools=tools,
        models=models,
        interpreter=interpreter,
        limits=limits,
        instructions=instructions,
        schema=schema,
        gives_files=gives_files,
    )


def question_prompt(
    *,
    question: str,
    contexts: Sequence[ContextDoc],
    first: bool,
    skills: Sequence[SkillDoc] = (),
    skills_folder: str = "",
) -> str:
    """Ask a question: say what is bound, and what is asked.

    Args:
        question: the question, put in verbatim.
        contexts: the contexts that came with the question, in order; may be empty.
        first: False for a follow-up on the same thread, where variables persist.
        skills: those that are new with this question; may be empty.
        skills_folder: where code finds their files; empty where it does not.
    """
    return _render(
        "question",
        question=question,
        contexts=contexts,
        first=first,
        skills=skills,
        skills_folder=skills_folder,
    )


def outcome_prompt(
    *,
    cells: Sequence[CellDoc],
    notices: Sequence[str],
    iteration: int,
    max_iterations: int,
    max_cell_seconds: float,
) -> str:
    """Tell what the code of a turn did.

    Args:
        cells: the cells of one turn, in order; numbered in the text only when there are several.
            None where the reply had no code that ran.
        notices: whole sentences, each on a line of its own after the cells.
        iteration: turns taken, this one included.
        max_iterations: turns in all; with two or fewer left, the text says to answer.
        max_cell_seconds: the limit that a cell with the outcome `timeout` reached.
    """
    left = max_iterations - iteration
    return _render(
        "outcome",
        cells=cells,
        notices=notices,
        iteration=iteration,
        left=left,
        max_iterations=max_iterations,
        max_cell_seconds=max_cell_seconds,
    )


def nudge_prompt(problem: Nudge, *, name: str = "") -> str:
    """Say in short what was wrong with a reply, and how to write the next.

    Args:
        problem: what was wrong.
        name: the variable that is not there, for `no_word` only.
    """
    return _render("nudge", problem=problem, name=name)


def best_answer_prompt(*, reason: str, structured: bool = False) -> str:
    """Request an answer at once, in plain text.

    Args:
        reason: a whole sentence about the limit that was reached, such as
            `Limit max_iterations of 30 reached (spent 30).`
        structured: the answer has to be JSON that matches the schema of the system prompt.
    """
    return _render("best_answer", reason=reason, structured=structured)


def refused_prompt(*, error: str) -> str:
    """Refuse an answer that does not match the schema.

    Args:
        error: what does not match, and where.
    """
    return _render("refused", error=error)


def reply_schema_prompt(*, prompt: str, schema: str) -> str:
    """Add the JSON schema that a sub-model's reply has to match to its prompt."""
    return _render("reply_schema", prompt=prompt, schema=schema)


def reply_again_prompt(*, error: str) -> str:
    """Ask a sub-model again, after a reply that does not match its schema."""
    return _render("reply_again", error=error)


def compaction_prompt() -> str:
    """Request a summary of the turns so far, which replaces them in the conversation."""
    return _render("compaction")


def summary_prompt(*, summary: str, turns: int) -> str:
    """Give what stands in the conversation for the first `turns` turns of a question."""
    return _render("summary", summary=summary, turns=turns)


@lru_cache(maxsize=1)
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(template: str, **values: object) -> str:
    return _templates().get_template(f"{template}.md.j2").render(values).strip("\n")
