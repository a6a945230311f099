"""What is told of requests that are over: metrics, log, outcomes for the rollout. In batches, off their path."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from guideway.core.outcome import Outcome
from guideway.gateway.limits.amounts import Used
from guideway.gateway.limits.key_lease import Reservation
from guideway.gateway.log import RequestLine, log_requests
from guideway.gateway.metrics import Metrics
from guideway.gateway.mishap import tell
from guideway.gateway.outcomes import Spool
from guideway.gateway.record import FREE, Record
from guideway.gateway.settling import settled

FLUSH_SECONDS = 0.2
_TOGETHER = 64
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
        self._clock, self._wall, self._environment = clock, wall, environment
        self.spool, self._logs = spool, logs
        self._records: list[Record] = []
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
        if self._records:
            self._tell()
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
        if self._logs:
            log_requests([_line(record, now) for record in records])

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
            self.metrics.count("guarded")
        if record.error == "rate_limit_exceeded":
            self.metrics.count("limited")

    def _outcome(self, record: Record, shift: float) -> Outcome:
        found = record.usage
        output = found.completion_tokens if found else record.pieces or None
        streaming = record.ended - record.first
        return Outcome(
            at=record.begun + shift,
            environment=self._environment,
            rollout=record.rollout,
            arm="candidate" if record.arm == "candidate" else "stable",
            share=record.share,
            request=record.id.decode(),
            key=record.key.id if record.key else "",
            unit=record.unit,
            why_not=record.why_not,
            status=record.status,
            first_status=record.first_status,
            failure=record.failure or ("client left" if record.status == 499 else ""),
            retried=record.retried,
            latency=(record.ended - record.begun) * 1e3,
            first_token=(record.first - record.begun) * 1e3 if record.first else None,
            per_token=streaming * 1e3 / output if record.stream and output and record.first else None,
            input_tokens=found.prompt_tokens if found else None,
            output_tokens=output,
            cached=record.cache if record.cache in FREE else "",  # type: ignore[arg-type]
            guarded=record.guarded,
            stream=record.stream,
            release=record.release,
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
