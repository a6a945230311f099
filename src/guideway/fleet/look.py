"""Look: what is written down, and what of it really runs."""

from __future__ import annotations

import time

import msgspec

from guideway.core.errors import Unavailable
from guideway.core.launch import Replica
from guideway.core.rollout import EnvironmentState, Rollout
from guideway.core.route import Route
from guideway.kit.files import locked
from guideway.kit.process import is_alive, pss_bytes
from guideway.store import fleet
from guideway.store.database import Database
from guideway.store.home import Home


class Looked(msgspec.Struct, frozen=True):
    """One environment as it is now. ``memory`` is proportional set size in bytes, by replica id; ``round_age`` the
    seconds since a controller of this host ended a round. ``halted``: why controllers of this version do nothing here.
    """

    environment: str
    state: EnvironmentState | None
    route: Route | None
    rollout: Rollout | None
    replicas: tuple[Replica, ...]
    alive: tuple[str, ...]
    memory: dict[str, int]
    gateway: int | None
    controller: bool
    round_age: float | None = None
    halted: str = ""


class Refused(msgspec.Struct, frozen=True):
    """Settings that a gateway could not take up, by their generation, and why."""

    generation: int
    why: str


class GatewayState(msgspec.Struct, frozen=True):
    """What the gateway's parent says of itself in ``gateway.json.state``.

    ``generation`` is that of the settings that serve, None where it can take up no others while it runs; ``taking`` is
    that of those which it takes up.
    """

    pid: int
    started: str
    port: int
    workers: tuple[int, ...] = ()
    generation: int | None = None
    taking: int | None = None
    refused: Refused | None = None


def look(home: Home, database: Database, environment: str) -> Looked:
    """What is known of *environment*, checked against the processes of this host."""
    replicas = tuple(fleet.replicas(database, environment))
    alive = tuple(one.id for one in replicas if is_alive(one.process.pid, one.process.started))
    rollouts = fleet.rollouts(database, environment)
    gateway = gateway_state(home, environment)
    return Looked(
        environment=environment,
        state=fleet.environment(database, environment),
        route=fleet.route(database, environment),
        rollout=rollouts[0] if rollouts else None,
        replicas=replicas,
        alive=alive,
        memory={one.id: pss_bytes(one.process.pid) or 0 for one in replicas if one.id in alive},
        gateway=gateway.pid if gateway else None,
        controller=controller_runs(home),
        round_age=home.round_age(time.time()),
        halted=_halted(database, environment),
    )


def _halted(database: Database, environment: str) -> str:
    try:
        fleet.check_orders(database, environment)
    except Unavailable as error:
        return str(error)
    return ""


def controller_runs(home: Home) -> bool:
    """Does a controller hold its lock?"""
    with locked(home.controller, wait=False) as free:
        return not free


def gateway_state(home: Home, environment: str) -> GatewayState | None:
    """The gateway of *environment*, if its parent process lives."""
    path = home.environment(environment) / "gateway.json.state"
    try:
        state = msgspec.json.decode(path.read_bytes(), type=GatewayState)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return state if is_alive(state.pid, state.started) else None
