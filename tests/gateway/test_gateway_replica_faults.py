"""A worker's choices under faults, played in simulated time: the parts together, without sockets.

What real sockets add is tested beside the exchange; here a fault can strike at any moment of hundreds of runs.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from itertools import count

import pytest

from guideway.core.route import Endpoint
from guideway.gateway.backend import Backend
from guideway.gateway.budget import RetryBudget
from guideway.gateway.health import all_down
from guideway.gateway.routing import choose

TAKES = 0.05


class Play:
    """Requests that come at *rate* a second to *replicas*; ``state`` says how each replica behaves now."""

    def __init__(self, replicas, rate, seed, prefixes=0):
        self.backends = tuple(Backend(Endpoint("127.0.0.1", 1 + number)) for number in range(replicas))
        for one in self.backends:
            one.peers = self.backends
        self.state = dict.fromkeys(self.backends, "well")
        self.rate, self.dice, self.prefixes = rate, random.Random(seed), prefixes
        self.budget = RetryBudget(0.2)
        self.results, self.attempts, self.waits = Counter(), Counter(), []
        self.now, self._order, self._events = 0.0, count(), []
        self._turn = 0
        self.under_way = {}

    def at(self, when, what, *arguments):
        heapq.heappush(self._events, (when, next(self._order), what, arguments))

    def run(self, seconds):
        for number in range(int(seconds * self.rate)):
            self.at(self.now + number / self.rate, self.come, self.dice.randrange(1, 2**32) if self.prefixes else 0)
        end = self.now + seconds + 5
        while self._events and self._events[0][0] <= end:
            self.now, _, what, arguments = heapq.heappop(self._events)
            what(*arguments)

    def come(self, prefix):
        self.budget.request(self.now)
        self.results["requests"] += 1
        self.attempt(self.now, prefix, None)

    def attempt(self, begun, prefix, avoid):
        if all_down(self.backends, self.now):
            self.over(begun, "503")
            return
        self._turn += 1
        backend = choose(self.backends, avoid=avoid, now=self.now, turn=self._turn, prefix=prefix)
        backend.begin(self.now)
        self.attempts[backend] += 1
        state = self.state[backend]
        if state == "dead":
            self.fail(backend, begun, prefix, avoid, "connect")
            return
        backend.connected()
        key = object()
        self.under_way[key] = (backend, begun, prefix, avoid)
        bad = state == "half" and self.dice.random() < 0.5
        self.at(self.now + TAKES * self.dice.uniform(0.5, 1.5), self.answer, key, bad)

    def answer(self, key, bad):
        if key not in self.under_way:
            return
        backend, begun, prefix, avoid = self.under_way.pop(key)
        if bad:
            self.fail(backend, begun, prefix, avoid, "status")
            return
        backend.end()
        backend.answered()
        self.over(begun, "200")

    def fail(self, backend, begun, prefix, avoid, why):
        backend.end()
        backend.failed(self.now, why)
        if avoid is None and self.budget.take():
            self.attempt(begun, prefix, backend)
        else:
            self.over(begun, "503" if why == "connect" else "502")

    def over(self, begun, result):
        self.results[result] += 1
        self.waits.append(self.now - begun)

    def kill(self, backend):
        """What was under way there breaks, and nothing can be connected."""
        self.state[backend] = "dead"
        for key, (where, *rest) in list(self.under_way.items()):
            if where is backend:
                del self.under_way[key]
                self.fail(backend, *rest, "broken")

    def heal(self, *some):
        self.state.update(dict.fromkeys(some, "well"))


@pytest.mark.catalogue("A12")
@pytest.mark.parametrize("prefixes", [0, 1])
@pytest.mark.parametrize("seed", range(20))
def test_one_of_three_replicas_killed_at_200_requests_a_second_fails_no_request(seed, prefixes):
    play = Play(3, 200, seed, prefixes)
    play.at(random.Random(seed).uniform(1.0, 2.0), play.kill, play.backends[seed % 3])
    play.run(4.0)
    assert play.results["200"] == play.results["requests"] == 800


@pytest.mark.catalogue("A13")
def test_a_dead_replica_costs_few_attempts():
    play = Play(3, 200, 1)
    play.kill(play.backends[0])
    play.run(10.0)
    assert play.attempts[play.backends[0]] <= 3 + 6, "three failures, then a trial after 1, 2, 4, 4 s"
    assert play.results["200"] == play.results["requests"]


@pytest.mark.catalogue("A15")
@pytest.mark.parametrize("seed", range(10))
def test_when_all_replicas_are_dead_every_request_is_told_at_once_and_service_returns_within_a_second(seed):
    play = Play(3, 200, seed)
    for one in play.backends:
        play.at(1.0, play.kill, one)
    back = 5.0 + seed / 10
    play.at(back, play.heal, *play.backends)
    tried = []
    play.at(back, lambda: tried.append(sum(play.attempts.values())))
    play.at(back + 1.0, lambda: play.results.update(before=play.results["503"] + play.results["502"]))
    play.run(9.0)
    assert max(play.waits) < 2 * TAKES * 1.5
    assert tried[0] <= 200 + 60 + 3 * (back - 1.0) / 0.25 * 2, "it is not hammered while it is down"
    assert play.results["503"] + play.results["502"] == play.results["before"], "no failure later than a second after"
    assert play.results["200"] >= 200 * (9.0 - (back - 1.0) - 0.5)


@pytest.mark.catalogue("A16")
@pytest.mark.parametrize("seed", range(5))
def test_at_half_of_all_answers_failed_attempts_stay_below_1_2_of_the_requests(seed):
    play = Play(3, 800, seed)
    play.state = dict.fromkeys(play.backends, "half")
    play.run(5.0)
    assert sum(play.attempts.values()) <= 1.2 * play.results["requests"]
    assert play.results["200"] >= 0.5 * play.results["requests"]


def test_one_replica_that_fails_half_of_the_time_hardly_reaches_a_client():
    play = Play(3, 200, 3)
    play.state[play.backends[1]] = "half"
    play.run(10.0)
    assert play.results["200"] >= 0.999 * play.results["requests"]


def test_a_killed_replica_that_returns_has_its_share_again():
    play = Play(3, 200, 4)
    one = play.backends[0]
    play.at(1.0, play.kill, one)
    play.at(3.0, play.heal, one)
    before = []
    play.at(8.0, lambda: before.append(play.attempts[one]))
    play.run(11.0)
    assert play.attempts[one] - before[0] == pytest.approx(200, rel=0.2)
