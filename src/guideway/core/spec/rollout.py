"""How a release takes over: ``rollout:`` of an environment."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from guideway.core.spec.part import Part, Positive, Share

Strategy = Literal["canary", "all-at-once", "shadow"]
Seconds = Annotated[float, Meta(gt=0.0)]
MARGIN, MARGIN_OF_LATENCY = 2.0, 1.2
"""The ratio of rates below which a candidate must be shown to lie before it gets all traffic."""


class Step(Part, frozen=True):
    """One weight, held until it has seen ``units`` requests of both arms, and at least ``shortest`` seconds.

    After ``longest`` seconds a step that is not over says so; it neither rises by that nor is it undone.
    """

    weight: float
    units: int
    shortest: float = 60.0
    longest: float = 3600.0


class Required(Part, frozen=True):
    """What promotion asks of one signal: a ratio below ``margin``, or an own rate below ``objective``."""

    signal: str
    margin: float = MARGIN
    objective: float | None = None


STEPS = (Step(0.05, 500), Step(0.10, 500), Step(0.25, 1000), Step(0.50, 3000))
"""Most units where a unit tells most: one at 50 % is worth five at 5 % for the proof that promotion asks for."""
REQUIRED = (
    Required("errors", MARGIN, objective=0.01),
    Required("latency_p50", MARGIN_OF_LATENCY),
    Required("latency_p95", MARGIN),
)
"""The median alone would let a candidate pass whose twentieth request hangs. The tail is rare: its margin is wider."""


class Rollout(Part, frozen=True):
    """How a release takes over. Durations in seconds.

    ``strategy``: by default a canary where the environment is judged as prod, else all at once. ``alpha`` is the
    chance to stop a healthy candidate, ``alpha_promote`` that to promote one at the margin. ``unit``: who is drawn,
    each request or each caller; by default callers where there are enough. ``copies`` is the share of requests that
    a shadow answers too. ``bake`` is how long the previous release stays warm.
    """

    strategy: Strategy | None = None
    steps: tuple[Step, ...] = STEPS
    require: tuple[Required, ...] = REQUIRED
    alpha: float = 0.01
    alpha_promote: float = 0.05
    unit: Literal["auto", "request", "caller"] = "auto"
    copies: Share = 1.0
    compared: Positive = 500
    ready_within: Seconds = 60.0
    fresh_within: Seconds = 120.0
    source_within: Seconds = 300.0
    bake: Annotated[float, Meta(ge=0.0)] = 3600.0
