"""Overflow: a provider's refusal of a prompt that is longer than its model's window.

LangChain has a type for it that not every provider's client raises, so the words count too.
"""

import re
from dataclasses import dataclass

from langchain_core.exceptions import ContextOverflowError

SIGNS = re.compile(
    r"context_length_exceeded|(?:maximum|available) context (?:length|size|window)|"
    r"context window|prompt is too long|input is too long|exceeds the (?:available|model)|"
    r"(?:input )?token count .{0,40}exceeds|too many (?:input )?tokens|n_ctx|"
    r"exceed(?:s|ed)? .{0,40}(?:maximum|max|limit).{0,40}tokens|reduce the length of the|"
    r"longer than the maximum model length",
    re.IGNORECASE,
)
NUMBER = r"(?P<tokens>\d[\d,_]{2,})"
WINDOWS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:maximum|available) context (?:length|size|window)(?: of| is|:| \()*\s*{NUMBER}",
        rf"context (?:length|size|window)(?: of| is|:| \(|=)*\s*{NUMBER}",
        rf"maximum number of tokens allowed[ (:]*{NUMBER}",
        rf">\s*{NUMBER}\s*maximum",
        rf"maximum model length(?: of| is|:)*\s*{NUMBER}",
        rf"{NUMBER} maximum context length",
        rf"n_ctx[\"']?\s*[:=]?\s*{NUMBER}",
        rf"(?:maximum|max|limit|up to|at most|only)[^\d]{{0,40}}{NUMBER}\s*tokens",
        rf"{NUMBER}[- ]tokens? (?:limit|maximum|window|context)",
    )
)
"""How providers say the window: OpenAI and vLLM, llama.cpp, Google, Anthropic, and others."""

REFUSED = (400, 413, 422, 500)
"""HTTP statuses with which servers refuse a prompt; llama.cpp has sent 500."""

SHORTEST = 256
"""Tokens; a smaller number in an error is not a window."""


@dataclass(frozen=True)
class Overflow:
    """A prompt was longer than the window."""

    window: int | None
    """Tokens that the model takes, where the error says so."""


def overflow_of(error: BaseException) -> Overflow | None:
    """Tell whether an error says that the prompt was longer than the model's window."""
    text = str(error)
    status = getattr(error, "status_code", None)
    is_refusal = status is None or status in REFUSED
    is_typed = isinstance(error, ContextOverflowError)
    if not is_typed and not (is_refusal and SIGNS.search(text)):
        return None
    for pattern in WINDOWS:
        found = pattern.search(text)
        if found is not None:
            tokens = int(re.sub(r"[,_]", "", found["tokens"]))
            return Overflow(tokens if tokens >= SHORTEST else None)
    return Overflow(None)
