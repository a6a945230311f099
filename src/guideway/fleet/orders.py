"""What the command line asks of the fleet: rows are written here, the controller acts on them."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Collection

import msgspec

from guideway.core.artifact import Digest, short
from guideway.core.errors import GuidewayError, Refused, SpecError
from guideway.core.protocols import Clock
from guideway.core.release import Release
from guideway.core.rollout import EnvironmentState, Phase, Rollout, Shape
from guideway.core.route import ApiKey, Arm, Endpoint, Role, without_candidate
from guideway.core.spec import Spec
from guideway.core.spec.gateway import Limits
from guideway.core.spec.rollout import Strategy
from guideway.fleet import owner
from guideway.fleet.begin import before, begin, check_evidence, new_rollout
from guideway.fleet.project import project_route
from guideway.gateway.keys import key_digest, new_key
from guideway.kit.files import locked
from guideway.kit.process import is_alive, spawn_detached
from guideway.signing.keys import pepper
from guideway.store import fleet, key_orders, ledger
from guideway.store.database import Database
from guideway.store.home import Home

JUST_NOW = 20.0
"""Seconds within which a second way back is taken for the same one."""
_ID = 8
"""So many digits of a key's digest are its id."""


def ensure_controller(home: Home) -> None:
    """Start the controller of *home* unless one is running: it holds a lock for as long as it lives.

    Raises:
        Unavailable: the one that runs acts for another database.
    """
    with locked(home.controller, wait=False) as free:
        if not free:
            owner.check(home)
            return
    argv = [sys.executable, "-P", "-m", "guideway.fleet", "--home", str(home.path)]
    state = {"GUIDEWAY_STATE": home.url} if home.url else {}
    spawn_detached(argv, {**os.environ, **state}, home.logs / "controller.log")


def ship(
    database: Database,
    spec: Spec,
    environment: str,
    release: Release,
    *,
    clock: Clock,
    strategy: Strategy = "all-at-once",
    afresh: str = "",
) -> Rollout | None:
    """Ask for *release* in *environment*; None when it is there already and nothing changed.

    Where nothing serves yet, or the same release does, there is nothing to compare with: it takes over at once.
    *afresh* says who wants evidence of earlier rollouts of the same pair to be forgotten, and why.

    Raises:
        Refused: that evidence stops a canary before it begins.
    """
    with database.transaction():
        return _ship(database, spec, environment, release, clock=clock, strategy=strategy, afresh=afresh)


def _ship(
    database: Database,
    spec: Spec,
    environment: str,
    release: Release,
    *,
    clock: Clock,
    strategy: Strategy,
    afresh: str,
) -> Rollout | None:
    before = fleet.environment(database, environment)
    state = EnvironmentState(
        name=environment,
        model=spec.name,
        target=spec.target,
        replicas=spec.replicas,
        scale=spec.scale,
        gateway=spec.gateway,
        port=before.port if before and before.gateway.port == spec.gateway.port else 0,
    )
    route = fleet.route(database, environment)
    stable = route.stable.release if route and route.stable else None
    if stable == release.digest and before == state and not fleet.rollouts(database, environment, running=True):
        return None
    alone = stable is None or stable == release.digest
    rollout = msgspec.structs.replace(
        new_rollout(spec, environment, release.digest, previous=stable, kind="ship", clock=clock),
        strategy="all-at-once" if alone else strategy,
        asked=spec.rollout,
        afresh=bool(afresh),
        then=Shape(state.model, state.replicas, state.scale),
    )
    check_evidence(database, rollout)
    if before and not alone:  # what serves keeps its name and its replicas until the other one takes over
        state = msgspec.structs.replace(state, model=before.model, replicas=before.replicas, scale=before.scale)
    fleet.put_environment(database, state)
    return begin(database, rollout, why=afresh and f"{environment}, afresh: {afresh}")


def rollback(
    home: Home,
    database: Database,
    spec: Spec,
    environment: str,
    *,
    clock: Clock,
    to: Digest | None = None,
    by: str = "command line",
    why: str = "",
    id: str = "",
    known: Collection[str] = (),
) -> Rollout:
    """Give all traffic back to the release that held it before, or to the release *to*.

    With its replicas warm the route changes at once, controller or not: the returned rollout is done.
    Otherwise the controller is asked, and the returned rollout is pending. It is called *id*, if that is given. With
    ids of *known* rollouts nothing happens once another one has begun.

    Raises:
        SpecError: there is no release to go back to, or somebody else has just gone back.
        Refused: the newest rollout is none of the *known* ones.
    """
    with database.transaction():
        if known:
            _check_known(database, environment, known)
        if to is None:
            _check_alone(database, environment, clock())
        rollout = _roll_back(database, spec, environment, clock=clock, to=to, by=by, why=why, id=id)
    if rollout.phase is Phase.DONE:
        project_route(home, database, environment)
    return rollout


