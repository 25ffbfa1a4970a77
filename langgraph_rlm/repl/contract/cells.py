"""Promises about cells: what a session keeps between them, and how one ends."""

from langgraph_rlm.repl.contract.check import (
    Opener,
    Promises,
    fails,
    failure,
    gives,
    holds,
    ran,
)

promise = Promises()


@promise
def names_stay(open_session: Opener) -> None:
    """What a cell binds, defines or imports is there in the next cell."""
    session = open_session()
    ran(session, "import math\nx = 3\ndef double(n):\n    return 2 * n")
    gives(session, "double(x) + math.floor(1.5)", 7)


@promise
def globals_are_looked_up_late(open_session: Opener) -> None:
    """A function sees a global that a later cell has redefined."""
    session = open_session()
    functions = "def price():\n    return rate * 10\ndef total():\n    return price()"
    ran(session, f"rate = 1\n{functions}")
    gives(session, "rate = 2\ntotal()", 20)
    gives(session, "def price():\n    return 5\ntotal()", 5)


@promise
def an_error_keeps_what_was_bound(open_session: Opener) -> None:
    """A cell that raises keeps what it had bound, and runs no line after the error."""
    session = open_session()
    fails(session, "x = 1\nitems = [x]\n1 / 0\ny = 2", "ZeroDivisionError")
    gives(session, "[x, items]", [1, [1]])
    fails(session, "y", "NameError")


@promise
def an_exception_takes_any_argument(open_session: Opener) -> None:
    """An exception with whatever arguments is caught like any other, and says what it was given."""
    session = open_session()
    caught = "except Exception as error:\n    said = str(error)\nsaid"
    for made, said in {"ValueError(5)": "5", "TypeError([])": "[]", "OSError(1,)": "1"}.items():
        gives(session, f"try:\n    raise {made}\n{caught}", said)
    gives(session, f"try:\n    raise ValueError('a', 2)\n{caught}", "('a', 2)")


@promise
def sessions_share_nothing(open_session: Opener) -> None:
    """A name that one session binds is unknown in another."""
    first, second = open_session(), open_session()
    ran(first, "secret = 42")
    fails(second, "secret", "NameError")


@promise
def the_last_line_is_the_value(open_session: Opener) -> None:
    """The value of a cell is that of its last line, if that is an expression; otherwise None."""
    session = open_session()
    gives(session, "1 + 1", 2)
    gives(session, "x = 5\nx", 5)
    gives(session, "x = 5", None)
    gives(session, "None", None)
    gives(session, "'a'\n# end", "a")
    gives(session, "", None)
    gives(session, "if True:\n    5", None)


@promise
def a_syntax_error_runs_nothing(open_session: Opener) -> None:
    """A cell with a syntax error runs none of its lines."""
    session = open_session()
    for code in ("def (", "'open", "x = = 2", "\tx = 1\n  y"):
        error = failure(session, f"started = True\n{code}")
        holds(error.type.endswith("Error"), f"{code!r} raises {error.type}")
        fails(session, "started", "NameError")


@promise
def exit_ends_the_cell_alone(open_session: Opener) -> None:
    """`exit()` and its like end the cell with an error, and the session lives on.

    The error is SystemExit, or what the interpreter raises for a name that it does not have.
    """
    session = open_session()
    ran(session, "x = 1")
    for code in (
        "exit()",
        "quit()",
        "import sys\nsys.exit()",
        "import sys\nsys.exit(3)",
        "raise SystemExit",
        "raise SystemExit(1)",
    ):
        failure(session, code)
        gives(session, "x", 1)


@promise
def deep_recursion_is_an_error(open_session: Opener) -> None:
    """A function that calls itself for ever is a RecursionError, and the session lives on."""
    session = open_session()
    fails(session, "def down(n):\n    return down(n + 1)\ndown(0)", "RecursionError")
    gives(session, "1", 1)


@promise
def a_traceback_shows_cells_alone(open_session: Opener) -> None:
    """A traceback shows the lines of the cells, and no file of the host."""
    session = open_session()
    ran(session, "def divide(n):\n    return 1 / n")
    text = failure(session, "import json\ndivide(0)").traceback
    holds(text.startswith("Traceback (most recent call last):"), f"it begins {text[:50]!r}")
    holds(text.endswith("ZeroDivisionError: division by zero"), f"it ends {text[-50:]!r}")
    for shown in ("line 2", "return 1 / n"):
        holds(shown in text, f"{shown!r} is not in {text!r}")
    for hidden in (".py", "site-packages"):
        holds(hidden not in text, f"{hidden!r} is in {text!r}")
