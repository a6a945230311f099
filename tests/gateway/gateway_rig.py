"""What the gateway's tests stand on: an event loop in a thread, replicas made of paper, a gateway, a raw client."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager

import msgspec
import uvloop

from guideway.core.route import ApiKey, Arm, Endpoint, KeyFile, Route
from guideway.gateway.keys import key_digest, new_key
from guideway.gateway.listen import bind
from guideway.gateway.plane import Plane
from guideway.gateway.server import Server

PEPPER = bytes(range(32))
KEY = new_key(bytes(32))
OTHER_KEY = new_key(bytes([7]) * 32)
MODEL = "poet"
STABLE = "sha256:" + "5" * 64
CANDIDATE = "sha256:" + "c" * 64
AUTHORIZED = f"Authorization: Bearer {KEY}\r\n"
CHAT = "/v1/chat/completions"


def wait_for(condition: Callable[[], object], seconds: float = 10.0, what: str = "the condition") -> None:
    """Return when *condition* holds; fail after *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        threading.Event().wait(0.005)


def key_file(keys: Iterable[str] = (KEY,), revoked: Iterable[str] = ()) -> bytes:
    digests = [(key_digest(PEPPER, key), key in set(revoked)) for key in keys]
    listed = tuple(ApiKey(id=digest[:8], digest=digest, revoked=gone) for digest, gone in digests)
    return msgspec.json.encode(KeyFile(pepper=PEPPER.hex(), keys=listed))


def route(
    stable: Iterable[int] = (), candidate: Iterable[int] = (), weight: float = 0.0, revision: int = 1, epoch: int = 1
) -> Route:
    """A route to replicas on these ports."""

    def arm(release: str, ports: Iterable[int]) -> Arm:
        return Arm(release, tuple(Endpoint("127.0.0.1", port) for port in ports))

    candidate = tuple(candidate)
    return Route(
        environment="dev",
        model=MODEL,
        revision=revision,
        epoch=epoch,
        stable=arm(STABLE, stable),
        candidate=arm(CANDIDATE, candidate) if candidate else None,
        weight=weight,
    )


class Loop:
    """A uvloop in a thread of its own; ``run`` awaits something there."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.wrong: list[dict] = []
        self.loop.set_exception_handler(lambda _, what: self.wrong.append(what))
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, awaitable: Awaitable, seconds: float = 15.0):
        async def call():
            return await awaitable

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(seconds)

    def call(self, function: Callable, *arguments):
        """Call a function on the loop's thread."""

        async def call():
            return function(*arguments)

        return self.run(call())

    def close(self) -> None:
        async def end():
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()


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


class Gateway:
    """A gateway in this process, on a loop in a thread."""

    def __init__(self, loop: Loop, *, body_limit: int = 1 << 20, seed: int = 1) -> None:
        self.loop = loop
        self.skew = 0.0
        self.plane = Plane(
            body_limit,
            clock=lambda: time.perf_counter() + self.skew,
            uniform=random.Random(seed).random,
            random_bytes=random.Random(seed).randbytes,
        )
        self.server = Server(self.plane, ())
        self._revision = 0
        (listening,) = bind("127.0.0.1", 0, 1)
        self.port = listening.getsockname()[1]
        loop.run(self.server.listen(listening))
        self.set_keys(key_file())

    def set_keys(self, data: bytes) -> None:
        self.loop.call(self.plane.set_keys, data)

    def serve(self, *replicas: PaperReplica, candidate: Iterable[PaperReplica] = (), weight: float = 0.0) -> None:
        """Route to these replicas."""
        self._revision += 1
        ports = [[one.port for one in some] for some in (replicas, candidate)]
        new = route(*ports, weight=weight, revision=self._revision)
        self.loop.call(self.plane.set_route, msgspec.json.encode(new))

    def later(self, seconds: float) -> None:
        """Make the gateway believe that *seconds* went by, and apply its time limits."""
        self.skew += seconds
        self.loop.call(self.server._check)

    def close(self) -> None:
        self.loop.run(self.server.drain(0.0))


class Reply:
    """One answer as it came."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Client:
    """A socket, and a reader of HTTP/1.1 answers that forgives nothing."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port))
        self.rest = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes | str) -> None:
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def ask(self, *arguments, **options) -> Reply:
        """Send one request and read its answer."""
        self.send(request(*arguments, **options))
        return self.reply()

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(self.rest)
        self.rest += data

    def until(self, mark: bytes) -> bytes:
        while mark not in self.rest:
            self._more()
        found, _, self.rest = self.rest.partition(mark)
        return found

    def exactly(self, size: int) -> bytes:
        while len(self.rest) < size:
            self._more()
        found, self.rest = self.rest[:size], self.rest[size:]
        return found

    def head(self) -> tuple[int, dict[str, str]]:
        first, *lines = self.until(b"\r\n\r\n").decode().split("\r\n")
        headers = {}
        for name, _, value in (line.partition(": ") for line in lines):
            assert name.lower() not in headers, f"{name} stands there twice"
            headers[name.lower()] = value
        return int(first.split()[1]), headers

    def chunks(self) -> Iterator[bytes]:
        while size := int(self.until(b"\r\n"), 16):
            yield self.exactly(size)
            assert self.exactly(2) == b"\r\n"
        assert self.exactly(2) == b"\r\n"

    def reply(self, *, bodiless: bool = False) -> Reply:
        status, headers = self.head()
        if bodiless:
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = b"".join(self.chunks())
        else:
            body = self.exactly(int(headers["content-length"]))
        return Reply(status, headers, body)

    def ends(self) -> bytes:
        """What comes until the other side closes."""
        while True:
            try:
                self._more()
            except (EOFError, ConnectionResetError):
                return self.rest


def request(
    method: str = "POST", path: str = CHAT, body: bytes | dict | None = None, headers: str = AUTHORIZED
) -> bytes:
    """The bytes of one request."""
    if body is None and method == "POST":
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    data = json.dumps(body).encode() if isinstance(body, dict) else body or b""
    length = f"Content-Length: {len(data)}\r\n" if method == "POST" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: gateway\r\n{headers}{length}\r\n".encode() + data


@contextmanager
def threads(count: int, work: Callable[[int], None]) -> Iterator[list[BaseException]]:
    """Run *work* in *count* threads meanwhile; yields the list of what went wrong."""
    wrong: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            wrong.append(error)

    running = [threading.Thread(target=guarded, args=(number,), daemon=True) for number in range(count)]
    for one in running:
        one.start()
    try:
        yield wrong
    finally:
        for one in running:
            one.join(30)
