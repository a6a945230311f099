"""What readings of a release's traffic say about its load: means over a long and a short window."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from guideway.core.load import WAITS
from guideway.core.load import Load as Told

WAITED = 0.95
"""The share of waits that a reading tells the limit of."""
ENOUGH = 10
"""Fewer requests than this do not say how long a request takes: the short ones end first."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at one time, summed over all workers; ``at`` in seconds.

    ``in_flight``: live requests that replicas work on, None if unknown; ``queued``: those that wait for a place;
    ``finished``: how many ended since the count began; ``waited``: the seconds that those who were let in lately had
    waited (a high percentile), None if unknown; ``ready``: replicas that serve; ``cold_start``: the seconds from the
    order to the first token, from evidence.
    """

    at: float
    in_flight: float | None
    queued: float = 0.0
    finished: float = 0.0
    waited: float | None = None
    ready: int = 0
    batch_in_flight: float = 0.0
    batch_queued: float = 0.0
    cold_start: float | None = None


def reading_of(told: Told, now: float, *, ready: int, cold_start: float | None = None, batch: bool = False) -> Reading:
    """The reading that follows from what the workers of a gateway told, *now* in seconds.

    *batch*: batches count among those that ended, as they must where ``Rules.batch`` lets them start replicas.
    """
    return Reading(
        at=now,
        in_flight=float(told.running) if told.workers else None,
        queued=float(told.waiting),
        finished=float(told.finished + (told.batch_finished if batch else 0)),
        waited=waited(told.waits),
        ready=ready,
        batch_in_flight=float(told.batch_running),
        batch_queued=float(told.batch_waiting),
        cold_start=cold_start,
    )


def waited(waits: Sequence[int], share: float = WAITED) -> float | None:
    """The seconds that *share* of *waits*, counted by ``WAITS``, did not exceed; None: nobody was let in.

    Within a bucket they are taken as spread evenly; in the first nobody waited, and the last has no upper end.
    """
    rank, before = share * sum(waits), 0
    for number, count in enumerate(waits):
        if count and before + count >= rank:
            low, high = WAITS[max(0, number - 1)], WAITS[min(number, len(WAITS) - 1)]
            return low + (high - low) * (rank - before) / count if number else 0.0
        before += count
    return None


class Point(msgspec.Struct, frozen=True, array_like=True):
    """One reading as it is kept: requests with a place, requests that wait, requests that have ended."""

    at: float
    running: float
    queued: float
    finished: float


class Load(msgspec.Struct, frozen=True):
    """Offered load in erlangs (the requests that would be under way if nobody waited), and who waits.

    ``mean`` is over the long window, ``now`` over the short one, ``queued`` the mean number of those who wait in it,
    ``waiting`` the number at the end; ``service``: seconds of work per request, None if too few have ended yet;
    ``seconds``: how long there have been readings, at most the long window.
    """

    mean: float
    now: float
    queued: float
    waiting: float
    service: float | None
    seconds: float


def observed(points: Sequence[Point], reading: Reading, window: float, *, batch: bool) -> list[Point]:
    """The points of the last *window* seconds and *reading*, whose load is known, as the last.

    A window is kept as about sixty points, however often it is read.
    """
    running, queued = reading.in_flight or 0.0, reading.queued
    if batch:
        running, queued = running + reading.batch_in_flight, queued + reading.batch_queued
    kept = [one for one in points if reading.at - window < one.at < reading.at]
    if len(kept) > 1 and kept[-1].at - kept[-2].at < window / 60:
        kept.pop()
    return [*kept, Point(reading.at, running, queued, reading.finished)]


def load_of(points: Sequence[Point], panic: float, known: float | None) -> Load:
    """The load that *points* show; *panic*: seconds of the short window; *known*: the service time known before."""
    service = _service(points) or known
    short = [one for one in points if one.at >= points[-1].at - panic]
    return Load(
        mean=_offered(points, service),
        now=_offered(short, service),
        queued=_mean([one.queued for one in short]),
        waiting=points[-1].queued,
        service=service,
        seconds=points[-1].at - points[0].at,
    )


def _service(points: Sequence[Point]) -> float | None:
    """Little's law: requests under way, by requests that end per second."""
    spent, ended = points[-1].at - points[0].at, points[-1].finished - points[0].finished
    running = _mean([one.running for one in points])
    return running * spent / ended if ended >= ENOUGH and spent > 0 else None


def _offered(points: Sequence[Point], service: float | None) -> float:
    """What comes in times how long it takes; where that is not known, what is here."""
    first, last = points[0], points[-1]
    if service is None or last.at <= first.at:
        return _mean([one.running + one.queued for one in points])
    return arrived(first, last) / (last.at - first.at) * service


def arrived(first: Point, last: Point) -> float:
    """How many came between two points: those that ended, and by how many more are here."""
    here = last.running + last.queued - first.running - first.queued
    return max(0.0, last.finished - first.finished + here)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
