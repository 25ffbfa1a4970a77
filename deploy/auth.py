"""Auth: who may ask the engine. Each key of LANGGRAPH_RLM_API_KEY has threads of its own.

Clients send a key as `x-api-key`, as LangGraph's SDK does (`get_client(api_key=...)`), or as
bearer. Without any key in the environment everybody is refused: nothing here fails when it is
loaded, since Aegra serves everybody where a file like this one cannot be loaded.
"""

import hashlib
import hmac
from collections.abc import Mapping

from langgraph_sdk import Auth

from langgraph_rlm.server.settings import keys_of_environment

auth = Auth()


@auth.authenticate
async def authenticate(headers: Mapping[str, str]) -> Auth.types.MinimalUserDict:
    """Give the user that a key stands for."""
    given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
    digest = hashlib.sha256(given.encode()).digest()
    known = [hashlib.sha256(key.encode()).digest() for key in keys_of_environment()]
    if not any(hmac.compare_digest(digest, each) for each in known):
        detail = "Give one of the keys (LANGGRAPH_RLM_API_KEY) as 'x-api-key' or as bearer."
        raise Auth.exceptions.HTTPException(status_code=401, detail=detail)
    return {"identity": digest.hex()[:32]}
