"""Ids: of runs, of their threads, and of the tool calls that they make. An id alone leads to its run; nothing is looked up in memory."""

import base64
import hashlib
import re
import secrets
import uuid

PREFIX = "rlm_"
RUN_CHARS = 20
"""120 random bits."""
DIGEST_CHARS = 12
CALL_ID = re.compile(rf"{PREFIX}([\w-]{{{RUN_CHARS}}})_([0-9a-f]{{{DIGEST_CHARS}}})", re.ASCII)
"""37 characters, of those that every provider takes."""


def new_run() -> str:
    """The id of a new run. Whoever knows it, and has its owner's key, can continue the run."""
    return secrets.token_urlsafe(RUN_CHARS * 6 // 8)


def derived_run(*parts: str) -> str:
    """The id of the run that belongs to `parts`: the same wherever it is asked for."""
    return base64.urlsafe_b64encode(_digest(*parts))[:RUN_CHARS].decode()


def thread_of(owner: str, run: str) -> str:
    """The thread of a run: a UUID, since some checkpointers take nothing else. Another owner's is another thread."""
    return str(uuid.UUID(bytes=_digest(owner, run)[:16]))


def call_id(run: str, pause: str) -> str:
    """The id of the tool call that a pause of a run stands for."""
    return f"{PREFIX}{run}_{pause_digest(pause)}"


def pause_digest(pause: str) -> str:
    """What stands in a call's id for LangGraph's id of the pause."""
    return _digest(pause).hex()[:DIGEST_CHARS]


def parse_call_id(id: str | None) -> tuple[str, str] | None:
    """The run and the pause's digest of one of our ids; None for any other."""
    found = CALL_ID.fullmatch(id or "")
    return None if found is None else (found[1], found[2])


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
