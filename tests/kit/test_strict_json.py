"""JSON from strangers: one meaning, or a refusal with its line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guideway.kit.strict_json import DEPTH, NotJson, read_json

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(PLAIN)
def test_what_python_writes_comes_back(value):
    assert read_json(json.dumps(value).encode()) == value


@settings(deadline=None)
@given(PLAIN)
def test_a_byte_order_mark_is_passed_over(value):
    assert read_json(b"\xef\xbb\xbf" + json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("data", "what", "line"),
    [
        (b"", "the file is empty", 0),
        (b" \n\t", "the file is empty", 0),
        (b'{"a": 1,\n"b": ', "it ends in the middle", 2),
        (b'{"a": 1,\n"b": "x', "it ends in the middle", 2),
        (b'{"a": 1,\n\n"b": nonsense}', "not JSON: expecting value", 3),
        (b'{"a": 1} {"b": 2}', "not JSON: extra data", 1),
        (b"{'a': 1}", "not JSON", 1),
        (b'\n\n{"a": "\xff"}', "not UTF-8 text (byte 9)", 3),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8 text (byte 0)", 1),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' is in one object twice", 0),
        (b'[{"x": {"a": 1, "a": 1}}]', "the key 'a' is in one object twice", 0),
        (b"[NaN]", "'NaN' is not a number", 0),
        (b"[-Infinity]", "'-Infinity' is not a number", 0),
        (b"[1e999]", "out of range", 0),
        (b"[" + b"9" * 5000 + b"]", "out of range", 0),
        (b'["\\ud800"]', "surrogate", 0),
        (b'{"\\uDFFF": 1}', "surrogate", 0),
        (b'"\\ud800"', "surrogate", 0),
        (b"[" * 10_000, "64 deep", 0),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "64 deep", 0),
        (b"[" * 100_000 + b"]" * 100_000, "64 deep", 0),
        (b"[" + b"1," * 1_000_001 + b"1]", "more than 1,000,000 values", 0),
    ],
)
def test_what_may_mean_two_things_or_nothing_is_refused(data, what, line):
    with pytest.raises(NotJson) as caught:
        read_json(data)
    assert what in caught.value.what and caught.value.line == line


def test_the_depth_limit_is_exact_and_the_same_however_deep_the_caller_is():
    def deep(levels: int, call):
        return call() if levels == 0 else deep(levels - 1, call)

    inside, outside = b"[" * DEPTH + b"]" * DEPTH, b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1)
    for levels in (0, 600):
        assert deep(levels, lambda: read_json(inside))
        with pytest.raises(NotJson):
            deep(levels, lambda: read_json(outside))


def test_a_whole_surrogate_pair_is_one_character():
    assert read_json(b'["\\ud83d\\ude00", "\\\\ud800"]') == ["\N{GRINNING FACE}", "\\ud800"]


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_no_bytes_give_anything_but_a_value_or_a_refusal(data):
    try:
        value = read_json(data)
    except NotJson:
        return
    assert json.loads(data.decode("utf-8-sig")) == value
