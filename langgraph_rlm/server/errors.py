"""Errors: what went wrong, as OpenAI's clients know it: a status code and `{"error": {...}}`.

Never tells a secret.
"""

import json
import logging
import os
import re
from collections.abc import Mapping
from typing import Any, cast

from pydantic import ValidationError

from langgraph_rlm.errors import (
    BlobError,
    ConfigurationError,
    ContextError,
    InputError,
    ResumeError,
    RLMError,
    ThreadBusyError,
    UnknownToolCallError,
)

LOG = logging.getLogger("langgraph_rlm.server")
DO_NOT_RETRY = {"x-should-retry": "false"}
"""Header for OpenAI's clients: the run itself has tried again, and a second run costs again."""
LONGEST = 2000
"""Characters of a message."""
SHORTEST_SECRET = 8
"""Characters of a value in the environment that is taken for a secret."""

_OPTIONS = ("tools", "tool_choice", "response_format")
"""What a message about the options of a call begins with."""
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_SECRET_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD")
"""How the name of a variable with a secret ends."""
_KEYS = re.compile(r"\b(sk|pk|key|Bearer)[-_ ][A-Za-z0-9_*.\-]{8,}")


class Refused(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        default = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {
            "message": str(self)[:LONGEST],
            "type": _TYPES.get(self.status, default),
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}

    @property
    def json(self) -> bytes:
        """The body, encoded."""
        return json.dumps(self.body).encode()


def unknown_model(message: str) -> Refused:
    """Give the refusal of a model id that the server or its upstream does not have."""
    return Refused(404, message, param="model", code="model_not_found")


def refusal(error: BaseException) -> Refused:
    """Give what a client is told of an error.

    An error that is our own fault is logged, and told without details.
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, ValidationError):
        return _invalid(error)
    if isinstance(error, RLMError):
        return _of_run(error)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _of_upstream(status, error)
    # by name, because the clients that raise these may not be installed
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"APITimeoutError", "TimeoutException"}:
        return _failed(504, "The upstream model took too long.", "upstream_timeout")
    if kinds & {"APIConnectionError", "TransportError"}:
        return _failed(502, "The upstream model cannot be reached.", "upstream_unreachable")
    LOG.error("A request failed", exc_info=error)
    return _failed(500, "The server failed; its log says how.", "internal_error")


def _failed(status: int, message: str, code: str) -> Refused:
    return Refused(status, message, code=code, headers=DO_NOT_RETRY)


def _invalid(error: ValidationError) -> Refused:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = first["msg"]
    where = ".".join(str(part) for part in first["loc"]) or None
    if where:
        message = f"{where}: {message}"
    return Refused(400, message, param=where, code="invalid_value")


def _of_run(error: RLMError) -> Refused:
    if isinstance(error, UnknownToolCallError):
        return Refused(404, str(error), param="messages", code="unknown_tool_call")
    told = without_secrets(str(error))
    if isinstance(error, ContextError | InputError):
        param = next((name for name in _OPTIONS if str(error).startswith(name)), "messages")
        return Refused(400, told, param=param, code="invalid_value")
    if isinstance(error, ConfigurationError):
        return Refused(400, told, code="invalid_value")
    if isinstance(error, ResumeError):
        return Refused(400, told, param="messages", code="invalid_tool_result")
    if isinstance(error, ThreadBusyError):
        return Refused(409, told, code="run_busy")
    LOG.error("A run failed", exc_info=error)
    if isinstance(error, BlobError):
        message = "A stored value of this run is missing; the server's log says which."
        return _failed(500, message, "value_missing")
    return _failed(500, told, "run_failed")


def _of_upstream(status: int, error: BaseException) -> Refused:
    """Translate a refusal of the upstream.

    The client is told what it can mend itself; anything else is a bad gateway.
    """
    told = f"The upstream model answered {status}: {without_secrets(_said(error))}"
    if status == 429:
        return Refused(429, told, code="upstream_rate_limit", headers=_retry_after(error))
    if status in (401, 403):
        LOG.error("The upstream refused the server's credentials: %s", without_secrets(str(error)))
        message = "The upstream refused the server's own credentials."
        return _failed(502, message, "upstream_credentials")
    if status == 404:
        return unknown_model(told)
    if status in (413, 422):
        return Refused(status, told, code="upstream_refused")
    if status in (408, 504):
        return _failed(504, told, "upstream_failed")
    if 400 <= status < 500:
        return Refused(400, told, code="upstream_refused")
    return _failed(502, told, "upstream_failed")


def _said(error: BaseException) -> str:
    body: Any = getattr(error, "body", None)
    if isinstance(body, dict):
        message = cast(dict[str, Any], body).get("message")
        if isinstance(message, str):
            return message
    return str(error)


def _retry_after(error: BaseException) -> dict[str, str]:
    headers: Any = getattr(getattr(error, "response", None), "headers", {})
    if "retry-after" not in headers:
        return {}
    return {"retry-after": headers["retry-after"]}


def without_secrets(text: str) -> str:
    """Give a text without anything that looks like a key, or is one of this process."""
    for secret in _secrets():
        text = text.replace(secret, "[secret]")
    return _KEYS.sub("[secret]", text)


def _secrets() -> list[str]:
    """List the secrets of the environment; one variable may hold several, with commas."""
    values = [
        value
        for name, value in os.environ.items()
        if len(value) >= SHORTEST_SECRET and name.upper().endswith(_SECRET_NAMES)
    ]
    parts = [part.strip() for value in values for part in value.split(",")]
    return [part for part in parts if len(part) >= SHORTEST_SECRET]
