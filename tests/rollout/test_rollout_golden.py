"""Files of golden prompts."""

from __future__ import annotations

import json

import pytest

from guideway.core.errors import SpecError
from guideway.rollout.golden import FILE_LIMIT, LINE_LIMIT, MOST, Message, read_prompts, unused

WELL = '{"prompt": "a", "expect": "b"}\n'


def read(text: str | bytes):
    return read_prompts(text.encode() if isinstance(text, str) else text, "golden.jsonl")


def test_a_file_of_prompts_and_conversations_is_read():
    talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    first, second = read(WELL + "\n" + json.dumps({"id": "talk-1", "messages": talk, "expect": ["x", "y"]}))
    assert (first.prompt, first.messages, first.expect) == ("a", (), ("b",))
    assert (second.id, second.expect) == ("talk-1", ("x", "y"))
    assert second.messages == (Message("system", "s"), Message("user", "q"))


def test_a_prompt_without_an_id_is_known_by_what_it_says_wherever_it_stands():
    other = '{"prompt": "a", "expect": "c"}\n'
    (first, second), (again, _) = read(WELL + other), read(other + "\n\n" + WELL)
    assert first.id != second.id == again.id
    assert len(first.id) == 32


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "golden.jsonl: there is no golden prompt here"),
        ("\n\n", "golden.jsonl: there is no golden prompt here"),
        (WELL + "{", "golden.jsonl:2: not JSON: it ends in the middle"),
        (WELL + "[1]", "golden.jsonl:2: expected 'object', got 'array'"),
        (WELL + '{"prompt": "a"}', "golden.jsonl:2: object missing required field 'expect'"),
        (WELL + '{"expect": "a"}', "golden.jsonl:2: a golden prompt has either 'prompt' or 'messages'"),
        (WELL + '{"promt": "a", "expect": "b"}', "golden.jsonl:2: unknown key 'promt' (did you mean 'prompt'?)"),
        (WELL + '{"prompt": "", "expect": "b"}', "golden.jsonl:2: "),
        (WELL + '{"prompt": "x", "expect": " "}', "golden.jsonl:2: an expected answer is blank"),
        (
            WELL + '{"prompt": "x", "expect": "%s"}' % ("y" * 16_385),
            "golden.jsonl:2: an expected answer is longer than 16,384 characters",
        ),
        (WELL + '{"prompt": "x", "expect": []}', "golden.jsonl:2: "),
        (WELL + '{"prompt": "x", "expect": "b", "id": "a b"}', "golden.jsonl:2: "),
        (WELL + '{"prompt": "x", "prompt": "y", "expect": "b"}', "golden.jsonl:2: the key 'prompt' is in one object"),
        (WELL + '{"messages": [], "expect": "b"}', "golden.jsonl:2: "),
        (WELL + '{"messages": [{"role": "tool", "content": "x"}], "expect": "b"}', "golden.jsonl:2: invalid enum"),
        (
            WELL + '{"messages": [{"role": "assistant", "content": "x"}], "expect": "b"}',
            "golden.jsonl:2: the last message is not the user's",
        ),
        ("\n" + WELL + WELL, " of line 2 again"),
        (b"\xff\xfe", "golden.jsonl:1: not UTF-8 text"),
        ('{"prompt": "' + "x" * LINE_LIMIT + '", "expect": "b"}', "golden.jsonl:1: the line is longer than 256 KiB"),
        ("[" * 1000, "golden.jsonl:1: "),
    ],
)
def test_the_first_line_that_is_none_is_told_with_its_number(text, says):
    with pytest.raises(SpecError) as caught:
        read(text)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_without_end_and_one_with_too_many_prompts_are_refused():
    with pytest.raises(SpecError, match="larger than 16 MiB"):
        read(b" " * (FILE_LIMIT + 1))
    many = "".join(f'{{"prompt": "{at}", "expect": "b"}}\n' for at in range(MOST + 1))
    with pytest.raises(SpecError, match=f"golden.jsonl:{MOST + 1}: more than 10,000 prompts"):
        read(many)
    assert len(read(many.rstrip().rpartition("\n")[0])) == MOST


def test_those_that_were_used_are_left_out():
    prompts = read("".join(f'{{"prompt": "{at}", "expect": "b", "id": "p{at}"}}\n' for at in range(4)))
    assert {one.id for one in unused(prompts, {"p0", "p2", "other"}, "r1")} == {"p1", "p3"}
    assert unused(prompts, [one.id for one in prompts], "r1") == ()


def test_the_order_is_drawn_by_the_rollout_and_not_by_the_file():
    prompts = read("".join(f'{{"prompt": "{at}", "expect": "b", "id": "p{at}"}}\n' for at in range(200)))
    order = unused(prompts, (), "r1")
    assert unused(reversed(prompts), (), "r1") == order != unused(prompts, (), "r2")
    assert unused(prompts, {order[0].id}, "r1") == order[1:]
    first = [int(one.prompt) for one in order[:100]]
    assert 80 < sum(first) / len(first) < 120
