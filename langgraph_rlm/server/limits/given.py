"""Given: the limits of keys, as the configuration file has them. Counts nothing."""

import hashlib
import os
import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from langgraph_rlm.errors import ConfigurationError

DIGEST = r"^[0-9a-f]{64}$"
NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
"""The name of a key, which stands in messages and logs."""
OWNER_CHARS = 32

Count = Annotated[int, Field(ge=1)]


class KeyLimits(BaseModel):
    """What one key may use. None is no limit. Days are those of UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_day: Count | None = None
    tokens_per_day: Count | None = None
    """Input and output, of all models that were asked for the key."""
    usd_per_day: Annotated[float, Field(gt=0)] | None = None
    """Every model that the key asks needs a known price."""
    requests_per_minute: Count | None = None
    open_requests: Count | None = None
    """Requests that are worked on at once."""


LIMITS = tuple(KeyLimits.model_fields)


class NamedKey(KeyLimits):
    """A key of the configuration file: `[keys.NAME]`. The file has no key, only what leads to it.

    A limit that is left out is that of `[limits]`.
    """

    env: str | None = None
    """Name of the environment variable with the key."""
    sha256: Annotated[str, Field(pattern=DIGEST)] | None = None
    """The key's digest: `printf %s KEY | sha256sum`."""

    @model_validator(mode="after")
    def _names_one_key(self) -> "NamedKey":
        if (self.env is None) == (self.sha256 is None):
            raise ValueError("a key needs one of env and sha256")
        return self

    @property
    def digest(self) -> bytes:
        """The digest of the key.

        Raises:
            ConfigurationError: the environment does not have it.
        """
        if self.sha256 is not None:
            return bytes.fromhex(self.sha256)
        key = os.environ.get(self.env or "", "").strip()
        if not key:
            raise ConfigurationError(
                f"env={self.env!r} of a key in the configuration file: the environment has no such "
                "variable. Set it to the key, or give the key's sha256."
            )
        return digest_of(key.encode())

    def within(self, default: KeyLimits) -> KeyLimits:
        """Give the limits of the key, where it says nothing those of all."""
        return default.model_copy(update=self.own)

    @property
    def own(self) -> dict[str, Any]:
        """The limits that it has itself."""
        given = {name: getattr(self, name) for name in LIMITS}
        return {name: limit for name, limit in given.items() if limit is not None}


def digest_of(key: bytes) -> bytes:
    """Give the digest of a key, which is all that is kept of it."""
    return hashlib.sha256(key).digest()


def owner_of(digest: bytes) -> str:
    """Name the owner of runs by the digest of a key."""
    return digest.hex()[:OWNER_CHARS]
