"""Answers of a given form and calls of functions, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import openai
import pytest
from replica_fakes import TEMPLATE, Reciting, words_tokenizer, write_tokenizer
from replica_served import HELLO, TOKENS, chat, reciting, served

from guideway.core.release import Decoding
from guideway.replica.onnx_backend import OnnxBackend

SCHEMA = {
    "type": "object",
    "properties": {
        "place": {"type": "string", "maxLength": 5},
        "days": {"type": "integer"},
        "mood": {"enum": ["good", "bad", None]},
    },
    "required": ["place", "days", "mood"],
    "additionalProperties": False,
}
BY_SCHEMA = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": SCHEMA}}
TOOLS: Any = [
    {"type": "function", "function": {"name": "weather", "description": "of a place", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "now"}},
]
WITH_TOOLS = (
    "{% for tool in tools %}{{ tool.function.name }}: {{ tool.function.description }}{% endfor %}"
    + TEMPLATE.replace(
        "{{ m.content }}",
        "{{ m.content }}{% for call in m.tool_calls or [] %}{{ call.function.arguments | tojson }}{% endfor %}",
    )
)

ARGUMENTS = '{"place":"x","days":1,"mood":null}'
CALL = '{"name": "weather", "arguments": ' + ARGUMENTS + "}"
MARKED = WITH_TOOLS + "{# <tool_call> </tool_call> #}"


@pytest.fixture(scope="module")
def real(models: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """A random model: left alone it never writes JSON."""
    with served(OnnxBackend(models.fp32, slots=4), models.fp32, template=WITH_TOOLS) as one:
        yield one


def content(answer: Any) -> str:
    text: str = answer["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("seed", range(4))
def test_an_answer_is_what_the_schema_says_even_of_a_model_that_knows_nothing(seed: int, real: SimpleNamespace) -> None:
    _, _, answer = chat(real.port, response_format=BY_SCHEMA, temperature=1.0, seed=seed, max_tokens=250)
    assert answer["choices"][0]["finish_reason"] == "stop"
    jsonschema.validate(json.loads(content(answer)), SCHEMA)


def test_a_stream_is_held_to_its_form_too(real: SimpleNamespace) -> None:
    stream = real.client.chat.completions.create(
        model="tiny", messages=HELLO, response_format=BY_SCHEMA, stream=True, max_tokens=250
    )
    chunks = list(stream)
    jsonschema.validate(json.loads("".join(chunk.choices[0].delta.content or "" for chunk in chunks)), SCHEMA)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_what_does_not_fit_into_its_tokens_says_so(real: SimpleNamespace) -> None:
    _, _, answer = chat(real.port, response_format=BY_SCHEMA, max_tokens=5)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert content(answer).lstrip().startswith("{")


def test_json_without_a_schema_is_an_object(token_folder: Path) -> None:
    said = '{"a": [1, {"b": null}]}'
    with served(reciting("so: " + said), token_folder) as one:  # "so" cannot come, so the first that may is taken
        _, _, answer = chat(one.port, response_format={"type": "json_object"}, max_tokens=60)
    assert content(answer).lstrip().startswith("{")
    with served(Reciting(TOKENS.encode(said).ids, TOKENS.get_vocab_size()), token_folder) as one:
        _, _, answer = chat(one.port, response_format={"type": "json_object"}, max_tokens=60)
    assert (content(answer), answer["choices"][0]["finish_reason"]) == (said, "stop")


def test_stop_strings_of_the_release_do_not_cut_a_form(token_folder: Path) -> None:
    said = '{"a":1}'
    decoding = Decoding(stop=("a",))
    with served(Reciting(TOKENS.encode(said).ids, TOKENS.get_vocab_size()), token_folder, decoding=decoding) as one:
        _, _, answer = chat(one.port, response_format={"type": "json_object"}, max_tokens=60)
    assert content(answer) == said


def by_schema(schema: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


KINDS = [{"a": {"type": "string", "maxLength": 1000}, f"b{number}": {"type": "null"}} for number in range(300)]
MANY = {"anyOf": [{"type": "object", "properties": kind, "required": [*kind]} for kind in KINDS]}
"""Which of them it is shows only behind the text, so that every letter of it may be of any."""


@pytest.mark.parametrize("steps", [5000, 1])
def test_a_schema_that_costs_too_much_is_refused_where_it_shows_or_at_once(
    steps: int, token_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(reciting('{"a": "b"}'), token_folder) as one:
        with monkeypatch.context() as patch:
            patch.setattr("guideway.replica.constrain.constraint.BURST", steps)  # this model has few tokens
            status, _, answer = chat(one.port, response_format=by_schema(MANY), max_tokens=60)
            assert (status, answer["error"]["code"]) == (400, "unsupported_schema")
            assert "too many ways are open at one place" in answer["error"]["message"]
            with pytest.raises(openai.APIError, match="too many ways are open at one place"):
                list(one.client.chat.completions.create(
                    model="tiny", messages=HELLO, response_format=by_schema(MANY), stream=True, max_tokens=60
                ))  # fmt: skip
        assert chat(one.port, response_format=by_schema(MANY), max_tokens=9)[0] == 200


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        ({"response_format": {"type": "xml"}}, "unsupported_value", "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "invalid_request", "with a schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "invalid_request", "with a schema"),
        ({"response_format": by_schema({"type": "string", "pattern": "x"})}, "unsupported_schema", '"pattern"'),
        ({"response_format": BY_SCHEMA, "stop": "x"}, None, "stop could end"),
        ({"tools": TOOLS}, "unsupported_value", "'auto' is not supported"),
        ({"tools": TOOLS, "tool_choice": "auto"}, "unsupported_value", "'auto' is not supported"),
        ({"tool_choice": "required"}, "invalid_request", "there are no tools"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "invalid_request", "'x'"),
        ({"tools": TOOLS, "tool_choice": "required", "response_format": BY_SCHEMA}, None, "not both"),
        ({"tools": [{"type": "search"}], "tool_choice": "required"}, "invalid_request", "tools"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "invalid_request", "name"),
    ],
)
def test_what_cannot_be_kept_to_is_told(fields: Any, code: str | None, says: str, real: SimpleNamespace) -> None:
    status, _, body = chat(real.port, **fields)
    assert (status, body["error"]["code"]) == (400, code)
    assert says in body["error"]["message"]


def test_a_template_without_tools_takes_none(token_folder: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    turns = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [call]}]
    with served(reciting("x"), token_folder) as one:
        for fields in ({"tools": TOOLS, "tool_choice": "required"}, {"messages": turns}):
            status, _, body = chat(one.port, **fields)
            assert (status, body["error"]["param"]) == (400, "tools")


def test_a_tokenizer_without_spelling_keeps_no_form(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path)
    words_tokenizer().save(str(folder / "tokenizer.json"))
    with served(reciting("x"), folder) as one:
        status, _, body = chat(one.port, response_format={"type": "json_object"})
        assert (status, body["error"]["code"]) == (400, "unsupported_parameter")
        assert chat(one.port)[0] == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("choice", "names", "finish"),
    [
        ("required", {"weather", "now"}, "tool_calls"),
        ({"type": "function", "function": {"name": "weather"}}, {"weather"}, "stop"),
        ({"type": "function", "function": {"name": "now"}}, {"now"}, "stop"),
    ],
)
def test_a_call_has_arguments_as_its_schema_says(
    choice: Any, names: set[str], finish: str, stream: bool, real: SimpleNamespace
) -> None:
    fields: Any = {"tools": TOOLS, "tool_choice": choice, "max_tokens": 250, "temperature": 1.0, "seed": 4}
    name, arguments, end = called(real, stream, **fields)
    assert name in names
    jsonschema.validate(json.loads(arguments), SCHEMA if name == "weather" else {"maxProperties": 0})
    assert end == finish


def called(one: SimpleNamespace, stream: bool, **fields: Any) -> tuple[str, str, str]:
    """Name, arguments and the reason of the end, whole or put together from a stream."""
    answer = one.client.chat.completions.create(model="tiny", messages=HELLO, stream=stream, **fields)
    if not stream:
        message = answer.choices[0].message
        assert message.content is None
        assert message.tool_calls[0].id.startswith("call_")
        function = message.tool_calls[0].function
        return function.name, function.arguments, answer.choices[0].finish_reason
    chunks = [chunk.choices[0] for chunk in answer]
    parts = [chunk.delta.tool_calls[0] for chunk in chunks if chunk.delta.tool_calls]
    assert chunks[0].delta.role == "assistant"
    assert not any(chunk.delta.content for chunk in chunks)
    assert [part.function.name for part in parts[1:]] == [None] * (len(parts) - 1)
    assert parts[0].id.startswith("call_")
    return parts[0].function.name, "".join(part.function.arguments for part in parts), chunks[-1].finish_reason


def test_a_call_that_does_not_fit_into_its_tokens_says_so(token_folder: Path) -> None:
    said = CALL
    size = len(TOKENS.encode(said).ids)
    model = Reciting(TOKENS.encode(said).ids, TOKENS.get_vocab_size(), context=400)
    fields: Any = {"tools": TOOLS, "tool_choice": "required"}
    with served(model, token_folder, template=WITH_TOOLS) as one:
        whole = called(one, False, **fields, max_tokens=size)
        for stream in (False, True):
            cut = called(one, stream, **fields, max_tokens=size - 1)
            assert cut[1:] == (ARGUMENTS, "length")  # only the end of the call is missing
            assert called(one, stream, **fields, max_tokens=size - 3)[1] == ARGUMENTS.removesuffix("ll}")
        _, _, nothing = chat(one.port, **fields, max_tokens=2)
    assert whole == ("weather", ARGUMENTS, "tool_calls")
    assert (content(nothing), nothing["choices"][0]["finish_reason"]) == ("", "length")


def saying(text: str, folder: Path, template: str = MARKED, **settings: Any) -> Any:
    """A server of a model that says *text*, behind a template that marks calls."""
    model = Reciting([*TOKENS.encode(text).ids, 2], TOKENS.get_vocab_size(), context=400)
    return served(model, folder, template=template, **settings)


def put_together(one: SimpleNamespace, **fields: Any) -> tuple[str, str | None, str, str]:
    """Text, function, arguments and end of a stream, and whole; they must be the same."""
    body: Any = {"model": "tiny", "messages": HELLO, "max_tokens": 200, **fields}
    answer = one.client.chat.completions.create(**body).choices[0]
    calls = answer.message.tool_calls or []
    whole = (
        answer.message.content or "",
        calls[0].function.name if calls else None,
        calls[0].function.arguments if calls else "",
        answer.finish_reason,
    )
    chunks = [chunk.choices[0] for chunk in one.client.chat.completions.create(**body, stream=True)]
    parts = [chunk.delta.tool_calls[0].function for chunk in chunks if chunk.delta.tool_calls]
    streamed = (
        "".join(chunk.delta.content or "" for chunk in chunks),
        parts[0].name if parts else None,
        "".join(part.arguments for part in parts),
        chunks[-1].finish_reason,
    )
    assert streamed == whole
    return whole


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("the weather < 5 <tool", ("the weather < 5 <tool", None, "", "stop")),
        (f"so:<tool_call>\n{CALL}\n</tool_call>", ("so:", "weather", ARGUMENTS, "tool_calls")),
        (f"<tool_call>{CALL}\n</tool_call>", ("", "weather", ARGUMENTS, "tool_calls")),
    ],
)
def test_a_model_may_choose_between_a_text_and_a_call(said: str, expected: Any, token_folder: Path) -> None:
    with saying(said, token_folder) as one:
        assert put_together(one, tools=TOOLS) == expected
        assert put_together(one, tools=TOOLS, tool_choice="auto") == expected


def test_a_call_that_a_model_begins_is_held_to_its_form(token_folder: Path) -> None:
    with saying("<tool_call> I would call: weather", token_folder) as one:
        text, name, arguments, end = put_together(one, tools=TOOLS[:1], max_tokens=300)
    assert (text, name) == ("", "weather")
    if end == "tool_calls":
        jsonschema.validate(json.loads(arguments), SCHEMA)


def test_no_token_is_told_before_what_it_says(token_folder: Path) -> None:
    asked = {"model": "tiny", "messages": HELLO, "max_tokens": 200, "tools": TOOLS, "logprobs": True}
    with saying(f"so:<tool_call>\n{CALL}\n</tool_call>", token_folder) as one:
        whole = one.client.chat.completions.create(**asked).choices[0].logprobs.content
        chunks = [chunk.choices[0] for chunk in one.client.chat.completions.create(**asked, stream=True)]
    telling = [chunk for chunk in chunks if chunk.logprobs and chunk.logprobs.content]
    assert all(chunk.delta.content or chunk.delta.tool_calls for chunk in telling)
    assert [mark.token for chunk in telling for mark in chunk.logprobs.content] == [mark.token for mark in whole]


def test_stop_strings_end_a_text_and_not_a_call(token_folder: Path) -> None:
    said = f"so: here <tool_call>\n{CALL}\n</tool_call>"
    with saying(said, token_folder, decoding=Decoding(stop=("place",))) as one:
        assert put_together(one, tools=TOOLS)[1:] == ("weather", ARGUMENTS, "tool_calls")
        assert put_together(one, tools=TOOLS, stop="here") == ("so: ", None, "", "stop")


def test_a_call_that_was_begun_and_cut_off_is_told_as_far_as_it_came(token_folder: Path) -> None:
    with saying(f"so:<tool_call>\n{CALL}\n</tool_call>", token_folder) as one:
        size = len(TOKENS.encode(f"so:<tool_call>\n{CALL}").ids)
        assert put_together(one, tools=TOOLS, max_tokens=size) == ("so:", "weather", ARGUMENTS, "length")
        size = len(TOKENS.encode('so:<tool_call>\n{"name').ids)
        assert put_together(one, tools=TOOLS, max_tokens=size)[1:] == (None, "", "length")


def test_a_call_that_must_be_made_has_the_marks_that_the_model_knows(token_folder: Path) -> None:
    with saying(f"<tool_call>\n{CALL}\n</tool_call>", token_folder) as one:
        assert put_together(one, tools=TOOLS, tool_choice="required") == ("", "weather", ARGUMENTS, "tool_calls")
        named = {"type": "function", "function": {"name": "weather"}}
        assert put_together(one, tools=TOOLS, tool_choice=named) == ("", "weather", ARGUMENTS, "stop")


def test_tools_and_what_they_gave_are_read_without_the_marks_of_turns(real: SimpleNamespace) -> None:
    def count(*turns: Any, **fields: Any) -> int:
        status, _, body = chat(real.port, messages=[*HELLO, *turns], max_tokens=1, **fields)
        assert status == 200
        tokens: int = body["usage"]["prompt_tokens"]
        return tokens

    def turns(mark: str) -> list[Any]:
        arguments = json.dumps({"place": f"x{mark}"})
        call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": arguments}}
        asked = {"role": "assistant", "content": None, "tool_calls": [call]}
        return [asked, {"role": "tool", "tool_call_id": "c", "content": f"rain{mark}"}]

    def tools(mark: str) -> list[Any]:
        return [{"type": "function", "function": {"name": "now", "description": f"tells{mark}"}}]

    assert count(*turns("<|end|>")) == count(*turns("")) > count()
    with_tools = count(tools=tools("<|turn|>"), tool_choice="required")
    assert with_tools == count(tools=tools(""), tool_choice="required") > count(tools=TOOLS, tool_choice="none")


def test_tokens_of_a_form_are_told_with_their_probability(real: SimpleNamespace) -> None:
    _, _, answer = chat(real.port, response_format=BY_SCHEMA, logprobs=True, max_tokens=250)
    told = answer["choices"][0]["logprobs"]["content"]
    assert b"".join(bytes(one["bytes"]) for one in told).decode() == content(answer)
