"""Who gets which release. The row in the state store is the truth; a file per host projects it."""

from __future__ import annotations

import msgspec

from guideway.core.artifact import Digest


class Endpoint(msgspec.Struct, frozen=True):
    """Where one replica listens."""

    host: str
    port: int


class Arm(msgspec.Struct, frozen=True):
    """One release and the replicas that serve it."""

    release: Digest
    endpoints: tuple[Endpoint, ...]


class Route(msgspec.Struct, frozen=True):
    """The route of one environment. A higher ``(epoch, revision)`` replaces a lower one, never the reverse.

    ``model`` is the name that clients ask for; ``weight`` is the candidate's share of requests in [0, 1].
    """

    environment: str
    model: str
    revision: int
    epoch: int
    stable: Arm | None = None
    candidate: Arm | None = None
    weight: float = 0.0


class ApiKey(msgspec.Struct, frozen=True):
    """A key as the gateway knows it: never the key itself, only its peppered digest (hexadecimal)."""

    id: str
    digest: str
    label: str = ""
    revoked: bool = False


class GatewaySettings(msgspec.Struct, frozen=True):
    """What a gateway is started with: addresses, and the files that its workers follow."""

    host: str
    port: int
    workers: int
    route_file: str
    keys_file: str
    body_limit: int = 4 * 1024 * 1024


class KeyFile(msgspec.Struct, frozen=True):
    """The projection of the keys of one environment, mode 0600. ``pepper`` is hexadecimal."""

    pepper: str
    keys: tuple[ApiKey, ...] = ()
