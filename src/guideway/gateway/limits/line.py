"""The worker's connection to the limiter: made anew when it breaks, and tried often while nobody answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from guideway.core.spec.gateway import Limits, Price
from guideway.gateway.limits.messages import FROM_LIMITER, Frames, FromLimiter, FromWorker
from guideway.gateway.limits.meter import Meter

TICK_SECONDS = 0.2
PAUSE_SECONDS = 0.05
"""Between two tries: the socket is on this machine, a try costs a system call or two, and clients may wait for it."""


class Line:
    """Keeps the meter of one worker in touch with the limiter behind the socket *path*. Start it on the loop."""

    def __init__(self, path: str, standard: Limits, price: Price, clock: Callable[[], float]) -> None:
        self.meter = Meter(standard, price, clock, self._send)
        self._path = path
        self._frames: LimiterFrames | None = None
        self._ended = False
        self._connecting: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []

    def start(self) -> None:
        """Connect, and keep time."""
        self._connect()
        self._tick()

    def leave(self) -> None:
        """The worker leaves: give everything back and close."""
        self.meter.leave()
        self._ended = True
        for timer in self._timers:
            timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._frames is not None:
            self._frames.finish()

    def connected(self, frames: LimiterFrames) -> None:
        """The limiter is there."""
        self._frames = frames
        self.meter.connected()

    def lost(self) -> None:
        """It is gone."""
        self._frames = None
        self.meter.lost()
        self._later()

    def _send(self, message: FromWorker) -> None:
        if self._frames is not None:
            self._frames.send(message)

    def _tick(self) -> None:
        self.meter.tick()
        self._timers[:1] = [asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)]

    def _later(self) -> None:
        if not self._ended:
            self._timers[1:] = [asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._connect)]

    def _connect(self) -> None:
        self._connecting = asyncio.get_running_loop().create_task(self._try())

    async def _try(self) -> None:
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: LimiterFrames(self), self._path)
        except OSError:
            self._later()


class LimiterFrames(Frames):
    """One connection to the limiter."""

    def __init__(self, line: Line) -> None:
        super().__init__(FROM_LIMITER)
        self._line = line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        super().connection_made(transport)
        self._line.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The limiter is gone, or we left."""
        self._line.lost()

    def heard(self, message: FromLimiter) -> None:
        """A word of it."""
        self._line.meter.heard(message)

    def finish(self) -> None:
        """Send what is to be sent, and close."""
        self._flush()
        if self._transport is not None:
            self._transport.close()
