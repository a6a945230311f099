"""The book of the limiter: accounts of all keys, what to say to workers, and what to ask the rows. No I/O is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from guideway.gateway.limits import windows
from guideway.gateway.limits.account import (
    Account,
    AskRows,
    AskWorkers,
    Claim,
    Granted,
    Refused,
    Share,
    Window,
    Wish,
)
from guideway.gateway.limits.amounts import NOTHING, Amounts, Budget, Used, added, lacking, minus
from guideway.gateway.limits.messages import (
    Ask,
    FromLimiter,
    FromWorker,
    Grant,
    Recall,
    Refuse,
    Report,
    Spent,
    Unavailable,
)

IDLE_SECONDS = 5.0
FORGET_SECONDS = 180.0
RECALL_SECONDS = 0.5
PENDING_HOLD = 0.05
FINAL_HOLD = 1.0
Send = Callable[[int, FromLimiter], None]


class Answer(NamedTuple):
    """What the rows say to a claim: *granted*, all or nothing of the need, and what they have left."""

    claim: Claim
    granted: Amounts
    remaining: Amounts


class Work(NamedTuple):
    """What the rows are to do: first changes of what is claimed, then claims; and what keys used, by day."""

    changes: list[tuple[Window, Amounts]]
    claims: list[Claim]
    used: dict[tuple[str, int], Used]


class Book:
    """All keys. *wall* tells seconds since 1970, *clock* seconds that never go back; *send* says a word to a worker."""

    def __init__(self, wall: Callable[[], float], clock: Callable[[], float], send: Send) -> None:
        self._wall, self._clock, self._send = wall, clock, send
        self.accounts: dict[str, Account] = {}
        self._changes: list[tuple[Window, Amounts]] = []
        self._claims: list[Claim] = []
        self._used: dict[tuple[str, int], Used] = {}

    @property
    def urgent(self) -> bool:
        """Does somebody wait for the rows?"""
        return bool(self._claims)

    # What workers say.

    def heard(self, worker: int, message: FromWorker) -> None:
        """A word of *worker*."""
        if isinstance(message, Ask):
            self._ask(worker, message)
        elif isinstance(message, Report):
            self._report(worker, message)
        else:
            self._spent(message)

    def _ask(self, worker: int, ask: Ask) -> None:
        minute = windows.minute_of(self._wall())
        now = self._clock()
        account = self.accounts.get(ask.key)
        if account is None:
            account = self.accounts[ask.key] = Account(ask.key, ask.budget, minute, windows.day_of(minute), now)
        elif account.budget != ask.budget:
            self._rebudget(account, ask.budget)
        account.roll(minute, windows.day_of(minute))
        account.touched = now
        account.wishes.append(Wish(worker, ask.need, ask.want))
        self._advance(account)

    def _rebudget(self, account: Account, budget: Budget) -> None:
        """Other limits hold. What is spare goes back at once, so that the rows judge by the new ones."""
        account.budget = budget
        for share, limit in zip(account.shares, budget, strict=True):
            share.relimit(limit)
        self._change(account.shares)

    def _report(self, worker: int, report: Report) -> None:
        account = self.accounts.get(report.key)
        if account is None:
            return
        account.close(worker, report.minute, windows.day_of(report.minute), report.closed, report.unused)
        lease = account.leases.get(worker)
        if lease is not None:
            lease.held = report.held
            if not lease.out:
                del account.leases[worker]
        if report.recalled and account.recalling.pop(worker, None) is not None:
            self._advance(account)

    def _spent(self, spent: Spent) -> None:
        key = spent.key, windows.day_of(windows.minute_of(self._wall()))
        self._used[key] = added(self._used.get(key, Used()), spent.used)

    def left(self, worker: int) -> None:
        """*worker* is gone."""
        for account in tuple(self.accounts.values()):
            account.leave(worker)
            waiting = [wish for wish in account.wishes if wish.worker != worker]
            if len(waiting) < len(account.wishes):
                account.wishes.clear()
                account.wishes.extend(waiting)
            self._advance(account)

    # What is done about wishes.

    def _advance(self, account: Account) -> None:
        """Deal with the wishes in order, until the rows or other workers have to be asked."""
        while account.wishes and not account.claiming and not account.recalling:
            wish, now = account.wishes[0], self._clock()
            step = account.decide(wish, now)
            if isinstance(step, AskRows):
                account.claiming = len(step.claims)
                self._claims += step.claims
            elif isinstance(step, AskWorkers):
                account.recalling = dict.fromkeys(step.workers, now + RECALL_SECONDS)
                for worker in step.workers:
                    self._send(worker, Recall(account.key))
            else:
                account.wishes.popleft()
                self._answer(account, wish.worker, step)

    def _answer(self, account: Account, worker: int, step: Granted | Refused) -> None:
        if isinstance(step, Granted):
            account.grant(worker, step.amounts)
            left = windows.left("minute", self._wall())
            self._send(worker, Grant(account.key, account.minute, left, step.amounts))
            return
        period = step.share.window.period
        left = windows.left(period, self._wall())
        retry, hold = (left, min(left, FINAL_HOLD)) if step.final else (min(left, 1.0), PENDING_HOLD)
        remaining = lacking(step.remaining, NOTHING)
        self._send(worker, Refuse(account.key, period, step.short, remaining, left, retry, hold))

    # What the rows say.

    def work(self) -> Work:
        """What the rows are to do now; it is theirs then."""
        work = Work(self._changes, self._claims, self._used)
        self._changes, self._claims, self._used = [], [], {}
        return work

    def done(self, answers: Iterable[Answer]) -> None:
        """The rows did all of their work, and say this to the claims."""
        for claim, granted, remaining in answers:
            account = self.accounts.get(claim.window.key)
            share = _share_of(account, claim.window) if account else None
            if account is None or share is None or share.limit != claim.limit:
                self._back(claim.window, granted)
            else:
                share.claimed_more(granted, remaining, self._clock())
            self._claimed(account)

    def failed(self, work: Work) -> None:
        """The rows could not be reached: nothing of *work* was done. Who waits is told; the rest is tried again."""
        self._changes = work.changes + self._changes
        for key, used in work.used.items():
            self._used[key] = added(self._used.get(key, Used()), used)
        for claim in work.claims:
            account = self.accounts.get(claim.window.key)
            if account is not None:
                waiting = tuple(account.wishes)
                account.wishes.clear()
                for wish in waiting:
                    self._send(wish.worker, Unavailable(account.key))
            self._claimed(account)

    def _claimed(self, account: Account | None) -> None:
        if account is not None:
            account.claiming = max(0, account.claiming - 1)
            self._advance(account)

    # Time.

    def tick(self) -> None:
        """Several times a second: new windows, workers that do not answer, claims that nobody uses, idle accounts."""
        now = self._clock()
        minute = windows.minute_of(self._wall())
        for account in tuple(self.accounts.values()):
            account.roll(minute, windows.day_of(minute))
            for worker in [one for one, until in account.recalling.items() if until <= now]:
                account.silent(worker)
            self._advance(account)
            idle = now - account.touched
            quiet = idle > IDLE_SECONDS and not account.wishes
            self._change(share for share in account.shares if quiet or min(share.spare) < 0)
            if idle > FORGET_SECONDS and not (account.wishes or account.claiming or account.leases):
                del self.accounts[account.key]

    def close(self) -> None:
        """The limiter leaves: what it claimed and nobody took goes back."""
        for account in self.accounts.values():
            self._change(account.shares)

    def _change(self, shares: Iterable[Share]) -> None:
        for share in shares:
            self._back(share.window, share.lower())

    def _back(self, window: Window, amounts: Amounts) -> None:
        if amounts != NOTHING:
            self._changes.append((window, minus(NOTHING, amounts)))


def _share_of(account: Account, window: Window) -> Share | None:
    return next((share for share in account.shares if share.window == window), None)
