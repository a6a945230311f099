"""An event that is known by the bytes around its text comes out exactly as if it had been read."""

from __future__ import annotations

import json

import pytest
from guard_rig import SYSTEM, chat
from hypothesis import given, settings
from hypothesis import strategies as st

from guideway.core.guardrails import DenyRule, Guardrails
from guideway.core.spec.gateway import Gateway, Masking
from guideway.core.terms import Terms
from guideway.gateway import rewrite
from guideway.gateway.prepare import Preparation, Prepared
from guideway.gateway.request import Request, peek
from guideway.gateway.rewrite import AnswerRewriter

DONE = b"data: [DONE]\n\n"
TOOLS = [{"type": "function", "function": {"name": "f"}}]
RULES = Guardrails(deny=(DenyRule("n", "project x"),), max_output=300)


def way(terms: Terms, output: bool = True, **more: object) -> tuple[Preparation, Request]:
    request = Request()
    request.path, request.body = b"/v1/chat/completions", json.dumps(chat("mail al@example.com", **more)).encode()
    return Preparation(Gateway(masking=Masking(output=output)), terms), request


WAYS = {
    "neutralise": way(Terms(), output=False),
    "secret": way(Terms(system=SYSTEM), output=False),
    "masking": way(Terms()),
    "all": way(Terms(system=SYSTEM, guardrails=RULES), tools=TOOLS),
}
TEXTS = st.sampled_from(
    ["word ", "more", " ", "", "\n", "<b", "<script>", "](", "![a]", "al@ex", "ample.com", "[EMAIL", "_1]", "1391234",
     "5678 ", "CANARY-7", "f3a9c", "project", " x", "stop", "index", "c1", "é", "、好", "\\", '"', "\x1b[1m", "\u202e",
     "```\n", "\x7f"]
)  # fmt: skip
KINDS = st.sampled_from(["usual"] * 6 + ["spaced", "second", "role", "reasoning", "text", "twice", "logprobs", "calls"])


def event(kind: str, text: str) -> bytes:
    told = json.dumps(text, ensure_ascii=False)
    delta = {
        "role": b'{"role":"assistant","content":%b}',
        "reasoning": b'{"reasoning_content":%b}',
        "twice": b'{"content":"<i","content":%b}',
        "calls": b'{"content":%b,"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{"}}]}',
    }.get(kind, b'{"content":%b}') % told.encode()
    index = b"1" if kind == "second" else b"0"
    more = b',"logprobs":{"content":[{"token":"a"}]}' if kind == "logprobs" else b',"logprobs":null'
    choice = b'{"index":%b,"delta":%b%b,"finish_reason":null}' % (index, delta, more)
    if kind == "text":
        choice = b'{"index":0,"text":%b,"finish_reason":null}' % told.encode()
    gap = b" " if kind == "spaced" else b""
    return b'data: {"id":"c1","object":"chunk","model":"stop","usage":null,%b"choices":[%b]}\n\n' % (gap, choice)


def through(one: AnswerRewriter, pieces: list[bytes]) -> list[bytes | str]:
    out: list[bytes | str] = []
    try:
        out.extend(one.feed(piece) for piece in pieces)
        out.append(one.end())
    except ValueError as error:
        out.append(str(error))
    return [*out, str(one.stopped)]


def rewriter(way: str) -> AnswerRewriter:
    preparation, request = WAYS[way]
    prepared = preparation.prepare(request, peek(request.body), 0)
    assert isinstance(prepared, Prepared)
    made = prepared.rewriter()
    assert made is not None
    return made


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(WAYS)),
    st.lists(st.tuples(KINDS, TEXTS), max_size=20),
    st.sampled_from([b"", DONE, event("usual", "x").replace(b'son":null', b'son":"stop"') + DONE]),
    st.integers(1, 3),
)
def test_what_is_known_by_its_shape_comes_out_as_what_is_read(way, told, end, together):
    events = [*(event(kind, text) for kind, text in told), end]
    pieces = [b"".join(events[at : at + together]) for at in range(0, len(events), together)]
    read = rewriter(way)
    read._tries = 0
    assert through(rewriter(way), pieces) == through(read, pieces)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(WAYS)), st.lists(TEXTS, min_size=2, max_size=40))
def test_a_usual_stream_is_known_by_its_shape_and_comes_out_the_same(way, texts):
    pieces = [event("usual", text) for text in ["word ", *texts]] + [DONE]
    read = rewriter(way)
    read._tries = 0
    assert through(rewriter(way), pieces) == through(read, pieces)


def test_the_usual_events_are_not_read(monkeypatch):
    one = rewriter("masking")
    one.feed(event("usual", "word "))
    monkeypatch.setattr(rewrite, "_object", lambda data: pytest.fail("this event was read"))
    out = one.feed(event("usual", "more")) + one.feed(event("usual", " words ")) + one.feed(event("usual", "<b"))
    assert b"more" in out and b"words" in out and b"<b" not in out


def test_streams_whose_events_are_never_alike_cost_few_tries(monkeypatch):
    one = rewriter("secret")
    tried = []
    monkeypatch.setattr(rewrite, "shape_of", lambda *arguments: tried.append(1))
    for number in range(100):
        one.feed(event("usual", "word ").replace(b'"c1"', b'"c%d"' % number))
    assert len(tried) == rewrite.TRIES


@pytest.mark.parametrize(
    "odd",
    [
        event("usual", "x").replace(b'"x"', b'"x","content":"y"'),
        event("usual", "<b"),
        event("usual", "a\\b"),
        event("usual", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")),
        event("usual", "xx").replace(b"xx", b"x\xff"),
        event("usual", "xx").replace(b"xx", b"x\x01"),
        event("usual", "x").replace(b"\n\n", b"\n: y\n\n"),
    ],
)
def test_what_only_looks_like_a_known_event_is_read(odd):
    one, read = rewriter("neutralise"), rewriter("neutralise")
    read._tries = 0
    assert through(one, [event("usual", "x"), odd]) == through(read, [event("usual", "x"), odd])
