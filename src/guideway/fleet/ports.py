"""The ports that a gateway is to have: looked at before anything is built, so that nobody trains for hours in vain."""

from __future__ import annotations

from collections.abc import Iterator

from guideway.core.errors import Unavailable
from guideway.core.rollout import EnvironmentState
from guideway.core.spec import Gateway
from guideway.fleet.look import gateway_state
from guideway.fleet.project import served_gateway
from guideway.gateway.listen import check_free
from guideway.kit.process import writers
from guideway.store import fleet
from guideway.store.database import Database
from guideway.store.home import Home

_ADMIN_HOST = "127.0.0.1"


def check_ports(home: Home, database: Database, environment: str, options: Gateway) -> None:
    """Refuse a port of *options* that neither is free nor is held by the gateway of *environment* itself.

    Raises:
        Unavailable: another environment or another program has it; ``where`` is the key in the spec.
    """
    known = {state.name: state for state in fleet.environments(database)}
    before = known.pop(environment, None)
    kept = before.port if before and before.gateway.port == options.port else 0
    running = gateway_state(home, environment)
    if running is None and writers(home.logs / environment / "gateway.log"):
        return  # ours comes up, and asks for its ports itself
    served = served_gateway(home, environment) if running else None
    ours = {running.port if running else 0, served.options.admin if served else 0}
    for key, host, port in _of(options, kept):
        for other in known.values():
            _refuse_shared(key, host, port, other)
        if port not in ours:
            _refuse_taken(key, host, port)


def _of(options: Gateway, given: int) -> Iterator[tuple[str, str, int]]:
    """Key, host and port of each that is known: a free one that nobody was given yet is not."""
    if port := given or options.port:
        yield "gateway.port", options.host, port
    if options.admin:
        yield "gateway.admin", _ADMIN_HOST, options.admin


def _refuse_shared(key: str, host: str, port: int, other: EnvironmentState) -> None:
    for theirs, their_host, their_port in _of(other.gateway, other.port) if other.up else ():
        if (host, port) == (their_host, their_port):
            raise Unavailable(
                f"'{other.name}' has port {port} already, as its {theirs}",
                where=key,
                try_this="give each environment its own, under `environments:`",
            )


def _refuse_taken(key: str, host: str, port: int) -> None:
    try:
        check_free(host, port)
    except Unavailable as error:
        raise Unavailable(f"{error.where}: {error.what}", where=key, try_this=error.try_this) from None
