"""A connection that is kept up: made again, with growing pauses, when it is lost or too slow to be of use."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from guideway.gateway.cache.address import Address
from guideway.gateway.cache.lane import Dialect, Lane, Reply
from guideway.gateway.log import log

CONNECT_SECONDS = 2.0
BACKOFF_SECONDS = (0.1, 30.0)


class Link:
    """``lane`` is there while the store answers within *deadline* seconds; while it is None, nobody asks.

    *clock* is monotonic, in seconds; *uniform* draws from [0, 1), so that workers do not come back all at once.
    """

    def __init__(
        self,
        address: Address,
        dialect: Dialect,
        *,
        deadline: float,
        clock: Callable[[], float],
        uniform: Callable[[], float],
        backoff: tuple[float, float] = BACKOFF_SECONDS,
    ) -> None:
        self.lane: Lane | None = None
        self._address, self._dialect, self._deadline = address, dialect, deadline
        self._clock, self._uniform, self._backoff = clock, uniform, backoff
        self._failures = 0
        self._complaint = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, and stay connected."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    def close(self) -> None:
        """Connect no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.drop()

    def prove(self) -> None:
        """It was of use: earlier failures no longer count."""
        self._failures = 0

    def drop(self) -> None:
        """It is of no use now: do without it, and try again after a pause."""
        lane, self.lane = self.lane, None
        if lane is not None:
            lane.abort()

    async def _keep(self) -> None:
        context: ssl.SSLContext | None = None
        while True:
            try:
                context = context or self._address.tls()
                lane = await self._connected(context)
            except Exception as error:  # whatever it is: the gateway goes on without the store, and tries again
                self._complain(str(error) or type(error).__name__)
            else:
                self._complain("")
                self.lane = lane
                await lane.lost.wait()
                self.lane = None
                self._complain("the connection was lost, or too slow")
            await asyncio.sleep(self._pause())

    async def _connected(self, context: ssl.SSLContext | None) -> Lane:
        """A connection to a store that let us in, and answers in time."""
        loop, at = asyncio.get_running_loop(), self._address
        lane = Lane(self._dialect, self._clock)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: lane, at.host, at.port, ssl=context)
                for words in self._dialect.hello():
                    _content(await lane.reply(words))
                begun = self._clock()
                _content(await lane.reply(self._dialect.ping()))
            if self._clock() - begun > self._deadline:
                raise TimeoutError("it answers too slowly")
        except BaseException:
            lane.abort()
            raise
        return lane

    def _pause(self) -> float:
        first, longest = self._backoff
        pause = min(first * 2.0 ** min(self._failures, 20), longest)
        self._failures += 1
        return pause * (0.5 + 0.5 * self._uniform())

    def _complain(self, what: str) -> None:
        """One line when something changes, none while it stays as it is."""
        if what != self._complaint:
            log("cache store away" if what else "cache store back", store=str(self._address), why=what or None)
        self._complaint = what


def _content(reply: Reply) -> None:
    """Go on, unless the store refuses.

    Raises:
        ConnectionError: it does; the message has the first word of its complaint, never what it was told.
    """
    if reply.error:
        raise ConnectionError(f"it refuses: {reply.error}")
