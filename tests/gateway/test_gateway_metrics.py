"""Metrics: what a worker counts, what the sum over workers keeps, and what Prometheus makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from guideway.gateway import metrics as room
from guideway.gateway.admin.prometheus import COUNTERS, GAUGES, render
from guideway.gateway.admin.totals import RETIRED, Live, Totals
from guideway.gateway.metrics import (
    OTHER,
    SERIES,
    Counter,
    Gauge,
    Metrics,
    Publisher,
    Snapshot,
    decode,
    encode,
    write_snapshot,
)
from guideway.kit.process import start_time

OPEN = "text/plain; version=0.0.4"


def done(metrics, model="poet", arm="stable", status=200, cache="miss", seconds=0.5, ttft=None, tokens=(0, 0)):
    metrics.request_done(
        model=model,
        arm=arm,
        status=status,
        cache=cache,
        seconds=seconds,
        ttft=ttft,
        tokens_in=tokens[0],
        tokens_out=tokens[1],
    )


def counted(requests: int = 1) -> Snapshot:
    metrics = Metrics()
    for _ in range(requests):
        done(metrics, ttft=0.03125, tokens=(10, 20))
    return decode(encode(metrics.snapshot(1.0)))


def shown(total: Snapshot, live=(), now: float = 2.0) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    page, _ = render(total, live, now, OPEN)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def value(samples, name: str, **labels: str) -> float:
    found = [value for (its, has), value in samples.items() if its == name and labels.items() <= dict(has).items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


# What a worker counts.


def test_a_request_is_counted_by_its_labels_and_in_every_histogram():
    metrics = Metrics()
    done(metrics, ttft=0.02, tokens=(10, 20))
    done(metrics, status=204)
    done(metrics, arm="candidate", status=503, cache="bypass", seconds=99.0)
    taken = metrics.snapshot(7.0)
    assert taken.requests == {
        ("chat", "poet", "stable", "2xx", "miss"): 2,
        ("chat", "poet", "candidate", "5xx", "bypass"): 1,
    }
    shape = taken.shapes["chat", "poet", "stable"]
    assert (sum(shape.duration.counts), shape.duration.sum) == (2, 1.0)
    assert (sum(shape.first_token.counts), shape.first_token.sum) == (1, 0.02)
    assert (sum(shape.tokens_in.counts), shape.tokens_in.sum, shape.tokens_out.sum) == (1, 10, 20)
    assert taken.shapes["chat", "poet", "candidate"].duration.counts[-1] == 1


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (0.01, 0), (0.0101, 1), (81.92, 13), (82.0, 14)])
def test_a_value_falls_into_the_first_bucket_whose_bound_it_does_not_exceed(seconds, bucket):
    metrics = Metrics()
    done(metrics, seconds=seconds)
    assert metrics.snapshot(1.0).shapes["chat", "poet", "stable"].duration.counts[bucket] == 1


def test_however_many_labels_come_the_worker_does_not_grow():
    metrics = Metrics()
    for number in range(3 * SERIES):
        done(metrics, model=f"model {number}")
        metrics.count("upstream_errors", f"kind {number}")
    taken = metrics.snapshot(1.0)
    assert len(taken.requests) == len(taken.shapes) == SERIES + 1
    assert sum(taken.requests.values()) == 3 * SERIES
    assert taken.requests[OTHER, OTHER, OTHER, "2xx", OTHER] == 2 * SERIES
    assert len(taken.counters["upstream_errors"]) == SERIES + 1
    assert sum(taken.counters["upstream_errors"].values()) == 3 * SERIES


def test_counters_and_gauges_that_others_keep_are_read_for_each_snapshot():
    metrics, dropped, open_connections = Metrics(), [0], [0]
    metrics.read_counter("log_drops", lambda: dropped[0])
    metrics.gauge("connections", lambda: open_connections[0])
    dropped[0], open_connections[0] = 3, 4
    taken = metrics.snapshot(1.0)
    assert taken.counters["log_drops"] == {"": 3}
    assert taken.gauges["connections"] == 4
    assert taken.gauges["worker_memory_bytes"] > 1e6
    assert taken.counters["worker_cpu_seconds"][""] > 0


def test_every_counter_and_gauge_that_can_be_counted_is_shown():
    assert set(COUNTERS) == set(Counter.__args__)
    assert set(GAUGES) == set(Gauge.__args__)


# Snapshots and their sum.


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_the_sum_of_snapshots_counts_what_all_of_them_counted(counts):
    total = Snapshot()
    for number in counts:
        total.add(counted(number))
    both = counted(sum(counts))
    assert (total.requests, total.shapes) == (both.requests, both.shapes)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x80" * 3, msgspec.msgpack.encode({"requests": 1})])
def test_bytes_that_are_no_snapshot_are_refused(data):
    with pytest.raises(ValueError, match=r".*"):
        decode(data)


def test_a_snapshot_with_other_bounds_is_refused():
    other = counted()
    other.shapes["chat", "poet", "stable"].duration.counts.append(1)
    with pytest.raises(ValueError, match="other bounds"):
        decode(encode(other))


def written(folder: Path, pid: int, started: str, snapshot: Snapshot) -> Path:
    path = folder / f"{pid}-{started}.msgpack"
    path.write_bytes(encode(snapshot))
    return path


def requests(total: Snapshot) -> int:
    return sum(total.requests.values())


def test_the_sum_over_workers_that_run_and_that_have_gone(tmp_path):
    write_snapshot(tmp_path, encode(counted(3)))
    dead = written(tmp_path, 99, "gone", counted(4))
    total, live = Totals(tmp_path).read()
    assert requests(total) == 7
    assert [one.pid for one in live] == [os.getpid()]
    assert not dead.exists()
    assert (tmp_path / f"{os.getpid()}-{start_time(os.getpid())}.msgpack").stat().st_mode & 0o777 == 0o600


def test_a_worker_publishes_in_order_and_its_last_word_is_its_last(tmp_path):
    metrics = Metrics()
    publisher = Publisher(metrics, tmp_path / "metrics")
    for number in range(20):
        metrics.count("retries")
        publisher.publish(float(number))
    metrics.count("retries")
    publisher.close(99.0)
    total, (live,) = Totals(tmp_path / "metrics").read()
    assert total.counters["retries"] == {"": 21}
    assert live.snapshot.at == 99.0


def test_a_folder_that_cannot_be_written_stops_no_worker(tmp_path):
    (tmp_path / "metrics").write_text("a file")
    publisher = Publisher(Metrics(), tmp_path / "metrics")
    for _ in range(3):
        publisher.publish(1.0)
    publisher.close(2.0)


def test_the_sum_never_goes_backwards_whoever_dies_or_starts_again(tmp_path):
    live = written(tmp_path, os.getpid(), start_time(os.getpid()), counted(3))
    totals = Totals(tmp_path)
    assert requests(totals.read()[0]) == 3
    live.rename(tmp_path / "99-gone.msgpack")  # the worker dies
    assert requests(totals.read()[0]) == 3
    assert requests(Totals(tmp_path).read()[0]) == 3, "another admin process"
    written(tmp_path, os.getpid(), start_time(os.getpid()), counted(1))
    assert requests(totals.read()[0]) == 4


def test_being_killed_between_adding_and_removing_counts_nothing_twice(tmp_path):
    dead = written(tmp_path, 99, "gone", counted(4))
    data = dead.read_bytes()
    Totals(tmp_path).read()
    dead.write_bytes(data)  # as if it had not been removed yet
    assert requests(Totals(tmp_path).read()[0]) == 4
    assert not dead.exists()
    written(tmp_path, 98, "gone", counted(1))
    assert requests(Totals(tmp_path).read()[0]) == 5


def test_a_pid_that_another_process_has_by_now_is_a_worker_that_has_gone(tmp_path):
    written(tmp_path, os.getpid(), "another-start", counted(2))
    total, live = Totals(tmp_path).read()
    assert (requests(total), live) == (2, [])


def test_what_cannot_be_read_is_left_out_and_told(tmp_path, capsys):
    (tmp_path / "99-gone.msgpack").write_bytes(b"\xc1")
    (tmp_path / RETIRED).write_bytes(b"half")
    written(tmp_path, 98, "gone", counted(2))
    assert requests(Totals(tmp_path).read()[0]) == 2
    assert requests(Totals(tmp_path).read()[0]) == 2
    assert "left out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [RETIRED]


def test_half_a_file_of_a_killed_worker_is_removed_once_it_is_old(tmp_path):
    old, new = tmp_path / ".99-gone.msgpack.abcd", tmp_path / ".98-gone.msgpack.abcd"
    old.touch()
    new.touch()
    os.utime(old, (1, 1))
    Totals(tmp_path).read()
    assert not old.exists()
    assert new.exists()


def test_a_disk_that_is_full_loses_nothing(tmp_path, monkeypatch):
    written(tmp_path, 99, "gone", counted(4))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("guideway.gateway.admin.totals.write_atomic", full)
        assert requests(Totals(tmp_path).read()[0]) == 4
    assert requests(Totals(tmp_path).read()[0]) == 4


def test_a_worker_of_its_own_leaves_its_last_snapshot_behind_when_it_is_killed(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from guideway.gateway.metrics import Metrics, encode, write_snapshot
metrics = Metrics()
metrics.count("retries")
write_snapshot(Path({str(tmp_path)!r}), encode(metrics.snapshot(1.0)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], timeout=30, check=False)
    total, live = Totals(tmp_path).read()
    assert (total.counters["retries"], live) == ({"": 1}, [])


# What Prometheus reads.


def test_the_names_are_those_of_opentelemetry_where_there_are_any():
    samples = shown(counted(3))
    its = {"gen_ai_operation_name": "chat", "gen_ai_request_model": "poet", "guideway_arm": "stable"}
    assert value(samples, "gen_ai_server_request_duration_seconds_count", **its) == 3
    assert value(samples, "gen_ai_server_request_duration_seconds_bucket", le="0.64", **its) == 3
    assert value(samples, "gen_ai_server_request_duration_seconds_bucket", le="0.32", **its) == 0
    assert value(samples, "gen_ai_server_time_to_first_token_seconds_sum", **its) == 0.09375
    assert value(samples, "gen_ai_client_token_usage_sum", gen_ai_token_type="input", **its) == 30
    assert value(samples, "gen_ai_client_token_usage_sum", gen_ai_token_type="output", **its) == 60
    assert value(samples, "guideway_gateway_requests_total", status="2xx", cache="miss") == 3
    assert value(samples, "guideway_gateway_retries_total") == 0, "told before it happened the first time"


def test_gauges_are_those_of_workers_that_run():
    live = [Live(7, Snapshot(at=1.0, gauges={"in_flight": 2.0}))]
    samples = shown(Snapshot(), live, now=3.5)
    assert value(samples, "guideway_gateway_in_flight", worker="7") == 2
    assert value(samples, "guideway_gateway_worker_snapshot_age_seconds", worker="7") == 2.5
    assert value(samples, "guideway_gateway_workers") == 1


def test_the_age_of_the_controllers_last_round_is_told_where_one_ran():
    page, _ = render(Snapshot(), [], 2.0, OPEN, 42.0)
    assert b"\nguideway_controller_round_age_seconds 42.0\n" in page
    assert b"guideway_controller" not in render(Snapshot(), [], 2.0, OPEN)[0]


def test_openmetrics_is_spoken_to_who_asks_for_it():
    page, content_type = render(counted(), [], 2.0, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


def test_promtool_finds_nothing_to_complain_about():
    total = counted(2)
    total.counters = {name: {"": 1.0} if not label else {"a": 1.0} for name, (_, label) in COUNTERS.items()}
    page, _ = render(total, [Live(7, Snapshot())], 2.0, OPEN)
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=30, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_a_worker_imports_no_library_for_showing_numbers():
    code = "import sys, guideway.gateway.metrics; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
    assert room.SERIES == SERIES
