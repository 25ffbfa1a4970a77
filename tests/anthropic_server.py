"""An Anthropic-compatible server for tests: `POST {url}/v1/messages`, streamed or not, with the usage of a prompt cache.

with AnthropicServer(reply=lambda body: "42") as server:
    ...  # ChatAnthropic(base_url=server.url, api_key="none")
"""

import json
from typing import Any

from aiohttp import web
from typing_extensions import override

from .openai_server import Body, OpenAIServer, Reply
from .prefix_cache import AnthropicCache, Read


class AnthropicServer(OpenAIServer):
    """As `OpenAIServer`. A `Reply`'s `headers` and `status` make errors."""

    @override
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cache = AnthropicCache()
        self.reads: list[Read] = []
        """Of `answered`."""

    @override
    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/messages", self._chat)

    @override
    async def respond(self, request: web.Request, body: Body, reply: Reply) -> web.StreamResponse:
        try:
            read = self.cache.take(body)
        except ValueError as error:
            return web.json_response(_error("invalid_request_error", str(error)), status=400)
        self.reads.append(read)
        message = _message(body, reply, read)
        if body.get("stream"):
            return await _streamed(request, message)
        return web.json_response(message)

    @override
    def error(self, reply: Reply) -> dict[str, Any]:
        return _error("scripted", reply.get("content", "scripted error"))


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def _message(body: Body, reply: Reply, read: Read) -> dict[str, Any]:
    text = reply.get("content", "")
    usage = {
        "input_tokens": read.all - read.read - read.written - read.written_1h,
        "cache_read_input_tokens": read.read,
        "cache_creation_input_tokens": read.written + read.written_1h,
        "cache_creation": {
            "ephemeral_5m_input_tokens": read.written,
            "ephemeral_1h_input_tokens": read.written_1h,
        },
        "output_tokens": max(1, len(text) // 4),
    }
    calls = reply.get("message", {}).get("tool_calls", [])
    content = [{"type": "text", "text": text}] if text else []
    content += [
        {"type": "tool_use", "id": call["id"], "name": call["name"], "input": call["args"]}
        for call in calls
    ]
    return {
        "id": "msg_test",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }


async def _streamed(request: web.Request, message: dict[str, Any]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)

    async def send(kind: str, **more: Any) -> None:
        data = json.dumps({"type": kind, **more})
        await response.write(f"event: {kind}\ndata: {data}\n\n".encode())

    await send("message_start", message={**message, "content": [], "stop_reason": None})
    for index, block in enumerate(message["content"]):
        await send("content_block_start", index=index, content_block={"type": "text", "text": ""})
        delta = {"type": "text_delta", "text": block["text"]}
        await send("content_block_delta", index=index, delta=delta)
        await send("content_block_stop", index=index)
    usage = {"output_tokens": message["usage"]["output_tokens"]}
    await send("message_delta", delta={"stop_reason": "end_turn"}, usage=usage)
    await send("message_stop")
    await response.write_eof()
    return response
