"""What is told of requests that are over: metrics, log, outcomes for the rollout. In batches, off their path."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable

import msgspec

from guideway.core.outcome import Outcome, exceeded
from guideway.gateway.errors import ApiError
from guideway.gateway.limits.amounts import Used
from guideway.gateway.limits.key_lease import Reservation
from guideway.gateway.log import RequestLine, log_requests
from guideway.gateway.metrics import Metrics
from guideway.gateway.mishap import tell
from guideway.gateway.opening import FILTERED, manner
from guideway.gateway.outcomes import Spool
from guideway.gateway.record import FREE, Record
from guideway.gateway.request import Request
from guideway.gateway.settling import settled

FLUSH_SECONDS = 0.2
INVALID = "invalid_request"
"""The code of an error that has none: the body cannot be meant."""
_TOGETHER = 64
_SHARES = (0.001, 0.01, 0.1)
_BANDS = ("0.001", "0.01", "0.1", "1")
"""Of ordinary requests one in a thousand is in the first, nine in ten in the last: else what is asked has changed."""
_PID = os.getpid()  # asking the kernel for every line costs more than the line
_OPERATIONS = {b"/v1/chat/completions": "chat", b"/v1/completions": "text_completion", b"/v1/embeddings": "embeddings"}


class Reports:
    """Hears of every request of one worker; *clock* is the worker's, *wall* counts from 1970, both in seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        metrics: Metrics | None = None,
        spool: Spool | None = None,
        environment: str = "",
        logs: bool = False,
    ) -> None:
        self.metrics = metrics or Metrics()
        self.settle: Callable[[Reservation, Used], None] = lambda reservation, used: None
        self.under_way: Callable[[], Iterable[Record]] = tuple
        """The requests that are not over."""
        self.watches = False
        """Does a rollout want to know of those that take too long, before they are over?"""
        self._clock, self._wall, self._environment = clock, wall, environment
        self.spool, self._logs = spool, logs
        self._records: list[Record] = []
        self._lines: list[RequestLine] = []
        self._settled = 0
        """So many of them have been settled already."""

    def add(self, record: Record) -> None:
        """One request is over."""
        if record.trace is not None:
            _end(record)
        self._records.append(record)
        if len(self._records) >= _TOGETHER:  # while they are still in the processor's cache
            self._tell()

    def flush(self) -> None:
        """Tell of all that were added; a few times a second."""
        if self._records or self._lines:
            self._tell()
        if self.watches and self.spool is not None:
            self._warn(self.spool)
        if self.spool is not None:
            self.spool.tick()

    def settle_all(self) -> None:
        """Give back what was reserved and not used: a key may need it now."""
        records = self._records[self._settled :]
        self._settled = len(self._records)
        for reservation, used in settled(records):
            try:
                self.settle(reservation, used)
            except Exception as error:  # the others get theirs back all the same
                tell(error)

    def close(self) -> None:
        """Tell what is left."""
        self.flush()
        if self.spool is not None:
            self.spool.close()

    def _tell(self) -> None:
        self.settle_all()
        records, self._records, self._settled = self._records, [], 0
        now = self._wall()
        shift = now - self._clock()
        for record in records:
            try:
                self._count(record)
                if self.spool is not None:
                    self.spool.add(self._outcome(record, shift))
            except Exception as error:  # the others are to be told of all the same
                tell(error, record.id)
        lines, self._lines = self._lines, []
        if self._logs:
            log_requests(lines + [_line(record, now) for record in records])

    def refused(self, request: Request, error: ApiError, id: bytes) -> None:
        """*request* got *error* at the door. What nobody with a key sent is counted, and makes no line."""
        code = error.code or INVALID
        self.metrics.count("errors", code)
        if self._logs and request.key is not None:
            at, key = round(self._wall(), 3), request.key.id
            self._lines.append(RequestLine(at, id.decode(), key, "", "", error.status, 0.0, 0.0, pid=_PID, error=code))
            if len(self._lines) >= _TOGETHER:
                self._tell()

    def _warn(self, spool: Spool) -> None:
        """Leave early records of units that ran past further limits of their rollout and go on."""
        now = self._clock()
        shift = self._wall() - now
        for record in self.under_way():
            limits = exceeded((now - record.begun) * 1e3, record.limits) if record.limits else ()
            if len(limits) > record.overdue:
                record.overdue = len(limits)
                spool.add(self._early(record, limits, shift))

    def _count(self, record: Record) -> None:
        found = record.usage
        self.metrics.request_done(
            model=record.model,
            arm=record.arm,
            status=record.status,
            cache=record.cache,
            seconds=record.ended - record.begun,
            ttft=record.first - record.begun if record.first and record.stream else None,
            tokens_in=found.prompt_tokens if found else 0,
            tokens_out=found.completion_tokens if found else 0,
            operation=_OPERATIONS.get(record.path, "infer"),
        )
        if found is None and record.first and record.cache not in FREE:
            self.metrics.count("usage_estimated")
        if record.retried:
            self.metrics.count("retries")
        if record.failure:
            self.metrics.count("upstream_errors", record.failure)
        for kind in record.masked:
            self.metrics.count("masked", kind)
        if record.guarded:
            self.metrics.count("guarded", record.kind or record.error)
        if record.outlier is not None:
            self.metrics.count("outliers", _BANDS[bisect_left(_SHARES, record.outlier)])
        if record.flagged:
            self.metrics.count("flagged")
        for name in record.corrected or ():
            self.metrics.count("corrections", name)
        if record.error == "rate_limit_exceeded":
            self.metrics.count("limited", record.kind)
        if record.status >= 400 and record.status != 499:
            self.metrics.count("errors", record.error or "replica")

    def _early(self, record: Record, limits: tuple[float, ...], shift: float) -> Outcome:
        return Outcome(
            at=record.begun + shift,
            environment=self._environment,
            rollout=record.rollout,
            arm="candidate" if record.arm == "candidate" else "stable",
            share=record.share,
            request=record.id.decode(),
            key=record.key.id if record.key else "",
            unit=record.unit,
            caller=record.caller,
            exceeded=limits,
            stream=record.stream,
            release=record.release,
            overdue="running",
        )

    def _outcome(self, record: Record, shift: float) -> Outcome:
        found = record.usage
        output = found.completion_tokens if found else record.pieces or None
        streaming = record.ended - record.first
        latency = (record.ended - record.begun) * 1e3
        finish, refused, other = record.finish, record.finish == FILTERED, None
        if record.opening is not None:
            finish, refused, other = manner(record.opening, finish, record.asked)
        return Outcome(
            at=record.begun + shift,
            environment=self._environment,
            rollout=record.rollout,
            arm="candidate" if record.arm == "candidate" else "stable",
            share=record.share,
            request=record.id.decode(),
            key=record.key.id if record.key else "",
            unit=record.unit,
            caller=record.caller,
            why_not=record.why_not,
            status=record.status,
            first_status=record.first_status,
            failure=record.failure or ("client left" if record.status == 499 else ""),
            retried=record.retried,
            latency=latency,
            first_token=(record.first - record.begun) * 1e3 if record.first else None,
            per_token=streaming * 1e3 / output if record.stream and output and record.first else None,
            input_tokens=found.prompt_tokens if found else None,
            output_tokens=output,
            finish_reason=finish,
            exceeded=exceeded(latency, record.limits) if record.limits else (),
            cached=record.cache if record.cache in FREE else "",  # type: ignore[arg-type]
            refused=refused,
            guarded=record.guarded,
            stream=record.stream,
            release=record.release,
            other_language=other,
            overdue="over" if record.overdue else "",
        )


