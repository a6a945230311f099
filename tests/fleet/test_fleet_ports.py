"""Ports of a gateway: free or ours, and nobody else's, neither another program's nor another environment's."""

from __future__ import annotations

import socket
import sys

import msgspec
import pytest

from guideway.core.errors import Unavailable
from guideway.core.rollout import EnvironmentState
from guideway.core.spec import Gateway
from guideway.fleet.look import gateway_state
from guideway.fleet.ports import check_ports
from guideway.kit.process import free_port, spawn_detached, terminate
from guideway.store import fleet as rows


@pytest.fixture
def taken():
    """A port on which a program of somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def check(fleet, environment: str = "dev", **options) -> None:
    check_ports(fleet.home, fleet.database, environment, Gateway(**options))


def told(fleet, environment: str = "dev", **options) -> tuple[str | None, str]:
    """Where and what it is refused for."""
    with pytest.raises(Unavailable) as caught:
        check(fleet, environment, **options)
    return caught.value.where, caught.value.what


def up(fleet, environment: str, **options) -> EnvironmentState:
    state = EnvironmentState(environment, "m", "local", 1, Gateway(**options))
    rows.put_environment(fleet.database, state)
    return state


def test_free_ports_and_those_that_nobody_chose_are_let_pass(fleet):
    check(fleet, port=free_port(), admin=free_port())
    check(fleet, port=0, admin=0)


def test_a_port_of_another_program_is_refused_with_its_key(fleet, taken):
    assert told(fleet, port=taken) == ("gateway.port", f"127.0.0.1:{taken}: port {taken} is in use")
    assert told(fleet, port=0, admin=taken) == ("gateway.admin", f"127.0.0.1:{taken}: port {taken} is in use")


def test_the_port_that_a_gateway_was_given_is_asked_for_too(fleet, taken):
    rows.put_environment(fleet.database, msgspec.structs.replace(up(fleet, "dev", port=0), port=taken))
    assert told(fleet, port=0)[0] == "gateway.port"
    check(fleet, port=free_port())


def test_two_environments_cannot_have_one_admin_port_as_long_as_both_are_up(fleet):
    admin = free_port()
    state = up(fleet, "dev", port=0, admin=admin)
    assert told(fleet, "prod", port=0, admin=admin) == (
        "gateway.admin",
        f"'dev' has port {admin} already, as its gateway.admin",
    )
    assert told(fleet, "prod", port=admin)[0] == "gateway.port"
    rows.put_environment(fleet.database, msgspec.structs.replace(state, up=False))
    check(fleet, "prod", port=0, admin=admin)


def test_what_our_own_gateway_holds_is_ours(fleet, taken):
    fleet.served(gateway=Gateway(port=0, admin=taken))
    port = gateway_state(fleet.home, "dev").port
    check(fleet, port=port, admin=taken)
    assert told(fleet, "prod", port=port)[0] == "gateway.port"
    fleet.down()
    fleet.calm()
    assert told(fleet, port=port, admin=taken)[0] == "gateway.admin"


def test_a_gateway_that_comes_up_asks_for_its_ports_itself(fleet, taken):
    pid, started = spawn_detached(
        [sys.executable, "-c", "import time; time.sleep(60)"], {}, fleet.home.logs / "dev" / "gateway.log"
    )
    check(fleet, port=taken)
    terminate(pid, started, 0.0)
    assert told(fleet, port=taken)[0] == "gateway.port"
