"""How large one replica should be, from measurements: threads, batch, memory. What was not measured is UNKNOWN.

A host has so many cores and so much memory, and fits so many replicas of a size. Of the sizes that were measured and
are fast enough, the one is best with which the whole host serves most; among those that differ by less than the noise,
the one that is there now, or the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

ROOM = 1.2
"""Memory that is left free above the most that was measured."""
NOISE = 0.05
"""What measurements of one size differ by anyway, where there are too few to say."""


class Size(msgspec.Struct, frozen=True, order=True):
    """Threads of a replica, and how many requests it works on at once."""

    threads: int
    batch: int


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One replica under full load: *n* requests, how many a second, p95 in seconds, most memory, cores in use."""

    size: Size
    n: int
    requests_per_second: float
    p95: float
    memory_bytes: float
    cores: float
    at: float = 0.0


class Host(msgspec.Struct, frozen=True):
    """What a host has for replicas."""

    cores: int
    memory_bytes: float


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: p95 in seconds at most; measurements count with ``fewest`` requests, for ``fresh`` seconds."""

    p95: float
    fewest: int = 200
    fresh: float = 30 * 86400.0


class Advice(msgspec.Struct, frozen=True):
    """A recommendation with its reasons. None is UNKNOWN: nothing that was measured says so.

    ``replicas`` is how many of this size fit on the host, ``requests_per_second`` what they serve together.
    """

    threads: int | None
    batch: int | None
    memory_bytes: float | None
    replicas: int | None
    requests_per_second: float | None
    reasons: tuple[str, ...]


class _Known(msgspec.Struct, frozen=True):
    size: Size
    speed: float
    spread: float
    p95: float
    memory: float
    replicas: int

    @property
    def whole(self) -> float:
        return self.speed * self.replicas


def recommend(now: float, current: Size, found: Sequence[Measurement], host: Host, needs: Needs) -> Advice:
    """The size to use at time *now* (seconds, as ``Measurement.at``), by what was *found* on this host."""
    usable = [one for one in found if _usable(one, now, needs)]
    left_out = len(found) - len(usable)
    reasons = [f"{left_out} measurements are too old, too small or not whole, and were left out"] if left_out else []
    known = [_known(size, usable, host) for size in sorted({one.size for one in usable})]
    fit = [one for one in known if one.replicas and one.p95 <= needs.p95]
    reasons += [_refused(one, needs) for one in known if one not in fit]
    if not fit:
        why = "no measured size is fast enough and fits" if known else "nothing was measured"
        return Advice(None, None, None, None, None, (*reasons, f"UNKNOWN: {why}"))
    best = _best(fit, current)
    sizes = [one.size for one in known]
    threads = best.size.threads if len({one.threads for one in sizes}) > 1 else None
    batch = best.size.batch if len({one.batch for one in sizes}) > 1 else None
    reasons += [_chosen(best, fit, current)]
    reasons += [] if threads else [f"threads UNKNOWN: only {best.size.threads} was measured"]
    reasons += [] if batch else [f"batch UNKNOWN: only {best.size.batch} was measured"]
    return Advice(threads, batch, math.ceil(best.memory * ROOM), best.replicas, best.whole, tuple(reasons))


def _usable(one: Measurement, now: float, needs: Needs) -> bool:
    figures = (one.requests_per_second, one.p95, one.memory_bytes, one.cores)
    whole = all(math.isfinite(figure) and figure > 0.0 for figure in figures)
    return whole and one.n >= needs.fewest and 0.0 <= now - one.at <= needs.fresh


def _known(size: Size, usable: Sequence[Measurement], host: Host) -> _Known:
    """What all measurements of one size say: the mean speed, the worst p95, the most memory."""
    same = [one for one in usable if one.size == size]
    speeds = [one.requests_per_second for one in same]
    memory, cores = max(one.memory_bytes for one in same), max(float(size.threads), *(one.cores for one in same))
    mean = sum(speeds) / len(speeds)
    spread = (max(speeds) - min(speeds)) / mean if mean else 0.0
    replicas = min(int(host.cores / cores), int(host.memory_bytes / (memory * ROOM)))
    return _Known(size, mean, max(spread, NOISE), max(one.p95 for one in same), memory, replicas)


def _best(fit: Sequence[_Known], current: Size) -> _Known:
    """The one that serves most; what is there now, or is smaller, if the difference may be noise."""
    most = max(fit, key=lambda one: one.whole)
    equal = [one for one in fit if one.whole >= most.whole * (1.0 - max(one.spread, most.spread))]
    return min(equal, key=lambda one: (one.size != current, one.size))


def _refused(one: _Known, needs: Needs) -> str:
    name = f"{one.size.threads} threads, batch {one.size.batch}"
    if one.p95 > needs.p95:
        return f"{name}: p95 {one.p95:.2f} s is more than {needs.p95:.2f} s"
    return f"{name}: does not fit on the host"


def _chosen(best: _Known, fit: Sequence[_Known], current: Size) -> str:
    name = f"{best.replicas} replicas with {best.size.threads} threads, batch {best.size.batch}"
    what = f"{name} serve {best.whole:.1f} requests/s at p95 {best.p95:.2f} s"
    now = next((one for one in fit if one.size == current), None)
    if best.size == current:
        return f"{what}: nothing measured is better by more than noise"
    if now is None:
        return f"{what}; what is there now was not measured, or is not enough"
    return f"{what}, against {now.whole:.1f} as it is"
