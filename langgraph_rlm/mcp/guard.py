"""Guard: asks each HTTP request for one of the server's keys, and says whose it is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.responses import JSONResponse

from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.keys import checked_key

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class Guard:
    """Lets requests with a key through to an application."""

    def __init__(self, app: "ASGIApp", keys: Sequence[bytes]) -> None:
        """Take an ASGI application, and the digests of the keys."""
        self._app = app
        self._keys = [*keys]

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Do what ASGI says."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            digest = checked_key(scope, self._keys)
        except Refused as refused:
            answer = JSONResponse(refused.body, refused.status, refused.headers)
            await answer(scope, receive, send)
            return
        # by this user the SDK ties sessions, and what a client keeps of a call, to the key
        token = AccessToken(token="", client_id=digest.hex(), scopes=[])
        scope["user"] = AuthenticatedUser(token)
        await self._app(scope, receive, send)
