"""Traces: drawn or asked for, named as OpenTelemetry does, without a word of a prompt, and never in the way."""

from __future__ import annotations

import gzip
import http.server
import logging
import random
import subprocess
import sys
import threading
import time

import pytest
from gateway_rig import wait_for
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from guideway.core.errors import SpecError
from guideway.gateway.traces import QUEUE, Parent, Traces, _Calm, endpoint, read_traceparent
from guideway.kit.process import free_port

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-2] + b"00"


class Collector:
    """A collector that keeps the spans it is sent."""

    def __init__(self) -> None:
        self.spans, self.resources, self.paths = [], [], []
        outer = self

        class Page(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                outer.take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def take(self, path, body):
        self.paths.append(path)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(attributes(resource.resource.attributes))
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def attributes(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


def traces(url, sample=1.0) -> Traces:
    return Traces(url, sample, "dev", random.Random(1).random)


def end(trace, **facts) -> None:
    trace.end(**{"request": "r1", "status": 200, "release": "555555555555", "arm": "stable", **facts})


def test_a_span_has_the_names_of_the_conventions_and_the_time_that_it_took(collector):
    ours = traces(collector.url)
    before = time.time_ns()
    trace = ours.begin(None, operation="chat", model="poet")
    end(trace, tokens_in=3, tokens_out=4, cache="miss", overhead_ms=0.12345, ttft=0.5)
    ours.close()
    (span,) = collector.spans
    assert collector.paths == ["/v1/traces"]
    assert (span.name, span.kind) == ("chat poet", 2)
    assert before <= span.start_time_unix_nano <= span.end_time_unix_nano <= time.time_ns()
    assert attributes(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "guideway",
        "gen_ai.request.model": "poet",
        "gen_ai.response.id": "r1",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.response.time_to_first_chunk": 0.5,
        "http.response.status_code": 200,
        "guideway.release": "555555555555",
        "guideway.arm": "stable",
        "guideway.cache": "miss",
        "guideway.overhead_ms": 0.123,
    }
    about = collector.resources[0]
    assert (about["service.name"], about["deployment.environment.name"]) == ("guideway-gateway", "dev")


def test_a_request_that_failed_says_why(collector):
    ours = traces(collector.url)
    end(ours.begin(None, operation="chat", model="poet"), status=502, error="upstream")
    end(ours.begin(None, operation="chat", model="poet"), status=429, error="rate_limit_exceeded")
    ours.close()
    broke, limited = sorted(collector.spans, key=lambda span: -attributes(span.attributes)["http.response.status_code"])
    assert (attributes(broke.attributes)["error.type"], broke.status.code) == ("upstream", 2)
    assert (attributes(limited.attributes)["error.type"], limited.status.code) == ("rate_limit_exceeded", 0)


def test_a_caller_that_follows_its_request_finds_ours_beneath_its_own(collector):
    ours = traces(collector.url, sample=0.0)
    trace = ours.begin(PARENT, operation="chat", model="poet")
    end(trace)
    ours.close()
    (span,) = collector.spans
    assert span.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert span.parent_span_id.hex() == "b7ad6b7169203331"
    assert trace.traceparent == b"00-%b-%b-01" % (span.trace_id.hex().encode(), span.span_id.hex().encode())


def test_who_was_not_drawn_and_is_not_followed_has_no_span(collector):
    ours = traces(collector.url, sample=0.0)
    for header in (None, b"", UNSAMPLED, b"garbage"):
        assert ours.begin(header, operation="chat", model="poet") is None
    ours.close()
    assert collector.spans == []


def test_the_share_that_is_drawn_is_the_share_that_was_asked_for(collector):
    ours = traces(collector.url, sample=0.1)
    drawn = sum(ours.begin(UNSAMPLED, operation="chat", model="poet") is not None for _ in range(2000))
    ours.close()
    assert 150 <= drawn <= 250, "a fixed seed: always the same number"


@pytest.mark.parametrize(
    ("value", "parent"),
    [
        (PARENT, Parent(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True)),
        (UNSAMPLED, Parent(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, False)),
        (b"01" + PARENT[2:] + b"-more", Parent(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True)),
        (PARENT + b"-more", None),
        (b"ff" + PARENT[2:], None),
        (PARENT.upper(), None),
        (PARENT[:-1], None),
        (b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01", None),
        (b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01", None),
        (PARENT.replace(b"a", b"g"), None),
        (PARENT.replace(b"a", b"\xff"), None),
        (b"", None),
        (b"-" * 60, None),
    ],
)
def test_what_a_traceparent_says(value, parent):
    assert read_traceparent(value) == parent


def test_a_collector_that_is_away_raises_nothing_and_what_waits_is_bounded(capsys):
    ours = traces(f"http://127.0.0.1:{free_port()}")
    for _ in range(3 * QUEUE):
        end(ours.begin(None, operation="chat", model="poet"))
    (processor,) = ours._provider._active_span_processor._span_processors
    assert len(processor._batch_processor._queue) <= QUEUE
    closing = threading.Thread(target=ours.close, args=(0.2,))
    closing.start()
    closing.join(10)
    assert not closing.is_alive()
    said = capsys.readouterr().err
    assert said.count("traces are not delivered") <= 1
    assert "127.0.0.1" not in said
    assert "Traceback" not in said


def test_a_collector_that_never_answers_does_not_hold_the_end():
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as silent:
        ours = traces(f"http://127.0.0.1:{silent.server_port}")  # accepts, and nobody reads
        end(ours.begin(None, operation="chat", model="poet"))
        closing = threading.Thread(target=ours.close, args=(0.2,))
        closing.start()
        closing.join(4)
        assert not closing.is_alive()


def test_trouble_is_told_once(capsys):
    ours = traces(f"http://127.0.0.1:{free_port()}")
    (calm,) = [one for one in logging.getLogger("opentelemetry").handlers if isinstance(one, _Calm)]
    calm._quiet_until = 0.0
    end(ours.begin(None, operation="chat", model="poet"))
    said = []

    def told():
        said.append(capsys.readouterr().err)
        return "traces are not delivered" in "".join(said)

    wait_for(told, 20, "the trouble being told")
    ours.close(0.1)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://collector/otlp/v1/traces", "https://collector/otlp/v1/traces"),
    ],
)
def test_where_spans_are_sent(url, wanted):
    assert endpoint(url) == wanted


@pytest.mark.parametrize("url", ["collector:4318", "ftp://collector", "http://", "file:///etc/passwd"])
def test_a_url_that_cannot_be_meant_is_refused(url):
    with pytest.raises(SpecError, match=r"telemetry\.traces"):
        endpoint(url)


def test_who_does_not_ask_for_traces_imports_nothing_of_them():
    code = (
        "import sys, guideway.gateway.traces; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0


@pytest.mark.catalogue("B31")
def test_a_span_can_hold_no_prompt_and_no_key(collector):
    ours = traces(collector.url)
    with pytest.raises(TypeError):
        end(ours.begin(None, operation="chat", model="poet"), prompt="secret")
    end(ours.begin(None, operation="chat", model="poet"))
    ours.close()
    names = {name for span in collector.spans for name in attributes(span.attributes)}
    assert not {name for name in names if "message" in name or "prompt" in name or "key" in name}
