"""Every format at its worst: whatever comes, a figure or one clear line; and the rule of what stands for what."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from import_rig import CLAUSES, NAME, as_json, figure, refused

from guideway.core.errors import SpecError
from guideway.standard import default_clauses
from guideway.standard.imports import LARGEST, NUMBERS, detect, read

LAUGHS = "".join(f'<!ENTITY a{level} "{f"&a{level - 1};" * 10 if level else "ha"}">' for level in range(10))
DOCTYPE = "a document type or an entity is not read (remove the <!DOCTYPE …> line)"
FORMATS = ("json", "junit", "cobertura", "sarif", "in-toto")


def test_every_metric_that_a_clause_takes_from_a_report_has_its_number_and_no_other_has():
    asked = {(form, check.metric) for one in default_clauses() for check in one.checks for form in check.formats}
    assert {pair for pair in asked if pair[0] != "json"} == {
        (form, metric) for form, metrics in NUMBERS.items() for metric in metrics
    }


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b"<testsuites/>", "junit"),
        (b'\xef\xbb\xbf\n<?xml version="1.0"?><testsuite/>'.replace(b"\n", b""), "junit"),
        (b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- made by a tool -->\n<coverage line-rate="1"/>', "cobertura"),
        (b'{"version": "2.1.0", "runs": []}', "sarif"),
        (b' \n{"_type": "https://in-toto.io/Statement/v1", "predicateType": "x"}', "in-toto"),
        (b'{"payload": "", "payloadType": "", "signatures": []}', "in-toto"),
        (b'{"metric": "a", "value": 1}', "json"),
        (b'[{"metric": "a", "value": 1}]', "json"),
    ],
)
def test_a_format_is_known_by_what_is_in_the_file(data, form):
    assert detect(data, "any.name") == form


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b" \n ", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"%PDF-1.7", "this is neither XML nor JSON (JUnit, Cobertura, SARIF, in-toto or JSON)"),
        (b"<html/>", "<html> is neither JUnit nor Cobertura"),
        (b"<testsuite>\n<testcase/>\n", "report.txt:3: not XML: it ends in the middle"),
        (b"<testsuite", "report.txt:1: not XML: it ends in the middle"),
        (b"<testsuite><![CDATA[", "it ends in the middle"),
        (b"<testsuite>\n</testcase>", "report.txt:2: not XML: mismatched tag"),
        (b"<testsuite>\n&nbsp;</testsuite>", "report.txt:2: not XML: undefined entity"),
        (b"<testsuite/><testsuite/>", "not XML: junk after document element"),
        ("<testsuite/>".encode("utf-16"), "not UTF-8 text (byte 0) (save it as UTF-8)"),
        ('<testsuite name="é"/>'.encode("latin-1"), "report.txt:1: not UTF-8 text (byte 17)"),
        (b'<?xml version="1.0" encoding="ISO-8859-1"?><testsuite/>', "the encoding is 'ISO-8859-1', not UTF-8"),
        (b"<testsuite>" * 10_000, "elements more than 64 deep"),
        (b"[" * 10_000, "brackets more than 64 deep"),
        (b'{"a":' * 10_000, "brackets more than 64 deep"),
        (f"<!DOCTYPE r [{LAUGHS}]>\n<testsuite>&a9;</testsuite>".encode(), f"report.txt:1: {DOCTYPE}"),
        (b'<!DOCTYPE r SYSTEM "file:///etc/passwd"><testsuite/>', DOCTYPE),
        (b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite>&x;</testsuite>', DOCTYPE),
        (
            b'<?xml version="1.0"?>\n<!DOCTYPE r [<!ENTITY % p SYSTEM "http://127.0.0.1/">%p;]><testsuite/>',
            ":2: " + DOCTYPE,
        ),
    ],
)
def test_what_is_broken_or_hostile_is_one_line_with_its_place(data, says):
    assert says in refused(data, "TRN-05")


@pytest.mark.parametrize(
    "data",
    [
        b" " * (LARGEST + 1),
        b"<testsuite>" + b"<a/>" * 1_000_001 + b"</testsuite>",
        b"[" + b"{}," * 1_000_001 + b"{}]",
    ],
    ids=["bytes", "elements", "values"],
)
def test_what_is_too_large_is_refused_before_it_costs_memory(data):
    tracemalloc.start()
    try:
        said = refused(data, "TRN-05")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "larger than 32 MiB" in said or "more than 1,000,000" in said
    assert peak < 3 * len(data)


def test_a_long_text_in_a_report_costs_nothing():
    data = b"<testsuite><testcase/><system-out>" + b"x" * 8_000_000 + b"</system-out></testsuite>"
    assert figure(data, "TRN-05").n == 1


WORDS = st.sampled_from(
    [
        "<testsuite>", "</testsuite>", "<testcase/>", "<testcase>", "</testcase>", "<failure/>", "<skipped/>",
        '<testsuite tests="1" timestamp="2026-01-01">', '<coverage line-rate="1" lines-valid="1" lines-covered="1">',
        "</coverage>", '<line hits="1"/>', "<![CDATA[", "]]>", "&amp;", "&#0;", "<?x?>", "<!--", "-->",
    ]
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "metric", "value", "n", "interval", "at", "low", "high", "version", "runs", "tool", "driver", "results",
        "level", "suppressions", "rules", "id", "ruleIndex", "properties", "security-severity", "_type", "subject",
        "digest", "predicateType", "predicate", "payload", "payloadType", "signatures", "sha256", "evidence",
    ]
)  # fmt: skip
LEAVES = st.sampled_from(
    ["tests_failed", "2.1.0", "error", "https://in-toto.io/Statement/v1", "a" * 64, "urn:guideway:evidence:v1"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)


def _value_or_spec_error(data: bytes, clause: str) -> None:
    for form in FORMATS:
        try:
            found = read(data, form, CLAUSES[clause], name=NAME)
        except SpecError as error:
            assert "\n" not in str(error)
        else:
            assert all(one.n >= 0 and one.value == one.value for one in found.facts)
    with contextlib.suppress(SpecError):
        assert detect(data, NAME) in FORMATS


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["TRN-05", "SEC-03", "SEC-06"]))
def test_no_bytes_give_anything_but_a_figure_or_a_refusal(data, clause):
    _value_or_spec_error(data, clause)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, max_size=12), st.sampled_from(["TRN-05", "ROB-03"]))
def test_no_xml_gives_anything_but_a_figure_or_a_refusal(words, clause):
    _value_or_spec_error("".join(words).encode(), clause)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=8), st.sampled_from(["TRN-05", "SEC-03"]))
def test_no_json_gives_anything_but_a_figure_or_a_refusal(value, clause):

    _value_or_spec_error(as_json(value), clause)
