"""Traces over OTLP/HTTP, for a share of requests, with the names that OpenTelemetry gives generative AI.

Made only when ``telemetry.traces`` names a collector: the library (extra ``otlp``) is imported then, and not before.
Spans go through a bounded queue to a thread; a collector that is away costs spans, never time. No text of prompts or
answers is in them.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from guideway.core.errors import SpecError, Unavailable
from guideway.gateway.log import log

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

PATH = "/v1/traces"
QUEUE = 2048
BATCH = 256
EVERY_SECONDS = 2.0
EXPORT_SECONDS = 5.0
CLOSE_SECONDS = 2.0
QUIET_SECONDS = 60.0
_SAMPLED = 1
_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class Parent(msgspec.Struct, frozen=True):
    """What a ``traceparent`` header says."""

    trace: int
    span: int
    sampled: bool


def read_traceparent(value: bytes) -> Parent | None:
    """The parent in a header of W3C Trace Context, or None when it is not one. Later versions may say more."""
    found = _PARENT.fullmatch(value.strip())
    if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5]):
        return None
    trace, span, flags = (int(found[number], 16) for number in (2, 3, 4))
    return Parent(trace, span, bool(flags & _SAMPLED)) if trace and span else None


class Trace:
    """The span of one request. ``traceparent`` is what the replica is sent."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: Span) -> None:
        self._span = span
        its = span.get_span_context()
        self.traceparent = b"00-%032x-%016x-01" % (its.trace_id, its.span_id)

    def end(
        self,
        *,
        request: str,
        status: int,
        release: str,
        arm: str,
        tokens_in: int = 0,
        tokens_out: int = 0,
        cache: str = "",
        overhead_ms: float = 0.0,
        ttft: float | None = None,
        error: str = "",
    ) -> None:
        """The request is over. *error*: a code of ours such as ``upstream``; *ttft*: seconds to the first token."""
        found: dict[str, str | int | float] = {
            "http.response.status_code": status,
            "gen_ai.response.id": request,
            "guideway.release": release,
            "guideway.arm": arm,
            "guideway.cache": cache,
            "guideway.overhead_ms": round(overhead_ms, 3),
        }
        if tokens_in or tokens_out:
            found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"] = tokens_in, tokens_out
        if ttft is not None:
            found["gen_ai.response.time_to_first_chunk"] = ttft
        if status >= 500 or error:
            found["error.type"] = error or str(status)
        self._span.set_attributes({name: value for name, value in found.items() if value != ""})
        if status >= 500:
            self._span.set_status(_error_code())
        self._span.end()


class Traces:
    """The traces of one worker. *uniform* draws from [0, 1).

    Raises:
        SpecError: the URL cannot be meant.
        Unavailable: the library is not installed.
    """

    def __init__(self, url: str, sample: float, environment: str, uniform: Callable[[], float]) -> None:
        self._sample, self._uniform = sample, uniform
        self._provider = _provider(endpoint(url), environment)
        self._tracer: Tracer = self._provider.get_tracer("guideway.gateway")

    def begin(self, traceparent: bytes | None, *, operation: str, model: str) -> Trace | None:
        """A span for one request; None for one that was not drawn and whose caller does not follow it.

        *operation*: ``chat``, ``text_completion`` or ``embeddings``; *model* is a name that is served here.
        """
        parent = read_traceparent(traceparent) if traceparent else None
        if not (parent is not None and parent.sampled) and self._uniform() >= self._sample:
            return None
        span = self._tracer.start_span(
            f"{operation} {model}",
            context=_context(parent),
            kind=_server_kind(),
            attributes={
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": "guideway",
                "gen_ai.request.model": model,
            },
        )
        return Trace(span)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Send what waits, unless that takes longer than *seconds*."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(seconds)


def endpoint(url: str) -> str:
    """The URL that spans are sent to: *url* itself, or its ``/v1/traces`` when it names a host only.

    Raises:
        SpecError: it is no URL of HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SpecError("gateway.telemetry.traces must be a URL that begins with http:// or https://")
    return parts._replace(path=PATH).geturl() if parts.path in ("", "/") else url


def _provider(url: str, environment: str) -> Any:
    """What makes spans and hands them to the exporter's thread."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    except ImportError:
        advice = "pip install 'guideway[otlp]'"
        raise Unavailable("the library for traces is not installed", try_this=advice) from None
    _tell_calmly(logging.getLogger("opentelemetry"))
    about = {"service.name": "guideway-gateway", "deployment.environment.name": environment}
    provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create(about), shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(
            OTLPSpanExporter(url, timeout=EXPORT_SECONDS),
            max_queue_size=QUEUE,
            max_export_batch_size=BATCH,
            schedule_delay_millis=EVERY_SECONDS * 1e3,
        )
    )
    return provider


def _context(parent: Parent | None) -> Any:
    """The library's form of *parent*; without one a trace begins here, whatever else goes on in this thread."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if parent is None:
        return Context()
    its = SpanContext(parent.trace, parent.span, is_remote=True, trace_flags=TraceFlags(_SAMPLED))
    return set_span_in_context(NonRecordingSpan(its), Context())


def _server_kind() -> Any:
    from opentelemetry.trace import SpanKind

    return SpanKind.SERVER


def _error_code() -> Any:
    from opentelemetry.trace import StatusCode

    return StatusCode.ERROR


class _Calm(logging.Handler):
    """Tells our log of trouble, at most once a minute, and none of the library's words: they name URLs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._quiet_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of *record*, or be quiet."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            log("traces are not delivered", by=record.name)


def _tell_calmly(logger: logging.Logger) -> None:
    logger.propagate = False
    if not any(isinstance(one, _Calm) for one in logger.handlers):
        logger.addHandler(_Calm())
