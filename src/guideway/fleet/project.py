"""Project rows to the files that gateway workers follow. The rows are the truth; a file is whole or old."""

from __future__ import annotations

from pathlib import Path

import msgspec

from guideway.core.rollout import EnvironmentState
from guideway.core.route import GatewaySettings, Route
from guideway.kit.files import write_atomic
from guideway.store import key_orders
from guideway.store.database import Database
from guideway.store.home import Home


def project_route(home: Home, route: Route) -> None:
    """Write the route for the workers of its environment, unless the file says the same already."""
    path, data = home.environment(route.environment) / "route.json", msgspec.json.encode(route)
    if _read(path) != data:
        write_atomic(path, data)


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


def project_gateway(home: Home, state: EnvironmentState) -> Path:
    """Write the settings for a gateway that is about to start; the file."""
    path = home.environment(state.name) / "gateway.json"
    write_atomic(path, msgspec.json.encode(gateway_settings(home, state)))
    return path


def projected_gateway(home: Home, environment: str) -> GatewaySettings | None:
    """What the gateway of an environment was started with the last time."""
    data = _read(home.environment(environment) / "gateway.json")
    try:
        return msgspec.json.decode(data, type=GatewaySettings) if data else None
    except msgspec.DecodeError:
        return None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
