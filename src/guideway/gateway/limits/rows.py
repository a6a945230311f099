"""The rows behind the limiter: claims on budgets, and what keys used. All of one batch happens, or nothing does."""

from __future__ import annotations

from pathlib import Path

from guideway.gateway.limits import windows
from guideway.gateway.limits.amounts import Amounts
from guideway.gateway.limits.book import Answer, Work
from guideway.store import usage
from guideway.store.database import Database

BUSY_SECONDS = 2.0
FORGET_EVERY = 600.0
KEPT_MINUTES = 60
KEPT_DAYS = 2


class Rows:
    """The state in the database at *where*. It is opened when it is needed, and again after it failed.

    All calls come from one thread.
    """

    def __init__(self, where: Path | str) -> None:
        self._where = where
        self._database: Database | None = None
        self._forget_at = 0.0

    def do(self, work: Work, wall: float) -> list[Answer]:
        """Do *work*; the answers to its claims. *wall*: seconds since 1970.

        Raises:
            GuidewayError: the rows cannot be reached; nothing was done.
        """
        try:
            return self._do(work, wall)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the connection back."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _do(self, work: Work, wall: float) -> list[Answer]:
        if self._database is None:
            self._database = Database(self._where, busy=BUSY_SECONDS)
        with self._database.transaction() as database:
            for window, by in work.changes:
                usage.change_claim(database, window.key, window.period, window.number, by)
            answers = []
            for claim in work.claims:
                key, period, number = claim.window
                granted, left = usage.claim(
                    database, key, period, number, need=claim.need, want=claim.want, limit=claim.limit
                )
                answers.append(Answer(claim, Amounts(*granted), Amounts(*left)))
            for (key, day), used in work.used.items():
                usage.add(database, key, day, usage.Use(*used))
            self._forget(database, wall)
        return answers

    def _forget(self, database: Database, wall: float) -> None:
        if abs(wall - self._forget_at) > FORGET_EVERY:
            self._forget_at = wall
            minute = windows.minute_of(wall)
            usage.forget_claims(database, minute=minute - KEPT_MINUTES, day=windows.day_of(minute) - KEPT_DAYS)
