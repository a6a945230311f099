"""What a rollout does next: a table of situations."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.gate import Verdict
from guideway.core.spec.rollout import Required, Step
from guideway.rollout.decide import Decision, Guard, Situation, decide
from guideway.rollout.inferiority import Estimate
from guideway.rollout.plan import Plan
from guideway.rollout.score import Reading
from guideway.rollout.signals import NAMES, SHARES

OLD, NEW = "sha256:old", "sha256:new"
PLAN = Plan(
    steps=(Step(0.1, 100, shortest=10.0, longest=600.0), Step(0.5, 200, shortest=10.0, longest=600.0)),
    required=(Required("errors", 2.0, objective=0.01), Required("latency_p50", 1.2)),
    ready_within=60.0,
    fresh_within=120.0,
    source_within=300.0,
)
FIRST, LAST = 0, 1
PROVEN = math.log(40.0) + 0.01
RATIO = Estimate(1.0, 0.9, 1.1)


def reading(signal, **changes):
    plain = Reading(signal, events=(9, 1), requests=(900, 100), ratio=RATIO)
    return msgspec.structs.replace(plain, **changes)


ERRORS, MEDIAN = reading("errors", log_inferior=PROVEN), reading("latency_p50", log_inferior=PROVEN)
GOOD = (ERRORS, MEDIAN)
CLEAN = reading("errors", own_upper=0.009, events=(0, 0))
BAD = reading("errors", log_peak=math.log(200.0) + 0.01, log_e=-3.0, events=(1, 4))
UNSURE = reading("errors", log_inferior=PROVEN - 1.0, own_upper=0.02)


def situation(**changes):
    plain = Situation(
        plan=PLAN, stable=OLD, candidate=NEW, step=LAST, held=60.0, units=500, silent_for=1.0, readings=GOOD
    )
    return msgspec.structs.replace(plain, **changes)


BROKEN, UNKNOWN, FINE = Guard("p99", 3.0, 2.0), Guard("p99", None, 2.0), Guard("p99", 1.0, 2.0)
STOPS = Guard("p99", 3.0, 2.0, stops=True)
NO_DATA = Guard("p99", math.nan, 2.0, stops=True)

CASES = {
    # the way up
    "a ready candidate gets the first step": ({"step": -1, "readings": ()}, "raise", 0.1, "", "is ready"),
    "units and time raise": ({"step": FIRST}, "raise", 0.5, "", "500 units in 60 s at 10%"),
    "they raise without any proof": ({"step": FIRST, "readings": (UNSURE,)}, "raise", 0.5, "", "nothing failed"),
    "too few units hold": ({"step": FIRST, "units": 99}, "hold", 0.1, "", "99 of 100 units at 10%"),
    "too little time holds": ({"step": FIRST, "held": 9.0}, "hold", 0.1, "", "held 9 of 10 s"),
    "too long with too few units waits": ({"step": FIRST, "units": 99, "held": 700.0}, "wait", 0.1, "", "is over"),
    # promotion
    "all shown good is promoted": ({}, "promote", 1.0, NEW, "errors at most 1.1 times"),
    "no errors at all is promoted": ({"readings": (CLEAN, MEDIAN)}, "promote", 1.0, NEW, "errors in at most 0.90%"),
    "a proof that is not required adds nothing": ({"readings": (*GOOD, reading("empty"))}, "promote", 1.0, NEW, ""),
    "one signal unsure is held": ({"readings": (UNSURE, MEDIAN)}, "hold", 0.5, "", "errors: a ratio below 2"),
    "and waits when the longest hold is over": (
        {"readings": (UNSURE, MEDIAN), "held": 601.0}, "wait", 0.5, "", "longest hold of 600 s is over",
    ),
    "a signal that nobody measured is not good": ({"readings": (ERRORS,)}, "hold", 0.5, "", "latency_p50: no request"),
    "nothing measured is not good": ({"readings": ()}, "hold", 0.5, "", "no request has told of it"),
    "promotion needs the units too": ({"units": 199}, "hold", 0.5, "", "199 of 200"),
    "promotion needs the time too": ({"held": 9.0}, "hold", 0.5, "", "held 9 of 10 s"),
    # against the candidate
    "evidence aborts": ({"readings": (BAD, MEDIAN)}, "abort", 0.0, OLD, "4 of 5 events were the candidate's, E"),
    "evidence aborts at the first step": ({"step": FIRST, "units": 3, "readings": (BAD,)}, "abort", 0.0, OLD, "errors"),
    "evidence aborts while it is paused": ({"paused": True, "readings": (BAD,)}, "abort", 0.0, OLD, "errors failed"),
    "evidence aborts though it also is shown good": (
        {"readings": (reading("errors", log_peak=9.0, log_inferior=9.0), MEDIAN)}, "abort", 0.0, OLD, "errors failed",
    ),
    "a signal nobody requires aborts": (
        {"readings": (*GOOD, reading("empty", log_peak=math.log(3667.0)))}, "abort", 0.0, OLD, "empty failed",
    ),
    "below its threshold it does not": (
        {"readings": (*GOOD, reading("empty", log_peak=math.log(3660.0)))}, "promote", 1.0, NEW, "",
    ),
    "the strongest is named": (
        {"readings": (BAD, reading("latency_p50", log_peak=20.0))}, "abort", 0.0, OLD, "latency_p50 failed",
    ),
    # readiness
    "not ready waits": ({"step": -1, "ready": False, "unready_for": 60.0}, "wait", 0.0, "", "not ready (60 of 60 s)"),
    "never ready is undone": ({"step": -1, "ready": False, "unready_for": 60.1}, "abort", 0.0, OLD, "not ready"),
    "not even a pause saves it": (
        {"step": -1, "ready": False, "unready_for": 61.0, "paused": True}, "abort", 0.0, OLD, "not ready",
    ),
    "ready no more waits": ({"ready": False, "unready_for": 5.0}, "wait", 0.5, "", "not ready"),
    "ready no more for long is undone": ({"ready": False, "unready_for": 99.0}, "abort", 0.0, OLD, "not ready"),
    "it was slow, but it is ready": ({"step": -1, "unready_for": 99.0}, "raise", 0.1, "", "is ready"),
    # evidence that is missing or old
    "a quiet service waits": ({"silent_for": 121.0}, "wait", 0.5, "", "the service is quiet: no unit for 121 s"),
    "for ever": ({"silent_for": 9e6, "held": 9e6}, "wait", 0.5, "", "the service is quiet"),
    "a service that was never asked waits": ({"step": FIRST, "silent_for": None}, "wait", 0.1, "", "no unit yet"),
    "old evidence raises nothing": ({"step": FIRST, "silent_for": 121.0}, "wait", 0.1, "", "quiet"),
    "a source that is dead waits": ({"source_dead_for": 299.0}, "wait", 0.5, "", "cannot be read (299 of 300 s)"),
    "past the deadline it is undone": ({"source_dead_for": 301.0}, "abort", 0.0, OLD, "no outcome could be read"),
    # people
    "a pause holds": ({"paused": True}, "hold", 0.5, "", "a person paused"),
    "a pause holds the first step": ({"paused": True, "step": -1}, "hold", 0.0, "", "a person paused"),
    # guards
    "a guard in order changes nothing": ({"guards": (FINE,)}, "promote", 1.0, NEW, ""),
    "a broken guard holds": ({"guards": (FINE, BROKEN)}, "hold", 0.5, "", "(outside alpha) is 3, above 2"),
    "a guard without data waits": ({"guards": (UNKNOWN,)}, "wait", 0.5, "", "has no data"),
    "a guard that is not a number waits": ({"guards": (NO_DATA,)}, "wait", 0.5, "", "has no data"),
    "a guard that stops aborts": ({"guards": (STOPS,)}, "abort", 0.0, OLD, "guard p99 (outside alpha)"),
    # after the end
    "after a promotion it only alerts": (
        {"ended": "promoted", "readings": (BAD, MEDIAN)}, "alert", 1.0, "", "after the promotion errors failed",
    ),
    "after a promotion all is well": ({"ended": "promoted"}, "hold", 1.0, "", "over: promoted"),
    "an abort is final": ({"ended": "aborted", "readings": (BAD,)}, "hold", 0.0, "", "over: aborted"),
    "nothing is undone after the end": (
        {"ended": "promoted", "ready": False, "unready_for": 1e6, "source_dead_for": 1e6}, "hold", 1.0, "", "over",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "kind", "weight", "to", "words"), CASES.values(), ids=CASES)
def test_what_happens_next(changes, kind, weight, to, words):
    found = decide(situation(**changes))
    assert (found.kind, found.weight, found.to) == (kind, weight, to)
    assert words in found.reason


seconds = st.floats(0.0, 1e6)
anything = st.builds(
    Situation,
    plan=st.just(PLAN),
    stable=st.just(OLD),
    candidate=st.just(NEW),
    step=st.integers(-1, 1),
    held=seconds,
    units=st.integers(0, 1000),
    ready=st.booleans(),
    unready_for=seconds,
    silent_for=st.none() | seconds,
    source_dead_for=st.just(0.0) | seconds,
    paused=st.booleans(),
    ended=st.sampled_from(["", "", "", "promoted", "aborted"]),
    readings=st.lists(
        st.sampled_from([ERRORS, CLEAN, BAD, UNSURE, MEDIAN, Reading("tokens")]), unique_by=lambda one: one.signal
    ).map(tuple),
    guards=st.lists(st.sampled_from([BROKEN, UNKNOWN, FINE, STOPS, NO_DATA]), max_size=2).map(tuple),
)


@given(anything)
def test_it_promotes_only_with_everything_known_fresh_and_good(now):
    found = decide(now)
    if found.kind in ("promote", "raise"):
        assert now.ready
        assert not now.paused
        assert now.source_dead_for == 0.0
        assert all(guard.known and not guard.broken for guard in now.guards)
        assert BAD not in now.readings
    if found.kind == "promote":
        assert now.silent_for is not None
        assert now.silent_for <= PLAN.fresh_within
        assert {one.signal for one in found.verdicts if one.verdict is Verdict.PASS} >= {"errors", "latency_p50"}


@given(anything)
def test_traffic_goes_only_to_one_of_the_two_and_back_only_to_the_stable_release(now):
    found = decide(now)
    assert found.to == {"abort": OLD, "promote": NEW}.get(found.kind, "")
    assert found.weight >= now.weight or found.kind == "abort"
    assert found.reason
    assert not (now.ended and found.to)


@given(anything)
def test_a_situation_that_was_written_is_decided_alike(now):
    found, json = decide(now), msgspec.json
    again = decide(json.decode(json.encode(now), type=Situation))
    assert (again.kind, again.reason, again.verdicts) == (found.kind, found.reason, found.verdicts)
    assert json.decode(json.encode(found), type=Decision).verdicts == found.verdicts, "the ledger keeps it whole"


def test_the_numbers_that_made_it_are_in_the_decision():
    found = decide(situation(guards=(FINE, UNKNOWN), units=7, silent_for=None))
    assert found.numbers["units"] == 7.0
    assert found.numbers["least_units"] == 200.0
    assert found.numbers["alpha"] == 0.01
    assert found.numbers["guard p99"] == 1.0
    assert "silent_for" not in found.numbers


def test_every_signal_is_pass_fail_or_unknown_and_says_what_it_waits_for():
    unheard = [Reading(name) for name in NAMES[2:]]
    found = {one.signal: one for one in decide(situation(readings=(BAD, MEDIAN, *unheard))).verdicts}
    assert found["errors"].verdict is Verdict.FAIL
    assert found["latency_p50"].verdict is Verdict.PASS
    assert found["empty"].verdict is Verdict.UNKNOWN
    assert "200 stops" in found["errors"].against
    assert found["quality"].waits_for == "quality only ever speaks against a candidate"
    for one in found.values():
        assert [bool(words) for words in (one.against, one.proof, one.waits_for)].count(True) == 1
        assert one.share == SHARES[one.signal]
    assert found["errors"].reading == BAD
    assert (found["latency_p50"].margin, found["empty"].margin) == (1.2, 2.0)


def test_an_unsure_signal_says_how_far_it_is():
    found = decide(situation(readings=(UNSURE, MEDIAN))).reason
    assert found == "errors: a ratio below 2 (now at most 1.1), or a rate below 1.00% (now at most 2.00%)"


def test_a_signal_without_an_event_of_the_stable_release_has_no_bound_yet():
    found = decide(situation(readings=(ERRORS, reading("latency_p50", ratio=Estimate())))).reason
    assert found == "latency_p50: a ratio below 1.2 (now without a bound)"
