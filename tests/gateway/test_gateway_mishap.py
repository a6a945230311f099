"""A fault of our own at any step of a request ends that request, gives back what it holds, and touches no other."""

from __future__ import annotations

import json

import msgspec
import pytest
from gateway_paper import DONE, completion, event, held, stream, unary
from gateway_rig import KEY, MODEL, OPTIONS, PEPPER, Client, request, wait_for

from guideway.core.route import ApiKey, KeyFile
from guideway.core.spec.gateway import Admission, Cache, Limits
from guideway.core.terms import Terms
from guideway.gateway import attempt, exchange, usage
from guideway.gateway.admission import Admission as Gate
from guideway.gateway.answer import Answer
from guideway.gateway.attempt import Attempt
from guideway.gateway.backend import Backend
from guideway.gateway.cache.cache import Cache as Kept
from guideway.gateway.connection import ClientConnection
from guideway.gateway.exchange import Exchange
from guideway.gateway.keys import key_digest
from guideway.gateway.limits.key_lease import Reservation
from guideway.gateway.plane import Plane
from guideway.gateway.pools import Pools
from guideway.gateway.prepare import Preparation
from guideway.gateway.reader import RequestReader
from guideway.gateway.reports import Reports
from guideway.gateway.rewrite import AnswerRewriter
from guideway.gateway.upstream import KnownAnswers, UpstreamConnection

