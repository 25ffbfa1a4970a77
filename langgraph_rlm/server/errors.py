"""Errors: whatever went wrong, as OpenAI's clients know it: a status code and `{"error": {...}}`. Never tells a secret."""

import json
import logging
import os
import re
from collections.abc import Mapping
from typing import Any

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
RETRIED = {"x-should-retry": "false"}
"""For OpenAI's clients: the run has tried again itself, and a second run would be paid for once more."""
_OPTIONS = ("tools", "tool_choice", "response_format")
"""What a message about the options of a call begins with."""
LONGEST = 2000
"""Characters of a message."""


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
        self.status, self.code, self.param, self.headers = status, code, param, dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        kind = _TYPES.get(
            self.status, "server_error" if self.status >= 500 else "invalid_request_error"
        )
        return {
            "error": {
                "message": str(self)[:LONGEST],
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }

    @property
    def json(self) -> bytes:
        """The body, encoded."""
        return json.dumps(self.body).encode()


_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def refusal(error: BaseException) -> Refused:
    """What a client is told of an error. What is nobody's fault but ours is logged, and told without details."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, ValidationError):
        return _invalid(error)
    if isinstance(error, RLMError):
        return _of_run(error)
    if isinstance(status := getattr(error, "status_code", None), int):
        return _of_upstream(status, error)
    kinds = {kind.__name__ for kind in type(error).__mro__}  # of clients that may not be installed
    if kinds & {"APITimeoutError", "TimeoutException"}:
        return Refused(
            504, "The upstream model took too long.", code="upstream_timeout", headers=RETRIED
        )
    if kinds & {"APIConnectionError", "TransportError"}:
        return Refused(
            502,
            "The upstream model cannot be reached.",
            code="upstream_unreachable",
            headers=RETRIED,
        )
    LOG.error("A request failed", exc_info=error)
    return Refused(
        500, "The server failed; its log says how.", code="internal_error", headers=RETRIED
    )


def _invalid(error: ValidationError) -> Refused:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or None
    return Refused(
        400,
        f"{where}: {first['msg']}" if where else first["msg"],
        param=where,
        code="invalid_value",
    )


def _of_run(error: RLMError) -> Refused:
    if isinstance(error, UnknownToolCallError):
        return Refused(404, str(error), param="messages", code="unknown_tool_call")
    if isinstance(error, ContextError | InputError):
        param = next((name for name in _OPTIONS if str(error).startswith(name)), "messages")
        return Refused(400, without_secrets(str(error)), param=param, code="invalid_value")
    if isinstance(error, ConfigurationError):
        return Refused(400, without_secrets(str(error)), code="invalid_value")
    if isinstance(error, ResumeError):
        return Refused(
            400, without_secrets(str(error)), param="messages", code="invalid_tool_result"
        )
    if isinstance(error, ThreadBusyError):
        return Refused(409, without_secrets(str(error)), code="run_busy")
    LOG.error("A run failed", exc_info=error)
    if isinstance(error, BlobError):
        return Refused(
            500,
            "A stored value of this run is missing; the server's log says which.",
            code="value_missing",
            headers=RETRIED,
        )
    return Refused(500, without_secrets(str(error)), code="run_failed", headers=RETRIED)


def _of_upstream(status: int, error: BaseException) -> Refused:
    """The upstream's refusals: what the client can mend goes on to it, the rest is a bad gateway."""
    told = f"The upstream model answered {status}: {without_secrets(_said(error))}"
    if status == 429:
        return Refused(429, told, code="upstream_rate_limit", headers=_after(error))
    if status in (401, 403):
        LOG.error("The upstream refused the server's credentials: %s", without_secrets(str(error)))
        return Refused(
            502,
            "The upstream refused the server's own credentials.",
            code="upstream_credentials",
            headers=RETRIED,
        )
    if status == 404:
        return Refused(404, told, param="model", code="model_not_found")
    if 400 <= status < 500 and status != 408:
        return Refused(status if status in (413, 422) else 400, told, code="upstream_refused")
    return Refused(
        504 if status in (408, 504) else 502, told, code="upstream_failed", headers=RETRIED
    )


def _said(error: BaseException) -> str:
    body: Any = getattr(error, "body", None)
    message: Any = body.get("message") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return message if isinstance(message, str) else str(error)


def _after(error: BaseException) -> dict[str, str]:
    headers: Any = getattr(getattr(error, "response", None), "headers", {})
    return {"retry-after": headers["retry-after"]} if "retry-after" in headers else {}


def without_secrets(text: str) -> str:
    """A text without anything that looks like a key, or is one of this process."""
    for name, value in os.environ.items():
        if len(value) >= 8 and name.upper().endswith(("KEY", "TOKEN", "SECRET", "PASSWORD")):
            for secret in value.split(","):
                text = (
                    text.replace(secret.strip(), "[secret]") if len(secret.strip()) >= 8 else text
                )
    return _KEYS.sub("[secret]", text)


_KEYS = re.compile(r"\b(sk|pk|key|Bearer)[-_ ][A-Za-z0-9_*.\-]{8,}")
