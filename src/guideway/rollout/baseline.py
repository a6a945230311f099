"""What the stable release did lately: from it limits are drawn before a canary begins, and who is to be drawn."""

from __future__ import annotations

import msgspec

from guideway.core.outcome import Outcome
from guideway.rollout.signals import Limits, answered, limits_from
from guideway.rollout.units import CALLERS_FOR_CALLER_MODE, Mode, mode_for

KEPT = 1000
"""Good answers of the stable release that are remembered, the newest."""
DAY = 86_400.0
COUNTED = ("", "no rollout")
"""Requests that users made and a model answered, in the words of ``Outcome.why_not``."""


class Baseline(msgspec.Struct):
    """The newest good answers of ``release`` (short digest), and when each caller was seen, by digest.

    No more callers are remembered than it takes to know that there are enough.
    """

    release: str = ""
    outcomes: list[Outcome] = msgspec.field(default_factory=list)
    callers: dict[str, float] = msgspec.field(default_factory=dict)

    def take(self, outcome: Outcome, stable: str) -> None:
        """Remember one request, if the release *stable* answered it; of another one everything is forgotten."""
        if self.release != stable:
            self.release, self.outcomes = stable, []
        if outcome.arm != "stable" or outcome.release != stable or outcome.why_not not in COUNTED:
            return
        if outcome.cached or not answered(outcome):
            return
        self.outcomes.append(outcome)
        if len(self.outcomes) > KEPT + KEPT // 4:  # now and then, not for every request
            del self.outcomes[:-KEPT]

    def meet(self, caller: str, at: float) -> None:
        """Remember that *caller* made a request at *at*, in seconds."""
        if not caller or (caller not in self.callers and len(self.callers) >= CALLERS_FOR_CALLER_MODE):
            return
        self.callers[caller] = at

    def limits(self) -> Limits:
        """The limits that follow; empty while too few requests were seen."""
        return limits_from(self.outcomes)

    def mode(self, now: float) -> Mode:
        """Who should be drawn, by the callers of the last day."""
        self.callers = {caller: at for caller, at in self.callers.items() if at > now - DAY}
        return mode_for(len(self.callers))
