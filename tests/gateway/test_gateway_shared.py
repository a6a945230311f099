"""What requests share: answers that are known, places among those that run. Through the whole gateway."""

from __future__ import annotations

import json
import threading

import msgspec
import pytest
from gateway_paper import DONE, chat_or_stream, completion, event, held, raw, stream, unary
from gateway_rig import KEY, MODEL, OPTIONS, OTHER_KEY, Client, key_file, request, threads, wait_for

from guideway.core.route import Arm, Endpoint
from guideway.core.spec.gateway import Admission, Cache
from guideway.core.terms import Terms

CACHED = msgspec.structs.replace(OPTIONS, cache=Cache())
OTHER = f"Authorization: Bearer {OTHER_KEY}\r\n"


def body(text="hi", **more):
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


@pytest.fixture
def cached(made):
    gateway = made(CACHED)
    gateway.set_keys(key_file([KEY, OTHER_KEY]))
    return gateway


def how(reply):
    return reply.headers.get("x-guideway-cache")


def test_the_same_question_is_answered_once(cached, replica):
    one = replica()
    cached.serve(one)
    with Client(cached.port) as client:
        first, second = client.ask(body=body()), client.ask(body=body())
    assert (how(first), how(second)) == ("miss", "hit")
    assert first.body == second.body
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert len(one.asked) == 1


def test_a_stream_that_is_known_comes_again_as_events(cached, replica):
    one = replica(chat_or_stream("a", "b"))
    cached.serve(one)
    with Client(cached.port) as client:
        first, second = (client.ask(body=body(stream=True)) for _ in range(2))
    assert how(second) == "hit"
    assert first.body == second.body
    assert second.headers["content-type"] == "text/event-stream"
    assert len(one.asked) == 1


@pytest.mark.catalogue("B35")
def test_two_tenants_never_share_an_answer(cached, replica):
    one = replica()
    cached.serve(one)
    with Client(cached.port) as client:
        client.ask(body=body())
        assert how(client.ask(body=body(), headers=OTHER)) == "miss"
    assert len(one.asked) == 2


@pytest.mark.catalogue("B36")
def test_another_release_has_other_answers(cached, replica):
    old, new = replica(), replica(unary(completion("new")))
    cached.serve(old)
    with Client(cached.port) as client:
        client.ask(body=body())
        cached.loop.call(cached.plane.set_route, _other_release(cached, new))
        reply = client.ask(body=body())
    assert how(reply) == "miss"
    assert reply.json()["choices"][0]["message"]["content"] == "new"


def _other_release(gateway, replica):
    arm = Arm("sha256:" + "9" * 64, (Endpoint("127.0.0.1", replica.port),))
    route = msgspec.structs.replace(gateway.plane.table.route, stable=arm, revision=99)
    return msgspec.json.encode(route)


@pytest.mark.parametrize("more", [{"temperature": 0.7}, {"n": 2}])
def test_what_chance_decides_is_asked_again(cached, replica, more):
    one = replica()
    cached.serve(one)
    with Client(cached.port) as client:
        assert [how(client.ask(body=body(**more))) for _ in range(2)] == [None, None]
    assert len(one.asked) == 2


def test_a_release_that_allows_no_caching_is_asked_again(cached, replica):
    one = replica()
    cached.serve(one, terms=Terms(cacheable=False))
    with Client(cached.port) as client:
        for _ in range(2):
            client.ask(body=body())
    assert len(one.asked) == 2


def test_an_error_is_not_kept(cached, replica):
    one = replica(unary(b'{"error":{"message":"no"}}', "400 Bad Request"))
    cached.serve(one)
    with Client(cached.port) as client:
        assert [client.ask(body=body()).status for _ in range(2)] == [400, 400]
    assert len(one.asked) == 2


def test_identical_requests_under_way_share_one_call(cached, replica):
    one = replica(held(unary()))
    cached.serve(one)
    replies = []

    def ask(number):
        with Client(cached.port) as client:
            replies.append(client.ask(body=body()))

    with threads(8, ask) as wrong:
        wait_for(lambda: one.asked)
        wait_for(lambda: len(cached.server.connections) == 8)
        one.release()
    assert wrong == []
    assert len(one.asked) == 1
    assert sorted(map(how, replies))[0] in {"hit", "miss"}
    assert sum(how(one) == "miss" for one in replies) == 1
    assert len({one.body for one in replies}) == 1


