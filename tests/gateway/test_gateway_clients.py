"""Clients that send ahead, leave, dawdle or read slowly, and what happens to them when the worker leaves."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from gateway_paper import DONE, SSE_HEAD, chat_or_stream, chunk, completion, event, held, unary
from gateway_rig import KEY, MODEL, Client, request, wait_for

STREAM = {"model": MODEL, "stream": True, "messages": []}


def refusing(replica):
    """A replica whose port refuses connections."""
    one = replica()
    one.die()
    return one


def test_pipelined_requests_are_answered_in_order(gateway, replica, client):
    one = replica(chat_or_stream("a", "b"))
    gateway.serve(one)
    client.send(
        request(body=STREAM)
        + request("GET", "/healthz")
        + request()
        + request("GET", "/nowhere")
        + request(body=b"{")
        + request(body=STREAM)
        + request("GET", "/v1/models")
    )
    replies = [client.reply() for _ in range(7)]
    assert [reply.status for reply in replies] == [200, 200, 200, 404, 400, 200, 200]
    assert replies[0].body == replies[5].body == event("a") + event("b") + DONE
    assert replies[2].body == completion("ab")


def test_hundreds_of_pipelined_requests_are_answered_while_reading_pauses(gateway, replica, client):
    one = replica(unary(b"{}"))
    gateway.serve(one)
    many = request() * 50 + request("GET", "/healthz") * 500
    sender = threading.Thread(target=client.send, args=(many,))
    sender.start()
    assert [client.reply().status for _ in range(550)] == [200] * 550
    sender.join(5)
    assert len(one.asked) == 50


def test_bodies_sent_ahead_do_not_pile_up_in_memory(gateway, replica, client):
    one = replica(held(unary(b"{}")))
    gateway.serve(one)
    large = request(body={"model": MODEL, "x": "y" * 500_000})
    sender = threading.Thread(target=client.send, args=(large * 40,))
    sender.start()
    wait_for(lambda: one.asked)
    (connection,) = wait_connections(gateway)
    wait_for(lambda: not connection._reading)
    assert len(connection._reader.ready) <= 2
    one.release()
    assert [client.reply().status for _ in range(40)] == [200] * 40
    sender.join(5)


def test_nothing_after_a_connection_close_is_read(gateway, replica, client):
    one = replica()
    gateway.serve(one)
    client.send(request(headers=f"Authorization: Bearer {KEY}\r\nConnection: close\r\n") + request())
    assert client.reply().headers["connection"] == "close"
    assert client.ends() == b""
    assert len(one.asked) == 1


@pytest.mark.parametrize("leave", ["close", "reset", "half"])
@pytest.mark.parametrize("when", ["before the answer", "in the stream"])
def test_when_the_client_leaves_the_replica_sees_it_within_a_second(gateway, replica, leave, when):
    async def endless(replica, asked, reader, writer):
        writer.write(SSE_HEAD + chunk(event("a")))
        await reader.read(1)
        raise ConnectionResetError

    one = replica(endless if when == "in the stream" else held(unary()))
    gateway.serve(one)
    client = Client(gateway.port)
    client.send(request(body=STREAM))
    wait_for(lambda: one.asked)
    if when == "in the stream":
        client.until(event("a"))
    if leave == "reset":
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    if leave == "half":
        client.socket.shutdown(socket.SHUT_WR)
    else:
        client.socket.close()
    wait_for(lambda: one.closed == 1, 1.0, "the replica's connection closing")
    wait_for(lambda: not gateway.server.connections)
    assert gateway.plane.table.backends()[0].outstanding == 0
    client.socket.close()


def test_a_client_that_leaves_while_a_connection_is_made_costs_nothing(gateway, replica, monkeypatch):
    one = replica()
    gateway.serve(one)
    waiting = []
    connect = gateway.plane.pools.connect
    monkeypatch.setattr(gateway.plane.pools, "connect", lambda *arguments: waiting.append(arguments))
    with Client(gateway.port) as client:
        client.send(request())
        wait_for(lambda: waiting)
    wait_for(lambda: not gateway.server.connections)
    assert gateway.plane.table.backends()[0].outstanding == 0
    monkeypatch.undo()
    gateway.loop.call(connect, *waiting[0])
    wait_for(lambda: one.connections == 1)
    with Client(gateway.port) as client:
        assert client.ask().status == 200
    assert (len(one.asked), one.connections) == (1, 1), "nobody asked for the first; its connection was kept"


def test_a_slow_reader_holds_the_replica_back_and_memory_stays_bounded(gateway, replica):
    piece = event("x" * 8000)

    async def flood(replica, asked, reader, writer):
        writer.transport.set_write_buffer_limits(high=65536)
        writer.write(SSE_HEAD)
        for _ in range(4000):
            writer.write(chunk(piece))
            await writer.drain()
            replica.written += len(piece)
        writer.write(b"0\r\n\r\n")

    one = replica(flood)
    gateway.serve(one)
    with Client(gateway.port, receive_buffer=65536) as client:
        client.send(request(body=STREAM))
        client.head()
        (connection,) = gateway.server.connections
        wait_for(lambda: connection._paused)
        seen = -1

        def stands_still():
            nonlocal seen
            before, seen = seen, one.written
            return before == seen

        wait_for(stands_still)
        assert one.written < 16_000_000
        assert connection._transport.get_write_buffer_size() < 1_000_000
        body = b"".join(client.chunks())
    assert body == piece * 4000


def test_a_client_that_reads_nothing_for_a_minute_is_cut(gateway, replica):
    async def flood(replica, asked, reader, writer):
        writer.write(SSE_HEAD)
        while True:
            writer.write(chunk(b"data: " + b"x" * 60_000 + b"\n\n"))
            await writer.drain()

    one = replica(flood)
    gateway.serve(one)
    with Client(gateway.port, receive_buffer=65536) as client:
        client.send(request(body=STREAM))
        client.head()
        (connection,) = gateway.server.connections
        wait_for(lambda: connection._paused)
        gateway.later(70)
        wait_for(lambda: one.closed == 1)


def test_a_request_that_dribbles_in_is_408(gateway, client):
    client.send("GET /healthz HTTP/1.1\r\nHost: g\r\n")
    (connection,) = wait_connections(gateway)
    wait_for(lambda: connection._reader.partial)
    gateway.later(40)
    client.send("X: 1\r\n")
    gateway.later(30)
    assert client.reply().status == 408
    assert client.ends() == b""


def test_an_idle_connection_is_closed_after_its_time(gateway, client):
    client.ask("GET", "/healthz")
    gateway.later(60)
    client.ask("GET", "/healthz")
    gateway.later(60)
    client.ask("GET", "/healthz")
    gateway.later(80)
    assert client.ends() == b""


def wait_connections(gateway):
    wait_for(lambda: gateway.server.connections)
    return tuple(gateway.server.connections)


def test_draining_ends_requests_under_way_and_tells_the_others_to_close(gateway, replica):
    one = replica(held(unary()))
    gateway.serve(one)
    with Client(gateway.port) as waiting, Client(gateway.port) as idle, Client(gateway.port) as busy:
        assert idle.ask("GET", "/healthz").status == 200
        busy.ask("GET", "/healthz")
        waiting.send(request())
        wait_for(lambda: one.asked)
        drained = threading.Thread(target=lambda: gateway.loop.run(gateway.server.drain(8.0)))
        drained.start()
        wait_for(lambda: gateway.plane.draining)
        assert busy.ask("GET", "/healthz").headers["connection"] == "close"
        assert idle.ends() == b""
        one.release()
        reply = waiting.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        drained.join(5)
        assert not drained.is_alive()


@pytest.mark.parametrize("streams", [True, False])
def test_what_is_not_done_when_the_drain_must_end_is_told_so(gateway, replica, client, streams):
    async def begun(replica, asked, reader, writer):
        writer.write(SSE_HEAD + chunk(event("a")))
        await held(unary())(replica, asked, reader, writer)

    one = replica(begun if streams else held(unary()))
    gateway.serve(one)
    client.send(request(body=STREAM))
    wait_for(lambda: one.asked)
    pieces = client.chunks()
    if streams:
        client.head()
        assert next(pieces) == event("a")
    assert gateway.loop.run(gateway.server.drain(0.1)) == 1
    if streams:
        (last,) = pieces
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "stopping"
    else:
        assert client.reply().status == 503
    assert client.ends() == b""
    wait_for(lambda: one.closed == 1)
