"""The files of a gateway's settings, and which sockets other settings need."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest

from guideway.core.errors import SpecError, Unavailable
from guideway.core.route import GatewaySettings
from guideway.gateway.generation import Generation, check, effective, sockets_for
from guideway.gateway.listen import bind, steer, steer_no_more
from guideway.gateway.settings import Versions, read_settings, same, state_file

PLAIN = GatewaySettings("127.0.0.1", 0, 1, "r", "k")


def but(**changes):
    return msgspec.structs.replace(PLAIN, **changes)


@pytest.fixture
def serving():
    sockets = bind("127.0.0.1", 0, 2)
    yield Generation(but(port=sockets[0].getsockname()[1], workers=2), Path("file"), sockets)
    for one in sockets:
        one.close()


def test_a_version_never_changes_and_the_last_two_are_kept(tmp_path):
    versions = Versions(tmp_path / "gateway.json")
    kept = [versions.keep(but(workers=count)) for count in (1, 2, 3, 4)]
    assert [read_settings(path).workers for path in kept] == [1, 2, 3, 4]
    versions.accept(but(workers=4))
    assert [path.exists() for path in kept] == [False, False, True, True]
    assert versions.served() == but(workers=4)


def test_another_parent_knows_what_served_last_and_begins_with_no_version(tmp_path):
    before = Versions(tmp_path / "gateway.json")
    kept = before.keep(PLAIN)
    assert before.served() is None
    before.accept(PLAIN)
    assert Versions(tmp_path / "gateway.json").served() == PLAIN
    assert not kept.exists()


@pytest.mark.parametrize("name", ["gateway.json", "gateway.json.1", "gateway.json.17"])
def test_every_version_has_the_same_state_file(tmp_path, name):
    assert state_file(tmp_path / name) == tmp_path / "gateway.json.state"


def test_the_generation_alone_makes_no_other_service():
    assert same(but(generation=3), but(generation=4))
    assert not same(but(workers=2), but(workers=3))


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 80), ("0.0.0.0", 0)])
def test_a_free_port_is_the_present_one_on_the_same_host(host, port):
    assert effective(but(host=host), but(port=80)).port == port


def test_the_same_address_keeps_its_sockets_and_gets_more_that_do_not_listen_yet(serving):
    fewer = sockets_for(msgspec.structs.replace(serving.settings, workers=1), serving)
    more = sockets_for(msgspec.structs.replace(serving.settings, workers=3), serving)
    assert (fewer, more[:2]) == (serving.sockets[:1], serving.sockets)
    with more[2] as added:
        assert added.getsockname()[1] == serving.port
        assert not added.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_another_address_has_sockets_of_its_own_which_nobody_may_hold(serving):
    others = sockets_for(but(workers=1), serving)
    assert not set(others) & set(serving.sockets)
    with others[0], socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable, match="is in use"):
        sockets_for(but(port=taken.getsockname()[1]), serving)


def test_a_folder_cannot_change_while_a_gateway_runs():
    with pytest.raises(SpecError, match="cannot change while it runs"):
        check(but(folder="/other"), PLAIN)


def accepted(sockets, count=60):
    """How many of so many new connections came to each of *sockets*."""
    clients = [socket.create_connection(sockets[0].getsockname()) for _ in range(count)]
    found = []
    for one in sockets:
        one.setblocking(False)
        found.append(0)
        try:
            while True:
                one.accept()[0].close()
                found[-1] += 1
        except BlockingIOError:
            continue
    for client in clients:
        client.close()
    return found


def test_new_connections_are_steered_away_from_a_socket_that_is_to_go():
    sockets = bind("127.0.0.1", 0, 3)
    try:
        assert all(accepted(sockets))
        steer(sockets[:2])
        *kept, gone = accepted(sockets)
        assert (all(kept), sum(kept), gone) == (True, 60, 0)
        steer_no_more(sockets[:2])
        assert all(accepted(sockets))
    finally:
        for one in sockets:
            one.close()
