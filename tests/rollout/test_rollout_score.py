"""From outcomes to readings: what is counted, what is kept, and that a retry goes on."""

from __future__ import annotations

import math

import msgspec
import pytest
from rollout_facts import outcome, requests

from guideway.core.gate import Verdict
from guideway.rollout.decide import Decision, Situation, decide
from guideway.rollout.eprocess import log_e
from guideway.rollout.inferiority import log_inferiority, rate_upper, ratio
from guideway.rollout.plan import Plan
from guideway.rollout.score import Scores
from guideway.rollout.signals import NAMES, TOLERATED, Limits, limits_from
from guideway.rollout.verdict import verdicts

PLAN = Plan()
LIMITS = limits_from(requests(99, 3000, 0.0))


def scores_of(traffic):
    scores = Scores(LIMITS)
    for one in traffic:
        scores.take(one)
    return scores


def reading(scores, name):
    return {one.signal: one for one in scores.readings(PLAN)}[name]


def test_a_candidate_that_fails_a_third_is_stopped_by_errors_within_a_few_hundred_requests():
    scores = scores_of(requests(1, 400, 0.05, stable_errors=0.005, candidate_errors=0.3))
    found = reading(scores, "errors")
    assert found.log_peak >= PLAN.log_threshold("errors")
    assert found.ratio.low > 2.0


def test_a_healthy_one_is_stopped_by_nothing_and_proven_in_time():
    scores = scores_of(requests(2, 6000, 0.5, stable_errors=0.001, candidate_errors=0.001))
    found = scores.readings(PLAN)
    assert all(one.log_peak < PLAN.log_threshold(one.signal) for one in found)
    assert reading(scores, "errors").own_upper < 0.01
    assert reading(scores, "latency_p50").log_inferior >= math.log(40)


def test_a_slow_one_is_stopped_by_latency():
    scores = scores_of(requests(3, 2000, 0.1, slower=2.0))
    assert any(reading(scores, name).log_peak >= PLAN.log_threshold(name) for name in ("latency_p50", "latency_p90"))
    assert reading(scores, "errors").log_peak == 0.0


def test_every_signal_has_a_reading_even_before_the_first_request():
    found = Scores().readings(PLAN)
    assert [one.signal for one in found] == list(NAMES)
    assert all(one.log_peak == 0.0 and one.own_upper == 1.0 and one.ratio.high is None for one in found)


@pytest.mark.parametrize("why", ["seen before", "golden", "warm-up"])
def test_what_is_no_unit_leaves_no_trace(why):
    scores = scores_of([outcome(failure="status", why_not=why)])
    scores.take_late(outcome(why_not=why), thumb="down")
    assert scores == Scores(LIMITS)


def test_units_are_counted_by_weight_and_the_newest_is_known():
    scores = scores_of([outcome(share=0.05, at=9.0), outcome(share=0.1, at=7.0, arm="candidate"), outcome(share=0.1)])
    assert (scores.units_at(0.05), scores.units_at(0.1), scores.units_at(0.5)) == (1, 2, 0)
    assert scores.newest == 9.0


def test_events_of_one_caller_are_scored_per_signal():
    """A caller whose errors were scored may still tell of latency: each signal has its own evidence."""
    slow, ill = outcome(unit="a" * 32, latency=9e9), outcome(unit="a" * 32, failure="connect", first_status=0)
    scores = scores_of([ill, ill, slow, slow])
    assert reading(scores, "errors").events == (1, 0)
    assert reading(scores, "latency_p50").events == (1, 0)
    assert reading(scores, "errors").requests == (4, 0)


def test_feedback_counts_on_the_arm_of_the_request_it_speaks_of():
    scores = Scores(LIMITS)
    scores.take_late(outcome(arm="candidate"), thumb="down", other_language=True)
    assert reading(scores, "feedback").events == reading(scores, "language").events == (0, 1)


def test_pairs_of_quality_speak_against_a_candidate():
    scores = Scores(LIMITS)
    for at in range(100):
        scores.pairs.add(str(at), 0.0, 1.0)
    assert reading(scores, "quality").log_peak >= PLAN.log_threshold("quality")


def test_anyone_can_compute_a_decision_again_from_the_line_that_holds_it():
    scores = scores_of(requests(6, 1500, 0.25, stable_errors=0.02, candidate_errors=0.02))
    now = Situation(plan=PLAN, stable="old", candidate="new", step=0, readings=scores.readings(PLAN))
    line = msgspec.json.decode(msgspec.json.encode(decide(now)), type=Decision)
    for one in (verdict.reading for verdict in line.verdicts):
        tally, tolerated = one.tally, TOLERATED.get(one.signal, 1.0)
        assert one.log_e == pytest.approx(log_e(tally, tolerated), abs=1e-9)
        assert one.log_inferior == pytest.approx(log_inferiority(tally, PLAN.margin(one.signal)))
        assert one.ratio == ratio(tally, PLAN.error_each)
        assert one.own_upper == rate_upper(*one.own, PLAN.error_each)
        assert one.events == tuple(map(sum, zip(*tally.values(), strict=True))) or not tally


@pytest.mark.parametrize("codec", [msgspec.json, msgspec.msgpack])
def test_what_was_committed_goes_on_as_if_nothing_had_happened(codec):
    traffic = list(requests(4, 800, 0.25, stable_errors=0.05, candidate_errors=0.1))
    whole, half = scores_of(traffic), scores_of(traffic[:400])
    again = codec.decode(codec.encode(half), type=Scores)
    for one in traffic[400:]:
        again.take(one)
    assert again == whole


def test_a_retry_keeps_the_evidence_and_takes_all_steps_anew():
    before = scores_of([outcome(unit="a" * 32, share=0.1, failure="connect", first_status=0)])
    evidence = reading(before, "errors")
    before.again()
    assert reading(before, "errors") == evidence
    assert before.units_at(0.1) == 0
    before.take(outcome(unit="a" * 32, share=0.1, failure="connect", first_status=0))
    assert reading(before, "errors").events == (2, 0), "the new draw of the same caller is independent of the old one"


def test_who_was_refused_for_a_budget_or_a_place_is_no_unit_and_who_was_refused_by_a_release_is_one():
    scores = Scores()
    scores.take(outcome(status=429, first_status=0))
    assert scores.units == {}
    scores.take(outcome(status=400, first_status=0, guarded=True))
    assert scores.units == {0.1: (1, 0)}


def test_what_a_client_did_wrong_is_no_request_that_went_well():
    scores = Scores()
    for _ in range(100):
        scores.take(outcome(arm="candidate", status=400, first_status=400))
    assert next(one for one in scores.readings(Plan()) if one.signal == "errors").own == (0, 0)


def test_where_callers_are_not_counted_any_more_nothing_is_known_of_the_own_rate(monkeypatch):
    monkeypatch.setattr("guideway.rollout.units.CALLERS_KEPT", 50)
    scores = Scores()
    for number in range(60):
        scores.take(outcome(arm="candidate", unit=f"{number:032x}"))
    assert next(one for one in scores.readings(Plan()) if one.signal == "errors").own_upper == 1.0


def test_limits_that_nearly_every_request_exceeds_prove_nothing():
    scores = Scores(limits=Limits(latency=(10.0, 20.0, 25.0, 40.0)))
    for one in requests(1, 3000, 0.5):
        scores.take(one)
    found = {one.signal: one for one in verdicts(Plan(), scores.readings(Plan()))}
    for signal in ("latency_p50", "latency_p95"):
        assert found[signal].verdict is Verdict.UNKNOWN
        assert "limits that fit: " in found[signal].waits_for
