"""Evidence in, verdict out: a table of cases."""

from __future__ import annotations

import math

import msgspec
import pytest

from guideway.core.evidence import Evidence, Interval, Subject
from guideway.core.gate import Verdict
from guideway.core.spec import Spec
from guideway.standard import CLAUSES, Clause, clauses_for, judge, judge_all

MIN = Clause(id="X", asks="enough", asks_zh="足够", metric="score", at_least=0.8)
MAX = Clause(id="X", asks="little", asks_zh="很少", metric="score", at_most=0.1)
BELOW = Clause(id="X", asks="better", asks_zh="更好", metric="score", below="baseline")


def fact(value: float, metric: str = "score", slice: str = "", role: str = "compress", **more: object) -> Evidence:
    subject = Subject(kind="artifact", digest=f"sha256:{role}", role=role)
    return Evidence(metric=metric, value=value, unit="", slice=slice, subject=subject, **more)  # type: ignore[arg-type]


def spec(**changes: object) -> Spec:
    return msgspec.convert({"guideway": 1, "name": "a", "data": {"sources": [{"path": "x"}]}, **changes}, Spec)


@pytest.mark.parametrize(
    ("clause", "evidence", "verdict"),
    [
        (MIN, [], Verdict.UNKNOWN),
        (MIN, [fact(0.8)], Verdict.PASS),
        (MIN, [fact(0.79)], Verdict.FAIL),
        (MIN, [fact(math.nan)], Verdict.FAIL),
        (MIN, [fact(0.9, slice="a"), fact(0.1, slice="b")], Verdict.FAIL),
        (MIN, [fact(0.9, role="train")], Verdict.UNKNOWN),
        (MIN, [fact(0.9, metric="other")], Verdict.UNKNOWN),
        (MAX, [fact(0.1)], Verdict.PASS),
        (MAX, [fact(0.11)], Verdict.FAIL),
        (BELOW, [fact(1.0)], Verdict.UNKNOWN),
        (BELOW, [fact(1.0), fact(2.0, metric="baseline")], Verdict.PASS),
        (BELOW, [fact(3.0), fact(2.0, metric="baseline")], Verdict.FAIL),
        (BELOW, [fact(1.0, slice="a"), fact(2.0, metric="baseline", slice="b")], Verdict.UNKNOWN),
    ],
)
def test_a_clause_is_judged(clause, evidence, verdict):
    assert judge(clause, evidence, shipped="compress").verdict is verdict


def test_a_clause_with_a_slice_looks_at_no_other():
    clause = msgspec.structs.replace(MIN, slice="a")
    assert judge(clause, [fact(0.9, slice="a"), fact(0.0, slice="b")], shipped="compress").verdict is Verdict.PASS


def test_a_judgement_shows_figure_interval_slice_and_limit():
    one = fact(0.875, slice="a", interval=Interval(0.85, 0.9, 0.95, "wilson"))
    said = judge(MIN, [one], shipped="compress")
    assert (said.figure, said.limit) == ("0.875 [0.85, 0.9] on a", "≥ 0.8")
    assert said.evidence is not None


def test_no_evidence_at_all_leaves_every_clause_unknown():
    said = judge_all(clauses_for(spec()), [], shipped="compress")
    assert {one.verdict for one in said} == {Verdict.UNKNOWN}
    assert {one.clause for one in said} == {"DAT-03", "EVL-01", "ROB-04", "CMP-01"}


def test_requirements_of_the_team_become_clauses():
    asked = spec(evaluate={"require": [{"metric": "exact_match", "split": "test", "at_least": 0.8}]})
    own = [clause for clause in clauses_for(asked) if clause.id.startswith("SPEC-")]
    assert [(one.metric, one.slice, one.at_least) for one in own] == [("exact_match", "test", 0.8)]


def test_compression_is_not_judged_when_the_trained_model_ships():
    assert "CMP-01" not in {one.clause for one in judge_all(clauses_for(spec()), [], shipped="train")}


def test_every_clause_speaks_both_languages_and_says_what_to_do():
    for clause in CLAUSES:
        assert clause.asks and clause.asks_zh and clause.try_this, clause.id


def test_a_split_that_is_only_reported_informs_and_does_not_block():
    asked = spec(
        data={"sources": [{"path": "x"}], "splits": {"a": {"share": 0.1}, "b": {"share": 0.1, "judged": False}}}
    )
    evidence = [fact(value, "perplexity", name) for name, value in (("a", 1.0), ("b", 9.0))]
    evidence += [fact(2.0, "baseline_perplexity", name) for name in "ab"]
    said = [one for one in judge_all(clauses_for(asked), evidence, shipped="compress") if one.clause == "EVL-01"]
    assert [(one.verdict, one.blocking) for one in said] == [(Verdict.PASS, True), (Verdict.FAIL, False)]


def test_reporting_everything_and_judging_nothing_proves_nothing():
    asked = spec(data={"sources": [{"path": "x"}], "splits": {"a": {"share": 0.1, "judged": False}}})
    evidence = [fact(1.0, "perplexity", "a"), fact(2.0, "baseline_perplexity", "a")]
    said = next(one for one in judge_all(clauses_for(asked), evidence, shipped="compress") if one.clause == "EVL-01")
    assert (said.verdict, said.blocking) == (Verdict.UNKNOWN, True)