def test_when_the_first_client_leaves_another_one_asks(cached, replica):
    one = replica(held(unary()))
    cached.serve(one)
    with Client(cached.port) as first, Client(cached.port) as second:
        first.send(request(body=body()))
        wait_for(lambda: len(one.asked) == 1)
        second.send(request(body=body()))
        wait_for(lambda: any(flight.waiting for flight in cached.plane.cache._flights._flights.values()))
        first.socket.close()
        wait_for(lambda: len(one.asked) == 2)
        one.release()
        assert second.reply().status == 200


@pytest.mark.parametrize("answer", [raw(b"", close=True), unary(b"{}", "500 Internal Server Error")])
def test_when_the_first_call_fails_the_others_are_not_left_waiting(cached, replica, answer):
    one = replica(held(answer))
    cached.serve(one)
    statuses = []

    def ask(number):
        with Client(cached.port) as client:
            statuses.append(client.ask(body=body()).status)

    with threads(4, ask) as wrong:
        wait_for(lambda: one.asked)
        one.release()
    assert wrong == []
    assert len(statuses) == 4
    assert min(statuses) >= 500


# Places.


@pytest.fixture
def narrow(made):
    return made(msgspec.structs.replace(OPTIONS, admission=Admission(concurrent=1, queue=1, wait=5.0)))


def test_one_runs_one_waits_and_the_third_is_told_at_once(narrow, replica):
    one = replica(held(unary()))
    narrow.serve(one)
    with Client(narrow.port) as first, Client(narrow.port) as second, Client(narrow.port) as third:
        first.send(request(body=body("1")))
        wait_for(lambda: len(one.asked) == 1)
        second.send(request(body=body("2")))
        wait_for(lambda: narrow.plane.admission.waiting == 1)
        reply = third.ask(body=body("3"))
        assert (reply.status, reply.json()["error"]["code"]) == (429, "overloaded")
        assert int(reply.headers["retry-after"]) >= 1
        one.release()
        assert first.reply().status == second.reply().status == 200
    assert narrow.plane.admission.running == 0


def test_one_that_waits_too_long_is_429_and_one_that_leaves_frees_its_place(narrow, replica):
    one = replica(held(unary()))
    narrow.serve(one)
    with Client(narrow.port) as first, Client(narrow.port) as second:
        first.send(request(body=body("1")))
        wait_for(lambda: len(one.asked) == 1)
        with Client(narrow.port) as third:
            third.send(request(body=body("3")))
            wait_for(lambda: narrow.plane.admission.waiting == 1)
        wait_for(lambda: narrow.plane.admission.waiting == 0)
        second.send(request(body=body("2")))
        wait_for(lambda: narrow.plane.admission.waiting == 1)
        narrow.skew += 6
        narrow.loop.call(narrow.plane.admission.expire, narrow.plane.clock())
        assert second.reply().status == 429
        one.release()
        assert first.reply().status == 200


def test_a_place_is_free_again_whatever_ends_a_request(narrow, replica):
    ways = (unary(), unary(b"{}", "500 No"), raw(b"", close=True), stream(event("a"), DONE), raw(b"garbage"))
    for way in ways:
        narrow.serve(replica(way))
        with Client(narrow.port) as client:
            client.ask(body=body(json.dumps(str(way)), stream=way is ways[3]))
        assert narrow.plane.admission.running == 0


@pytest.mark.catalogue("A22")
def test_before_the_first_event_another_replica_takes_over_a_stream(gateway, replica):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    dying, alive = replica(raw(head, close=True)), replica(stream(event("a"), DONE))
    gateway.serve(dying, alive)
    with Client(gateway.port) as client:
        for _ in range(4):
            reply = client.ask(body=body(stream=True))
            assert reply.status == 200
            assert reply.body.count(b'"content": "a"') == 1
    assert dying.asked


def test_a_tenants_load_is_counted_down_to_zero(gateway, replica):
    gateway.serve(replica(), replica())
    go = threading.Barrier(6)

    def ask(number):
        go.wait(10)
        with Client(gateway.port) as client:
            for _ in range(10):
                assert client.ask(body=body(str(number))).status == 200

    with threads(6, ask) as wrong:
        pass
    assert wrong == []
    assert [one.outstanding for one in gateway.plane.table.backends()] == [0, 0]
