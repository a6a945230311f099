"""Settings of a gateway that are shipped: taken up without a gap, or undone with one line, whoever is killed."""

from __future__ import annotations

import os
import random
import signal
import socket
from pathlib import Path

import pytest
from fleet_rig import NEW, OLD, Fleet, run_controller
from system_rig import Load, drill

from guideway.core.rollout import Phase
from guideway.core.spec import Gateway
from guideway.core.spec.gateway import Cache, Routing, Tls
from guideway.fleet import orders
from guideway.fleet.gateways import PROGRAM as REAL
from guideway.fleet.look import gateway_state
from guideway.fleet.project import projected_gateway
from guideway.kit.process import free_port
from guideway.store import fleet as rows

pytestmark = pytest.mark.thorough

PLAIN = Gateway(port=0, cache=Cache(store="off"), routing=Routing(probe=0.0))


@pytest.fixture
def real(tmp_path, monkeypatch):
    """A fleet with real gateways, whose models are tiny."""
    monkeypatch.delenv("GUIDEWAY_HOME", raising=False)
    one = Fleet(tmp_path / "home", program=REAL)
    yield one
    one.end()


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one.getsockname()[1]


def wanted(fleet):
    return rows.environment(fleet.database, "dev")


def state(fleet):
    return gateway_state(fleet.home, "dev")


def takes(port):
    """Does somebody listen there?"""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def settled(fleet):
    """Does the gateway serve with what is wanted?"""
    now, asked = state(fleet), projected_gateway(fleet.home, "dev")
    return now is not None and asked is not None and now.generation == asked.generation and not now.refused


def load(fleet):
    """Clients that ask all the time through the gateway that there is now."""
    key = orders.make_key(fleet.home, fleet.database, "dev", "load", clock=fleet.now)
    return Stepped(fleet, state(fleet).port, streams=False, key=key, ask=lambda _: {"model": "m"})


class Stepped(Load):
    """Steps the controller until the key is known."""

    def __init__(self, fleet, port, **options):
        super().__init__(port, **options)
        self.allowed.add(401)
        self.fleet = fleet

    def __enter__(self):
        super().__enter__()
        self.fleet.until(lambda: self.statuses[200] > 50)
        self.allowed.discard(401)
        return self


# Refused.


def test_settings_that_are_refused_fail_the_rollout_and_are_wanted_no_more(fleet, taken):
    fleet.served(OLD)
    before, serving = wanted(fleet), state(fleet)
    failed = fleet.served(NEW, gateway=Gateway(port=taken))
    assert failed.phase is Phase.FAILED
    assert failed.reason == f"the gateway keeps its settings: port {taken}: Address already in use"
    fleet.until(lambda: wanted(fleet).gateway == before.gateway and settled(fleet))
    assert (wanted(fleet).port, state(fleet).port, state(fleet).pid) == (before.port, serving.port, serving.pid)


def test_what_was_refused_is_tried_again_by_the_next_ship_and_done_once_it_can_be(fleet):
    fleet.served()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for _ in range(2):
            failed = fleet.served(gateway=Gateway(port=port))
            assert (failed.phase, str(port) in failed.reason) == (Phase.FAILED, True)
    assert fleet.served(gateway=Gateway(port=port)).phase is Phase.DONE
    assert (state(fleet).port, wanted(fleet).port) == (port, port)


def test_a_restart_of_everything_comes_back_with_the_settings_that_served(fleet, taken):
    fleet.served()
    port = state(fleet).port
    fleet.served(gateway=Gateway(port=taken))
    fleet.until(lambda: settled(fleet))
    os.kill(state(fleet).pid, signal.SIGKILL)
    fleet.new_controller()
    fleet.until(lambda: settled(fleet))
    assert (state(fleet).port, wanted(fleet).gateway.port) == (port, 0)


def test_a_gateway_that_dies_before_it_could_refuse_comes_back_with_what_served_and_the_rollout_fails(fleet, taken):
    fleet.served(OLD)
    port = state(fleet).port
    rollout = fleet.ship(NEW, gateway=Gateway(port=taken))
    os.kill(state(fleet).pid, signal.SIGKILL)
    fleet.until(lambda: fleet.rollout(rollout.id).phase.final)
    assert fleet.rollout(rollout.id).reason.startswith("the gateway keeps its settings")
    fleet.until(lambda: settled(fleet) and wanted(fleet).gateway.port == 0)
    assert state(fleet).port == port


def test_settings_that_are_asked_back_before_they_are_refused_are_simply_served(fleet, taken):
    fleet.served()
    first = fleet.ship(gateway=Gateway(port=taken))
    last = fleet.served()
    assert (fleet.rollout(first.id).phase, last.phase) == (Phase.REPLACED, Phase.DONE)
    assert settled(fleet)


