"""Who counts, and with what probability it was to be the candidate.

*Request mode*: every request is drawn by itself and scores by itself. *Caller mode*: a caller keeps its arm, so its
events are no independent news; it scores at most once per weight, at its first event there. Counting every event of
callers who stay where they are stops one healthy release in five to ten.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from guideway.core.assignment import share_given
from guideway.core.outcome import Outcome

Mode = Literal["request", "caller"]

CALLERS_FOR_CALLER_MODE = 1000
"""Distinct callers of the last day from which on callers are drawn instead of requests: fewer would tell too little."""
CALLERS_KEPT = 20_000
"""Callers that one signal remembers. Then new ones are no units; that depends on nothing that an arm does."""
_KEY_DIGITS = 16
_HELD = 2.0
"""Instead of a weight, for whom nothing is left to tell: above every weight."""


class Callers(msgspec.Struct):
    """Which callers one signal has scored: the weight at which each was last scored on the stable release.

    The draws of another rollout are independent of these: it begins with an empty one, even where evidence is kept.
    """

    scored: dict[str, float] = msgspec.field(default_factory=dict)

    def score(self, outcome: Outcome) -> float | None:
        """The share with which the event of *outcome* counts, which is thereby used up; None: it does not count."""
        if outcome.why_not:
            return None
        if not outcome.unit:
            return outcome.share if 0.0 < outcome.share < 1.0 else None
        return self._score_caller(outcome)

    def _score_caller(self, outcome: Outcome) -> float | None:
        caller = outcome.unit[:_KEY_DIGITS]
        before = self.scored.get(caller)
        if before is None and len(self.scored) >= CALLERS_KEPT:
            return None
        share = share_given(outcome.share, before)
        if not 0.0 < share < 1.0:
            return None
        self.scored[caller] = _HELD if outcome.arm == "candidate" else outcome.share
        return share


class Trials(msgspec.Struct):
    """How often the candidate was tried, and with how many events, for the bound of its own rate.

    Of a caller only the first trial counts: the others are not independent of it.
    """

    requests: int = 0
    events: int = 0
    callers: set[str] = msgspec.field(default_factory=set)

    @property
    def full(self) -> bool:
        """Are there callers that are not counted any more? Then nothing is known of what happens now."""
        return len(self.callers) >= CALLERS_KEPT

    def add(self, outcome: Outcome, event: bool) -> None:
        """Count *outcome*, if it is a unit and the candidate's."""
        if outcome.why_not or outcome.arm != "candidate" or not self._is_first(outcome.unit[:_KEY_DIGITS]):
            return
        self.requests += 1
        self.events += event

    def _is_first(self, caller: str) -> bool:
        if not caller:
            return True
        if caller in self.callers or self.full:
            return False
        self.callers.add(caller)
        return True


def mode_for(callers: int) -> Mode:
    """The default for a service that saw *callers* distinct callers in the last day."""
    return "caller" if callers >= CALLERS_FOR_CALLER_MODE else "request"
