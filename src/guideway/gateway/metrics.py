"""What one worker counts: plain numbers, found without a label being looked at more than once.

Once a second a snapshot goes to a file, and the admin plane adds up those of all workers (`admin/totals.py`).
Nothing here knows how numbers are shown.
"""

from __future__ import annotations

import functools
import os
import resource
from bisect import bisect_left
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec

from guideway.core.load import WAITS
from guideway.kit.files import write_atomic
from guideway.kit.process import start_time

Counter = Literal[
    "upstream_errors",
    "retries",
    "ejections",
    "crowded",
    "masked",
    "cache",
    "limited",
    "guarded",
    "outliers",
    "flagged",
    "corrections",
    "errors",
    "shadows",
    "usage_estimated",
    "spool_drops",
    "log_drops",
    "feedback",
    "worker_cpu_seconds",
]
Gauge = Literal["in_flight", "queue", "connections", "worker_memory_bytes"]

DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TOKENS = tuple(float(4**power) for power in range(14))
"""The bounds that OpenTelemetry's conventions for generative AI advise; the first and last of a histogram are open."""

SERIES = 1024
"""More combinations of labels than this are counted as one: no client can make the worker grow."""
OTHER = "other"

Labels = tuple[str, ...]


class Histogram(msgspec.Struct):
    """Counts between bounds, one more than there are bounds, and the sum of all values."""

    counts: list[int]
    sum: float = 0.0

    @classmethod
    def over(cls, bounds: tuple[float, ...]) -> Histogram:
        """An empty one."""
        return cls([0] * (len(bounds) + 1))

    def add(self, other: Histogram) -> None:
        """Add the counts of another one with the same bounds."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


class Shape(msgspec.Struct):
    """The histograms of one (operation, model, arm): how long, how soon, how much."""

    duration: Histogram
    first_token: Histogram
    tokens_in: Histogram
    tokens_out: Histogram

    @classmethod
    def empty(cls) -> Shape:
        """Nothing seen yet."""
        return cls(*map(Histogram.over, (DURATION, FIRST_TOKEN, TOKENS, TOKENS)))

    def add(self, other: Shape) -> None:
        """Add what another worker saw."""
        for name in self.__struct_fields__:
            getattr(self, name).add(getattr(other, name))


class Places(msgspec.Struct):
    """Requests that run at replicas, that wait to, and how long those had waited that do no more."""

    running: int
    waiting: int
    waits: Histogram


class Snapshot(msgspec.Struct):
    """All numbers of one worker. ``requests``: (operation, model, arm, status class, cache) → how many.

    ``places`` are by (model, priority).
    """

    at: float = 0.0
    requests: dict[Labels, int] = {}
    shapes: dict[Labels, Shape] = {}
    counters: dict[str, dict[str, float]] = {}
    gauges: dict[str, float] = {}
    places: dict[Labels, Places] = {}

    def add(self, other: Snapshot) -> None:
        """Add what another worker counted; its gauges are left out, for they say what is, not what was."""
        for labels, theirs in other.places.items():
            self.places.setdefault(labels, Places(0, 0, Histogram.over(WAITS))).waits.add(theirs.waits)
        for labels, count in other.requests.items():
            self.requests[labels] = self.requests.get(labels, 0) + count
        for labels, shape in other.shapes.items():
            self.shapes.setdefault(labels, Shape.empty()).add(shape)
        for name, by_label in other.counters.items():
            ours = self.counters.setdefault(name, {})
            for label, value in by_label.items():
                ours[label] = ours.get(label, 0) + value


class _Series:
    """What `Metrics.request_done` needs for one combination of labels, found by one look-up."""

    __slots__ = ("count", "shape")

    def __init__(self, shape: Shape) -> None:
        self.count = 0
        self.shape = shape


class Metrics:
    """The numbers of one worker. Everything but `snapshot` is for its loop, and takes about a microsecond."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, str, int, str], _Series] = {}
        self._shapes: dict[Labels, Shape] = {}
        self._counters: dict[str, dict[str, int]] = {name: {} for name in Counter.__args__}  # type: ignore[attr-defined]
        self._read_counters: list[tuple[Counter, str, Callable[[], float]]] = []
        self._gauges: list[tuple[Gauge, Callable[[], float]]] = []
        self.places: Callable[[], dict[Labels, Places]] = dict
        """What the places at replicas are asked for."""
        self.read_counter("worker_cpu_seconds", _cpu_seconds)
        self.gauge("worker_memory_bytes", _memory_bytes)

    def request_done(
        self,
        *,
        model: str,
        arm: str,
        status: int,
        cache: str,
        seconds: float,
        ttft: float | None,
        tokens_in: int,
        tokens_out: int,
        operation: str = "chat",
    ) -> None:
        """Count one request that is over. *ttft*: seconds to the first token, None where there was none.

        *model* must be a name that is served here or empty, never what a client wrote.
        """
        labels = (operation, model, arm, status // 100, cache)
        series = self._series.get(labels) or self._new(labels)
        series.count += 1
        shape = series.shape
        histogram = shape.duration
        histogram.counts[bisect_left(DURATION, seconds)] += 1
        histogram.sum += seconds
        if ttft is not None:
            _observe(shape.first_token, FIRST_TOKEN, ttft)
        if tokens_in:
            histogram = shape.tokens_in
            histogram.counts[bisect_left(TOKENS, tokens_in)] += 1
            histogram.sum += tokens_in
        if tokens_out:
            histogram = shape.tokens_out
            histogram.counts[bisect_left(TOKENS, tokens_out)] += 1
            histogram.sum += tokens_out

    def _new(self, labels: tuple[str, str, str, int, str]) -> _Series:
        if len(self._series) >= SERIES:
            labels = (OTHER, OTHER, OTHER, labels[3], OTHER)
            if labels in self._series:
                return self._series[labels]
        shape = self._shapes.setdefault(labels[:3], Shape.empty())
        series = self._series[labels] = _Series(shape)
        return series

    def count(self, name: Counter, label: str = "", amount: int = 1) -> None:
        """Count *amount* of *name*; *label* is one of a few words of ours, such as the kind of an error."""
        counts = self._counters[name]
        try:
            counts[label] += amount
        except KeyError:
            label = label if len(counts) < SERIES else OTHER
            counts[label] = counts.get(label, 0) + amount

    def read_counter(self, name: Counter, read: Callable[[], float], label: str = "") -> None:
        """A counter that somebody else keeps: *read* is called for every snapshot."""
        self._read_counters.append((name, label, read))

    def gauge(self, name: Gauge, read: Callable[[], float]) -> None:
        """Something that goes up and down: *read* is called for every snapshot."""
        self._gauges.append((name, read))

    def snapshot(self, at: float) -> Snapshot:
        """All numbers, *at* seconds since 1970. The histograms go on counting: encode it before the loop goes on."""
        requests: dict[Labels, int] = {}
        for (operation, model, arm, status, cache), series in self._series.items():
            requests[operation, model, arm, f"{status}xx", cache] = series.count
        counters: dict[str, dict[str, float]] = {name: dict(counts) for name, counts in self._counters.items()}
        for name, label, read in self._read_counters:
            counters[name][label] = read()
        gauges: dict[str, float] = {name: read() for name, read in self._gauges}
        return Snapshot(at, requests, self._shapes, counters, gauges, self.places())


def _observe(histogram: Histogram, bounds: tuple[float, ...], value: float) -> None:
    histogram.counts[bisect_left(bounds, value)] += 1
    histogram.sum += value


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory_bytes() -> float:
    with Path("/proc/self/statm").open("rb") as file:
        return float(int(file.read().split()[1]) * resource.getpagesize())


# Files.


class Publisher:
    """Leaves the snapshots of this process in *folder*, in order, by a thread: the loop does not wait for a disk.

    *beside* gives for a time what else is to be written then.
    """

    def __init__(
        self, metrics: Metrics, folder: Path, beside: Callable[[float], Callable[[], None]] | None = None
    ) -> None:
        self._metrics, self._folder, self._beside = metrics, folder, beside
        self._thread = ThreadPoolExecutor(1, "metrics")
        self._last: Future[None] | None = None

    def publish(self, now: float) -> None:
        """Leave a snapshot, unless the one before is still being written; *now* in seconds since 1970."""
        if self._last is None or self._last.done():
            self._write(now)

    def close(self, now: float) -> None:
        """Leave the last snapshot and wait until it is there; after this nothing may be counted."""
        self._write(now)
        self._thread.shutdown()

    def _write(self, now: float) -> None:
        if self._beside is not None:
            self._thread.submit(self._beside(now))
        self._last = self._thread.submit(write_snapshot, self._folder, encode(self._metrics.snapshot(now)))


def write_snapshot(folder: Path, data: bytes) -> None:
    """Put the snapshot of this process into *folder*.

    Raises:
        OSError: it cannot be written; the next one may be.
    """
    write_atomic(folder / _own_name(), data, mode=0o600, durable=False)


def encode(snapshot: Snapshot) -> bytes:
    """The bytes of a snapshot."""
    return _encoder.encode(snapshot)


def decode(data: bytes) -> Snapshot:
    """The snapshot in *data*.

    Raises:
        ValueError: it is none, or of another version.
    """
    snapshot = _decoder.decode(data)
    waits = [len(one.waits.counts) for one in snapshot.places.values()]
    if any(_wrong(shape) for shape in snapshot.shapes.values()) or any(count != len(WAITS) + 1 for count in waits):
        raise ValueError("a histogram has other bounds")
    return snapshot


def _wrong(shape: Shape) -> bool:
    wanted = (DURATION, FIRST_TOKEN, TOKENS, TOKENS)
    given = (shape.duration, shape.first_token, shape.tokens_in, shape.tokens_out)
    return any(len(one.counts) != len(bounds) + 1 for one, bounds in zip(given, wanted, strict=True))


@functools.cache
def _own_name() -> str:
    pid = os.getpid()
    return f"{pid}-{start_time(pid)}.msgpack"


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Snapshot)
