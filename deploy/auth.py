"""Auth: who may ask the engine. Each key of LANGGRAPH_RLM_API_KEY has threads of its own.

Clients send a key as `x-api-key`, as LangGraph's SDK does (`get_client(api_key=...)`), or as
bearer. Without any key in the environment everybody is refused: nothing here fails when it is
loaded, since Aegra serves everybody where a file like this one cannot be loaded.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from langgraph_sdk import Auth

from langgraph_rlm.server.settings import keys_of_environment

auth = Auth()


@auth.authenticate
async def authenticate(headers: Mapping[Any, Any]) -> Auth.types.MinimalUserDict:
    """Give the user that a key stands for."""
    given = _text(headers, "x-api-key") or _text(headers, "authorization").removeprefix("Bearer ")
    digest = hashlib.sha256(given.encode()).digest()
    known = [hashlib.sha256(key.encode()).digest() for key in keys_of_environment()]
    if not any(hmac.compare_digest(digest, each) for each in known):
        detail = "Give one of the keys (LANGGRAPH_RLM_API_KEY) as 'x-api-key' or as bearer."
        raise Auth.exceptions.HTTPException(status_code=401, detail=detail)
    return {"identity": digest.hex()[:32]}


@auth.on.threads
async def own_threads(ctx: Auth.types.AuthContext, value: Any) -> dict[str, str]:
    """Mark threads with their owner, and show nobody else's. Aegra does so by itself."""
    owner = {"owner": ctx.user.identity}
    value["metadata"] = {**(value.get("metadata") or {}), **owner}
    return owner


def _text(headers: Mapping[Any, Any], name: str) -> str:
    """Give a header, which Aegra has as text, and LangGraph's servers as bytes."""
    value = headers.get(name) or headers.get(name.encode()) or ""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
