"""A loop, replicas and a gateway for each test that asks for them."""

from __future__ import annotations

import pytest
from gateway_paper import PaperReplica
from gateway_rig import Client, Gateway, Loop


@pytest.fixture(scope="module")
def _loop():
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def loop(_loop):
    """The loop; a test fails when something went wrong on it that nobody handled."""
    yield _loop
    wrong, _loop.wrong = _loop.wrong, []
    assert wrong == []


@pytest.fixture
def replica(loop):
    """Makes replicas; they die with the test."""
    made = []

    def make(answer=None, port=0):
        made.append(PaperReplica(loop, answer, port))
        return made[-1]

    yield make
    for one in made:
        one.die()


@pytest.fixture
def gateway(loop):
    made = Gateway(loop)
    yield made
    made.close()


@pytest.fixture
def made(loop):
    """Makes gateways with other options."""
    some = []

    def make(options):
        some.append(Gateway(loop, options=options))
        return some[-1]

    yield make
    for one in some:
        one.close()


@pytest.fixture
def client(gateway):
    with Client(gateway.port) as made:
        yield made
