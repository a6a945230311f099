"""What is measured of a load: pure, on answers that are written down."""

from __future__ import annotations

import math

import msgspec
import pytest

from guideway.fleet.drills import answers as of
from guideway.fleet.drills import controller, replica, rollback
from guideway.fleet.drills.answers import Answer

GOOD = Answer(began=0.0, ended=0.1, head=0.1, status=200, whole=True)
BUSY = Answer(began=0.0, ended=0.1, head=0.1, status=429, retry_after="5", why="the answer broke off")
STREAM = Answer(began=0.0, ended=0.4, head=0.1, status=200, streamed=True, whole=True)


def answer(base: Answer = GOOD, **facts) -> Answer:
    return msgspec.structs.replace(base, **facts)


def named(*heads: tuple[float, str]) -> list[Answer]:
    return [answer(head=head, ended=head, release=release) for head, release in heads]


@pytest.mark.parametrize(
    ("one", "good", "broken", "refused"),
    [
        (GOOD, True, False, False),
        (STREAM, True, False, False),
        (answer(STREAM, whole=False), False, True, False),
        (answer(whole=False), False, False, False),
        (BUSY, False, False, True),
        (answer(BUSY, status=503), False, False, True),
        (answer(BUSY, retry_after=""), False, False, False),
        (answer(BUSY, status=500), False, False, False),
        (answer(status=0, head=0.0, whole=False), False, False, False),
    ],
)
def test_an_answer_is_good_or_broken_or_a_proper_refusal(one, good, broken, refused):
    assert (one.good, one.broken, one.refused) == (good, broken, refused)


@pytest.mark.parametrize(
    ("heads", "seconds"),
    [
        ([(9.0, "old"), (10.2, "new")], 0.2),
        ([(10.1, "old"), (10.2, "new"), (10.3, "old"), (10.5, "new"), (10.6, "new")], 0.5),
        ([(10.1, "new"), (10.2, "old")], math.inf),
        ([(9.9, "old")], math.inf),
        ([(10.1, ""), (10.2, "new")], 0.2),
    ],
)
def test_a_release_is_gone_at_the_first_answer_of_another_after_its_last_one(heads, seconds):
    assert of.seconds_until_gone(named(*heads), "old", 10.0) == pytest.approx(seconds)


def test_goodput_counts_good_answers_that_ended_within_the_time():
    found = [answer(ended=end) for end in (0.5, 1.0, 1.5, 2.0)] + [answer(BUSY, ended=1.2)]
    assert of.goodput(found, 1.0, 2.0) == 2.0


def test_a_percentile_is_a_value_that_occurred():
    assert of.percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert of.percentile([1.0], 0.95) == 1.0
    assert math.isnan(of.percentile([], 0.5))


def test_calm_is_a_row_of_quick_good_answers_that_began_after_the_storm():
    quick = [answer(began=10.0 + k, ended=10.1 + k) for k in range(3)]
    slow = answer(began=10.5, ended=11.9)
    assert of.calm_since(quick, 10.0, 0.5, 3) == pytest.approx(2.1)
    assert of.calm_since([*quick, slow], 10.0, 0.5, 3) == math.inf
    assert of.calm_since(quick, 10.5, 0.5, 3) == math.inf


def test_hits_are_a_share_of_what_was_answered():
    found = [answer(cache=how) for how in ("hit", "shared", "miss", "")] + [answer(BUSY, cache="hit")]
    assert of.hit_share(found) == 0.5
    assert of.hit_share([]) == 0.0


def test_reasons_are_counted_the_most_frequent_first():
    found = [GOOD, answer(status=502, whole=False), answer(status=502, whole=False), answer(BUSY, why="reset")]
    assert of.reasons(found) == "2 × status 502, 1 × reset"


def test_one_failed_request_fails_a_rollback_however_quick_it_was():
    assert all(one.holds for one in rollback.judged([GOOD, STREAM], 0.1, 0.1, (5.0, 60.0)))
    judged = {one.metric: one for one in rollback.judged([GOOD, answer(STREAM, whole=False)], 0.1, 0.1, (5.0, 60.0))}
    assert not judged["rollback_failed_requests"].holds and not judged["rollback_broken_streams"].holds


@pytest.mark.parametrize("seconds", [5.1, math.inf])
def test_a_rollback_that_took_longer_than_the_clause_allows_fails(seconds):
    assert [one.metric for one in rollback.judged([GOOD], seconds, 0.1, (5.0, 60.0)) if not one.holds] == [
        "rollback_seconds"
    ]


@pytest.mark.parametrize(("told", "holds"), [(0.9, True), (1.1, False)])
def test_streams_of_a_killed_replica_may_break_if_clients_are_told_at_once(told, holds):
    found = [GOOD, answer(STREAM, ended=20.0 + told, whole=False)]
    judged = replica.judged(found, 20.0, 2.0, 60.0)
    assert judged[0].holds and judged[1].holds is holds and judged[2].holds


def test_a_replica_that_nobody_replaces_fails_the_drill():
    assert [one.metric for one in replica.judged([GOOD], 0.0, math.inf, 60.0) if not one.holds] == [
        "replica_recovery_seconds"
    ]


def test_a_controller_that_replaces_what_ran_well_fails_the_drill():
    before = frozenset({("a", 1, "t"), ("gateway", 2, "t")})
    assert controller.changed(before, before) == 0
    changes = controller.changed(before, frozenset({("a", 3, "u"), ("gateway", 2, "t")}))
    assert [one.value for one in controller.judged([GOOD], 1.0, changes) if not one.holds] == [2]
