"""What a body asks for at most: so much is reserved."""

from __future__ import annotations

import msgspec
import pytest

from guideway.gateway.request import peek

CHAT = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("body", "answers", "tokens"),
    [
        ({"messages": CHAT}, 1, 0),
        ({"messages": CHAT, "n": 3, "max_tokens": 7}, 3, 7),
        ({"prompt": "a", "best_of": 4, "n": 2}, 4, 0),
        ({"prompt": ["a", "b", "c"]}, 3, 0),
        ({"prompt": ["a", "b", "c"], "n": 2, "max_tokens": 5}, 6, 5),
        ({"prompt": [1, 2, 3]}, 1, 0),
        ({"prompt": [[1, 2], [3]], "best_of": 2}, 4, 0),
        ({"prompt": []}, 1, 0),
        ({"messages": CHAT, "max_completion_tokens": 1, "max_tokens": 100_000}, 1, 100_000),
        ({"messages": CHAT, "max_tokens": 1, "max_completion_tokens": 100_000}, 1, 100_000),
    ],
)
def test_the_answers_of_a_request_and_the_tokens_of_each_are_counted_at_their_most(body, answers, tokens):
    found = peek(msgspec.json.encode({"model": "poet", **body}))
    assert (found.answers, found.most_tokens) == (answers, tokens)


@pytest.mark.parametrize("body", [{"prompt": ["a"] * 2049}, {"prompt": "a", "best_of": 2}, {"prompt": "a", "n": 2}])
def test_what_is_made_more_than_once_is_not_plain(body):
    assert not peek(msgspec.json.encode({"model": "poet", **body})).is_plain
