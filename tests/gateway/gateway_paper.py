"""Replicas made of paper: they answer as they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from gateway_rig import MODEL, Loop


class Asked:
    """A request that reached a paper replica."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.first, *lines = head.decode("latin-1").split("\r\n")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.body = body


Answer = Callable[["PaperReplica", Asked, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class PaperReplica:
    """A model server that answers as it is told. Counts connections, and those that the gateway closed."""

    def __init__(self, loop: Loop, answer: Answer | None = None, port: int = 0) -> None:
        self.loop, self.answer = loop, answer or unary()
        self.asked: list[Asked] = []
        self.connections = self.closed = 0
        self.written = 0
        self.go = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = loop.run(self._listen(port))
        self.port = self._server.sockets[0].getsockname()[1]

    async def _listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
                asked = Asked(head, b"")
                asked.body = await reader.readexactly(int(asked.headers.get("content-length", "0")))
                self.asked.append(asked)
                await self.answer(self, asked, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed += 1
            self._writers.discard(writer)
            writer.close()

    def release(self) -> None:
        """Let the answers that wait for ``go`` go on."""
        self.loop.call(self.go.set)

    def die(self) -> None:
        """Refuse connections, and cut those that stand."""

        def cut() -> None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()

        self.loop.call(cut)


def http(body: bytes, status: str = "200 OK", headers: str = "Content-Type: application/json\r\n") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def completion(text: str = "hello") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    whole = {"id": "c1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice], "usage": usage}
    return json.dumps(whole).encode()


def event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    piece = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}
    return b"data: " + json.dumps(piece).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def unary(
    body: bytes | None = None, status: str = "200 OK", headers: str = "Content-Type: application/json\r\n"
) -> Answer:
    """A whole answer."""
    raw = http(completion() if body is None else body, status, headers)

    async def answer(replica, asked, reader, writer) -> None:
        writer.write(raw)
        await writer.drain()

    return answer


def raw(data: bytes, *, close: bool = False) -> Answer:
    """These bytes, whatever they are."""

    async def answer(replica, asked, reader, writer) -> None:
        writer.write(data)
        await writer.drain()
        if close:
            writer.close()
            await writer.wait_closed()

    return answer


def stream(*pieces: bytes) -> Answer:
    """Server-sent events, each piece a chunk."""

    async def answer(replica, asked, reader, writer) -> None:
        writer.write(SSE_HEAD)
        for piece in pieces:
            writer.write(chunk(piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    return answer


def chat_or_stream(*texts: str) -> Answer:
    """Answers as a model server does: events when ``stream`` is asked for."""

    async def answer(replica, asked, reader, writer) -> None:
        wants = json.loads(asked.body).get("stream")
        chosen = stream(*map(event, texts), DONE) if wants else unary(completion("".join(texts)))
        await chosen(replica, asked, reader, writer)

    return answer


def held(answer: Answer) -> Answer:
    """*answer*, after ``release``, unless the gateway closes before."""

    async def wait(replica, asked, reader, writer) -> None:
        gone = asyncio.ensure_future(reader.read(1))
        go = asyncio.ensure_future(replica.go.wait())
        await asyncio.wait({gone, go}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            go.cancel()
            raise ConnectionResetError
        gone.cancel()
        await asyncio.wait({gone})
        await answer(replica, asked, reader, writer)

    return wait
