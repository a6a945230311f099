"""How a replica fares, judged by what requests meet: when it is left alone, for how long, and how it comes back.

Failures in a row eject it; each further ejection lasts twice as long. Afterwards one request is let through, and
what becomes of it decides. Of the replicas of an arm one always stays: a try is better than a refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

EJECT_AFTER = 3
EJECT_SECONDS = 1.0
EJECT_MOST = 4.0
FORGIVEN_SECONDS = 10.0
TRIAL_SECONDS = 1.0
DOWN_SECONDS = 0.25
CONNECTING_SECONDS = 2.0

Fault = Literal["connect", "broken", "status", "garbage", "time-out", "silent", "probe"]
"""``silent``: it does not even answer a question for life; ``probe``: its answer to a probe is no answer of a model."""

PROVEN: frozenset[str] = frozenset({"silent", "probe"})
"""Faults that a question found: only a question, or time, takes them back."""


class Health:
    """The state of one replica. Times are seconds of the worker's clock."""

    __slots__ = (
        "_answers",
        "_connects",
        "_level",
        "_trial",
        "down_until",
        "ejected_until",
        "ejections",
        "peers",
        "why",
    )

    def __init__(self) -> None:
        self.ejected_until = 0.0
        self.down_until = 0.0
        self.ejections = 0
        self.why: Fault | Literal[""] = ""
        self.peers: Sequence[Health] = ()
        self._answers = self._connects = self._level = 0
        self._trial = False

    def tried(self, now: float) -> None:
        """A request is sent there. The first after an ejection is a trial, and for a while the only one."""
        if self.why and self.ejected_until <= now:
            self._trial = True
            self.ejected_until = now + TRIAL_SECONDS
        if self.down_until and self.down_until <= now:
            self.down_until = now + CONNECTING_SECONDS

    def connected(self) -> None:
        """A connection was made: earlier failures to make one no longer count."""
        self._connects = 0
        self.down_until = 0.0

    def answered(self) -> None:
        """An answer came that a model server gives: earlier failures no longer count, and a trial is passed."""
        self._answers = self._connects = 0
        self.down_until = 0.0
        if self._trial:
            self.restore()

    def failed(self, now: float, why: Fault = "connect") -> None:
        """A request failed there, through no fault of its own."""
        if why == "connect":
            self._connects += 1
            self.down_until = now + DOWN_SECONDS
        else:
            self._answers += 1
        if self._trial or max(self._connects, self._answers) >= EJECT_AFTER:
            self.eject(now, why)

    def eject(self, now: float, why: Fault, seconds: float | None = None) -> bool:
        """Leave it alone for *seconds*, or as long as its past deserves. False: it is the last, and has to stay."""
        fresh = self.ejected_until <= now or self._trial
        if not fresh and seconds is None:
            return True
        if not self._makes_room(now):
            return False
        until = now + (self._deserved(now) if seconds is None else seconds)
        self.ejected_until = until if fresh else max(until, self.ejected_until)
        self.ejections += fresh
        self.why, self._trial = why, False
        self._answers = self._connects = 0
        return True

    def restore(self) -> None:
        """It is well again."""
        self.ejected_until = 0.0
        self.why, self._trial = "", False

    def _deserved(self, now: float) -> float:
        if now - self.ejected_until > FORGIVEN_SECONDS:
            self._level = 0
        seconds: float = EJECT_SECONDS * 2**self._level
        if seconds >= EJECT_MOST:
            return EJECT_MOST
        self._level += 1
        return seconds

    def _makes_room(self, now: float) -> bool:
        """May it go? When all others are out, the one that is due first comes back in its place, unless it lies."""
        others = [one for one in self.peers if one is not self]
        if any(one.ejected_until <= now for one in others) or not self.peers:
            return True
        honest = [one for one in others if one.why != "probe"]
        if not honest:
            return False
        min(honest, key=lambda one: one.ejected_until).ejected_until = now
        return True


def all_down(some: Sequence[Health], now: float) -> bool:
    """No connection to any of them could be had a moment ago: another try would only keep the client waiting."""
    return all(one.down_until > now for one in some)


def is_fault(status: int) -> bool:
    """Does this status say that the replica is ill? What the client did wrong, or asked too often, does not."""
    return status >= 500 and status not in {501, 505}
