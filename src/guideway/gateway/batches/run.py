"""One batch under way: which line is next, which are out, and what has to wait."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from pathlib import Path

import msgspec

from guideway.gateway.batches import lines
from guideway.gateway.batches.journal import Journal, Result
from guideway.gateway.batches.lines import Place
from guideway.store.batches import Batch, Status

UNSAVED_BYTES = 32 * 1024 * 1024
PAUSE_SECONDS = (0.5, 30.0)
LONGEST_PAUSE = 300.0


class Attempt(msgspec.Struct, frozen=True, order=True):
    """A line, when it may be asked (monotonic seconds), and how often it was."""

    due: float
    number: int
    place: Place
    tries: int = 0


class Run:
    """The lines of *batch*. Opening reads the journal, so it may take a while.

    Raises:
        OSError: input or journal cannot be read.
    """

    def __init__(self, batch: Batch, source: Path, journal: Path, body_limit: int) -> None:
        self.batch, self.source, self.body_limit = batch, source, body_limit
        self.journal = Journal(journal, batch.counts.total)
        self.tasks: set[asyncio.Task[None]] = set()
        self.saving: asyncio.Task[None] | None = None
        self.ending: Status | None = None
        self.lost = False
        self.deadline = float("inf")
        self.finishing = False
        self.not_before = 0.0
        self._file = source.open("rb")
        self._unsaved: list[Result] = []
        self._unsaved_bytes = 0
        self._failures = 0
        self._again: list[Attempt] = []
        self._fresh = self._unanswered()
        self._next = next(self._fresh, None)

    @property
    def all_out(self) -> bool:
        """Is there no line left to ask?"""
        return self._next is None and not self._again

    @property
    def idle(self) -> bool:
        """Is nothing under way, and everything saved?"""
        return not self.tasks and not self._unsaved and self.saving is None

    def due(self) -> float | None:
        """When the next line may be asked, in monotonic seconds; None when there is none, or no room for answers."""
        if self.ending or self.lost or self.all_out or self._unsaved_bytes > UNSAVED_BYTES:
            return None
        return self.not_before if self._next is not None else max(self.not_before, self._again[0].due)

    def take(self, now: float) -> Attempt | None:
        """The next line to ask at *now*, or None."""
        due = self.due()
        if due is None or due > now:
            return None
        if self._again and self._again[0].due <= now:
            return heapq.heappop(self._again)
        place, self._next = self._next, next(self._fresh, None)
        return Attempt(now, place.number, place) if place else None

    def read(self, attempt: Attempt) -> lines.Line:
        """The request of a line.

        Raises:
            OSError, ValueError: the input file is not what it was.
        """
        return lines.parse(lines.read(self._file, attempt.place))

    def again(self, attempt: Attempt, due: float) -> None:
        """Ask a line once more, not before *due*."""
        heapq.heappush(self._again, Attempt(due, attempt.number, attempt.place, attempt.tries + 1))

    def pause(self, now: float, seconds: float | None = None) -> None:
        """Ask nothing for *seconds*, or for longer and longer."""
        if seconds is None:
            seconds = pause_after(self._failures)
            self._failures += 1
        self.not_before = max(self.not_before, now + min(seconds, LONGEST_PAUSE))

    def heard(self) -> None:
        """An answer came: pauses begin small again."""
        self._failures = 0

    def add(self, result: Result) -> None:
        """Take a result; it counts when it is saved."""
        self._unsaved.append(result)
        self._unsaved_bytes += len(result.payload)

    @property
    def unsaved(self) -> bool:
        """Are there results that are not on the disk?"""
        return bool(self._unsaved)

    async def save(self) -> None:
        """Save all results that came until now, as one group.

        Raises:
            OSError: there is no room; they are kept for the next time.
        """
        group, self._unsaved = self._unsaved, []
        try:
            await asyncio.to_thread(self.journal.write, group)
        except OSError:
            self._unsaved = group + self._unsaved
            raise
        self.journal.settle(group)
        self._unsaved_bytes -= sum(len(result.payload) for result in group)

    def close(self) -> None:
        """Let go of the files."""
        self._file.close()
        self.journal.close()

    def _unanswered(self) -> Iterator[Place]:
        for place in lines.places(self._file, self.body_limit):
            if place.number < self.batch.counts.total and not self.journal.has(place.number):
                yield place


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures before."""
    first, longest = PAUSE_SECONDS
    return float(min(first * 2.0 ** min(failures, 20), longest))
