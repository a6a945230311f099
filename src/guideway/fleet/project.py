"""Project rows to the files that gateway workers follow. The rows are the truth; a file is whole or old."""

from __future__ import annotations

from pathlib import Path

import msgspec

from guideway.core.rollout import EnvironmentState
from guideway.core.route import GatewaySettings, Route
from guideway.gateway.settings import served_file
from guideway.kit.files import locked, write_atomic
from guideway.store import fleet, key_orders
from guideway.store.database import Database
from guideway.store.home import Home


def project_route(home: Home, database: Database, environment: str) -> Route | None:
    """Write the route for the workers of *environment*, unless the file says the same already; what it says now.

    The row is read under a lock: whoever read an older one, and was overtaken, does not write it over a newer one.
    """
    path = home.environment(environment) / "route.json"
    route = fleet.route(database, environment)
    if route is None or _read(path) == msgspec.json.encode(route):
        return route
    with locked(path.with_name(".route.lock")):
        route = fleet.route(database, environment)
        data = msgspec.json.encode(route)
        if route and _read(path) != data:
            write_atomic(path, data)
    return route


def project_keys(home: Home, database: Database, environment: str) -> None:
    """Write the keys of one environment, for the owner only, unless the file says the same already."""
    key_orders.project(home, database, environment)


def gateway_settings(home: Home, state: EnvironmentState) -> GatewaySettings:
    """What the gateway of an environment should be started with; the port is the one that it was given before."""
    folder = home.environment(state.name)
    return GatewaySettings(
        host=state.gateway.host,
        port=state.port or state.gateway.port,
        workers=state.gateway.workers,
        route_file=str(folder / "route.json"),
        keys_file=str(folder / "keys.json"),
        options=state.gateway,
        environment=state.name,
        folder=str(folder),
    )


def project_gateway(home: Home, state: EnvironmentState, least: int = 0) -> Path:
    """Write the settings that a gateway is to start with or to take up; the file.

    Other settings than those before are another generation, above *least*.
    """
    path = home.environment(state.name) / "gateway.json"
    wanted, before = gateway_settings(home, state), projected_gateway(home, state.name)
    if before is None or not means(before, wanted):
        generation = max(before.generation if before else 0, least) + 1
        write_atomic(path, msgspec.json.encode(msgspec.structs.replace(wanted, generation=generation)))
    return path


def means(asked: GatewaySettings, wanted: GatewaySettings, given: int = 0) -> bool:
    """Do settings that were *asked* for mean those that are *wanted*? *given*: the port that came of a free one."""
    same_port = wanted.port in {0, asked.port or given}
    alike = msgspec.structs.replace(asked, port=wanted.port, generation=wanted.generation)
    return same_port and alike == wanted


def projected_gateway(home: Home, environment: str) -> GatewaySettings | None:
    """What the gateway of an environment was asked to serve with the last time."""
    return _settings(home.environment(environment) / "gateway.json")


def served_gateway(home: Home, environment: str) -> GatewaySettings | None:
    """What the gateway of an environment served with the last time."""
    return _settings(served_file(home.environment(environment) / "gateway.json"))


def _settings(path: Path) -> GatewaySettings | None:
    data = _read(path)
    try:
        return msgspec.json.decode(data, type=GatewaySettings) if data else None
    except msgspec.DecodeError:
        return None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
