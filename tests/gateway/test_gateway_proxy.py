"""A request on its way to a replica and back: what is passed on, what is not, and what happens when it breaks."""

from __future__ import annotations

import asyncio
import json
import socket
import threading

import pytest
from gateway_rig import (
    CANDIDATE,
    CHAT,
    DONE,
    KEY,
    MODEL,
    SSE_HEAD,
    STABLE,
    Client,
    chat_or_stream,
    chunk,
    completion,
    event,
    held,
    http,
    raw,
    request,
    stream,
    unary,
    wait_for,
)

STREAM = {"model": MODEL, "stream": True, "messages": []}


def refusing(replica):
    """A replica whose port refuses connections."""
    one = replica()
    one.die()
    return one


# What is passed on.


def test_an_answer_comes_back_whole_with_our_headers(gateway, replica, client):
    gateway.serve(replica(unary(b'{"a": 1}', "201 Created", "Content-Type: text/x\r\nX-Model-Time: 3\r\n")))
    reply = client.ask()
    assert (reply.status, reply.body) == (201, b'{"a": 1}')
    assert (reply.headers["content-type"], reply.headers["x-model-time"]) == ("text/x", "3")
    assert reply.headers["x-guideway-release"] == STABLE[7:19]
    assert len(reply.headers["x-request-id"]) == 32
    assert 0 <= float(reply.headers["x-guideway-overhead-ms"]) < 1000
    assert reply.headers["date"].endswith("GMT")


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
@pytest.mark.parametrize(
    "body", [b'{"model":"poet","n":1e400,"x":"\\u00e9"}', b' {"model" : "poet"}\n', b'{"model":"poet","a":"\xc3\xa9"}']
)
def test_the_body_reaches_the_replica_byte_for_byte(gateway, replica, client, path, body):
    one = replica()
    gateway.serve(one)
    assert client.ask(path=path + "?a=b", body=body).status == 200
    assert (one.asked[0].body, one.asked[0].first) == (body, f"POST {path} HTTP/1.1")


def test_a_chunked_body_reaches_the_replica_with_its_length(gateway, replica, client):
    one = replica()
    gateway.serve(one)
    client.send(f"POST {CHAT} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(chunk(b'{"model":') + chunk(b'"poet"}') + b"0\r\nX-Trailer: 1\r\n\r\n")
    assert client.reply().status == 200
    assert one.asked[0].body == b'{"model":"poet"}'
    assert "x-trailer" not in one.asked[0].headers


def test_the_replica_sees_no_header_of_the_client_but_type_and_trace(gateway, replica, client):
    one = replica()
    gateway.serve(one)
    lines = {
        "Authorization": f"Bearer {KEY}",
        "Content-Type": "application/json; charset=utf-8",
        "traceparent": "00-a-b-01",
        "Cookie": "secret=1",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "Keep-Alive": "timeout=5",
        "TE": "trailers",
        "Proxy-Authorization": "Basic x",
        "X-Forwarded-For": "1.2.3.4",
        "Accept-Encoding": "gzip",
    }
    reply = client.ask(headers="".join(f"{name}: {value}\r\n" for name, value in lines.items()))
    seen = one.asked[0].headers
    assert set(seen) == {"host", "content-type", "x-request-id", "traceparent", "content-length"}
    assert seen["host"] == f"127.0.0.1:{one.port}"
    assert seen["x-request-id"] == reply.headers["x-request-id"]


def test_the_client_sees_no_hop_by_hop_header_of_the_replica(gateway, replica, client):
    held_back = "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nServer: s\r\nSet-Cookie: a=b\r\n"
    ours = "X-Request-Id: theirs\r\nX-Guideway-Release: theirs\r\nDate: theirs\r\nUpgrade: h2c\r\n"
    gateway.serve(replica(unary(headers=held_back + ours + "X-Kept: 1\r\n")))
    headers = client.ask().headers
    assert headers["x-kept"] == "1"
    assert not {"x-hop", "keep-alive", "server", "set-cookie", "connection", "upgrade"} & set(headers)
    assert "theirs" not in headers.values()


def test_connections_to_the_replica_are_kept_and_used_again(gateway, replica):
    one = replica()
    gateway.serve(one)
    for _ in range(3):
        with Client(gateway.port) as client:
            assert client.ask().status == client.ask().status == 200
    assert (len(one.asked), one.connections) == (6, 1)


def test_a_connection_that_idled_too_long_is_closed_not_used(gateway, replica, client):
    one = replica()
    gateway.serve(one)
    client.ask()
    gateway.later(5)
    assert client.ask().status == 200
    wait_for(lambda: (one.connections, one.closed) == (2, 1))
    gateway.later(5)
    gateway.loop.call(gateway.plane.tick, 0.0)
    wait_for(lambda: one.closed == 2)


def test_connections_to_an_endpoint_that_left_the_route_are_closed(gateway, replica, client):
    old, new = replica(), replica()
    gateway.serve(old)
    client.ask()
    gateway.serve(new)
    wait_for(lambda: old.closed == 1)
    assert client.ask().status == 200
    assert len(new.asked) == 1


def test_interim_answers_of_the_replica_are_dropped(gateway, replica, client):
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Type: text/x\r\n\r\n"
    gateway.serve(replica(raw(b"HTTP/1.1 100 Continue\r\n\r\n" + interim + http(b"{}"))))
    reply = client.ask()
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"{}", "application/json")
    assert "link" not in reply.headers


