"""Tokens that no answer tells are counted with the tokenizer of the release, and estimated where there is none."""

from __future__ import annotations

import json
import sys
import threading

import msgspec
import pytest
from gateway_paper import DONE, SSE_HEAD, chunk, completion, event, raw, stream, unary
from gateway_rig import KEY, MODEL, OPTIONS, PEPPER, TERMS, Client, wait_for
from system_rig import chat
from tokenizers import Tokenizer, models, pre_tokenizers

from guideway.core.route import ApiKey, KeyFile
from guideway.core.spec.gateway import Cache, Limits
from guideway.gateway.counting import WAITING, WAITING_BYTES, Counting, load_tokenizer
from guideway.gateway.keys import key_digest
from guideway.gateway.limits.amounts import Used
from guideway.gateway.limits.key_lease import Reservation
from guideway.gateway.prepare import Prepared
from guideway.gateway.record import Record
from guideway.gateway.routing import ServingArm
from guideway.gateway.said import FOLD_BYTES, Said, texts_of_prompt

PROMPT = "one two three four five"
SPOKEN = "six seven eight"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """The file of a real tokenizer, for which every word is a token."""
    words = f"{PROMPT} {SPOKEN}".split()
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate([*words, "?"])}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    path = tmp_path_factory.mktemp("release") / "tokenizer.json"
    made.save(str(path))
    return str(path)


def untold(text):
    """A whole answer without usage."""
    return json.dumps({**json.loads(completion(text)), "usage": None}).encode()


class Counted:
    """A gateway whose release names a tokenizer; remembers what requests are said to have used."""

    def __init__(self, gateway, replica, tokenizer, answer):
        self.gateway, self.replica = gateway, replica(answer)
        self.spent = []
        gateway.plane.reports.settle = lambda reservation, used: self.spent.append(used)
        gateway.serve(self.replica, terms=msgspec.structs.replace(TERMS, tokenizer=tokenizer))

    def ask(self, **body):
        with Client(self.gateway.port) as client:
            client.send(chat(messages=[{"role": "user", "content": PROMPT}], **body))
            return client.reply()

    def used(self):
        """What the one request used."""

        def told():
            self.gateway.loop.call(self.gateway.plane.reports.flush)
            return self.spent

        wait_for(told, what="the use of the request")
        (found,) = self.spent
        return found

    def estimated(self):
        return self.gateway.plane.reports.metrics.snapshot(0.0).counters["usage_estimated"].get("", 0)


@pytest.fixture
def counted(gateway, replica, tokenizer):
    return lambda answer, path=tokenizer: Counted(gateway, replica, path, answer)


def test_an_answer_that_tells_no_usage_is_counted_with_the_tokenizer_of_the_release(counted):
    one = counted(unary(untold(SPOKEN)))
    assert one.ask().json()["choices"][0]["message"]["content"] == SPOKEN
    assert (one.used(), one.estimated()) == (Used(1, 5, 3), 0)


def test_an_answer_that_comes_in_pieces_is_counted_too(counted):
    body = untold(SPOKEN)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def in_pieces(replica, asked, reader, writer):
        for piece in (head + chunk(body[:20]), chunk(body[20:]) + b"0\r\n\r\n"):
            writer.write(piece)
            await writer.drain()
            await replica.go.wait()

    one = counted(in_pieces)
    with Client(one.gateway.port) as client:
        client.send(chat(messages=[{"role": "user", "content": PROMPT}]))
        wait_for(lambda: one.replica.asked)
        one.replica.release()
        assert client.reply().body == body
    assert one.used() == Used(1, 5, 3)


def test_a_stream_that_tells_no_usage_is_counted_by_its_text_and_not_by_its_events(counted):
    one = counted(stream(event("six sev"), event("en"), event(" eight"), DONE))
    assert one.ask(stream=True).body.endswith(DONE)
    assert (one.used(), one.estimated()) == (Used(1, 5, 3), 0)


def test_a_stream_that_its_client_left_early_is_counted_as_far_as_it_was_passed_on(counted):
    async def two_and_then_none(replica, asked, reader, writer):
        writer.write(SSE_HEAD + chunk(event("six")) + chunk(event(" seven")))
        await writer.drain()
        await reader.read(1)
        raise ConnectionResetError

    one = counted(two_and_then_none)
    with Client(one.gateway.port) as client:
        client.send(chat(messages=[{"role": "user", "content": PROMPT}], stream=True))
        client.until(b" seven")
    assert (one.used(), one.estimated()) == (Used(1, 5, 2), 0)


def test_a_stream_that_its_replica_broke_off_is_counted_as_far_as_it_came(counted):
    one = counted(raw(SSE_HEAD + chunk(event("six")) + chunk(event(" seven")), close=True))
    assert b'"error"' in one.ask(stream=True).body
    assert one.used() == Used(1, 5, 2)


def test_an_answer_that_tells_its_usage_needs_no_tokenizer(counted):
    one = counted(unary(completion(SPOKEN)))
    one.ask()
    assert one.used() == Used(1, 3, 1)
    assert one.gateway.plane.counting._thread is None


