"""How likely the tokens of an answer were, as the API tells it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from replica_served import HELLO, TOKENS, call, chat, reciting, served

from guideway.replica.logprobs import FLOOR, Mark, Trail, measure
from guideway.replica.onnx_backend import OnnxBackend

SAID = "hello é🙂 world"
SIZE = TOKENS.get_vocab_size()
LIKELY, OTHER = np.log(np.e / (np.e + SIZE - 1)), np.log(1 / (np.e + SIZE - 1))
"""Log-probabilities of a model that gives one token the score 1 and all others 0."""


@pytest.fixture(scope="module")
def parrot(token_folder: Path) -> Iterator[SimpleNamespace]:
    with served(reciting(SAID), token_folder) as one:
        yield one


def test_every_token_of_a_chat_is_told_with_the_likeliest_in_its_place(parrot: SimpleNamespace) -> None:
    answer = parrot.client.chat.completions.create(model="tiny", messages=HELLO, logprobs=True, top_logprobs=2)
    told = answer.choices[0].logprobs.content
    assert b"".join(bytes(one.bytes) for one in told) == SAID.encode()
    assert len(told) == len(TOKENS.encode(SAID).ids)  # the end token is no part of the text
    for one in told:
        assert one.logprob == pytest.approx(LIKELY, abs=1e-6)
        assert [top.logprob for top in one.top_logprobs] == pytest.approx([LIKELY, OTHER], abs=1e-6)
        assert one.top_logprobs[0].token == one.token


def test_a_stream_tells_the_same_and_each_token_with_its_text(parrot: SimpleNamespace) -> None:
    fields: Any = {"model": "tiny", "messages": HELLO, "logprobs": True, "top_logprobs": 1}
    whole = parrot.client.chat.completions.create(**fields).choices[0].logprobs.content
    text, told = "", []
    for chunk in parrot.client.chat.completions.create(**fields, stream=True):
        text += chunk.choices[0].delta.content or ""
        told += chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else []
        assert b"".join(bytes(one.bytes) for one in told).decode() == text
    assert told == whole


def test_nothing_is_told_that_was_not_asked_for(parrot: SimpleNamespace) -> None:
    assert chat(parrot.port)[2]["choices"][0]["logprobs"] is None
    told = chat(parrot.port, logprobs=True)[2]["choices"][0]["logprobs"]["content"]
    assert all(one["top_logprobs"] == [] for one in told)


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_that_a_stop_string_takes_away_are_not_told(stream: bool, parrot: SimpleNamespace) -> None:
    answer = parrot.client.chat.completions.create(
        model="tiny", messages=HELLO, logprobs=True, stop="🙂 w", stream=stream
    )
    if stream:
        choices = [chunk.choices[0] for chunk in answer]
        told = [one for choice in choices if choice.logprobs for one in choice.logprobs.content]
    else:
        told = answer.choices[0].logprobs.content
    assert b"".join(bytes(one.bytes) for one in told) == "hello é".encode()


def test_a_completion_tells_them_in_columns(parrot: SimpleNamespace) -> None:
    answer = parrot.client.completions.create(model="tiny", prompt="x", logprobs=3)
    told = answer.choices[0].logprobs
    assert "".join(told.tokens).startswith("hello ")
    assert len(told.tokens) == len(told.token_logprobs) == len(told.text_offset) == len(TOKENS.encode(SAID).ids)
    for token, offset in zip(told.tokens, told.text_offset, strict=True):
        assert "\ufffd" in token or SAID.startswith(token, offset)
    assert all(len(top) == 3 or "\ufffd" in "".join(top) for top in told.top_logprobs)


def test_they_are_those_of_the_model_itself_whatever_is_done_to_its_scores(models: SimpleNamespace) -> None:
    prompt = models.cases[2][0]
    backend = OnnxBackend(models.fp32, slots=1)
    fields = {"prompt": prompt, "max_tokens": 4, "logprobs": 2, "temperature": 1.7, "seed": 3, "frequency_penalty": 1}
    with served(backend, models.fp32) as one:
        told = call(one.port, "POST", "/v1/completions", json.dumps(fields))[2]["choices"][0]["logprobs"]
    scores = OnnxBackend(models.fp32, slots=1).join(prompt).astype(np.float64)
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    assert max(told["top_logprobs"][0].values()) == pytest.approx(np.log(shares.max()), abs=1e-4)
    assert np.abs(np.log(shares) - told["token_logprobs"][0]).min() < 1e-4


def test_a_measure_is_sorted_and_adds_up() -> None:
    scores = np.log(np.array([0.1, 0.6, 0.3], np.float32))
    mark = measure(scores, 2, 20)
    assert mark.logprob == pytest.approx(np.log(0.3), abs=1e-6)
    assert [token for token, _ in mark.top] == [1, 2, 0]
    assert sum(np.exp(logprob) for _, logprob in mark.top) == pytest.approx(1.0)
    assert measure(scores, 0, 0).top == ()


def test_a_token_that_cannot_come_has_a_number_all_the_same() -> None:
    assert measure(np.array([0.0, -np.inf], np.float32), 1, 1).logprob == FLOOR


def test_a_mark_waits_until_its_text_is_shown() -> None:
    trail, marks = Trail(), [Mark(number, -1.0, ()) for number in range(3)]
    for mark, start in zip(marks, (0, 5, 5), strict=True):
        trail.add(mark, start)
    assert [mark.token for mark in trail.until(5)] == [0]
    assert trail.until(5) == ()
    assert [mark.token for mark in trail.until(6)] == [1, 2]
    trail.add(marks[0], 7)
    assert [mark.token for mark in trail.rest()] == [0]
    assert trail.rest() == ()
