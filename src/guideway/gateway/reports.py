"""What is told of requests that are over: metrics, log, outcomes for the rollout. In batches, off their path."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from guideway.core.outcome import Outcome
from guideway.gateway.limits.amounts import Used, added
from guideway.gateway.log import RequestLine, log_requests
from guideway.gateway.metrics import Metrics
from guideway.gateway.outcomes import Spool
from guideway.gateway.record import Record

FLUSH_SECONDS = 0.2
_TOGETHER = 64
_PID = os.getpid()  # asking the kernel for every line costs more than the line
_KNOWN = frozenset({"hit", "shared"})
"""How an answer came that cost no model a token."""
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
        self.spend: Callable[[str, Used], None] = lambda key, spent: None
        self._clock, self._wall, self._environment = clock, wall, environment
        self.spool, self._logs = spool, logs
        self._records: list[Record] = []

    def add(self, record: Record) -> None:
        """One request is over."""
        if record.trace is not None:
            _end(record)
        self._records.append(record)
        if len(self._records) >= _TOGETHER:  # while they are still in the processor's cache
            records, self._records = self._records, []
            self._tell(records)

    def flush(self) -> None:
        """Tell of all that were added; a few times a second."""
        records, self._records = self._records, []
        if records:
            self._tell(records)
        if self.spool is not None:
            self.spool.tick()

    def close(self) -> None:
        """Tell what is left."""
        self.flush()
        if self.spool is not None:
            self.spool.close()

    def _tell(self, records: list[Record]) -> None:
        now = self._wall()
        shift = now - self._clock()
        for record in records:
            self._count(record)
        if self.spool is not None:
            for record in records:
                self.spool.add(self._outcome(record, shift))
        if self._logs:
            log_requests([_line(record, now) for record in records])
        for key, spent in _spent(records).items():
            self.spend(key, spent)

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
            operation=operation(record.path),
        )
        if found is None and record.first and record.cache not in _KNOWN:
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
            cached=record.cache if record.cache in ("hit", "shared") else "",  # type: ignore[arg-type]
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


def _spent(records: list[Record]) -> dict[str, Used]:
    """What keys without limits used: nobody waits for it, so it is added up here."""
    found: dict[str, Used] = {}
    for record in records:
        if record.free and record.key is not None:
            one = used(record)
            before = found.get(record.key.id)
            found[record.key.id] = one if before is None else added(before, one)
    return found


def used(record: Record) -> Used:
    """What *record* says that a request cost; where no answer tells, a token is four bytes, and an event is a token."""
    if record.cache in _KNOWN or not record.first:
        return Used(1, 0, 0)
    found = record.usage
    if found is not None:
        return Used(1, found.prompt_tokens, found.completion_tokens)
    return Used(1, record.body_bytes // 4, record.pieces)
