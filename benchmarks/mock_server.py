"""Mock server: a deterministic OpenAI-compatible model in a process of its own.

It notes when each call came and went. `PUT /program` says what it answers from now on, and forgets
the calls so far; `GET /calls` gives them. A model whose name starts with "root" is answered from
the program's turns, any other as a sub-model. It prints its port, and serves until its input is
closed.
"""

import asyncio
import json
import re
import sys
import time
from typing import Any, TypedDict

from aiohttp import web

ECHO = "<echo>"
"""As a reply: what the last message has after `answer=`. For peers whose code cannot answer."""


class Program(TypedDict, total=False):
    """What the mock answers."""

    turns: list[str]
    """Replies of the root model: a request with N assistant messages gets number N, from 0.

    Later requests get the last one.
    """
    sub_ms: float
    """How long a sub-model takes, from the arrival of its request."""
    sub_chars: int
    """Length of its reply, which begins with the length of the prompt: `len=10012 ......`."""
    turn_pattern: str
    """Finds the number of a root turn, from 1, in the messages; by default they are counted."""
    tool: str
    """The name of a tool that root replies call with their text as `code`, all but `ECHO`."""


class Call(TypedDict):
    """One request, in seconds of CLOCK_MONOTONIC.

    That is the clock of `time.monotonic()` in every process of the machine.
    """

    model: str
    arrived: float
    """When its body had been read."""
    left: float
    """When its reply was ready to be written."""


class Mock:
    """The program and the calls of one server."""

    def __init__(self) -> None:
        self.program = Program(turns=[], sub_ms=0, sub_chars=10)
        self.calls: list[Call] = []

    async def set_program(self, request: web.Request) -> web.Response:
        """Take a new program, and forget the calls so far."""
        self.program, self.calls = await request.json(), []
        return web.Response()

    async def show_calls(self, _: web.Request) -> web.Response:
        """Give the calls since the program was set, in order of arrival."""
        return web.json_response(self.calls)

    async def complete(self, request: web.Request) -> web.Response:
        """Answer `POST /v1/chat/completions`; a stream comes in one piece."""
        raw = await request.read()
        call = Call(model="", arrived=time.monotonic(), left=0.0)
        self.calls.append(call)
        body = json.loads(raw)
        call["model"] = body["model"]
        messages = body["messages"]
        if body["model"].startswith("root"):
            text = self._turn(messages)
        else:
            text = f"len={len(messages[-1]['content'])} ".ljust(self.program["sub_chars"], ".")
            end = call["arrived"] + self.program["sub_ms"] / 1000
            await asyncio.sleep(max(0.0, end - time.monotonic()))
        is_root = body["model"].startswith("root")
        tool = self.program.get("tool", "") if is_root and not text.startswith(ECHO) else ""
        text = text.removeprefix(ECHO)
        whole = completion(body["model"], text, len(raw) // 4, tool)
        if body.get("stream"):
            reply = streamed(whole)
            kind = "text/event-stream"
        else:
            reply = json.dumps(whole).encode()
            kind = "application/json"
        call["left"] = time.monotonic()
        return web.Response(body=reply, content_type=kind)

    def _turn(self, messages: list[dict[str, Any]]) -> str:
        turns = self.program["turns"]
        turn = sum(message["role"] == "assistant" for message in messages)
        if pattern := self.program.get("turn_pattern"):
            found = re.findall(pattern, "\n".join(str(message["content"]) for message in messages))
            turn = int(found[-1]) - 1 if found else 0
        reply = turns[min(turn, len(turns) - 1)]
        if reply == ECHO:
            said = re.findall(r"answer=(\w+)", str(messages[-1]["content"]))
            return ECHO + (said[-1] if said else "nothing")
        return reply


def completion(model: str, text: str, prompt_tokens: int, tool: str = "") -> dict[str, Any]:
    """Make a `chat.completion` object; with a tool, it calls that with the text as `code`."""
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": len(text) // 4,
        "total_tokens": prompt_tokens + len(text) // 4,
    }
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if tool:
        function = {"name": tool, "arguments": json.dumps({"code": text})}
        call = {"id": f"call-{hash(text)}", "type": "function", "function": function}
        message |= {"content": None, "tool_calls": [call]}
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": "tool_calls" if tool else "stop",
    }
    return {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def streamed(whole: dict[str, Any]) -> bytes:
    """Turn a `chat.completion` into the events of a stream: its text, its end, its usage."""
    frame = whole | {"object": "chat.completion.chunk"}
    text = {"index": 0, "delta": whole["choices"][0]["message"], "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    chunks = [
        frame | {"choices": [text], "usage": None},
        frame | {"choices": [end], "usage": None},
        frame | {"choices": []},
    ]
    events = [b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks]
    return b"".join([*events, b"data: [DONE]\n\n"])


async def serve() -> None:
    """Serve on a free port of loopback until standard input is closed.

    It is closed when the parent ends, however the parent ends.
    """
    mock = Mock()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/v1/chat/completions", mock.complete)
    app.router.add_put("/program", mock.set_program)
    app.router.add_get("/calls", mock.show_calls)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
