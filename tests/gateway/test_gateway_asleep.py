"""A release without a replica that the first request wakes: requests wait for it, but not for ever."""

from __future__ import annotations

import pytest
from gateway_rig import CANDIDATE, Client, request, wait_for


def waiting(gateway) -> int:
    return gateway.plane.admission.waiting


def later(gateway, seconds: float) -> None:
    """So many seconds go by for the gateway and for those who wait in it."""
    gateway.later(seconds)
    gateway.loop.call(lambda: gateway.plane.admission.expire(gateway.plane.clock()))


def test_who_asks_a_release_that_sleeps_is_answered_once_it_is_awake(gateway, replica, client):
    gateway.serve(wakes=30.0)
    client.send(request())
    wait_for(lambda: waiting(gateway) == 1)
    one = replica()
    gateway.serve(one, wakes=30.0)
    assert client.reply().status == 200
    assert len(one.asked) == 1


def test_many_who_wait_are_all_answered_and_the_limit_of_places_holds_again(gateway, replica):
    gateway.serve(wakes=30.0)
    clients = [Client(gateway.port) for _ in range(20)]
    for one in clients:
        one.send(request())
    wait_for(lambda: waiting(gateway) == 20)
    gateway.serve(replica(), wakes=30.0)
    assert [one.reply().status for one in clients] == [200] * 20
    assert gateway.plane.admission.running == 0


def test_a_sleep_that_takes_too_long_is_told_to_who_waits(gateway, client):
    gateway.serve(wakes=30.0)
    client.send(request())
    wait_for(lambda: waiting(gateway) == 1)
    later(gateway, 29.0)
    assert waiting(gateway) == 1
    later(gateway, 2.0)
    assert client.reply().status == 429


def test_without_a_wake_a_release_without_a_replica_is_unavailable_at_once(gateway, client):
    gateway.serve()
    assert client.ask().status == 503


@pytest.mark.parametrize("left", [True, False])
def test_who_leaves_while_it_sleeps_is_forgotten(gateway, replica, left):
    gateway.serve(wakes=30.0)
    client = Client(gateway.port)
    client.send(request())
    wait_for(lambda: waiting(gateway) == 1)
    if left:
        client.__exit__()
        wait_for(lambda: waiting(gateway) == 0)
    one = replica()
    gateway.serve(one, wakes=30.0)
    wait_for(lambda: len(one.asked) == (0 if left else 1))


def test_a_request_that_was_prepared_for_another_release_is_not_sent_to_the_one_that_wakes(gateway, replica, client):
    gateway.serve(wakes=30.0)
    client.send(request())
    wait_for(lambda: waiting(gateway) == 1)
    one = replica()
    gateway.serve_release(CANDIDATE, one)
    assert client.reply().status == 503
    assert one.asked == []
