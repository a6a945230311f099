"""Project rows to the files that gateway workers follow. The rows are the truth; a file is whole or old."""

from __future__ import annotations

import msgspec

from guideway.core.rollout import EnvironmentState
from guideway.core.route import GatewaySettings, KeyFile, Route
from guideway.kit.files import write_atomic
from guideway.signing.keys import pepper
from guideway.store import api_keys
from guideway.store.database import Database
from guideway.store.home import Home


def project_route(home: Home, route: Route) -> None:
    """Write the route for the workers of its environment."""
    write_atomic(home.environment(route.environment) / "route.json", msgspec.json.encode(route))


def project_keys(home: Home, database: Database, environment: str) -> None:
    """Write the keys of one environment, for the owner only."""
    keys = KeyFile(pepper=pepper(home.keys).hex(), keys=tuple(api_keys.all_of(database, environment)))
    write_atomic(home.environment(environment) / "keys.json", msgspec.json.encode(keys), mode=0o600)


def project_gateway(home: Home, state: EnvironmentState) -> GatewaySettings:
    """Write the settings that the gateway of an environment is started with; the port is the one given before."""
    folder = home.environment(state.name)
    settings = GatewaySettings(
        host=state.gateway.host,
        port=state.port or state.gateway.port,
        workers=state.gateway.workers,
        route_file=str(folder / "route.json"),
        keys_file=str(folder / "keys.json"),
    )
    write_atomic(folder / "gateway.json", msgspec.json.encode(settings))
    return settings
