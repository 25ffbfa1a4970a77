"""Owners: whose a thread is. Its id says so, so that every process that runs it keeps to it.

An id is random, and ends with a digest of it that its owner's key makes. Nobody guesses one, and
one that was seen elsewhere is worth nothing to another key. No thread of another door, such as the
command's, has such an id.
"""

import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, authorization_context

from langgraph_rlm.server.keys import outer_user

if TYPE_CHECKING:
    from starlette.requests import Request

START = "mcp-"
RANDOM_BYTES = 10
MARK_CHARS = 12
LOCAL = "stdio"
"""The owner of all that comes over stdio: whoever has started the process."""


def owner_of(request: "Request | None") -> str:
    """Name the owner of a request: by the user that the SDK, or the application around it, has
    found."""
    if request is None:
        return LOCAL
    user = request.scope.get("user")
    if isinstance(user, AuthenticatedUser):
        principal = json.dumps(authorization_context(user), sort_keys=True)
        return hashlib.sha256(principal.encode()).hexdigest()
    return outer_user(request.scope)


def new_thread(owner: str) -> str:
    """Make the id of a thread of an owner."""
    random = secrets.token_hex(RANDOM_BYTES)
    return f"{START}{random}{_mark(owner, random)}"


def is_owned(thread: str, owner: str) -> bool:
    """Whether an id is that of a thread of an owner."""
    if not thread.startswith(START) or not thread.isascii():
        return False
    random, mark = thread[len(START) : -MARK_CHARS], thread[-MARK_CHARS:]
    return hmac.compare_digest(mark, _mark(owner, random))


def _mark(owner: str, random: str) -> str:
    return hmac.new(owner.encode(), random.encode(), hashlib.sha256).hexdigest()[:MARK_CHARS]
