"""The small HTTP server, seen from the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from guideway.kit.http1 import HEADER_LIMIT, IN_LINE, Handler, Request, Response, Server

PATIENCE = 20.0
Scene = Callable[["Wire"], Awaitable[None]]


class Wire:
    """One client on the server under test."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer

    async def another(self) -> Wire:
        return Wire(self.server, *await asyncio.open_connection("127.0.0.1", self.server.port))

    def send(self, path: str = "/", *, method: str = "GET", body: bytes = b"", headers: str = "") -> None:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.writer.write(f"{method} {path} HTTP/1.1\r\nHost: h\r\n{length}{headers}\r\n".encode() + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        text = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode()
        first, *lines = text.strip().split("\r\n")
        return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines)

    async def answer(self) -> tuple[int, bytes]:
        status, headers = await self.head()
        return status, await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), PATIENCE)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), PATIENCE)


def play(scene: Scene, handler: Handler, **options: object) -> None:
    """Run *scene* against a server with *handler*, on the loop that the replicas use."""

    async def run() -> None:
        server = Server(handler, **options)
        await server.start()
        wire = Wire(server, *await asyncio.open_connection("127.0.0.1", server.port))
        await scene(wire)
        wire.writer.close()
        await server.drain(0.0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def echo(request: Request) -> Response:
    return Response(200, f"{request.method} {request.path} ".encode() + request.body, "text/plain")


async def never(_: Request) -> Response:
    return await asyncio.get_running_loop().create_future()


def test_a_connection_serves_one_request_after_the_other() -> None:
    async def scene(wire: Wire) -> None:
        for number in range(3):
            wire.send(f"/{number}?query=1", method="POST", body=b"abc")
            assert await wire.answer() == (200, f"POST /{number} abc".encode())

    play(scene, echo)


def test_requests_sent_ahead_are_answered_in_order_however_many() -> None:
    async def scene(wire: Wire) -> None:
        count = IN_LINE * 3
        for number in range(count):
            wire.send(f"/{number}")
        for number in range(count):
            assert await wire.answer() == (200, f"GET /{number} ".encode())

    play(scene, echo)


def test_a_request_may_come_byte_by_byte() -> None:
    async def scene(wire: Wire) -> None:
        for byte in b"POST /x HTTP/1.1\r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi":
            wire.writer.write(bytes([byte]))
            await wire.writer.drain()
        assert await wire.answer() == (200, b"POST /x hi")

    play(scene, echo)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_connection_closes_when_the_client_wants_that(version: str) -> None:
    async def scene(wire: Wire) -> None:
        wire.writer.write(f"GET / HTTP/{version}\r\nConnection: close\r\n\r\n".encode())
        assert (await wire.head())[1]["connection"] == "close"
        assert await wire.rest() == b"GET / "

    play(scene, echo)


def test_a_head_request_gets_the_length_and_no_body() -> None:
    async def scene(wire: Wire) -> None:
        wire.send(method="HEAD")
        assert (await wire.head())[1]["content-length"] == "7"
        wire.send("/next")
        assert await wire.answer() == (200, b"GET /next ")

    play(scene, echo)


def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    async def scene(wire: Wire) -> None:
        wire.writer.write(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await wire.head())[0] == 100
        wire.writer.write(b"ok")
        assert await wire.answer() == (200, b"POST / ok")

    play(scene, echo)


def test_headers_of_the_answer_are_sent() -> None:
    async def handler(_: Request) -> Response:
        return Response(429, b"", headers=(("Retry-After", "3"),))

    async def scene(wire: Wire) -> None:
        wire.send()
        status, headers = await wire.head()
        assert (status, headers["retry-after"]) == (429, "3")

    play(scene, handler)


def test_a_stream_is_sent_in_chunks_as_they_come_and_ends() -> None:
    async def scene(wire: Wire) -> None:
        go = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            await go.wait()
            yield b""
            yield b"three"

        streams.append(pieces())
        wire.send()
        assert (await wire.head())[1]["transfer-encoding"] == "chunked"
        assert await asyncio.wait_for(wire.reader.readexactly(8), PATIENCE) == b"3\r\none\r\n"
        go.set()
        assert await asyncio.wait_for(wire.reader.readexactly(15), PATIENCE) == b"5\r\nthree\r\n0\r\n\r\n"

    streams: list[AsyncIterator[bytes]] = []

    async def handler(_: Request) -> Response:
        return Response(200, streams.pop())

    play(scene, handler)


def test_a_client_that_leaves_cancels_the_handler() -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(_: Request) -> Response:
        entered.set()
        try:
            return await never(_)
        finally:
            cancelled.set()

    async def scene(wire: Wire) -> None:
        wire.send()
        await asyncio.wait_for(entered.wait(), PATIENCE)
        wire.writer.close()
        await asyncio.wait_for(cancelled.wait(), PATIENCE)

    play(scene, handler)


class Endless:
    """A stream without end that counts, and notices when it is closed."""

    def __init__(self) -> None:
        self.count, self.closed = 0, asyncio.Event()

    def __aiter__(self) -> Endless:
        return self

    async def __anext__(self) -> bytes:
        self.count += 1
        await asyncio.sleep(0)
        return b"x" * 65536

    async def aclose(self) -> None:
        self.closed.set()


def test_a_client_that_leaves_a_stream_closes_it() -> None:
    stream = Endless()

    async def handler(_: Request) -> Response:
        return Response(200, stream)

    async def scene(wire: Wire) -> None:
        wire.send()
        await wire.head()
        wire.writer.transport.abort()
        await asyncio.wait_for(stream.closed.wait(), PATIENCE)

    play(scene, handler)


def test_a_slow_reader_slows_the_stream_down() -> None:
    stream = Endless()

    async def handler(_: Request) -> Response:
        return Response(200, stream)

    async def scene(wire: Wire) -> None:
        wire.writer.transport.pause_reading()
        wire.send()
        last = -1
        while stream.count != last:  # until nothing moves any more
            last = stream.count
            for _ in range(200):
                await asyncio.sleep(0)
        assert stream.count < 400  # some megabytes fit into the buffers of the system
        wire.writer.transport.resume_reading()
        while stream.count < last + 200:
            await asyncio.wait_for(wire.reader.read(1 << 20), PATIENCE)

    play(scene, handler)


def test_a_stream_that_breaks_is_cut_so_that_nobody_takes_it_for_whole() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"one"
        raise RuntimeError("secret /path")

    async def handler(_: Request) -> Response:
        return Response(200, broken())

    async def scene(wire: Wire) -> None:
        wire.send()
        await wire.head()
        said = await wire.rest()
        assert not said.endswith(b"0\r\n\r\n")
        assert b"secret" not in said

    play(scene, handler)


def test_a_handler_that_fails_is_a_500_without_details_and_the_connection_lives() -> None:
    async def handler(request: Request) -> Response:
        if request.path == "/bad":
            raise RuntimeError("secret /path")
        return await echo(request)

    async def scene(wire: Wire) -> None:
        wire.send("/bad")
        status, body = await wire.answer()
        assert (status, b"secret" in body) == (500, False)
        wire.send("/good")
        assert await wire.answer() == (200, b"GET /good ")

    play(scene, handler)


CHUNKED = (
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"40\r\n" + b"x" * 64 + b"\r\n" + b"40\r\n" + b"x" * 64
)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n", 413),
        (CHUNKED, 413),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * HEADER_LIMIT + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * HEADER_LIMIT + b" HTTP/1.1\r\n\r\n", 431),
        (b"\x16\x03\x01 what is this\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    ],
)
def test_what_is_too_large_or_no_http_is_refused_and_the_connection_closed(sent: bytes, status: int) -> None:
    def refusal(status: int) -> Response:
        return Response(status, b"{no}")

    async def scene(wire: Wire) -> None:
        wire.writer.write(sent)
        assert await wire.answer() == (status, b"{no}")
        assert await wire.rest() == b""

    play(scene, echo, body_limit=100, refusal=refusal)


