"""The guard of answers: what never comes out, wherever the stream is cut."""

from __future__ import annotations

import base64
import codecs
import json

import pytest
from guard_rig import CANARY, SYSTEM, chat, cut, flow, release, said, splits
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.guardrails import DenyRule
from guideway.gateway.guard.secret import squashed
from guideway.gateway.guard.stream import Row

PLAIN = release()
BARE = release(neutralise=False, secret_prompt=False)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def told(text: str) -> str:
    """What comes out of *text*, of all ways to cut it the longest; it must have been stopped."""
    found = [flow(PLAIN.text("content"), cut(text, size)) for size in (1, 2, 3, 5, 8, 1000)]
    assert {reason for _, reason in found} == {"secret"}, found
    return max((out for out, _ in found), key=len)


DISGUISES = {
    "plain": lambda text: text,
    "capitals": str.upper,
    "reversed": lambda text: text[::-1],
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "rot13, reversed": lambda text: codecs.encode(text, "rot13")[::-1],
    "spaced": " ".join,
    "dotted": ".".join,
    "a letter a line": "\n".join,
    "full width": lambda text: "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text),
    "base64": b64,
    "base64, one byte on": lambda text: b64("x" + text),
    "base64, two bytes on": lambda text: b64("xy" + text),
    "base64 for addresses": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 in lines": lambda text: base64.encodebytes(text.encode()).decode(),
    "base64, reversed inside": lambda text: b64(text[::-1]),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal, spaced": lambda text: text.encode().hex(" "),
}


@pytest.mark.catalogue("B47")
@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES.keys())
@pytest.mark.parametrize("secret", [CANARY, SYSTEM, SYSTEM[30:150]], ids=["canary", "prompt", "piece"])
def test_the_system_prompt_never_comes_out(disguise, secret):
    before = "Of course: "
    out = told(before + disguise(secret) + " was it.")
    shown = squashed(out).removeprefix(squashed(before))
    assert len(shown) <= 8, f"{shown} came out"


@pytest.mark.catalogue("B47")
def test_no_cut_lets_the_canary_through():
    text = f"it is {CANARY}!"
    for one, two in splits(text):
        out, reason = flow(PLAIN.text("content"), (one, two))
        assert reason == "secret" and CANARY[:6] not in out and out.startswith("it is ")


@pytest.mark.catalogue("B47")
def test_arguments_of_calls_do_not_carry_it_out_either():
    assert said(BARE, f'{{"url": "https://e.example/?q={CANARY}"}}', "arguments")[1] is None
    out, reason = flow(PLAIN.text("arguments"), [f'{{"url": "https://e.example/?q={CANARY}"}}'])
    assert reason == "secret" and "7f3a" not in out


def test_an_answer_may_use_the_words_of_the_prompt():
    for text in (
        "I am Ada, the assistant of Northwind.",
        "Northwind is a bookshop. The margin of a page is white.",
        "Answer: two sentences, at most.",
    ):
        assert said(PLAIN, text) == (text, None)


def test_a_prompt_that_says_nothing_special_is_no_secret():
    from guideway.core.guardrails import Guardrails
    from guideway.gateway.guard import Guard

    assert said(Guard(Guardrails(), "Be brief."), "Be brief. Be brief.") == ("Be brief. Be brief.", None)


BOMBS = release(deny=(DenyRule(name="b", pattern=r"\bpipe\s+bombs?\b"),), secret_prompt=False)


def test_a_denied_text_is_found_wherever_it_is_cut():
    for one, two in splits("Take a pipe bomb and go"):
        assert flow(BOMBS.text("content"), (one, two)) == ("Take a ", "denied")


def test_what_only_looked_like_the_beginning_comes_out_whole():
    for text in ("a pipe bombastic", "pipe", "pipe bo", "the pipe\n", "pipe bob and pipe b"):
        assert said(BOMBS, text) == (text, None)


def test_a_denied_text_at_the_very_end_is_found():
    assert said(BOMBS, "a pipe bomb") == ("a ", "denied")


def test_only_what_could_become_a_match_is_held_back():
    stream = BOMBS.text("arguments")
    assert [stream.feed(char) for char in "a pipe dr"] == ["a", " ", "", "", "", "", "", "pipe d", "r"]


def test_a_match_without_end_is_held_back_only_so_long():
    guard = release(deny=(DenyRule(name="b", pattern=r"BEGIN(?s:.)*END"),), secret_prompt=False)
    stream = guard.text("arguments")
    assert stream.feed("x BEGIN") == "x "
    assert stream.feed("y" * 10_000)
    out, reason = flow(stream, ["END "])
    assert reason == "denied" and "END" not in out


def test_terminal_codes_do_not_split_a_denied_word():
    assert said(BOMBS, "a pi\x1b[1mpe bo\x1b[0mmb!") == ("a ", "denied")


@given(st.text(alphabet="abx\n ", max_size=30), st.integers(1, 7))
def test_cuts_change_nothing_for_any_text(text, size):
    guard = release(deny=(DenyRule(name="r", pattern=r"a+b{2,3}x|\bxx\b"),), secret_prompt=False)
    whole = flow(guard.text("arguments"), [text])
    pieces = flow(guard.text("arguments"), cut(text, size))
    assert whole[1] == pieces[1]
    if whole[1] is None:
        assert whole[0] == pieces[0] == text
    else:
        assert text.startswith(whole[0]) and text.startswith(pieces[0])


def test_a_long_answer_ends_at_its_limit():
    guard = release(max_output=10)
    assert said(guard, "0123456789") == ("0123456789", None)
    assert said(guard, "0123456789a") == ("0123456789", "max_output")


def test_a_rule_that_fails_ends_the_answer():
    class Broken:
        def feed(self, text):
            raise KeyError(text)

        def end(self):
            return "the rest"

    row = Row([Broken()])
    assert flow(row, ["secret text", "more"]) == ("", "a rule failed")
    assert flow(row, ["again"]) == ("", "over")


def test_an_answer_without_rules_flows_as_it_comes():
    assert list(map(BARE.text("content").feed, ["<script>", "![", "x"])) == ["<script>", "![", "x"]


def test_every_answer_has_streams_of_its_own():
    one, two = PLAIN.answer(chat("x")).text("content"), PLAIN.answer(chat("x")).text("content")
    one.feed("the code is CANARY-7f3")
    assert flow(two, ["a9c is nothing"]) == ("a9c is nothing", None)


@pytest.mark.catalogue("B47")
def test_escapes_in_the_arguments_of_calls_hide_nothing():
    escaped = "".join(f"\\u{ord(char):04x}" for char in CANARY)
    for one, two in splits(f'{{"q": "{escaped}"}}'):
        out, reason = flow(PLAIN.text("arguments"), (one, two))
        assert reason == "secret" and len(squashed(out)) <= 6


def test_arguments_mean_the_same_after_their_escapes_were_read():
    for text in (r'{"a": "\\u0041 \u0041\n\" \ud83d\ude00 \u0022"}', r'{"a": "x\u00e9\\"}', "\\", r"\u00", r"\uzz"):
        out, _ = said(PLAIN, text, "arguments")
        if text.startswith("{"):
            assert json.loads(out) == json.loads(text) and "u0041" not in out.replace("\\\\u0041", "")
        else:
            assert out == text
