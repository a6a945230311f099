"""How many replicas there should be: told as what a service goes through, and what is decided."""

from __future__ import annotations

import math
import random

import msgspec
import pytest

from guideway.rollout.autoscale import Rules, State, decide
from guideway.rollout.load import Reading
from guideway.rollout.starts import cold_start

RULES = Rules(max=20, places=8)
TICK = 5.0


class Story:
    """A service whose load is told minute by minute: replicas are ready at once unless ``slow``."""

    def __init__(self, rules=RULES, wanted=2, service=8.0, start=4.0, at=0.0):
        self.rules, self.state, self.service, self.start = rules, State(wanted), service, start
        self.at, self.finished, self.decisions, self.ready = at, 0.0, [], None

    def goes_on(self, seconds, load=0.0, queued=0.0, **more):
        """*load* requests are worked on and *queued* wait for *seconds*; the last decision."""
        for _ in range(round(seconds / TICK)):
            self.at += TICK
            self.finished += load * TICK / self.service
            self.reads(load, queued, **more)
        return self.decisions[-1]

    def reads(self, load, queued=0.0, **more):
        ready = self.state.wanted if self.ready is None else self.ready
        reading = Reading(
            at=self.at, in_flight=load, queued=queued, finished=self.finished, ready=ready,
            **{"cold_start": self.start, **more},
        )  # fmt: skip
        self.decisions.append(decide(self.state, reading, self.rules))
        self.state = self.decisions[-1].state
        return self.decisions[-1]

    @property
    def wanted(self):
        return self.state.wanted

    @property
    def rules_used(self):
        return [one.rule for one in self.decisions if one.changed]


def test_a_load_that_fits_changes_nothing():
    story = Story(wanted=2)
    last = story.goes_on(1800, load=8)
    assert (story.rules_used, last.rule, last.wanted) == ([], "hold", 2)


def test_a_mean_load_that_would_make_too_many_wait_adds_replicas_before_anybody_waits():
    story = Story(wanted=2)
    last = story.goes_on(300, load=12)
    assert (story.rules_used, last.wanted) == (["stable"], 3)
    assert "mean load is 12" in next(one.reason for one in story.decisions if one.changed)


def test_those_who_wait_too_long_are_answered_within_the_panic_window():
    story = Story(wanted=2)
    story.goes_on(900, load=8)
    story.ready = 2
    last = story.goes_on(RULES.panic, load=16, queued=40)
    assert last.wanted > 4 and "panic" in story.rules_used
    assert story.at <= 900 + RULES.panic


def test_a_short_queue_that_the_objective_allows_is_no_panic():
    story = Story(wanted=4)
    story.goes_on(600, load=20)
    assert story.goes_on(15, load=26, queued=1).wanted == 4


def test_a_measured_wait_counts_though_no_queue_is_seen():
    story = Story(wanted=2)
    story.goes_on(600, load=8)
    story.ready = 2
    assert story.goes_on(10, load=16, waited=3.0).numbers.panic >= 2


def test_a_wait_that_comes_only_from_starting_replicas_asks_for_no_more_of_them():
    story = Story(wanted=2)
    story.goes_on(600, load=8)
    story.ready = 2
    story.goes_on(60, load=16, queued=24)
    reached = story.wanted
    load = story.decisions[-1].numbers.load
    assert reached == math.ceil(max(one.numbers.panic for one in story.decisions))
    assert reached <= math.ceil((load.now + 24 * 8) / 8)


def test_replicas_leave_only_when_less_was_enough_for_the_settling_time():
    story = Story(wanted=6)
    story.goes_on(900, load=36)
    assert story.wanted == 6
    fell = story.at
    while story.wanted == 6:
        story.goes_on(TICK, load=9)
    assert fell + RULES.settle <= story.at <= fell + RULES.settle + RULES.stable + TICK
    assert story.decisions[-1].rule == "settled"


def test_one_peak_within_the_settling_time_keeps_what_it_needed():
    story = Story(wanted=6)
    story.goes_on(900, load=32)
    for _ in range(8):
        story.goes_on(300, load=9)
        story.goes_on(150, load=32)
    assert (story.wanted, story.rules_used) == (6, [])


def test_nothing_leaves_while_requests_waited_lately():
    story = Story(rules=msgspec.structs.replace(RULES, settle=60.0), wanted=6)
    story.goes_on(60, load=9)
    story.ready = 5
    story.goes_on(10, load=9, waited=3.0)
    story.goes_on(RULES.stable, load=9)
    assert (story.wanted, story.decisions[-1].rule) == (6, "hold")
    assert story.goes_on(10, load=9).wanted < 6


def test_a_moment_in_which_much_is_under_way_is_kept_a_place_for():
    story = Story(wanted=6)
    for _ in range(10):
        story.goes_on(300, load=9)
        story.goes_on(TICK, load=38)
    assert (story.wanted, story.rules_used) == (5, ["settled"])


