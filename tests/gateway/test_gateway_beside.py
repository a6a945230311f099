"""Long work beside the loop: two jobs at a time, the tenants in turn, bounded, and dropped when nobody waits for it."""

from __future__ import annotations

import threading

import msgspec
import pytest
from gateway_paper import completion, unary
from gateway_rig import MODEL, OPTIONS, Client, request, wait_for

from guideway.core.spec.gateway import Masking
from guideway.gateway import beside
from guideway.gateway.beside import AT_ONCE, Beside
from guideway.gateway.errors import ApiError, bad_body

FAILED = bad_body("it failed")


class Room:
    """Work that goes on until it is let go, on the loop of a test."""

    def __init__(self, loop, queue=8):
        self.loop, self.now = loop, 0.0
        self.beside = Beside(queue, 5.0, lambda: self.now)
        self.begun, self.told, self.doors = [], [], {}

    def run(self, name, size=1):
        """Have the work *name* done; its first letter is the tenant."""
        door = self.doors[name] = threading.Event()

        def work():
            self.begun.append(name)
            assert door.wait(10)
            if name.endswith("!"):
                raise RuntimeError(name)
            return name

        return self.loop.call(self._run, name, size, work)

    def _run(self, name, size, work):
        return self.beside.run(
            work, lambda found: self.told.append((name, found)), owner=name[0], size=size, failed=FAILED
        )

    def let_go(self, name):
        before = len(self.told)
        self.doors[name].set()
        wait_for(lambda: len(self.told) > before)


@pytest.fixture
def room(loop):
    made = Room(loop)
    yield made
    for door in made.doors.values():
        door.set()
    loop.call(made.beside.close)


def test_two_run_at_once_and_the_tenants_take_turns(room):
    for name in ("a1", "a2", "a3", "a4", "b1"):
        room.run(name)
    wait_for(lambda: room.begun == ["a1", "a2"])
    room.let_go("a1")
    wait_for(lambda: room.begun == ["a1", "a2", "a3"])
    room.let_go("a2")
    wait_for(lambda: room.begun == ["a1", "a2", "a3", "b1"])
    room.let_go("b1")
    assert room.told == [("a1", "a1"), ("a2", "a2"), ("b1", "b1")]


def test_what_nobody_waits_for_any_more_is_not_begun_and_its_place_is_free(room):
    jobs = {name: room.run(name) for name in ("a1", "a2", "a3", "b1")}
    wait_for(lambda: len(room.begun) == AT_ONCE)
    room.loop.call(jobs["a3"].drop)
    room.loop.call(jobs["a1"].drop)
    room.doors["a1"].set()
    wait_for(lambda: room.begun == ["a1", "a2", "b1"])
    room.let_go("b1")
    room.let_go("a2")
    assert room.told == [("b1", "b1"), ("a2", "a2")], "whoever was dropped hears nothing"
    assert room.beside._bytes == 0


def test_a_fault_is_told_as_what_was_said_before_and_others_go_on(room, capsys):
    room.run("a!")
    room.run("b1")
    room.let_go("a!")
    room.let_go("b1")
    assert room.told == [("a!", FAILED), ("b1", "b1")]
    assert "unforeseen error" in capsys.readouterr().err


def test_so_many_bytes_may_wait_but_one_job_always_may(room, monkeypatch):
    monkeypatch.setattr(beside, "WAITING_BYTES", 100)
    assert not isinstance(room.run("a1", size=500), ApiError)
    refused = room.run("b1", size=1)
    assert isinstance(refused, ApiError) and refused.status == 429
    room.let_go("a1")
    assert not isinstance(room.run("b2", size=1), ApiError)


def test_who_waits_too_long_is_refused_and_whoever_finds_no_room_at_once(loop):
    room = Room(loop, queue=1)
    for name in ("a1", "a2", "a3"):
        room.run(name)
    assert room.run("a4").status == 429
    room.now = 6.0
    loop.call(room.beside.expire, room.now)
    assert [(name, found.status) for name, found in room.told] == [("a3", 429)]
    for name in ("a1", "a2"):
        room.let_go(name)
    assert room.beside._bytes == 0
    loop.call(room.beside.close)


# Through the gateway.

LONG = "a word of a long prompt and " * 1000


@pytest.fixture
def masking(made):
    return made(msgspec.structs.replace(OPTIONS, masking=Masking()))


def ask(text):
    return {"model": MODEL, "messages": [{"role": "user", "content": text}]}


def test_a_long_prompt_is_masked_beside_the_loop_and_reaches_the_replica(masking, replica):
    one = replica(unary())
    masking.serve(one)
    with Client(masking.port) as client:
        assert client.ask(body=ask(LONG + "write to eve@example.com")).status == 200
    (asked,) = one.asked
    assert b"[EMAIL_1]" in asked.body and b"eve@" not in asked.body


def test_clients_that_leave_while_their_prompts_wait_leave_nothing_behind(masking, replica, monkeypatch):
    door = threading.Event()
    masking.serve(replica(unary()))
    (preparation,) = masking.plane._preparations.values()
    prepare = preparation.prepare

    def slow(*arguments):
        assert door.wait(10)
        return prepare(*arguments)

    monkeypatch.setattr(preparation, "prepare", slow)
    clients = [Client(masking.port) for _ in range(6)]
    for client in clients:
        client.send(request(body=ask(LONG)))
    wait_for(lambda: len(masking.plane.beside._gate._places) == 6 - AT_ONCE)
    for client in clients:
        client.socket.close()
    wait_for(lambda: not masking.plane.beside._gate._places)
    door.set()
    wait_for(lambda: masking.plane.beside._bytes == 0)
    with Client(masking.port) as client:
        assert client.ask(body=ask(LONG)).status == 200
    assert masking.plane.admission.running == 0


def test_a_long_answer_is_looked_at_beside_the_loop(masking, replica):
    text = LONG + "the card is 4111 1111 1111 1111"
    masking.serve(replica(unary(completion(text))))
    with Client(masking.port) as client:
        answer = client.ask(body=ask("hi"))
    assert answer.status == 200 and b"4111" not in answer.body and b"[CARD]" in answer.body
