"""The move of traffic from the stable release to the candidate, as rows that outlive every process."""

from __future__ import annotations

import enum

import msgspec

from guideway.core.artifact import Digest
from guideway.core.spec import Gateway


class Phase(enum.StrEnum):
    """Where a rollout is. The last three are final."""

    PENDING = "pending"
    STARTING = "starting"
    SWITCHING = "switching"
    DONE = "done"
    FAILED = "failed"
    REPLACED = "replaced"

    @property
    def final(self) -> bool:
        """Nothing more will happen."""
        return self in (Phase.DONE, Phase.FAILED, Phase.REPLACED)


class Rollout(msgspec.Struct, frozen=True):
    """One rollout in one environment. Times in seconds since 1970; durations in seconds.

    ``kind`` is ``ship`` or ``rollback``; ``previous`` is the release that held all traffic when it began.
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


class EnvironmentState(msgspec.Struct, frozen=True):
    """What should run in one environment: written by ``ship`` and ``down``, read by the controller.

    ``up`` is False after ``down``. ``port`` is the port that the gateway was given, kept over restarts.
    """

    name: str
    model: str
    target: str
    replicas: int
    gateway: Gateway
    up: bool = True
    port: int = 0
