"""What a rollout does next: hold, raise, promote, abort, wait or alert. Pure: numbers in, a decision with them out."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from guideway.core.artifact import Digest
from guideway.core.spec.rollout import Step
from guideway.rollout.plan import Plan
from guideway.rollout.score import Reading
from guideway.rollout.verdict import SignalVerdict, unproven, verdicts

Kind = Literal["hold", "raise", "promote", "abort", "wait", "alert"]


class Guard(msgspec.Struct, frozen=True):
    """A threshold outside alpha: ``value`` (None or nan: not known, ``why``) must not exceed ``limit``.

    A broken guard holds the weight; one that ``stops`` aborts, outside the error of the rollout.
    """

    name: str
    value: float | None
    limit: float
    stops: bool = False
    why: str = ""

    @property
    def known(self) -> bool:
        """Is there a value?"""
        return self.value is not None and not math.isnan(self.value)

    @property
    def broken(self) -> bool:
        """Is the value known, and above the limit?"""
        return self.value is not None and self.value > self.limit


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision depends on. Durations in seconds, measured by a clock that nobody sets.

    ``stable`` is the release that this rollout began from. ``step`` is the place in the plan, -1 before the first.
    ``held`` is how long, and ``units`` for how many units, the present weight has been held. ``ready``: every replica
    of the candidate answers; ``unready_for``: for how long not even those do that its weights need, whatever the load
    asked for meanwhile. ``silent_for`` is the age of the newest unit (None: there
    was none), ``source_dead_for`` how long outcomes could not be read (0: they can). ``awaits``: what must be known
    before the first step. ``promoted_by`` names the person who ends it early. ``ended``: how the rollout ended.
    """

    plan: Plan
    stable: Digest
    candidate: Digest
    step: int
    held: float = 0.0
    units: int = 0
    ready: bool = True
    unready_for: float = 0.0
    silent_for: float | None = None
    source_dead_for: float = 0.0
    paused: bool = False
    awaits: str = ""
    promoted_by: str = ""
    ended: Literal["", "promoted", "aborted"] = ""
    readings: tuple[Reading, ...] = ()
    guards: tuple[Guard, ...] = ()

    @property
    def now(self) -> Step | None:
        """The step that is held; None before the first."""
        return self.plan.steps[self.step] if self.step >= 0 else None

    @property
    def weight(self) -> float:
        """The candidate's weight now."""
        if self.ended:
            return 1.0 if self.ended == "promoted" else 0.0
        return self.now.weight if self.now else 0.0


class Decision(msgspec.Struct, frozen=True):
    """What to do, why, and the numbers that made it. ``weight`` is the candidate's from now on.

    ``to`` is the release that gets all traffic, after a promotion or an abort; empty while both have some.
    """

    kind: Kind
    reason: str
    weight: float
    to: Digest = ""
    verdicts: tuple[SignalVerdict, ...] = ()
    numbers: dict[str, float] = msgspec.field(default_factory=dict)


def decide(now: Situation) -> Decision:
    """The next move. What speaks against a candidate goes before everything; what is missing never speaks for it."""
    found = verdicts(now.plan, now.readings)
    kind, reason = _ended(now, found) if now.ended else _running(now, found)
    weight, to = _effect(now, kind)
    return Decision(kind, reason, weight, to, found, _numbers(now))


def _effect(now: Situation, kind: Kind) -> tuple[float, Digest]:
    if kind == "abort":
        return 0.0, now.stable
    if kind == "promote":
        return 1.0, now.candidate
    if kind == "raise":
        return now.plan.steps[now.step + 1].weight, ""
    return now.weight, ""


def _ended(now: Situation, found: tuple[SignalVerdict, ...]) -> tuple[Kind, str]:
    """A rollout that is over moves no traffic: whoever promoted is told, and decides."""
    culprit = _culprit(found)
    if now.ended == "promoted" and culprit:
        return "alert", f"after the promotion {culprit}: roll back if that is so"
    return "hold", f"the rollout is over: {now.ended}"


def _running(now: Situation, found: tuple[SignalVerdict, ...]) -> tuple[Kind, str]:
    for kind, reason in (_against(now, found), _by_a_person(now), _obstacle(now), _unfinished(now)):
        if reason:
            return kind, reason
    if now.step + 1 < len(now.plan.steps):
        return "raise", _why_raise(now)
    return _promotion(now, found)


