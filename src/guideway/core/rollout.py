"""The move of traffic from the stable release to the candidate, as rows that outlive every process."""

from __future__ import annotations

import enum

import msgspec

from guideway.core.artifact import Digest
from guideway.core.spec import Gateway
from guideway.core.spec.rollout import Rollout as Asked
from guideway.core.spec.rollout import Strategy
from guideway.core.spec.scale import Scale


class Phase(enum.StrEnum):
    """Where a rollout is. The last three are final.

    In CANARY and SHADOW the candidate is on the route beside the stable release.
    """

    PENDING = "pending"
    STARTING = "starting"
    CANARY = "canary"
    SHADOW = "shadow"
    SWITCHING = "switching"
    DONE = "done"
    FAILED = "failed"
    REPLACED = "replaced"

    @property
    def final(self) -> bool:
        """Nothing more will happen."""
        return self in (Phase.DONE, Phase.FAILED, Phase.REPLACED)

    @property
    def beside(self) -> bool:
        """The candidate is on the route, and the stable release too."""
        return self in (Phase.CANARY, Phase.SHADOW)


class Shape(msgspec.Struct, frozen=True):
    """What of an environment changes together with its release: the name that clients know, and how many replicas."""

    model: str
    replicas: int
    scale: Scale | None = None


class Rollout(msgspec.Struct, frozen=True):
    """One rollout in one environment. Times in seconds since 1970; durations in seconds.

    ``kind`` is ``ship`` or ``rollback``; ``previous`` is the release that held all traffic when it began. ``asked``
    is what the spec said. A person may have ``paused`` it, or have said that it is to be ``promoted_by`` them.
    ``afresh``: evidence that an earlier rollout of the same pair left is not looked at. ``then`` is what the
    environment becomes when the release gets all traffic; before that the stable release stays as it is. ``size``: so
    many replicas the load asked for when the candidate began to start, or its present weight to be held (None: their
    number is fixed).
    """

    id: str
    environment: str
    release: Digest
    previous: Digest | None
    phase: Phase
    created: float
    updated: float
    ready_within: float
    bake: float
    kind: str = "ship"
    reason: str = ""
    strategy: Strategy = "all-at-once"
    asked: Asked = Asked()
    paused: bool = False
    promoted_by: str = ""
    afresh: bool = False
    then: Shape | None = None
    size: int | None = None


class EnvironmentState(msgspec.Struct, frozen=True):
    """What should run in one environment: written by ``ship`` and ``down``, read by the controller.

    ``up`` is False after ``down``. With ``scale`` the load decides, and ``replicas`` is where it begins. ``port`` is
    the port that the gateway was given, kept over restarts.
    """

    name: str
    model: str
    target: str
    replicas: int
    gateway: Gateway
    up: bool = True
    port: int = 0
    scale: Scale | None = None
