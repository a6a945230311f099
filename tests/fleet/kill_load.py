"""A steady load on a gateway: an open loop, plain and streamed in turn, each request on a connection of its own."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Collection
from typing import NamedTuple

PATIENCE = 20.0
"""Seconds after which a request that was not answered has failed."""
ROOM = 10.0
"""Seconds that the requests under way get when the load ends."""


class Answer(NamedTuple):
    """What became of one request. ``release`` as its header says; ``wrong`` says why it is no whole answer."""

    at: float
    streamed: bool
    status: int
    release: str
    wrong: str


class Load:
    """*rate* requests a second to *port* until it is left. No two ask the same: what the cache knows is no unit."""

    def __init__(self, port: int, key: str, rate: float, name: str) -> None:
        self.port, self.key, self.rate, self.name = port, key, rate, name
        self.answers: list[Answer] = []
        self.asked = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE + ROOM)

    def broken(self, bad: Collection[str] = ()) -> list[str]:
        """The requests that failed and the streams that broke, but for the errors of *bad* releases (short digests)."""
        wrong = [one for one in self.answers if one.wrong and not (one.status == 500 and one.release in bad)]
        return [f"{'stream' if one.streamed else 'request'}: {one.status} {one.wrong}" for one in wrong]

    async def _run(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        while not self._over.is_set():
            task = asyncio.create_task(self._ask(self.asked))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            self.asked += 1
            await asyncio.sleep(max(0.0, began + self.asked / self.rate - time.monotonic()))
        await asyncio.gather(*under_way)

    async def _ask(self, number: int) -> None:
        at, streamed = time.time(), number % 2 == 1
        try:
            data = await asyncio.wait_for(self._exchange(number, streamed), PATIENCE)
            status, release, wrong = _read(data, streamed)
        except (OSError, TimeoutError, ValueError) as error:
            status, release, wrong = 0, "", f"{type(error).__name__}: {error}"
        self.answers.append(Answer(at, streamed, status, release, wrong))

    async def _exchange(self, number: int, streamed: bool) -> bytes:
        prompt = f"tell me about {self.name} {_letters(number)}"
        asked = {"model": "m", "messages": [{"role": "user", "content": prompt}], "stream": streamed}
        body = json.dumps(asked).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
                b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b" % (self.key.encode(), len(body), body)
            )
            return await reader.read()
        finally:
            writer.close()


def _letters(number: int) -> str:
    """A number as a word: digits might be taken for somebody's."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def _read(data: bytes, streamed: bool) -> tuple[int, str, str]:
    """Status, release and what is wrong with an answer; empty: it is whole and good."""
    head, _, body = data.partition(b"\r\n\r\n")
    if not head:
        raise ValueError("no answer")
    first, *lines = head.decode("latin-1").lower().split("\r\n")
    headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status, release = int(first.split()[1]), headers.get("x-guideway-release", "")
    if status != 200:
        return status, release, body.decode("utf-8", "replace")[:200]
    if streamed:
        whole = body.endswith(b"0\r\n\r\n") and b"data: [DONE]" in body
    else:
        whole = len(body) == int(headers.get("content-length", "-1")) and b'"finish_reason"' in body
    return status, release, "" if whole else f"torn after {len(body)} bytes"
