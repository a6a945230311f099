"""Evidence in, verdict out: a table of cases."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from standard_rig import DAY, INTERVAL, NOW, dossier, fact, spec, waiver

from guideway.core.evidence import Interval, Subject
from guideway.core.gate import Judgement, Verdict
from guideway.core.spec import build_part
from guideway.standard import default_clauses, judge_all, team_clauses
from guideway.standard.clauses import Check, Clause, Text
from guideway.standard.judge import examine

WORDS = Text(en="evidence", zh="证据")


def clause(*checks: Check, **more: Any) -> Clause:
    values: dict[str, Any] = {
        "id": "X-01",
        "en": "it holds",
        "zh": "成立",
        "proof": WORDS,
        "subject": "artifact",
        "when": "seal",
        "bite": ("inform", "warn", "block"),
        "checks": checks,
        "do": Text(en="mend it", zh="修复"),
    }
    return Clause(**{**values, **more})


def check(**more: Any) -> Check:
    return Check(**{"metric": "score", "about": "shipped", **more})


def judged(one: Clause, *proofs: Any, level: str = "prod", **more: Any) -> Judgement:
    return judge_all([one], dossier(*proofs, **more), level=level, when=["seal"], at=NOW)[0]  # type: ignore[arg-type]


NARROW = Interval(0.85, 0.95, 0.95, "bootstrap")
MIN, MAX, BELOW = check(at_least=0.8), check(at_most=0.1), check(below="baseline")


@pytest.mark.parametrize(
    ("one", "proofs", "verdict"),
    [
        (MIN, [], Verdict.UNKNOWN),
        (MIN, [fact(0.8)], Verdict.PASS),
        (MIN, [fact(0.79)], Verdict.FAIL),
        (MIN, [fact(math.nan)], Verdict.FAIL),
        (MIN, [fact(0.9, slice="a"), fact(0.1, slice="b")], Verdict.FAIL),
        (MIN, [fact(0.9, role="train")], Verdict.UNKNOWN),
        (MIN, [fact(0.9, "other")], Verdict.UNKNOWN),
        (MAX, [fact(0.1)], Verdict.PASS),
        (MAX, [fact(0.11)], Verdict.FAIL),
        (BELOW, [fact(1.0)], Verdict.UNKNOWN),
        (BELOW, [fact(1.0), fact(2.0, "baseline")], Verdict.PASS),
        (BELOW, [fact(2.0), fact(2.0, "baseline")], Verdict.FAIL),
        (BELOW, [fact(3.0), fact(2.0, "baseline")], Verdict.FAIL),
        (BELOW, [fact(1.0, slice="a"), fact(2.0, "baseline", slice="b")], Verdict.UNKNOWN),
        (check(at_least=0.8, slice="a"), [fact(0.9, slice="a"), fact(0.0, slice="b")], Verdict.PASS),
        (check(at_least=0.8, about="trained"), [fact(0.9, role="train")], Verdict.PASS),
        (check(at_least=0.8, about="release"), [fact(0.9, role="release")], Verdict.PASS),
        (check(at_least=0.8, n=300), [fact(0.9, n=299)], Verdict.UNKNOWN),
        (check(at_least=0.8, n=300), [fact(0.9, n=300)], Verdict.PASS),
        (check(at_least=0.8, interval=True), [fact(0.9)], Verdict.UNKNOWN),
        (check(at_least=0.8, interval=True), [fact(0.9, interval=INTERVAL)], Verdict.PASS),
        (check(at_least=0.8, sure=True), [fact(0.9)], Verdict.UNKNOWN),
        (check(at_least=0.8, sure=True), [fact(0.9, interval=INTERVAL)], Verdict.FAIL),
        (check(at_least=0.8, sure=True), [fact(0.9, interval=NARROW)], Verdict.PASS),
        (check(at_most=0.9, sure=True), [fact(0.9, interval=NARROW)], Verdict.FAIL),
        (check(at_most=0.95, sure=True), [fact(0.9, interval=NARROW)], Verdict.PASS),
        (
            check(at_least=0.85, sure=True),
            [fact(9, slice="a", interval=INTERVAL), fact(0.9, slice="b", interval=NARROW)],
            Verdict.FAIL,
        ),
    ],
)
def test_a_check_is_judged(one, proofs, verdict):
    assert examine(one, dossier(*proofs), NOW).verdict is verdict


@pytest.mark.parametrize(
    ("one", "proof", "verdict"),
    [
        (check(at_least=0.8), fact(0.9, valid_until=NOW - 1), Verdict.UNKNOWN),
        (check(at_least=0.8), fact(0.9, valid_until=NOW + 1), Verdict.PASS),
        (check(at_least=0.8, days=30), fact(0.9, at=NOW - 31 * DAY), Verdict.UNKNOWN),
        (check(at_least=0.8, days=30), fact(0.9, at=NOW - 29 * DAY), Verdict.PASS),
        (check(at_least=0.8, days=30), fact(0.9, at=NOW + 2 * DAY), Verdict.UNKNOWN),
    ],
)
def test_a_proof_that_is_too_old_or_from_the_future_is_no_proof(one, proof, verdict):
    found = examine(one, dossier(proof), NOW)
    assert found.verdict is verdict
    if verdict is Verdict.UNKNOWN:
        assert "expired" in found.figure or "future" in found.figure


def test_a_gain_that_may_be_nothing_does_not_prove_that_explanations_are_faithful():
    exp = next(one for one in default_clauses() if one.id == "EXP-01")
    wide, narrow = (Interval(low, 0.5, 0.95, "bootstrap") for low in (-0.1, 0.1))
    said = judged(exp, fact(0.2, "faithfulness_gain", n=50, interval=wide))
    assert said.verdict is Verdict.FAIL and said.limit == "≥ 0.001 by its whole interval"
    assert judged(exp, fact(0.2, "faithfulness_gain", n=50, interval=narrow)).verdict is Verdict.PASS
    assert judged(exp, fact(0.2, "faithfulness_gain", n=49, interval=narrow)).verdict is Verdict.UNKNOWN


def test_a_check_for_one_kind_of_model_says_nothing_of_the_other():
    evl = next(one for one in default_clauses() if one.id == "EVL-01")
    proofs = fact(0.05, "error_rate", interval=INTERVAL), fact(0.09, "baseline_error_rate", interval=INTERVAL)
    assert judged(evl, *proofs, spec={"task": "classify"}).verdict is Verdict.PASS
    assert judged(evl, *proofs, spec={"task": "chat"}).verdict is Verdict.UNKNOWN
    worse = fact(0.1, "error_rate", interval=INTERVAL)
    assert judged(evl, worse, proofs[1], spec={"task": "classify"}).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("value", "baseline", "low", "verdict", "figure"),
    [
        (0.0, 0.0, 0.0, Verdict.FAIL, "0 [0, 0.1], a tie"),
        (0.05, 0.05, 0.02, Verdict.FAIL, "0.05 [0.02, 0.1], a tie"),
        (0.05, 0.06, 0.02, Verdict.PASS, "0.05 [0.02, 0.1], within noise"),
        (0.05, 0.04, 0.02, Verdict.FAIL, "0.05 [0.02, 0.1], within noise"),
        (0.05, 0.2, 0.02, Verdict.PASS, "0.05 [0.02, 0.1]"),
    ],
)
def test_a_gap_to_the_baseline_that_may_be_chance_is_called_so(value, baseline, low, verdict, figure):
    evl = next(one for one in default_clauses() if one.id == "EVL-01")
    own = fact(value, "error_rate", interval=Interval(low, 0.1, 0.95, "wilson"))
    said = judged(evl, own, fact(baseline, "baseline_error_rate"), spec={"task": "classify"})
    assert (said.verdict, said.figure) == (verdict, f"error_rate: {figure}")


def test_who_only_ties_with_the_baseline_is_told_to_ship_that_and_not_to_train_longer():
    evl = next(one for one in default_clauses() if one.id == "EVL-01")
    own, worse = (fact(value, "error_rate", interval=INTERVAL) for value in (0.0, 0.1))
    told = [judged(evl, one, fact(0.0, "baseline_error_rate"), spec={"task": "classify"}) for one in (own, worse)]
    assert ["train longer" in one.try_this for one in told] == [False, True]
    assert "tell the two apart" in told[0].try_this and "基线" in told[0].try_this_zh


def test_the_worst_check_decides_and_says_how_many_hold():
    both = clause(check(at_least=0.8), check(metric="other", at_most=1))
    said = judged(both, fact(0.9))
    assert said.verdict is Verdict.UNKNOWN and said.figure == "other: no evidence (1 of 2 proven)"
    assert judged(both, fact(0.9), fact(2, "other")).verdict is Verdict.FAIL
    assert judged(both, fact(0.9), fact(1, "other")).verdict is Verdict.PASS


def test_a_failure_outweighs_what_is_unknown():
    both = clause(check(at_least=0.8), check(metric="other", at_most=1))
    assert judged(both, fact(2, "other")).verdict is Verdict.FAIL


@pytest.mark.parametrize(("level", "blocking"), [("dev", False), ("staging", False), ("prod", True)])
def test_the_level_decides_how_hard_a_clause_bites(level, blocking):
    said = judged(clause(MIN), level=level)
    assert (said.blocking, said.stops) == (blocking, blocking)


def test_a_newer_proof_replaces_an_older_one():
    assert judged(clause(MIN), fact(0.9, at=NOW - 1), fact(0.1, at=NOW - DAY)).verdict is Verdict.PASS
    assert judged(clause(MIN), fact(0.9, at=NOW - DAY), fact(0.1, at=NOW - 1)).verdict is Verdict.FAIL


def test_a_proof_by_hand_never_outvotes_a_measured_one():
    by_hand = fact(1.0, at=NOW, automatic=False)
    assert judged(clause(MIN), fact(0.1), by_hand).verdict is Verdict.FAIL
    alone = judged(clause(MIN), by_hand)
    assert alone.verdict is Verdict.PASS and not alone.automatic


@pytest.mark.catalogue("B41")
def test_evidence_about_another_digest_does_not_count_and_is_told_apart_from_none():
    other = fact(0.9)
    moved = msgspec.structs.replace(
        other, evidence=msgspec.structs.replace(other.evidence, subject=Subject("artifact", "sha256:other"))
    )
    said = judged(clause(MIN), moved)
    assert said.verdict is Verdict.UNKNOWN and said.figure.endswith("no evidence about this one")


def test_a_check_for_one_country_is_left_out_elsewhere():
    only = clause(check(at_least=1, only="CN"))
    asked = {"level": "prod", "when": ["seal"], "at": NOW}
    assert judge_all([only], dossier(), jurisdictions=["EU"], **asked) == ()
    assert len(judge_all([only], dossier(), jurisdictions=["CN"], **asked)) == 1


def test_compression_is_not_judged_when_the_trained_model_ships():
    asked = {"level": "prod", "when": ["seal"], "at": NOW}
    assert "CMP-01" not in {one.clause for one in judge_all(default_clauses(), dossier(ships="train"), **asked)}
    assert "CMP-01" in {one.clause for one in judge_all(default_clauses(), dossier(), **asked)}


SERVING = check(metric="perplexity", worse_than_serving=0.05, only="serving")


@pytest.mark.parametrize(
    ("value", "served", "verdict"),
    [
        (10.4, fact(10.0, "perplexity", inputs=("sha256:data",)), Verdict.PASS),
        (10.6, fact(10.0, "perplexity", inputs=("sha256:data",)), Verdict.FAIL),
        (10.0, fact(10.0, "perplexity", inputs=("sha256:other data",)), Verdict.UNKNOWN),
    ],
)
def test_a_candidate_is_compared_with_what_serves_on_the_same_data(value, served, verdict):
    said = judged(clause(SERVING), fact(value, "perplexity"), serving=(served,))
    assert said.verdict is verdict


AGAINST = check(metric="gain", at_least=-0.05, sure=True, interval=True, only="against")


def compared(low, against="sha256:served"):
    """A proof of a gain whose interval begins at *low*, against that release."""
    inputs = (against, "sha256:data")
    return fact(low + 0.1, "gain", interval=Interval(low, low + 0.2, 0.95, "bootstrap"), inputs=inputs)


@pytest.mark.parametrize(
    ("proof", "verdict"),
    [
        (compared(-0.04), Verdict.PASS),
        (compared(-0.06), Verdict.FAIL),
        (compared(0.5, against="sha256:another"), Verdict.UNKNOWN),
    ],
)
def test_a_comparison_counts_with_its_whole_interval_and_only_against_what_serves_now(proof, verdict):
    asked = build_part(spec(evaluate={"against": "serving"}))
    said = judged(clause(AGAINST), proof, spec=asked, serving=(), served="sha256:served")
    assert said.verdict is verdict


@pytest.mark.parametrize(("against", "serving"), [("", ()), ("serving", None)])
def test_a_comparison_is_judged_where_it_is_asked_for_and_something_serves(against, serving):
    known = dossier(compared(-1.0), spec=build_part(spec(evaluate={"against": against})), serving=serving)
    assert judge_all([clause(AGAINST)], known, level="prod", when=["seal"], at=NOW) == ()


def test_a_comparison_in_pairs_stands_for_figures_of_what_serves_on_other_data():
    """Rows that came in since make the old figures another thing; the same rows asked of both do not."""
    old = (fact(10.0, "perplexity", inputs=("sha256:other data",)),)
    asked = build_part(spec(evaluate={"against": "serving"}))
    known = dossier(fact(10.0, "perplexity"), spec=asked, serving=old)
    assert judge_all([clause(SERVING)], known, level="prod", when=["seal"], at=NOW) == ()
    said = judged(clause(SERVING), fact(10.0, "perplexity"), serving=old)
    assert "evaluate.against: serving" in said.limit


def test_the_first_release_is_compared_with_nothing():
    assert judge_all([clause(SERVING)], dossier(), level="prod", when=["seal"], at=NOW) == ()


def test_a_split_that_is_only_reported_judges_nothing():
    asked = spec(
        data={"sources": [{"path": "x"}], "splits": {"a": {"share": 0.1}, "b": {"share": 0.1, "judged": False}}}
    )
    proofs = [fact(0.9, slice="a"), fact(0.0, slice="b")]
    strict = check(at_least=0.8, judged=True)
    assert judged(clause(strict), *proofs, spec=build_part(asked)).verdict is Verdict.PASS
    assert judged(clause(strict), proofs[1], spec=build_part(asked)).verdict is Verdict.UNKNOWN


def test_a_judgement_shows_figure_interval_slice_and_limit():
    said = judged(clause(MIN), fact(0.875, slice="a", interval=Interval(0.85, 0.9, 0.95, "wilson")))
    assert (said.figure, said.limit) == ("score: 0.875 [0.85, 0.9] on a", "≥ 0.8")
    assert said.evidence is not None


@pytest.mark.catalogue("B41")
@pytest.mark.parametrize(
    ("allowed", "stops", "told"),
    [
        (waiver("X-01"), False, "by alice until"),
        (waiver("X-01", environment="*"), False, "by alice until"),
        (waiver("X-01", until=NOW - 1), True, "waiver ended"),
        (waiver("X-01", since=NOW + 1), True, "not yet in force"),
        (waiver("X-02"), True, ""),
        (waiver("X-01", environment="staging"), True, ""),
        (waiver("X-01", name="nights"), True, ""),
    ],
)
def test_a_waiver_holds_for_its_clause_environment_model_and_time_only(allowed, stops, told):
    said = judged(clause(MIN), waivers=(allowed,))
    assert said.stops is stops and said.verdict is Verdict.UNKNOWN
    assert told in said.waived + said.figure


def test_a_proven_clause_needs_no_waiver_and_shows_none():
    assert judged(clause(MIN), fact(0.9), waivers=(waiver("X-01"),)).waived == ""


def test_requirements_of_the_team_become_clauses_that_block_everywhere():
    asked = spec(evaluate={"require": [{"metric": "exact_match", "split": "test", "at_least": 0.8}]})
    (own,) = team_clauses(build_part(asked))
    assert (own.id, own.checks[0].metric, own.checks[0].slice, own.checks[0].at_least) == (
        "SPEC-1",
        "exact_match",
        "test",
        0.8,
    )
    assert set(own.bite) == {"block"}


def test_no_evidence_at_all_leaves_every_clause_unknown():
    said = judge_all(default_clauses(), dossier(), level="prod", when=["seal", "admit", "serve"], at=NOW)
    assert {one.verdict for one in said} == {Verdict.UNKNOWN}
    assert len(said) == 47
