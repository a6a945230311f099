"""Which requests are the same, and which answers may be kept at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from guideway.core.route import Terms
from guideway.gateway.cache.key import SILENT, read
from guideway.gateway.cache.plan import Call, plan

CHAT = b"/v1/chat/completions"
OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
HI = {"model": "poet", "messages": [{"role": "user", "content": "hi"}]}

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
bodies = st.dictionaries(st.text(), values, max_size=6)


def call(body=HI, **changes) -> Call:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Call(**{"tenant": "t", "path": CHAT, "body": data, "release": OLD, **changes})


def key(*arguments, **changes) -> bytes:
    found = plan(call(*arguments, **changes))
    assert found is not None
    return found.key


def unit(*arguments, **changes) -> bytes:
    found = plan(call(*arguments, **changes))
    assert found is not None
    return found.unit


def permuted(value, draw):
    if isinstance(value, dict):
        return {name: permuted(value[name], draw) for name in draw(st.permutations(list(value)))}
    return [permuted(one, draw) for one in value] if isinstance(value, list) else value


@given(bodies, st.data())
def test_order_of_names_white_space_and_escapes_do_not_matter(body, data):
    other = json.dumps(permuted(body, data.draw), indent=data.draw(st.sampled_from([None, 1])), ensure_ascii=False)
    assert key(body) == key(other.encode())


@given(bodies, st.text(), values)
def test_any_other_parameter_or_value_is_another_request(body, name, value):
    assume(name not in SILENT)
    changed = {**body, name: value}
    assume(json.dumps(changed, sort_keys=True) != json.dumps(body, sort_keys=True))
    assert key(changed) != key(body)
    assert unit(changed) != unit(body)


@given(bodies, bodies)
def test_two_bodies_are_the_same_only_if_all_that_counts_is(one, other):
    assume(not SILENT & (one.keys() | other.keys()))
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (key(one) == key(other)) is same


@pytest.mark.parametrize("name", sorted(SILENT))
def test_who_asks_and_what_is_noted_beside_changes_nothing(name):
    assert key({**HI, name: "x"}) == key(HI)
    nested = {**HI, "messages": [{"role": "user", "content": "hi", name: "x"}]}
    assert key(nested) != key(HI), "within a message it may be part of what the model reads"


@pytest.mark.catalogue("B36")
@pytest.mark.parametrize(
    "changed",
    [{"tenant": "u"}, {"path": b"/v1/completions"}, {"masking": b"strict"}],
    ids=["tenant", "path", "masking policy"],
)
def test_tenant_path_and_masking_policy_count(changed):
    assert key(**changed) != key()
    assert unit(**changed) != unit()


@pytest.mark.catalogue("B36")
def test_another_release_has_another_key_but_the_request_counts_as_the_same():
    assert key(release=NEW) != key(release=OLD)
    assert unit(release=NEW) == unit(release=OLD)


@pytest.mark.catalogue("B36")
@pytest.mark.parametrize(
    "parameter",
    [
        {"messages": [{"role": "system", "content": "Be rude."}, *HI["messages"]]},
        {"temperature": 0.5},
        {"seed": 2},
        {"max_tokens": 5},
        {"stop": ["x"]},
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tool_choice": "required"},
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
        {"top_logprobs": 3},
        {"logit_bias": {"5": -100}},
        {"frequency_penalty": 0.5},
        {"presence_penalty": 0.5},
        {"nobody_knows_this": 1},
    ],
    ids=",".join,
)
def test_system_prompt_and_every_parameter_that_changes_the_answer_count(parameter):
    assert key({**HI, **parameter}) != key(HI)


def test_fields_do_not_run_into_each_other():
    assert unit(tenant="ab", path=b"c") != unit(tenant="a", path=b"bc")
    assert unit(tenant="a", masking=b"9:,") != unit(tenant="a9:,", masking=b"")


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"messages":[{"content":"x","content":"y"}]}',
        b'{"a":{"b":"","b":"\\u0022\\u0022"}}',
        b'{"a":"\\u0022","b":1,"b":2,"c":"\\u0022"}',
        b'{"a":NaN}',
        b'{"a":1e400}',
        b'{"a":"\\ud800"}',
        b"[1]",
        b"nothing",
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=range(14),
)
def test_a_body_that_two_readers_may_understand_differently_has_no_plan(body):
    assert read(body) is None
    assert plan(call(body)) is None


@given(bodies, st.data())
def test_a_name_that_stands_twice_is_always_found(body, data):
    assume(body)
    name = data.draw(st.sampled_from(sorted(body)))
    inner = json.dumps(body)[1:-1]
    twice = "{" + inner + "," + json.dumps(name) + ":" + json.dumps(data.draw(values)) + "}"
    assert read(twice.encode()) is None


def test_a_quotation_mark_that_is_spelled_as_an_escape_is_read():
    assert key(b'{"a":"\\u0022"}') == key(b'{"a":"\\""}')


@pytest.mark.parametrize(
    ("parameters", "temperature", "kept"),
    [
        ({}, 0.0, True),
        ({}, 0.7, False),
        ({"temperature": None}, 0.0, True),
        ({"temperature": 0}, 0.7, True),
        ({"temperature": 0.0}, 0.7, True),
        ({"temperature": 0.1}, 0.0, False),
        ({"temperature": False}, 0.7, False),
        ({"temperature": "0"}, 0.0, False),
        ({"seed": 7}, 0.7, True),
        ({"seed": 7, "temperature": 1}, 0.0, True),
        ({"seed": None}, 0.7, False),
        ({"seed": True}, 0.7, False),
        ({"n": 1}, 0.0, True),
        ({"n": None}, 0.0, True),
        ({"n": 2}, 0.0, False),
        ({"n": True}, 0.0, False),
        ({"best_of": 2}, 0.0, False),
        ({"web_search_options": {}}, 0.0, False),
        ({"tools": [{"type": "function"}]}, 0.0, True),
        ({"tools": [{"type": "mcp"}]}, 0.0, False),
        ({"tools": ["f"]}, 0.0, False),
        ({"tools": 5}, 0.0, False),
        ({"messages": [{"content": [{"type": "text", "text": "x"}]}]}, 0.0, True),
        ({"messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]}]}, 0, True),
        ({"messages": [{"content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}]}, 0.0, False),
        ({"messages": [{"content": [{"type": "video_url", "video_url": {"url": "data:"}}]}]}, 0.0, False),
    ],
    ids=str,
)
def test_only_a_repeatable_answer_is_read_or_kept(parameters, temperature, kept):
    found = plan(call({**HI, **parameters}, terms=Terms(temperature=temperature)))
    assert found is not None
    assert (found.reads, found.keeps) == (kept, kept)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        (CHAT, False),
        (b"/v1/completions", False),
        (b"/v1/embeddings", True),
        (b"/v2/models/poet/infer", True),
        (b"/v1/feedback", False),
        (b"/v1/explain", False),
    ],
)
def test_what_is_computed_and_not_sampled_is_kept_at_any_temperature(path, kept):
    found = plan(call(path=path, terms=Terms(temperature=1.0)))
    assert found is not None
    assert found.keeps is kept


def test_nothing_is_kept_of_a_release_that_forbids_it():
    found = plan(call(terms=Terms(cacheable=False)))
    assert found is not None
    assert not found.reads
    assert not found.keeps
    assert found.unit == unit()


@pytest.mark.parametrize(
    ("control", "reads", "keeps", "oldest"),
    [
        (b"", True, True, float("inf")),
        (b"no-store", False, False, float("inf")),
        (b"No-Cache, NO-STORE", False, False, float("inf")),
        (b"no-cache", False, True, float("inf")),
        (b"max-age=0", False, True, 0.0),
        (b"max-age=60", True, True, 60.0),
        (b"max-age=soon", False, True, 0.0),
        (b"max-age", False, True, 0.0),
        (b"no-transform", True, True, float("inf")),
    ],
)
def test_cache_control_of_the_client_is_kept_to(control, reads, keeps, oldest):
    found = plan(call(control=control))
    assert found is not None
    assert (found.reads, found.keeps, found.oldest) == (reads, keeps, oldest)
