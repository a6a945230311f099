"""Requests that were told of while they still ran: nothing of them counts twice, whatever arrives first, or never."""

from __future__ import annotations

import msgspec

from guideway.core.outcome import Outcome

KEPT = 4096
"""Requests that are remembered. When so many of them are still under way, early records of others tell nothing: their
events count when they are over."""
LONGEST_SECONDS = 7200.0
"""What is not over after this never will be: its worker was killed."""
_ID_DIGITS = 16


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What was counted of one request, which came ``at`` seconds since 1970; ``over``: nothing more is to come."""

    at: float
    signals: tuple[str, ...] = ()
    over: bool = False


class Overdue(msgspec.Struct):
    """The requests of which an early record was left, by the beginning of their id, which is random."""

    requests: dict[str, Told] = msgspec.field(default_factory=dict)

    def news(self, outcome: Outcome, found: dict[str, bool]) -> tuple[bool, dict[str, bool]]:
        """Is *outcome* the first record of its request, and what of *found* was not counted before?"""
        key, over = outcome.request[:_ID_DIGITS], outcome.overdue == "over"
        known = self.requests.get(key)
        if known is not None and known.over:
            return False, {}
        if known is None and not self._has_room(outcome.at):
            return over, found if over else {}
        before = known.signals if known is not None else ()
        new = {name: event for name, event in found.items() if name not in before}
        self.requests[key] = Told(outcome.at, () if over else (*before, *new), over)
        return known is None, new

    def _has_room(self, now: float) -> bool:
        """Make room for one more request that came at *now*."""
        if len(self.requests) < KEPT:
            return True
        gone = [key for key, told in self.requests.items() if told.over or told.at < now - LONGEST_SECONDS]
        for key in gone[: max(1, KEPT // 8)]:
            del self.requests[key]
        return bool(gone)
