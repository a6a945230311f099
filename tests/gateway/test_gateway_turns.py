"""More requests than can be served: they are looked at a few at a time, and answers are read in between."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from gateway_paper import held, unary
from gateway_rig import OPTIONS, Client, request, wait_for
from system_rig import chat

from guideway.core.spec.gateway import Admission
from guideway.gateway.request import Request
from guideway.gateway.turns import TURN_SECONDS, Turns


def asked(path=b"/v1/chat/completions", method=b"POST"):
    made = Request()
    made.path, made.method = path, method
    made.accepted()
    return made


class Bench:
    """A crowd whose every look takes a given time of a clock that stands otherwise."""

    def __init__(self, seconds):
        self.seconds, self.now, self.log = seconds, 0.0, []
        self.line = Turns(lambda: self.now)

    def come(self, *names):
        return [self.line.defers(Waiter(self, name), asked()) for name in names]

    async def turns(self):
        """What was looked at in each turn of the loop until nobody waits."""
        found = []
        while len(self.line):
            before = len(self.log)
            await asyncio.sleep(0)
            found.append("".join(self.log[before:]))
        return [some for some in found if some]


class Waiter:
    def __init__(self, bench, name):
        self.bench, self.name, self.asks_again = bench, name, False

    def go_on(self):
        assert not self.bench.line.defers(self, asked()), "it is its turn"
        self.bench.log.append(self.name)
        self.bench.now += self.bench.seconds
        if self.asks_again:
            self.asks_again = False
            assert self.bench.line.defers(self, asked()), "one request in one turn"


def run(work):
    return asyncio.run(work())


def test_those_who_wait_are_looked_at_in_order_and_a_few_in_one_turn_of_the_loop():
    async def work():
        bench = Bench(TURN_SECONDS * 0.4)
        assert bench.come(*"abcdefg") == [True] * 7
        return await bench.turns()

    assert run(work) == ["abc", "def", "g"]


def test_one_look_that_takes_long_is_the_only_one_of_its_turn():
    async def work():
        bench = Bench(TURN_SECONDS * 3)
        bench.come(*"ab")
        return await bench.turns()

    assert run(work) == ["a", "b"]


def test_who_asks_again_in_its_turn_stands_at_the_end_of_the_line():
    async def work():
        bench = Bench(0.0)
        greedy = Waiter(bench, "a")
        greedy.asks_again = True
        bench.line.defers(greedy, asked())
        bench.come("b")
        return await bench.turns()

    assert run(work) == ["ab", "a"]


@pytest.mark.parametrize(("path", "method"), [(b"/healthz", b"GET"), (b"/v1/models", b"GET")])
def test_what_no_model_has_to_answer_never_waits(path, method):
    assert not Turns(lambda: 0.0).defers(Waiter(None, "a"), asked(path, method))


@pytest.fixture
def narrow(made, replica):
    """A gateway with one place and one more to wait in, in front of a replica that holds its answers."""
    one = made(msgspec.structs.replace(OPTIONS, admission=Admission(concurrent=1, queue=1), workers=1))
    one.behind = replica(held(unary()))
    one.serve(one.behind)
    return one


@pytest.mark.catalogue("A26")
def test_in_a_crowd_everybody_is_answered_and_the_free_place_is_taken(narrow):
    clients = [Client(narrow.port) for _ in range(60)]
    for client in clients:
        client.send(chat())
    wait_for(lambda: narrow.plane.admission.crowded and not len(narrow.plane.turns))
    with Client(narrow.port) as other:
        assert other.ask("GET", "/healthz").status == 200
    narrow.behind.release()
    statuses = [client.reply().status for client in clients]
    assert (statuses.count(200), statuses.count(429)) == (2, 58)
    assert clients[-1].ask().status == 200, "the crowd is gone"
    for client in clients:
        client.socket.close()


def test_requests_that_were_sent_ahead_in_a_crowd_are_answered_in_order(narrow):
    with Client(narrow.port) as first, Client(narrow.port) as second, Client(narrow.port) as many:
        for client in (first, second):
            client.send(chat())
        wait_for(lambda: narrow.plane.admission.waiting == 1)
        many.send(chat() * 3 + request("GET", "/healthz") + chat())
        assert [many.reply().status for _ in range(5)] == [429, 429, 429, 200, 429]


def test_a_client_that_leaves_before_its_turn_costs_nothing(narrow):
    with Client(narrow.port) as first, Client(narrow.port) as second:
        for client in (first, second):
            client.send(chat())
        wait_for(lambda: narrow.plane.admission.waiting == 1)
        with Client(narrow.port) as third:
            assert third.ask().status == 429
            third.send(chat())
        wait_for(lambda: len(narrow.server.connections) == 2)
        narrow.behind.release()
        assert {first.reply().status, second.reply().status} == {200}
    assert len(narrow.behind.asked) == 2


def test_who_waits_for_its_turn_is_not_taken_for_idle(narrow):
    with Client(narrow.port) as first, Client(narrow.port) as second, Client(narrow.port) as third:
        assert third.ask("GET", "/healthz").status == 200
        for client in (first, second):
            client.send(chat())
        wait_for(lambda: narrow.plane.admission.waiting == 1)
        assert third.ask().status == 429

        def while_it_waits():
            (waiting,) = [one for one in narrow.server.connections if one._exchange is None]
            waiting.data_received(chat())
            assert len(narrow.plane.turns) == 1
            narrow.skew += 1000.0
            waiting.check(narrow.plane.clock())

        narrow.loop.call(while_it_waits)
        assert third.reply().status == 429
