"""A worker's plane with all that belongs to it: made from the settings, started on the loop, ended in order."""

from __future__ import annotations

import asyncio
import hmac
import os
import random
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import msgspec

from guideway.core.route import GatewaySettings, KeyFile
from guideway.core.spec.gateway import Gateway
from guideway.core.terms import Terms
from guideway.gateway import log
from guideway.gateway.backend import Backend
from guideway.gateway.corrections import Held
from guideway.gateway.corrections_file import CorrectionsFile
from guideway.gateway.feedback import Feedback, Mask
from guideway.gateway.follow import FollowedFile
from guideway.gateway.limits.line import Line
from guideway.gateway.limits.start import socket_of
from guideway.gateway.load import LoadTeller, places
from guideway.gateway.metrics import Metrics, Publisher
from guideway.gateway.outcomes import Spool
from guideway.gateway.plane import Plane
from guideway.gateway.prepare import masking_of
from guideway.gateway.probing import LOOK_SECONDS, Prober
from guideway.gateway.reports import FLUSH_SECONDS, Reports
from guideway.gateway.traces import Traces
from guideway.gateway.verdicts import hear, tell
from guideway.kit.files import write_atomic
from guideway.store.feedback_spool import Spool as FeedbackSpool
from guideway.store.load import FOLDER as LOAD

_CACHE_LABEL = b"guideway: shared cache, 1"


