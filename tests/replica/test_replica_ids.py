"""Token ids in, token ids out: for clients that count in tokens, and for models that came without a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from replica_served import HELLO, TOKENS, reciting, served

from guideway.pipeline.stages.imported.ids import write_ids_tokenizer
from guideway.replica.text import NotIds, Text

SAID = "hello é🙂 world"


@pytest.fixture(scope="module")
def parrot(token_folder: Path) -> Iterator[SimpleNamespace]:
    with served(reciting(SAID), token_folder) as one:
        yield one


@pytest.fixture
def ids_only(tmp_path: Path) -> Text:
    write_ids_tokenizer(tmp_path, 50, 64)
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": [1, 2]}))
    return Text(tmp_path)


def test_an_answer_is_also_told_in_token_ids_where_they_are_asked_for(parrot: SimpleNamespace) -> None:
    asked = TOKENS.encode("hello").ids
    fields = {"model": "tiny", "prompt": asked}
    plain = parrot.client.completions.create(**fields).to_dict()["choices"][0]
    told = parrot.client.completions.create(**fields, extra_body={"return_token_ids": True}).to_dict()["choices"][0]
    assert "token_ids" not in plain
    assert (told["prompt_token_ids"], told["token_ids"]) == (asked, TOKENS.encode(told["text"]).ids)
    assert told["logprobs"] is None
    assert {**plain, **{name: told[name] for name in ("prompt_token_ids", "token_ids")}} == told


def test_a_stream_tells_the_ids_of_every_piece_and_those_of_the_prompt_once(parrot: SimpleNamespace) -> None:
    stream = parrot.client.chat.completions.create(
        model="tiny", messages=HELLO, stream=True, extra_body={"return_token_ids": True}
    )
    choices = [chunk.to_dict()["choices"][0] for chunk in stream]
    text = "".join(one["delta"].get("content") or "" for one in choices)
    assert [token for one in choices for token in one["token_ids"]] == TOKENS.encode(text).ids
    assert ["prompt_token_ids" in one for one in choices] == [True] + [False] * (len(choices) - 1)


def test_without_a_tokenizer_a_text_is_numbers(ids_only: Text) -> None:
    assert ids_only.encode("1 403 7".replace("403", "43")) == [1, 43, 7]
    reader = ids_only.reader()
    assert "".join(reader.push(one) for one in (43, 7, 1)) + reader.finish() == "43 7 1"
    assert ids_only.stop_ids == {1, 2}


@pytest.mark.parametrize("text", ["Once upon a time", "1 50", "1 -3", "1, 2"])
def test_any_other_text_is_refused_with_what_to_send(ids_only: Text, text: str) -> None:
    with pytest.raises(NotIds, match="token ids from 0 to 49"):
        ids_only.encode(text)


def test_over_http_that_is_a_bad_request_and_ids_are_answered(tmp_path: Path, ids_only: Text) -> None:
    import openai
    from replica_fakes import Remembering

    with served(Remembering(), tmp_path) as one:
        with pytest.raises(openai.BadRequestError, match="this model has no tokenizer"):
            one.client.completions.create(model="tiny", prompt="Once upon a time")
        extra = {"return_token_ids": True}
        told = one.client.completions.create(model="tiny", prompt=[1, 9], max_tokens=1, extra_body=extra).to_dict()
        assert told["choices"][0]["prompt_token_ids"] == [1, 9]
        assert ids_only.ids_only
