"""Settings that change while requests come: taken up without a gap, or refused without a trace."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import threading
from pathlib import Path

import pytest
from gateway_paper import chat_or_stream, held, unary
from gateway_rig import Client, request, wait_for
from system_rig import Load, Running, System, drill, replicas

from guideway.core.spec.gateway import Tls
from guideway.gateway import slot
from guideway.kit.process import free_port, is_alive

pytestmark = pytest.mark.thorough

__all__ = ["replicas"]

LARGE = {"model": "poet", "messages": [{"role": "user", "content": "a" * 1_500_000}]}
"""A body for which one megabyte is too little, and two are enough."""


@pytest.fixture
def running(tmp_path):
    made = []

    def start(*arguments, **options):
        made.append(Running(tmp_path, *arguments, **options))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.fixture
def served(running, replica):
    """Makes a gateway of so many workers in front of two replicas."""

    def make(workers=2):
        one = running(workers)
        one.replicas = [replica(chat_or_stream("a", "b")), replica(chat_or_stream("a", "b"))]
        one.routes([replica.port for replica in one.replicas])
        return one.up()

    return make


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one.getsockname()[1]


class Following(Load):
    """Connects where the gateway listens now. Nobody can be told in time that a port closes; all else is a failure."""

    def __init__(self, gateway, **options):
        self.gateway = gateway
        super().__init__(0, **options)

    @property
    def port(self):
        return Door(self.gateway)

    @port.setter
    def port(self, value):
        pass


class Door(int):
    """The port of a gateway, which is looked up anew when it has closed."""

    def __new__(cls, gateway):
        for _ in range(50):
            port = gateway.port
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                continue
            return int.__new__(cls, port)
        raise AssertionError("nobody listens")


class Strangers:
    """Clients of whom each asks once, on a connection of its own: they wait in the queues of the sockets."""

    def __init__(self, gateway, clients=4):
        self.port, self.wrong, self.answers = gateway.port, [], 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(clients)]

    def __enter__(self):
        for one in self._threads:
            one.start()
        wait_for(lambda: self.answers > 20 or self.wrong)
        return self

    def __exit__(self, *error):
        self._stop.set()
        for one in self._threads:
            one.join(30)

    def _work(self):
        while not self._stop.is_set():
            try:
                with Client(self.port) as client:
                    reply = client.ask()
                assert reply.status == 200, reply.status
                self.answers += 1
            except (OSError, EOFError, AssertionError) as error:
                self.wrong.append(error)
                return


def takes_large(one):
    """How many megabytes are in force?"""
    with Client(one.port) as client:
        client.send(request(body=LARGE))
        return client.reply().status == 200


def gone(pids):
    return not any(map(is_alive, pids))


# Taken up.


def test_changed_settings_are_taken_up_under_load_and_no_request_fails(served):
    one = served()
    before = one.workers
    assert not takes_large(one)
    with Load(one.port) as load:
        state = one.change(options={"body_megabytes": 2})
        load.more(50)
        wait_for(lambda: gone(before), 20, "the old workers leaving")
    assert load.wrong == []
    assert (state["generation"], state["refused"], state["pid"]) == (1, None, one.process.pid)
    assert not set(before) & set(state["workers"])
    assert takes_large(one)


def test_a_request_that_is_under_way_ends_with_the_old_settings(running, replica):
    one = running(1)
    slow = replica(held(unary(b'{"late":true}')))
    one.routes([slow.port])
    one.up()
    with Client(one.port) as client:
        client.send(request())
        wait_for(lambda: slow.asked)
        one.change(options={"body_megabytes": 2})
        slow.release()
        assert client.reply().json() == {"late": True}


@pytest.mark.parametrize("steps", [(3, 1), (1, 3, 2)])
def test_more_and_fewer_workers_fail_nobody_who_waits_in_the_queue_of_a_socket(served, steps):
    first, *others = steps
    one = served(first)
    with Load(one.port) as load, Strangers(one) as strangers:
        for count in others:
            before = one.workers
            assert one.change(workers=count)["refused"] is None
            assert len(one.workers) == count
            wait_for(lambda before=before: gone(before), 20, "the old workers leaving")
            load.more(100)
    assert (load.wrong, strangers.wrong) == ([], [])
    assert strangers.answers > 100


def test_a_changed_port_is_served_before_the_old_one_is_closed_and_no_request_fails(served):
    one, port = served(), free_port()
    before, old = one.workers, one.port
    with Following(one) as load:
        state = one.change(port=port)
        load.more(50)
        wait_for(lambda: gone(before), 20, "the old workers leaving")
        load.more(50)
    assert load.wrong == []
    assert (state["port"], state["refused"]) == (port, None)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", old)).close()


def test_a_changed_host_on_the_same_port_fails_no_request(served):
    one = served()
    port = one.port
    with Load(port) as load:
        state = one.change(host="0.0.0.0", port=port)
        load.more(100)
    assert load.wrong == []
    assert (state["port"], state["refused"]) == (port, None)


def test_a_free_port_that_is_wanted_is_the_one_that_there_is(served):
    one = served(1)
    port = one.port
    assert one.change(options={"body_megabytes": 2}, port=0)["port"] == port


def test_clients_that_wait_at_a_port_that_closes_are_served(running, replica):
    one, port = running(1), free_port()
    one.routes([replica(chat_or_stream("a")).port])
    one.up()
    (worker,) = one.workers
    os.kill(worker, signal.SIGSTOP)
    waiting = [Client(one.port) for _ in range(20)]
    try:
        for client in waiting:
            client.send(request())
        one.change(port=port)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert [client.reply().status for client in waiting] == [200] * 20
    for client in waiting:
        client.socket.close()


def test_the_newest_of_several_changes_wins_and_no_request_fails(served):
    one = served()
    with Load(one.port) as load:
        for megabytes in (2, 3, 4, 5):
            one.want(options={"body_megabytes": megabytes})
            one.signal(signal.SIGHUP)
            load.more(5)
        wait_for(one.answered, 60)
        load.more(50)
    assert load.wrong == []
    assert one.state()["generation"] == 4


def test_settings_that_are_wanted_back_while_they_still_serve_start_nobody(served):
    one = served()
    before = one.workers
    state = one.change()
    assert (state["generation"], state["workers"]) == (1, before)


# Refused.


def impossible(how, taken, folder):
    if how == "port":
        return {"port": taken}, f"127.0.0.1:{taken}: port {taken} is in use (stop the program that listens there"
    if how == "admin port":
        return {"options": {"admin": taken}}, f"127.0.0.1:{taken}: port {taken} is in use ("
    if how == "certificate":
        path = str(folder / "none.pem")
        return {"options": {"tls": Tls(certificate=path, key=path)}}, f"{path}: the certificate cannot be read: no such"
    return {"host": "192.0.2.1"}, "192.0.2.1:0: cannot listen"


@pytest.mark.parametrize("how", ["port", "admin port", "certificate", "host"])
def test_an_impossible_change_says_why_and_changes_nothing(served, taken, how, tmp_path):
    one = served()
    before, port = one.workers, one.port
    changes, why = impossible(how, taken, tmp_path)
    with Load(port) as load:
        state = one.change(**changes)
        load.more(50)
    assert load.wrong == []
    assert state["refused"]["generation"] == 1
    assert state["refused"]["why"].startswith(why)
    assert (state["generation"], state["workers"], state["port"], one.workers) == (0, before, port, before)


def test_what_was_refused_is_tried_again_and_taken_up_once_it_can_be(served):
    one = served(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert one.change(port=port)["refused"]["generation"] == 1
        assert one.change(port=port)["refused"]["generation"] == 2
    state = one.change(port=port)
    assert (state["generation"], state["refused"], state["port"]) == (3, None, port)


def test_a_worker_that_dies_after_a_refusal_is_started_with_the_settings_that_serve(served, taken):
    one = served(1)
    one.change(options={"body_megabytes": 2}, port=one.port)
    one.change(options={"body_megabytes": 1}, port=taken)
    before = one.workers
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: one.workers != before, 20)
    assert takes_large(one)


def successor(one, known):
    """The process id of a worker that is neither among *known* nor gone again, or None."""
    for path in Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children").read_text().split():
        words = Path(f"/proc/{path}/cmdline").read_bytes().split(b"\0")
        if b"guideway.gateway.worker" in words and int(path) not in known:
            return int(path)
    return None


@pytest.mark.parametrize("seed", range(drill(3, 12)))
def test_a_successor_that_is_killed_leaves_everything_as_it_was(served, seed):
    one, dice = served(), random.Random(seed)
    before = one.workers
    with Load(one.port) as load:
        one.want(options={"body_megabytes": 2})
        one.signal(signal.SIGHUP)
        wait_for(lambda: successor(one, before), 20)
        threading.Event().wait(dice.uniform(0.0, 0.3))
        if victim := successor(one, before):
            os.kill(victim, signal.SIGKILL)
        wait_for(one.answered, 60)
        load.more(50)
    state = one.state()
    assert state["refused"]["why"] == "a worker that was started with these settings was killed (signal 9)"
    assert state["workers"] == before
    assert not takes_large(one)


def test_a_successor_that_is_never_ready_is_given_up(served):
    one = served(1)
    before = one.workers
    with Load(one.port) as load:
        one.want(options={"body_megabytes": 2})
        one.signal(signal.SIGHUP)
        wait_for(lambda: successor(one, before), 20)
        os.kill(successor(one, before), signal.SIGSTOP)
        wait_for(one.answered, slot.START_SECONDS + 20)
        load.more(20)
    assert load.wrong == []
    assert one.state()["refused"]["why"] == "a worker that was started with these settings was not ready after 30 s"
    assert one.workers == before


# Started.


def restarted(one):
    """Kill everything and start it again."""
    workers = one.workers
    one.process.kill()
    one.process.wait(10)
    wait_for(lambda: gone(workers), 20)
    one.start()
    wait_for(lambda: (state := one.state()) and state["pid"] == one.process.pid, 40)
    return one.state()


def test_a_gateway_that_cannot_start_with_what_is_wanted_starts_with_what_served(served, taken):
    one = served()
    one.change(options={"body_megabytes": 2}, port=one.port)
    port = one.port
    one.want(port=taken)
    state = restarted(one)
    assert (state["port"], state["generation"]) == (port, 1)
    assert state["refused"]["generation"] == 2
    assert f"port {taken} is in use" in state["refused"]["why"]
    assert takes_large(one)


def test_a_gateway_whose_workers_cannot_serve_what_is_wanted_serves_what_served(served):
    one = served(1)
    port = one.port
    one.want(port=port, route_file="\0")
    state = restarted(one)
    assert (state["generation"], state["refused"]["generation"]) == (0, 1)
    assert state["refused"]["why"] == "a worker that was started with these settings ended with exit status 1"
    assert one.probe() == 200


def test_a_first_start_with_impossible_settings_ends_in_one_line(running, taken):
    one = running(1, port=taken)
    assert one.process.wait(20) == 5
    assert one.state() is None


@pytest.mark.parametrize("seed", range(drill(4, 20)))
def test_a_parent_that_is_killed_in_a_change_is_followed_by_one_that_serves(served, seed):
    one, dice = served(), random.Random(seed)
    port = one.port if seed % 2 else free_port()
    before = one.workers
    one.want(options={"body_megabytes": 2}, port=port)
    one.signal(signal.SIGHUP)
    threading.Event().wait(dice.uniform(0.0, 3.0))
    one.process.kill()
    one.process.wait(10)
    one.start()
    wait_for(lambda: (state := one.state()) and state["pid"] == one.process.pid, 40)
    wait_for(lambda: gone(before), 20)
    assert one.answered()
    assert [one.probe() for _ in range(8)] == [200] * 8
    assert takes_large(one) == (one.state()["generation"] == 1)


# Companions.


@pytest.fixture
def whole(tmp_path, replicas):
    one = System(tmp_path / "whole")
    yield one.serve(replicas())
    one.stop()


def test_companions_follow_and_no_request_to_them_is_lost(whole):
    wait_for(lambda: all(whole.companion(name) for name in ("admin", "batches", "limits")), 30)
    known = {name: whole.companion(name) for name in ("admin", "batches", "limits")}
    wrong, stop, answers = [], threading.Event(), itertools.count()

    def ask():
        while not stop.is_set():
            with Client(whole.port) as client:
                client.send(request("GET", "/v1/batches", headers=f"Authorization: Bearer {whole.key}\r\n"))
                reply = client.reply()
            if reply.status != 200:
                wrong.append((reply.status, reply.body))
            next(answers)

    asking = threading.Thread(target=ask)
    wait_for(lambda: status_of(whole) == 200, 30)
    asking.start()
    try:
        with Load(whole.port, key=whole.key) as load:
            whole.change(options={"batches": type(whole.wanted.options.batches)(days=7)}, port=whole.port)
            wait_for(lambda: {whole.companion(name) for name in ("admin", "batches")}.isdisjoint(known.values()), 60)
            wait_for(lambda: gone([known["admin"], known["batches"]]), 30)
            wait_for(lambda: whole.said().count('"batches served"') == 2, 30)
            load.more(50)
    finally:
        stop.set()
        asking.join(30)
    assert (load.wrong, wrong) == ([], [])
    assert next(answers) > 10
    assert whole.companion("limits") == known["limits"], "it reads nothing that has changed"
    wait_for(whole.admin_answers, 30)


def status_of(one):
    with Client(one.port) as client:
        client.send(request("GET", "/v1/batches", headers=f"Authorization: Bearer {one.key}\r\n"))
        return client.reply().status
