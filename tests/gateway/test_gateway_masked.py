"""What the quick look at a body must not overlook: escapes, parts of one text, numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guideway.core.spec.gateway import Masking as Options
from guideway.gateway.errors import ApiError
from guideway.gateway.masking import Masking, Prepared
from guideway.privacy.detect import find

SILENT = Options()


def prepared(body: object) -> Prepared:
    told = Masking(SILENT, {}).prepare(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert isinstance(told, Prepared), told
    return told


def chat(content: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}]}


ESCAPED = {
    "URL with escaped slashes": r"dsn is postgres:\/\/admin:s3cr3tpw9@db\/prod",
    "password with an escaped slash": r"password: ab\/c1!x9z",
    "name in quotes, spaces": r"{\"password\"  :  \"hunter2x!9\"}",
    "tabs": r"password:\t\thunter2x!9",
    "JSON in JSON": r"log: {\\\"password\\\": \\\"hunter2x!9\\\"}",
}  # fmt: skip


@pytest.mark.parametrize("how", ESCAPED)
def test_what_escapes_of_json_stand_for_is_looked_at(how: str) -> None:
    told = prepared(f'{{"model":"m","messages":[{{"role":"user","content":"{ESCAPED[how]}"}}]}}'.encode())
    assert told.kinds <= {"secret", "url_credentials"}
    assert told.kinds
    assert all(secret not in told.body.decode() for secret in ("s3cr3tpw9", "c1!x9z", "hunter2x!9"))


SAMPLES = st.sampled_from(
    ["password", "pwd", "api_key", "密码", "secret is", "token", ": ", "=", "\t", "\n", "  ", '"', "\\", "/", "://",
     "@", "postgres", "admin:", "s3cr3tpw9", "hunter2x!9", "db/prod", "ab/c1!x9z", "abcd1234/efgh5678",
     "jo@example.com", "4111 1111", "-----BEGIN PRIVATE KEY-----", "\\u0040", "é", "\u200b",
     "hooks.slack.com/services/", "AbCd0123" * 4]
)  # fmt: skip
TEXTS = st.lists(SAMPLES, max_size=7).map("".join)


def spelled(text: str, how: str) -> str:
    """*text* as JSON, with what may be escaped escaped so or not."""
    quoted = json.dumps(text, ensure_ascii=how == "ascii")
    return quoted.replace("/", "\\/") if how == "slashes" else quoted


@given(TEXTS, st.sampled_from(["usual", "ascii", "slashes", "twice"]))
@settings(max_examples=1500, deadline=None)
def test_whatever_is_found_in_a_text_is_never_called_clean(text: str, how: str) -> None:
    text = json.dumps({"x": text}) if how == "twice" else text
    body = f'{{"model":"m","messages":[{{"role":"user","content":{spelled(text, how)}}}]}}'.encode()
    masking = Masking(SILENT, {})
    if find(text, masking._wanted):
        assert not masking._is_clean(body)
        assert prepared(body).kinds


@given(TEXTS, st.integers(0, 40), st.booleans())
@settings(max_examples=500, deadline=None)
def test_whatever_is_found_in_the_parts_of_a_text_together_is_never_called_clean(
    text: str, at: int, typed: bool
) -> None:
    kind = {"type": "text"} if typed else {}
    parts = [{**kind, "text": text[:at]}, {**kind, "text": text[at:]}]
    if find(text, Masking(SILENT, {})._wanted):
        assert prepared(chat(content=parts)).kinds
        assert prepared(chat(content=[text[:at], text[at:]])).kinds


def test_personal_data_that_is_split_over_parts_reaches_nobody_and_comes_back() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://x/y"}}
    parts = [{"type": "text", "text": "mail bob@exam"}, picture, {"type": "text", "text": "ple.com now"}]
    told = prepared(chat(content=parts))
    assert json.loads(told.body)["messages"][0]["content"] == [
        {"type": "text", "text": "mail [EMAIL_1]"},
        picture,
        {"type": "text", "text": " now"},
    ]
    assert told.stream is not None
    stream = told.stream("content")
    assert stream.feed("it is [EMAIL_1].") + stream.end() == "it is bob@example.com."


def test_numbers_of_people_are_masked_where_a_model_reads_them_and_parameters_stay() -> None:
    function = {"name": "f", "parameters": {"enum": [4111111111111111, 7, True, 0.5], "x": {"default": 13812345678.0}}}
    body = {**chat(content="hi"), "tools": [{"type": "function", "function": function}], "seed": 4111111111111111}
    told = json.loads(prepared(body).body)
    assert told["seed"] == 4111111111111111
    assert told["tools"][0]["function"]["parameters"] == {
        "enum": ["[CARD_1]", 7, True, 0.5],
        "x": {"default": "[PHONE_1]"},
    }


def test_a_tensor_with_the_number_of_somebody_is_refused_with_its_kind() -> None:
    for number in (4111111111111111, 4111111111111111.0):
        body = {"inputs": [{"name": "a", "shape": [1, 2], "datatype": "FP64", "data": [[0.25, number]]}]}
        told = Masking(SILENT, {}).prepare(json.dumps(body).encode())
        assert isinstance(told, ApiError)
        assert (told.status, told.code) == (400, "personal_data")
        assert "card" in told.message
        assert "4111" not in told.message
