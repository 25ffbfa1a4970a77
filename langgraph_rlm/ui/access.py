"""Access: who may ask the page's server, and what a browser may do with its answers.

Never reads a body.

What stops whom: a stranger has no token. A page of another site has neither the cookie, which
browsers keep from it (`SameSite=Strict`), nor the word against cross-site requests, which only our
page can read. A page of another port of this machine has the cookie (browsers take ports for one
site), so each request that does something needs that word, and an `Origin` that is ours. A name
that an attacker points at this machine (DNS rebinding) is not among the hosts that are served.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from langgraph_rlm.server.errors import Refused

COOKIE = "langgraph_rlm_ui"
"""How the name of the cookie starts; the port ends it, since all ports share a host's cookies."""
WORD_HEADER = "x-csrf-token"

HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Headers of every answer."""
NO_FRAMES = "frame-ancestors 'none'"
NOTHING = f"default-src 'none'; {NO_FRAMES}; base-uri 'none'; form-action 'none'; sandbox"
"""The policy of every answer that is not the page."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HOST = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^:\[\]/@\s]+))(?::\d{1,5})?")
FROM_ELSEWHERE = frozenset({"cross-site", "same-site"})
"""What browsers say (`Sec-Fetch-Site`) of a request that another site or port has made."""


@dataclass(frozen=True)
class Access:
    """Who may ask."""

    keys: Sequence[str]
    """Tokens, each of which opens everything."""
    hosts: frozenset[str] = LOOPBACK
    """Names by which the server may be asked."""
    any_address: bool = False
    """Whether it may be asked by any IP address too, which no attacker can point elsewhere."""

    def is_key(self, given: str) -> bool:
        """Whether a text is one of the keys, in a time that tells nothing."""
        digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
        return _is_among(digest, [hashlib.sha256(key.encode()).digest() for key in self.keys])

    def cookie(self, key: str) -> str:
        """Make what the browser keeps instead of a key."""
        return _derived(key, "cookie")

    @property
    def word(self) -> str:
        """The word that our page sends with all that does something. A new one for other keys."""
        return _derived("\n".join(self.keys), "word")

    def check_host(self, headers: Mapping[str, str]) -> None:
        """Refuse a name that is not this server's.

        Raises:
            Refused: the request was meant for another host.
        """
        found = HOST.fullmatch(headers.get("host", ""))
        name = "" if found is None else (found["v6"] or found["name"]).lower()
        if name in self.hosts or (self.any_address and _is_address(name)):
            return
        raise Refused(
            403,
            f"This server is not {headers.get('host', '')!r}. Ask it by the address that it "
            "printed, or start it with --allow-host NAME.",
        )

    def is_known(self, headers: Mapping[str, str], cookie: str | None) -> bool:
        """Whether a request has a key, as a Bearer token or as the cookie."""
        if self.has_bearer(headers):
            return True
        if cookie is None:
            return False
        given = cookie.encode("utf-8", "surrogateescape")
        return _is_among(given, [self.cookie(key).encode() for key in self.keys])

    def has_bearer(self, headers: Mapping[str, str]) -> bool:
        """Whether a request has a key as a Bearer token, which no page of another site can send."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_key(key.strip())

    def check(self, headers: Mapping[str, str], cookie: str | None) -> None:
        """Let a request read.

        Raises:
            Refused: it has no key, or another site has made it.
        """
        if not self.is_known(headers, cookie):
            raise Refused(
                401,
                "Open the address that the server printed, with its token, or send the token as "
                "'Authorization: Bearer TOKEN'.",
                headers={"www-authenticate": "Bearer"},
            )
        if not self.has_bearer(headers) and headers.get("sec-fetch-site") in FROM_ELSEWHERE:
            raise Refused(403, "Another site has made this request.")

    def check_act(self, headers: Mapping[str, str]) -> None:
        """Let a request that `check` has let in do something.

        Raises:
            Refused: another site may have made it, or its body is not JSON.
        """
        origin = headers.get("origin")
        if origin is not None and not _is_own(origin, headers.get("host", "")):
            raise Refused(403, f"A page of {origin!r} may do nothing here.")
        if not self.has_bearer(headers):
            given = headers.get(WORD_HEADER, "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, self.word.encode()):
                raise Refused(
                    403, f"The header {WORD_HEADER} of the page is missing: load the page again."
                )
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(415, "The body must have the content type application/json.")


def cookie_name(port: object) -> str:
    """Name the cookie of the server on a port."""
    return f"{COOKIE}_{port}"


def _is_among(given: bytes, known: Sequence[bytes]) -> bool:
    """Whether a secret is one of some, all of which are compared: the time tells nothing."""
    matches = [hmac.compare_digest(given, each) for each in known]
    return any(matches)


def _derived(key: str, use: str) -> str:
    message = f"langgraph-rlm ui {use}".encode()
    return hmac.new(key.encode(), message, hashlib.sha256).hexdigest()


def _is_own(origin: str, host: str) -> bool:
    """Whether an origin is the asked host's own, with or without a proxy that speaks TLS."""
    own = host.lower()
    return origin.lower() in (f"http://{own}", f"https://{own}")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
