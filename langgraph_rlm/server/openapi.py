"""OpenAPI: the document of the endpoints, made from the models that check requests."""

from functools import lru_cache
from typing import Any

from langgraph_rlm.server.requests import ChatRequest
from langgraph_rlm.server.responses.events import LAST
from langgraph_rlm.server.responses.objects import OPEN
from langgraph_rlm.server.responses.requests import ResponseRequest
from langgraph_rlm.server.text_requests import TextRequest

REFS = "#/components/schemas/{model}"

_OBJECT = {"type": "object", "required": ["object"], "properties": {"object": {"type": "string"}}}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_EVENT = {"type": "object", "properties": {"data": {"type": "string"}}}
_FILE = {
    "type": "object",
    "required": ["id", "object", "bytes", "filename", "mime_type"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "file"},
        "bytes": {"type": "integer"},
        "filename": {"type": "string"},
        "mime_type": {"type": "string"},
    },
}
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_COMPLETION: dict[str, Any] = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "chat.completion"},
        "created": {"type": "integer"},
        "model": {"type": "string"},
        "choices": {"type": "array", "minItems": 1, "maxItems": 1},
        "usage": {"type": "object"},
        "files": {"type": "array", "items": _FILE},
        "coverage": {"type": "object"},
    },
}
_TEXT: dict[str, Any] = {
    **_COMPLETION,
    "properties": {**_COMPLETION["properties"], "object": {"const": "text_completion"}},
}
_RESPONSE = {
    "type": "object",
    "required": ["id", "object", "created_at", "status", "model", "output", "tools", "usage"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "response"},
        "created_at": {"type": "integer"},
        "status": {"enum": [*OPEN, *LAST]},
        "model": {"type": "string"},
        "output": {"type": "array", "items": {"type": "object"}},
        "tools": {"type": "array", "items": {"type": "object"}},
        "usage": {"type": ["object", "null"]},
        "files": {"type": "array", "items": _FILE},
        "coverage": {"type": "object"},
    },
}
_ITEMS = {
    "type": "object",
    "required": ["object", "data", "has_more"],
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"type": "object"}},
        "has_more": {"type": "boolean"},
    },
}
_BY_ID_ERRORS = ("400", "401", "404", "409", "429", "500", "503")
_COMPLETION_ERRORS = ("400", "401", "404", "408", "409", "413", "422", "429", "500", "502", "504")


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """Give the document, as of OpenAPI 3.1."""
    health = _operation("Whether the server is up.", {"type": "object"}, ("503",))
    ready = _operation("Whether more requests are wanted here.", {"type": "object"}, ("503",))
    usage = _operation("What the key has used today.", _OBJECT, ("401", "404"))
    figures = _operation("Figures of the server and its runs.", {}, ("401",))
    text = {"text/plain": {"schema": {"type": "string"}}}
    figures["responses"]["200"] = {"description": "Prometheus' text format.", "content": text}
    models = _operation("The models that the server offers by name.", _OBJECT, ("401",))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "langgraph-rlm",
            "version": "1",
            "description": "OpenAI's chat completions, responses and completions, answered by "
            "Recursive Language Models.",
        },
        "paths": {
            "/health": {"get": health},
            "/ready": {"get": ready},
            "/v1/usage": {"get": usage},
            "/metrics": {"get": figures},
            "/v1/models": {"get": models},
            "/v1/chat/completions": {"post": _answers("ChatRequest", _COMPLETION)},
            "/v1/completions": {"post": _answers("TextRequest", _TEXT)},
            "/v1/responses": {"post": _answers("ResponseRequest", _RESPONSE)},
            **_responses(),
            "/v1/files/{id}": {"get": _file(), "parameters": [_ID]},
            "/v1/files/{id}/content": {"get": _content(), "parameters": [_ID]},
        },
        "components": {
            "schemas": {**_requests(), "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }


def _requests() -> dict[str, Any]:
    """Give the schemas of the bodies, and of their parts. Parts of one name differ between doors,
    so each has that of its body in front."""
    found: dict[str, Any] = {}
    for model in (ChatRequest, TextRequest, ResponseRequest):
        name = model.__name__
        refs = REFS.format(model=f"{name}.{{model}}")
        schema = model.model_json_schema(ref_template=refs)
        parts = schema.pop("$defs", {})
        found |= {name: schema, **{f"{name}.{part}": value for part, value in parts.items()}}
    return found


def _answers(request: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe a POST that gives an answer, whole or as a stream."""
    operation = _operation("One answer.", schema, _COMPLETION_ERRORS)
    operation["responses"]["200"]["content"]["text/event-stream"] = {"schema": _EVENT}
    body = {"required": True, "content": _json({"$ref": REFS.format(model=request)})}
    return {**operation, "requestBody": body}


def _responses() -> dict[str, Any]:
    """Describe what there is of a response that is kept."""
    kept = _operation("A response, as it stands.", _RESPONSE, _BY_ID_ERRORS)
    kept["responses"]["200"]["content"]["text/event-stream"] = {"schema": _EVENT}
    deleted = _operation("Delete a response.", _OBJECT, _BY_ID_ERRORS)
    stopped = _operation("Stop a background response.", _RESPONSE, _BY_ID_ERRORS)
    items = _operation("The items of a response's input.", _ITEMS, _BY_ID_ERRORS)
    path = "/v1/responses/{id}"
    return {
        path: {"get": kept, "delete": deleted, "parameters": [_ID]},
        f"{path}/cancel": {"post": stopped, "parameters": [_ID]},
        f"{path}/input_items": {"get": items, "parameters": [_ID]},
    }


def _file() -> dict[str, Any]:
    return _operation("A file that a run gave back.", _FILE, ("401", "404", "503"))


def _content() -> dict[str, Any]:
    operation = _operation("The bytes of the file, to be saved.", {}, ("401", "404", "503"))
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    operation["responses"]["200"] = {"description": "The bytes.", "content": content}
    return operation


def _operation(summary: str, schema: dict[str, Any], errors: tuple[str, ...]) -> dict[str, Any]:
    error = {"description": "Refused.", "content": _json({"$ref": REFS.format(model="Error")})}
    answer = {"description": "The answer.", "content": _json(schema)}
    return {"summary": summary, "responses": {"200": answer, **dict.fromkeys(errors, error)}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
