"""A body that names nothing unusual is its own key: the short way must never keep more than the long one."""

from __future__ import annotations

import json

import pytest
from gateway_paper import completion
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.terms import Terms
from guideway.gateway.cache.plan import Call, Plan, plan
from guideway.gateway.cache.stored import LARGEST, is_ordinary, is_whole
from guideway.gateway.errors import ApiError
from guideway.gateway.request import peek

CHAT = b"/v1/chat/completions"
OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
HI = {"model": "poet", "messages": [{"role": "user", "content": "hi"}]}
AWAY = {"image_url": {"url": "https://x/y"}}


def call(body=HI, *, plain: bool | None = None, **changes) -> Call:
    """A call as the gateway makes it; *plain* None: as the gateway's own look at the body says."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    wanted = peek(data)
    assert not isinstance(wanted, ApiError)
    plain = wanted.is_plain if plain is None else plain
    told = {"plain": plain, "greedy": wanted.temperature == 0}
    return Call(**{"tenant": "t", "path": CHAT, "body": data, "release": OLD, **told, **changes})


def short(body=HI, **changes) -> Plan:
    """The plan of a body that goes the short way."""
    made = call(body, **changes)
    assert made.plain
    found = plan(made)
    assert found is not None
    return found


texts = st.text() | st.sampled_from(['"content":[', "[[", "\\u005b", "https://x/y.png", "[1] [2]"])
parts = st.fixed_dictionaries(
    {},
    optional={
        "text": texts,
        "type": st.sampled_from(["text", "image_url"]),
        **{name: st.just(value) for name, value in AWAY.items()},
    },
)
messages = st.fixed_dictionaries({"role": st.just("user"), "content": texts | st.lists(parts, max_size=2)})
bodies = st.fixed_dictionaries(
    {"model": st.just("poet"), "messages": st.lists(messages, max_size=3)},
    optional={
        "stream": st.none() | st.booleans(),
        "stream_options": st.just({"include_usage": True}),
        "max_tokens": st.integers(-1, 10),
        "stop": texts | st.lists(texts, max_size=2),
        "temperature": st.none() | st.sampled_from([0, 0.0, 1.0]),
        "seed": st.none() | st.integers(0, 3),
        "n": st.none() | st.integers(1, 2),
        "top_p": st.sampled_from([0.5, 1.0]),
        "user": st.sampled_from(["a", "b"]),
        "tools": st.just([{"type": "mcp"}]),
        "unknown": st.integers(0, 1),
    },
)
temperatures = st.sampled_from([0.0, 0.7])
indents = st.sampled_from([None, 0, 1])
spellings = st.sampled_from([(",", ":"), (", ", ": "), (" ,", " : ")])


@given(bodies, temperatures, indents, spellings, st.booleans())
def test_what_the_short_way_keeps_the_long_way_keeps_too(body, temperature, indent, separators, escaped):
    data = json.dumps(body, indent=indent, separators=separators, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    data = data.replace(b'"content"', b'"\\u0063ontent"') if escaped else data
    wanted = peek(data)
    if isinstance(wanted, ApiError):
        return
    terms = Terms(temperature=temperature)
    quick = plan(call(data, plain=wanted.is_plain, terms=terms))
    careful = plan(call(data, plain=False, terms=terms))
    assert quick is not None
    assert careful is None or (quick.reads, quick.keeps) == (careful.reads, careful.keeps)


@given(bodies, bodies)
def test_two_bodies_have_one_key_only_if_they_ask_the_same(one, other):
    first, second = plan(call(one)), plan(call(other))
    assert first is not None
    assert second is not None
    ask = [json.dumps({k: v for k, v in body.items() if k != "user"}, sort_keys=True) for body in (one, other)]
    if ask[0] != ask[1]:
        assert first.key != second.key
        assert first.unit != second.unit
    elif json.dumps(one) == json.dumps(other):
        assert first.key == second.key


@pytest.mark.parametrize("content", [[AWAY], [{"type": "image_url", **AWAY}]], ids=["no type", "type"])
@pytest.mark.parametrize("spelling", ['"content": [', '"content":[', '"content"\n:\t[', '"\\u0063ontent": ['])
def test_a_picture_from_elsewhere_is_never_kept_however_it_is_spelled(content, spelling):
    text = json.dumps({"model": "poet", "messages": [{"role": "user", "content": content}]})
    found = plan(call(text.replace('"content": [', spelling).encode()))
    assert found is not None
    assert not found.reads
    assert not found.keeps


def test_a_prompt_that_speaks_of_parts_and_pictures_is_kept():
    assert short({**HI, "messages": [{"role": "user", "content": 'see [1], [2]: "content":[ \\u005b'}]}).keeps


@pytest.mark.catalogue("B35")
@pytest.mark.catalogue("B36")
@pytest.mark.parametrize("changed", [{"tenant": "u"}, {"path": b"/v1/completions"}, {"masking": b"m"}], ids=str)
def test_tenant_path_and_masking_policy_count_on_the_short_way(changed):
    assert short(**changed).key != short().key
    assert short(**changed).unit != short().unit


def test_fields_do_not_run_into_each_other_on_the_short_way():
    body = json.dumps(HI).encode()
    assert short(tenant="t1", masking=b"").unit != short(tenant="t", masking=b"1").unit
    assert short(b" " + body, masking=b"m").unit != short(body, masking=b"m ").unit


@pytest.mark.catalogue("B36")
def test_another_release_has_another_key_on_the_short_way_and_the_request_is_the_same():
    assert short(release=NEW).key != short().key
    assert short(release=NEW).unit == short().unit


@pytest.mark.parametrize("terms", [Terms(cacheable=False), Terms(temperature=0.7)], ids=["forbidden", "sampled"])
def test_the_terms_of_a_release_hold_on_the_short_way(terms):
    found = short(terms=terms)
    assert (found.reads, found.keeps, found.unit) == (False, False, short().unit)


@pytest.mark.parametrize(
    ("control", "reads", "keeps"), [(b"no-store", False, False), (b"no-cache", False, True), (b"max-age=9", True, True)]
)
def test_the_clients_wish_holds_for_a_plain_body(control, reads, keeps):
    found = short(control=control)
    assert (found.reads, found.keeps) == (reads, keeps)
    assert (found.key, found.unit) == (short().key, short().unit), "what one keeps, another reads"


def test_a_plain_body_that_asks_for_temperature_0_is_kept_whatever_the_release_is_set_to():
    assert short({**HI, "temperature": 0}, terms=Terms(temperature=0.7)).keeps
    assert not short(terms=Terms(temperature=0.7)).keeps


def told(body: dict, **more) -> bytes:
    return json.dumps({**body, "usage": {"prompt_tokens": 1, "completion_tokens": 1}, **more}).encode()


ODD = [
    told({"error": {"message": "x"}}),
    told({"object": "error", "message": "x"}),
    told({"choices": [{"finish_reason": "abort"}]}),
    told({"a": "x" * LARGEST}),
    b"[]",
    b"<html>",
    b"",
]


@pytest.mark.parametrize("body", ODD, ids=["error", "object", "abort", "large", "list", "html", "empty"])
def test_an_answer_with_anything_odd_about_it_is_not_taken_for_an_ordinary_one(body):
    assert not is_ordinary(200, b"application/json", body)
    assert not is_whole(200, b"application/json", body)


def test_an_ordinary_answer_is_known_by_its_status_and_its_kind():
    assert is_ordinary(200, b"application/json", completion())
    assert not is_ordinary(500, b"application/json", completion())
    assert not is_ordinary(200, b"text/event-stream", completion())
