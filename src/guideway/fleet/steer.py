"""What a person may say to a rollout that is under way. Aborting needs no controller; the rest is done by one."""

from __future__ import annotations

import msgspec

from guideway.core.artifact import short
from guideway.core.errors import SpecError
from guideway.core.protocols import Clock
from guideway.core.rollout import Phase, Rollout
from guideway.core.route import without_candidate
from guideway.fleet.project import project_route
from guideway.store import fleet, ledger
from guideway.store.database import Database
from guideway.store.home import Home


def under_way(database: Database, environment: str) -> Rollout:
    """The rollout that runs in *environment*.

    Raises:
        SpecError: none does.
    """
    found = fleet.rollouts(database, environment, running=True)
    if not found:
        raise SpecError(
            f"no rollout is under way in '{environment}'",
            try_this="`guideway ship` begins one; `guideway rollback` returns to the release before",
        )
    return found[0]


def pause(database: Database, environment: str, *, by: str, clock: Clock, resume: bool = False) -> Rollout:
    """Hold every weight where it is, or go on. What speaks against the candidate still stops it.

    Raises:
        SpecError: no rollout is under way, or it is no canary.
    """
    with database.transaction():
        rollout = under_way(database, environment)
        if rollout.strategy != "canary":
            raise SpecError(f"rollout {rollout.id} has no weights to hold: its strategy is {rollout.strategy}")
        if rollout.paused is not resume:
            return rollout
        changed = msgspec.structs.replace(rollout, paused=not resume)
        fleet.put_rollout(database, changed)
        _note(database, changed, "resume" if resume else "pause", by=by, clock=clock)
    return changed


def promote(database: Database, environment: str, *, by: str, clock: Clock) -> Rollout:
    """Give the candidate all traffic as soon as all of its replicas answer, whatever is not shown yet.

    Raises:
        SpecError: no rollout is under way.
    """
    with database.transaction():
        rollout = under_way(database, environment)
        if rollout.promoted_by:
            return rollout
        changed = msgspec.structs.replace(rollout, promoted_by=by)
        fleet.put_rollout(database, changed)
        _note(database, changed, "promote", by=by, clock=clock)
    return changed


def abort(home: Home, database: Database, environment: str, *, by: str, why: str = "", clock: Clock) -> Rollout:
    """End the rollout: all traffic stays with, or returns to, the stable release. No controller is needed.

    Raises:
        SpecError: no rollout is under way, or the candidate has all traffic already.
    """
    reason = f"{by} aborted it" + (f": {why}" if why else "")
    with database.transaction():
        rollout = under_way(database, environment)
        route = fleet.route(database, environment)
        if route and route.stable and route.stable.release == rollout.release != rollout.previous:
            raise SpecError(f"{short(rollout.release)} has all traffic already", try_this="`guideway rollback`")
        ended = msgspec.structs.replace(rollout, phase=Phase.FAILED, updated=clock(), reason=reason)
        fleet.put_rollout(database, ended)
        if route and route.candidate:
            epoch = fleet.take_epoch(database)
            route = msgspec.structs.replace(without_candidate(route), epoch=epoch, revision=route.revision + 1)
            fleet.put_route(database, route)
        _note(database, ended, "abort", by=by, clock=clock, why=why)
    project_route(home, database, environment)
    return ended


def _note(database: Database, rollout: Rollout, what: str, *, by: str, clock: Clock, why: str = "") -> None:
    ledger.append(
        database,
        at=clock(),
        who=by,
        what=what,
        subject=rollout.release,
        why=f"{rollout.environment}: {why}" if why else rollout.environment,
        data={"rollout": rollout.id},
    )
