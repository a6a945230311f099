"""Questions to replicas: when they are asked, what counts as an answer, and what follows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from gateway_paper import completion, http, raw, unary
from gateway_rig import wait_for

from guideway.core.launch import Probe
from guideway.core.route import Endpoint
from guideway.gateway.backend import Backend
from guideway.gateway.probing import LIFE_SECONDS, QUIET_SECONDS, Prober, sound

PROBE = Probe("/v1/chat/completions", '{"model":"poet","max_tokens":1,"messages":[]}')
GOOD = (200, completion("h"))


class Question:
    """A question under way, in the place of a future."""

    def __init__(self, backend, data, seconds):
        self.backend, self.data, self.seconds = backend, data, seconds
        self.gone = False
        self.outcome = None

    def add_done_callback(self, callback):
        self.callback = callback

    def cancelled(self):
        return self.gone

    def cancel(self):
        self.gone = True
        self.callback(self)

    def result(self):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def answer(self, outcome):
        self.outcome = outcome
        self.callback(self)


class Bench:
    """A prober with a clock that is moved and answers that are given by hand."""

    def __init__(self, count=2, every=2.0):
        self.now = 100.0
        self.open, self.changes = [], []
        self.backends = tuple(Backend(Endpoint("127.0.0.1", 1 + number)) for number in range(count))
        for one in self.backends:
            one.peers = self.backends
        self.prober = Prober(clock=lambda: self.now, every=every, changed=self.changes.append, ask=self.ask)

    def ask(self, backend, data, seconds):
        self.open.append(Question(backend, data, seconds))
        return self.open[-1]

    def look(self, probe=PROBE):
        self.prober.look([(one, probe) for one in self.backends])

    def run(self, seconds, answer, probe=PROBE, takes=0.0):
        """Let time go by; *answer* says what each question brings, *takes* seconds later. Counts the questions."""
        asked, end = [], self.now + seconds
        while self.now < end:
            self.look(probe)
            some, self.open = self.open, []
            self.now += takes
            for question in some:
                asked.append(question)
                question.answer(answer(question))
            self.now += 0.1
        return asked


def is_life(question):
    return question.data.startswith(b"GET /healthz ")


@pytest.mark.parametrize(
    ("status", "body", "good"),
    [
        (*GOOD, True),
        (200, completion(""), True),
        (200, completion("\n"), True),
        (200, completion("\ufffd"), True),
        (200, completion("你好"), True),
        (500, completion("h"), False),
        (204, b"", False),
        (0, b"", False),
        (200, b"", False),
        (200, b"garbage", False),
        (200, b"<html>welcome</html>", False),
        (200, b"{}", False),
        (200, b"[" * 100_000, False),
        (200, b'{"choices":[{"text":"a"}]}', False),
        (200, b'{"choices":[],"usage":{"completion_tokens":1}}', False),
        (200, b'{"choices":[{"text":"a"}],"usage":{"completion_tokens":0}}', False),
        (200, b'{"choices":[{"text":7}],"usage":{"completion_tokens":1}}', False),
        (200, b'{"choices":[{"text":"a"}],"usage":{"completion_tokens":1}}', True),
        (200, completion("\ufffd\ufffd\ufffd\ufffd"), False),
        (200, completion("\x00\x01\x02\x1f"), False),
        (200, completion("hi")[:-5], False),
    ],
)
def test_the_answer_of_a_model_is_told_from_garbage(status, body, good):
    assert sound(status, body) is good


def test_a_classifier_is_sound_when_it_classifies_and_not_when_it_talks():
    outputs = [{"name": "label", "data": ["a"]}, {"name": "score", "data": [0.75]}]
    said = json.dumps({"outputs": [*outputs, {"name": "probabilities", "data": [0.75, 0.25]}]}).encode()
    assert sound(200, said, "class")
    assert not sound(500, said, "class")
    assert not sound(200, said)
    assert not sound(200, completion("a"), "class")


@pytest.mark.catalogue("A14")
@pytest.mark.parametrize("bad", [(200, b"garbage"), (200, b"{}"), ValueError("no HTTP"), (500, b"")])
def test_a_replica_that_answers_garbage_is_ejected_within_ten_seconds_and_comes_back_when_it_is_well(bad):
    bench = Bench()
    liar, honest = bench.backends
    began = bench.now
    while not liar.why:
        bench.run(0.1, lambda asked: bad if asked.backend is liar else GOOD)
        assert bench.now - began < 10.0
    assert (liar.why, honest.why) == ("probe", "")
    bench.run(60.0, lambda asked: bad if asked.backend is liar else GOOD)
    assert liar.ejected_until > bench.now, "it stays out as long as it talks garbage"
    bench.run(3.0, lambda asked: GOOD)
    assert (liar.why, liar.ejected_until) == ("", 0.0)
    assert bench.changes[0] is bench.changes[-1] is liar


def test_one_bad_answer_is_no_reason_yet():
    bench = Bench(every=2.0)
    answers = iter([(200, b"garbage")])
    bench.run(10.0, lambda asked: next(answers, GOOD))
    assert bench.changes == []


@pytest.mark.parametrize("nothing", [TimeoutError(), ConnectionRefusedError(), (503, b""), (429, b"")])
def test_no_answer_to_a_question_about_meaning_proves_no_garbage(nothing):
    bench = Bench()
    bench.run(30.0, lambda asked: nothing)
    assert bench.changes == []


def test_a_replica_is_not_asked_a_second_time_before_it_answered():
    bench = Bench(count=1)
    for _ in range(50):
        bench.now += 1.0
        bench.look()
    assert len(bench.open) == 1


@pytest.mark.parametrize("takes", [0.001, 0.05, 0.3])
def test_questions_take_at_most_a_fiftieth_of_a_replicas_time(takes):
    bench = Bench(count=1, every=0.5)
    asked = bench.run(300.0, lambda asked: GOOD, takes=takes)
    assert len(asked) * takes / 300.0 <= 0.025
    assert len(asked) >= 10


def test_where_no_probe_is_known_or_wanted_none_is_asked():
    assert Bench().run(30.0, lambda asked: GOOD, probe=None) == []
    assert Bench(every=0.0).run(30.0, lambda asked: GOOD) == []


@pytest.mark.catalogue("A13")
def test_a_replica_that_went_silent_is_ejected_within_two_seconds_of_the_first_wait():
    bench = Bench(every=0.0)
    silent, _ = bench.backends
    silent.begin(bench.now)
    began = bench.now
    while not bench.open:
        bench.now += 0.1
        bench.look()
    (question,) = bench.open
    assert is_life(question)
    assert question.seconds == LIFE_SECONDS
    bench.now += question.seconds
    question.answer(TimeoutError())
    assert silent.why == "silent"
    assert bench.now - began < 2.0
    assert bench.changes == [silent]


def test_a_replica_that_is_silent_over_its_work_but_answers_a_question_for_life_stays():
    bench = Bench(every=0.0)
    bench.backends[0].begin(bench.now)
    asked = bench.run(30.0, lambda asked: (404, b""))
    assert bench.changes == []
    assert 20 <= len(asked) <= 30, "about once a second, while somebody waits"
    assert all(map(is_life, asked))


def test_bytes_for_somebody_else_are_life_too():
    bench = Bench(every=0.0)
    (busy, _) = bench.backends
    busy.begin(bench.now)
    bench.now += QUIET_SECONDS
    bench.look()
    busy.heard_at = bench.now + 0.5
    bench.now += 1.0
    bench.open.pop().answer(TimeoutError())
    assert busy.why == ""


def test_a_silent_replica_is_asked_on_and_back_as_soon_as_it_lives():
    bench = Bench(every=0.0)
    silent, _ = bench.backends
    silent.begin(bench.now)
    bench.run(20.0, lambda asked: TimeoutError(), takes=1.0)
    assert silent.ejected_until > bench.now
    silent.end()
    bench.run(3.0, lambda asked: (200, b""))
    assert (silent.why, silent.ejected_until) == ("", 0.0)


def test_a_replica_that_leaves_the_route_is_asked_no_more():
    bench = Bench()
    bench.now += 2.0
    bench.look()
    bench.prober.look([])
    assert all(question.gone for question in bench.open)


# With real sockets.


@pytest.fixture
def watch(loop):
    """Makes a prober of real replicas, which looks about as the worker does."""
    made = []

    def start(*ports, every=0.2):
        backends = tuple(Backend(Endpoint("127.0.0.1", port)) for port in ports)
        for one in backends:
            one.peers = backends
        prober = Prober(clock=time.perf_counter, every=every, changed=lambda backend: None)

        def again():
            prober.look([(one, PROBE) for one in backends])
            made.append(loop.loop.call_later(0.05, again))

        made.append(prober)
        loop.call(again)
        return backends

    yield start
    for one in made[::-1]:
        loop.call(getattr(one, "cancel", None) or one.close)


@pytest.mark.catalogue("A14")
@pytest.mark.parametrize("garbage", [unary(b"garbage"), raw(b"\x00\xff" * 40), unary(b""), unary(b"x" * 100_000)])
def test_a_real_replica_that_talks_garbage_is_ejected_and_restored(replica, watch, garbage):
    liar, honest = replica(garbage), replica()
    first, second = watch(liar.port, honest.port)
    wait_for(lambda: first.why == "probe")
    assert second.why == ""
    liar.answer = unary()
    wait_for(lambda: first.why == "")
    assert json.loads(honest.asked[0].body)["max_tokens"] == 1


@pytest.mark.catalogue("A13")
def test_a_real_process_that_is_stopped_is_ejected_and_restored_when_it_goes_on(loop, replica, watch):
    other = replica()
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            port = int(process.stdout.readline().split("port ")[1].split()[0])
            stopped, _ = watch(port, other.port, every=0.0)
            os.kill(process.pid, signal.SIGSTOP)
            loop.call(stopped.begin, time.perf_counter())
            wait_for(lambda: stopped.why == "silent")
            os.kill(process.pid, signal.SIGCONT)
            wait_for(lambda: stopped.why == "")
        finally:
            process.kill()


def test_a_question_leaves_no_connection_behind_for_a_request_to_inherit(loop, replica, watch):
    one = replica(raw(http(completion("h"))))
    (backend,) = watch(one.port, every=0.05)
    wait_for(lambda: len(one.asked) >= 3)
    wait_for(lambda: one.closed >= 3)
    assert loop.call(backend.take, time.perf_counter()) is None


def test_an_error_that_nobody_expected_does_not_end_the_questions():
    bench = Bench()
    asked = bench.run(30.0, lambda asked: RuntimeError("odd"))
    assert len(asked) > 10