def _line(record: Record, now: float) -> RequestLine:
    found = record.usage
    return RequestLine(
        round(now, 3),
        record.id.decode(),
        record.key.id if record.key else "",
        record.model,
        record.arm,
        record.status,
        round((record.ended - record.begun) * 1e3, 3),
        round(record.overhead * 1e3, 3),
        found.prompt_tokens if found else 0,
        found.completion_tokens if found else record.pieces,
        record.cache,
        record.masked,
        msgspec.UNSET if record.prompt is None else record.prompt,
        _PID,
        record.error or msgspec.UNSET,
        msgspec.UNSET if record.outlier is None else round(record.outlier, 6),
        sorted(record.corrected) if record.corrected else msgspec.UNSET,
    )


def operation(path: bytes) -> str:
    """What a request to *path* asks of a model, in the words of OpenTelemetry."""
    return _OPERATIONS.get(path, "infer")


def _end(record: Record) -> None:
    """The span of a request that is traced."""
    found, trace = record.usage, record.trace
    record.trace = None
    if trace is not None:
        trace.end(
            request=record.id.decode(),
            status=record.status,
            release=record.release,
            arm=record.arm,
            tokens_in=found.prompt_tokens if found else 0,
            tokens_out=found.completion_tokens if found else record.pieces,
            cache=record.cache,
            overhead_ms=record.overhead * 1e3,
            ttft=record.first - record.begun if record.first and record.stream else None,
            error=record.error,
        )
