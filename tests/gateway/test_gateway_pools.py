"""Connections to replicas that cannot be had: what they say of the replica."""

from __future__ import annotations

import asyncio

import pytest

from guideway.core.route import Endpoint
from guideway.gateway import pools
from guideway.gateway.backend import Backend
from guideway.gateway.pools import Pools


class Waiter:
    def __init__(self):
        self.told = []

    def connected(self, connection):
        raise AssertionError("there is no connection")

    def unreachable(self, backend):
        self.told.append(backend)


@pytest.mark.parametrize(("heard", "down"), [(99.0, True), (101.0, False)])
def test_a_replica_is_down_only_when_it_answered_nobody_while_it_could_not_be_reached(monkeypatch, heard, down):
    now = iter([100.0, 102.0])
    backend, waiter = Backend(Endpoint("127.0.0.1", 1)), Waiter()

    async def too_late(backend, clock, known):
        backend.heard_at = heard
        raise TimeoutError

    async def work():
        Pools(lambda: next(now, 102.0)).connect(backend, waiter)
        while not waiter.told:
            await asyncio.sleep(0)

    monkeypatch.setattr(pools, "connect", too_late)
    asyncio.run(work())
    assert waiter.told == [backend]
    assert (backend.down_until > 102.0) is down