def test_a_signal_that_was_lost_is_sent_again(fleet, monkeypatch):
    fleet.served()
    sent = []

    def kill(pid, number):
        sent.append((pid, number))

    port, send = free_port(), os.kill
    rollout = fleet.ship(gateway=Gateway(port=port))
    with monkeypatch.context() as patch:
        patch.setattr("guideway.fleet.gateways.os.kill", kill)
        fleet.until(lambda: sent)
    assert os.kill is send
    fleet.new_controller()
    fleet.until(lambda: fleet.rollout(rollout.id).phase is Phase.DONE)
    assert state(fleet).port == port


def test_down_stops_a_gateway_that_takes_up_settings(fleet, taken):
    fleet.served()
    fleet.ship(gateway=Gateway(port=taken))
    fleet.controller.once()
    fleet.down()
    fleet.until(fleet.controller._all_down)
    assert fleet.processes() == set()


@pytest.mark.parametrize("possible", [True, False])
@pytest.mark.parametrize("at", range(1, 18, drill(3, 1)))
def test_a_controller_that_is_killed_anywhere_in_a_change_is_followed_by_one_that_ends_it(fleet, taken, at, possible):
    fleet.served(OLD)
    other = Gateway(port=free_port() if possible else taken)
    rollout = fleet.ship(NEW, gateway=other)
    killed = run_controller(fleet, at)
    assert killed.returncode in (0, -signal.SIGKILL), killed.stderr
    fleet.new_controller()
    over = fleet.until(lambda: (now := fleet.rollout(rollout.id)).phase.final and now)
    fleet.until(lambda: settled(fleet))
    assert over.phase is (Phase.DONE if possible else Phase.FAILED)
    assert wanted(fleet).gateway.port == (other.port if possible else 0)


# Real gateways.


def test_a_change_that_is_shipped_under_load_fails_no_request(real):
    real.served(gateway=PLAIN)
    before = state(real)
    with load(real) as clients:
        done = real.served(gateway=Gateway(port=0, workers=2, body_megabytes=8, cache=PLAIN.cache))
        clients.more(50)
    assert (done.phase, clients.wrong) == (Phase.DONE, [])
    after = state(real)
    assert (after.pid, after.port, len(after.workers)) == (before.pid, before.port, 2)


@pytest.mark.parametrize("how", ["port", "certificate"])
def test_an_impossible_change_that_is_shipped_under_load_fails_no_request_and_says_why(real, taken, how, tmp_path):
    real.served(gateway=PLAIN)
    before = state(real)
    file = str(tmp_path / "none.pem")
    other = Gateway(port=taken) if how == "port" else Gateway(port=0, tls=Tls(certificate=file, key=file))
    with load(real) as clients:
        failed = real.served(gateway=other)
        real.until(lambda: settled(real) and wanted(real).gateway == PLAIN)
        clients.more(50)
    assert (failed.phase, clients.wrong) == (Phase.FAILED, [])
    why = f"port {taken} is in use" if how == "port" else f"{file}: the certificate cannot be read"
    assert why in failed.reason
    assert "\n" not in failed.reason
    assert (state(real).workers, state(real).port) == (before.workers, before.port)


def worker_of(parent, known):
    """A worker of *parent* that is not among *known*."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    words = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in found}
    return next((pid for pid, argv in words.items() if b"guideway.gateway.worker" in argv and pid not in known), None)


def kill_one(fleet, who, known):
    """Kill the parent, a successor, or the controller, which another one follows."""
    parent = state(fleet).pid
    if who == "parent":
        os.kill(parent, signal.SIGKILL)
    elif who == "successor" and (pid := worker_of(parent, known)):
        os.kill(pid, signal.SIGKILL)
    elif who == "controller":
        fleet.new_controller()


@pytest.mark.parametrize("who", ["parent", "successor", "controller"])
@pytest.mark.parametrize("seed", range(drill(3, 20)))
def test_whoever_is_killed_in_a_change_the_gateway_serves_and_the_rollout_ends(real, who, seed):
    real.served(gateway=PLAIN)
    dice, known = random.Random(f"{who} {seed}"), state(real).workers
    other = Gateway(port=free_port() if seed % 2 else 0, body_megabytes=8, cache=PLAIN.cache)
    rollout = real.ship(gateway=other)
    real.until(lambda: projected_gateway(real.home, "dev").options == other)
    end = real.now() + dice.uniform(0.0, 1.5)
    real.until(lambda: real.now() > end)
    kill_one(real, who, known)
    over = real.until(lambda: (now := real.rollout(rollout.id)).phase.final and now, 25)
    real.until(lambda: settled(real))
    assert wanted(real).gateway == (other if over.phase is Phase.DONE else PLAIN)
    served = projected_gateway(real.home, "dev").options
    assert served == wanted(real).gateway
    real.until(lambda: (now := state(real)) and takes(now.port))  # who was killed may have seemed alive until now


def test_a_controller_that_waits_for_a_change_does_not_signal_again_and_again(real, monkeypatch):
    real.served(gateway=PLAIN)
    sent, send = [], os.kill
    monkeypatch.setattr("guideway.fleet.gateways.os.kill", lambda *what: (sent.append(what), send(*what)))
    real.served(gateway=Gateway(port=0, body_megabytes=8))
    assert 1 <= len(sent) < 10
