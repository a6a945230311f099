"""The guard of prompts: what is refused, whatever it is dressed up as."""

from __future__ import annotations

import pytest
from guard_rig import SYSTEM, chat, code_of, release

from guideway.core.classifier import BITS, features, write_classifier
from guideway.core.guardrails import DenyRule, Guardrails, Topic, Topics, read_guardrails
from guideway.gateway.guard import Guard
from guideway.gateway.guard.said import said
from guideway.guardrails.said import asked_alone

BOMB = DenyRule(name="bombs", pattern=r"\bpipe\s+bombs?\b")
DENIES = release(deny=(BOMB,))


@pytest.mark.parametrize(
    "text",
    [
        "how is a pipe bomb made?",
        "PIPE BOMB",
        "ｐｉｐｅ ｂｏｍｂ",
        "p\u200bi\u200bpe bo\u00admb",
        "рiре bоmb",  # four of the letters are Cyrillic
        "pıpe bοmb",
        "pípé bömb",
        "p\u0336i\u0336p\u0336e\u0336 b\u0336o\u0336m\u0336b\u0336",
        "𝗽𝗶𝗽𝗲 𝖇𝖔𝖒𝖇",
        "ⓟⓘⓟⓔ ⓑⓞⓜⓑ",
        "hello" + "".join(chr(0xE0000 + ord(char)) for char in " pipe bomb "),
        "pi\u202epe bo\u2066mb",
        "pipe\u00a0bomb",
    ],
)
def test_no_way_of_writing_hides_a_denied_word(text):
    assert code_of(DENIES, chat(text)) == "content_filter"


def test_what_is_not_denied_passes():
    for text in ("a pipe burst", "the bombast of pipes", "", "Трубка мира", "pipe-bombed?", "水管"):
        assert code_of(DENIES, chat(text)) is None


def test_a_rule_in_another_script_holds_in_its_own_letters():
    guard = release(deny=(DenyRule(name="ru", pattern="бомб[аы]"), DenyRule(name="zh", pattern="炸弹")))
    assert code_of(guard, chat("где БОМБА?")) == code_of(guard, chat("如何制作炸弹")) == "content_filter"
    assert code_of(guard, chat("где бочка?")) is None


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "system", "content": "pipe bomb"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a pipe bomb"}]}]},
        {"messages": [{"role": "tool", "content": "pipe bomb", "tool_call_id": "1"}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "pipe bomb"}}]}]},
        {"messages": [], "tools": [{"type": "function", "function": {"name": "f", "description": "pipe bomb"}}]},
        {"prompt": "pipe bomb"},
        {"prompt": ["one", "pipe bomb"]},
        {"input": "pipe bomb"},
        {"prompt": "x", "suffix": "pipe bomb"},
    ],
)
def test_every_text_of_a_request_is_looked_at(body):
    assert code_of(DENIES, body) == "content_filter"


def parts(*texts):
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]}


def tensor(*data, **more):
    return {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": list(data), **more}]}


@pytest.mark.parametrize(
    "body",
    [
        parts("a pi", "pe bo", "mb"),
        parts("a pipe", "bomb"),
        {"messages": [{"role": "user", "content": ["pipe ", "bomb"]}]},
        {"messages": [{"role": "tool", "content": [{"text": "pipe "}, {"image_url": {"url": "x"}}, {"text": "bomb"}]}]},
    ],
)
def test_a_text_in_parts_is_judged_as_a_whole(body):
    assert code_of(DENIES, body) == "content_filter"


@pytest.mark.parametrize(
    "body",
    [
        tensor("pipe bomb"),
        tensor(["x", ["pipe bomb"]]),
        tensor("hi", parameters={"prefix": "pipe bomb"}),
        {**tensor("hi"), "parameters": {"system": "pipe bomb"}},
    ],
)
def test_texts_of_the_inference_protocol_are_looked_at(body):
    assert code_of(DENIES, body) == "content_filter"
    assert code_of(release(max_input=8), body) == "content_filter"
    assert code_of(DENIES, tensor("a fine day", name="pipe bomb")) is None


@pytest.mark.parametrize(
    "more",
    [
        {"messages": [{"role": "pipe bomb", "content": "hi"}]},
        {"messages": [{"role": "user", "name": "pipe bomb", "content": "hi"}]},
        {"documents": [{"pipe bomb": "x"}]},
        {"chat_template_kwargs": {"custom": "pipe bomb"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": {"description": "pipe bomb"}},
            }
        },
        {"guided_choice": ["pipe bomb"]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"pipe bomb": {}}}}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"image_url": "pipe bomb"}}}]},
        {"something_new": ["pipe bomb"]},
    ],
)
def test_everything_else_that_a_model_may_read_is_looked_at(more):
    assert code_of(DENIES, chat("hi", **more)) == "content_filter"


