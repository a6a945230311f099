"""Answers that are changed on their way: whole ones, and events cut at any byte."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.privacy import DEFAULT
from guideway.gateway.guard.stream import Row
from guideway.gateway.guard.tools import ToolGate
from guideway.gateway.rewrite import EVENT_LIMIT, AnswerRewriter
from guideway.privacy.conceal import Conceal
from guideway.privacy.detect import PATTERN_ENTITIES
from guideway.privacy.mask import Vault
from guideway.privacy.stream import Chain, Restore, Stop, TextStream

DONE = b"data: [DONE]\n\n"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIE+/=\n-----END PRIVATE KEY-----"


def event(*choices: dict[str, Any], **more: Any) -> bytes:
    chunk = {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": list(choices), **more}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def delta(fields: dict[str, Any], index: int = 0, finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": fields, "finish_reason": finish}


def call(arguments: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, **more, "function": {"arguments": arguments}}]}


def rewriter() -> AnswerRewriter:
    """One that restores the data of a request, and conceals what the model adds."""
    vault = Vault(DEFAULT)
    vault.mask(f"jo@example.com 13812345678 {PEM}")

    def make(channel: str) -> TextStream:
        is_json = channel == "arguments"
        return Chain([Conceal(PATTERN_ENTITIES, is_json=is_json), Restore(vault, escape=is_json)])

    return AnswerRewriter(make)


def through(one: AnswerRewriter, pieces: Sequence[bytes]) -> bytes:
    return b"".join([one.feed(piece) for piece in pieces] + [one.end()])


def chunks(answer: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in answer.splitlines() if line.startswith(b"data: ") and line != b"data: [DONE]"]
    return [json.loads(line) for line in lines]


def said(answer: bytes, index: int = 0) -> dict[str, Any]:
    """The message that a client puts together, with why it ended."""
    told: dict[str, Any] = {"content": "", "arguments": {}, "finish": []}
    for chunk in chunks(answer):
        for choice in chunk.get("choices", []):
            if choice["index"] == index:
                told["content"] += choice.get("delta", {}).get("content") or choice.get("text") or ""
                for one in choice.get("delta", {}).get("tool_calls", []):
                    text = one.get("function", {}).get("arguments", "")
                    told["arguments"][one["index"]] = told["arguments"].get(one["index"], "") + text
                assert not told["finish"], "text after the end of its choice"
                told["finish"] += [choice["finish_reason"]] if choice["finish_reason"] else []
    return told


STREAM = b"".join(
    [
        b": ping\n\n",
        event(delta({"role": "assistant", "content": ""})),
        *[event(delta({"content": part})) for part in ("Dear [EM", "AIL_1], al", "@example.com and 139", "1234 5678")],
        event(delta(call("", id="t1"))),
        *[event(delta(call(part))) for part in ('{"to":"[EMA', 'IL_1]","n":1391', '2345678,"p":"[SECRET', '_1]"}')],
        event(delta(call('{"b": "al@exam', index=1))),
        event(delta(call('ple.com"}', index=1))),
        event(delta({}, finish="tool_calls")),
        event(usage={"total_tokens": 9}),
        DONE,
    ]
)  # fmt: skip
MEANT = {
    "content": "Dear jo@example.com, [EMAIL] and [PHONE]",
    "arguments": {0: '{"to":"jo@example.com","n":"[PHONE]","p":' + json.dumps(PEM) + "}", 1: '{"b": "[EMAIL]"}'},
    "finish": ["tool_calls"],
}


@pytest.mark.catalogue("B32")
def test_a_stream_is_changed_wherever_its_bytes_are_cut() -> None:
    for cut in range(len(STREAM)):
        answer = through(rewriter(), [STREAM[:cut], STREAM[cut:]])
        assert said(answer) == MEANT, cut
    assert answer.startswith(b": ping\n\n")
    assert answer.endswith(event(usage={"total_tokens": 9}) + DONE)


@pytest.mark.catalogue("B32")
@pytest.mark.catalogue("B33")
def test_arguments_of_a_call_are_changed_wherever_they_are_cut_and_stay_json() -> None:
    text = json.dumps({"to": "[EMAIL_1]", "from": "al@example.com", "n": 13912345678, "p": "[SECRET_1]", "x": "a\\b"})
    for cut in range(len(text) + 1):
        parts = [delta(call(part)) for part in (text[:cut], text[cut:])]
        answer = through(rewriter(), [event(part) for part in (*parts, delta({}, finish="tool_calls"))] + [DONE])
        arguments = json.loads(said(answer)["arguments"][0])
        assert arguments == {"to": "jo@example.com", "from": "[EMAIL]", "n": "[PHONE]", "p": PEM, "x": "a\\b"}


@pytest.mark.catalogue("B32")
def test_content_is_changed_wherever_the_model_cuts_it() -> None:
    text = "See [EMAIL_1] and al@example.com, or 4111 1111 1111 1111 now"
    for cut in range(len(text) + 1):
        parts = [event(delta({"content": part})) for part in (text[:cut], text[cut:])]
        answer = through(rewriter(), [*parts, event(delta({}, finish="stop")), DONE])
        assert said(answer)["content"] == "See jo@example.com and [EMAIL], or [CARD] now"


def test_events_in_which_nothing_changes_pass_byte_by_byte() -> None:
    stream = (
        b": ping\r\n\r\nevent: message\r\n\r\nretry: 10\n\n:\n\n"
        b'data:{"choices": [{"delta": {"role":"assistant"}, "index":0, "odd":1.50}] }\n\n'
        b'id: 7\r\ndata: {"choices": [],\r\ndata: "usage": {"total_tokens": 3}}\r\n\r\n'
        b'data: {"error": {"message": "m"}}\n\n' + DONE
    )
    assert through(rewriter(), [stream]) == stream


@pytest.mark.parametrize(
    "line",
    [
        b": al@example.com",
        b"event: al@example.com",
        b"id: al@example.com",
        b"retry: al",
        b"note",
        b"\xef\xbb\xbfdata: al",
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_that_are_no_data_say_nothing(line: bytes, end: bytes) -> None:
    data = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}'
    stream = b": ping" + end * 2 + line + end * 2 + line + end + data + end * 2 + data + end + line + end * 2
    assert through(rewriter(), [stream]) == b": ping" + end * 2 + (data + end * 2) * 2


def test_events_without_streams_that_hold_back_pass_byte_by_byte() -> None:
    one = AnswerRewriter(lambda channel: Restore(Vault(DEFAULT)))
    stream = event(delta({"content": "Hello  w\u00f6rld"})) + event(delta({}, finish="stop")) + DONE
    assert through(one, [stream]) == stream


def test_two_choices_do_not_mix() -> None:
    parts = [delta({"content": "[EMA"}, 0), delta({"content": "al@ex"}, 1), delta({"content": "IL_1] x"}, 0)]
    rest = [delta({"content": "ample.com"}, 1), delta({}, 1, "stop"), delta({"content": "y"}, 0, "length")]
    answer = through(rewriter(), [event(part) for part in (*parts, *rest)] + [DONE])
    assert said(answer, 0) == {"content": "jo@example.com xy", "arguments": {}, "finish": ["length"]}
    assert said(answer, 1) == {"content": "[EMAIL]", "arguments": {}, "finish": ["stop"]}


@pytest.mark.parametrize("close", [DONE, b"", b'data: {"choices":[],"usage":{}}'])
def test_what_is_held_back_comes_out_although_nobody_says_why_it_ends(close: bytes) -> None:
    answer = through(rewriter(), [event(delta({"content": "call [EMAIL_1"})), event(delta({"content": " wor"})), close])
    assert said(answer)["content"] == "call [EMAIL_1 wor"


def test_the_text_of_completions_is_changed() -> None:
    parts = [{"index": 0, "text": part, "finish_reason": None} for part in ("[EMAIL", "_1] is al@exa", "mple.com")]
    answer = through(
        rewriter(), [event(*[part]) for part in (*parts, {**parts[0], "text": "", "finish_reason": "stop"})]
    )
    assert said(answer)["content"] == "jo@example.com is [EMAIL]"


def test_tokens_of_a_text_that_changes_are_left_out() -> None:
    tokens = {"content": [{"token": "al@", "logprob": -1.0}]}
    answer = rewriter().feed(event({**delta({"content": "al@"}), "logprobs": tokens}))
    assert b"al@" not in answer
    same = event({**delta({"content": "so, "}), "logprobs": {"content": [{"token": "so, "}]}})
    assert AnswerRewriter(lambda channel: Restore(Vault(DEFAULT))).feed(same) == same


def test_a_whole_answer_is_changed_in_all_its_texts() -> None:
    message = {
        "role": "assistant",
        "content": "[EMAIL_1] and al@example.com",
        "reasoning_content": "he is [PHONE_1]",
        "refusal": None,
        "tool_calls": [
            {
                "id": "t",
                "type": "function",
                "function": {"name": "f", "arguments": '{"p": "[SECRET_1]", "n": 13912345678}'},
            }
        ],
    }
    choices = [{"index": 0, "message": message, "logprobs": {"content": [{"token": "al@"}]}, "finish_reason": "stop"}]
    answer = json.loads(
        rewriter().whole(json.dumps({"id": "x", "choices": choices, "usage": {"total_tokens": 1}}).encode())
    )
    told = answer["choices"][0]["message"]
    assert told["content"] == "jo@example.com and [EMAIL]"
    assert told["reasoning_content"] == "he is 13812345678"
    assert json.loads(told["tool_calls"][0]["function"]["arguments"]) == {"p": PEM, "n": "[PHONE]"}
    assert answer["choices"][0]["logprobs"] is None
    assert answer["usage"] == {"total_tokens": 1}


@pytest.mark.parametrize(
    "body", [b'{"choices": [{"text": "so  it\\u0073", "index": 0}]}', b'{"data": [{"embedding": [1.0]}]}']
)
def test_a_whole_answer_in_which_nothing_changes_is_the_same_bytes(body: bytes) -> None:
    assert rewriter().whole(body) == body


@pytest.mark.parametrize(
    "data",
    [
        b"data: {oops\n\n",
        b'data: "text"\n\n',
        b"data: [1]\n\n",
        b'data: {"choices": 3}\n\n',
        b'data: {"choices": [3]}\n\n',
        b'data: {"choices": [{"index": [], "text": "x"}]}\n\n',
        b'data: {"choices": []}\rdata: {"choices": []}\n\n',
        b"data: \xff\n\n",
        b"data: " + b"[" * 100000 + b"\n\n",
        b"data: {" + b" " * EVENT_LIMIT,
    ],
)
def test_what_is_no_event_of_a_model_server_is_never_passed_on(data: bytes) -> None:
    with pytest.raises(ValueError, match="model server"):
        rewriter().feed(data)


def test_a_mark_of_byte_order_hides_no_event() -> None:
    answer = through(rewriter(), [b"\xef", b"\xbb\xbf", event(delta({"content": "al@example.com"})), DONE])
    assert said(answer)["content"] == "[EMAIL]"


@pytest.mark.parametrize("body", [b"oops", b"[]", b'{"choices": [1]}', b"[" * 100000])
def test_a_whole_answer_that_is_no_json_object_is_never_passed_on(body: bytes) -> None:
    with pytest.raises(ValueError, match="model server"):
        rewriter().whole(body)


@pytest.mark.parametrize("depth", range(940, 1000, 3))
def test_nesting_that_is_too_deep_is_a_value_error_and_nothing_else(depth: int) -> None:
    deep = b'{"choices":[{"index":0,"delta":{"content":"al@example.com ","x":%b"y"%b}}]}' % (b"[" * depth, b"]" * depth)
    for call in (lambda: rewriter().whole(deep), lambda: rewriter().feed(b"data: %b\n\n" % deep)):
        with contextlib.suppress(ValueError):
            assert b"al@example.com" not in call()


def test_an_answer_with_endlessly_many_texts_is_refused() -> None:
    one = rewriter()
    with pytest.raises(ValueError, match="too many"):
        for number in range(5000):
            one.feed(event(delta(call("x", index=number))))
    other = rewriter()
    with pytest.raises(ValueError, match="too many"):
        for number in range(5000):
            other.feed(event(delta({"content": "x"}, number)))


class Forbids:
    """Stops at a bad word; of its piece what stands before may pass."""

    def feed(self, text: str) -> str:
        if "BAD" in text:
            raise Stop("word", text.partition("BAD")[0])
        return text

    def end(self) -> str:
        return ""


def test_a_stream_that_says_stop_ends_the_answer_with_content_filter() -> None:
    one = AnswerRewriter(lambda channel: Forbids())
    answer = one.feed(
        event(delta({"content": "so "})) + event(delta({"content": "it is BAD"})) + event(delta({"content": "x"}))
    )
    assert one.stopped
    assert said(answer) == {"content": "so it is ", "arguments": {}, "finish": ["content_filter"]}
    assert answer.endswith(DONE)
    assert one.feed(event(delta({"content": "more"}))) == b""
    assert one.end() == b""


def test_a_stop_ends_all_choices_that_are_open_and_no_other() -> None:
    one = AnswerRewriter(lambda channel: Forbids())
    parts = [delta({"content": "a"}, 0), delta({"content": "b"}, 1), delta({}, 1, "stop"), delta({"content": "c"}, 2)]
    answer = through(one, [event(part) for part in parts] + [event(delta({"content": "BAD"}, 0)), DONE])
    assert [said(answer, index)["finish"] for index in range(3)] == [["content_filter"], ["stop"], ["content_filter"]]
    assert answer.count(DONE) == 1


def test_a_stop_at_the_end_of_the_text_is_heard_too() -> None:
    class Late(Forbids):
        def end(self) -> str:
            raise Stop("late", "last")

    for close in (event(delta({}, finish="stop")) + DONE, DONE, b""):
        one = AnswerRewriter(lambda channel: Late())
        answer = through(one, [event(delta({"content": "a "})), close])
        assert said(answer) == {"content": "a last", "arguments": {}, "finish": ["content_filter"]}
        assert answer.count(DONE) == 1


def test_a_whole_answer_that_is_stopped_says_content_filter() -> None:
    one = AnswerRewriter(lambda channel: Forbids())
    choices = [{"index": 0, "message": {"content": "so BAD it is"}, "finish_reason": "stop"}]
    answer = json.loads(one.whole(json.dumps({"choices": choices}).encode()))
    assert one.stopped
    assert answer["choices"][0] == {"index": 0, "message": {"content": "so "}, "finish_reason": "content_filter"}


WORDS = st.sampled_from(
    ["[EMAIL_1]", "[EMA", "IL_1]", " al@example.com ", "so ", "139", "12345678", "，", "\n", "\u2028"]
)


@given(st.lists(WORDS, max_size=8), st.integers(1, 40), st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_the_same_answer_comes_out_whatever_is_cut_where(words: list[str], size: int, blank: bytes) -> None:
    events = [event(delta({"content": word})) for word in words] + [event(delta({}, finish="stop")), DONE]
    stream = b"".join(one.removesuffix(b"\n\n") + blank for one in events)
    answer = through(rewriter(), [stream[at : at + size] for at in range(0, len(stream), size)])
    whole = {"choices": [{"index": 0, "message": {"content": "".join(words)}, "finish_reason": "stop"}]}
    told = json.loads(rewriter().whole(json.dumps(whole).encode()))
    assert said(answer)["content"] == told["choices"][0]["message"]["content"]


@given(st.binary(max_size=200))
def test_no_bytes_whatever_break_anything_but_by_a_value_error(data: bytes) -> None:
    for head in (b"", b"data: ", b'data: {"choices":[{"index":0,"delta":{"content":"'):
        try:
            through(rewriter(), [head + data, data + b"\n\n"])
        except ValueError:
            continue


@pytest.mark.parametrize("name", ["logprobs", "token_ids"])
def test_tokens_of_a_text_that_was_changed_are_not_told(name: str) -> None:
    spoken = event({**delta({"content": "write to max@example.com "}, finish="stop"), name: [1, 2, 3]})
    quiet = event({**delta({"content": "hello"}, finish="stop"), name: [1, 2, 3]})
    assert chunks(through(rewriter(), [spoken, DONE]))[0]["choices"][0][name] is None
    assert chunks(through(rewriter(), [quiet, DONE]))[0]["choices"][0][name] == [1, 2, 3]


@pytest.mark.parametrize("name", ["logprobs", "token_ids"])
def test_tokens_of_a_call_that_was_dropped_are_not_told(name: str) -> None:
    calls = {"tool_calls": [{"index": 0, "function": {"name": "send_mail", "arguments": "{}"}}]}
    gate = ToolGate(frozenset()).choice
    piece = event({**delta(calls), name: [1, 2, 3]})
    whole = {"choices": [{"index": 0, "message": calls, "finish_reason": "tool_calls", name: [1, 2, 3]}]}
    said = through(AnswerRewriter(lambda channel: Row([]), gate), [piece, DONE])
    assert b"send_mail" not in said and b"[1,2,3]" not in said and b"[1, 2, 3]" not in said
    told = json.loads(AnswerRewriter(lambda channel: Row([]), gate).whole(json.dumps(whole).encode()))
    assert told["choices"][0][name] is None


@pytest.mark.parametrize("name", ["logprobs", "token_ids"])
def test_tokens_whose_text_is_still_to_come_are_not_told(name: str) -> None:
    ahead = [event({**delta({}), name: [1]}), event({**delta({"content": ""}), name: [2]})]
    with_text = event({**delta({"content": "hello"}), name: [3]})
    said = chunks(through(AnswerRewriter(lambda channel: Row([])), [*ahead, with_text, DONE]))
    assert [one["choices"][0][name] for one in said if one["choices"][0].get(name)] == [[3]]
