"""Ids: of runs, of their threads, and of the tool calls that they make.

The id of a tool call contains the id of its run, and that leads to the thread: there is no table
of ids.
"""

import base64
import hashlib
import re
import secrets
import uuid

PREFIX = "rlm_"
RUN_CHARS = 20
"""Characters of a run's id: 120 random bits."""
DIGEST_CHARS = 12
CALL_ID = re.compile(rf"{PREFIX}([\w-]{{{RUN_CHARS}}})_([0-9a-f]{{{DIGEST_CHARS}}})", re.ASCII)
"""The form of a call's id: 37 characters, all of a kind that every provider accepts."""


def new_run_id() -> str:
    """Make the id of a new run. Whoever knows it, and has its owner's key, can continue the run."""
    return secrets.token_urlsafe(RUN_CHARS * 6 // 8)


def derived_run_id(*parts: str) -> str:
    """Give the id of the run that belongs to `parts`: the same id wherever it is asked for."""
    return base64.urlsafe_b64encode(_digest(*parts))[:RUN_CHARS].decode()


def thread_of(owner: str, run: str) -> str:
    """Give the thread of a run, a UUID, since some checkpointers take nothing else.

    The same run id under another owner is another thread.
    """
    return str(uuid.UUID(bytes=_digest(owner, run)[:16]))


def call_id(run: str, pause: str) -> str:
    """Give the id of the tool call that a pause of a run stands for."""
    return f"{PREFIX}{run}_{pause_digest(pause)}"


def pause_digest(pause: str) -> str:
    """Shorten LangGraph's id of a pause to what stands for it in a call's id."""
    return _digest(pause).hex()[:DIGEST_CHARS]


def parse_call_id(id: str | None) -> tuple[str, str] | None:
    """Give the run and the digest of the pause in a call's id; None for an id that is not ours."""
    found = CALL_ID.fullmatch(id or "")
    return None if found is None else (found[1], found[2])


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