def _roll_back(
    database: Database, spec: Spec, environment: str, *, clock: Clock, to: Digest | None, by: str, why: str, id: str
) -> Rollout:
    route = fleet.route(database, environment)
    if route is None or route.stable is None:
        raise SpecError(f"nothing serves in '{environment}'", try_this="`guideway up`")
    current = route.stable.release
    target = to or before(database, environment, current)
    if target is None or target == current:
        raise SpecError(f"no release served before {short(current)} in '{environment}'", try_this="`guideway releases`")
    warm = _warm(database, environment, target, least=len(route.stable.endpoints))
    asked = new_rollout(spec, environment, target, previous=current, kind="rollback", clock=clock)
    rollout = begin(database, msgspec.structs.replace(asked, id=id or asked.id))
    if warm is None:
        return rollout
    changed = msgspec.structs.replace(
        without_candidate(route), stable=warm, epoch=fleet.take_epoch(database), revision=route.revision + 1
    )
    fleet.put_route(database, changed)
    done = msgspec.structs.replace(rollout, phase=Phase.DONE, updated=clock(), reason="its replicas were warm")
    fleet.put_rollout(database, done)
    reason = f"from {short(current)}" + (f": {why}" if why else "")
    ledger.append(database, at=clock(), who=by, what="rollback", subject=target, why=reason)
    return done


def _check_known(database: Database, environment: str, known: Collection[str]) -> None:
    for newest in fleet.rollouts(database, environment, limit=1):
        if newest.id not in known:
            raise Refused(
                f"somebody began a {newest.kind} to {short(newest.release)}, which comes first",
                where=environment,
                try_this="`guideway status`",
            )


def _check_alone(database: Database, environment: str, now: float) -> None:
    """Two people who go back at once mean one step, not two."""
    for last in fleet.rollouts(database, environment, limit=1):
        if last.kind == "rollback" and 0.0 <= now - last.created < JUST_NOW:
            raise SpecError(
                f"somebody went back to {short(last.release)} {now - last.created:.0f} s ago",
                where=environment,
                try_this="`guideway status`; `guideway rollback --to RELEASE` goes further",
            )


def down(database: Database, environment: str, *, clock: Clock) -> None:
    """Ask that everything in *environment* stops. The next ``up`` starts it again.

    Raises:
        SpecError: nothing was ever shipped there.
    """
    state = fleet.environment(database, environment)
    if state is None:
        raise SpecError(f"nothing was ever shipped to '{environment}'")
    with database.transaction():
        fleet.put_environment(database, msgspec.structs.replace(state, up=False))
        ledger.append(database, at=clock(), who="command line", what="down", subject=environment)


def make_key(
    home: Home,
    database: Database,
    environment: str,
    label: str,
    *,
    clock: Clock,
    tenant: str = "",
    role: Role = "user",
    models: tuple[str, ...] = (),
    limits: Limits | None = None,
    expires: float | None = None,
) -> str:
    """A new client key for *environment*. This is the only time that anyone sees it.

    Raises:
        SpecError: *tenant* is no name for one.
    """
    while True:
        key = new_key(secrets.token_bytes(32))
        digest = key_digest(pepper(home.keys), key)
        made = ApiKey(
            id=digest[:_ID],
            digest=digest,
            label=label,
            tenant=tenant,
            role=role,
            models=models,
            limits=limits,
            expires=expires,
        )
        if key_orders.make(home, database, environment, made, at=clock(), who="command line"):
            return key


def id_of(home: Home, key: str) -> str:
    """The id by which *key* is listed and revoked."""
    return key_digest(pepper(home.keys), key)[:_ID]


def revoke_key(home: Home, database: Database, environment: str, id: str, *, clock: Clock) -> None:
    """Make a key worthless; workers follow within a moment.

    Raises:
        SpecError: there is no such key.
    """
    if not key_orders.revoke(home, database, environment, id, at=clock(), who="command line"):
        raise SpecError(f"there is no key '{id}' in '{environment}'", try_this="`guideway keys list`")


def follow(
    database: Database, rollout: Rollout, *, pause: Callable[[Rollout], None], changed: Callable[[Rollout], None]
) -> Rollout:
    """Wait until *rollout* is final, telling every change; *pause* waits a moment, and hears how it was last.

    Raises:
        GuidewayError: it failed, or another one replaced it.
    """
    last = rollout
    while not last.phase.final:
        pause(last)
        now = fleet.rollout(database, rollout.id) or last
        if now != last:
            changed(now)
        last = now
    if last.phase is not Phase.DONE:
        raise GuidewayError(f"rollout {last.phase}: {last.reason}", where=last.environment, try_this="`guideway logs`")
    return last


def _warm(database: Database, environment: str, release: Digest, *, least: int) -> Arm | None:
    """The arm of *release* on its ready replicas, if at least *least* still run: as many as carry the load now."""
    ready = [
        one
        for one in fleet.replicas(database, environment)
        if one.release == release and one.state == "ready" and is_alive(one.process.pid, one.process.started)
    ]
    if not ready or len(ready) < least:
        return None
    endpoints = tuple(Endpoint("127.0.0.1", one.port) for one in ready)
    return Arm(release, endpoints, ready[0].terms, ready[0].probe)
