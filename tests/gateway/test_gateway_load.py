"""What a worker tells of its load: places taken and waited for, live and batch apart, and how long it took."""

from __future__ import annotations

import msgspec
import pytest
from gateway_paper import held, unary
from gateway_rig import OPTIONS, Client, request, wait_for

from guideway.core.load import WAITS, Load
from guideway.core.route import GatewaySettings
from guideway.core.spec.gateway import Admission as Asked
from guideway.gateway.admin.prometheus import render
from guideway.gateway.admin.totals import Live
from guideway.gateway.admission import Admission
from guideway.gateway.equip import equip
from guideway.gateway.load import WINDOW_SECONDS, LoadTeller, places
from guideway.gateway.metrics import Metrics, Snapshot, decode, encode
from guideway.rollout.load import waited
from guideway.store import load as files
from guideway.store.load import read_load


class Call:
    owner = "ann"

    def admitted(self):
        pass

    def refused(self, error):
        pass


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gate(clock):
    return Admission(2, 10, 5.0, clock)


@pytest.fixture
def teller(gate, tmp_path):
    return LoadTeller(tmp_path, gate)


def test_live_and_batch_are_told_apart(gate, teller):
    for priority in ("live", "batch", "live", "batch", "batch"):
        gate.enter(Call(), priority)
    told = teller.told(100.0, "poet")
    assert (told.at, told.model, told.load.workers) == (100.0, "poet", 1)
    assert (told.load.running, told.load.waiting, told.load.finished) == (1, 1, 0)
    assert (told.load.batch_running, told.load.batch_waiting, told.load.batch_finished) == (1, 2, 0)
    gate.leave("batch")
    told = teller.told(100.0, "poet")
    assert (told.load.running, told.load.waiting, told.load.batch_running) == (2, 0, 0)
    assert (told.load.finished, told.load.batch_finished) == (0, 1)


def test_how_long_they_waited_is_counted_when_they_are_let_in_or_refused(gate, clock):
    for _ in range(4):
        gate.enter(Call())
    clock.now += 0.4
    gate.leave()
    clock.now += 4.7
    gate.expire(clock.now)
    waits = gate.counts("live").waits
    assert (waits[0], waits[WAITS.index(0.5)], waits[WAITS.index(5.0)]) == (2, 1, 1)
    assert gate.counts("live").seconds == pytest.approx(0.4 + 5.0)
    assert sum(gate.counts("batch").waits) == 0


def test_who_leaves_while_it_waits_has_waited_for_nothing(gate):
    calls = [Call() for _ in range(3)]
    for call in calls:
        gate.enter(call)
    gate.cancel(calls[2])
    assert (sum(gate.counts("live").waits), gate.counts("live").waiting) == (2, 0)


def test_only_the_waits_of_the_last_seconds_are_told(gate, teller, clock):
    gate.enter(Call())
    assert sum(teller.told(100.0, "poet").load.waits) == 1
    for second in range(1, 31):
        gate.leave()
        gate.enter(Call())
        found = sum(teller.told(100.0 + second, "poet").load.waits)
        assert found == min(second + 1, int(WINDOW_SECONDS))
    for second in range(31, 45):
        last = sum(teller.told(100.0 + second, "poet").load.waits)
    assert last == 0


def test_the_controller_reads_what_the_worker_wrote(gate, teller, tmp_path):
    gate.enter(Call())
    teller.write(teller.told(100.0, "poet"))
    found = read_load(tmp_path, 101.0)
    assert (found.workers, found.running, waited(found.waits)) == (1, 1, 0.0)


def test_a_worker_goes_on_where_one_that_is_gone_had_ended(gate, tmp_path):
    gone = LoadTeller(tmp_path, gate).told(100.0, "poet")
    load = msgspec.structs.replace(gone.load, finished=7, batch_finished=3, running=2)
    (tmp_path / "999999999-gone.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(gone, load=load)))
    told = LoadTeller(tmp_path, gate).told(101.0, "poet").load
    assert (told.finished, told.batch_finished, told.running) == (7, 3, 0)
    assert list(tmp_path.iterdir()) == []


# On the metrics page.


def test_the_page_has_places_and_waits_by_model_and_priority(gate):
    gate.enter(Call())
    gate.enter(Call(), "batch")
    gate.enter(Call())
    metrics = Metrics()
    metrics.places = lambda: places(gate, "poet")
    taken = decode(encode(metrics.snapshot(1.0)))
    total = Snapshot()
    total.add(taken)
    total.add(taken)
    page = render(total, [Live(7, taken)], 1.0, "text/plain")[0].decode()
    for line in (
        'guideway_gateway_requests_running{model="poet",priority="live",worker="7"} 1.0',
        'guideway_gateway_requests_running{model="poet",priority="batch",worker="7"} 1.0',
        'guideway_gateway_requests_waiting{model="poet",priority="live",worker="7"} 1.0',
        'guideway_gateway_queue_time_seconds_bucket{le="0.001",model="poet",priority="live"} 2.0',
        'guideway_gateway_queue_time_seconds_count{model="poet",priority="batch"} 2.0',
    ):
        assert line in page, line


def test_a_snapshot_with_other_bounds_of_waits_is_refused(gate):
    metrics = Metrics()
    metrics.places = lambda: places(gate, "poet")
    taken = metrics.snapshot(1.0)
    taken.places["poet", "live"].waits.counts.append(1)
    with pytest.raises(ValueError, match="other bounds"):
        decode(encode(taken))


# In a gateway.


def test_requests_that_run_and_wait_are_seen_and_gone_when_they_are_answered(made, replica, tmp_path):
    gateway = made(msgspec.structs.replace(OPTIONS, admission=Asked(concurrent=1, queue=8, wait=60.0), workers=1))
    one = replica(held(unary()))
    gateway.serve(one)
    teller = LoadTeller(tmp_path, gateway.plane.admission)
    with Client(gateway.port) as first, Client(gateway.port) as second:
        for client in (first, second):
            client.send(request())
        wait_for(lambda: gateway.plane.admission.waiting and one.asked)
        load = teller.told(100.0, gateway.plane.model).load
        assert (load.running, load.waiting, load.finished) == (1, 1, 0)
        gateway.skew += 2.0
        one.release()
        assert [client.reply().status for client in (first, second)] == [200, 200]
    wait_for(lambda: gateway.plane.admission.counts("live").finished == 2)
    load = teller.told(101.0, gateway.plane.model).load
    assert (load.running, load.waiting, load.finished) == (0, 0, 2)
    assert waited(load.waits) > 1.0


def test_an_equipped_worker_leaves_its_load_every_second_and_at_the_end(loop, tmp_path):
    files_of = {name: str(tmp_path / name) for name in ("route_file", "keys_file")}
    settings = GatewaySettings(host="127.0.0.1", port=0, workers=1, folder=str(tmp_path / "gateway"), **files_of)
    made = loop.call(equip, settings, 1, 1)
    loop.call(made.start)
    folder = tmp_path / "gateway" / files.FOLDER
    wait_for(lambda: list(folder.glob("*.json")))
    now = made.plane.wall()
    assert read_load(folder, now) == Load(workers=1)
    loop.call(made.close)
    assert len(list(folder.iterdir())) == 1