def test_nothing_leaves_while_more_requests_were_late_than_may_be():
    story = Story(wanted=6)
    story.goes_on(900, load=20)
    spoilt = msgspec.structs.replace(story.state, wanted=6, came=1000.0, late=20.0)
    story.state = spoilt
    last = story.goes_on(TICK, load=20)
    assert last.rule == "hold" and "waited too long" in last.reason


def test_one_late_request_of_a_handful_holds_nothing_back():
    story = Story(wanted=6)
    story.goes_on(900, load=9)
    story.state = msgspec.structs.replace(story.state, wanted=6, changes=(), came=10.0, late=1.0)
    assert story.goes_on(TICK, load=9).wanted < 6


def test_who_wakes_a_release_is_not_taken_for_a_sign_of_too_few_replicas():
    story = Story(rules=msgspec.structs.replace(RULES, min=0), wanted=0)
    story.goes_on(600)
    assert story.goes_on(TICK, queued=50).state.late == 0.0


def test_peaks_that_the_means_hide_add_one_replica_once_too_many_were_late():
    story = Story(wanted=3, service=2.0)
    story.goes_on(1200, load=6)
    for _ in range(40):
        story.goes_on(25, load=6)
        story.goes_on(TICK, load=24, queued=20)
    assert story.wanted > 3 and "panic" in story.rules_used


def test_an_hour_sees_no_more_changes_than_it_may():
    chance = random.Random(3)
    story = Story(wanted=3)
    for _ in range(600):
        story.goes_on(60, load=chance.choice([2, 8, 20, 30, 45, 60]))
    at = [one.state.changes[-1] for one in story.decisions if one.changed]
    assert max(sum(begin <= other < begin + 3600 for other in at) for begin in at) <= RULES.changes
    assert len(at) > 10


def test_a_change_downwards_leaves_one_for_the_way_back():
    story = Story(wanted=8, rules=msgspec.structs.replace(RULES, changes=3))
    story.goes_on(900, load=45)
    story.goes_on(7200, load=9)
    for one in story.decisions:
        if one.changed and one.wanted < one.before:
            assert one.numbers.used <= 1


def test_an_overload_is_answered_though_the_hour_had_all_its_changes_and_only_by_a_leap():
    story = Story(wanted=4)
    story.goes_on(600, load=16)
    story.state = msgspec.structs.replace(story.state, changes=tuple(story.at - 60.0 * one for one in range(6, 0, -1)))
    assert story.goes_on(300, load=27).rule == "spent"
    assert story.wanted == 4
    story.ready = 4
    last = story.goes_on(30, load=32, queued=200)
    assert last.wanted >= 6 and story.rules_used == ["panic"]


def test_a_mean_that_asks_for_a_leap_is_held_back_all_the_same():
    story = Story(wanted=4, rules=msgspec.structs.replace(RULES, target=2.0))
    story.state = msgspec.structs.replace(story.state, changes=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0))
    last = story.goes_on(300, load=16)
    assert (last.rule, last.wanted, last.numbers.stable) == ("spent", 4, 8)


def test_who_waits_is_counted_by_the_work_that_must_be_done_with_him_within_the_stable_window():
    story = Story(wanted=4, service=12.0)
    story.goes_on(300, load=16)
    story.goes_on(TICK, load=16, queued=40)
    for _ in range(4):
        last = story.goes_on(TICK, load=16, queued=40)
    assert last.numbers.load.now == pytest.approx(16, rel=0.05)
    assert last.numbers.panic == math.ceil((16 + 40 * 12 / 120) / 8)


