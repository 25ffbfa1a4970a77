"""OpenAPI: the document of the endpoints, made from the models that check requests."""

from functools import lru_cache
from typing import Any

from langgraph_rlm.server.requests import ChatRequest

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
_FILE_ID = {"name": "file_id", "in": "path", "required": True, "schema": {"type": "string"}}
_COMPLETION = {
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
_COMPLETION_ERRORS = ("400", "401", "404", "408", "409", "413", "422", "429", "500", "502", "504")


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """Give the document, as of OpenAPI 3.1."""
    schemas = ChatRequest.model_json_schema(ref_template=REFS)
    parts = schemas.pop("$defs")
    health = _operation("Whether the server is up.", {"type": "object"}, ("503",))
    figures = _operation("Figures of the server and its runs.", {}, ("401",))
    text = {"text/plain": {"schema": {"type": "string"}}}
    figures["responses"]["200"] = {"description": "Prometheus' text format.", "content": text}
    models = _operation("The models that the server offers by name.", _OBJECT, ("401",))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "langgraph-rlm",
            "version": "1",
            "description": "OpenAI's chat completions, answered by Recursive Language Models.",
        },
        "paths": {
            "/health": {"get": health},
            "/metrics": {"get": figures},
            "/v1/models": {"get": models},
            "/v1/chat/completions": {"post": _completions()},
            "/v1/files/{file_id}": {"get": _file(), "parameters": [_FILE_ID]},
            "/v1/files/{file_id}/content": {"get": _content(), "parameters": [_FILE_ID]},
        },
        "components": {
            "schemas": {**parts, "ChatRequest": schemas, "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }


def _completions() -> dict[str, Any]:
    operation = _operation("One answer.", _COMPLETION, _COMPLETION_ERRORS)
    operation["responses"]["200"]["content"]["text/event-stream"] = {"schema": _EVENT}
    body = {"required": True, "content": _json({"$ref": REFS.format(model="ChatRequest")})}
    return {**operation, "requestBody": body}


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
