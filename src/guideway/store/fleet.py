"""What should run, what runs, and who gets it: environments, rollouts, routes, replicas, and the fence."""

from __future__ import annotations

import msgspec

from guideway.core.errors import Unavailable
from guideway.core.launch import Replica
from guideway.core.rollout import EnvironmentState, Phase, Rollout
from guideway.core.route import Route
from guideway.store.database import Database

_FINAL = tuple(phase.value for phase in Phase if phase.final)


def take_epoch(database: Database) -> int:
    """Become the one who acts: the next epoch. Whoever holds an older one can no longer write a route."""
    with database.transaction():
        database.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'epoch'")
        return current_epoch(database)


def current_epoch(database: Database) -> int:
    """The epoch of whoever acts now."""
    row = database.row("SELECT value FROM meta WHERE key = 'epoch'")
    return int(row["value"]) if row else 0


def put_environment(database: Database, state: EnvironmentState) -> None:
    """Say what should run in one environment."""
    database.execute("INSERT OR REPLACE INTO environments VALUES (?,?)", state.name, _text(state))


def environments(database: Database) -> list[EnvironmentState]:
    """All environments, by name."""
    rows = database.rows("SELECT body FROM environments ORDER BY name")
    return [msgspec.json.decode(row["body"], type=EnvironmentState) for row in rows]


def environment(database: Database, name: str) -> EnvironmentState | None:
    """One environment, or None when nothing was ever shipped there."""
    row = database.row("SELECT body FROM environments WHERE name = ?", name)
    return msgspec.json.decode(row["body"], type=EnvironmentState) if row else None


def begin_rollout(database: Database, rollout: Rollout) -> None:
    """Start a rollout; one that is still running in the same environment is replaced by it."""
    with database.transaction():
        for running in rollouts(database, rollout.environment, running=True):
            replaced = msgspec.structs.replace(
                running, phase=Phase.REPLACED, updated=rollout.created, reason=f"replaced by {rollout.id}"
            )
            put_rollout(database, replaced)
        put_rollout(database, rollout)


def put_rollout(database: Database, rollout: Rollout) -> None:
    """Write the state of a rollout. A final phase is never left again."""
    with database.transaction():
        row = database.row("SELECT phase FROM rollouts WHERE id = ?", rollout.id)
        if row and row["phase"] in _FINAL and row["phase"] != rollout.phase:
            raise Unavailable(f"rollout {rollout.id} is {row['phase']} already")
        values = (rollout.id, rollout.environment, rollout.phase.value, rollout.created, _text(rollout))
        database.execute("INSERT OR REPLACE INTO rollouts VALUES (?,?,?,?,?)", *values)


def rollouts(database: Database, environment: str | None = None, *, running: bool = False) -> list[Rollout]:
    """Rollouts, the newest first; only those not final when *running*."""
    rows = database.rows(
        "SELECT body FROM rollouts WHERE (? IS NULL OR environment = ?) ORDER BY created DESC, rowid DESC",
        environment,
        environment,
    )
    found = [msgspec.json.decode(row["body"], type=Rollout) for row in rows]
    return [rollout for rollout in found if not (running and rollout.phase.final)]


def rollout(database: Database, id: str) -> Rollout | None:
    """One rollout."""
    row = database.row("SELECT body FROM rollouts WHERE id = ?", id)
    return msgspec.json.decode(row["body"], type=Rollout) if row else None


def put_route(database: Database, route: Route) -> None:
    """Set who gets which release.

    Raises:
        Unavailable: somebody with a later epoch acts now, or the revision is not newer than the one kept.
    """
    with database.transaction():
        if route.epoch < current_epoch(database):
            raise Unavailable("another controller has taken over", where=f"epoch {route.epoch}")
        old = database.row("SELECT epoch, revision FROM routes WHERE environment = ?", route.environment)
        if old and (route.epoch, route.revision) <= (old["epoch"], old["revision"]):
            raise Unavailable("a newer route is set already", where=f"revision {old['revision']}")
        values = (route.environment, route.epoch, route.revision, _text(route))
        database.execute("INSERT OR REPLACE INTO routes VALUES (?,?,?,?)", *values)


def route(database: Database, environment: str) -> Route | None:
    """The route of one environment."""
    row = database.row("SELECT body FROM routes WHERE environment = ?", environment)
    return msgspec.json.decode(row["body"], type=Route) if row else None


def put_replica(database: Database, replica: Replica) -> None:
    """Write what is known of a replica."""
    values = (replica.id, replica.environment, replica.release, replica.state, _text(replica))
    database.execute("INSERT OR REPLACE INTO replicas VALUES (?,?,?,?,?)", *values)


def replicas(database: Database, environment: str | None = None) -> list[Replica]:
    """All replicas, or those of one environment, by id."""
    rows = database.rows(
        "SELECT body FROM replicas WHERE ? IS NULL OR environment = ? ORDER BY id", environment, environment
    )
    return [msgspec.json.decode(row["body"], type=Replica) for row in rows]


def drop_replica(database: Database, id: str) -> None:
    """Forget a replica that is gone."""
    database.execute("DELETE FROM replicas WHERE id = ?", id)


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
