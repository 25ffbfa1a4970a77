"""Escapes: what code must not be able to do, tried for real in a session. Knows no backend."""

from langgraph_rlm.repl.base import Finished, Session

TRIED = """
import os, _socket
def is_refused(attempt, *given):
    try:
        attempt(*given)
    except PermissionError:
        return True
    return False
tried = {"read a folder": (os.listdir, "/"), "write a file": (open, "/tmp/rlm-trial", "w"),
    "open a socket": (_socket.socket, 2, 1), "start a process": (os.fork,),
    "signal a process": (os.kill, os.getppid(), 0)}
[what for what, how in tried.items() if not is_refused(*how)]
"""
"""A cell that tries what it may not do, and tells what it could."""


def escapes(session: Session) -> str:
    """Try in a session what must be refused, and say what was not; empty if all of it was.

    A sandbox that does not even have the means ends the cell with an error.

    Raises:
        SandboxCrashed: the worker died.
    """
    outcome = session.feed(TRIED)
    if isinstance(outcome, Finished) and (outcome.error is not None or outcome.value == []):
        return ""
    return f"code got out, so do not use it here: {outcome}"
