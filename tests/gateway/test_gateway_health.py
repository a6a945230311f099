"""When a replica is left alone, for how long, and how it comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.route import Endpoint
from guideway.gateway.backend import Backend
from guideway.gateway.health import DOWN_SECONDS, EJECT_MOST, all_down, is_fault
from guideway.gateway.routing import choose

FAULTS = ("connect", "broken", "status", "garbage", "time-out")


def peers(count):
    some = tuple(Backend(Endpoint("127.0.0.1", 1 + number)) for number in range(count))
    for one in some:
        one.peers = some
    return some


def fail(backend, now, why="status", times=3):
    for _ in range(times):
        backend.begin(now)
        backend.end()
        backend.failed(now, why)


@pytest.mark.catalogue("A13")
@pytest.mark.parametrize("why", FAULTS)
def test_three_failures_in_a_row_of_any_kind_eject(why):
    one, other = peers(2)
    fail(one, 1.0, why, 2)
    assert one.ejected_until == 0.0
    fail(one, 1.0, why, 1)
    assert (one.ejected_until, one.why, one.ejections) == (2.0, why, 1)
    assert choose((one, other), avoid=None, now=1.5, turn=0) is other


def test_an_answer_between_makes_earlier_failures_forgotten():
    one, _ = peers(2)
    fail(one, 1.0, "status", 2)
    one.answered()
    fail(one, 1.0, "status", 2)
    assert one.ejected_until == 0.0


def test_connections_that_can_be_made_do_not_excuse_answers_that_fail():
    one, _ = peers(2)
    for _ in range(3):
        one.connected()
        fail(one, 1.0, "status", 1)
    assert one.why == "status"


def test_failures_of_requests_that_were_under_way_do_not_make_an_ejection_longer():
    one, _ = peers(2)
    fail(one, 1.0, "broken", 50)
    assert (one.ejected_until, one.ejections) == (2.0, 1)


def test_after_an_ejection_one_request_is_let_through_and_its_success_restores():
    one, other = some = peers(2)
    fail(one, 1.0)
    other.outstanding = 9
    assert choose(some, avoid=None, now=2.0, turn=0) is one
    one.begin(2.0)
    assert choose(some, avoid=None, now=2.1, turn=0) is other, "the trial is under way"
    one.answered()
    assert (one.ejected_until, one.why) == (0.0, "")
    assert choose(some, avoid=None, now=2.2, turn=0) is one


def test_a_trial_that_fails_ejects_at_once_and_each_time_for_twice_as_long_up_to_a_bound():
    one, _ = peers(2)
    fail(one, 1.0)
    lengths, now = [], one.ejected_until
    for _ in range(4):
        fail(one, now, times=1)
        lengths.append(one.ejected_until - now)
        now = one.ejected_until
    assert lengths == [2.0, 4.0, EJECT_MOST, EJECT_MOST]


def test_a_trial_without_an_answer_lets_a_further_one_through_after_a_while():
    one, _ = peers(2)
    fail(one, 1.0)
    one.begin(2.0)
    assert (one.ejected_until > 2.9, one.ejected_until <= 3.0) == (True, True)


def test_a_long_good_time_forgives():
    one, _ = peers(2)
    for now in (1.0, 100.0):
        fail(one, now)
        assert one.ejected_until == now + 1.0
        one.begin(one.ejected_until)
        one.answered()
        one.end()


@given(
    st.integers(2, 5), st.lists(st.tuples(st.integers(0, 4), st.sampled_from(FAULTS), st.floats(0, 0.5)), max_size=60)
)
def test_one_of_an_arm_always_stays_unless_the_last_is_on_trial(count, events):
    some, now = peers(count), 1.0
    for number, why, later in events:
        now += later
        some[number % count].failed(now, why)
        assert any(one.ejected_until <= now for one in some)


def test_when_the_last_one_fails_the_one_that_is_due_first_takes_its_place():
    one, two, three = some = peers(3)
    fail(one, 1.0)
    fail(two, 1.5)
    fail(three, 1.6)
    assert three.why == "status"
    assert choose(some, avoid=None, now=1.6, turn=0) is one


def test_one_that_talks_garbage_does_not_come_back_for_the_last_that_fails_nor_for_a_retry():
    liar, last = some = peers(2)
    assert liar.eject(1.0, "probe", 20.0)
    fail(last, 1.5)
    assert (last.ejected_until, liar.ejected_until) == (0.0, 21.0)
    assert choose(some, avoid=last, now=2.0, turn=0) is last


def test_the_only_replica_is_never_ejected():
    (only,) = peers(1)
    fail(only, 1.0, times=30)
    assert only.ejected_until == 0.0
    assert not only.eject(1.0, "silent", 5.0)


@pytest.mark.catalogue("A15")
def test_when_all_are_down_one_try_at_a_time_is_made_and_the_first_connection_ends_it():
    some = peers(3)
    for one in some:
        fail(one, 1.0, "connect")
    assert all_down(some, 1.0)
    later = 1.01 + DOWN_SECONDS
    assert not all_down(some, later)
    for one in some:
        one.begin(later)
    assert all_down(some, later + 0.5), "a connection is being tried, nobody else waits for it"
    some[1].connected()
    assert not all_down(some, later + 0.5)


def test_one_failed_connection_does_not_take_all_down():
    some = peers(2)
    some[0].failed(1.0)
    assert not all_down(some, 1.0)


def test_only_a_fault_of_the_server_is_a_fault():
    assert [status for status in range(100, 600) if is_fault(status)][:5] == [500, 502, 503, 504, 506]


def test_quiet_is_measured_from_the_last_byte_or_the_first_that_waits():
    (one,) = peers(1)
    assert one.quiet(9.0) == 0.0
    one.begin(10.0)
    assert one.quiet(10.5) == 0.5
    one.heard_at = 10.4
    one.begin(10.6)
    assert one.quiet(11.0) == pytest.approx(0.6)
    one.end()
    one.end()
    assert one.quiet(20.0) == 0.0
    one.begin(30.0)
    assert one.quiet(30.25) == 0.25