def _against(now: Situation, found: tuple[SignalVerdict, ...]) -> tuple[Kind, str]:
    """Why the candidate must go; empty: nothing says so. Goes on while a person has paused the rollout."""
    plan = now.plan
    culprit = _culprit(found)
    stops = next((guard for guard in now.guards if guard.stops and guard.broken), None)
    if culprit:
        return "abort", culprit
    if stops:
        return "abort", f"guard {stops.name} (outside alpha) is {stops.value:g}, above {stops.limit:g}"
    if not now.ready and now.unready_for > plan.ready_within:
        return (
            "abort",
            f"the candidate was not ready for {now.unready_for:.0f} s, {plan.ready_within:.0f} s are allowed",
        )
    if now.source_dead_for > plan.source_within:
        return (
            "abort",
            f"no outcome could be read for {now.source_dead_for:.0f} s, {plan.source_within:.0f} s are allowed",
        )
    return "abort", ""


def _by_a_person(now: Situation) -> tuple[Kind, str]:
    """A person may end a rollout early, but sends nobody where nobody answers."""
    return "promote", f"{now.promoted_by} promoted it" if now.promoted_by and now.ready else ""


def _culprit(found: tuple[SignalVerdict, ...]) -> str:
    """The failed signal that is furthest beyond its threshold, in words; empty: none failed."""
    failed = [one for one in found if one.failed]
    if not failed:
        return ""
    worst = max(failed, key=lambda one: one.reading.log_peak - one.log_threshold)
    return f"{worst.signal} failed: {worst.against}"


def _obstacle(now: Situation) -> tuple[Kind, str]:
    """What keeps every weight where it is; empty: nothing does."""
    if not now.ready and not now.unready_for:
        return "wait", "the load asks for more replicas, and those of the candidate are not ready"
    if not now.ready:
        return "wait", f"the candidate is not ready ({now.unready_for:.0f} of {now.plan.ready_within:.0f} s)"
    if now.source_dead_for > 0.0:
        return "wait", f"outcomes cannot be read ({now.source_dead_for:.0f} of {now.plan.source_within:.0f} s)"
    if now.paused:
        return "hold", "a person paused the rollout"
    if now.step < 0 and now.awaits:
        return "wait", now.awaits
    for guard in now.guards:
        if not guard.known:
            return "wait", f"guard {guard.name} (outside alpha) has no data{guard.why and f': {guard.why}'}"
        if guard.broken:
            return "hold", f"guard {guard.name} (outside alpha) is {guard.value:g}, above {guard.limit:g}"
    return "hold", ""


def _unfinished(now: Situation) -> tuple[Kind, str]:
    """What the present step has not seen yet; empty: it has seen enough."""
    step = now.now
    if step is None:
        return "hold", ""
    late = f"; its longest hold of {step.longest:.0f} s is over" if now.held > step.longest else ""
    if now.silent_for is None or now.silent_for > now.plan.fresh_within:
        since = "yet" if now.silent_for is None else f"for {now.silent_for:.0f} s"
        return "wait", f"the service is quiet: no unit {since}, {now.units} of {step.units}{late}"
    if now.units < step.units:
        return ("wait" if late else "hold"), f"{now.units} of {step.units} units at {step.weight:.0%}{late}"
    if now.held < step.shortest:
        return "hold", f"held {now.held:.0f} of {step.shortest:.0f} s at {step.weight:.0%}"
    return "hold", ""


def _why_raise(now: Situation) -> str:
    if now.now is None:
        return "the candidate is ready"
    return f"{now.units} units in {now.held:.0f} s at {now.weight:.0%}, and nothing failed"


def _promotion(now: Situation, found: tuple[SignalVerdict, ...]) -> tuple[Kind, str]:
    """At the last step: every required signal shown good, or what is still to be shown."""
    missing = unproven(now.plan, found)
    if not missing:
        return "promote", "; ".join(one.proof for one in found if one.required)
    words = "; ".join(f"{one.signal}: {one.waits_for}" for one in missing)
    longest = now.plan.steps[-1].longest
    late = f"; the longest hold of {longest:.0f} s is over" if now.held > longest else ""
    return ("wait" if late else "hold"), words + late


def _numbers(now: Situation) -> dict[str, float]:
    """What was compared with what, beside the verdicts; ages that are not known are left out."""
    step, plan = now.now, now.plan
    known = {
        "alpha": plan.alpha,
        "alpha_promote": plan.alpha_promote,
        "step": float(now.step),
        "held": now.held,
        "units": float(now.units),
        "least_units": float(step.units) if step else None,
        "unready_for": now.unready_for,
        "silent_for": now.silent_for,
        "source_dead_for": now.source_dead_for,
        **{f"guard {guard.name}": guard.value for guard in now.guards if guard.known},
    }
    return {name: value for name, value in known.items() if value is not None}
