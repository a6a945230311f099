"""Who gets which release. The row in the state store is the truth; a file per host projects it."""

from __future__ import annotations

from typing import Literal

import msgspec

from guideway.core.artifact import Digest
from guideway.core.launch import Probe
from guideway.core.spec.gateway import Gateway, Limits
from guideway.core.terms import Terms

Role = Literal["user", "operator", "admin"]


class Endpoint(msgspec.Struct, frozen=True):
    """Where one replica listens."""

    host: str
    port: int


class Arm(msgspec.Struct, frozen=True):
    """One release and the replicas that serve it. ``probe`` is the question that proves that they answer."""

    release: Digest
    endpoints: tuple[Endpoint, ...]
    terms: Terms = Terms()
    probe: Probe | None = None


class Route(msgspec.Struct, frozen=True):
    """The route of one environment. A higher ``(epoch, revision)`` replaces a lower one, never the reverse.

    ``model`` is the name that clients ask for; ``weight`` is the candidate's share of requests in [0, 1].
    ``rollout`` names the rollout that is under way: arms are drawn by it. ``unit`` says who is assigned to an arm:
    each request by itself, or each caller once. ``shadow``: the candidate answers a copy, which nobody is sent.
    ``limits`` of latency, in milliseconds, were fixed before the rollout: who runs past one is told of at once.
    ``wakes``: where no replica runs, the first request starts one, and requests wait for it so many seconds.
    """

    environment: str
    model: str
    revision: int
    epoch: int
    stable: Arm | None = None
    candidate: Arm | None = None
    weight: float = 0.0
    rollout: str = ""
    unit: Literal["request", "caller"] = "request"
    shadow: bool = False
    limits: tuple[float, ...] = ()
    wakes: float = 0.0


def without_candidate(route: Route) -> Route:
    """*route* with everything for its stable release."""
    return msgspec.structs.replace(
        route, candidate=None, weight=0.0, rollout="", unit="request", shadow=False, limits=()
    )


class ApiKey(msgspec.Struct, frozen=True):
    """A key as the gateway knows it: never the key itself, only its peppered digest (hexadecimal).

    ``tenant`` is whose data its requests are: caches, files and feedback are shared within one, never across;
    empty: the key is a tenant of its own. ``role``: a ``user`` calls models, an ``operator`` may read the admin
    plane, an ``admin`` may change things there. Empty ``models`` allows all; ``limits`` None: those of the environment.
    """

    id: str
    digest: str
    label: str = ""
    revoked: bool = False
    tenant: str = ""
    role: Role = "user"
    models: tuple[str, ...] = ()
    limits: Limits | None = None
    expires: float | None = None

    @property
    def owner(self) -> str:
        """The tenant: the one named, or the key itself, which no tenant can be named like."""
        return self.tenant or f"key:{self.id}"


class GatewaySettings(msgspec.Struct, frozen=True):
    """What a gateway is started with: addresses, and the files that its workers follow.

    ``generation`` counts the settings that one environment was asked to take up, so that an answer names its question.
    """

    host: str
    port: int
    workers: int
    route_file: str
    keys_file: str
    options: Gateway = Gateway()
    environment: str = ""
    folder: str = ""
    """Where sockets, spools and batches of this gateway lie."""
    generation: int = 0


class KeyFile(msgspec.Struct, frozen=True):
    """The projection of the keys of one environment, mode 0600. ``pepper`` is hexadecimal."""

    pepper: str
    keys: tuple[ApiKey, ...] = ()