def test_an_answer_that_ends_with_its_connection_is_passed_on_with_its_length(gateway, replica, client):
    gateway.serve(replica(raw(b"HTTP/1.1 200 OK\r\n\r\nall of it", close=True)))
    assert client.ask().body == b"all of it"


def test_an_answer_without_body_has_neither_length_nor_type(gateway, replica, client):
    gateway.serve(replica(raw(b"HTTP/1.1 204 No Content\r\n\r\n")))
    client.send(request())
    reply = client.reply(bodiless=True)
    assert reply.status == 204
    assert not {"content-length", "transfer-encoding", "content-type"} & set(reply.headers)
    assert client.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize("framed", ["length", "chunks"])
def test_a_long_answer_is_passed_on_as_it_comes(gateway, replica, client, framed):
    body = bytes(range(256)) * 16_000
    head = b"HTTP/1.1 200 OK\r\nContent-Type: x/y\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = b"".join(chunk(body[at : at + 70_000]) for at in range(0, len(body), 70_000))
    gateway.serve(replica(raw(http(body) if framed == "length" else head + pieces + b"0\r\n\r\n")))
    reply = client.ask()
    assert reply.body == body
    assert ("content-length" in reply.headers) == (framed == "length")


# Streams.


def test_events_come_as_they_are_made_not_at_the_end(gateway, replica, client):
    made = threading.Semaphore(0)

    async def answer(replica, asked, reader, writer):
        writer.write(SSE_HEAD)
        for number in range(3):
            writer.write(chunk(event(str(number))))
            await writer.drain()
            await asyncio.to_thread(made.acquire)
        writer.write(chunk(DONE) + b"0\r\n\r\n")

    gateway.serve(replica(answer))
    client.send(request(body=STREAM))
    status, headers = client.head()
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    pieces = client.chunks()
    for number in range(3):
        assert next(pieces) == event(str(number))
        made.release()
    assert list(pieces) == [DONE]
    assert client.ask("GET", "/healthz").status == 200


def test_a_stream_for_http_1_0_ends_with_the_connection(gateway, replica, client):
    gateway.serve(replica(stream(event("a"), DONE)))
    body = json.dumps(STREAM).encode()
    client.send(
        f"POST {CHAT} HTTP/1.0\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    _, headers = client.head()
    assert headers["connection"] == "close"
    assert "transfer-encoding" not in headers
    assert client.ends() == event("a") + DONE


@pytest.mark.parametrize("cut", [b"", b"\n", b"\n\n"])
def test_a_replica_that_dies_in_a_stream_leaves_an_error_event_of_its_own(gateway, replica, client, cut):
    begun = event("a") + b'data: {"half":' + cut
    gateway.serve(replica(raw(SSE_HEAD + chunk(begun), close=True)))
    client.send(request(body=STREAM))
    client.head()
    whole = b"".join(client.chunks())
    assert whole.startswith(begun)
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


# Replicas that fail before the first byte.


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
        b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_garbage_from_a_replica_is_502_and_not_repeated(gateway, replica, client, garbage):
    one, other = replica(raw(garbage)), replica(raw(garbage))
    gateway.serve(one, other)
    assert client.ask().status == 502
    assert len(one.asked) + len(other.asked) == 1


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
    wait_for(lambda: one.closed == 1)
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


# The route.


def test_the_replica_with_the_least_outstanding_requests_is_taken(gateway, replica):
    busy, idle = replica(held(unary())), replica()
    gateway.serve(busy)
    with Client(gateway.port) as waiting, Client(gateway.port) as client:
        waiting.send(request())
        wait_for(lambda: busy.asked)
        gateway.serve(busy, idle)
        assert [client.ask().status for _ in range(10)] == [200] * 10
        assert (len(busy.asked), len(idle.asked)) == (1, 10)
        busy.release()
        assert waiting.reply().status == 200


def test_the_candidate_gets_its_share_and_answers_carry_its_release(gateway, replica, client):
    stable, candidate = replica(), replica()
    gateway.serve(stable, candidate=[candidate], weight=0.5)
    releases = [client.ask().headers["x-guideway-release"] for _ in range(100)]
    assert set(releases) == {STABLE[7:19], CANDIDATE[7:19]}
    assert releases.count(CANDIDATE[7:19]) == len(candidate.asked)
    assert 30 <= len(candidate.asked) <= 70


def test_a_failed_request_is_repeated_in_its_own_arm_only(gateway, replica, client):
    stable, dying = replica(), replica(raw(b"", close=True))
    gateway.serve(stable, candidate=[dying], weight=1.0)
    assert client.ask().status == 502
    assert (len(stable.asked), len(dying.asked)) == (0, 2)


def test_a_request_whose_replica_left_with_the_old_route_is_repeated_on_the_new_one(gateway, replica, client):
    old, new = replica(held(raw(b"", close=True))), replica()
    gateway.serve(old)
    client.send(request())
    wait_for(lambda: old.asked)
    gateway.serve(new)
    old.release()
    assert client.reply().status == 200
    assert len(new.asked) == 1


# The client.


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


def test_a_client_that_leaves_while_a_connection_is_made_costs_nothing(gateway, replica):
    one = replica()
    gateway.serve(one)
    for _ in range(20):
        with Client(gateway.port) as client:
            client.send(request())
    wait_for(lambda: not gateway.server.connections)
    wait_for(lambda: gateway.plane.table.backends()[0].outstanding == 0)


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
            writer.write(chunk(b"x" * 60_000))
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
