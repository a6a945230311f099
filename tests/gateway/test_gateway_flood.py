"""Floods: more requests than can be served, clients that dawdle, bodies without end. Those who behave are served on."""

from __future__ import annotations

import resource
import select
import socket
import threading

import msgspec
import pytest
from gateway_paper import SSE_HEAD, chunk, event, unary
from gateway_rig import CHAT, OPTIONS, Client, wait_for
from system_rig import Load, at_once, bearer, chat, drill, replicas, shared, system

pytestmark = pytest.mark.thorough

__all__ = ["replicas", "shared", "system"]

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def _many_files():
    """Thousands of sockets in this process and in those that it starts."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert before[1] >= 4096
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 65_536), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def fast(system, count=200):
    """A client in a hurry: *count* requests over a few connections, every one of them answered."""
    for _ in range(count // 10):
        assert {reply.status for reply in at_once(system.port, 10, chat(system.key))} == {200}


def opened(port, count, receive_buffer=None):
    return [Client(port, receive_buffer=receive_buffer) for _ in range(count)]


def close(clients):
    for client in clients:
        client.socket.close()


def grown(system, before):
    """By how many bytes the workers grew, all together."""
    after = system.memory()
    assert after.keys() == before.keys(), "nobody died"
    return sum(after.values()) - sum(before.values())


def warmed(system):
    fast(system, 400)
    return system.memory()


# Clients that dawdle.


@pytest.mark.catalogue("A20")
def test_a_thousand_clients_that_send_a_byte_now_and_then_keep_nobody_waiting(shared):
    warmed(shared)
    slow = opened(shared.port, 1000)
    data = chat(shared.key)
    before = shared.memory()
    for step in range(20):
        for client in slow:
            client.send(data[step : step + 1])
        fast(shared, 10)
    fast(shared)
    assert grown(shared, before) <= 20 * MEGABYTE
    for client in slow[:50]:
        client.send(data[20:])
    assert {client.reply().status for client in slow[:50]} == {200}, "they are slow, not wrong"
    close(slow)
    wait_for(shared.settled, what="nothing being under way")


@pytest.mark.catalogue("A20")
@pytest.mark.catalogue("B29")
def test_a_thousand_streams_that_nobody_reads_keep_nobody_waiting_and_are_capped(system, replicas):
    endless = replicas(0.05)
    wide = msgspec.structs.replace(OPTIONS.admission, concurrent=2000)
    one = system(endless, options=msgspec.structs.replace(OPTIONS, admission=wide))
    before = warmed_slowly(one)
    count = 1000
    deaf = opened(one.port, count, receive_buffer=4096)
    for client in deaf:
        client.send(chat(one.key, stream=True))
    wait_for(lambda: endless.counts()["streams"] == count, 30, "all streams running")
    for _ in range(10):
        assert {reply.status for reply in at_once(one.port, 10, chat(one.key))} == {200}
    assert grown(one, before) <= count * 128 * 1024, "each is capped at the two buffers of its connections"
    close(deaf)
    wait_for(lambda: endless.counts()["streams"] == 0, 20, "the replica seeing them go")
    wait_for(one.settled, what="nothing being under way")


def warmed_slowly(system):
    assert {reply.status for reply in at_once(system.port, 100, chat(system.key))} == {200}
    return system.memory()


@pytest.mark.catalogue("B29")
def test_a_stream_that_nobody_reads_stops_the_replica_instead_of_filling_the_worker(system, replica):
    piece = chunk(event("x" * 8000))

    async def flood(paper, asked, reader, writer):
        if b'"stream": true' not in asked.body:
            await unary()(paper, asked, reader, writer)
            return
        writer.write(SSE_HEAD)
        while paper.written < 1024 * MEGABYTE:
            writer.write(piece)
            paper.written += len(piece)
            await writer.drain()

    paper = replica(flood)
    one = system(paper)
    before = warmed(one)
    deaf = opened(one.port, 20, receive_buffer=4096)
    for client in deaf:
        client.send(chat(one.key, stream=True))
    stands_still(paper)
    assert paper.written < 20 * 16 * MEGABYTE
    assert grown(one, before) <= 20 * MEGABYTE
    fast(one, 100)
    close(deaf)
    wait_for(one.settled, what="nothing being under way")


def stands_still(paper):
    """Wait until the replica could write nothing more for a while."""
    seen = [0]

    def unchanged():
        seen.append(paper.written)
        threading.Event().wait(0.02)
        return paper.written > 0 and len(seen) > 25 and len(set(seen[-25:])) == 1

    wait_for(unchanged, 20, "the replica being held back")


# Too much, too deep, too small.


def oversize(key):
    return f"POST {CHAT} HTTP/1.1\r\nHost: g\r\n{bearer(key)}Content-Length: {64 * MEGABYTE}\r\n\r\n".encode()


def deep(key):
    body = b'{"model":"poet","messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    return f"POST {CHAT} HTTP/1.1\r\nHost: g\r\n{bearer(key)}Content-Length: {len(body)}\r\n\r\n".encode() + body


def crumbs(key):
    """Three megabytes in chunks of which each is six bytes long on the wire, one of them content."""
    head = f"POST {CHAT} HTTP/1.1\r\nHost: g\r\n{bearer(key)}Transfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"1\r\nx\r\n" * (3 * MEGABYTE // 6) + b"0\r\n\r\n"


def boundary(key):
    """An upload of a file whose parts are told apart by a line of a megabyte."""
    line = b"b" * MEGABYTE
    body = b"--" + line + b"\r\n\r\nx\r\n--" + line + b"--\r\n"
    head = f"POST /v1/files HTTP/1.1\r\nHost: g\r\n{bearer(key)}Content-Type: multipart/form-data; boundary="
    return head.encode() + line + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.catalogue("B26")
@pytest.mark.parametrize(
    ("make", "statuses"), [(oversize, {413}), (deep, {400}), (crumbs, {400, 413}), (boundary, {400, 413, 431})]
)
def test_a_body_that_is_made_to_hurt_is_refused_and_the_worker_stays_small(shared, make, statuses):
    before = warmed(shared)
    assert {status(shared.port, make(shared.key)) for _ in range(drill(10, 200))} <= statuses
    assert grown(shared, before) <= 2 * 20 * MEGABYTE
    fast(shared, 40)


def status(port, data):
    """The status of the answer, which may come before everything is sent."""
    with Client(port) as client:
        try:
            client.send(data)
        except ConnectionError:
            assert select.select([client.socket], [], [], 5)[0]
        return client.head()[0]


@pytest.mark.catalogue("B26")
def test_many_bodies_that_never_end_at_once_are_bounded_by_the_limit_for_one(shared):
    before = warmed(shared)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: g\r\n{bearer(shared.key)}Content-Length: {MEGABYTE}\r\n\r\n".encode()
    hanging = opened(shared.port, 20)
    for client in hanging:
        client.send(head + b"x" * (MEGABYTE // 2))
    fast(shared, 40)
    assert grown(shared, before) <= 2 * 20 * MEGABYTE
    close(hanging)


# More than can be served.


@pytest.mark.catalogue("A26")
def test_three_times_overload_is_served_like_the_peak_and_the_rest_is_told_at_once(system, replicas):
    places, seconds = 16, 0.1
    replica = replicas(seconds, places)
    narrow = msgspec.structs.replace(OPTIONS.admission, concurrent=places, queue=places, wait=0.2)
    one = system(replica, options=msgspec.structs.replace(OPTIONS, admission=narrow))
    peak = goodput(one, replica, clients=places + 8)
    flood = goodput(one, replica, clients=4 * places, overload=True)
    assert flood >= 0.9 * peak, (flood, peak)
    assert replica.counts()["most"] <= places, "the replica is never asked for more than it has places"


def goodput(system, replica, clients, *, overload=False):
    """How many answers the replica gave in a second of its own clock; clients that are refused try again and again."""
    load = Load(system.port, clients=clients, streams=False, key=system.key, allowed=(200, 429), pause=0.1)
    with load:
        before = replica.counts()
        wait_for(lambda: replica.counts()["answered"] >= before["answered"] + drill(200, 3000), 60, "enough answers")
        after = replica.counts()
    assert load.wrong == []
    assert bool(load.statuses[429]) or not overload
    return (after["answered"] - before["answered"]) / (after["now"] - before["now"])


@pytest.mark.catalogue("A26")
def test_what_does_not_fit_is_429_with_retry_after_and_nothing_is_lost(system, replicas):
    replica = replicas(0.2, 8)
    narrow = msgspec.structs.replace(OPTIONS.admission, concurrent=8, queue=4, wait=5.0)
    one = system(replica, options=msgspec.structs.replace(OPTIONS, admission=narrow))
    replies = at_once(one.port, 200, chat(one.key))
    served = [reply for reply in replies if reply.status == 200]
    refused = [reply for reply in replies if reply.status == 429]
    assert len(served) + len(refused) == 200
    assert len(served) == 8 + 2 * 4 == replica.counts()["answered"], "the places, and the queue of each worker"
    assert {reply.json()["error"]["code"] for reply in refused} == {"overloaded"}
    assert {reply.headers["retry-after"] for reply in refused} == {"5"}


# For a long time.


@pytest.mark.catalogue("A25")
def test_the_memory_of_a_worker_stays_flat_over_many_requests(shared):
    many = drill(20_000, 1_000_000)
    pipelined(shared, many // 2)
    before = shared.memory()
    pipelined(shared, many // 2)
    assert grown(shared, before) <= 2 * MEGABYTE


def pipelined(system, count, ahead=16):
    """*count* requests over four connections, several sent before the answers to them are read."""
    data = chat(system.key) * ahead
    clients = opened(system.port, 4)
    for _ in range(count // (4 * ahead)):
        for client in clients:
            client.send(data)
        for client in clients:
            for _ in range(ahead):
                assert client.reply().status == 200
    close(clients)


@pytest.mark.catalogue("A25")
def test_connections_that_come_and_go_leave_nothing_behind(shared):
    many = drill(1000, 20_000)
    come_and_go(shared.port, many)
    before = shared.memory()
    come_and_go(shared.port, many)
    assert grown(shared, before) <= 2 * MEGABYTE
    fast(shared, 40)


def come_and_go(port, count):
    for number in range(count):
        with socket.create_connection(("127.0.0.1", port)) as one:
            if number % 2:
                one.sendall(b"POST /v1/chat/comp")