class Equipment:
    """What runs beside the requests of one worker: limits, probes, reports, feedback. *folder* is the gateway's."""

    def __init__(self, plane: Plane, reports: Reports, prober: Prober, folder: Path | None) -> None:
        self.plane, self.reports = plane, reports
        self.files: tuple[FollowedFile | CorrectionsFile, ...] = ()
        self._prober, self._folder = prober, folder
        self._publisher = _publisher(plane, folder) if folder is not None else None
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Begin; from a running loop."""
        self.plane.cache.start()
        if self._folder is not None:
            self.plane.line.start()
        self._every("flush", FLUSH_SECONDS, self.reports.flush)
        self._every("look", LOOK_SECONDS, self._look)
        self._every("expire", 0.25, self._expire)
        self._every("publish", 1.0, self._publish)

    def close(self) -> None:
        """End; after the last request."""
        for timer in self._timers.values():
            timer.cancel()
        self._prober.close()
        self.plane.beside.close()
        self.plane.copies.close()
        self.plane.counting.close()
        self.reports.close()
        self.plane.cache.close()
        self.plane.line.leave()
        if self.plane.feedback is not None:
            self.plane.feedback.close()
        if self.plane.traces is not None:
            self.plane.traces.close()
        if self._publisher is not None:
            self._publisher.close(self.plane.wall())

    def _every(self, name: str, seconds: float, work: Callable[[], None]) -> None:
        def again() -> None:
            self._timers[name] = asyncio.get_running_loop().call_later(seconds, again)
            work()

        again()

    def _expire(self) -> None:
        now = self.plane.clock()
        self.plane.admission.expire(now)
        self.plane.beside.expire(now)

    def _look(self) -> None:
        if self.plane.table is not None:
            self._prober.look(self.plane.table.probed())

    def _publish(self) -> None:
        if self._publisher is not None:
            self._publisher.publish(self.plane.wall())


def equip(settings: GatewaySettings, slot: int, seed: int) -> Equipment:
    """Everything for the worker of one slot. The worker of slot 0 asks replicas for meaning; the others hear of it."""
    options, dice = settings.options, random.Random(seed)
    folder = Path(settings.folder) if settings.folder else None
    line = Line(socket_of(settings), options.limits, options.price, time.perf_counter) if folder else None
    reports = _reports(settings, folder, slot)
    plane = Plane(
        options,
        clock=time.perf_counter,
        wall=time.time,
        uniform=dice.random,
        random_bytes=os.urandom,
        secret=_cache_secret(Path(settings.keys_file)),
        line=line,
        reports=reports,
        environment=settings.environment,
        folder=folder,
    )
    if folder is not None:
        spool = FeedbackSpool(folder / "feedback", f"{os.getpid()}-{seed:x}")
        plane.feedback = Feedback(plane.ids, spool, settings.environment, _mask(options))
    if options.telemetry.traces:
        plane.traces = Traces(options.telemetry.traces, options.telemetry.sample, settings.environment, dice.random)
    health = folder / "health.json" if folder is not None else None
    prober = _prober(plane, health, options.routing.probe if slot == 0 else 0.0, leads=slot == 0)
    equipment = Equipment(plane, reports, prober, folder)
    if health is not None and slot > 0:
        equipment.files = (FollowedFile(health, lambda data: _hear(plane, data), time.time_ns),)
    if options.corrections:
        equipment.files += (_corrections(plane, Path(options.corrections), folder),)
    _gauges(reports, plane)
    return equipment


def _reports(settings: GatewaySettings, folder: Path | None, slot: int) -> Reports:
    def submit(job: Callable[[], None]) -> None:
        asyncio.get_running_loop().run_in_executor(None, job)

    name = f"{slot}-{os.urandom(6).hex()}"
    spool = Spool(folder / "outcomes", name, clock=time.perf_counter, submit=submit) if folder is not None else None
    return Reports(
        clock=time.perf_counter,
        wall=time.time,
        metrics=Metrics(),
        spool=spool,
        environment=settings.environment,
        logs=settings.options.telemetry.requests,
    )


def _publisher(plane: Plane, folder: Path) -> Publisher:
    teller = LoadTeller(folder / LOAD, plane.admission)

    def load(now: float) -> Callable[[], None]:
        return partial(teller.write, teller.told(now, plane.model))

    return Publisher(plane.reports.metrics, folder / "metrics", load)


def _mask(options: Gateway) -> Mask:
    """What the environment masks, whatever a release adds; what reads it is made when it is first needed."""
    made = cache(lambda: masking_of(options, Terms()))
    return lambda texts: made().texts(texts)


def _prober(plane: Plane, health: Path | None, every: float, *, leads: bool) -> Prober:
    def changed(backend: Backend) -> None:
        if backend.ejected_until > plane.clock():
            plane.reports.metrics.count("ejections", backend.why)
            log.log("replica left alone", replica=backend.host.decode(), why=backend.why)
        if leads and health is not None and plane.table is not None:
            said = tell(plane.table.backends(), now=plane.clock(), wall=plane.wall())
            write_atomic(health, said, durable=False)

    return Prober(clock=plane.clock, every=every, changed=changed)


def _corrections(plane: Plane, path: Path, folder: Path | None) -> CorrectionsFile:
    kept = folder / "corrections.jsonl" if folder is not None else None
    return CorrectionsFile(path, plane.corrections, _in_a_thread, time.time_ns, kept)


def _in_a_thread(work: Callable[[], Held], done: Callable[[Held | Exception], None]) -> None:
    def ended(worked: asyncio.Future[Held]) -> None:
        if not worked.cancelled():
            error = worked.exception()
            done(error if isinstance(error, Exception) else worked.result())

    asyncio.get_running_loop().run_in_executor(None, work).add_done_callback(ended)


def _hear(plane: Plane, data: bytes) -> None:
    if plane.table is not None:
        hear(data, plane.table.backends(), now=plane.clock(), wall=plane.wall())


def _gauges(reports: Reports, plane: Plane) -> None:
    metrics, counts = reports.metrics, plane.cache.counts
    metrics.gauge("in_flight", lambda: plane.admission.running)
    metrics.gauge("queue", lambda: plane.admission.waiting)
    metrics.places = lambda: places(plane.admission, plane.model)
    metrics.read_counter("log_drops", log.dropped)
    metrics.read_counter("spool_drops", lambda: reports.spool.dropped if reports.spool else 0, "outcomes")
    metrics.read_counter("spool_drops", lambda: plane.feedback.dropped if plane.feedback else 0, "feedback")
    metrics.read_counter("cache", lambda: counts.hits + counts.fetched, "hit")
    metrics.read_counter("cache", lambda: counts.shared, "shared")
    metrics.read_counter("cache", lambda: counts.misses, "miss")
    metrics.read_counter("cache", lambda: counts.bypassed, "bypass")
    metrics.read_counter("cache", lambda: counts.dropped, "dropped")


def _cache_secret(keys: Path) -> bytes:
    """What the gateways of an environment share and a shared store does not know. Without keys nobody is served."""
    try:
        pepper = bytes.fromhex(msgspec.json.decode(keys.read_bytes(), type=KeyFile).pepper)
    except (OSError, ValueError):
        return os.urandom(32)
    return hmac.digest(pepper, _CACHE_LABEL, "sha256")
