"""Keys: who asks, by the key of a request. No key is kept, only its digest."""

import hashlib
import hmac
from typing import TYPE_CHECKING

from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.settings import KEY_VARIABLE, keys_of_environment

if TYPE_CHECKING:
    from starlette.types import Scope

NOBODY = "anonymous"
"""The owner of all requests where no key is asked for."""


def digests_of(variable: str) -> list[bytes]:
    """Give the digests of the keys of a variable of the environment."""
    return [hashlib.sha256(key.encode()).digest() for key in keys_of_environment(variable)]


def checked_key(scope: "Scope", known: list[bytes], variable: str = KEY_VARIABLE) -> bytes:
    """Give the digest of a request's key.

    Raises:
        Refused: the key is missing or wrong.
    """
    headers = {name.lower(): value for name, value in scope["headers"]}
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    given = hashlib.sha256(key.strip()).digest()
    # every key is compared, so that the time taken tells nothing
    matches = [hmac.compare_digest(given, each) for each in known]
    if scheme.lower() != b"bearer" or not any(matches):
        raise Refused(
            401,
            f"Give one of the server's keys ({variable}) as 'Authorization: Bearer KEY'.",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )
    return given


def outer_user(scope: "Scope") -> str:
    """Name the owner by the user that the server around this application found."""
    user = _identity(scope.get("user"))
    if not user:
        return NOBODY
    return hashlib.sha256(f"user:{user}".encode()).hexdigest()[:32]


def _identity(user: object) -> object:
    """Give what names a user of Starlette's, whose simplest kind has a name and no identity."""
    try:
        return getattr(user, "identity", None)
    except NotImplementedError:
        return getattr(user, "display_name", None)
