"""The keys of guards and golden prompts: what cannot work is refused before anything runs."""

from __future__ import annotations

import msgspec
import pytest

from guideway.core.spec.golden import Golden
from guideway.core.spec.guards import Guard, check_names, rooted

WELL = {"name": "errors", "prometheus": "http://127.0.0.1:9090", "query": 'sum(x{e="$environment"})', "at_most": 0.5}


def read(**changes) -> Guard:
    return msgspec.convert({**WELL, **changes}, Guard)


def test_the_defaults_ask_every_fifteen_seconds_and_stop_nothing():
    guard = read()
    assert (guard.every, guard.stops, guard.token_file, guard.ca_file) == (15.0, False, "", "")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "Has Spaces"}, "matching regex"),
        ({"query": "  "}, "guard 'errors': query: the query is empty"),
        ({"query": "# nothing"}, "the query is empty"),
        ({"query": "sum(x"}, "the query has a '(' that is never closed"),
        ({"query": "sum(x))"}, "the query has a ')' that closes nothing"),
        ({"query": "x{a=(b})"}, "the query has a '}' that closes nothing"),
        ({"query": 'x{a="b}'}, 'a string that begins with " and does not end'),
        ({"query": "x{a=$release}"}, '$release stands outside a string: write "$release"'),
        ({"query": "x{a=`$release`}"}, "$release stands between backticks"),
        ({"query": 'x{a="$relase"}'}, "there is no placeholder $relase: did you mean 'release'?"),
        ({"query": "x" * 5000}, "longer than 4096 characters"),
        ({"prometheus": "localhost:9090"}, "prometheus is no URL"),
        ({"prometheus": "ftp://x"}, "prometheus is no URL"),
        ({"prometheus": "http://"}, "prometheus is no URL"),
        ({"prometheus": "http://h:99999"}, "prometheus is no URL"),
        ({"prometheus": "http://h/\r\nX: y"}, "prometheus is no URL"),
        ({"prometheus": "http://h/?a=b"}, "prometheus is no URL"),
        ({"prometheus": "http://[::1"}, "prometheus is no URL"),
        ({"at_most": float("nan")}, "at_most is not a number"),
        ({"at_most": float("inf")}, "at_most is not a number"),
        ({"every": 0.1}, "every"),
        ({"token_file": "t", "prometheus": "http://prometheus:9090"}, "the token would travel in clear"),
        ({"ca_file": "c"}, "ca_file means nothing without https://"),
        ({"at_least": 1.0}, "unknown field `at_least`"),
    ],
)
def test_a_guard_that_cannot_work_is_refused(changes, says):
    with pytest.raises(msgspec.ValidationError) as caught:
        read(**changes)
    assert says in str(caught.value)


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(msgspec.ValidationError, match="put a token into a file") as caught:
        read(prometheus="http://me:pa55word@h:9090")
    assert "pa55word" not in str(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        'label_replace(x, "a", "$1", "b", "(.*)")',
        'x{a=~"5..$"}',
        'x{a="}"} # )',
        "x{a='\"'}",
        r'x{a="\""}',
        "x{a=`\\`}",
    ],
)
def test_brackets_in_strings_and_dollars_of_patterns_are_no_fault(query):
    assert read(query=query).query == query


def test_the_token_may_go_to_this_machine_in_clear_and_elsewhere_over_tls():
    assert read(token_file="t").token_file == "t"
    assert read(token_file="t", ca_file="c", prometheus="https://prometheus").ca_file == "c"


def test_two_guards_of_one_name_are_refused():
    check_names([read(), read(name="other")])
    with pytest.raises(ValueError, match="guard 'errors' is here twice"):
        check_names([read(), read(name="other"), read()])


def test_files_are_looked_for_beside_the_spec(tmp_path):
    given = [read(token_file="t", ca_file="/etc/ca.pem", prometheus="https://h"), read(name="b")]
    first, second = rooted(given, tmp_path)
    assert (first.token_file, first.ca_file) == (str(tmp_path / "t"), "/etc/ca.pem")
    assert second == given[1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"file": ""}, "file"),
        ({"score": "bleu"}, "score"),
        ({"per_minute": 0}, "per_minute"),
        ({"tolerated": 1.5}, "tolerated"),
        ({"timeout": 0}, "timeout"),
        ({"rate": 1}, "unknown field `rate`"),
    ],
)
def test_golden_prompts_that_cannot_work_are_refused(changes, says):
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"file": "golden.jsonl", **changes}, Golden)
    assert says in str(caught.value)
