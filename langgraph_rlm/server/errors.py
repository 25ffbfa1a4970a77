"""Errors: what went wrong, as OpenAI's clients know it: a status code and `{"error": {...}}`.

A client is told what it can mend itself (4xx). What the upstream did is a bad gateway (502, 504),
with what it said. What is our own fault is logged, and told without details. Never tells a secret.
"""

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from langgraph_rlm.budget.ledger import LimitReached
from langgraph_rlm.errors import (
    BlobError,
    ConfigurationError,
    ContextError,
    InputError,
    ModelReplyError,
    ResumeError,
    RLMError,
    ThreadBusyError,
    UnknownToolCallError,
)
from langgraph_rlm.hosting.secrets import without_secrets
from langgraph_rlm.models.failures import failed_model, is_page, page_text
from langgraph_rlm.storage.json_types import is_dict

LOG = logging.getLogger("langgraph_rlm.server")
DO_NOT_RETRY = {"x-should-retry": "false"}
"""Header for OpenAI's clients: the run itself has tried again, and a second run costs again."""
DAY_SECONDS = 86_400
LONGEST = 2000
"""Characters of a message."""
SAID_CHARS = 500
"""Characters that are told of what an upstream said."""

OF_THE_REQUEST = (400, 413, 422)
"""Statuses with which an upstream refuses what the client asked for: the client can mend it."""
TIMEOUTS = (408, 504)

_OPTIONS = ("tools", "tool_choice", "response_format", "max_tokens", "max_completion_tokens")
"""What a message about the options of a call begins with."""
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_TIMED_OUT = frozenset({"APITimeoutError", "TimeoutException", "TimeoutError"})
_NOT_REACHED = frozenset({"APIConnectionError", "TransportError", "ConnectionError"})
"""Classes of errors by name, because the clients that raise them may not be installed."""


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
        self.type: str | None = None
        """OpenAI's type of error, where it is not that of the status."""
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        default = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {
            "message": str(self)[:LONGEST],
            "type": self.type or _TYPES.get(self.status, default),
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


def no_file(id: str) -> Refused:
    """Make the refusal of a file that there is not, or that is another key's."""
    message = f"There is no file {id!r} of this key: runs give them in the field `files`."
    return Refused(404, message, code="file_not_found")


def refusal(error: BaseException) -> Refused:
    """Give what a client is told of an error."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, RLMError):
        return _of_run(error)
    if isinstance(error, LimitReached):
        return _used_up()
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _of_upstream(status, error)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    is_of_model = failed_model(error) is not None or "APIError" in kinds
    if "APIConnectionError" in kinds or (is_of_model and kinds & (_TIMED_OUT | _NOT_REACHED)):
        return _of_connection(error, kinds)
    if is_of_model:
        return _of_model(error)
    LOG.error("A request failed", exc_info=error)
    return _failed(500, "The server failed; its log says how.", "internal_error")


def _used_up() -> Refused:
    """Give the refusal of a question that needs more than what is left of its key's day."""
    message = "This question needs more than what is left of this key's day, which is one of UTC."
    wait = str(int(DAY_SECONDS - time.time() % DAY_SECONDS) + 1)
    headers = {**DO_NOT_RETRY, "retry-after": wait}
    told = Refused(429, message, code="insufficient_quota", headers=headers)
    told.type = "insufficient_quota"
    return told


def _failed(status: int, message: str, code: str) -> Refused:
    return Refused(status, message, code=code, headers=DO_NOT_RETRY)


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
    if isinstance(error, ModelReplyError):
        return _failed(502, told, "upstream_reply")
    LOG.error("A run failed", exc_info=error)
    if isinstance(error, BlobError):
        message = "A stored value of this run is missing; the server's log says which."
        return _failed(500, message, "value_missing")
    return _failed(500, told, "run_failed")


# What the upstream did


def _of_upstream(status: int, error: BaseException) -> Refused:
    """Translate an answer of the upstream that is an error."""
    said = _said(error)
    told = f"The upstream model answered {status}: {said}"
    if status == 429:
        return Refused(429, told, code="upstream_rate_limit", headers=_retry_after(error))
    if status in TIMEOUTS:
        return _failed(504, told, "upstream_failed")
    if _is_page(error):
        message = f"{told} That is a page of HTML: check OPENAI_BASE_URL, which ends in /v1."
        return _failed(502, message, "upstream_failed")
    if status in (401, 403):
        LOG.error("The upstream refused the server's credentials: %s", without_secrets(str(error)))
        message = "The upstream refused the server's own credentials."
        return _failed(502, message, "upstream_credentials")
    if status == 404 and _is_of_the_api(error):
        return unknown_model(told)
    if status == 404:
        message = f"{told} Check OPENAI_BASE_URL, which ends in /v1."
        return _failed(502, message, "upstream_failed")
    if status in OF_THE_REQUEST:
        return Refused(status, told, code="upstream_refused")
    return _failed(502, told, "upstream_failed")


def _of_connection(error: BaseException, kinds: set[str]) -> Refused:
    if kinds & _TIMED_OUT:
        return _failed(504, "The upstream model took too long.", "upstream_timeout")
    cause = _short(str(error.__cause__ or error))
    message = f"The upstream model cannot be reached, or broke off: {cause}"
    return _failed(502, message, "upstream_unreachable")


def _of_model(error: BaseException) -> Refused:
    """Translate an error within a reply, or one that a model's client raised over it."""
    body: Any = getattr(error, "body", None)
    status = 502
    told = f"The upstream model failed: {_said(error)}"
    if is_dict(body) and body.get("code") is not None:
        status = 504 if str(body["code"]) in map(str, TIMEOUTS) else 502
        told = f"{told} (code {_short(str(body['code']))})"
    elif type(error).__module__ == "builtins":
        told = f"The upstream model's reply cannot be read: {type(error).__name__}: {_said(error)}"
    LOG.info("A model failed: %s", without_secrets(repr(error))[:LONGEST])
    return _failed(status, told, "upstream_failed")


def _is_page(error: BaseException) -> bool:
    body: Any = getattr(error, "body", None)
    return isinstance(body, str) and is_page(body)


def _is_of_the_api(error: BaseException) -> bool:
    """Whether an error has OpenAI's shape, and not that of whatever else is at a wrong address."""
    body: Any = getattr(error, "body", None)
    return is_dict(body) and isinstance(body.get("message"), str)


def _said(error: BaseException) -> str:
    """Give what an upstream said, as far as its client tells."""
    body: Any = getattr(error, "body", None)
    if _is_page(error):
        return _short(page_text(body))
    if is_dict(body) and isinstance(body.get("message"), str):
        return _short(body["message"])
    return _short(body if isinstance(body, str) and body else str(error))


def _short(text: str) -> str:
    told = without_secrets(text)
    return told if len(told) <= SAID_CHARS else f"{told[:SAID_CHARS]}..."


def _retry_after(error: BaseException) -> dict[str, str]:
    headers: Any = getattr(getattr(error, "response", None), "headers", {})
    if "retry-after" not in headers:
        return {}
    return {"retry-after": headers["retry-after"]}
