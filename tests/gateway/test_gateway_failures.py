"""What clients see when a replica is gone, dies half-way, is silent or talks garbage."""

from __future__ import annotations

import json

import msgspec
import pytest
from gateway_paper import DONE, SSE_HEAD, chunk, completion, event, held, http, raw, unary
from gateway_rig import MODEL, STABLE, Client, request, route, wait_for

from guideway.core.route import Arm, Endpoint

STREAM = {"model": MODEL, "stream": True, "messages": []}


def refusing(replica):
    """A replica whose port refuses connections."""
    one = replica()
    one.die()
    return one


def test_a_refused_connection_is_tried_once_on_another_replica(gateway, replica, client):
    dead, alive = refusing(replica), replica()
    gateway.serve(dead, alive)
    assert [client.ask().status for _ in range(20)] == [200] * 20
    assert len(alive.asked) == 20


def test_a_connection_lost_before_the_first_byte_is_tried_once_on_another(gateway, replica, client):
    dying, alive = replica(raw(b"", close=True)), replica()
    gateway.serve(dying, alive)
    assert [client.ask().status for _ in range(6)] == [200] * 6
    assert len(dying.asked) >= 1
    assert len(alive.asked) == 6


def test_a_kept_connection_that_the_replica_closed_is_replaced(gateway, replica, client):
    one = replica()
    gateway.serve(one)
    client.ask()
    one.answer = raw(b"", close=True)
    assert client.ask().status == 502
    assert len(one.asked) == 3, "one request, and its one repetition"


def test_a_request_is_repeated_on_a_fresh_connection_for_the_kept_ones_may_all_be_stale(gateway, replica):
    used = set()

    async def once(replica, asked, reader, writer):
        if writer in used:
            raise ConnectionResetError
        used.add(writer)
        await held(unary())(replica, asked, reader, writer)

    one = replica(once)
    gateway.serve(one)
    with Client(gateway.port) as first, Client(gateway.port) as second:
        for client in (first, second):
            client.send(request())
        wait_for(lambda: len(one.asked) == 2)
        one.release()
        assert [first.reply().status, second.reply().status] == [200, 200]
        assert first.ask().status == 200
        assert (one.connections, len(one.asked)) == (3, 4)


def test_two_failures_are_502_and_no_third_replica_is_tried(gateway, replica, client):
    dying = [replica(raw(b"", close=True)) for _ in range(3)]
    gateway.serve(*dying)
    reply = client.ask()
    assert (reply.status, reply.json()["error"]["code"]) == (502, "upstream")
    assert sum(len(one.asked) for one in dying) == 2
    assert "127.0.0.1" not in reply.body.decode()


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_garbage_from_a_replica_reaches_nobody_and_another_one_is_asked(gateway, replica, client, garbage):
    one, other = replica(raw(garbage)), replica(raw(garbage))
    gateway.serve(one, other)
    assert client.ask().status == 502
    assert len(one.asked) == len(other.asked) == 1


def test_a_short_answer_that_breaks_off_is_502(gateway, replica, client):
    gateway.serve(replica(raw(http(completion())[:-3], close=True)))
    assert client.ask().status == 502


def test_bytes_after_an_answer_are_never_taken_for_the_next_one(gateway, replica, client):
    second = http(b'{"stolen":true}')
    one = replica(raw(http(b'{"mine":true}') + second))
    gateway.serve(one)
    for _ in range(3):
        assert client.ask().body == b'{"mine":true}'
    assert one.connections == 3


def test_a_replica_that_speaks_unasked_loses_its_connection(gateway, replica, client):
    writers = []

    async def answer(replica, asked, reader, writer):
        writers.append(writer)
        writer.write(http(b'{"n":1}'))

    one = replica(answer)
    gateway.serve(one)
    client.ask()
    gateway.loop.call(writers[0].write, http(b'{"stolen":true}'))
    wait_for(lambda: one.closed == 1, 2.0, "the connection closing before its time in the pool is over")
    assert client.ask().body == b'{"n":1}'


def test_a_silent_replica_is_504_after_the_time_limit(gateway, replica, client):
    one = replica(held(unary()))
    gateway.serve(one)
    client.send(request())
    wait_for(lambda: one.asked)
    gateway.later(500)
    gateway.later(200)
    assert client.reply().status == 504
    wait_for(lambda: one.closed == 1)


