"""More connections than there is room for: who has no key makes room, then whoever idles, and nobody at work."""

from __future__ import annotations

import socket
import time

import msgspec
import pytest
from gateway_paper import held, unary
from gateway_rig import KEY, OPTIONS, Client, Gateway, key_file, request, wait_for
from system_rig import Running, bearer
from test_gateway_tls import SecureClient, trusting, written

from guideway.core.spec.gateway import Gateway as Options
from guideway.gateway.crowd import LOOK_SECONDS, Crowd
from guideway.gateway.tls import Identity

FEW = msgspec.structs.replace(OPTIONS, connections=4)
WRONG = bearer("gw-wrong")


class Member:
    def __init__(self, since=None):
        self.since, self.cut = since, 0

    def idle_since(self):
        return self.since

    def abort(self):
        self.cut += 1


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def crowd_of(*known, most=None):
    crowd = Crowd(most or len(known), Clock())
    for one in known:
        assert crowd.join(one)
        crowd.know(one)
    return crowd


# Who has to go.


def test_the_oldest_without_a_key_makes_room_and_those_with_one_stay():
    known, first, second, third = (Member(0.0) for _ in range(4))
    crowd = crowd_of(known, most=3)
    assert crowd.join(first)
    assert crowd.join(second)
    assert crowd.join(third)
    assert [one.cut for one in (known, first, second, third)] == [0, 1, 0, 0]
    assert crowd.members == {known, second, third}
    assert (crowd.closed, crowd.refused) == (1, 0)


def test_without_a_stranger_the_one_that_idles_longest_makes_room():
    busy, late, early = Member(None), Member(5.0), Member(3.0)
    crowd = crowd_of(busy, late, early)
    assert crowd.join(Member())
    assert [one.cut for one in (busy, late, early)] == [0, 0, 1]


def test_one_that_has_worked_since_it_was_looked_at_is_not_taken_for_idle():
    members = [Member(float(number)) for number in range(3)]
    crowd = crowd_of(*members)
    for number in range(2):
        crowd.know(new := Member(None))
        assert crowd.join(new), number
        crowd.know(new)
        members[1].since = 9.0
    assert [one.cut for one in members] == [1, 0, 1]


def test_when_all_are_at_work_a_newcomer_is_refused_and_the_next_takes_its_place():
    crowd = crowd_of(Member(None), Member(None))
    refused, next_one = Member(), Member()
    assert not crowd.join(refused)
    assert refused in crowd.members
    crowd._clock.now = 2 * LOOK_SECONDS
    assert crowd.join(next_one)
    assert refused.cut == 1
    assert len(crowd.members) == 3, "one more than there is room for, and never two"


def test_a_flood_while_all_are_at_work_looks_at_them_ten_times_a_second_and_not_for_each():
    looked = []

    class Busy(Member):
        def idle_since(self):
            looked.append(self)

    crowd = crowd_of(Busy(), Busy())
    for _ in range(50):
        crowd.join(newcomer := Member())
        crowd.leave(newcomer)
    assert len(looked) == 2
    crowd._clock.now = LOOK_SECONDS
    crowd.join(Member())
    assert len(looked) == 4


# As clients see it.


@pytest.fixture
def small(made):
    """A gateway with room for four connections."""
    return made(FEW)


def open_ones(count, port):
    """Connections that say nothing."""
    return [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(count)]


def test_a_client_with_a_key_keeps_its_connection_while_others_flood(small, replica):
    small.serve(replica())
    with Client(small.port) as client:
        assert client.ask().status == 200
        silent = open_ones(40, small.port)
        assert client.ask().status == 200
        wait_for(lambda: len(small.server.connections) == 4)
        with Client(small.port) as newcomer:
            assert newcomer.ask().status == 200
        assert client.ask().status == 200
    for one in silent:
        one.close()


def test_a_key_that_counts_for_nothing_does_not_keep_a_connection(small, replica):
    small.serve(replica())
    liars = [Client(small.port) for _ in range(4)]
    assert {one.ask("GET", "/v1/models", headers=WRONG).status for one in liars} == {401}
    with Client(small.port) as client:
        assert client.ask().status == 200
        assert liars[0].ends() == b""
        assert liars[1].ask("GET", "/v1/models", headers=WRONG).status == 401


def test_a_body_on_its_way_with_a_key_is_not_cut_for_a_newcomer(small, replica):
    small.serve(replica())
    whole = request()
    with Client(small.port) as client:
        client.send(whole[:-5])
        (connection,) = wait(small)
        wait_for(lambda: connection.idle_since() is None)
        silent = open_ones(20, small.port)
        wait_for(lambda: small.server.crowd.closed >= 17)
        client.send(whole[-5:])
        assert client.reply().status == 200
    for one in silent:
        one.close()


