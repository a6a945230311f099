"""How a rollout begins: what it says, what it follows, and what stops it before it is written."""

from __future__ import annotations

import secrets

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import Refused
from guideway.core.protocols import Clock
from guideway.core.rollout import Phase, Rollout
from guideway.core.spec import Spec
from guideway.fleet.memory import inherited
from guideway.rollout.plan import plan_of
from guideway.rollout.verdict import verdicts
from guideway.store import fleet, ledger
from guideway.store.database import Database


def new_rollout(
    spec: Spec, environment: str, release: Digest, *, previous: Digest | None, kind: str, clock: Clock
) -> Rollout:
    """A rollout to *release* that is written nowhere yet; *kind* is ship or rollback."""
    now = clock()
    return Rollout(
        id=secrets.token_hex(4),
        environment=environment,
        release=release,
        previous=previous,
        phase=Phase.PENDING,
        created=now,
        updated=now,
        ready_within=spec.rollout.ready_within,
        bake=spec.rollout.bake,
        kind=kind,
    )


def begin(database: Database, rollout: Rollout, why: str = "") -> Rollout:
    """Write *rollout*, inside the caller's transaction."""
    if rollout.previous == rollout.release:
        earlier = before(database, rollout.environment, rollout.release)
        rollout = msgspec.structs.replace(rollout, previous=earlier)
    _close(database, rollout)
    rollout = fleet.begin_rollout(database, rollout)
    ledger.append(
        database,
        at=rollout.created,
        who="command line",
        what=rollout.kind,
        subject=rollout.release,
        why=why or rollout.environment,
    )
    return rollout


def _close(database: Database, rollout: Rollout) -> None:
    """One that has moved all traffic already is done, though nobody has written that down: it is not replaced."""
    route = fleet.route(database, rollout.environment)
    for running in fleet.rollouts(database, rollout.environment, running=True):
        moved = route and route.stable and route.stable.release == running.release
        if moved and running.phase is Phase.SWITCHING:
            done = msgspec.structs.replace(running, phase=Phase.DONE, updated=rollout.created)
            fleet.put_rollout(database, done)


def check_evidence(database: Database, rollout: Rollout) -> None:
    """A retry keeps its evidence: one that it would stop at once is refused here, where a person reads why.

    Raises:
        Refused: the evidence would stop it.
    """
    if rollout.strategy != "canary":
        return
    plan, known = plan_of(rollout.asked), inherited(database, rollout)
    failed = [one for one in verdicts(plan, known.scores.readings(plan)) if one.failed]
    if failed:
        raise Refused(
            f"an earlier canary of this release was stopped, and its evidence stands: {failed[0].signal}: "
            f"{failed[0].against}",
            where=rollout.environment,
            try_this="mend it and build another one; or `guideway ship --afresh WHY --by NAME`, which the ledger keeps",
        )


def before(database: Database, environment: str, current: Digest) -> Digest | None:
    """The release that had all traffic before *current* was shipped: a way back is no ship, and leads no way back.

    *current* has all traffic, so its ship did happen, though nobody may have written down yet that it is done.
    """
    happened = (Phase.DONE, Phase.SWITCHING)
    shipped = [one for one in fleet.rollouts(database, environment) if one.kind == "ship" and one.phase in happened]
    ships = [one for one in shipped if one.release == current]
    return next((one.previous for one in ships if one.previous), None)
