"""What should run, what runs, and who gets it: environments, rollouts, routes, replicas, and the fence."""

from __future__ import annotations

import msgspec
from sqlalchemy import delete, select, update

from guideway.core.errors import Unavailable
from guideway.core.launch import Replica
from guideway.core.rollout import EnvironmentState, Phase, Rollout
from guideway.core.route import Route
from guideway.store import rows, tables
from guideway.store.database import Database

_META, _ENVIRONMENTS, _ROLLOUTS = tables.meta, tables.environments, tables.rollouts
_ROUTES, _REPLICAS = tables.routes, tables.replicas
_LATER = 1e-3
"""Seconds between two rollouts, at least: their order is that in which they began."""
_FINAL = tuple(phase.value for phase in Phase if phase.final)
_RUNNING = tuple(phase.value for phase in Phase if not phase.final)


def take_epoch(database: Database) -> int:
    """Become the one who acts: the next epoch. Whoever holds an older one can no longer write a route."""
    with database.transaction():
        epoch = current_epoch(database) + 1
        database.execute(update(_META).where(_META.c.key == "epoch").values(value=str(epoch)))
        return epoch


def current_epoch(database: Database) -> int:
    """The epoch of whoever acts now."""
    row = database.row(select(_META.c.value).where(_META.c.key == "epoch"))
    return int(row.value) if row else 0


def check_epoch(database: Database, epoch: int) -> None:
    """Make sure, inside the transaction that acts, that nobody acts with a later epoch than *epoch*.

    Raises:
        Unavailable: somebody does.
    """
    if epoch < current_epoch(database):
        raise Unavailable("another controller has taken over", where=f"epoch {epoch}")


def put_environment(database: Database, state: EnvironmentState) -> None:
    """Say what should run in one environment."""
    database.put(_ENVIRONMENTS, name=state.name, body=rows.write(state))


def take_shape(database: Database, rollout: Rollout) -> None:
    """The environment becomes what *rollout* brings with its release, which takes over now."""
    state, then = environment(database, rollout.environment), rollout.then
    if state and then:
        put_environment(
            database, msgspec.structs.replace(state, model=then.model, replicas=then.replicas, scale=then.scale)
        )


def environments(database: Database) -> list[EnvironmentState]:
    """All environments, by name."""
    found = database.rows(select(_ENVIRONMENTS).order_by(_ENVIRONMENTS.c.name))
    return [rows.read(row.body, EnvironmentState, f"'{row.name}'") for row in found]


def environment(database: Database, name: str) -> EnvironmentState | None:
    """One environment, or None when nothing was ever shipped there."""
    row = database.row(select(_ENVIRONMENTS.c.body).where(_ENVIRONMENTS.c.name == name))
    return rows.read(row.body, EnvironmentState, f"'{name}'") if row else None


def check_orders(database: Database, name: str) -> None:
    """Make sure that all that is asked of one environment can be done by this version.

    Raises:
        Unavailable: another version wrote a setting that this one does not know.
    """
    for row in database.rows(select(_ENVIRONMENTS.c.body).where(_ENVIRONMENTS.c.name == name)):
        rows.read(row.body, EnvironmentState, f"what should run in '{name}'", order=True)
    running = _ROLLOUTS.c.phase.in_(_RUNNING)
    for row in database.rows(select(_ROLLOUTS.c.body).where(_ROLLOUTS.c.environment == name, running)):
        rows.read(row.body, Rollout, f"the rollout in '{name}'", order=True)


def begin_rollout(database: Database, rollout: Rollout) -> Rollout:
    """Start a rollout, which is returned as it was written; one that still runs in the same environment is replaced.

    It is the newest, whatever the clock says: one that was set back, or another machine's, must not hide it.
    """
    with database.transaction():
        newest = max((one.created for one in rollouts(database, rollout.environment, limit=1)), default=0.0)
        rollout = msgspec.structs.replace(rollout, created=max(rollout.created, newest + _LATER))
        for running in rollouts(database, rollout.environment, running=True):
            replaced = msgspec.structs.replace(
                running, phase=Phase.REPLACED, updated=rollout.created, reason=f"replaced by {rollout.id}"
            )
            put_rollout(database, replaced)
        put_rollout(database, rollout)
        return rollout


def put_rollout(database: Database, rollout: Rollout) -> None:
    """Write the state of a rollout. A final phase is never left again."""
    with database.transaction():
        row = database.row(select(_ROLLOUTS.c.phase).where(_ROLLOUTS.c.id == rollout.id))
        if row and row.phase in _FINAL and row.phase != rollout.phase:
            raise Unavailable(f"rollout {rollout.id} is {row.phase} already")
        database.put(
            _ROLLOUTS,
            id=rollout.id,
            environment=rollout.environment,
            phase=rollout.phase.value,
            created=rollout.created,
            body=rows.write(rollout),
        )


def rollouts(
    database: Database,
    environment: str | None = None,
    *,
    running: bool = False,
    phase: Phase | None = None,
    limit: int | None = None,
) -> list[Rollout]:
    """Rollouts, the newest first; only those not final when *running*, or those in *phase*; at most *limit*."""
    query = select(_ROLLOUTS.c.body).order_by(_ROLLOUTS.c.created.desc(), _ROLLOUTS.c.id.desc())
    if environment is not None:
        query = query.where(_ROLLOUTS.c.environment == environment)
    if running:
        query = query.where(_ROLLOUTS.c.phase.in_(_RUNNING))
    if phase is not None:
        query = query.where(_ROLLOUTS.c.phase == phase.value)
    if limit is not None:
        query = query.limit(limit)
    return [rows.read(row.body, Rollout, "a rollout") for row in database.rows(query)]


def rollout(database: Database, id: str) -> Rollout | None:
    """One rollout."""
    row = database.row(select(_ROLLOUTS.c.body).where(_ROLLOUTS.c.id == id))
    return rows.read(row.body, Rollout, f"rollout {id}") if row else None


def put_route(database: Database, route: Route) -> None:
    """Set who gets which release.

    Raises:
        Unavailable: somebody with a later epoch acts now, or the revision is not newer than the one kept.
    """
    with database.transaction():
        check_epoch(database, route.epoch)
        query = select(_ROUTES.c.epoch, _ROUTES.c.revision).where(_ROUTES.c.environment == route.environment)
        old = database.row(query)
        if old and (route.epoch, route.revision) <= (old.epoch, old.revision):
            raise Unavailable("a newer route is set already", where=f"revision {old.revision}")
        database.put(
            _ROUTES, environment=route.environment, epoch=route.epoch, revision=route.revision, body=_text(route)
        )


def route(database: Database, environment: str) -> Route | None:
    """The route of one environment."""
    row = database.row(select(_ROUTES.c.body).where(_ROUTES.c.environment == environment))
    return rows.read(row.body, Route, "the route") if row else None


def put_replica(database: Database, replica: Replica) -> None:
    """Write what is known of a replica."""
    database.put(
        _REPLICAS,
        id=replica.id,
        environment=replica.environment,
        release=replica.release,
        state=replica.state,
        body=_text(replica),
    )


def replicas(database: Database, environment: str | None = None) -> list[Replica]:
    """All replicas, or those of one environment, by id."""
    query = select(_REPLICAS.c.body).order_by(_REPLICAS.c.id)
    found = database.rows(query if environment is None else query.where(_REPLICAS.c.environment == environment))
    return [rows.read(row.body, Replica, "a replica") for row in found]


def drop_replica(database: Database, id: str) -> None:
    """Forget a replica that is gone."""
    database.execute(delete(_REPLICAS).where(_REPLICAS.c.id == id))


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
