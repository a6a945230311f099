"""The limiter of one gateway: listens on a Unix socket, keeps the book, and lets one thread work on the rows."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from guideway.core.errors import GuidewayError
from guideway.gateway.limits.book import Book, Work
from guideway.gateway.limits.messages import FROM_WORKER, Frames, FromLimiter, FromWorker
from guideway.gateway.limits.rows import Rows
from guideway.gateway.log import log

TICK_SECONDS = 0.2
WRITE_SECONDS = 1.0
RETRY_SECONDS = 0.5


class Limiter:
    """Grants leases from the rows at *where* to the workers that connect to the socket *path*."""

    def __init__(self, path: Path, where: Path | str) -> None:
        self._path = path
        self._rows = Rows(where)
        self._workers: dict[int, WorkerLine] = {}
        self._numbers = itertools.count(1)
        self._book = Book(time.time, time.monotonic, self._send)
        self._wake = asyncio.Event()
        self._complaint = ""

    async def run(self, leave: asyncio.Event) -> None:
        """Serve until *leave*; then write down what is not written yet."""
        loop = asyncio.get_running_loop()
        self._path.unlink(missing_ok=True)
        server = await loop.create_unix_server(lambda: WorkerLine(self), self._path)
        self._path.chmod(0o600)
        log("limiter serves")
        with ThreadPoolExecutor(1, "rows") as thread:
            ticking, writing = asyncio.create_task(self._tick()), asyncio.create_task(self._write(thread, leave))
            await leave.wait()
            self._wake.set()
            await writing
            ticking.cancel()
            server.close()
            await self._last_words(thread)
        self._path.unlink(missing_ok=True)

    # What worker lines call.

    def joined(self, line: WorkerLine) -> int:
        """A worker is here; its number."""
        number = next(self._numbers)
        self._workers[number] = line
        return number

    def heard(self, number: int, message: FromWorker) -> None:
        """A word of a worker."""
        self._book.heard(number, message)
        if self._book.urgent:
            self._wake.set()

    def gone(self, number: int) -> None:
        """A worker is gone; its lease is free again."""
        self._workers.pop(number, None)
        self._book.left(number)
        if self._book.urgent:
            self._wake.set()

    def _send(self, worker: int, message: FromLimiter) -> None:
        line = self._workers.get(worker)
        if line is not None:
            line.send(message)

    # Time and rows.

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._book.tick()
            if self._book.urgent:
                self._wake.set()

    async def _write(self, thread: ThreadPoolExecutor, leave: asyncio.Event) -> None:
        """Claims at once, all else every second."""
        while not leave.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            if not await self._work(thread):
                await asyncio.sleep(RETRY_SECONDS)

    async def _work(self, thread: ThreadPoolExecutor) -> bool:
        """Let the rows do what there is to do. False: they cannot be reached."""
        work = self._book.work()
        if not any(work):
            return True
        try:
            answers = await asyncio.get_running_loop().run_in_executor(thread, self._rows.do, work, time.time())
        except GuidewayError as error:
            self._failed(work, error)
            return False
        self._complaint = ""
        self._book.done(answers)
        return True

    def _failed(self, work: Work, error: GuidewayError) -> None:
        if error.what != self._complaint:
            log("limits cannot be written down", why=error.what)
        self._complaint = error.what
        self._book.failed(work)

    async def _last_words(self, thread: ThreadPoolExecutor) -> None:
        self._book.close()
        await self._work(thread)
        await asyncio.get_running_loop().run_in_executor(thread, self._rows.close)


class WorkerLine(Frames):
    """The connection of one worker."""

    def __init__(self, limiter: Limiter) -> None:
        super().__init__(FROM_WORKER)
        self._limiter = limiter
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A worker came."""
        super().connection_made(transport)
        self._number = self._limiter.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._limiter.gone(self._number)

    def heard(self, message: FromWorker) -> None:
        """A word of it."""
        self._limiter.heard(self._number, message)