def wait(gateway):
    wait_for(lambda: gateway.server.connections)
    return tuple(gateway.server.connections)


def test_when_all_are_at_work_one_more_is_told_503_and_those_at_work_are_answered(small, replica):
    slow = replica(held(unary()))
    small.serve(slow)
    busy = [Client(small.port) for _ in range(4)]
    for client in busy:
        client.send(request())
    wait_for(lambda: len(slow.asked) == 4)
    with Client(small.port) as late:
        late.send(request())
        reply = late.reply()
        assert (reply.status, reply.json()["error"]["code"]) == (503, "crowded")
        assert (reply.headers["connection"], reply.headers["retry-after"]) == ("close", "1")
        assert late.ends() == b""
    slow.release()
    assert [client.reply().status for client in busy] == [200] * 4
    for client in busy:
        client.socket.close()


def test_a_connection_without_a_head_is_closed_after_ten_seconds(gateway, client):
    wait_for(lambda: gateway.server.connections)
    gateway.later(9)
    with Client(gateway.port) as younger:
        wait_for(lambda: len(gateway.server.connections) == 2)
        gateway.later(2)
        assert client.ends() == b""
        assert younger.ask("GET", "/healthz").status == 503


def test_a_first_head_that_dribbles_in_is_408_after_ten_seconds_however_often_a_byte_comes(gateway, client):
    (connection,) = wait(gateway)
    gateway.later(6)
    client.send("GET /healthz HTTP/1.1\r\n")
    wait_for(lambda: connection._reader.partial)
    gateway.later(5)
    assert client.reply().status == 408


def test_the_body_of_a_first_request_may_take_a_minute(gateway, replica, client):
    gateway.serve(replica())
    whole = request()
    client.send(whole[:-5])
    (connection,) = wait(gateway)
    wait_for(lambda: connection._reader.begun is not None)
    gateway.later(50)
    client.send(whole[-5:])
    assert client.reply().status == 200


# With TLS.


@pytest.fixture
def secure(loop, tmp_path):
    pair = written(tmp_path)
    made = Gateway(loop, options=FEW, identity=Identity(lambda: pair, time.time))
    made.pair = pair
    yield made
    made.close()


def test_those_who_do_not_shake_hands_are_counted_and_make_room(secure, replica):
    secure.serve(replica())
    with SecureClient(secure.port, trusting(secure.pair)) as client:
        assert client.ask().status == 200
        silent = open_ones(20, secure.port)
        wait_for(lambda: secure.server.crowd.closed == 17)
        assert len(secure.server.connections) == 4
        assert silent[0].recv(1) == b""
        assert client.ask().status == 200
        with SecureClient(secure.port, trusting(secure.pair)) as newcomer:
            assert newcomer.ask().status == 200
    for one in silent:
        one.close()
    wait_for(lambda: not secure.server.connections)


def test_one_that_leaves_in_the_middle_of_shaking_hands_is_forgotten(secure):
    (one,) = open_ones(1, secure.port)
    wait_for(lambda: secure.server.connections)
    one.sendall(b"\x16\x03\x01")
    one.close()
    wait_for(lambda: not secure.server.connections)


# A worker that may open few files.


class Limited(Running):
    """A gateway whose processes may open 300 files."""

    @property
    def argv(self):
        return ["sh", "-c", 'ulimit -n 300; exec "$0" "$@"', *super().argv]


@pytest.fixture
def limited(tmp_path, replica):
    one = Limited(tmp_path, workers=1, options=Options(body_megabytes=1))
    one.routes([replica().port])
    yield one.up()
    one.stop()


def test_hundreds_of_silent_connections_neither_shut_clients_out_nor_keep_a_revoked_key_alive(limited):
    with Client(limited.port) as client:
        assert client.ask().status == 200
        silent = open_ones(400, limited.port)
        assert client.ask().status == 200
        with Client(limited.port) as newcomer:
            assert newcomer.ask().status == 200
        limited.keys(key_file([KEY], revoked=[KEY]))
        wait_for(lambda: client.ask().status == 401, 5.0)
    for one in silent:
        one.close()
    assert '"most":118' in (limited.folder / "gateway.log").read_text()


def test_a_gateway_that_could_hardly_open_a_file_is_one_line_and_exit_code_5(tmp_path):
    class Tiny(Running):
        @property
        def argv(self):
            return ["sh", "-c", 'ulimit -n 100; exec "$0" "$@"', *super().argv]

    one = Tiny(tmp_path)
    assert one.process.wait(20) == 5
    one.stop()
    (line,) = (tmp_path / "gateway.log").read_text().splitlines()
    assert "a process may open 100 files only" in line