def test_garbage_behind_a_good_request_does_not_spoil_its_answer() -> None:
    gate = asyncio.Event()

    async def handler(request: Request) -> Response:
        await gate.wait()
        return await echo(request)

    async def scene(wire: Wire) -> None:
        wire.send("/good")
        wire.writer.write(b"garbage\r\n\r\n")
        await wire.writer.drain()
        gate.set()
        assert await wire.answer() == (200, b"GET /good ")
        assert await wire.rest() == b""

    play(scene, handler)


def test_a_connection_that_says_nothing_is_closed_after_a_while() -> None:
    async def scene(wire: Wire) -> None:
        wire.writer.write(b"GET / HTT")
        assert await wire.rest() == b""

    play(scene, echo, idle_limit=0.05)


def test_a_long_answer_is_not_an_idle_connection() -> None:
    async def handler(request: Request) -> Response:
        loop = asyncio.get_running_loop()
        later = loop.create_future()
        loop.call_later(0.2, later.set_result, None)
        await later
        return await echo(request)

    async def scene(wire: Wire) -> None:
        wire.send()
        assert (await wire.answer())[0] == 200

    play(scene, handler, idle_limit=0.05)


def test_draining_lets_running_answers_end_and_takes_no_more() -> None:
    entered, gate = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> Response:
        entered.set()
        await gate.wait()
        return await echo(request)

    async def scene(wire: Wire) -> None:
        idle = await wire.another()
        wire.send("/last")
        await asyncio.wait_for(entered.wait(), PATIENCE)
        draining = asyncio.create_task(wire.server.drain(PATIENCE))
        assert await idle.rest() == b""
        with pytest.raises(ConnectionError):
            await wire.another()
        gate.set()
        assert (await wire.head())[1]["connection"] == "close"
        assert await wire.rest() == b"GET /last "
        await asyncio.wait_for(draining, PATIENCE)

    play(scene, handler)


def test_draining_does_not_wait_for_ever() -> None:
    entered = asyncio.Event()

    async def handler(request: Request) -> Response:
        entered.set()
        return await never(request)

    async def scene(wire: Wire) -> None:
        wire.send()
        await asyncio.wait_for(entered.wait(), PATIENCE)
        await asyncio.wait_for(wire.server.drain(0.01), PATIENCE)
        assert await wire.rest() == b""

    play(scene, handler)


def test_a_port_that_is_taken_is_an_os_error() -> None:
    async def scene(wire: Wire) -> None:
        with pytest.raises(OSError, match="in use"):
            await Server(echo).start(port=wire.server.port)

    play(scene, echo)
