"""Twins: a program in CPython and in Monty, and what each makes of it."""

import io
from contextlib import redirect_stdout
from decimal import Decimal
from typing import Any

from langgraph_rlm.repl.base import Session
from langgraph_rlm.repl.contract.check import run


def in_cpython(code: str) -> str:
    """What a program prints, or the name of its error."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            exec(code, {"__name__": "cell"})
    except Exception as error:  # noqa: BLE001 - programs made by chance
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return "ValueError" if "ValueError" in kinds else kinds[0]
    return printed.getvalue()


def in_monty(session: Session, code: str) -> str:
    finished, _ = run(session, code)
    return finished.stdout if finished.error is None else finished.error.type


def same(session: Session, code: str) -> None:
    """A program does the same in both."""
    assert in_monty(session, code) == in_cpython(code), code


def show(module: str, *expressions: str) -> str:
    """A program that prints expressions, each as JSON where it is such a value."""
    shown = "\n".join(f"print(json.dumps({each}))" for each in expressions)
    return f"import json\nimport {module}\n{shown}"


ERRORS = "(ValueError, TypeError, ZeroDivisionError, OverflowError, IndexError, KeyError)"


def same_values(session: Session, module: str, calls: list[str]) -> None:
    """Calls give the same values, of the same types, or fail with the same error.

    Values are compared on the host: Monty writes some floats with another last digit.
    """
    steps = "".join(
        f"try:\n    value = {call}\n    found.append([type(value).__name__, value])\n"
        f"except {ERRORS} as error:\n    found.append(type(error).__name__)\n"
        for call in calls
    )
    code = f"import {module}\nfrom decimal import Decimal\nfound = []\n{steps}"
    names: dict[str, Any] = {}
    exec(code, names)
    finished, _ = run(session, f"{code}found")
    assert finished.error is None
    for call, got, wanted in zip(calls, finished.value, names["found"], strict=True):
        if isinstance(wanted, list) and isinstance(wanted[1], Decimal):
            wanted = [wanted[0], str(wanted[1])]
        if isinstance(wanted, list) and isinstance(wanted[1], list):
            wanted = [wanted[0], [str(x) if isinstance(x, Decimal) else x for x in wanted[1]]]
        assert got == ("ValueError" if wanted == "StatisticsError" else wanted), call
