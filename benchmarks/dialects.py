"""Dialects: the forms in which peers expect replies of a root model, and where they are kept."""

import re
from pathlib import Path

from mock_server import ECHO, Program

VENVS = {"rlms": "v_rlms", "dspy": "v_dspy", "deepagents": "v_da"}
"""The virtual environment of each peer, in the folder that `--peers` names."""


def python_of(folder: Path, side: str) -> Path:
    """Give the interpreter of a peer, which exists where it is installed."""
    return folder / VENVS[side] / "bin" / "python"


def program_for(side: str, program: Program, javascript: tuple[str, ...]) -> Program:
    """Put the root model's replies into the form of a side.

    Args:
        side: a peer, or another side, whose program stays as it is.
        program: with replies for the package.
        javascript: what each reply but the last one does, for an agent with JavaScript.
    """
    if side == "rlms":
        ending = 'answer["content"] = str({})\nanswer["ready"] = True'
        return program | Program(turns=[_with_final(turn, ending) for turn in program["turns"]])
    if side == "dspy":
        turns = [_fields(_with_final(turn, "SUBMIT(str({}))")) for turn in program["turns"]]
        return program | Program(turns=turns, turn_pattern=r"(?m)^(\d+)/\d+$")
    if side == "deepagents":
        return program | Program(turns=[*javascript, ECHO], tool="eval")
    return program


def _with_final(turn: str, ending: str) -> str:
    return re.sub(r"^FINAL\((.*)\)$", lambda found: ending.format(found[1]), turn, flags=re.M)


def _fields(turn: str) -> str:
    code = turn.replace("```repl", "```python")
    return f"[[ ## reasoning ## ]]\nrun code\n\n[[ ## code ## ]]\n{code}\n\n[[ ## completed ## ]]"
