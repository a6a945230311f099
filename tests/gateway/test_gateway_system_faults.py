"""Processes of the whole gateway are killed, stopped and replaced, and routes change: clients notice little or nothing.

SIGHUP replaces the workers and fails nothing. SIGTERM ends the gateway: it accepts no more, and requests under way are
answered. Whoever restarts it that way under load needs a second gateway and a load balancer in front of them.
"""

from __future__ import annotations

import os
import select
import signal
import time

import msgspec
import pytest
from gateway_paper import unary
from gateway_rig import OPTIONS, Client, wait_for
from system_rig import Load, at_once, chat, connections_of, drill, replicas, shared, system

from guideway.core.spec.gateway import Routing
from guideway.kit.process import is_alive

pytestmark = pytest.mark.thorough

__all__ = ["replicas", "shared", "system"]


# Replicas.


@pytest.mark.catalogue("A12")
def test_one_of_three_replicas_killed_under_load_fails_no_unary_request(system, replicas):
    one = system(*(replicas() for _ in range(3)))
    with Load(one.port, streams=False, key=one.key) as load:
        for _ in range(drill(3, 20)):
            victim = replicas()
            one.serve(victim, *one.replicas[-2:])
            load.more(40)
            victim.kill()
            load.more(60)
    assert load.wrong == []
    assert set(load.statuses) == {200}


@pytest.mark.catalogue("A12")
@pytest.mark.catalogue("A22")
def test_streams_of_a_killed_replica_end_with_an_error_event_and_no_token_comes_twice(system, replicas):
    victim, other = replicas(0.02), replicas(0.02)
    one = system(victim, other)
    clients = [Client(one.port) for _ in range(20)]
    for client in clients:
        client.send(chat(one.key, stream=True))
    for client in clients:
        assert client.head()[0] == 200
        assert b"token 0 " in client.exactly(40) + client.until(b"\n\n")
    victims = victim.counts()["streams"]
    assert 0 < victims < 20
    victim.kill()
    bodies = broken_within_a_second(clients)
    failed = [body for body in bodies if body]
    assert len(failed) == victims, "the streams of the other replica go on"
    for body in failed:
        assert b'"error"' in body
        assert b"[DONE]" not in body
        tokens = [piece.partition(b'"')[0] for piece in body.split(b"token ")[1:]]
        assert len(tokens) == len(set(tokens)), "no token came twice"
    for client in clients:
        client.socket.close()
    assert at_once(one.port, 1, chat(one.key))[0].status == 200


def broken_within_a_second(clients):
    """For each client what it was sent by the end of its stream, empty for a stream that goes on."""
    open_ones = {client.socket: client for client in clients}
    deadline = time.monotonic() + 1.0
    while open_ones and time.monotonic() < deadline:
        for one in select.select(list(open_ones), [], [], 0.05)[0]:
            data = one.recv(65536)
            open_ones[one].rest += data
            if not data:
                del open_ones[one]
    return [b"" if client.socket in open_ones else client.rest for client in clients]


@pytest.mark.catalogue("A13")
def test_a_replica_that_stands_still_is_left_alone_and_the_others_serve(system, replicas):
    still, *others = [replicas(0.005) for _ in range(3)]
    one = system(still, *others)
    with Load(one.port, clients=12, streams=False, key=one.key) as load:
        still.signal(signal.SIGSTOP)
        try:
            wait_for(lambda: one.metric("guideway_gateway_ejections_total") >= 2, what="both workers ejecting it")
            before = sum(other.counts()["asked"] for other in others)
            assert {reply.status for reply in at_once(one.port, 40, chat(one.key))} == {200}
            assert sum(other.counts()["asked"] for other in others) >= before + 40
        finally:
            still.signal(signal.SIGCONT)
        load.more(40)
    assert load.wrong == [], "what had reached it is answered late, not lost"
    assert "replica left alone" in one.said()


@pytest.mark.catalogue("A13")
def test_requests_that_wait_at_a_replica_when_it_stands_still_are_answered_by_another_one(system, replicas):
    still, other = replicas(2.0), replicas(2.0)
    one = system(still, other)
    clients = [one.client() for _ in range(8)]
    for client in clients:
        client.send(chat(one.key))
    wait_for(lambda: still.counts()["asked"] + other.counts()["asked"] == 8)
    waiting = still.counts()["asked"]
    still.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert {client.reply().status for client in clients} == {200}
        assert waiting
        assert time.monotonic() - began < 10.0
        assert other.counts()["answered"] == 8
    finally:
        still.signal(signal.SIGCONT)
    wait_for(lambda: one.metric("guideway_gateway_retries_total") == waiting)
    for client in clients:
        client.socket.close()


@pytest.mark.catalogue("A15")
def test_without_replicas_it_says_so_at_once_and_serves_again_when_one_is_back(shared, replica):
    first = replica()
    shared.serve(first)
    first.die()
    for _ in range(3):
        replies = at_once(shared.port, 20, chat(shared.key))
        assert {reply.status for reply in replies} <= {502, 503}
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in replies if reply.status == 503)
    replies = at_once(shared.port, 20, chat(shared.key))
    assert {reply.status for reply in replies} == {503}
    replica(port=first.port)
    wait_for(
        lambda: {reply.status for reply in at_once(shared.port, 12, chat(shared.key))} == {200}, 5.0, "the recovery"
    )