def stuck(gateway, replica, client, data, answer=None):
    """A request at one of two replicas, which is then found to stand still; the other one, and the backend of it."""
    still, other = replica(answer or held(unary())), replica(unary(b'{"n":2}'))
    gateway.serve(still)
    client.send(data)
    wait_for(lambda: still.asked)
    gateway.serve(still, other)
    (backend,) = [one for one in gateway.plane.table.backends() if one.endpoint.port == still.port]
    return still, other, backend


def stands_still(gateway, backend):
    assert gateway.loop.call(backend.eject, gateway.plane.clock(), "silent", 1000.0)


def test_a_request_that_waits_at_a_replica_that_stands_still_goes_to_another_one_after_five_seconds(
    gateway, replica, client
):
    still, other, backend = stuck(gateway, replica, client, request())
    stands_still(gateway, backend)
    gateway.later(4)
    assert other.asked == []
    gateway.later(2)
    assert client.reply().body == b'{"n":2}'
    wait_for(lambda: still.closed == 1)
    assert (backend.outstanding, gateway.plane.budget.spent) == (0, 1)


def test_a_request_that_waits_at_a_replica_that_is_only_busy_stays_there(gateway, replica, client):
    still, other, _ = stuck(gateway, replica, client, request())
    gateway.later(100)
    still.release()
    assert client.reply().status == 200
    assert other.asked == []


def test_a_request_waits_on_where_no_other_replica_is_well_or_the_budget_is_spent(gateway, replica, client):
    still, other, backend = stuck(gateway, replica, client, request())
    stands_still(gateway, backend)
    (well,) = [one for one in gateway.plane.table.backends() if one is not backend]
    well.ejected_until = gateway.plane.clock() + 1000.0
    gateway.later(10)
    well.ejected_until = 0.0
    while gateway.plane.budget.take():
        pass
    gateway.later(10)
    still.release()
    assert client.reply().status == 200
    assert other.asked == []


def test_a_stream_of_which_the_client_has_a_part_does_not_go_to_another_replica(gateway, replica, client):
    async def part(replica, asked, reader, writer):
        writer.write(SSE_HEAD + chunk(event("a")))
        await writer.drain()
        await replica.go.wait()
        writer.write(chunk(DONE) + b"0\r\n\r\n")
        await writer.drain()

    body = {"model": MODEL, "stream": True, "messages": []}
    still, other, backend = stuck(gateway, replica, client, request(body=body), part)
    client.head()
    pieces = client.chunks()
    assert next(pieces) == event("a")
    stands_still(gateway, backend)
    gateway.later(100)
    still.release()
    assert b"".join(pieces) == DONE
    assert other.asked == []


def test_an_endpoint_that_refuses_three_times_is_left_alone_for_a_second(gateway, replica, client):
    dead, alive = refusing(replica), replica()
    gateway.serve(dead, alive)
    (backend,) = [one for one in gateway.plane.table.backends() if one.endpoint.port == dead.port]
    asked = 0
    while backend.ejected_until == 0.0:
        client.ask()
        asked += 1
        assert asked < 20
    assert backend.ejected_until > gateway.plane.clock()
    gateway.later(2)
    assert backend.ejected_until <= gateway.plane.clock()


@pytest.mark.parametrize("cut", [b"", b"\n", b"\n\n"])
def test_a_replica_that_dies_in_a_stream_leaves_an_error_event_of_its_own(gateway, replica, client, cut):
    begun = event("a") + b'data: {"half":' + cut
    gateway.serve(replica(raw(SSE_HEAD + chunk(begun), close=True)))
    client.send(request(body=STREAM))
    client.head()
    whole = b"".join(client.chunks())
    assert whole.startswith(event("a") + b"data: ")
    assert whole.count(b"data: ") == (3 if cut == b"\n\n" else 2), "nobody can use half an event"
    last = whole.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "upstream"
    assert client.ends() == b""


def test_a_long_answer_that_breaks_off_is_cut_so_that_nobody_takes_it_for_whole(gateway, replica, client):
    body = b"x" * 2_000_000
    gateway.serve(replica(raw(http(body)[:-500_000], close=True)))
    client.send(request())
    _, headers = client.head()
    assert headers["content-length"] == "2000000"
    assert len(client.ends()) < 2_000_000


@pytest.mark.parametrize("host", ["", "a..b", "x" * 300])
def test_an_endpoint_whose_host_is_no_name_is_503(gateway, client, host):
    endpoints = (Endpoint(host, 1),)
    changed = msgspec.structs.replace(route(), stable=Arm(STABLE, endpoints))
    gateway.loop.call(gateway.plane.set_route, msgspec.json.encode(changed))
    assert client.ask().status == 503
