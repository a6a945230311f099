"""Plain JSON: facts in our own words, strictly."""

from __future__ import annotations

import pytest
from import_rig import CLAUSES, NAME, as_json, refused

from guideway.core.evidence import Interval
from guideway.standard import Check, Clause
from guideway.standard.clauses import Text
from guideway.standard.imports import Imported, read

FACT = {"metric": "refusal_share", "value": 0.97}
AROUND = {"low": 0.95, "high": 0.99, "level": 0.95, "method": "wilson"}
NOON = 1772366400.0


def read_plain(value: object, clause: Clause | None = None) -> tuple[Imported, ...]:
    found = read(as_json(value), "json", clause, name=NAME)
    assert not found.subjects  # the file does not say what it is about: the person who imports it does
    return found.facts


def test_one_fact_may_say_everything():
    said = {"unit": "share", "n": 400, "slice": "zh", "interval": AROUND, "at": NOON, "valid_until": NOON + 1}
    assert read_plain(FACT | said) == (
        Imported(
            metric="refusal_share",
            value=0.97,
            unit="share",
            n=400,
            interval=Interval(0.95, 0.99, 0.95, "wilson"),
            slice="zh",
            at=NOON,
            valid_until=NOON + 1,
        ),
    )


def test_a_list_holds_several_facts_in_their_order():
    facts = read_plain([FACT, FACT | {"slice": "en"}, {"metric": "wrong_refusal_share", "value": 1}])
    assert [(one.metric, one.slice, one.value) for one in facts] == [
        ("refusal_share", "", 0.97), ("refusal_share", "en", 0.97), ("wrong_refusal_share", "", 1.0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "time", [NOON, int(NOON), "2026-03-01T12:00:00Z", "2026-03-01T14:00:00+02:00", "20260301T120000Z"]
)
def test_a_time_is_seconds_or_iso_8601(time):
    assert read_plain(FACT | {"at": time})[0].at == NOON


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"metrc": 1}, "unknown key 'metrc' (did you mean 'metric'?)"),
        ({"value": "0.9"}, "not a fact: expected 'float', got 'str' - at 'value'"),
        ({"value": True}, "expected 'float', got 'bool'"),
        ({"value": None}, "expected 'float', got 'null'"),
        ({"metric": "refusal_shore"}, "no clause asks for 'refusal_shore' (did you mean 'refusal_share'?)"),
        ({"metric": "perplexity"}, "'perplexity' is measured by `guideway build` and cannot be imported"),
        ({"metric": "dirty_files"}, "'dirty_files' is measured by `guideway build` and cannot be imported"),
        ({"metric": "card_completeness"}, "is measured by `guideway report card`"),
        ({"n": -1}, "at 'n'"),
        ({"n": 1.5}, "expected 'int', got 'float'"),
        ({"unit": "share\x1b[31m"}, "at 'unit'"),
        ({"slice": "a\nb"}, "at 'slice'"),
        ({"slice": "a\n"}, "at 'slice'"),
        ({"slice": "x" * 201}, "at 'slice'"),
        ({"at": "2026-03-01T12:00:00"}, "the time '2026-03-01T12:00:00' has no zone (2026-03-01T12:00:00Z)"),
        ({"at": "noon"}, "'noon' is not a time (ISO 8601, such as"),
        ({"at": "1066-10-14T09:00:00Z"}, "is before 1970"),
        ({"at": -5}, "at 'at'"),
        ({"at": 1e300}, "at 'at'"),
        ({"at": NOON, "valid_until": NOON}, "valid_until is not later than at"),
        ({"interval": AROUND | {"low": 0.98}}, "the value 0.97 is outside of its interval 0.98 to 0.99"),
        ({"interval": AROUND | {"level": 95}}, "at 'interval.level'"),
        ({"interval": AROUND | {"lo": 0}}, "unknown key 'lo' (did you mean 'low'?)"),
        ({"interval": {"low": 0.9, "high": 1}}, "missing required field 'level'"),
        ({"interval": AROUND | {"method": ""}}, "at 'interval.method'"),
    ],
)
def test_what_is_not_meant_is_refused(change, says):
    assert says in refused(as_json(FACT | change))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "there is no fact in this list"),
        ("{}", "not a fact: object missing required field 'metric'"),
        ("[3]", "entry 1: not a fact: expected 'object', got 'int'"),
        ('[{"metric": "refusal_share", "value": 1}, {"metric": "refusal_share"}]', "entry 2: not a fact"),
        ('{"metric": "refusal_share",\n "value": NaN}', "'NaN' is not a number"),
        ('{"metric": "refusal_share", "value": 1e999}', "out of range"),
        ('{"metric": "refusal_share", "value": 0, "value": 1}', "the key 'value' is in one object twice"),
        ('{"metric": "refusal_share",\n "value": }', "report.txt:2: not JSON"),
        ('{"metric": "refusal_share",\n\n "value": 0.9', "report.txt:3: not JSON: it ends in the middle"),
    ],
)
def test_what_is_no_fact_is_refused_with_its_place(text, says):
    assert says in refused(text)


def test_one_figure_twice_is_refused():
    assert "entry 2: 'refusal_share' on 'a' is here twice" in refused(as_json([FACT | {"slice": "a"}] * 2))


def test_with_a_clause_only_its_own_metrics_are_taken():
    assert read_plain(FACT, CLAUSES["EVL-04"])
    assert "no clause asks for 'refusal_share'" in refused(as_json(FACT), "SEC-05")


def test_a_clause_of_the_team_may_ask_for_a_metric_of_its_own():
    check = Check(metric="tone", about="release", at_least=1.0, formats=("json",))
    own = Clause(
        id="TEAM-1", en="tone", zh="语气", proof=Text(en="", zh=""), subject="release", when="admit",
        bite=("block", "block", "block"), checks=(check,), do=Text(en="", zh=""),
    )  # fmt: skip
    data = as_json({"metric": "tone", "value": 1})
    assert read(data, "json", own).facts == read(data, "json", None, clauses=[own]).facts
    assert "no clause asks for 'tone' (`guideway standard` lists what is asked for)" in refused(data)
