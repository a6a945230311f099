"""Requests whose personal data is masked, refused, or left as the spec and the release say."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest

from guideway.core.privacy import Entity
from guideway.core.spec.gateway import Masking as Options
from guideway.gateway.errors import ApiError
from guideway.gateway.masking import Masking, Prepared
from guideway.privacy.found import Found
from guideway.privacy.presidio import WithNames

CARD = "4111 1111 1111 1111"
SILENT = Options()
KEY = "sk-proj-abcdefghijklmnop1234567890"


def prepared(body: object, options: Options = SILENT, release: dict[Entity, Any] | None = None) -> Prepared:
    told = Masking(options, release or {}).prepare(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert isinstance(told, Prepared), told
    return told


def chat(**message: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", **message}]}


def content(told: Prepared) -> str:
    text = json.loads(told.body)["messages"][0]["content"]
    assert isinstance(text, str)
    return text


def arguments_of(told: Prepared) -> str:
    text = json.loads(told.body)["messages"][0]["function_call"]["arguments"]
    assert isinstance(text, str)
    return text


BODIES: dict[str, dict[str, Any]] = {
    "content": chat(content="mail jo@example.com"),
    "parts": chat(content=[{"type": "text", "text": "mail jo@example.com"}]),
    "name": chat(content="hi", name="jo@example.com"),
    "system": {"model": "m", "messages": [{"role": "system", "content": "jo@example.com is the user"}]},
    "tool result": {"model": "m", "messages": [{"role": "tool", "content": '{"m": "jo@example.com"}'}]},
    "arguments": chat(content=None, tool_calls=[{"function": {"arguments": '{"m":"jo@example.com"}'}}]),
    "old call": chat(content=None, function_call={"name": "f", "arguments": '{"m":"jo@example.com"}'}),
    "tools": {**chat(content="hi"), "tools": [{"type": "function", "function": {"description": "ask jo@example.com"}}]},
    "functions": {**chat(content="hi"), "functions": [{"description": "ask jo@example.com"}]},
    "user": {**chat(content="hi"), "user": "jo@example.com"},
    "metadata": {**chat(content="hi"), "metadata": {"jo@example.com": {"x": ["jo@example.com"]}}},
    "unknown field": {**chat(content="hi"), "anything": {"model": "jo@example.com"}},
    "prompt": {"model": "m", "prompt": "mail jo@example.com"},
    "prompts": {"model": "m", "prompt": ["a", "mail jo@example.com"]},
    "suffix": {"model": "m", "prompt": "a", "suffix": "jo@example.com"},
    "input": {"model": "m", "input": ["jo@example.com"]},
    "text to classify": {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["jo@example.com"]}]},
}  # fmt: skip


@pytest.mark.parametrize("place", BODIES)
def test_personal_data_is_masked_in_every_text_of_a_request(place: str) -> None:
    told = prepared(BODIES[place])
    assert b"jo@example.com" not in told.body
    assert told.kinds == {"email"}
    assert json.loads(told.body.replace(b"[EMAIL_1]", b"jo@example.com")) == BODIES[place]


@pytest.mark.parametrize("place", BODIES)
@pytest.mark.catalogue("B33")
def test_escapes_of_json_hide_nothing(place: str) -> None:
    text = json.dumps(BODIES[place])
    for escaped in (
        "\\u006ao@example.com",
        "jo\\u0040example.com",
        "jo@example\\u002ecom",
        "".join(map("\\u{:04x}".format, b"jo@example.com")),
    ):
        told = prepared(text.replace("jo@example.com", escaped).encode())
        assert told.kinds == {"email"}
        again = json.dumps(json.loads(told.body))
        assert "jo" not in again.replace("json", "")
        assert "[EMAIL_1]" in again


@pytest.mark.catalogue("B33")
def test_escapes_in_arguments_which_are_json_in_json_hide_nothing() -> None:
    body = chat(content=None, tool_calls=[{"function": {"name": "f", "arguments": '{"m":"jo\\u0040example.com"}'}}])
    told = prepared(body)
    arguments = json.loads(told.body)["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"m": "[EMAIL_1]"}
    assert told.stream is not None
    stream = told.stream("content")
    assert stream.feed("it is [EMAIL_1].") + stream.end() == "it is jo@example.com."


@pytest.mark.catalogue("B33")
def test_numbers_in_arguments_are_masked_and_the_arguments_stay_json() -> None:
    arguments = json.dumps({"phone": 13812345678, "cards": [4111111111111111], "note": 'x, 13812345678 "q"', "n": 7})
    told = prepared(chat(content=None, tool_calls=[{"function": {"name": "f", "arguments": arguments}}]))
    masked = json.loads(json.loads(told.body)["messages"][0]["tool_calls"][0]["function"]["arguments"])
    assert masked == {"phone": "[PHONE_1]", "cards": ["[CARD_1]"], "note": 'x, [PHONE_1] "q"', "n": 7}


@pytest.mark.catalogue("B33")
def test_at_least_95_of_100_disguised_values_are_masked() -> None:
    values = ["jo.doe@example.com", "13812345678", "+49 151 23456789", CARD, "11010519491231002X", "536-22-8145", KEY]
    hidden: list[str] = []
    for value in values:
        hidden += [
            base64.b64encode(f"it is {value}!".encode()).decode(),
            base64.urlsafe_b64encode(f"说 {value} 的".encode()).decode(),
            "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in value),
            "\u200b".join(value),
            "\ufeff".join(value),
            f"我的{value}号",
        ]
    passed = [one for one in hidden if one in content(prepared(chat(content=f"see {one} ok")))]
    calls = {one: prepared(chat(function_call={"arguments": json.dumps({"x": one})})) for one in hidden}
    in_arguments = [one for one, told in calls.items() if one in json.loads(arguments_of(told))["x"]]
    assert len(passed) + len(in_arguments) <= 0.05 * 2 * len(hidden), (passed, in_arguments)


def test_a_request_without_personal_data_is_the_same_bytes() -> None:
    body = b'{"model": "m",  "messages":[{"role":"user","content":"hello there"}], "seed": 1e2}'
    assert prepared(body).body == body


def test_the_model_is_never_masked() -> None:
    assert json.loads(prepared({"model": "jo@example.com", "prompt": "al@example.com"}).body) == {
        "model": "jo@example.com",
        "prompt": "[EMAIL_1]",
    }


def test_of_a_key_that_stands_twice_only_one_is_left() -> None:
    told = prepared(b'{"model":"m","prompt":"jo@example.com","prompt":"hi"}')
    assert told.body == b'{"model":"m","prompt":"hi"}'


def test_what_is_blocked_is_refused_with_its_kinds_and_never_its_value() -> None:
    told = Masking(Options(entities={"card": "block"}), {}).prepare(json.dumps(chat(content=f"pay {CARD}")).encode())
    assert isinstance(told, ApiError)
    assert (told.status, told.code) == (400, "personal_data")
    assert b"card" in told.body()
    assert b"4111" not in told.body()


def test_a_release_can_only_make_it_stricter() -> None:
    body = json.dumps(chat(content="mail jo@example.com from 192.168.17.4")).encode()
    loose = Options(entities={"email": "allow", "ip": "allow"})
    assert json.loads(prepared(body, loose).body) == json.loads(body)
    assert b"jo@" not in prepared(body, loose, {"email": "mask"}).body
    assert isinstance(Masking(loose, {"ip": "block"}).prepare(body), ApiError)
    assert b"jo@" not in prepared(body, SILENT, {"email": "allow"}).body


def test_the_answer_stays_as_it_is_where_nothing_has_to_be_done() -> None:
    told = prepared(chat(content="hi"), Options(output=False))
    assert told.stream is None
    assert prepared(chat(content="mail jo@example.com"), Options(output=False)).stream is not None
    assert prepared(chat(content="hi")).stream is not None


def test_a_placeholder_that_the_user_types_brings_no_value_and_comes_back() -> None:
    told = prepared(chat(content="my [EMAIL_1] is jo@example.com"))
    assert json.loads(told.body)["messages"][0]["content"] == "my [LITERAL_1] is [EMAIL_1]"
    assert told.stream is not None
    stream = told.stream("content")
    assert stream.feed("[LITERAL_1] [EMAIL_1] [EMAIL_2] ") + stream.end() == "[EMAIL_1] jo@example.com [EMAIL_2] "
    alone = prepared(chat(content="what is [PHONE_1]?"))
    assert alone.stream is not None
    assert b"[LITERAL_1]" in alone.body


@pytest.mark.catalogue("B34")
def test_the_way_back_lives_for_one_request_only() -> None:
    masking = Masking(Options(), {})
    first = masking.prepare(json.dumps(chat(content="jo@example.com")).encode())
    second = masking.prepare(json.dumps(chat(content="hi")).encode())
    assert isinstance(first, Prepared)
    assert isinstance(second, Prepared)
    assert second.stream is not None
    stream = second.stream("content")
    assert stream.feed("[EMAIL_1] ") + stream.end() == "[EMAIL_1] "


def test_what_a_model_says_of_its_own_is_concealed_unless_the_spec_says_no() -> None:
    told = prepared(chat(content="hi"))
    assert told.stream is not None
    stream = told.stream("content")
    assert stream.feed("ask al@example.com") + stream.end() == "ask [EMAIL]"


def broken(text: str, entities: Collection[Entity]) -> list[Found]:
    raise RuntimeError(f"no idea about {text}")


@pytest.mark.parametrize("body", [chat(content="hi"), chat(content="mail jo@example.com")])
def test_an_analyser_that_fails_refuses_the_request_and_tells_nothing(body: dict[str, Any]) -> None:
    told = Masking(Options(), {}, broken).prepare(json.dumps(body).encode())
    assert isinstance(told, ApiError)
    assert (told.status, told.code) == (500, "masking")
    assert b"idea" not in told.body()


def test_names_that_nobody_can_find_here_refuse_every_request() -> None:
    told = Masking(Options(), {"name": "mask"}).prepare(json.dumps(chat(content="hi")).encode())
    assert isinstance(told, ApiError)
    assert told.status == 503


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a": 1e999}', b"\xff", b'{"a": "\xff\\n"}', b'{"x":"\\ud800"}' + b"]", b"[" * 100_000]
)
def test_a_body_that_is_no_json_is_refused_or_does_not_matter(body: bytes) -> None:
    told = Masking(Options(), {}).prepare(body)
    assert isinstance(told, Prepared) or told.status == 400


class Stand:
    """Presidio's analyser: every known name is a person, and every street an address."""

    def analyze(self, text: str, language: str, entities: list[str] | None = None) -> list[Any]:
        found = []
        for value, kind in (("Jo Doe", "PERSON"), ("5 Elm Street", "LOCATION")):
            if value in text and kind in (entities or []):
                start = text.index(value)
                found.append(SimpleNamespace(start=start, end=start + len(value), entity_type=kind, score=0.85))
        return found


def named() -> Masking:
    options = Options(entities={"name": "mask", "address": "mask"}, presidio=True)
    return Masking(options, {}, WithNames(Stand()))


def test_names_and_addresses_are_masked_where_an_analyser_is_there() -> None:
    masking = named()
    assert masking.quick < 0
    assert 0 < Masking(SILENT, {}).quick < 100_000
    told = masking.prepare(json.dumps(chat(content="Jo Doe, 5 Elm Street, jo@example.com")).encode())
    assert isinstance(told, Prepared)
    assert json.loads(told.body)["messages"][0]["content"] == "[NAME_1], [ADDRESS_1], [EMAIL_1]"
