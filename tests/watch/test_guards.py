"""The guards of a rollout: asked in time, old numbers are none, and nothing is left behind."""

from __future__ import annotations

import threading

import pytest
from watch_rig import SUBJECT, guard, http, vector, wait_for

from guideway.watch.guards import AT_ONCE, Guards
from guideway.watch.prometheus import Measured


class Numbers:
    """Answers to guards, by name: a number, an error, or the call of a function; counts and keeps what was asked."""

    def __init__(self, **answers) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, one, subject, *, given_up) -> Measured:
        assert subject == SUBJECT
        self.asked.append(one.name)
        answer = self.answers[one.name]
        value = answer(given_up) if callable(answer) else answer
        return Measured(one.name, value, one.at_most, one.stops, "" if value is not None else "no data")


class Watch:
    """Guards that a test drives by hand, under a clock of its own."""

    def __init__(self, *guards, ask) -> None:
        self.now = 100.0
        self.guards = Guards(guards, SUBJECT, clock=lambda: self.now, ask=ask)

    def look(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.guards.look()
        wait_for(lambda: all(one.done() for one in self.guards._under_way.values()))

    @property
    def values(self) -> list[float | None]:
        return [one.value for one in self.guards.values()]

    @property
    def reasons(self) -> list[str]:
        return [one.why for one in self.guards.values()]


@pytest.fixture
def watch():
    made = []

    def make(*guards, ask):
        made.append(Watch(*guards, ask=ask))
        return made[-1]

    yield make
    for one in made:
        one.guards.close()


def named(name: str, every: float = 15.0, **more):
    return guard("http://127.0.0.1:1", name=name, every=every, **more)


def test_before_the_first_answer_nothing_is_known(watch):
    one = watch(named("a", at_most=3.0, stops=True), ask=Numbers(a=1.0))
    assert one.guards.values() == (Measured("a", None, 3.0, True, "it was not asked yet"),)


def test_each_guard_is_asked_at_its_own_interval(watch):
    ask = Numbers(a=1.0, b=2.0)
    one = watch(named("a", every=10.0), named("b", every=25.0), ask=ask)
    for _ in range(10):
        one.look(5.0)
    assert sorted(ask.asked) == ["a"] * 5 + ["b"] * 2
    assert one.values == [1.0, 2.0]


def test_the_nap_ends_when_the_next_guard_is_due_and_is_never_long(watch):
    one = watch(named("a", every=10.0), ask=Numbers(a=1.0))
    assert one.guards.look() == 1.0
    one.now += 9.5
    assert one.guards.look() == pytest.approx(0.5)


def test_a_number_older_than_three_intervals_is_not_known(watch):
    stuck = threading.Event()
    ask = Numbers(a=1.0)
    one = watch(named("a", every=10.0), ask=ask)
    one.look()
    ask.answers["a"] = lambda given_up: stuck.wait(20) and 2.0
    one.now += 10.0
    one.guards.look()
    one.now += 20.0
    assert one.values == [1.0]
    one.now += 0.5
    assert (one.values, one.reasons) == ([None], ["the last number is 30 s old"])
    stuck.set()


def test_the_age_of_a_number_begins_when_it_was_asked_for(watch):
    ask = Numbers()
    one = watch(named("a", every=10.0), ask=ask)

    def slow(given_up):
        one.now += 31.0
        return 1.0

    ask.answers["a"] = slow
    one.look()
    assert one.values == [None]


def test_a_guard_that_is_being_asked_is_not_asked_again(watch):
    go = threading.Event()
    ask = Numbers(a=lambda given_up: go.wait(20) and 1.0)
    one = watch(named("a", every=10.0), ask=ask)
    for _ in range(5):
        one.now += 10.0
        one.guards.look()
    wait_for(lambda: ask.asked)
    assert ask.asked == ["a"]
    go.set()
    wait_for(lambda: one.values == [1.0] or one.reasons[0].startswith("the last"))


def test_what_became_unknown_hides_the_number_before(watch):
    ask = Numbers(a=1.0)
    one = watch(named("a"), ask=ask)
    one.look()
    ask.answers["a"] = None
    one.look(15.0)
    assert (one.values, one.reasons) == ([None], ["no data"])


def test_a_guard_that_fails_in_an_unknown_way_is_unknown_and_asked_again(watch):
    def fails(given_up):
        raise KeyError("secret")

    ask = Numbers(a=fails, b=2.0)
    one = watch(named("a"), named("b"), ask=ask)
    one.look()
    assert (one.values, one.reasons) == ([None, 2.0], ["asking failed: KeyError", ""])
    ask.answers["a"] = 1.0
    one.look(15.0)
    assert one.values == [1.0, 2.0]


def test_close_gives_up_what_is_under_way_and_leaves_no_thread():
    before = set(threading.enumerate())
    began = threading.Semaphore(0)

    def until_given_up(given_up):
        began.release()
        wait_for(given_up)

    names = [f"g{at}" for at in range(AT_ONCE + 2)]
    guards = Guards([named(name) for name in names], SUBJECT, ask=Numbers(**dict.fromkeys(names, until_given_up)))
    guards.start()
    for _ in range(AT_ONCE):
        assert began.acquire(timeout=20)
    guards.close()
    assert set(threading.enumerate()) <= before
    assert all(one.value is None for one in guards.values())


def test_guards_that_were_never_started_close():
    Guards([named("a")], SUBJECT).close()


def test_a_silent_server_does_not_hold_up_the_end(liar):
    one = liar(close=False)
    guards = Guards([guard(one.url, every=3600.0)], SUBJECT)
    guards.start()
    wait_for(lambda: one.asked)
    guards.close()
    assert guards.values()[0].why.endswith("nobody waits for the answer any more")


def test_the_thread_asks_a_real_prometheus_and_sees_it_go(prometheus):
    guards = Guards([guard(prometheus.url, "sum(errors_total)", every=1.0), named("gone")], SUBJECT)
    guards.start()
    try:
        wait_for(lambda: guards.values()[0].value == 9.0)
        wait_for(lambda: guards.values()[1].why.endswith("nothing listens there"))
    finally:
        guards.close()


def test_a_server_that_comes_back_is_known_again(watch, liar):
    one, there = liar(http(vector("0.5"))), liar(http("<html>"))
    where = [there.url]

    from guideway.watch.prometheus import measure

    def ask(asked, subject, *, given_up):
        return measure(guard(where[0], name=asked.name), subject, given_up=given_up)

    driven = watch(named("a"), ask=ask)
    driven.look()
    assert driven.values == [None]
    where[0] = one.url
    driven.look(15.0)
    assert driven.values == [0.5]
