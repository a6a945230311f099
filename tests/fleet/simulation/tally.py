"""Every record that was written whole counts exactly once: what was read by the rows, against what was counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from guideway.core.artifact import short
from guideway.core.outcome import Outcome
from guideway.core.rollout import Phase, Rollout
from guideway.rollout.baseline import COUNTED
from guideway.rollout.canary import Canary

if TYPE_CHECKING:
    from simulation.invariants import Invariants


class Tally:
    """What canaries should have counted. ``newest``: when the last unit of a rollout was written, in steady seconds."""

    def __init__(self, invariants: Invariants) -> None:
        self._of = invariants
        self.newest: dict[str, float] = {}
        self._read: dict[str, int] = {}
        self._positions: dict[str, int] = {}
        self._order: list[str] = []
        self._units: Counter[str] = Counter()
        self._copies: Counter[str] = Counter()
        self._after: Counter[str] = Counter()
        self._gone: set[str] = set()
        self._seen = b""

    def begun(self, rollouts: dict[str, Rollout]) -> list[Rollout]:
        """All rollouts in the order in which they really began, whatever the clock said."""
        self._order += [id for id in rollouts if id not in self._order]
        return [rollouts[id] for id in self._order]

    def look(self) -> None:
        """Called after every transaction: has somebody read on?"""
        self.begun(self._of.rollouts)
        rows = self._of.rows.execute("SELECT segment, position FROM spools").fetchall()
        positions = dict(rows)
        if positions != self._positions:
            self._read_on(positions)
        self._counts_are_right()

    def _read_on(self, positions: dict[str, int]) -> None:
        self._positions, written = positions, self._of.world.users.written
        for name, position in positions.items():
            whole, at = written.get(name, []), self._read.get(name, 0)
            while at < len(whole) and whole[at].end <= position:
                self._take(whole[at].outcome)
                at += 1
            self._read[name] = at
        self._nothing_is_removed_unread()

    def _take(self, outcome: Outcome) -> None:
        order = self.begun(self._of.rollouts)
        rollout = order[-1] if order else None
        if rollout is None or rollout.phase in (Phase.FAILED, Phase.REPLACED):
            return
        if rollout.phase is not Phase.DONE:
            of_it = outcome.rollout == rollout.id
            self._units[rollout.id] += of_it and not outcome.why_not
            self._copies[rollout.id] += of_it and outcome.why_not == "shadow"
            return
        route = self._of.route
        stable = short(route.stable.release) if route and route.stable else ""
        if stable == short(rollout.release) == outcome.release and outcome.why_not in COUNTED:
            self._after[rollout.id] += 1

    def _nothing_is_removed_unread(self) -> None:
        world = self._of.world
        if world.away:
            return
        for name, whole in world.users.written.items():
            if name not in self._gone and not (world.outcomes / name).exists():
                self._gone.add(name)
                unread = len(whole) - self._read.get(name, 0)
                self._of.require(not unread, f"segment {name} was removed, {unread} records of it were never read")

    def _counts_are_right(self) -> None:
        rollout = self.begun(self._of.rollouts)[-1] if self._order else None
        body = self._of.canary_body(rollout.id) if rollout else None
        if rollout is None or body is None or body == self._seen:
            return
        self._seen, known = body, msgspec.msgpack.decode(body, type=Canary)
        found = (
            sum(sum(pair) for pair in known.scores.units.values()),
            known.compared.copies,
            known.after[0],
        )
        right = (self._units[rollout.id], self._copies[rollout.id], self._after[rollout.id])
        words = "(units, copies, requests after the promotion)"
        self._of.require(found == right, f"{rollout.id} counted {found} {words}, and {right} were read")
