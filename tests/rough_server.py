"""An upstream that goes wrong: one OpenAI-compatible server, whose addresses each have a fault of their own.

with RoughServer() as server:
    ...  # clients use server.url("half"), and get half of each reply
"""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil

from .on_thread import OnThread

TLS = Path(__file__).parent / "tls"
CERTIFICATE = TLS / "localhost.pem"
"""Of the server at https, signed by itself for 127.0.0.1."""

TEXT = "o" * 5_000
"""What each reply says."""


def _completion() -> bytes:
    message = {"role": "assistant", "content": TEXT}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    frame = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
    return json.dumps(frame | {"choices": [choice]}).encode()


def _chunk() -> bytes:
    choice = {"index": 0, "delta": {"content": "o"}, "finish_reason": None}
    frame = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    return _event(json.dumps(frame | {"choices": [choice]}).encode())


def _event(data: bytes) -> bytes:
    event = b"data: %s\n\n" % data
    return b"%x\r\n%s\r\n" % (len(event), event)


BODY = _completion()


def _head(*headers: str, length: int | None = len(BODY), status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


CHUNKED = "Transfer-Encoding: chunked"
STREAM = _head(CHUNKED, length=None).replace(b"application/json", b"text/event-stream")
HALF = _head() + BODY[:2_000]

SENT: dict[str, bytes] = {
    "ok": _head() + BODY,
    "with a large header": _head("X-Large: " + "h" * 20_000) + BODY,
    "after a 100": b"HTTP/1.1 100 Continue\r\n\r\n" + _head() + BODY,
    "refused": _head("Retry-After-Ms: 7", length=2, status="429 Too Many Requests") + b"{}",
    "garbage": b"\x00\xff this is no HTTP\r\n\r\n" * 10,
    "bad chunks": _head(CHUNKED, length=None) + b"zzz\r\n" + BODY,
    "two lengths": _head("Content-Length: 5") + BODY,
    "whole stream": STREAM + _chunk() * 5 + _event(b"[DONE]") + b"0\r\n\r\n",
    "not gzip": _head("Content-Encoding: gzip") + BODY,
}
"""All that is sent for one request by the faults that keep the connection."""

THEN_CLOSED: dict[str, bytes] = {
    "hangs up": b"",
    "half": HALF,
    "half in chunks": _head(CHUNKED, length=None) + b"7d0\r\n" + BODY[:1_000],
    "half a stream": STREAM + _chunk() * 3,
    "without a length": _head(length=None) + BODY,
    "closes when idle": _head() + BODY,
}
THEN_RESET: dict[str, bytes] = {
    "reset": b"",
    "reset in the middle": HALF,
    "resets when idle": _head() + BODY,
}
THEN_SILENT: dict[str, bytes] = {
    "silent": b"",
    "stalls": HALF,
    "stalls in a stream": STREAM + _chunk(),
}


class RoughServer(OnThread):
    """Serves at `url(fault)`; `https` with a certificate that nobody knows."""

    def __init__(self, *, is_tls: bool = False) -> None:
        """Describe a server; entering it starts it on a free port."""
        super().__init__()
        self._scheme, self._tls = "http", None
        if is_tls:
            self._scheme, self._tls = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(CERTIFICATE, TLS / "localhost.key")
        self.port = 0
        self.opened = 0
        """Connections so far."""
        self.open = 0
        """Those that the server has not closed yet."""
        self.requests: list[tuple[str, dict[str, str]]] = []
        """What the first line asks for, and the headers by their names in lower case."""

    def url(self, fault: str) -> str:
        """The base URL that has a fault."""
        return f"{self._scheme}://127.0.0.1:{self.port}/{fault.replace(' ', '-')}/v1"

    def connections(self) -> int:
        """How many connections this process has to the server."""
        found = psutil.Process().net_connections("tcp")
        return sum(each.raddr != () and each.raddr.port == self.port for each in found)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen; see `OnThread`."""
        server = await asyncio.start_server(
            self._connected, "127.0.0.1", 0, ssl=self._tls, backlog=2_048
        )
        self.port = server.sockets[0].getsockname()[1]
        yield
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self.open += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has closed it
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self.open -= 1

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether another one may come."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        target = first.split()[1]
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        self.requests.append((target, headers))
        if first.startswith("CONNECT"):
            await _tunnel(target, reader, writer)
            return False
        fault = target.rpartition("/v1/")[0].rpartition("/")[2].replace("-", " ")
        if fault in ("does not read", "answers without reading"):
            if fault == "answers without reading":
                writer.write(_head(length=2, status="413 Content Too Large") + b"{}")
            await asyncio.sleep(3_600)
        await reader.readexactly(int(headers["content-length"]))
        if fault == "slow":
            await _slowly(SENT["ok"], writer)
            return True
        if fault == "streams without end":
            writer.write(STREAM)
            while True:
                await _slowly(_chunk(), writer)
        if fault in SENT:
            await asyncio.sleep(0.01)
            writer.write(SENT[fault])
            return True
        writer.write((THEN_CLOSED | THEN_RESET | THEN_SILENT)[fault])
        await writer.drain()
        if fault in THEN_SILENT:
            await reader.read()
        if fault in THEN_RESET:
            await asyncio.sleep(0.5)  # until what was sent is read: a reset throws it away
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


async def _slowly(sent: bytes, writer: asyncio.StreamWriter) -> None:
    for start in range(0, len(sent), 1_000):
        writer.write(sent[start : start + 1_000])
        await writer.drain()
        await asyncio.sleep(0.02)


async def _tunnel(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host, _, port = target.rpartition(":")
    there, back = await asyncio.open_connection(host, int(port))
    writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")

    async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(65_536):
            sink.write(piece)
        sink.close()

    await asyncio.gather(pipe(reader, back), pipe(there, writer))
