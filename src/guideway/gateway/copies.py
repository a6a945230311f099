"""Copies of requests for a candidate in shadow: which are made, and what is told of them.

A copy is what the stable release was sent, prepared and masked, and leaves when the client has its answer. It takes
nothing from limits, retries, places or the cache, and whatever goes wrong with it costs only the copy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from guideway.core.outcome import Outcome
from guideway.gateway.attempt import Asker, upstream_request
from guideway.gateway.errors import INTERNAL, ApiError
from guideway.gateway.log import log
from guideway.gateway.pools import Pools
from guideway.gateway.prepare import Prepared
from guideway.gateway.record import Record
from guideway.gateway.reports import Reports
from guideway.gateway.request import Request
from guideway.gateway.routing import ServingArm, Table
from guideway.gateway.shadow import TEXT_LIMIT, Comparison, Shadow, Shadows
from guideway.gateway.upstream import Head

BODY_LIMIT = 1024 * 1024
"""Bytes of a request; a longer one is not copied."""


class Real(NamedTuple):
    """What the client was answered, as its replica gave it. ``body`` None: it was streamed, or is long."""

    status: int
    length: int
    body: bytes | None


class Copies:
    """The copies of one worker. *clock* is monotonic, *wall* counts from 1970, *uniform* draws from [0, 1)."""

    def __init__(
        self,
        pools: Pools,
        reports: Reports,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        uniform: Callable[[], float],
    ) -> None:
        self.shadows = Shadows(pools, clock)
        self._pools, self._reports = pools, reports
        self._clock, self._wall, self._uniform = clock, wall, uniform
        self._table: Table | None = None

    def under(self, table: Table) -> Copies | None:
        """Follow *table*; None: it has nobody in shadow."""
        self._table = table
        return self if table.shadowed > 0.0 else None

    def beside(self, asker: Asker, request: Request, prepared: Prepared) -> Asker:
        """Who is to hear of the answer: *asker* alone, or, for the share that is copied, somebody who listens along."""
        table = self._table
        if table is None or request.batch or len(prepared.body) > BODY_LIMIT or self._uniform() >= table.shadowed:
            return asker
        return Listener(asker, partial(self._send, request, prepared, asker.record))

    def _send(self, request: Request, prepared: Prepared, record: Record, real: Real) -> None:
        """Send the copy of a request that was answered so; never raises, for others use the connection already."""
        try:
            made = self._begin(request, prepared, record)
        except Exception as error:  # whatever it is, it costs the copy alone
            log("copy not made", why=type(error).__name__)
            made = None
        if made is None:
            self._reports.metrics.count("shadows", "not sent")
        else:
            made.real(real.status, real.length, real.body)

    def _begin(self, request: Request, prepared: Prepared, record: Record) -> Shadow | None:
        """None: it is not sent. The route may have changed since the request came."""
        table = self._table
        candidate = table.candidate if table is not None and table.shadowed > 0.0 else None
        if table is None or candidate is None:
            return None
        backend = self._pools.choose(candidate, None, prepared.prefix, self._clock())
        if backend is None:
            return None
        data = upstream_request(request, backend, record.id, prepared.body)
        return self.shadows.copy(backend, data, partial(self._told, table, candidate, record))

    def _told(self, table: Table, candidate: ServingArm, record: Record, found: Comparison) -> None:
        """The copy is over: count it, and leave its outcome beside that of the request."""
        self._reports.metrics.count("shadows", _word(found))
        if self._reports.spool is not None:
            self._reports.spool.add(self._outcome(table, candidate, record, found))

    def _outcome(self, table: Table, candidate: ServingArm, record: Record, found: Comparison) -> Outcome:
        output = found.usage.completion_tokens if found.usage else None
        streaming = found.latency - found.first if found.stream and found.first is not None else None
        return Outcome(
            at=self._wall() - found.latency / 1e3,
            environment=table.route.environment,
            rollout=table.route.rollout,
            arm="candidate",
            share=table.shadowed,
            request=record.id.decode(),
            key=record.key.id if record.key else "",
            why_not="shadow",
            status=found.status,
            first_status=found.status,
            failure=found.failure,
            latency=found.latency,
            first_token=found.first,
            per_token=streaming / output if streaming is not None and output else None,
            input_tokens=found.usage.prompt_tokens if found.usage else None,
            output_tokens=output,
            stream=found.stream,
            release=candidate.release,
            same=found.same,
        )

    def look(self) -> None:
        """Once a second: cut the copies that take too long."""
        self.shadows.look()

    def close(self) -> None:
        """The worker leaves."""
        self.shadows.close()


class Listener:
    """Passes an answer on to *asker* as it comes, and tells *whole* of it when the client has it, if it was 200."""

    __slots__ = ("_asker", "_length", "_parts", "_whole", "record")

    def __init__(self, asker: Asker, whole: Callable[[Real], None]) -> None:
        self.record = asker.record
        self._asker, self._whole = asker, whole
        self._parts: list[bytes] | None = []
        self._length = 0

    @property
    def active(self) -> float:
        """When something last happened."""
        return self._asker.active

    @active.setter
    def active(self, at: float) -> None:
        self._asker.active = at

    @property
    def begun(self) -> bool:
        """Has the client been sent a part of the answer?"""
        return self._asker.begun

    def received(self, head: Head, parts: list[bytes], done: bool, at: float) -> None:
        """A further piece of the answer."""
        self._length += sum(map(len, parts))
        if self._length > TEXT_LIMIT or head.is_event_stream:
            self._parts = None
        if self._parts is not None:
            self._parts += parts
        self._asker.received(head, parts, done, at)
        if done and head.status == 200:
            self._whole(Real(head.status, self._length, None if self._parts is None else b"".join(self._parts)))

    def broken(self, error: ApiError) -> None:
        """There will be no (more) answer."""
        self._asker.broken(error)

    def again(self, arm: ServingArm) -> None:
        """Another replica begins anew."""
        self._parts, self._length = [], 0
        self._asker.again(arm)

    def failed(self, error: Exception, told: ApiError = INTERNAL) -> None:
        """What nobody foresaw went wrong."""
        self._asker.failed(error, told)


def _word(found: Comparison) -> str:
    """What became of a copy, in one of a few words."""
    if found.status != 200:
        return "failed"
    return {None: "answered", True: "same", False: "different"}[found.same]
