"""What a rollout was asked to do: fixed before it starts, and refused if it cannot be meant."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import msgspec

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.spec.rollout import MARGIN, REQUIRED, STEPS, Required, Rollout, Step
from guideway.rollout.signals import NAMES, SHARES


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


def plan_of(asked: Rollout) -> Plan:
    """The plan that an environment asks for."""
    return Plan(
        steps=asked.steps,
        required=asked.require,
        alpha=asked.alpha,
        alpha_promote=asked.alpha_promote,
        ready_within=asked.ready_within,
        fresh_within=asked.fresh_within,
        source_within=asked.source_within,
    )


def check(plan: Plan) -> None:
    """Refuse a plan that cannot be carried out.

    Raises:
        SpecError: what is wrong with it, the first thing only; ``where`` is the key in the spec, with dots.
    """
    for key, wrong in _wrongs(plan):
        raise SpecError(wrong, where=f"rollout.{key}")


def _wrongs(plan: Plan) -> Iterator[tuple[str, str]]:
    weights = [step.weight for step in plan.steps]
    if not weights:
        yield "steps", "a canary needs at least one step"
    if not all(0.0 < weight < 1.0 for weight in weights):
        yield "steps", f"the weight of a step lies between 0 and 1, without them: {weights}"
    if any(later <= earlier for earlier, later in itertools.pairwise(weights)):
        yield "steps", f"weights must rise from step to step: {weights}"
    for number, step in enumerate(plan.steps):
        place = f"steps.{number}"
        if step.units < 1:
            yield place, f"the step at {step.weight:.0%} needs at least one unit"
        if not 0.0 <= step.shortest <= step.longest:
            held = f"{step.shortest:g} s at least, but {step.longest:g} s at most"
            yield place, f"the step at {step.weight:.0%} is held {held}"
    yield from _wrong_requirements(plan)
    for name in ("alpha", "alpha_promote"):
        if not 0.0 < getattr(plan, name) < 1.0:
            yield name, f"{name} lies between 0 and 1, without them"
    for name in ("ready_within", "fresh_within", "source_within"):
        if not 0.0 < getattr(plan, name) < math.inf:
            yield name, f"{name} is a number of seconds above 0"


def _wrong_requirements(plan: Plan) -> Iterator[tuple[str, str]]:
    if not plan.required:
        yield "require", "promotion must require at least one signal"
    seen: set[str] = set()
    for number, one in enumerate(plan.required):
        place = f"require.{number}"
        if one.signal not in NAMES or one.signal == "quality":
            known = did_you_mean(one.signal, NAMES)
            yield place, f"there is no signal '{one.signal}' that promotion could require: {known}"
        elif one.signal in seen:
            yield place, f"'{one.signal}' is required twice: one entry holds both its margin and its objective"
        elif not 1.0 < one.margin < math.inf:
            yield place, f"the margin of {one.signal} is a ratio above 1, not {one.margin:g}"
        elif one.objective is not None and not 0.0 < one.objective < 1.0:
            yield place, f"the objective of {one.signal} is a rate between 0 and 1, not {one.objective:g}"
        seen.add(one.signal)
