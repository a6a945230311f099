"""Names of a body: each once, spelled as the API spells it, or the request is refused."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from gateway_rig import MODEL
from hypothesis import given, settings
from hypothesis import strategies as st

from guideway.gateway.errors import ApiError
from guideway.gateway.names import understood
from guideway.gateway.request import Plain, peek

HI = '{"role":"user","content":"hi"}'
TWICE = {
    "messages": f'{{"model":"poet","messages":[{HI}],"messages":[{HI}]}}',
    "model": f'{{"model":"other","model":"poet","messages":[{HI}]}}',
    "escaped model": f'{{"mod\\u0065l":"other","model":"poet","messages":[{HI}]}}',
    "max_tokens": f'{{"model":"poet","messages":[{HI}],"max_tokens":5,"max_tokens":9}}',
    "spaced max_tokens": f'{{"model":"poet","messages":[{HI}],"max_tokens" : 5,"max_tokens"\t:9}}',
    "content": '{"model":"poet","messages":[{"role":"user","content":"a","content":"hi"}]}',
    "content beside a mark": '{"model":"poet","messages":[{"role":"user","content":"a\\u0022","content":"hi"}]}',
    "content beside marks": '{"model":"poet","messages":[{"role":"user","content":1,"content":"\\u0022\\u0022"}]}',
    "content beside backslashes": '{"model":"poet","messages":[{"role":"user","content":"a\\\\","content":"hi\\\\"}]}',
    "text of a part": '{"model":"poet","messages":[{"role":"user","content":[{"text":"a","text":"hi"}]}]}',
    "prompt": '{"model":"poet","prompt":[1,2],"prompt":"hi"}',
    "unknown": f'{{"model":"poet","messages":[{HI}],"x\\\\":1,"x\\\\":2}}',
}  # fmt: skip
RESPELLED = {
    "Messages": f'{{"model":"poet","messages":[{HI}],"Messages":[]}}',
    "N": f'{{"model":"poet","messages":[{HI}],"N":100000}}',
    "Max_Tokens": f'{{"model":"poet","messages":[{HI}],"Max_Tokens":1000000000}}',
    "me\u017f\u017fages": f'{{"model":"poet","messages":[{HI}],"me\u017f\u017fages":[]}}',
    "Content": '{"model":"poet","messages":[{"role":"user","content":"hi","Content":"a"}]}',
    "Text": '{"model":"poet","messages":[{"role":"user","content":[{"text":"hi","Text":"a"}]}]}',
    "Data": '{"inputs":[{"name":"a","data":["hi"],"Data":["a"]}]}',
}


@pytest.mark.parametrize("which", TWICE)
def test_a_name_that_stands_twice_is_refused_with_one_line(which: str) -> None:
    body = TWICE[which].encode()
    assert not isinstance(peek(body), Plain)
    refused = understood(body)
    assert isinstance(refused, ApiError)
    assert refused.status == 400
    assert "twice" in refused.message
    assert "\n" not in refused.message


@pytest.mark.parametrize("name", RESPELLED)
def test_a_known_name_in_another_case_is_refused_with_the_right_one(name: str) -> None:
    body = RESPELLED[name].encode()
    assert not isinstance(peek(body), Plain)
    refused = understood(body)
    assert isinstance(refused, ApiError)
    assert (refused.status, refused.param) == (400, name.casefold())
    assert repr(name.casefold()) in refused.message


@pytest.mark.parametrize(
    "body",
    [
        {"model": "poet", "messages": [{"role": "user", "content": 'say "hi": {"a": 1}\n'}]},
        {"model": "poet", "messages": [{"role": "system", "content": "é"}, {"role": "user", "content": "x :"}]},
        {"model": "poet", "prompt": ['a "b"', "c"], "max_tokens": 3, "stop": ["x", "y"], "user": "u"},
        {"model": "poet", "input": 'a "b"'},
        {"model": "poet", "messages": [], "stream": True, "stream_options": {"include_usage": True}, "n": 1},
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (" , ", "\t:\n")])
def test_an_ordinary_body_goes_the_short_way(body: dict[str, object], separators: tuple[str, str]) -> None:
    data = json.dumps(body, ensure_ascii=False, separators=separators).encode()
    assert isinstance(peek(data), Plain)
    assert understood(data) == body


def test_names_of_ones_own_may_be_alike_and_escaped_as_one_likes() -> None:
    for body in (
        {
            "model": "poet",
            "metadata": {"A": 1, "a": 2},
            "tools": [{"function": {"parameters": {"Text": 1, "text": 2}}}],
        },
        {"model": "poet", "messages": [{"role": "user", "content": 'C:\\ and \\"x\\\\"', "x\\": 1}]},
    ):
        assert understood(json.dumps(body).encode()) == body


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":1e999}', b"{", b'{"a":"\xff"}'])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert isinstance(understood(body), ApiError)


def test_a_name_that_stands_twice_never_reaches_a_replica(gateway, replica, client) -> None:
    one = replica()
    gateway.serve(one)
    for body in (*TWICE.values(), *RESPELLED.values()):
        if MODEL in body:
            assert client.ask(body=body.encode()).status == 400
    assert one.asked == []


texts = st.text(st.sampled_from('a"\\:,{}[]é \n'), max_size=6)
names = st.sampled_from(
    ["model", "messages", "n", "stop", "user", "prompt", "max_tokens", "stream_options", "x\\", "x"]
)
leaves = texts | st.integers(-3, 3) | st.none() | st.booleans()
inner = st.lists(st.tuples(st.sampled_from(["role", "content", "x"]), leaves), max_size=4)


def written(pairs: list[tuple[str, object]], draw: st.DataObject) -> str:
    """JSON with the names of *pairs* in this order, escaped and spaced anyhow."""
    return "{" + ",".join(f"{spelled(name, draw)}{draw.draw(SPACES)}:{value}" for name, value in pairs) + "}"


SPACES = st.sampled_from(["", " ", "\t\n"])


def spelled(text: str, draw: st.DataObject) -> str:
    if draw.draw(st.booleans()):
        return json.dumps(text)
    return '"' + "".join(map("\\u{:04x}".format, map(ord, text))) + '"'


@given(st.data(), st.lists(names, max_size=5))
@settings(max_examples=400, deadline=None)
def test_the_count_of_marks_never_takes_two_names_for_one(draw: st.DataObject, found: list[str]) -> None:
    messages = [draw.draw(inner) for _ in range(draw.draw(st.integers(0, 2)))]
    values = {"messages": "[" + ",".join(written(_encoded(one, draw), draw) for one in messages) + "]"}
    pairs = [("model", '"poet"'), *((name, values.get(name) or _leaf(draw.draw(leaves), draw)) for name in found)]
    body = written(pairs, draw).encode()
    objects = [[name for name, _ in pairs]]
    if "messages" in found:
        objects += [[name for name, _ in one] for one in messages]
    if any(count > 1 for one in objects for count in Counter(one).values()):
        assert not isinstance(peek(body), Plain)
        assert isinstance(understood(body), ApiError)
    else:
        assert understood(body) == json.loads(body)


def _leaf(value: object, draw: st.DataObject) -> str:
    return spelled(value, draw) if isinstance(value, str) else json.dumps(value)


def _encoded(pairs: list[tuple[str, object]], draw: st.DataObject) -> list[tuple[str, object]]:
    return [(name, _leaf(value, draw)) for name, value in pairs]
