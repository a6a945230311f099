"""What is passed on between client and replica, whole or as it comes, and to which replica."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from gateway_paper import DONE, SSE_HEAD, chunk, event, held, http, raw, stream, unary
from gateway_rig import CANDIDATE, CHAT, KEY, MODEL, STABLE, Client, request, wait_for

STREAM = {"model": MODEL, "stream": True, "messages": []}


def refusing(replica):
    """A replica whose port refuses connections."""
    one = replica()
    one.die()
    return one


def test_an_answer_comes_back_whole_with_our_headers(gateway, replica, client):
    gateway.serve(replica(unary(b'{"a": 1}', "201 Created", "Content-Type: text/x\r\nOpenAI-Processing-Ms: 3\r\n")))
    reply = client.ask()
    assert (reply.status, reply.body) == (201, b'{"a": 1}')
    assert (reply.headers["content-type"], reply.headers["openai-processing-ms"]) == ("text/x", "3")
    assert reply.headers["x-guideway-release"] == STABLE[7:19]
    assert len(reply.headers["x-request-id"]) == 48
    assert 0 <= float(reply.headers["x-guideway-overhead-ms"]) < 1000
    assert reply.headers["date"].endswith("GMT")


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
@pytest.mark.parametrize(
    "body",
    [b'{"model":"poet","weight":1.50e3,"x":"\\u00e9"}', b' {"model" : "poet"}\n', b'{"model":"poet","a":"\xc3\xa9"}'],
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
    gateway.serve(replica(unary(headers=held_back + ours + "OpenAI-Version: 1\r\n")))
    headers = client.ask().headers
    assert headers["openai-version"] == "1"
    assert not {"x-hop", "keep-alive", "server", "set-cookie", "connection", "upgrade"} & set(headers)
    assert "theirs" not in headers.values()


@pytest.mark.parametrize(
    "line",
    [
        "X-Accel-Redirect: /etc/passwd",
        "X-Sendfile: /etc/passwd",
        "X-Accel-Buffering: yes",
        "Clear-Site-Data: *",
        "Access-Control-Allow-Origin: *",
        "Location: http://elsewhere.example/",
        "Refresh: 0;url=http://elsewhere.example/",
        "Cache-Control: public, max-age=600",
        "WWW-Authenticate: Basic",
        "Connection: retry-after\r\nRetry-After: 7",
        "X-Unheard-Of: 1",
    ],
)
def test_no_header_of_the_replica_reaches_a_proxy_or_a_browser(gateway, replica, client, line):
    gateway.serve(replica())
    usual = set(client.ask().headers)
    gateway.serve(replica(unary(headers=f"{line}\r\nX-RateLimit-Remaining-Tokens: 9\r\nContent-Type: a/b\r\n")))
    assert set(client.ask().headers) - usual == {"x-ratelimit-remaining-tokens"}


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
    gateway.loop.call(gateway.plane.tick)
    wait_for(lambda: one.closed == 2)


def test_connections_to_an_endpoint_that_left_the_route_are_closed(gateway, replica, client):
    old, new = replica(), replica()
    gateway.serve(old)
    client.ask()
    gateway.serve(new)
    wait_for(lambda: old.closed == 1)
    assert client.ask().status == 200
    assert len(new.asked) == 1


def test_a_request_under_way_when_its_endpoint_leaves_the_route_ends_and_its_connection_too(gateway, replica, client):
    old, new = replica(held(unary())), replica()
    gateway.serve(old)
    client.send(request())
    wait_for(lambda: old.asked)
    gateway.serve(new)
    old.release()
    assert client.reply().status == 200
    wait_for(lambda: old.closed == 1)


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
