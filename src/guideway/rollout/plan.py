"""What a rollout was asked to do: fixed before it starts, and refused if it cannot be meant."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import msgspec

from guideway.core.errors import SpecError, did_you_mean
from guideway.rollout.signals import NAMES, SHARES

MARGIN, MARGIN_OF_LATENCY = 2.0, 1.2
"""The ratio of rates below which a candidate must be shown to lie before it gets all traffic."""


class Step(msgspec.Struct, frozen=True):
    """One weight, held until it has seen ``units`` requests of both arms, and at least ``shortest`` seconds.

    After ``longest`` seconds a step that is not over says so; it neither rises by that nor is it undone.
    """

    weight: float
    units: int
    shortest: float = 60.0
    longest: float = 3600.0


class Required(msgspec.Struct, frozen=True):
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


class Plan(msgspec.Struct, frozen=True):
    """The steps and the errors that are allowed. Times in seconds.

    ``alpha`` is the chance to stop a healthy candidate in a whole rollout, ``alpha_promote`` that to promote one at
    the margin. A candidate has ``ready_within`` to become ready; evidence older than ``fresh_within`` is stale; a
    source of evidence that has been dead for ``source_within`` undoes the rollout.
    """

    steps: tuple[Step, ...] = STEPS
    required: tuple[Required, ...] = REQUIRED
    alpha: float = 0.01
    alpha_promote: float = 0.05
    ready_within: float = 60.0
    fresh_within: float = 120.0
    source_within: float = 300.0

    @property
    def error_each(self) -> float:
        """The error of each of the two ways to show a signal good."""
        return self.alpha_promote / 2.0

    def log_threshold(self, signal: str) -> float:
        """log E at which *signal* stops the rollout."""
        return math.log(1.0 / (SHARES[signal] * self.alpha))

    def needs(self, signal: str) -> Required | None:
        """What promotion asks of *signal*; None: nothing."""
        return next((one for one in self.required if one.signal == signal), None)

    def margin(self, signal: str) -> float:
        """The ratio that *signal* is compared with, whether promotion asks for it or not."""
        required = self.needs(signal)
        return required.margin if required else MARGIN


def check(plan: Plan) -> None:
    """Refuse a plan that cannot be carried out.

    Raises:
        SpecError: what is wrong with it, the first thing only.
    """
    for wrong in _wrongs(plan):
        raise SpecError(wrong, where="rollout")


def _wrongs(plan: Plan) -> Iterator[str]:
    weights = [step.weight for step in plan.steps]
    if not weights:
        yield "a canary needs at least one step"
    if not all(0.0 < weight < 1.0 for weight in weights):
        yield f"the weight of a step lies between 0 and 1, without them: {weights}"
    if any(later <= earlier for earlier, later in itertools.pairwise(weights)):
        yield f"weights must rise from step to step: {weights}"
    for step in plan.steps:
        if step.units < 1:
            yield f"the step at {step.weight:.0%} needs at least one unit"
        if not 0.0 <= step.shortest <= step.longest:
            yield f"the step at {step.weight:.0%} is held {step.shortest:g} s at least, but {step.longest:g} s at most"
    yield from _wrong_requirements(plan)
    for name in ("alpha", "alpha_promote"):
        if not 0.0 < getattr(plan, name) < 1.0:
            yield f"{name} lies between 0 and 1, without them"
    for name in ("ready_within", "fresh_within", "source_within"):
        if not 0.0 < getattr(plan, name) < math.inf:
            yield f"{name} is a number of seconds above 0"


def _wrong_requirements(plan: Plan) -> Iterator[str]:
    if not plan.required:
        yield "promotion must require at least one signal"
    for one in plan.required:
        if one.signal not in NAMES or one.signal == "quality":
            yield f"there is no signal '{one.signal}' that promotion could require: {did_you_mean(one.signal, NAMES)}"
        elif not 1.0 < one.margin < math.inf:
            yield f"the margin of {one.signal} is a ratio above 1, not {one.margin:g}"
        elif one.objective is not None and not 0.0 < one.objective < 1.0:
            yield f"the objective of {one.signal} is a rate between 0 and 1, not {one.objective:g}"
