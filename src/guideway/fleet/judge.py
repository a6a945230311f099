"""The judge of canaries: from what is known to what follows, with all that it takes to judge again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from guideway.core.protocols import Clock
from guideway.core.rollout import Phase, Rollout
from guideway.fleet.hear import LONGEST, Ears
from guideway.fleet.memory import Memory
from guideway.fleet.view import Beside, View, needed, ready_endpoints, wanted
from guideway.rollout.baseline import Baseline
from guideway.rollout.canary import Canary
from guideway.rollout.decide import Decision, Guard, Situation, decide
from guideway.rollout.plan import Plan, plan_of
from guideway.rollout.score import Reading
from guideway.rollout.signals import FEWEST, LATENCY
from guideway.rollout.units import Mode
from guideway.store import fleet, ledger
from guideway.store.database import Database

WRITE = 5.0
"""Seconds after which what only time has changed is written down."""
LEAST = 1e-3
"""Seconds for which a candidate has been unready that was just found to be."""
_NEXT: dict[str, Phase] = {"promote": Phase.SWITCHING, "abort": Phase.FAILED}


class Judged(msgspec.Struct, frozen=True):
    """A decision and the situation that it follows from."""

    rollout: Rollout
    situation: Situation
    decision: Decision

    @property
    def moves(self) -> bool:
        """Does anything change by it?"""
        return self.decision.kind in ("raise", "promote", "abort")


class Judge:
    """Judges for all environments of one home. *clock* counts seconds since 1970, *steady* never jumps."""

    def __init__(
        self, database: Database, memory: Memory, ears: Ears, clock: Clock, steady: Callable[[], float]
    ) -> None:
        self._database, self._memory, self._ears, self._clock, self._steady = database, memory, ears, clock, steady
        self._read: tuple[str, int, tuple[Reading, ...]] = ("", 0, ())

    def beside(self, rollout: Rollout | None) -> Beside | None:
        """The candidate's place beside the stable release; None: it takes over at once, or there is none."""
        if rollout is None or rollout.strategy == "all-at-once":
            return None
        if rollout.strategy == "shadow":
            share = rollout.asked.copies
            return Beside(share, 1.0 if rollout.promoted_by else share, shadow=True)
        known = self._memory.canary(rollout) or Canary()
        weights = (0.0, *(step.weight for step in rollout.asked.steps), 1.0)
        here, then = weights[known.step + 1], weights[known.step + 2]
        return Beside(here, 1.0 if rollout.promoted_by else then, known.mode, limits=known.scores.limits.latency)

    def judge(self, view: View, guards: tuple[Guard, ...] = ()) -> Judged | None:
        """What the canary that runs is to do next; None: none runs. Nothing is written yet."""
        rollout = view.rollout
        if rollout is None or rollout.phase is not Phase.CANARY or view.stable is None:
            return None
        known = self._memory.begun(rollout)
        self._look(view, rollout, known)
        if known.step < 0 and not known.scores.limits.latency:
            known.scores.limits = self._memory.baseline(rollout.environment).limits()
        situation = self._situation(view, rollout, known, guards)
        known.decision, known.guards = decide(situation), guards
        return Judged(rollout, situation, known.decision)

    def settle(self, judged: Judged, size: int | None = None) -> None:
        """Write what follows from a decision that moves something, inside the caller's transaction.

        *size*: so many replicas the load asks for now.
        """
        rollout, decision = judged.rollout, judged.decision
        known = self._memory.begun(rollout)
        self._note(judged, known)
        if decision.kind == "raise":
            if known.step < 0:
                known.mode = self._mode(rollout)
            known.step, known.held = known.step + 1, 0.0
            rollout = msgspec.structs.replace(rollout, size=size)
        phase = _NEXT.get(decision.kind, rollout.phase)
        moved = msgspec.structs.replace(rollout, phase=phase, updated=self._clock(), reason=decision.reason)
        fleet.put_rollout(self._database, moved)
        if phase is Phase.SWITCHING:
            fleet.take_shape(self._database, moved)
        if phase.final:
            self._log(f"rollout {phase}", rollout, decision.reason, {})
        self._memory.write(rollout, known)

    def keep(self, judged: Judged) -> None:
        """Write down a decision that moves nothing: in the ledger too, if it is another kind than the last."""
        known = self._memory.begun(judged.rollout)
        changed = known.told != judged.decision.kind
        if changed or self._steady() > self._memory.watch(judged.rollout).written + WRITE:
            with self._memory.transaction():
                if changed:
                    self._note(judged, known)
                self._memory.write(judged.rollout, known)

    def alarm(self, last: Rollout | None) -> None:
        """Say once that a release which a canary promoted fails too often, while it bakes. A person decides."""
        known = self._memory.canary(last) if last and last.strategy == "canary" else None
        if last is None or known is None or known.alerted or not known.after[1]:
            return
        objective = next((one.objective for one in last.asked.require if one.signal == "errors"), None)
        rate = known.fails_too_often(objective) if objective else None
        if rate is None:
            return
        known.alerted = True
        why = f"more than {rate:.1%} of its requests fail, {objective:.1%} are allowed: roll back if that is so"
        with self._memory.transaction():
            requests, errors = known.after
            self._log("canary alert", last, why, {"requests": requests, "errors": errors})
            self._memory.write(last, known)

    def _look(self, view: View, rollout: Rollout, known: Canary) -> None:
        watch, now = self._memory.watch(rollout), self._steady()
        passed = min(now - watch.at, LONGEST)
        covered = len(ready_endpoints(view, rollout.release)) >= needed(view, rollout.release)
        known.held += passed
        watch.unready = 0.0 if covered else max(watch.unready + passed, LEAST)
        watch.at = now

    def _situation(self, view: View, rollout: Rollout, known: Canary, guards: tuple[Guard, ...]) -> Situation:
        assert view.stable
        plan, watch = plan_of(rollout.asked), self._memory.watch(rollout)
        return Situation(
            plan=plan,
            stable=view.stable.release,
            candidate=rollout.release,
            step=known.step,
            held=known.held,
            units=known.scores.units_at(plan.steps[known.step].weight) if known.step >= 0 else 0,
            ready=len(ready_endpoints(view, rollout.release)) >= wanted(view, rollout.release),
            unready_for=watch.unready,
            silent_for=self._silent_for(watch.unit, watch.at, known.scores.newest),
            source_dead_for=self._ears.deaf_for(rollout.environment),
            paused=rollout.paused,
            awaits=awaits(plan, known, self._memory.baseline(rollout.environment)),
            promoted_by=rollout.promoted_by,
            readings=self._readings(rollout, known, plan),
            guards=guards,
        )

    def _readings(self, rollout: Rollout, known: Canary, plan: Plan) -> tuple[Reading, ...]:
        """The readings, made anew only when something was counted since: they cost 10 ms, and a look is cheap."""
        counted = known.scores.pairs.pairs + sum(sum(one.requests) for one in known.scores.signals.values())
        if self._read[:2] != (rollout.id, counted):
            self._read = (rollout.id, counted, known.scores.readings(plan))
        return self._read[2]

    def _silent_for(self, heard: float | None, now: float, newest: float | None) -> float | None:
        """How old the newest unit is: what an outage left is heard late, and is no younger by that."""
        if heard is None or newest is None:
            return None
        return max(now - heard, self._clock() - newest)

    def _mode(self, rollout: Rollout) -> Mode:
        asked = rollout.asked.unit
        return self._memory.baseline(rollout.environment).mode(self._clock()) if asked == "auto" else asked

    def _note(self, judged: Judged, known: Canary) -> None:
        """The decision in the ledger, with the situation: whoever reads it can decide again, and compare."""
        known.told = judged.decision.kind
        decision = msgspec.structs.replace(judged.decision, verdicts=())
        data = {"situation": plain(judged.situation), "decision": plain(decision)}
        self._log(f"canary {judged.decision.kind}", judged.rollout, judged.decision.reason, data)

    def _log(self, what: str, rollout: Rollout, why: str, data: dict[str, Any]) -> None:
        ledger.append(
            self._database,
            at=self._clock(),
            who="controller",
            what=what,
            subject=rollout.release,
            why=f"{rollout.environment}: {why}",
            data={"rollout": rollout.id, **data},
        )


def awaits(plan: Plan, known: Canary, baseline: Baseline) -> str:
    """What must be known before the first step: limits of latency, if promotion will ask for it."""
    if known.scores.limits.latency or not any(one.signal in LATENCY for one in plan.required):
        return ""
    seen = len(baseline.outcomes)
    return f"limits of latency need {FEWEST} answers of the stable release that no cache gave; there are {seen}"


def plain(noun: msgspec.Struct) -> dict[str, Any]:
    """A noun as JSON has it: keys are text, tuples are lists."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(noun))
    return found


def again(data: dict[str, Any]) -> tuple[Decision, Decision]:
    """The decision that a line of the ledger tells, and the one that follows from the situation that it tells.

    Raises:
        msgspec.ValidationError: the line tells of no decision.
    """
    situation = msgspec.json.decode(msgspec.json.encode(data["situation"]), type=Situation)
    told = msgspec.json.decode(msgspec.json.encode(data["decision"]), type=Decision)
    return told, msgspec.structs.replace(decide(situation), verdicts=())
