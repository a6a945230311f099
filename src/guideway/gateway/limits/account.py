"""The account of one key at the limiter: what the rows gave, what workers hold, and what is to be done about a wish.

Pure: no clock, no socket, no rows. The book asks ``decide`` and does what it says.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from guideway.gateway.limits.amounts import (
    NOTHING,
    UNLIMITED,
    Amounts,
    Budget,
    covers,
    lacking,
    least,
    minus,
    part,
    plus,
)
from guideway.gateway.limits.windows import Period

CLAIM_PART = 8
"""A claim on the rows takes this part of the whole budget ahead."""
LEASE_PART = 4
"""A lease takes this part of what is free ahead."""
DRY_SECONDS = 1.0


class Window(NamedTuple):
    """One minute, or one day, of one key."""

    key: str
    period: Period
    number: int


class Claim(NamedTuple):
    """A wish to the rows: at least *need*, rather *want*, and never more than *limit* for all together."""

    window: Window
    need: Amounts
    want: Amounts
    limit: Amounts


class Share:
    """What this limiter has of the budget of one window: *claimed* from the rows, of which *taken* is leased or used.

    *dry* is what the rows had left when they last said no, believed for a second.
    """

    __slots__ = ("_dry_until", "claimed", "dry", "limit", "taken", "window")

    def __init__(self, window: Window, limit: Amounts) -> None:
        self.window, self.limit = window, limit
        self.claimed = Amounts(*(one if one == UNLIMITED else 0 for one in limit))
        self.taken = self.dry = NOTHING
        self._dry_until = 0.0

    @property
    def free(self) -> Amounts:
        """What can be leased now; negative where requests used more than they had reserved."""
        return minus(self.claimed, self.taken)

    @property
    def spare(self) -> Amounts:
        """What was claimed from the rows and is not taken."""
        return Amounts(*(0 if top == UNLIMITED else one for one, top in zip(self.free, self.limit, strict=True)))

    def claim(self, need: Amounts, now: float) -> Claim | None:
        """What to ask the rows for, so that *need* fits; None when they would say no."""
        short = lacking(need, self.free)
        if now < self._dry_until and not covers(self.dry, short):
            return None
        ahead = Amounts(*(0 if one == UNLIMITED else one // CLAIM_PART for one in self.limit))
        return Claim(self.window, short, plus(short, ahead), self.limit)

    def claimed_more(self, granted: Amounts, remaining: Amounts, now: float) -> None:
        """The rows gave *granted*, and have *remaining* left."""
        self.claimed = plus(self.claimed, granted)
        self.dry = remaining
        self._dry_until = now + DRY_SECONDS

    def relimit(self, limit: Amounts) -> None:
        """Another limit holds from now on; what was claimed under the old one stays claimed."""
        pairs = zip(self.claimed, self.limit, limit, strict=True)
        self.claimed = Amounts(*(_claimed_under(old, new, had) for had, old, new in pairs))
        self.limit, self._dry_until = limit, 0.0

    def lower(self) -> Amounts:
        """Give up what is spare; how much. Negative: what was used beyond the claims."""
        spare = self.spare
        self.claimed = minus(self.claimed, spare)
        if spare != NOTHING:
            self._dry_until = 0.0
        return spare


def _claimed_under(old: int, new: int, had: int) -> int:
    if new == UNLIMITED:
        return UNLIMITED
    return 0 if old == UNLIMITED else had


class Lease:
    """What one worker holds of one key: by minute what was granted and is not closed; of it *held* by requests."""

    __slots__ = ("held", "out")

    def __init__(self) -> None:
        self.out: dict[int, Amounts] = {}
        self.held = NOTHING

    @property
    def total(self) -> Amounts:
        """All that is not closed."""
        total = NOTHING
        for amounts in self.out.values():
            total = plus(total, amounts)
        return total

    def idle(self, minute: int) -> Amounts:
        """What of *minute* no request had reserved when the worker last told."""
        return least(self.out.get(minute, NOTHING), lacking(self.total, self.held))

    def granted(self, minute: int, amounts: Amounts) -> None:
        """The worker got more."""
        self.out[minute] = plus(self.out.get(minute, NOTHING), amounts)

    def close(self, minute: int, amounts: Amounts) -> None:
        """So much is over."""
        rest = lacking(self.out.get(minute, NOTHING), amounts)
        if rest == NOTHING:
            self.out.pop(minute, None)
        else:
            self.out[minute] = rest


class Wish(NamedTuple):
    """What a worker asked for; *sure*: the other workers gave back already what they do not use."""

    worker: int
    need: Amounts
    want: Amounts


class Granted(NamedTuple):
    """Lease this."""

    amounts: Amounts


class AskRows(NamedTuple):
    """Ask the rows first."""

    claims: list[Claim]


class AskWorkers(NamedTuple):
    """Ask these workers first to give back what they do not use."""

    workers: list[int]


class Refused(NamedTuple):
    """There is not enough of the amount number *short* of *share*; *final*: no request under way can change that."""

    share: Share
    short: int
    remaining: Amounts
    final: bool


class Account:
    """One key. ``wishes`` wait in order while the rows or other workers are asked."""

    __slots__ = ("_minute", "budget", "claiming", "day", "key", "leases", "recalling", "shares", "touched", "wishes")

    def __init__(self, key: str, budget: Budget, minute: int, day: int, now: float) -> None:
        self.key, self.budget = key, budget
        self._minute, self.day = minute, day
        self.shares = self._fresh("minute", minute), self._fresh("day", day)
        self.leases: dict[int, Lease] = {}
        self.wishes: deque[Wish] = deque()
        self.claiming = 0
        self.recalling: dict[int, float] = {}
        self.touched = now

    @property
    def minute(self) -> int:
        """The minute that is dealt out now."""
        return self._minute

    def roll(self, minute: int, day: int) -> None:
        """Go to this minute of this day. What was claimed for another window is of no use in this one."""
        if minute != self._minute:
            self._minute, self.shares = minute, (self._fresh("minute", minute), self.shares[1])
        if day != self.day:
            self.day, self.shares = day, (self.shares[0], self._fresh("day", day))

    def _fresh(self, period: Period, number: int) -> Share:
        return Share(Window(self.key, period, number), self.budget.minute if period == "minute" else self.budget.day)

    def decide(self, wish: Wish, now: float) -> Granted | AskRows | AskWorkers | Refused:
        """What is to be done about *wish*."""
        short = [share for share in self.shares if not covers(share.free, wish.need)]
        if not short:
            return Granted(self._lease_for(wish))
        claims = [claim for share in short if (claim := share.claim(wish.need, now))]
        if len(claims) == len(short):
            return AskRows(claims)
        workers = [worker for worker, lease in self.leases.items() if worker != wish.worker and self._helps(lease)]
        return AskWorkers(workers) if workers else self._refused(short, wish.need)

    def _helps(self, lease: Lease) -> bool:
        return lease.idle(self._minute) != NOTHING

    def _lease_for(self, wish: Wish) -> Amounts:
        """What is needed, and some more of what is wanted and of what is free: fewer questions, and yet no hoards."""
        free = least(self.shares[0].free, self.shares[1].free)
        ahead = lacking(part(free, LEASE_PART), NOTHING)
        wanted = least(plus(wish.want, ahead), plus(wish.need, lacking(part(free, 2), NOTHING)))
        counted = Amounts(*(0 if one > UNLIMITED // 2 else more for one, more in zip(free, wanted, strict=True)))
        return least(counted, lacking(free, NOTHING))

    def _refused(self, short: list[Share], need: Amounts) -> Refused:
        share = short[-1]  # a day that is used up says more than a minute
        remaining = plus(share.free, share.dry)
        number = next(i for i in range(3) if need[i] > max(share.free[i], 0))
        under_way = sum(lease.total[number] for lease in self.leases.values())
        return Refused(share, number, remaining, remaining[number] + under_way < need[number])

    def grant(self, worker: int, amounts: Amounts) -> None:
        """*worker* gets a lease."""
        for share in self.shares:
            share.taken = plus(share.taken, amounts)
        self.leases.setdefault(worker, Lease()).granted(self._minute, amounts)

    def close(self, worker: int, minute: int, day: int, closed: Amounts, unused: Amounts) -> None:
        """Of a lease of *minute*, on *day*, *closed* is over; *unused* of it is free again, negative: more was used."""
        lease = self.leases.get(worker)
        known = lease.out.get(minute, NOTHING) if lease else NOTHING
        if lease is not None:
            lease.close(minute, closed)
        owed, freed = least(unused, NOTHING), least(unused, known)
        for share, same in zip(self.shares, (minute == self._minute, day == self.day), strict=True):
            share.taken = minus(share.taken, freed if same else owed)

    def leave(self, worker: int) -> None:
        """*worker* is gone: what its requests had reserved counts as used, the rest is free again."""
        lease = self.leases.pop(worker, None)
        self.recalling.pop(worker, None)
        if lease is not None:
            idle = lease.idle(self._minute)
            for share in self.shares:
                share.taken = minus(share.taken, idle)

    def silent(self, worker: int) -> None:
        """*worker* does not say what it uses: take it that it uses all."""
        self.recalling.pop(worker, None)
        lease = self.leases.get(worker)
        if lease is not None:
            lease.held = lease.total
