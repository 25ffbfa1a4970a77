"""Keys: who asks, by the key of a request. No key is kept, only its digest."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.limits.given import KeyLimits, digest_of, owner_of
from langgraph_rlm.server.settings import KEY_VARIABLE, Settings, keys_of_environment

if TYPE_CHECKING:
    from starlette.types import Scope

NOBODY = "anonymous"
"""The owner of all requests where no key is asked for."""


def digests_of(variable: str) -> list[bytes]:
    """Give the digests of the keys of a variable of the environment."""
    return [digest_of(key.encode()) for key in keys_of_environment(variable)]


def server_keys(settings: Settings) -> list[bytes]:
    """Give the digests of all keys that clients may give: the environment's, and those by name.

    Raises:
        ConfigurationError: the environment has no variable that a key by name is in, or two names
            stand for one key.
    """
    known: dict[bytes, str] = {}
    for name, key in settings.keys.items():
        other = known.setdefault(key.digest, name)
        if other != name:
            raise ConfigurationError(
                f"[keys.{other}] and [keys.{name}] are the same key. Leave one of them out."
            )
    return [*{*digests_of(KEY_VARIABLE), *known}]


def limits_by_owner(settings: Settings) -> Mapping[str, KeyLimits]:
    """Give the limits of the keys that have a name."""
    default = settings.limits or KeyLimits()
    return {owner_of(key.digest): key.within(default) for key in settings.keys.values()}


def checked_key(scope: "Scope", known: list[bytes], variable: str = KEY_VARIABLE) -> bytes:
    """Give the digest of a request's key.

    Raises:
        Refused: the key is missing or wrong.
    """
    headers = {name.lower(): value for name, value in scope["headers"]}
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    given = digest_of(key.strip())
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
