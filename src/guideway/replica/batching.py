"""Dynamic batching: what waits is computed together, in one thread that owns the model."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

log = logging.getLogger(__name__)

TOKENS = 4096
"""Tokens of a batch, padding included: a long text must not make many short ones long too."""

Row = NDArray[Any]


class _Waiting(NamedTuple):
    ids: list[int]
    found: asyncio.Future[Row]


class Batcher:
    """Computes at most *most* sequences at once by *compute*, which gives one row for each of them.

    Results go to the event loop *loop*; nothing waits for company that is not there.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Sequence[int]]], Row],
        loop: asyncio.AbstractEventLoop,
        most: int,
        *,
        most_tokens: int = TOKENS,
    ) -> None:
        self._compute, self._loop, self._most, self._tokens = compute, loop, most, most_tokens
        self._inbox: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def submit(self, ids: list[int]) -> asyncio.Future[Row]:
        """The row of *ids*, when it is computed. Called in the loop; a caller that leaves cancels it."""
        found: asyncio.Future[Row] = self._loop.create_future()
        self._inbox.put(_Waiting(ids, found))
        return found

    def stop(self, patience: float = 5.0) -> None:
        """End after the batch that runs."""
        self._inbox.put(None)
        self._thread.join(patience)

    def _work(self) -> None:
        held: _Waiting | None = None
        while True:
            first = held or self._inbox.get()
            if first is None:
                return
            batch, held, over = self._gathered(first)
            wanted = [one for one in batch if not one.found.cancelled()]
            if wanted:
                self._answer(wanted)
            if over:
                return

    def _gathered(self, first: _Waiting) -> tuple[list[_Waiting], _Waiting | None, bool]:
        """*first* and what waits behind it, as far as it fits; what did not fit; whether it is time to stop."""
        batch, longest = [first], len(first.ids)
        while len(batch) < self._most and not self._inbox.empty():
            more = self._inbox.get()
            if more is None:
                return batch, None, True
            longest = max(longest, len(more.ids))
            if longest * (len(batch) + 1) > self._tokens:
                return batch, more, False
            batch.append(more)
        return batch, None, False

    def _answer(self, batch: list[_Waiting]) -> None:
        rows: Sequence[Row] | Exception
        try:
            rows = list(self._compute([one.ids for one in batch]))
        except Exception as error:  # a fault of ours: whoever waits hears of it, and the thread lives on
            log.exception("a batch broke")
            rows = error
        self._loop.call_soon_threadsafe(_deliver, [one.found for one in batch], rows)


def _deliver(waiting: list[asyncio.Future[Row]], rows: Sequence[Row] | Exception) -> None:
    for number, found in enumerate(waiting):
        if found.done():
            continue
        if isinstance(rows, Exception):
            found.set_exception(rows)
        else:
            found.set_result(rows[number])
