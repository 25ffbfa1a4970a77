"""Paths: what a client is told that asks for a path, or a method of one, that is not served.

Serves nothing. Most of these clients have a wrong base URL, or use another of OpenAI's APIs.
"""

from collections.abc import Mapping

SERVED = (
    "There are POST /v1/chat/completions, POST /v1/responses, POST /v1/completions, "
    "GET /v1/models, GET /v1/files/ID, GET /v1/usage, GET /metrics, GET /health, GET /ready and "
    "GET /openapi.json."
)
USE_CHAT = "Use POST /v1/chat/completions, OpenAI's chat completions."
WITH_V1 = "The paths begin with /v1: set the client's base URL to http://HOST:PORT/v1."

HINTS: Mapping[str, str] = {
    "/v1/responses": "Of OpenAI's Responses API there are POST /v1/responses, GET and DELETE "
    "/v1/responses/ID, GET /v1/responses/ID/input_items and POST /v1/responses/ID/cancel.",
    "/v1/conversations": "Conversations are not served: name the response before with "
    "previous_response_id.",
    "/v1/messages": f"Anthropic's Messages API is not served. {USE_CHAT}",
    "/v1/embeddings": "Embeddings are not served: ask the models' own API for them.",
    "/v1/moderations": "Moderations are not served: ask the models' own API for them.",
    "/v1/images": "Images are not served: ask the models' own API for them.",
    "/v1/audio": "Audio is not served: ask the models' own API for it.",
    "/v1/files": "Files are not taken: give their text in the messages. GET /v1/files/ID gives "
    "one that a run wrote.",
    "/v1/batches": f"Batches are not served. {USE_CHAT}",
    "/v1/assistants": f"OpenAI's Assistants API is not served. {USE_CHAT}",
    "/v1/threads": f"OpenAI's Assistants API is not served. {USE_CHAT}",
    "/v1/v1": "The path has /v1 twice: set the client's base URL to http://HOST:PORT/v1, once.",
    "/chat/completions": WITH_V1,
    "/completions": WITH_V1,
    "/responses": WITH_V1,
    "/embeddings": "Embeddings are not served: ask the models' own API for them.",
    "/models": WITH_V1,
    "/api": f"Ollama's API is not served. {USE_CHAT}",
}
"""What to use instead, by the start of a path."""


def not_served(path: str) -> str:
    """Say what to use instead of a path that is not served."""
    plain = f"/{path.strip('/')}"
    for start, hint in HINTS.items():
        if plain == start or plain.startswith(f"{start}/"):
            return hint
    return f"There is no such path. {SERVED}"


def wrong_method(method: str, path: str, headers: Mapping[str, str]) -> str:
    """Say which method a path has instead.

    Args:
        method: the client's.
        path: one that is served.
        headers: of the answer; `Allow` has the methods.
    """
    allowed = next((value for name, value in headers.items() if name.lower() == "allow"), "others")
    return f"{path} does not take {method}: it takes {allowed}."
