"""Bodies: what clients send, read within limits and checked. Anything may be in it."""

import asyncio
import json
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from langgraph_rlm.errors import problems_in
from langgraph_rlm.server.errors import Refused

try:
    from starlette.requests import ClientDisconnect, Request
except ImportError as error:
    from langgraph_rlm.errors import ConfigurationError

    raise ConfigurationError(
        "The page's server needs Starlette and uvicorn: pip install 'langgraph-rlm[server]'"
    ) from error

MAX_BYTES = 8 << 20
"""Largest body: an edited reply, or the result of a tool."""
SECONDS = 60.0
"""How long a body may take."""
CLOSE = {"connection": "close"}
"""Header of an answer to a request whose body was not read to its end."""

Body = TypeVar("Body", bound=BaseModel)
Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Given(BaseModel):
    """What a body may have; other keys are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Nothing(Given):
    """An empty object."""


class Answers(Given):
    """Answers to pauses, by the ids of LangGraph's interrupts."""

    answers: dict[str, Any] = Field(min_length=1, max_length=10_000)


class Asked(Given):
    """A question."""

    question: Question


class Forked(Given):
    """An edit of one entry of a log."""

    checkpoint: str | None = None
    """The newest checkpoint of the branch that is edited; None for the newest branch."""
    place: str
    value: Any


async def read_body(request: Request, form: type[Body]) -> Body:
    """Read the body of a request.

    Raises:
        Refused: it is too large, too slow, no JSON, or of another form.
    """
    raw = await _raw(request)
    try:
        given = json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is not JSON: {error}") from None
    try:
        return form.model_validate(given)
    except ValidationError as error:
        raise Refused(
            422, f"The body is refused: {problems_in(error, has_values=False)}."
        ) from None


async def _raw(request: Request) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 12 or int(length) > MAX_BYTES):
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BYTES:
                    raise _too_large()
                parts.append(part)
    except TimeoutError:
        raise Refused(408, "The body did not come to its end.", headers=CLOSE) from None
    except ClientDisconnect:
        raise Refused(400, "The client left.", headers=CLOSE) from None
    return b"".join(parts)


def _too_large() -> Refused:
    return Refused(413, f"The body is over {MAX_BYTES:,} bytes.", headers=CLOSE)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
