"""Locations: the names of blob stores, with no password in what is shown or kept."""

import os
import re
from urllib.parse import parse_qsl, quote, unquote

from langgraph_rlm.errors import ConfigurationError

STORE_VARIABLE = "LANGGRAPH_RLM_STORE"
"""The environment variable that names the blob store."""

SECRET = "***"
"""What stands for a password."""

USER_PART = re.compile(r"^([a-zA-Z0-9+.:-]*?://[^/?#@:]*:)([^?#]*)(?=@)")
"""Of a URL, what is before a password in front of the last `@` of its host, and the password."""

SECRET_NAME = re.compile("pass|secret|token|key|credential|signature", re.IGNORECASE)
"""Names of parameters whose values are not shown."""

_opened: dict[str, str] = {}
"""Locations with secrets that this process has opened: as they are shown, and as they are."""


def masked(location: str) -> str:
    """Give a location as it may be shown and kept: without passwords and keys."""
    if "://" not in location:
        return location
    address, mark, query = USER_PART.sub(rf"\1{SECRET}", location).partition("?")
    parts = [_masked_parameter(part) for part in query.split("&")]
    return f"{address}{mark}{'&'.join(parts)}"


def _masked_parameter(part: str) -> str:
    name, equals, _ = part.partition("=")
    return f"{name}{equals}{SECRET}" if equals and SECRET_NAME.search(name) else part


def remember(location: str) -> None:
    """Remember a location, so that it can be opened again under the name that is shown."""
    if masked(location) != location:
        _opened[masked(location)] = location


def whole(location: str) -> str:
    """Give a location with its secrets: those that this process, or its environment, knows.

    Raises:
        ConfigurationError: the location was kept without its secrets, and nobody here knows them.
    """
    if SECRET not in location:
        return location
    named = os.environ.get(STORE_VARIABLE, "")
    for known in (_opened.get(location), named):
        if known and masked(known) == location:
            return known
    raise ConfigurationError(
        f"The blob store {location!r} was named with a password, which is not kept. Set "
        f"{STORE_VARIABLE} to its whole URL; or name it without one, and let the environment have "
        "it (for PostgreSQL: PGPASSWORD, or ~/.pgpass)."
    )


def scrubbed(text: str, location: str) -> str:
    """Give a message of another library without the secrets of a location."""
    for secret in _secrets(location):
        text = text.replace(secret, SECRET)
    return text


def _secrets(location: str) -> set[str]:
    found = USER_PART.match(location)
    given = [found[2]] if found else []
    query = parse_qsl(location.partition("?")[2])
    given += [value for name, value in query if SECRET_NAME.search(name)]
    forms = {form for each in given for form in (each, unquote(each), quote(each, safe=""))}
    return {form for form in forms if form}
