"""What the gateway's tests stand on: an event loop in a thread, a gateway, a client that forgives nothing."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import msgspec
import uvloop

from guideway.core.guardrails import Guardrails
from guideway.core.privacy import DEFAULT
from guideway.core.route import ApiKey, Arm, Endpoint, KeyFile, Route
from guideway.core.spec.gateway import Cache, Masking, Routing
from guideway.core.spec.gateway import Gateway as Options
from guideway.core.terms import Terms
from guideway.gateway.keys import key_digest, new_key
from guideway.gateway.listen import bind
from guideway.gateway.plane import Plane
from guideway.gateway.server import Identity, Server

PEPPER = bytes(range(32))
SECRET = bytes(range(32, 64))
KEY = new_key(bytes(32))
OTHER_KEY = new_key(bytes([7]) * 32)
MODEL = "poet"
STABLE = "sha256:" + "5" * 64
CANDIDATE = "sha256:" + "c" * 64
AUTHORIZED = f"Authorization: Bearer {KEY}\r\n"
CHAT = "/v1/chat/completions"


OPTIONS = Options(
    body_megabytes=1,
    cache=Cache(store="off"),
    routing=Routing(affinity=0),
    masking=Masking(entities=dict.fromkeys(DEFAULT, "allow"), output=False),
)
"""Nothing is remembered, hashed or masked, unless a test asks for it."""
TERMS = Terms(guardrails=Guardrails(neutralise=False))


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
    stable: Iterable[int] = (),
    candidate: Iterable[int] = (),
    weight: float = 0.0,
    revision: int = 1,
    epoch: int = 1,
    terms: Terms = TERMS,
    shadow: bool = False,
) -> Route:
    """A route to replicas on these ports."""

    def arm(release: str, ports: Iterable[int]) -> Arm:
        return Arm(release, tuple(Endpoint("127.0.0.1", port) for port in ports), terms)

    candidate = tuple(candidate)
    return Route(
        environment="dev",
        model=MODEL,
        revision=revision,
        epoch=epoch,
        stable=arm(STABLE, stable),
        candidate=arm(CANDIDATE, candidate) if candidate else None,
        weight=weight,
        shadow=shadow,
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


class Listening(Protocol):
    port: int


class Gateway:
    """A gateway in this process, on a loop in a thread."""

    def __init__(
        self, loop: Loop, *, options: Options | None = None, seed: int = 1, identity: Identity | None = None
    ) -> None:
        self.loop = loop
        self.skew = 0.0
        self.plane = Plane(
            options or OPTIONS,
            clock=lambda: time.perf_counter() + self.skew,
            wall=time.time,
            uniform=random.Random(seed).random,
            random_bytes=random.Random(seed).randbytes,
            secret=SECRET,
        )
        self.server = Server(self.plane, (), identity)
        self._revision = 0
        (listening,) = bind("127.0.0.1", 0, 1)
        self.port = listening.getsockname()[1]
        loop.run(self.server.listen(listening))
        self.set_keys(key_file())

    def set_keys(self, data: bytes) -> None:
        self.loop.call(self.plane.set_keys, data)

    def serve(
        self,
        *replicas: Listening,
        candidate: Iterable[Listening] = (),
        weight: float = 0.0,
        terms: Terms = TERMS,
        shadow: bool = False,
        wakes: float = 0.0,
    ) -> None:
        """Route to these replicas."""
        self._revision += 1
        ports = [[one.port for one in some] for some in (replicas, candidate)]
        new = route(*ports, weight=weight, revision=self._revision, terms=terms, shadow=shadow)
        self.loop.call(self.plane.set_route, msgspec.json.encode(msgspec.structs.replace(new, wakes=wakes)))

    def serve_release(self, release: str, *replicas: Listening) -> None:
        """Route everything to these replicas of another release."""
        self._revision += 1
        arm = Arm(release, tuple(Endpoint("127.0.0.1", one.port) for one in replicas), TERMS)
        new = msgspec.structs.replace(route(revision=self._revision), stable=arm)
        self.loop.call(self.plane.set_route, msgspec.json.encode(new))

    def later(self, seconds: float) -> None:
        """Make the gateway believe that *seconds* went by, and apply its time limits."""
        self.skew += seconds
        self.loop.call(self.server.check)

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
