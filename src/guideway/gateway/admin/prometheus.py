"""The numbers as Prometheus reads them: OpenTelemetry's names where there are any, ours for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from guideway.core.load import WAITS
from guideway.gateway.admin.totals import Live
from guideway.gateway.metrics import DURATION, FIRST_TOKEN, TOKENS, Histogram, Shape, Snapshot

PROVIDER = "guideway"
_PREFIX = "guideway_gateway_"
_GENERATIVE = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "guideway_arm")

COUNTERS = {
    "upstream_errors": ("What went wrong between gateway and replicas.", "kind"),
    "retries": ("Requests that were sent to a second replica.", ""),
    "ejections": ("Times that a replica was left alone for a while.", ""),
    "crowded": ("Connections that were closed or refused because there were too many.", "what"),
    "masked": ("Personal data that was found in prompts and answers.", "entity"),
    "cache": ("What the cache said.", "result"),
    "limited": ("Requests refused because a limit was reached.", "limit"),
    "guarded": ("Requests and answers that a guardrail stopped.", "rule"),
    "outliers": ("Requests, by the share of ordinary ones at least as unusual: up to 0.001, 0.01, 0.1 or 1.", "share"),
    "flagged": ("Requests that were answered and told to be unusual.", ""),
    "corrections": ("Requests whose answer a correction gave or changed.", "correction"),
    "errors": ("Requests that ended with an error, by the code that the client was told.", "code"),
    "shadows": ("Copies of requests for a candidate in shadow.", "result"),
    "usage_estimated": ("Requests whose tokens were estimated: nobody told them, and they could not be counted.", ""),
    "spool_drops": ("Records that found no room in a spool.", "spool"),
    "log_drops": ("Log lines that found no room in the queue.", ""),
    "feedback": ("Judgements that were received.", "kind"),
    "worker_cpu_seconds": ("Processor time of all workers.", ""),
}
"""Help, and the name of the label if there is one."""

GAUGES = {
    "in_flight": "Requests under way.",
    "queue": "Requests that wait to be admitted.",
    "connections": "Open connections of clients.",
    "worker_memory_bytes": "Resident memory.",
}


def render(
    total: Snapshot, live: Sequence[Live], now: float, accept: str, round_age: float | None = None
) -> tuple[bytes, str]:
    """The page and its content type, in the format that *accept* prefers.

    *round_age*: seconds since the controller of this host ended a round.
    """
    found = list(families(total, live, now))
    if round_age is not None:
        text = "Seconds since the controller of this host ended a round."
        found.append(GaugeMetricFamily("guideway_controller_round_age_seconds", text, value=round_age))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(found))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Numbers(Collector):
    """Metrics that are known already, in the shape that a registry wants."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def families(total: Snapshot, live: Sequence[Live], now: float) -> Iterator[Metric]:
    """All metrics. Counters of workers that have gone are part of *total*; gauges are those of *live*."""
    yield _requests(total)
    yield from _generative(total)
    for name, (text, label) in COUNTERS.items():
        yield _counter(name, text, label, total.counters.get(name, {}))
    yield from _places(total, live)
    for name, text in GAUGES.items():
        yield _by_worker(name, text, ((one.pid, one.snapshot.gauges.get(name, 0.0)) for one in live))
    ages = ((one.pid, max(0.0, now - one.snapshot.at)) for one in live)
    yield _by_worker("worker_snapshot_age_seconds", "How old the numbers of a worker are.", ages)
    yield GaugeMetricFamily(f"{_PREFIX}workers", "Workers that run.", value=len(live))


def _requests(total: Snapshot) -> Metric:
    labels = ("operation", "model", "arm", "status", "cache")
    family = CounterMetricFamily(f"{_PREFIX}requests", "Requests that are over.", labels=labels)
    for values, count in total.requests.items():
        family.add_metric(values, count)
    return family


def _generative(total: Snapshot) -> Iterator[Metric]:
    duration = _histogram("server_request_duration_seconds", "Time from the request to its last byte.", _GENERATIVE)
    first = _histogram("server_time_to_first_token_seconds", "Time to the first token of an answer.", _GENERATIVE)
    tokens = _histogram("client_token_usage", "Tokens per request.", (*_GENERATIVE, "gen_ai_token_type"))
    for (operation, model, arm), shape in total.shapes.items():
        labels = (operation, PROVIDER, model, arm)
        _add(duration, labels, shape.duration, DURATION)
        _add(first, labels, shape.first_token, FIRST_TOKEN)
        for kind, histogram in _by_type(shape):
            _add(tokens, (*labels, kind), histogram, TOKENS)
    yield from (duration, first, tokens)


def _places(total: Snapshot, live: Sequence[Live]) -> Iterator[Metric]:
    labels = ("model", "priority")
    waits = HistogramMetricFamily(f"{_PREFIX}queue_time_seconds", "Time until a place at a replica.", labels=labels)
    for values, one in total.places.items():
        _add(waits, values, one.waits, WAITS)
    running = GaugeMetricFamily(f"{_PREFIX}requests_running", "Requests at replicas.", labels=(*labels, "worker"))
    waiting = GaugeMetricFamily(f"{_PREFIX}requests_waiting", "Requests without a place.", labels=(*labels, "worker"))
    for worker in live:
        for values, one in worker.snapshot.places.items():
            running.add_metric([*values, str(worker.pid)], one.running)
            waiting.add_metric([*values, str(worker.pid)], one.waiting)
    yield from (waits, running, waiting)


def _by_type(shape: Shape) -> tuple[tuple[str, Histogram], ...]:
    return ("input", shape.tokens_in), ("output", shape.tokens_out)


def _histogram(name: str, text: str, labels: Sequence[str]) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"gen_ai_{name}", text, labels=labels)


def _add(family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram, bounds: tuple[float, ...]) -> None:
    edges = [*map(str, bounds), "+Inf"]
    buckets = list(zip(edges, accumulate(histogram.counts), strict=True))
    family.add_metric(labels, buckets, histogram.sum)


def _counter(name: str, text: str, label: str, values: dict[str, float]) -> Metric:
    family = CounterMetricFamily(f"{_PREFIX}{name}", text, labels=[label] if label else [])
    if not label:
        values = {"": sum(values.values())}  # one that nobody counted yet is told as nought
    for value, count in values.items():
        family.add_metric([value] if label else [], count)
    return family


def _by_worker(name: str, text: str, values: Iterable[tuple[int, float]]) -> Metric:
    family = GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=["worker"])
    for pid, value in values:
        family.add_metric([str(pid)], value)
    return family