@pytest.mark.parametrize(("wanted", "found"), [(1, 2), (30, 5), (4, 4)])
def test_bounds_hold_at_once_whatever_the_hour_had(wanted, found):
    rules = msgspec.structs.replace(RULES, min=2, max=5)
    state = State(wanted, changes=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
    assert decide(state, Reading(at=10.0, in_flight=0.0, ready=wanted), rules).wanted == found


def test_more_than_the_largest_number_is_never_asked_for():
    story = Story(rules=msgspec.structs.replace(RULES, max=5))
    assert story.goes_on(600, load=40, queued=500).wanted == 5


def test_what_is_under_way_always_has_a_place():
    rules = msgspec.structs.replace(RULES, late=1.0, target=100.0)
    story = Story(rules=rules, wanted=6)
    story.goes_on(3000, load=33)
    assert story.wanted == 5 == math.ceil(33 / RULES.places)


@pytest.mark.parametrize(("target", "found"), [(None, 3), (4.0, 4), (2.0, 8), (7.9, 3)])
def test_a_target_of_requests_per_replica_decides_where_it_asks_for_more(target, found):
    story = Story(rules=msgspec.structs.replace(RULES, target=target), wanted=2)
    assert story.goes_on(600, load=15).wanted == found


# To zero and back.

ZERO = msgspec.structs.replace(RULES, min=0)


def test_an_idle_release_goes_to_zero_and_the_first_request_wakes_one():
    story = Story(rules=ZERO, wanted=1)
    story.goes_on(300, load=1)
    assert story.goes_on(RULES.settle + RULES.stable, load=0).wanted == 0
    assert story.rules_used == ["zero"]
    last = story.goes_on(TICK, queued=1)
    assert (last.wanted, last.rule) == (1, "wake")
    assert "a start takes 4 s" in last.reason


def test_a_wake_is_never_held_back_by_the_changes_of_the_hour():
    state = State(0, changes=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
    assert decide(state, Reading(at=10.0, in_flight=0.0, queued=1.0), ZERO).rule == "wake"


@pytest.mark.parametrize("start", [None, 31.0])
def test_a_release_whose_start_is_too_slow_or_unknown_keeps_one(start):
    story = Story(rules=ZERO, wanted=1, start=start)
    assert story.goes_on(7200, load=0).wanted == 1
    assert story.rules_used == []


@pytest.mark.parametrize(
    ("seconds", "found"), [((), None), ((1.0, 2.0), None), ((1.0, 9.0, 2.0), 9.0), ((99.0, *[3.0] * 20), 3.0)]
)
def test_a_cold_start_takes_as_long_as_the_slowest_of_the_last_ones(seconds, found):
    assert cold_start(seconds) == found


# Batches.


def test_batches_start_no_replica_by_themselves():
    story = Story(wanted=1)
    story.goes_on(1200, load=1, batch_in_flight=7, batch_queued=500)
    assert (story.wanted, story.rules_used) == (1, [])


def test_batches_start_replicas_where_that_is_asked():
    story = Story(rules=msgspec.structs.replace(RULES, batch=True), wanted=1)
    assert story.goes_on(300, load=0, batch_in_flight=8, batch_queued=40).wanted > 1


def test_a_batch_under_way_keeps_the_last_replica_and_no_more():
    story = Story(rules=ZERO, wanted=3)
    story.goes_on(5000, load=0, batch_in_flight=20)
    assert story.wanted == 1
    assert story.goes_on(1500, load=0).wanted == 0


# What is not known.


@pytest.mark.parametrize("wanted", [0, 1, 7])
def test_an_unknown_load_changes_nothing(wanted):
    decision = decide(State(wanted), Reading(at=5.0, in_flight=None, queued=99.0), ZERO)
    assert (decision.wanted, decision.rule, decision.numbers) == (wanted, "unknown", None)


def test_a_gap_in_the_readings_begins_the_settling_time_anew():
    story = Story(wanted=6)
    story.goes_on(550, load=9)
    story.at += 60.0
    story.goes_on(RULES.settle - TICK, load=9)
    assert story.wanted == 6
    assert story.goes_on(2 * TICK, load=9).wanted < 6


def test_a_clock_that_leaps_forward_removes_nothing():
    story = Story(wanted=6)
    story.goes_on(900, load=36)
    story.at += 86400.0
    assert story.goes_on(RULES.settle - TICK, load=9).wanted == 6


def test_a_clock_that_goes_back_removes_nothing_and_is_believed_again():
    story = Story(wanted=6, at=1e6)
    story.goes_on(900, load=36)
    story.at -= 5000.0
    assert story.goes_on(TICK, load=9).rule == "unknown"
    assert story.goes_on(RULES.settle - TICK, load=9).wanted == 6
    assert story.goes_on(300, load=9).wanted < 6


def test_what_was_done_in_a_future_that_did_not_come_holds_nothing_back():
    story = Story(wanted=2)
    ahead = tuple(story.at + 9000.0 + one for one in range(6))
    story.state = msgspec.structs.replace(story.state, changes=ahead, panic_until=9000.0)
    assert story.goes_on(300, load=16).wanted > 2
    assert story.goes_on(1500, load=1).wanted == 1


def test_the_same_reading_twice_changes_nothing_and_forgets_nothing():
    story = Story(wanted=3)
    before = story.goes_on(600, load=12).state
    assert story.reads(12).state == before


def test_requests_that_have_not_ended_yet_do_not_say_how_long_one_takes():
    story = Story(wanted=2)
    assert story.goes_on(2 * TICK, load=2).numbers.load.service is None
    assert story.goes_on(300, load=8).numbers.load.service == pytest.approx(8.0, rel=0.05)


# The row.


def test_a_state_is_the_same_after_it_was_kept_in_a_row_and_stays_small():
    chance = random.Random(9)
    story = Story(wanted=2)
    for _ in range(3000):
        story.at += 1.0
        story.finished += 2.0
        story.reads(chance.uniform(0, 60), chance.uniform(0, 5))
        row = msgspec.json.encode(story.state)
        assert len(row) < 8000 and len(story.state.points) <= 62
        story.state = msgspec.json.decode(row, type=State)
    assert story.state == story.decisions[-1].state


def test_every_decision_can_be_computed_again_from_its_state_and_reading():
    story = Story(wanted=2)
    story.goes_on(600, load=14, queued=2)
    reading = Reading(at=story.at + 5, in_flight=20.0, queued=9.0, finished=story.finished + 8, ready=2)
    assert decide(story.state, reading, RULES) == decide(story.state, reading, RULES)
    assert decide(story.state, reading, RULES).numbers.load.queued > 2
