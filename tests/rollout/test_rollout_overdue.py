"""Requests that are told of while they still run: each of their events counts once, whatever arrives."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from rollout_facts import outcome, requests

from guideway.rollout import overdue
from guideway.rollout.baseline import Baseline
from guideway.rollout.canary import Canary
from guideway.rollout.overdue import Overdue
from guideway.rollout.plan import Plan
from guideway.rollout.score import Scores
from guideway.rollout.signals import LATENCY, Limits, limits_from

LIMITS = Limits(latency=(100.0, 200.0, 300.0, 400.0))


def early(*limits, **changes):
    return outcome(**{
        "status": 0, "first_status": 0, "latency": None, "first_token": None, "per_token": None, "input_tokens": None,
        "output_tokens": None, "finish_reason": "", "exceeded": limits, "overdue": "running", **changes,
    })  # fmt: skip


def over(**changes):
    return outcome(**{"latency": 1000.0, "exceeded": LIMITS.latency, "overdue": "over", **changes})


def scores_of(*some):
    scores = Scores(LIMITS)
    for one in some:
        scores.take(one)
    return scores


def counted(scores):
    """Of every signal: requests, and events with the share they had; and units."""
    found = {name: (score.requests, score.process.tally) for name, score in scores.signals.items()}
    return found, scores.units, scores.newest


def test_a_limit_that_ran_out_counts_before_the_request_is_over():
    scores = scores_of(early(100.0, 200.0, arm="candidate"))
    assert set(scores.signals) == set(LATENCY[:2])
    assert all(score.process.tally == {0.1: (0, 1)} for score in scores.signals.values())
    assert scores.units_at(0.1) == 1


RECORDS = (early(100.0), early(100.0, 200.0, 300.0), over())


@pytest.mark.parametrize(
    "order",
    [
        *(order for size in (1, 2, 3) for order in itertools.permutations(RECORDS, size) if RECORDS[2] in order),
        (*RECORDS, *RECORDS),
        (RECORDS[2], RECORDS[2], RECORDS[0]),
        (RECORDS[1], RECORDS[1], RECORDS[0], RECORDS[2]),
    ],
)
def test_whatever_arrives_in_whatever_order_a_request_that_ends_counts_as_if_only_its_end_was_told(order):
    assert counted(scores_of(*order)) == counted(scores_of(over()))


def test_one_whose_end_is_never_told_counts_once():
    twice = scores_of(early(100.0), early(100.0), early(100.0, 200.0))
    assert counted(twice) == counted(scores_of(early(100.0, 200.0)))


def test_two_requests_are_told_apart():
    scores = scores_of(early(100.0, request="a" * 48), early(100.0, request="b" * 48), over(request="a" * 48))
    assert scores.units_at(0.1) == 2
    assert scores.signals["latency_p50"].requests == (2, 0)


def test_an_early_record_is_no_error_and_says_nothing_of_the_answer():
    scores = scores_of(early(100.0), over(failure="time-out", status=504, first_status=0))
    assert scores.signals["errors"].process.tally == {0.1: (1, 0)}
    assert scores.signals["errors"].requests == (1, 0)


def test_what_is_no_unit_is_not_remembered():
    assert scores_of(early(100.0, why_not="batch")) == Scores(LIMITS)


def test_what_is_remembered_goes_with_the_scores():
    scores = scores_of(early(100.0))
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(scores), type=Scores)
    again.take(over())
    assert counted(again) == counted(scores_of(over()))


def test_scores_that_were_kept_before_there_were_early_records_can_be_read():
    before = msgspec.to_builtins(scores_of(outcome()), str_keys=True)
    del before["overdue"]
    assert msgspec.convert(before, Scores, strict=False) == scores_of(outcome())


def test_a_request_that_nobody_was_early_for_is_not_remembered():
    assert scores_of(outcome(exceeded=(100.0,))).overdue == Overdue()


def test_memory_is_bounded_and_what_found_no_room_counts_at_its_end(monkeypatch):
    monkeypatch.setattr(overdue, "KEPT", 3)
    some = [f"{number:016x}" for number in range(5)]
    scores = scores_of(*(early(100.0, request=one) for one in some))
    assert (len(scores.overdue.requests), scores.units_at(0.1)) == (3, 3)
    for one in some:
        scores.take(over(request=one))
    assert len(scores.overdue.requests) == 3
    assert scores.units_at(0.1) == 5
    assert {scores.signals[name].requests for name in LATENCY} == {(5, 0)}


def test_one_that_was_never_over_makes_room_after_hours(monkeypatch):
    monkeypatch.setattr(overdue, "KEPT", 1)
    scores = scores_of(early(100.0, request="a" * 16, at=0.0), early(100.0, request="b" * 16, at=7000.0))
    assert list(scores.overdue.requests) == ["a" * 16]
    scores.take(early(100.0, request="c" * 16, at=7300.0))
    assert list(scores.overdue.requests) == ["c" * 16]


def test_a_candidate_that_hangs_is_stopped_though_none_of_its_requests_ends():
    limits = limits_from(requests(99, 3000, 0.0))
    scores, taken = Scores(limits), 0
    for number, one in enumerate(requests(5, 2000, 0.05)):
        hangs = one.arm == "candidate"
        name = {"request": f"{number:016x}"}
        scores.take(early(*limits.latency, arm="candidate", share=0.05, **name) if hangs else outcome_of(one, name))
        taken = number + 1
        peak = max(score.process.peak for score in scores.signals.values())
        if peak >= Plan().log_threshold("latency_p99"):
            break
    assert taken < 200


def test_an_early_record_is_no_request_of_a_release_that_was_promoted():
    canary = Canary()
    for one in (early(100.0, release="c"), over(release="c")):
        canary.take_after(one, "c")
    assert canary.after == (1, 0)


def test_an_early_record_draws_no_limit_and_changes_no_baseline():
    baseline = Baseline(release="s")
    baseline.take(early(100.0, release="s"), "s")
    assert baseline.outcomes == []
    assert limits_from([early(100.0)] * 500) == Limits()


def outcome_of(one, name):
    return msgspec.structs.replace(one, **name)


def test_the_language_of_an_answer_counts_with_its_request_and_once():
    scores = scores_of(outcome(other_language=True), outcome(other_language=False), outcome(other_language=None))
    assert scores.signals["language"].requests == (2, 0)
    assert scores.signals["language"].process.tally == {0.1: (1, 0)}
    scores.take_late(outcome(other_language=True), other_language=True)
    assert scores.signals["language"].requests == (2, 0)


def test_an_answer_that_never_came_is_in_no_language():
    assert "language" not in scores_of(outcome(first_status=0, failure="connect", other_language=True)).signals