STEPS = {
    "the bytes are read": (RequestReader, "feed"),
    "the head is checked": (Plane, "check"),
    "the body is read": (Plane, "admit"),
    "the arm is assigned": (Plane, "assign"),
    "an id is made": (Plane, "new_id"),
    "a budget is reserved": (Plane, "reserve"),
    "the prompt is prepared": (Preparation, "prepare"),
    "the cache makes its plan": (Plane, "plan"),
    "the cache is asked": (Kept, "get"),
    "a flight is joined": (Kept, "join"),
    "a place is asked for": (Gate, "enter"),
    "a replica is chosen": (Pools, "choose"),
    "a replica is counted on": (Backend, "begin"),
    "a connection is taken": (Pools, "pooled"),
    "a connection is made": (Pools, "connect"),
    "a connection is there": (Attempt, "_send"),
    "the request is written out": (attempt, "upstream_request"),
    "the request is sent": (UpstreamConnection, "send"),
    "an answer is known by its head": (KnownAnswers, "whole"),
    "a replica has answered": (Backend, "answered"),
    "a connection goes back": (Backend, "give"),
    "a replica is let go": (Backend, "end"),
    "the answer comes": (Exchange, "received"),
    "the usage is read": (usage, "read"),
    "the answer is kept": (Kept, "answered"),
    "the answer is changed": (AnswerRewriter, "whole"),
    "the head is made": (Exchange, "render"),
    "the place is given back": (Gate, "leave"),
    "it is told": (Reports, "add"),
    "the answer is out": (ClientConnection, "finished"),
}
ONLY_AT_FIRST = {"the head is checked", "a connection is made"}
IN_STREAMS = {
    "events come": (Answer, "feed"),
    "the usage of events is read": (usage, "of_events"),
    "events are changed": (AnswerRewriter, "feed"),
    "events end": (AnswerRewriter, "end"),
    "events begin": (Exchange, "render"),
    "events are told to be over": (Exchange, "over"),
}
ASK = {"model": MODEL, "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}


class Once:
    """Raises the first time that it is called, with *after* when its work is done; later it is what it was."""

    def __init__(self, original, after=False):
        self.original, self.after, self.raised = original, after, False

    def __get__(self, instance, owner):
        return self if instance is None else lambda *arguments, **named: self(instance, *arguments, **named)

    def __call__(self, *arguments, **named):
        if not self.raised:
            self.raised = True
            if self.after:
                self.original(*arguments, **named)
            raise RuntimeError("planted with secret words")
        return self.original(*arguments, **named)


@pytest.fixture
def worker(made):
    """A gateway with a cache, limits and one place, whose limiter grants everything."""
    options = msgspec.structs.replace(OPTIONS, cache=Cache(), admission=Admission(concurrent=1, queue=8))
    gateway = made(options)
    limited = ApiKey(id="k1", digest=key_digest(PEPPER, KEY), limits=Limits(requests_per_minute=1000))
    gateway.set_keys(msgspec.json.encode(KeyFile(pepper=PEPPER.hex(), keys=(limited,))))
    reserved, settled = [], []
    meter = gateway.plane.line.meter
    meter.take = lambda key, estimate, waiter: reserved.append(Reservation(key.id)) or reserved[-1]
    gateway.plane.reports.settle = lambda reservation, used: settled.extend([reservation.key] * used.requests)
    gateway.reserved, gateway.settled = reserved, settled
    return gateway


def plant(monkeypatch, owner, name):
    planted = Once(getattr(owner, name), after=(owner, name) in {(Backend, "end"), (Gate, "leave")})
    monkeypatch.setattr(owner, name, planted)
    return planted


def outcome(client):
    """The status that the client is told, or "cut"."""
    try:
        status = client.reply().status
    except (EOFError, ConnectionResetError):
        return "cut"
    return status


def is_free(gateway):
    plane = gateway.plane
    backends = plane.table.backends()
    counts = [plane.admission.running, plane.admission.waiting, *(one.outstanding for one in backends)]
    return counts == [0, 0, 0] and len(plane.cache._flights) == 0


@pytest.mark.parametrize(
    ("step", "warm"), [(step, warm) for step in STEPS for warm in (False, True) if not (warm and step in ONLY_AT_FIRST)]
)
def test_a_fault_at_any_step_ends_the_request_and_frees_all_that_it_held(
    worker, replica, capsys, monkeypatch, step, warm
):
    owner, name = STEPS[step]
    worker.serve(replica(unary(completion("<script>"))), terms=Terms())
    if warm:
        with Client(worker.port) as client:
            assert client.ask(body=ASK).status == 200
    planted = plant(monkeypatch, owner, name)
    with Client(worker.port) as client:
        client.send(request(body={**ASK, "seed": 1}))
        client.socket.settimeout(3)
        found = outcome(client)
    assert planted.raised
    assert found in {200, 500, 502, "cut"}
    wait_for(lambda: is_free(worker), 3.0, "the request holding nothing")
    told = capsys.readouterr().err
    assert told.count("unforeseen error") == 1 and "secret words" not in told
    with Client(worker.port) as client:
        assert client.ask(body={**ASK, "seed": 2}).status == 200
    wait_for(lambda: is_free(worker), 3.0)
    if owner is not Reports:  # nobody else could tell what it cost
        worker.loop.call(worker.plane.reports.settle_all)
        assert len(worker.reserved) == len(worker.settled)


@pytest.mark.parametrize(("owner", "name"), IN_STREAMS.values(), ids=IN_STREAMS.keys())
def test_a_fault_in_a_stream_ends_it_as_broken(worker, replica, capsys, monkeypatch, owner, name):
    told = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'
    worker.serve(replica(stream(event("one"), event("two"), told, DONE)), terms=Terms())
    planted = plant(monkeypatch, owner, name)
    with Client(worker.port) as client:
        client.send(request(body={**ASK, "stream": True}))
        client.socket.settimeout(3)
        found = outcome(client)
        assert found in {200, 502, "cut"}
    assert planted.raised
    wait_for(lambda: is_free(worker), 3.0, "the request holding nothing")
    assert capsys.readouterr().err.count("unforeseen error") == 1


@pytest.mark.parametrize("name", ["begin", "received"])
def test_a_request_that_waits_behind_one_that_fails_is_served(worker, replica, monkeypatch, name):
    one = replica(held(unary()))
    worker.serve(one, terms=Terms())
    with Client(worker.port) as first, Client(worker.port) as second, Client(worker.port) as third:
        first.send(request(body={**ASK, "seed": 1}))
        wait_for(lambda: one.asked)
        second.send(request(body={**ASK, "seed": 2}))
        third.send(request(body={**ASK, "seed": 3}))
        wait_for(lambda: worker.plane.admission.waiting == 2)
        planted = plant(monkeypatch, Attempt if name == "begin" else Exchange, name)
        one.release()
        found = sorted(client.reply().status for client in (first, second, third))
    assert planted.raised
    assert found == [200, 200, 500 if name == "begin" else 502]
    wait_for(lambda: is_free(worker), 3.0)


@pytest.mark.parametrize("name", ["landed", "lead"])
def test_those_who_share_an_answer_are_told_when_it_cannot_be_given(worker, replica, monkeypatch, name):
    one = replica(held(unary() if name == "landed" else unary(status="500 Oops")))
    worker.serve(one, terms=Terms())
    with Client(worker.port) as first, Client(worker.port) as second:
        first.send(request(body=ASK))
        wait_for(lambda: one.asked)
        second.send(request(body=ASK))
        wait_for(lambda: len(worker.reserved) == 2)
        planted = plant(monkeypatch, exchange.Exchange, "_replay" if name == "landed" else "_enter")
        one.release()
        first.reply()
        assert second.reply().status == 500
    assert planted.raised
    wait_for(lambda: is_free(worker), 3.0)


BAD = [
    {"index": 0, "finish_reason": [], "message": {"content": "x"}},
    {"index": 0, "message": {"tool_calls": [None]}},
    {"index": 0, "message": {"function_call": "x"}},
]


@pytest.mark.parametrize("choice", BAD)
def test_an_answer_of_no_known_form_is_502_at_once(gateway, replica, client, choice):
    gateway.serve(replica(unary(json.dumps({"choices": [choice]}).encode())), terms=Terms())
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert client.ask(body={**ASK, "tools": tools}).status == 502
    assert gateway.plane.admission.running == 0
    line = b"data: %b\n\n" % json.dumps({"choices": [{**choice, "delta": choice.get("message")}]}).encode()
    gateway.serve(replica(stream(line, DONE)), terms=Terms())
    assert client.ask(body={**ASK, "stream": True, "tools": tools}).status == 502
    assert gateway.plane.admission.running == 0


def test_one_connection_that_cannot_be_checked_keeps_time_from_no_other(gateway, replica, client, monkeypatch):
    one = replica(held(unary()))
    gateway.serve(one)
    with Client(gateway.port) as other:
        assert other.ask("GET", "/healthz").status == 200
        client.send(request())
        wait_for(lambda: one.asked)
        planted = plant(monkeypatch, ClientConnection, "check")
        gateway.later(700)
        gateway.later(0)
        assert planted.raised
        assert outcome(client) in {504, "cut"}
