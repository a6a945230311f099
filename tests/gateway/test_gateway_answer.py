"""How an answer is framed for the client: never by what a replica said of a body that is changed on its way."""

from __future__ import annotations

import msgspec
import pytest
from gateway_paper import DONE, chunk, completion, event, raw, unary
from gateway_rig import AUTHORIZED, CHAT, MODEL, OPTIONS, Client, request

from guideway.core.spec.gateway import Cache, Masking
from guideway.core.terms import Terms

LONG = "a" * 60 + "@example.com"
STREAM = {"model": MODEL, "stream": True, "temperature": 0, "messages": [{"role": "user", "content": f"mail {LONG}"}]}
EVENTS = event("to [EMAIL_1]!") + event("") + DONE
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {}\r\n"


def with_length(kind="text/event-stream"):
    return raw(HEAD.format(kind).encode() + b"Content-Length: %d\r\n\r\n" % len(EVENTS) + EVENTS)


def in_chunks(kind):
    body = chunk(EVENTS) + b"0\r\n\r\n"
    return raw(HEAD.format(kind).encode() + b"Transfer-Encoding: chunked\r\n\r\n" + body)


@pytest.fixture
def masked(made):
    return made(msgspec.structs.replace(OPTIONS, masking=Masking(), cache=Cache()))


@pytest.mark.parametrize("kind", ["text/event-stream", "Text/Event-Stream; charset=utf-8"])
def test_events_are_sent_in_chunks_whatever_length_the_replica_told(masked, replica, kind):
    one = replica(with_length(kind))
    masked.serve(one, terms=Terms())
    with Client(masked.port) as client:
        reply = client.ask(body=STREAM)
        assert "content-length" not in reply.headers
        assert LONG.encode() in reply.body and reply.body.endswith(DONE)
        one.answer = unary(completion("the next one"))
        assert b"the next one" in client.ask().body, "the connection is in step"


def test_events_that_were_kept_are_sent_in_chunks_however_their_kind_is_spelled(masked, replica):
    masked.serve(replica(in_chunks("Text/Event-Stream")), terms=Terms())
    with Client(masked.port) as client:
        replies = [client.ask(body=STREAM) for _ in range(2)]
        assert [one.headers["x-guideway-cache"] for one in replies] == ["miss", "hit"]
        assert "content-length" not in replies[1].headers
        assert replies[0].body == replies[1].body
        assert client.rest == b""


def test_for_http_1_0_events_with_a_length_end_with_the_connection(masked, replica):
    masked.serve(replica(with_length()), terms=Terms())
    with Client(masked.port) as client:
        asked = request(body=STREAM, headers=AUTHORIZED + "Connection: keep-alive\r\n")
        client.send(asked.replace(b"HTTP/1.1", b"HTTP/1.0"))
        _, headers = client.head()
        assert headers["connection"] == "close" and "content-length" not in headers
        assert client.ends().endswith(DONE)


def test_no_events_at_all_are_no_stream(gateway, replica, client):
    gateway.serve(replica(raw(b"HTTP/1.1 204 No Content\r\nContent-Type: text/event-stream\r\n\r\n")))
    client.send(request("POST", CHAT))
    assert client.reply(bodiless=True).status == 204
    assert client.ask("GET", "/healthz").status == 200
