"""The one thread that owns a model, and the bridge from it to the event loop."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import NamedTuple

from guideway.replica.logprobs import Mark
from guideway.replica.scheduler import Scheduler, Work

log = logging.getLogger(__name__)


class Piece(NamedTuple):
    """What a step brings to one request: text, the reason when it is over (stop, length), or an error.

    ``marks`` belong to the tokens of the text, where they were asked for.
    """

    text: str = ""
    finish: str | None = None
    error: Exception | None = None
    marks: tuple[Mark, ...] = ()


class Outbox:
    """Carries pieces to the queues of an event loop: many in one step, one wake-up of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pieces: list[tuple[asyncio.Queue[Piece], Piece]] = []

    def put(self, target: asyncio.Queue[Piece], piece: Piece) -> None:
        """Keep *piece* for *target* until the step is over."""
        self._pieces.append((target, piece))

    def send(self) -> None:
        """Hand over everything that was kept."""
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._loop.call_soon_threadsafe(_deliver, pieces)


class Worker:
    """Runs a scheduler in a thread of its own, asleep while there is nothing to do.

    ``after_step`` is called in that thread whenever there may be news.
    """

    def __init__(self, scheduler: Scheduler, after_step: Callable[[], None]) -> None:
        self._scheduler, self._after_step = scheduler, after_step
        self._inbox: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Put *work* last in line. Any thread."""
        self._inbox.put(work)

    def stop(self, patience: float = 5.0) -> None:
        """End after the step that runs; whoever is not done hears that the server stops. Any thread."""
        self._inbox.put(None)
        self._thread.join(patience)

    def _work(self) -> None:
        while self._take_in():
            try:
                self._scheduler.admit()
                self._after_step()  # a first token does not wait for the next one
                self._scheduler.advance()
            except Exception as error:  # a fault of ours: whoever is here hears of it, and the thread lives on
                log.exception("a step broke")
                self._scheduler.abort(error)
            self._after_step()
        self._scheduler.abort(ConnectionAbortedError("the server stops"))
        self._after_step()

    def _take_in(self) -> bool:
        """Everything that has come in; sleeps when there is nothing else to do. False: it is time to stop."""
        while not self._scheduler.busy or not self._inbox.empty():
            work = self._inbox.get()
            if work is None:
                return False
            self._scheduler.add(work)
        return True


def _deliver(pieces: list[tuple[asyncio.Queue[Piece], Piece]]) -> None:
    for target, piece in pieces:
        target.put_nowait(piece)