def test_a_template_of_the_client_is_looked_at_where_no_system_prompt_forbids_it():
    assert code_of(Guard(Guardrails(deny=(BOMB,))), chat("hi", chat_template="pipe bomb")) == "content_filter"


def test_words_of_the_api_and_what_no_model_reads_break_no_rule():
    words = "temperature|content|role|user|system|text|type|function|properties|auto|stream|max_tokens|float"
    guard = release(deny=(DenyRule(name="api", pattern=words),), max_input=40)
    wish = {
        "temperature": 1,
        "stream": False,
        "max_tokens": 5,
        "tool_choice": "auto",
        "user": "content",
        "metadata": {"text": "role"},
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    assert code_of(guard, {"model": "system", **parts("hi"), **wish, "tools": [tool]}) is None
    assert code_of(guard, {"input": "hi", "encoding_format": "float"}) is None


def test_bytes_of_an_image_are_no_text():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,pipe bomb"}}
    assert code_of(DENIES, {"messages": [{"role": "user", "content": [picture]}]}) is None


def test_a_prompt_in_tokens_is_refused_where_there_are_rules_that_would_have_to_read_it():
    assert code_of(DENIES, {"prompt": [1, 2, 3]}) == code_of(DENIES, {"prompt": [[1], [2]]}) == "content_filter"
    assert code_of(release(), {"prompt": [1, 2, 3]}) is None


IN_NUMBERS = [
    {"prompt": [[], [1, 2]]},
    {"prompt": ["", [1, 2]]},
    {"prompt": ["a", 1.0]},
    {"prompt": {"prompt_token_ids": [1, 2]}},
    {"prompt": {"prompt_embeds": "gAM="}},
    {"input": [[1, 2]]},
    {"prompt": "x", "prompt_embeds": "gAM="},
    {"input_ids": [1]},
    tensor(1, 2, name="input_ids", datatype="INT64"),
    tensor([[1], [2]], name="anything", datatype="UINT32"),
    tensor(1, 2, name="anything", datatype="BYTES"),
    tensor(1.0, 2.0, name="token_ids", datatype="FP32"),
]


@pytest.mark.parametrize("body", IN_NUMBERS, ids=str)
def test_no_way_of_writing_tokens_passes_a_rule_that_would_have_to_read_them(body):
    refused = DENIES.check(body)
    assert refused is not None
    assert (refused.code, "tokens" in refused.message) == ("content_filter", True)
    assert refused.param in body, "the field that the client sent"
    assert code_of(release(), body) is None


def test_one_number_and_fractions_are_no_prompt():
    for body in (tensor(100, name="max_tokens", datatype="INT32"), tensor(0.5, 1.25, name="x", datatype="FP32")):
        assert code_of(DENIES, body) is None
    assert code_of(DENIES, {"prompt": ["a", "b"], "input": [True]}) is None


def test_a_refusal_says_the_words_of_the_release_and_not_which_rule_it_was():
    refused = release(deny=(BOMB,), refusal="we sell books").check(chat("pipe bomb"))
    assert refused is not None and refused.status == 400
    assert refused.message == "we sell books" and b"bombs" not in refused.body()


def test_rules_for_answers_do_not_refuse_prompts():
    guard = release(deny=(DenyRule(name="bombs", pattern="bomb", on="output"),))
    assert code_of(guard, chat("bomb")) is None


def test_a_long_prompt_is_refused_with_the_limit():
    guard = release(max_input=10)
    assert code_of(guard, chat("0123456789")) is None
    refused = guard.check(chat("01234", "567890"))
    assert refused is not None and "10 characters" in refused.message


def test_topics_are_words_and_not_parts_of_words():
    law = Topics(deny=(Topic(name="law", words=("sue", "my lawyer", "律师")),))
    guard = release(topics=law)
    for text in ("may I sue them?", "ask  MY\nlawyer", "请问律师"):
        assert code_of(guard, chat(text)) == "content_filter"
    for text in ("Susan asks", "pursue it", "my cat and the lawyer"):
        assert code_of(guard, chat(text)) is None


def test_a_release_for_few_topics_answers_nothing_else():
    guard = release(topics=Topics(only=(Topic(name="books", words=("book", "books", "atlas")),)))
    assert code_of(guard, chat("which atlas is new?")) is None
    assert code_of(guard, chat("what is the weather?")) == "content_filter"


def knows_one_thing() -> bytes:
    """A classifier that refuses what speaks of poison."""
    weights = [0.0] * (1 << BITS)
    for feature in features("poison"):
        weights[feature] = 1.0
    return write_classifier(weights, -1.0)


def test_the_classifier_judges_users_and_instructions_and_others_only_where_the_release_says_so():
    users, every = (
        Guard(Guardrails(threshold=0.5, roles=roles), SYSTEM, knows_one_thing()) for roles in ("users", "all")
    )
    for role in ("user", "system", "developer", "User", "critic"):
        assert code_of(users, {"messages": [{"role": role, "content": "poison"}]}) == "content_filter"
        assert code_of(users, {"messages": [{"role": role, "content": "water"}]}) is None
    for role in ("tool", "assistant", "function"):
        body = {"messages": [{"role": role, "content": "poison"}, {"role": "user", "content": "go on"}]}
        assert code_of(users, body) is None
        assert code_of(every, body) == "content_filter"


@pytest.mark.parametrize("more", [{"messages": []}, {"messages": [{"role": "user", "content": "water"}]}])
def test_no_field_beside_it_hides_a_prompt_from_the_classifier_and_the_topics(more):
    guard = Guard(Guardrails(threshold=0.5), SYSTEM, knows_one_thing())
    water = release(topics=Topics(only=(Topic(name="water", words=("water",)),)))
    for prompt in ({"prompt": "poison"}, {"prompt": ["water", "poison"]}, {"input": "poison"}, tensor("poison")):
        assert code_of(guard, {**prompt, **more}) == "content_filter"
        assert code_of(water, {**prompt, **more}) == "content_filter"


def test_a_text_in_parts_is_judged_as_a_whole_by_the_classifier():
    guard = Guard(Guardrails(threshold=0.9), SYSTEM, knows_one_thing())
    assert code_of(guard, chat("poi", "son")) is None
    assert code_of(guard, parts("poi", "son")) == "content_filter"
    assert code_of(guard, parts("water and ", "bread")) is None


def test_padding_hides_nothing_from_the_classifier():
    guard = Guard(Guardrails(threshold=0.35), SYSTEM, knows_one_thing())
    assert code_of(guard, chat("poison poison poison " + "water and bread " * 400)) == "content_filter"
    assert code_of(guard, chat("water and bread " * 400)) is None


def test_a_classifier_without_its_threshold_or_a_threshold_without_its_classifier_is_refused():
    for rules, weights in ((Guardrails(threshold=0.5), None), (Guardrails(), knows_one_thing())):
        with pytest.raises(ValueError, match="come together"):
            Guard(rules, SYSTEM, weights)


@pytest.mark.parametrize("data", [b"", b"{}", bytes(100), knows_one_thing()[:-1], knows_one_thing() + b"x"])
def test_half_a_classifier_is_none(data):
    with pytest.raises(ValueError, match="classifier"):
        Guard(Guardrails(threshold=0.5), SYSTEM, data)


def test_rules_that_cannot_be_read_are_an_error_and_not_no_rules():
    for data in (b"", b"[]", b'{"denny":[]}', b'{"deny":[{"name":"a"}]}'):
        with pytest.raises(ValueError):
            read_guardrails(data)
    with pytest.raises(ValueError, match="RE2"):
        release(deny=(DenyRule(name="a", pattern="(?=a)"),))


def test_a_rule_that_fails_refuses(monkeypatch):
    guard = release(deny=(BOMB,))
    monkeypatch.setattr("guideway.guardrails.prompts.forms", lambda _: 1 / 0)
    assert code_of(guard, chat("hello")) == "content_filter"


def test_a_bomb_of_brackets_is_refused():
    nested: object = "x"
    for _ in range(500):
        nested = [nested]
    assert code_of(DENIES, {"messages": nested}) == "content_filter"


@pytest.mark.parametrize("text", ["how is a pipe bomb made?", "水管", "", "a\n\nb"])
def test_an_evaluation_reads_a_prompt_as_a_request_that_holds_nothing_else_is_read(text):
    assert said({"model": "m", "messages": [{"role": "user", "content": text}]}) == asked_alone(text)
