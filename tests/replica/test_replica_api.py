"""The API of a replica over real HTTP: with the official client where it fits, raw where it does not."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from replica_served import HELLO, PATIENCE, TOKENS, call, chat, reciting, served

from guideway.core.release import Decoding
from guideway.replica.onnx_backend import OnnxBackend
from guideway.replica.text import Text


@pytest.fixture
def hello(token_folder: Path) -> Iterator[SimpleNamespace]:
    with served(reciting("hello world"), token_folder) as one:
        yield one


def test_a_chat_is_answered_whole(hello: SimpleNamespace) -> None:
    answer = hello.client.chat.completions.create(model="tiny", messages=HELLO)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == "hello world"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.model, answer.object, answer.created) == ("tiny", "chat.completion", 1_800_000_000)
    prompt = len(TOKENS.encode("<|turn|>user\nhello<|end|>\n<|turn|>assistant\n").ids)
    spoken = len(TOKENS.encode("hello world").ids) + 1
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (prompt, spoken)


def test_a_chat_is_streamed_piece_by_piece_with_usage_at_the_end(hello: SimpleNamespace) -> None:
    stream = hello.client.chat.completions.create(
        model="tiny", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    *pieces, end, usage = chunks
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "hello world"
    assert [piece.choices[0].delta.role for piece in pieces] == ["assistant"] + [None] * (len(pieces) - 1)
    assert end.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.completion_tokens > 1
    assert len({chunk.id for chunk in chunks}) == 1


def test_usage_is_streamed_only_when_asked_for(hello: SimpleNamespace) -> None:
    stream = hello.client.chat.completions.create(model="tiny", messages=HELLO, stream=True)
    assert all(chunk.usage is None and chunk.choices for chunk in stream)


@pytest.mark.parametrize("prompt", ["hello", ["hello"], TOKENS.encode("hello").ids])
def test_a_completion_takes_text_or_tokens(prompt: Any, hello: SimpleNamespace) -> None:
    answer = hello.client.completions.create(model="tiny", prompt=prompt)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("hello world", "stop")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(TOKENS.encode("hello").ids)


def test_a_completion_is_streamed(hello: SimpleNamespace) -> None:
    chunks = list(hello.client.completions.create(model="tiny", prompt="x", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "hello world"
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_an_answer_has_at_most_the_tokens_asked_for(field: str, hello: SimpleNamespace) -> None:
    answer = hello.client.chat.completions.create(model="tiny", messages=HELLO, **{field: 2})
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2


def test_defaults_come_from_the_release(token_folder: Path) -> None:
    decoding = Decoding(max_tokens=1, stop=("wor",))
    with served(reciting("hello world"), token_folder, decoding=decoding) as one:
        _, _, short = chat(one.port)
        _, _, longer = chat(one.port, max_tokens=50)
    assert (short["usage"]["completion_tokens"], short["choices"][0]["finish_reason"]) == (1, "length")
    assert (longer["choices"][0]["message"]["content"], longer["choices"][0]["finish_reason"]) == ("hello ", "stop")


def test_an_answer_ends_where_the_context_does(token_folder: Path) -> None:
    with served(reciting("hello world " * 50, context=40), token_folder) as one:
        _, _, answer = chat(one.port, max_tokens=1000)
    assert answer["usage"]["total_tokens"] == 40
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("stop", "expected"), [("o w", "hell"), (["zzz", "llo"], "he"), ("nothing", "hello world")])
def test_stop_strings_end_an_answer_and_are_never_shown(
    stop: Any, expected: str, stream: bool, hello: SimpleNamespace
) -> None:
    answer = hello.client.chat.completions.create(model="tiny", messages=HELLO, stop=stop, stream=stream)
    if not stream:
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (expected, "stop")
        return
    pieces = [chunk.choices[0].delta.content or "" for chunk in answer]
    assert "".join(pieces) == expected


def test_a_stream_never_shows_half_a_character(token_folder: Path) -> None:
    with served(reciting("é水🙂"), token_folder) as one:
        stream = one.client.chat.completions.create(model="tiny", messages=HELLO, stream=True)
        pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content]
    assert "".join(pieces) == "é水🙂"


def test_the_system_prompt_of_the_release_is_read_unless_the_request_has_one(token_folder: Path) -> None:
    with served(reciting("x"), token_folder, system="hello hello hello") as one:
        counts = [
            chat(one.port, messages=messages)[2]["usage"]["prompt_tokens"]
            for messages in (HELLO, [{"role": "developer", "content": ""}, *HELLO])
        ]
    assert counts[0] - counts[1] == len(TOKENS.encode("hello hello hello").ids)


def test_parts_of_a_message_are_one_text(hello: SimpleNamespace) -> None:
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    _, _, answer = chat(hello.port, messages=[{"role": "user", "content": parts}])
    assert answer["usage"]["prompt_tokens"] == chat(hello.port)[2]["usage"]["prompt_tokens"]


def test_models_and_health_are_told(hello: SimpleNamespace) -> None:
    assert [model.id for model in hello.client.models.list()] == ["tiny"]
    assert call(hello.port, "GET", "/healthz")[2] == {"status": "ok", "inside": 0}


LONG = [{"role": "user", "content": "hello " * 300}]
HUGE = [{"role": "user", "content": "hello " * 10_000}]


@pytest.mark.parametrize(
    ("fields", "status", "code", "says"),
    [
        ({"model": "other"}, 404, "model_not_found", "no model 'other'"),
        ({"messages": []}, 400, "invalid_request", "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "invalid_request", "role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "invalid_request", "content"),
        ({"messages": None}, 400, "invalid_request", "messages"),
        ({"messages": LONG}, 400, "context_length_exceeded", "200 tokens"),
        ({"messages": HUGE}, 400, "context_length_exceeded", "200 tokens"),
        ({"temperature": 3}, 400, "invalid_request", "temperature"),
        ({"temperature": "hot"}, 400, "invalid_request", "temperature"),
        ({"top_p": 1.5}, 400, "invalid_request", "top_p"),
        ({"max_tokens": 0}, 400, "invalid_request", "max_tokens"),
        ({"stop": ["x"] * 17}, 400, "invalid_request", "stop"),
        ({"stop": ""}, 400, "invalid_request", "stop"),
        ({"n": 2}, 400, "unsupported_value", "n must be 1"),
        ({"functions": [{"name": "f"}]}, 400, "unsupported_parameter", "functions"),
        ({"messages": [{"role": "user"}]}, 400, None, "no content"),
        ({"top_logprobs": 2}, 400, None, "top_logprobs needs logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "invalid_request", "top_logprobs"),
        ({"presence_penalty": 2.5}, 400, "invalid_request", "presence_penalty"),
        ({"logit_bias": {"hello": 1}}, 400, "invalid_request", "logit_bias"),
        ({"logit_bias": {"5": 101}}, 400, "invalid_request", "logit_bias"),
    ],
)
def test_a_request_that_cannot_be_served_is_told_why(
    fields: dict[str, Any], status: int, code: str, says: str, hello: SimpleNamespace
) -> None:
    got, _, body = chat(hello.port, **fields)
    assert (got, body["error"]["code"]) == (status, code)
    assert says in body["error"]["message"]
    assert body["error"]["type"] == "invalid_request_error"
    assert hello.service._inside == 0


def test_harmless_and_empty_fields_are_accepted(hello: SimpleNamespace) -> None:
    fields = {"n": 1, "user": "u", "tools": [], "logprobs": False, "response_format": {"type": "text"}, "seed": None}
    assert chat(hello.port, **fields, presence_penalty=0, temperature=None, stop=None, metadata={"a": "b"})[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nowhere", None, 404),
        ("GET", "/v1/chat/completions", None, 405),
        ("POST", "/v1/models", "{}", 405),
        ("POST", "/v1/chat/completions", "{not json", 400),
        ("POST", "/v1/chat/completions", b"\xff\xfe", 400),
        ("POST", "/v1/chat/completions", "[" * 50_000, 400),
        ("POST", "/v1/chat/completions", '{"messages":[{"role":"user","content":"\\ud800"}]}', 400),
        ("POST", "/v1/chat/completions", "x" * 100_001, 413),
        ("POST", "/v1/completions", '{"prompt": ["a", "b"]}', 400),
        ("POST", "/v1/completions", '{"prompt": [999999]}', 400),
        ("POST", "/v1/completions", '{"prompt": [-1]}', 400),
        ("POST", "/v1/completions", '{"prompt": []}', 400),
        ("POST", "/v1/completions", '{"prompt": "x", "echo": true}', 400),
        ("POST", "/v1/completions", '{"prompt": "x", "best_of": 2}', 400),
    ],
)
def test_every_error_has_the_shape_of_the_api(
    method: str, path: str, body: Any, status: int, hello: SimpleNamespace
) -> None:
    got, headers, said = call(hello.port, method, path, body)
    assert got == status
    assert headers["Content-Type"] == "application/json"
    assert {"message", "type", "code", "param"} == said["error"].keys()
    assert "/" not in said["error"]["message"].replace(path, "").replace("UTF-8", "")


def test_a_template_that_refuses_a_conversation_says_so(token_folder: Path) -> None:
    with served(reciting("x"), token_folder, template="{{ raise_exception('one turn only') }}") as one:
        status, _, body = chat(one.port)
    assert (status, body["error"]["code"]) == (400, "chat_template")
    assert "one turn only" in body["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_failing_model_is_a_500_that_tells_no_details(stream: bool, hello: SimpleNamespace) -> None:
    hello.backend.error = RuntimeError("secret at /some/path")
    status, _, body = chat(hello.port, stream=stream)
    assert (status, body["error"]["code"]) == (500, "model_failed")
    assert "secret" not in json.dumps(body)
    hello.backend.error = None
    assert chat(hello.port)[0] == 200


def test_a_model_that_fails_in_the_middle_of_a_stream_ends_it_with_an_error(hello: SimpleNamespace) -> None:
    hello.backend.permits = threading.Semaphore(1)
    stream = hello.client.chat.completions.create(model="tiny", messages=HELLO, stream=True)
    assert next(stream).choices[0].delta.content is not None
    hello.backend.error = RuntimeError("secret")
    hello.backend.permits.release()
    with pytest.raises(openai.APIError, match="the model failed"):
        list(stream)


def until_inside(port: int, count: int) -> None:
    """Ask the server until so many requests are inside."""
    deadline = time.monotonic() + PATIENCE
    while call(port, "GET", "/healthz")[2]["inside"] != count:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_slot(stream: bool, token_folder: Path) -> None:
    model = reciting("hello " * 60, slots=1)
    model.permits = threading.Semaphore(3)
    with served(model, token_folder) as one:
        connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=PATIENCE)
        connection.request(
            "POST", "/v1/chat/completions", json.dumps({"messages": HELLO, "stream": stream, "max_tokens": 100})
        )
        until_inside(one.port, 1)
        assert model.joined.acquire(timeout=PATIENCE)  # it has its slot, and not only a place in the queue
        if stream:
            connection.getresponse().readline()
        connection.close()
        until_inside(one.port, 0)
        model.permits.release(2)
        assert model.left.acquire(timeout=PATIENCE)
        model.permits.release(1000)
        assert chat(one.port, max_tokens=3)[0] == 200


def test_a_full_house_asks_to_come_again_and_is_open_again_later(token_folder: Path) -> None:
    model = reciting("hello", slots=1)
    model.permits = threading.Semaphore(0)
    with served(model, token_folder, limit=2) as one:
        inside = [threading.Thread(target=chat, args=(one.port,)) for _ in range(2)]
        for thread in inside:
            thread.start()
        until_inside(one.port, 2)
        status, headers, body = chat(one.port)
        assert (status, headers["Retry-After"], body["error"]["code"]) == (429, "1", "overloaded")
        model.permits.release(1000)
        for thread in inside:
            thread.join(PATIENCE)
        assert chat(one.port)[0] == 200


def test_a_server_that_drains_takes_nothing_new(hello: SimpleNamespace) -> None:
    hello.service.draining = True
    assert chat(hello.port)[0] == 503
    status, _, body = call(hello.port, "GET", "/healthz")
    assert (status, body["status"]) == (503, "draining")


@pytest.fixture(scope="module")
def real(models: SimpleNamespace) -> Iterator[SimpleNamespace]:
    with served(OnnxBackend(models.fp32, slots=4), models.fp32, limit=64) as one:
        yield one


def sample(one: SimpleNamespace, seed: int | None, **more: Any) -> str:
    fields = {"prompt": [7, 8, 9], "max_tokens": 16, "temperature": 1.5, "seed": seed, **more}
    status, _, body = call(one.port, "POST", "/v1/completions", json.dumps(fields))
    assert status == 200
    text: str = body["choices"][0]["text"]
    return text


def test_one_seed_one_text_whoever_else_is_in_the_batch(real: SimpleNamespace) -> None:
    alone = [sample(real, seed) for seed in range(4)]
    texts: dict[int, str] = {}
    crowd = [threading.Thread(target=lambda s=seed: texts.update({s: sample(real, s)})) for seed in range(4)]
    noise = [threading.Thread(target=sample, args=(real, None), kwargs={"prompt": "x" * n}) for n in (1, 30, 90)]
    for thread in [*noise, *crowd]:
        thread.start()
    for thread in [*noise, *crowd]:
        thread.join(PATIENCE)
    assert [texts[seed] for seed in range(4)] == alone
    assert len(set(alone)) == 4


def test_without_a_seed_answers_differ(real: SimpleNamespace) -> None:
    assert len({sample(real, None) for _ in range(5)}) > 1


def test_the_real_model_answers_over_http_as_it_does_in_the_reference(
    real: SimpleNamespace, models: SimpleNamespace
) -> None:
    tokenizer = Text(models.fp32).tokenizer

    def ask(prompt: Sequence[int]) -> Any:
        return call(real.port, "POST", "/v1/completions", json.dumps({"prompt": prompt, "max_tokens": 24}))[2]

    for prompt, answer in models.cases:
        expected = answer[: answer.index(2)] if 2 in answer else answer
        assert ask(prompt)["choices"][0]["text"] == tokenizer.decode(expected)
