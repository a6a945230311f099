"""The judge's figures in Chinese: every sentence that it can say has its translation."""

from __future__ import annotations

import re

import msgspec
import pytest
from report_rig import AT, DAY, SUBJECTS, drawn, fact, rich

from guideway.core.dossier import Waiver
from guideway.core.evidence import Interval
from guideway.core.gate import Judgement, Verdict
from guideway.standard.reports import sayings

ASKED = {"perplexity": "EVL-01", "masking_recall": "PRV-01", "refusal_share": "EVL-04", "rollback_seconds": "REL-03"}
AROUND = Interval(2.0, 3.0, 0.95, "bootstrap")
PAIR = ("perplexity", "baseline_perplexity")


def found(clause, *proofs, **changes):
    told = drawn(rich(proofs=proofs, **changes))
    return next(one for one in told.judgements if one.clause == clause)


def waiver(since, until):
    return Waiver(SUBJECTS["release"], "librarian", "prod", ("PRV-01",), "因为", "李", since, until)


CASES = [
    (found("PRV-01"), " no evidence", " 没有证据"),
    (found("EVL-02", fact("slices_below_floor", 0, "train")), "no evidence about this one", "没有关于它的证据"),
    (found("REL-03", fact("rollback_seconds", 1, "environment", valid_until=AT - DAY)), "expired 2025-", "过期"),
    (
        found("EVL-04", fact("refusal_share", 1.0, "compress", n=12)),
        "n = 12, 300 are needed",
        "样本数 12，至少需要 300",
    ),
    (found("EVL-01", fact("perplexity", 2.5, "compress", slice="a")), "2.5, without an interval", "2.5，没有区间"),
    (
        found("EVL-01", fact("perplexity", 2.5, "compress", slice="a", interval=AROUND)),
        "2.5 [2, 3] on a",
        "2.5 [2, 3]，切片 a",
    ),
    (
        found("EVL-01", *(fact(name, 2.5, "compress", slice="a", interval=AROUND) for name in PAIR)),
        "2.5 [2, 3] on a, a tie",
        "2.5 [2, 3]，切片 a，与基线持平",
    ),
    (
        found("EVL-01", fact(PAIR[0], 2.5, "compress", interval=AROUND), fact(PAIR[1], 2.6, "compress")),
        "2.5 [2, 3], within noise",
        "2.5 [2, 3]，与基线之差在误差范围内",
    ),
    (
        found("SEC-04", fact("secrets", 0, "package"), fact("secrets_in_logs", 2, "package")),
        "(1 of 2 proven)",
        "（2 项中已证明 1 项）",
    ),
    (
        found("PRV-01", waivers=(waiver(AT - 9 * DAY, AT - DAY),)),
        "; waiver ended by 李 until 2025-11-23: 因为",
        "；由 李 给出、至 2025-11-23 的豁免不在有效期内：因为",
    ),
    (
        found("PRV-01", waivers=(waiver(AT + DAY, AT + 2 * DAY),)),
        "; waiver not yet in force by 李 until 2025-11-26: 因为",
        "；由 李 给出、至 2025-11-26 的豁免不在有效期内：因为",
    ),
]


@pytest.mark.parametrize(("judgement", "en", "zh"), CASES)
def test_a_figure_reads_in_both_languages(judgement, en, zh):
    said = sayings.figure(judgement)
    assert en in said.said("en")
    assert zh in said.said("zh")
    assert not re.search(r"[a-z]+ [a-z]+", said.said("zh"))


def test_a_proof_from_the_future_reads_in_both_languages():
    proof = fact("masking_recall", 1.0, "environment")
    later = msgspec.structs.replace(proof, evidence=msgspec.structs.replace(proof.evidence, at=AT + 9 * DAY))
    said = sayings.figure(found("PRV-01", later))
    assert said.said("zh").endswith(" 日期在将来：2025-12-03")


def test_a_limit_by_the_release_that_serves_reads_in_both_languages():
    one = Judgement("EVL-01", "", Verdict.FAIL, "2.5", "≤ 1.05 × serving = 2.1")
    assert sayings.limit(one).said("zh") == "≤ 1.05 × 线上版本 = 2.1"


def test_a_waiver_in_force_is_told_with_who_when_and_why():
    one = found("PRV-01", waivers=(waiver(AT - DAY, AT + DAY),))
    assert sayings.verdict(one).said("en") == "not proven, waived"
    told = sayings.waived(one)
    assert told is not None
    assert told.said("en") == "waived by 李 until 2025-11-25: 因为"
    assert told.said("zh") == "由 李 豁免至 2025-11-25：因为"
    assert sayings.waived(found("PRV-01")) is None


def test_a_team_that_wrote_no_chinese_is_quoted_in_english():
    one = Judgement("X-1", "Our {own} `rule`", Verdict.PASS, "1", "2")
    assert sayings.asks(one).said("zh") == "Our {own} `rule`"
