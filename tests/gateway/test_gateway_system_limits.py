"""Keys and their limits in the whole gateway: workers, limiter and rows as processes, clients over sockets."""

from __future__ import annotations

import os
import signal
import time

import msgspec
import pytest
from gateway_rig import OPTIONS, Client, wait_for
from system_rig import Load, at_once, bearer, chat, drill, replicas, shared, system

from guideway.core.spec.gateway import Limits, Price

pytestmark = pytest.mark.thorough

__all__ = ["replicas", "shared", "system"]

USED = 4
"""The tokens that a replica of paper says it used."""


def in_one_minute(system, limits, call):
    """What *call* gives with a fresh key that has *limits*; again, should a minute have ended meanwhile."""
    for _ in range(3):
        key = system.new_key(limits=limits)
        known(system, key)
        began = time.time() // 60
        found = call(key)
        if time.time() // 60 == began:
            return found
    raise AssertionError("three minutes ended in a row")


def known(system, key):
    """Wait until all workers know *key*."""

    def all_know():
        return {reply.status for reply in at_once(system.port, 8, models(key))} == {200}

    wait_for(all_know, what="the key being known")


def checked(system, key):
    """Do all workers know what *key* may still use?"""
    return 503 not in {reply.status for reply in at_once(system.port, 12, chat(key))}


def models(key):
    return f"GET /v1/models HTTP/1.1\r\nHost: g\r\n{bearer(key)}\r\n"


def granted(replies):
    """How many were answered; the others must be refused as the API has it."""
    refused = [reply for reply in replies if reply.status != 200]
    for reply in refused:
        assert reply.status == 429, reply.body
        assert reply.json()["error"]["code"] == "rate_limit_exceeded"
        assert 1 <= int(reply.headers["retry-after"]) <= 60
    return len(replies) - len(refused), refused


@pytest.mark.catalogue("B28")
def test_of_200_parallel_calls_over_two_workers_exactly_50_get_through(shared):
    for _ in range(drill(1, 20)):
        replies = in_one_minute(
            shared, Limits(requests_per_minute=50), lambda key: at_once(shared.port, 200, chat(key))
        )
        count, refused = granted(replies)
        assert count == 50
        for reply in refused:
            assert reply.headers["x-ratelimit-limit-requests"] == "50"
            assert reply.headers["x-ratelimit-remaining-requests"] == "0"
            assert reply.headers["x-ratelimit-reset-requests"].endswith("s")


@pytest.mark.catalogue("B28")
def test_tokens_are_reserved_by_what_a_request_may_use_and_given_back_by_what_it_used(shared):
    data = chat(max_tokens=1000)
    estimate = 1000 + len(data.partition(b"\r\n\r\n")[2]) // 3

    def calls(key):
        data = chat(key, max_tokens=1000)
        return at_once(shared.port, 1, data) + [reply for _ in range(30) for reply in at_once(shared.port, 1, data)]

    limits = Limits(tokens_per_minute=estimate + 20 * USED)
    count, refused = granted(in_one_minute(shared, limits, calls))
    assert count == 21, "each one used 4 of the thousand that it had reserved"
    assert {reply.json()["error"]["type"] for reply in refused} == {"tokens"}
    assert all("x-ratelimit-remaining-tokens" in reply.headers for reply in refused)


@pytest.mark.catalogue("B28")
def test_tokens_of_parallel_calls_never_exceed_the_limit(system, replicas):
    slow = replicas(0.5)
    one = system(slow)
    size = len(chat(max_tokens=1000).partition(b"\r\n\r\n")[2]) // 3

    def calls(key):
        return at_once(one.port, 100, chat(key, max_tokens=1000))

    count, _ = granted(in_one_minute(one, Limits(tokens_per_minute=10 * (1000 + size)), calls))
    assert count == 10


@pytest.mark.catalogue("B28")
def test_money_is_counted_by_the_price_of_the_environment(system, replicas):
    priced = msgspec.structs.replace(OPTIONS, price=Price(input=1.0, output=2.0))
    one = system(replicas(0.5), options=priced)
    size = len(chat(max_tokens=1000).partition(b"\r\n\r\n")[2]) // 3
    each = (size * 1.0 + 1000 * 2.0) / 1e6

    def calls(key):
        return at_once(one.port, 100, chat(key, max_tokens=1000))

    count, refused = granted(in_one_minute(one, Limits(money_per_minute=each * 7.5), calls))
    assert count == 7
    assert {reply.json()["error"]["type"] for reply in refused} == {"money"}


@pytest.mark.catalogue("B28")
def test_the_limiter_killed_keys_without_limits_go_on_and_the_others_are_exact_again(shared):
    key = shared.new_key(limits=Limits(requests_per_day=60))
    known(shared, key)
    assert {reply.status for reply in at_once(shared.port, 10, chat(key))} == {200}
    with Load(shared.port, key=shared.key) as load:
        for _ in range(drill(2, 20)):
            killed = shared.companion("limits")
            os.kill(killed, signal.SIGKILL)
            load.more(40)
            statuses = {reply.status for reply in at_once(shared.port, 4, chat(key))}
            assert statuses <= {200, 429, 503}
            wait_for(lambda killed=killed: shared.companion("limits") not in {None, killed}, 20, "another limiter")
            wait_for(lambda: checked(shared, key), 10.0, "both workers having found it")
            load.more(20)
    assert load.wrong == []
    assert set(load.statuses) == {200}
    exact = in_one_minute(shared, Limits(requests_per_minute=50), lambda key: at_once(shared.port, 120, chat(key)))
    assert granted(exact)[0] == 50


@pytest.mark.catalogue("B28")
def test_a_limiter_that_comes_back_grants_no_more_than_the_limit(shared):
    key = shared.new_key(limits=Limits(requests_per_day=60))
    known(shared, key)
    day = time.time() // 86_400
    statuses = []

    def ask(count):
        found = [reply.status for reply in at_once(shared.port, count, chat(key))]
        statuses.extend(found)
        return found

    for _ in range(drill(2, 20)):
        ask(12)
        killed = shared.companion("limits")
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda killed=killed: shared.companion("limits") not in {None, killed}, 20, "another limiter")
    wait_for(lambda: 503 not in ask(12), 10.0, "both workers having found the limiter")
    ask(100)
    assert statuses.count(200) <= 60 or time.time() // 86_400 != day


@pytest.mark.catalogue("B21")
def test_a_revoked_key_is_refused_everywhere_and_its_open_connections_too(shared):
    key = shared.new_key("to be revoked")
    known(shared, key)
    clients = [Client(shared.port) for _ in range(12)]

    def asked(client):
        client.send(chat(key))
        return client.reply().status

    assert {asked(client) for client in clients} == {200}
    shared.revoke(key)
    wait_for(lambda: at_once(shared.port, 8, chat(key))[-1].status == 401, 5.0, "the key being refused")
    for client in clients:
        wait_for(lambda client=client: asked(client) == 401, 5.0, "the open connection being refused")
        client.socket.close()


def test_a_key_serves_until_it_expires(shared):
    until = time.time() + 1.5
    key = shared.new_key("for a moment", expires=until)
    known(shared, key)
    wait_for(lambda: at_once(shared.port, 1, chat(key))[0].status == 401, 5.0, "the key being refused")
    assert time.time() >= until
    assert {reply.status for reply in at_once(shared.port, 8, chat(key))} == {401}
