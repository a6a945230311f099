"""A replica of paper as a process, to be killed and stopped: ``python replica_process.py [SECONDS [PLACES [TEXT]]]``.

It works SECONDS on each answer, on PLACES at once; what does not fit waits. It prints its port. Streams have a gap of
SECONDS before each piece; ``GET /counts`` tells what it saw.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque

from gateway_paper import DONE, SSE_HEAD, chunk, completion, event, http

PIECES = 200


class Counts:
    def __init__(self) -> None:
        self.asked = self.answered = self.working = self.most = self.streams = self.left = self.connections = 0


class Work:
    """The places, and those who wait for one."""

    def __init__(self, seconds: float, places: int, counts: Counts) -> None:
        self.seconds, self.places, self.counts = seconds, places, counts
        self.waiting: deque = deque()

    def add(self, done) -> None:
        if self.counts.working >= self.places:
            self.waiting.append(done)
            return
        self.counts.working += 1
        self.counts.most = max(self.counts.most, self.counts.working + len(self.waiting))
        asyncio.get_running_loop().call_later(self.seconds, self._over, done)

    def forget(self, done) -> None:
        """Whoever waited has left: a model server does not work for nobody."""
        while done in self.waiting:
            self.waiting.remove(done)

    def _over(self, done) -> None:
        self.counts.working -= 1
        done()
        if self.waiting:
            self.add(self.waiting.popleft())


class Connection(asyncio.Protocol):
    def __init__(self, work: Work, answer: bytes) -> None:
        self.work, self.counts, self.answer = work, work.counts, answer
        self.data, self.timer, self.full = b"", None, False

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.counts.connections += 1

    def connection_lost(self, error) -> None:
        self.counts.connections -= 1
        self.work.forget(self.over)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            self.counts.streams -= 1
            self.counts.left += 1

    def data_received(self, data: bytes) -> None:
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, _, rest = self.data.partition(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            size = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length")), 0)
            if len(rest) < size:
                return
            self.data = rest[size:]
            self.asked(head.split(b" ", 2)[1], rest[:size])

    def asked(self, path: bytes, body: bytes) -> None:
        if not body:
            self.transport.write(http(json.dumps({**vars(self.counts), "now": time.monotonic()}).encode()))
            return
        self.counts.asked += 1
        if b'"stream": true' in body or b'"stream":true' in body:
            self.counts.streams += 1
            self.transport.write(SSE_HEAD)
            self.piece(0)
        elif self.work.seconds:
            self.work.add(self.over)
        else:
            self.over()

    def over(self) -> None:
        self.counts.answered += 1
        self.transport.write(self.answer)

    def piece(self, number: int) -> None:
        if number == PIECES:
            self.timer = None
            self.counts.streams -= 1
            self.transport.write(chunk(DONE) + b"0\r\n\r\n")
            return
        if not self.full:
            self.transport.write(chunk(event(f"token {number} ")))
            number += 1
        self.timer = asyncio.get_running_loop().call_later(self.work.seconds or 0.001, self.piece, number)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False


async def main(seconds: float = 0.0, places: int = 1_000_000, text: str = "hello") -> None:
    work, answer = Work(seconds, places, Counts()), http(completion(text))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(work, answer), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    kinds = (float, int, str)
    asyncio.run(main(*(kind(word) for kind, word in zip(kinds, sys.argv[1:], strict=False))))