@pytest.mark.catalogue("A16")
def test_when_half_of_all_answers_are_errors_retries_stay_within_their_budget(system, replica):
    good, bad = unary(), unary(b'{"error":{}}', "503 Service Unavailable")
    calls = iter(range(10_000_000))

    async def half(paper, asked, reader, writer):
        await (bad if next(calls) % 2 else good)(paper, asked, reader, writer)

    behind = [replica(half) for _ in range(3)]
    one = system(*behind)
    with Load(one.port, clients=8, streams=False, key=one.key, allowed=(200, 502, 503)) as load:
        load.more(drill(1500, 20_000))
    asked = sum(len(paper.asked) for paper in behind)
    assert asked <= 1.2 * load.answers + 40, "and a few that each worker may save up"


# Routes and workers.


@pytest.mark.catalogue("A17")
def test_a_hundred_changes_of_route_and_keys_under_load_fail_no_request(system, replicas):
    behind = [replicas(), replicas()]
    one = system(*behind)
    ports = [paper.port for paper in behind]
    with Load(one.port, key=one.key) as load:
        for number in range(100):
            one.routes([ports[number % 2]], ports, weight=(number % 5) / 4)
            if number % 20 == 0:
                one.new_key(f"key {number}")
            load.more(drill(4, 50))
    assert load.wrong == []
    assert len(load.releases) == 2


@pytest.mark.catalogue("A18")
def test_workers_are_replaced_under_load_again_and_again_and_no_request_fails(system, replicas):
    one = system(replicas())
    with Load(one.port, key=one.key) as load:
        for _ in range(drill(3, 20)):
            before = set(one.workers)
            one.signal(signal.SIGHUP)
            wait_for(lambda before=before: not before & set(one.workers), 30, "all workers being replaced")
            load.more(20)
            wait_for(lambda before=before: not any(map(is_alive, before)), 20, "the old workers leaving")
    assert load.wrong == []
    assert set(load.statuses) == {200}


@pytest.mark.catalogue("A18")
def test_sigterm_of_the_whole_gateway_answers_what_is_under_way_and_companions_leave_last(system, replicas):
    one = system(replicas(0.3))
    clients = [Client(one.port) for _ in range(30)]
    for client in clients:
        client.send(chat(one.key))
    (behind,) = one.replicas
    wait_for(lambda: behind.counts()["asked"] == 30, what="all being asked")
    beside = [one.companion(name) for name in ("limits", "admin", "batches")]
    assert None not in beside
    one.signal(signal.SIGTERM)
    assert {client.reply().status for client in clients} == {200}
    assert one.process.wait(20) == 0
    assert not any(map(is_alive, beside))
    for client in clients:
        client.socket.close()


@pytest.mark.catalogue("A19")
def test_a_worker_killed_under_load_fails_only_what_it_had_under_way(system, replicas):
    slow = replicas(1.0)
    one = system(slow)
    for _ in range(drill(2, 20)):
        clients = [Client(one.port) for _ in range(24)]
        for client in clients:
            assert client.ask("GET", "/healthz").status == 200
            client.send(chat(one.key))
        victim = one.workers[0]
        mine = connections_of(victim, clients)
        os.kill(victim, signal.SIGKILL)
        statuses = [outcome(client) for client in clients]
        assert any(mine)
        assert {status for status, own in zip(statuses, mine, strict=True) if not own} <= {200}
        broken = [status for status, own in zip(statuses, mine, strict=True) if own]
        assert None in broken
        assert set(broken) <= {None, 200}, "what was answered before it was killed stays answered"
        assert {reply.status for reply in at_once(one.port, 16, chat(one.key))} == {200}, "new connections wait"
        wait_for(lambda victim=victim: victim not in one.workers, 20, "another worker")
        for client in clients:
            client.socket.close()


def outcome(client):
    """The status of the answer; None: the connection broke."""
    try:
        return client.reply().status
    except (EOFError, ConnectionError):
        return None


# Clients that leave.


@pytest.mark.catalogue("A21")
def test_a_client_that_leaves_in_a_stream_frees_the_replica_and_nothing_leaks(system, replicas):
    slow = replicas(0.05)
    one = system(slow)
    for _ in range(drill(3, 50)):
        clients = [Client(one.port) for _ in range(20)]
        for client in clients:
            client.send(chat(one.key, stream=True))
        for client in clients:
            client.until(b"token 1 ")
        left = slow.counts()["left"]
        for client in clients:
            client.socket.close()
        wait_for(lambda left=left: slow.counts()["left"] == left + 20, 1.0, "the replica seeing them go")
    wait_for(one.settled, 5.0, "nothing being under way")
    assert slow.counts()["streams"] == 0
    assert {reply.status for reply in at_once(one.port, 40, chat(one.key))} == {200}


@pytest.mark.catalogue("A21")
def test_clients_that_leave_while_they_wait_for_a_place_leave_no_trace(system, replicas):
    slow = replicas(0.3, 4)
    narrow = msgspec.structs.replace(OPTIONS.admission, concurrent=4, queue=64, wait=10.0)
    one = system(slow, options=msgspec.structs.replace(OPTIONS, admission=narrow))
    for _ in range(drill(2, 20)):
        clients = [Client(one.port) for _ in range(40)]
        for client in clients:
            client.send(chat(one.key))
        wait_for(lambda: slow.counts()["working"] == 4, what="all places being taken")
        for client in clients:
            client.socket.close()
    wait_for(one.settled, 10.0, "nothing being under way")
    assert {reply.status for reply in at_once(one.port, 4, chat(one.key))} == {200}


def test_a_replica_that_hangs_is_given_up_in_time(system, replicas):
    silent = replicas(3600.0)
    hasty = msgspec.structs.replace(OPTIONS, routing=Routing(affinity=0, timeout=1.0))
    one = system(silent, options=hasty)
    replies = at_once(one.port, 8, chat(one.key))
    assert {reply.status for reply in replies} == {504}
    wait_for(one.settled, 5.0, "nothing being under way")
