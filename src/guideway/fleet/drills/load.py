"""A small load over real sockets: requests at a rate or by a number of clients, from a thread of its own."""

from __future__ import annotations

import asyncio
import random
import ssl
import threading
import time
from collections.abc import Coroutine
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httptools
import msgspec
import uvloop

from guideway.core.protocols import Clock
from guideway.fleet.drills.answers import Answer
from guideway.kit.addresses import is_loopback
from guideway.kit.process import POLL

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which a client gives up."""
MOST = 4096
"""Requests that a load has under way at most, unless it is told otherwise; what comes on top is not sent."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, where, and with which key. ``certificate`` is the file to trust where ``tls`` is on.

    ``cached``: an answer from the cache is welcome; otherwise every request reaches a replica.
    """

    host: str
    port: int
    path: str
    body: dict[str, Any]
    key: str
    tls: bool = False
    certificate: str = ""
    cached: bool = False

    def bytes(self, *, streamed: bool, number: int = 0, kept: bool = False) -> bytes:
        """The request on the wire; with ``cached``, *number* makes it another question than others."""
        body = {**self.body, "stream": True} if streamed else dict(self.body)
        if self.cached:
            body["seed"] = number  # the key of the cache holds it
        text = msgspec.json.encode(body)
        control = ("" if self.cached else "Cache-Control: no-store\r\n") + ("" if kept else "Connection: close\r\n")
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\n{control}Content-Length: {len(text)}\r\n\r\n"
        )
        return head.encode("latin-1") + text

    def context(self) -> ssl.SSLContext | None:
        """What to connect with, or None for plain HTTP."""
        return _context(self.certificate, is_loopback(self.host)) if self.tls else None


@cache
def _context(certificate: str, here: bool) -> ssl.SSLContext:
    """On the loopback address the certificate itself is trusted, whatever name it bears."""
    context = ssl.create_default_context(cafile=certificate if Path(certificate).is_file() else None)
    if here:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


class _Reply:
    """Hears the parser."""

    def __init__(self, clock: Clock) -> None:
        self.headers: dict[str, str] = {}
        self.tail, self.size, self.head, self.complete, self.error = b"", 0, 0.0, False, False
        self._clock = clock

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.head = self._clock()

    def on_body(self, piece: bytes) -> None:
        self.size += len(piece)
        self.tail = (self.tail + piece)[-256:]
        self.error = self.error or b'data: {"error"' in piece

    def on_message_complete(self) -> None:
        self.complete = True


class Wires:
    """Connections to one address: a new one for each request, or, with ``kept``, those that are idle again.

    A kept one that the server closed meanwhile is a client's own affair and no fault of the service: what cannot bear
    that asks on new ones.
    """

    def __init__(self, question: Question, *, kept: bool = False) -> None:
        self.question, self.kept = question, kept
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def take(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """An open connection.

        Raises:
            OSError: there is none to be had.
        """
        while self._idle:
            reader, writer = self._idle.pop()
            if not (reader.at_eof() or writer.is_closing()):
                return reader, writer
        return await asyncio.open_connection(self.question.host, self.question.port, ssl=self.question.context())

    def give(self, wire: tuple[asyncio.StreamReader, asyncio.StreamWriter], *, sound: bool) -> None:
        """The request is over; *sound*: its answer was read to the end, and another may follow."""
        if sound and self.kept:
            self._idle.append(wire)
        else:
            wire[1].transport.abort()

    def close(self) -> None:
        """Close those that are idle."""
        for _, writer in self._idle:
            writer.transport.abort()
        self._idle.clear()


async def ask(
    wires: Wires, *, streamed: bool, number: int = 0, patience: float = PATIENCE, clock: Clock = time.monotonic
) -> Answer:
    """Ask once; what goes wrong is in the answer."""
    began = clock()
    reply = _Reply(clock)
    parser = httptools.HttpResponseParser(reply)
    why = ""
    try:
        async with asyncio.timeout(patience):
            sent = wires.question.bytes(streamed=streamed, number=number, kept=wires.kept)
            await _exchange(wires, sent, reply, parser)
    except TimeoutError:
        why = f"no end within {patience:g} s"
    except (OSError, httptools.HttpParserError) as error:
        why = type(error).__name__
    return _answer(reply, parser, began=began, ended=clock(), streamed=streamed, why=why)


async def _exchange(wires: Wires, sent: bytes, reply: _Reply, parser: Any) -> None:
    wire = await wires.take()
    reader, writer = wire
    try:
        writer.write(sent)
        while not reply.complete and (data := await reader.read(65536)):
            parser.feed_data(data)
    finally:
        wires.give(wire, sound=reply.complete and reply.headers.get("connection", "") != "close")


def _answer(reply: _Reply, parser: Any, *, began: float, ended: float, streamed: bool, why: str) -> Answer:
    status = int(parser.get_status_code()) if reply.head else 0
    whole = reply.complete and reply.size > 0
    if streamed and status == 200:
        whole = whole and not reply.error and b"[DONE]" in reply.tail
    if not why and not whole:
        why = "the answer broke off" if reply.head else "no answer"
    return Answer(
        began=began,
        ended=ended,
        head=reply.head,
        status=status,
        streamed=streamed,
        whole=whole,
        release=reply.headers.get("x-guideway-release", ""),
        cache=reply.headers.get("x-guideway-cache", ""),
        retry_after=reply.headers.get("retry-after", ""),
        why=why,
    )


class Load:
    """Asks *rate* times a second, at random moments (Poisson), every other time as a stream, until it is left.

    Whether answers come does not change when the next question is asked. ``prompts`` is the number of different
    questions where answers of the cache are welcome.
    """

    def __init__(
        self,
        question: Question,
        rate: float,
        *,
        seed: int = 1,
        prompts: int = 1,
        kept: bool = False,
        most: int = MOST,
        clock: Clock = time.monotonic,
    ) -> None:
        self.answers: list[Answer] = []
        self.offered = self.refused = 0
        self._wires = Wires(question, kept=kept)
        self._rate, self._prompts, self._most, self._clock = rate, prompts, most, clock
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="load", daemon=True)
        self._wrong: BaseException | None = None

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if kind is None or issubclass(kind, Exception):
            self._thread.join()
        if self._wrong and kind is None:
            raise self._wrong

    def stop(self) -> None:
        """Ask nothing more; what is under way goes on."""
        self._stop.set()

    def since(self, moment: float) -> list[Answer]:
        """The answers that ended after *moment*."""
        return [one for one in tuple(self.answers) if one.ended >= moment]

    def _work(self) -> None:
        try:
            _run(self._offer())
        except BaseException as error:
            self._wrong = error

    async def _offer(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        due = self._clock()
        while not self._stop.is_set():
            if (wait := due - self._clock()) > 0:
                await asyncio.sleep(min(wait, POLL))
                continue
            due += self._random.expovariate(self._rate)
            if len(under_way) >= self._most:
                continue
            task = asyncio.create_task(self._one(self.offered))
            self.offered += 1
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            await asyncio.sleep(0)
        await asyncio.gather(*under_way)
        self._wires.close()

    async def _one(self, number: int) -> None:
        prompt = number // 2 % self._prompts
        answer = await ask(self._wires, streamed=bool(number % 2), number=prompt, clock=self._clock)
        self.answers.append(answer)
        self.refused += answer.refused


def closed(question: Question, clients: int, seconds: float, *, clock: Clock = time.monotonic) -> list[Answer]:
    """*clients* that each ask again as soon as they are answered, for *seconds*; then the last answers are awaited."""
    found: list[Answer] = []
    wires = Wires(question, kept=True)

    async def client(first: int) -> None:
        number = first
        while clock() < until:
            found.append(await ask(wires, streamed=bool(number % 2), clock=clock))
            number += 1

    async def all_of_them() -> None:
        await asyncio.gather(*(client(number) for number in range(clients)))
        wires.close()

    until = clock() + seconds
    _run(all_of_them())
    return found


def once(question: Question, *, clock: Clock = time.monotonic) -> Answer:
    """One question, and its answer."""
    return _run(ask(Wires(question), streamed=False, clock=clock))


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* on the faster loop: a client that is slow measures itself."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
