"""The Standard as data: whole, bilingual, and only ever tightened."""

from __future__ import annotations

import re

import pytest

from guideway.core.errors import SpecError
from guideway.core.spec import build_part, load
from guideway.standard import default_clauses, laws
from guideway.standard.overlay import check_compression, clauses_for, level_of, policy_digest

SPEC = "guideway: 1\nname: days\ndata: {sources: [{path: x}]}\n"
CLAUSES = default_clauses()


def spec_file(folder, text="", environment="dev"):
    (folder / "guideway.yaml").write_text(SPEC + text, encoding="utf-8")
    return load(folder / "guideway.yaml", environment)


def clauses(folder, text="", environment="dev"):
    file = spec_file(folder, text, environment)
    return {one.id: one for one in clauses_for(file, build_part(file.spec))}


def test_there_are_47_clauses_in_ten_groups_with_ids_of_their_own():
    assert len(CLAUSES) == 47
    assert len({one.id for one in CLAUSES}) == 47
    groups = {one.id.partition("-")[0] for one in CLAUSES}
    assert groups == {"DAT", "TRN", "EVL", "ROB", "EXP", "CMP", "SEC", "PRV", "REL", "OPS"}


@pytest.mark.parametrize("one", CLAUSES, ids=lambda one: one.id)
def test_every_clause_is_whole(one):
    assert re.fullmatch(r"[A-Z]{3}-\d\d", one.id)
    assert one.checks and one.themes and one.asked_by
    for english, chinese in ((one.en, one.zh), (one.proof.en, one.proof.zh), (one.do.en, one.do.zh)):
        assert english.isascii() and re.search(r"[\u4e00-\u9fff]|guideway", chinese)
    ranks = [("inform", "warn", "block").index(bite) for bite in one.bite]
    assert ranks == sorted(ranks), "prod is never softer than dev"


@pytest.mark.parametrize("one", CLAUSES, ids=lambda one: one.id)
def test_every_check_has_one_limit_and_can_be_proven_somehow(one):
    for check in one.checks:
        limits = (check.at_least, check.at_most, check.below, check.worse_than_serving)
        assert sum(limit is not None for limit in limits) == 1
        assert check.formats or one.by != "import", f"{check.metric}: nothing makes it and nothing imports it"


def test_every_text_that_asks_for_a_clause_is_on_the_list_with_its_edition():
    known = laws()
    asked = {source.partition(":")[0] for one in CLAUSES for source in one.asked_by}
    assert asked <= known.keys()
    assert all(law.text for law in known.values())


def test_all_twenty_themes_have_a_clause():
    assert {theme for one in CLAUSES for theme in one.themes} == set(range(1, 21))


@pytest.mark.parametrize(
    ("environment", "text", "level"),
    [
        ("dev", "", "dev"),
        ("staging", "environments: {staging: {}}\n", "staging"),
        ("prod", "environments: {prod: {}}\n", "prod"),
        ("shanghai", "environments: {shanghai: {}}\n", "prod"),
        ("lab", "environments: {lab: {standard: {level: dev}}}\n", "dev"),
    ],
)
def test_an_environment_is_judged_by_its_name_and_an_unknown_one_as_prod(tmp_path, environment, text, level):
    assert level_of(spec_file(tmp_path, text, environment)) == level


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ("prod", "environments: {prod: {standard: {level: dev}}}\n"),
        ("staging", "environments: {staging: {standard: {level: dev}}}\n"),
        ("prod", "standard: {level: staging}\nenvironments: {prod: {}}\n"),
    ],
)
def test_an_environment_whose_name_promises_more_is_not_judged_by_less(tmp_path, environment, text):
    with pytest.raises(SpecError, match=f"'{environment}' cannot be judged as") as caught:
        level_of(spec_file(tmp_path, text, environment))
    assert caught.value.where == "guideway.yaml:4"