@pytest.mark.parametrize("path", ["", "/nowhere/tokenizer.json", __file__])
def test_without_a_tokenizer_that_can_be_read_the_estimate_stays_and_is_counted(counted, path):
    one = counted(unary(untold(SPOKEN)), path)
    one.ask()
    (asked,) = one.replica.asked
    assert one.used() == Used(1, len(asked.body) // 4, 0)
    assert one.estimated() == 1


def test_without_the_library_the_estimate_stays(counted, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    one = counted(stream(event("six"), DONE))
    one.ask(stream=True)
    assert (one.used().output_tokens, one.estimated()) == (2, 1), "an event is a token"


def test_a_reservation_is_settled_by_what_was_counted(counted, monkeypatch):
    one = counted(unary(untold(SPOKEN)))
    plane, settled = one.gateway.plane, []
    digest = key_digest(PEPPER, KEY)
    key = ApiKey(id=digest[:8], digest=digest, limits=Limits(tokens_per_minute=1000))
    one.gateway.set_keys(msgspec.json.encode(KeyFile(pepper=PEPPER.hex(), keys=(key,))))
    monkeypatch.setattr(plane, "reserve", lambda *_: Reservation(key.id))
    monkeypatch.setattr(plane.reports, "settle", lambda reservation, used: settled.append((reservation.key, used)))
    assert one.ask().status == 200
    wait_for(lambda: one.gateway.loop.call(plane.reports.flush) or settled)
    assert settled == [(key.id, Used(1, 5, 3))]


def test_what_the_cache_answers_is_not_counted_again(made, replica, tokenizer):
    kept = msgspec.structs.replace(OPTIONS, cache=Cache())
    one = Counted(made(kept), replica, tokenizer, unary(untold(SPOKEN)))
    assert one.ask(temperature=0).headers["x-guideway-cache"] == "miss"
    assert one.used() == Used(1, 5, 3)
    one.spent.clear()
    assert one.ask(temperature=0).headers["x-guideway-cache"] == "hit"
    assert (one.used(), one.estimated()) == (Used(1, 0, 0), 0)


# The room by itself.


class Room:
    """Counting on the loop of a test."""

    def __init__(self, loop, load=load_tokenizer):
        self.told = []
        self.loop = loop
        self.counting = Counting(self.told.append, load)

    def take(self, path="t", body=b'{"prompt":"a"}', said=b"{}"):
        record = Record(b"/v1/completions", 0.0, 0.0, None, MODEL, said=Said(said))
        arm = ServingArm("stable", "r", (), terms=msgspec.structs.replace(TERMS, tokenizer=path))
        return self.loop.call(self.counting.takes, record, arm, Prepared(body))


def test_a_tokenizer_is_loaded_once_for_each_release_and_two_are_kept(loop):
    loaded = []

    def load(path):
        loaded.append(path)
        return len

    room = Room(loop, load)
    for path in ("a", "b", "a", "b", "c", "c", "b"):
        assert room.take(path)
    wait_for(lambda: len(room.told) == 7)
    assert loaded == ["a", "b", "c"]
    assert {record.usage.prompt_tokens for record in room.told} == {1}


def test_more_than_may_wait_is_left_to_the_estimate(loop):
    gate = threading.Event()

    def load(path):
        gate.wait(10)
        return lambda texts: 1

    room = Room(loop, load)
    assert [room.take() for _ in range(WAITING + 2)][-3:] == [True, False, False]
    gate.set()
    wait_for(lambda: len(room.told) == WAITING)
    assert not room.take(said=b"x" * WAITING_BYTES)
    assert room.take()


def test_what_waits_when_the_worker_leaves_is_told_with_the_estimate(loop):
    gate = threading.Event()
    room = Room(loop, lambda path: gate.wait(10) and None)
    assert [room.take() for _ in range(3)] == [True] * 3
    loop.call(room.counting.close)
    assert [record.usage for record in room.told] == [None] * 3
    gate.set()
    loop.call(lambda: None)
    assert len(room.told) == 3, "told once"


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]}, (["a", "b"], 0)),
        ({"messages": [{"content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]}, (["a"], 0)),
        ({"messages": [{"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]}, (["f", "{}"], 0)),
        ({"prompt": "a"}, (["a"], 0)),
        ({"prompt": ["a", "b"]}, (["a", "b"], 0)),
        ({"input": [[1, 2], [3]]}, ([], 3)),
        ({"inputs": []}, None),
        ([], None),
        ({"messages": [7, None, {"content": 7}]}, ([], 0)),
    ],
)
def test_the_texts_of_a_prompt_are_found_wherever_the_api_has_them(body, texts):
    assert texts_of_prompt(json.dumps(body).encode()) == texts


def test_the_texts_of_an_answer_are_put_together_by_choice():
    said = Said()
    for index, text in ((0, "a"), (1, "x"), (0, "b")):
        said.add(b'data: {"choices":[{"index":%d,"delta":{"content":"%b"}}]}\n\n' % (index, text.encode()))
    said.add(DONE)
    assert said.texts() == ["ab", "x"]
    assert Said(b'{"choices":[{"text":"a"},{"message":{"content":"b","reasoning":"c"}}]}').texts() == ["a", "bc"]


def test_a_long_stream_is_held_as_its_text_and_not_as_its_events():
    said, largest = Said(), 0
    for _ in range(5000):
        said.add(event("a"))
        largest = max(largest, said.size)
    assert largest <= FOLD_BYTES
    assert said.texts() == ["a" * 5000]


@pytest.mark.parametrize(
    "said", [b"", b"garbage", b"data: garbage\n\n", b'{"choices":7}', b'{"choices":[7,{"delta":7}]}']
)
def test_what_is_no_answer_has_no_text(said):
    assert "".join(Said(said).texts()) == ""


def test_a_real_tokenizer_counts_all_texts_together(tokenizer):
    assert load_tokenizer(tokenizer)([PROMPT, SPOKEN]) == 8
    assert load_tokenizer(tokenizer)([]) == 0