def test_a_spec_tightens_a_bite_and_a_limit(tmp_path):
    text = "standard: {clauses: {EVL-01: {bite: block}, CMP-01: {at_most: {top1_flips: 0.01}}}}\n"
    found = clauses(tmp_path, text)
    assert found["EVL-01"].bite == ("block", "block", "block")
    assert [check.at_most for check in found["CMP-01"].checks] == [0.02, 0.01]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("standard: {clauses: {SEC-04: {bite: warn}}}\n", "loosens SEC-04"),
        ("standard: {clauses: {CMP-01: {at_most: {top1_flips: 0.03}}}}\n", "loosens CMP-01"),
        ("standard: {clauses: {EVL-04: {at_least: {refusal_share: 0.9}}}}\n", "loosens EVL-04"),
        ("standard: {clauses: {CMP-01: {at_least: {top1_flips: 0.03}}}}\n", "limits 'top1_flips' by at_most"),
        ("standard: {clauses: {CMP-01: {at_most: {flips: 0.03}}}}\n", "says nothing of 'flips'"),
        ("standard: {clauses: {EVL-99: {bite: block}}}\n", "no clause called 'EVL-99'"),
        ("standard: {overlay: none.yaml}\n", "no overlay"),
    ],
)
def test_what_loosens_or_names_nothing_is_refused_with_its_line(tmp_path, text, told):
    with pytest.raises(SpecError, match=told) as caught:
        clauses(tmp_path, text)
    assert "guideway.yaml:4" in str(caught.value) or "overlay" in text


def test_one_environment_cannot_loosen_what_bites_there(tmp_path):
    text = "environments: {prod: {standard: {clauses: {EVL-01: {bite: warn}}}}}\n"
    with pytest.raises(SpecError, match="loosens EVL-01"):
        clauses(tmp_path, text, "prod")


def test_limits_on_compression_tighten_and_never_loosen(tmp_path):
    found = clauses(tmp_path, "compress: {max_kl: 0.001}\n")
    assert [check.at_most for check in found["CMP-01"].checks] == [0.001, 0.02]
    with pytest.raises(SpecError, match="looser than CMP-01") as caught:
        check_compression(spec_file(tmp_path, "compress: {max_kl: 0.5}\n"))
    assert caught.value.where == "guideway.yaml:4"


OVERLAY = """
clauses: {TRN-05: {at_least: {line_coverage: 0.9}}}
add:
  - id: TEAM-01
    en: The glossary is respected
    zh: 遵守术语表
    proof: {en: glossary report, zh: 术语报告}
    subject: artifact
    when: seal
    bite: [warn, block, block]
    checks: [{metric: glossary_misses, about: shipped, at_most: 0, from: [json]}]
    do: {en: mend the glossary, zh: 修正术语表}
"""


def test_a_team_adds_clauses_of_its_own_in_a_file(tmp_path):
    (tmp_path / "team.yaml").write_text(OVERLAY, encoding="utf-8")
    found = clauses(tmp_path, "standard: {overlay: team.yaml}\n")
    assert found["TEAM-01"].checks[0].metric == "glossary_misses"
    assert found["TRN-05"].checks[2].at_least == 0.9


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (OVERLAY.replace("TEAM-01", "EVL-01"), "a clause 'EVL-01' already"),
        (OVERLAY.replace("0.9", "0.5"), "loosens TRN-05"),
        (OVERLAY.replace("en: The glossary", "english: The glossary"), "not an overlay"),
        ("- a list\n", "not an overlay"),
    ],
)
def test_a_broken_overlay_is_one_clear_line(tmp_path, text, told):
    (tmp_path / "team.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=told) as caught:
        clauses(tmp_path, "standard: {overlay: team.yaml}\n")
    assert "team.yaml" in str(caught.value)


def test_every_edit_of_the_standard_changes_the_digest_of_the_policy(tmp_path):
    plain = tuple(clauses(tmp_path).values())
    tightened = tuple(clauses(tmp_path, "standard: {clauses: {EVL-01: {bite: block}}}\n").values())
    both = ("CN", "EU")
    asked = [
        (plain, "dev", both),
        (plain, "prod", both),
        (tightened, "dev", both),
        (plain, "prod", ("EU",)),
        (plain, "prod", ()),
    ]
    assert len({policy_digest(*one) for one in asked}) == len(asked)
    assert policy_digest(plain, "dev", ("EU", "CN")) == policy_digest(plain, "dev", both)
