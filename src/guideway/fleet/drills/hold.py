"""Hold a drill: say what it will do, do it, and leave signed evidence of what was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from guideway.core.artifact import Digest
from guideway.core.dossier import environment_subject
from guideway.core.evidence import Evidence, Subject
from guideway.core.rollout import EnvironmentState
from guideway.core.route import Route
from guideway.core.spec import SpecFile
from guideway.fleet.drills import cache, controller, overload, replica, rollback
from guideway.fleet.drills.result import Drilled, facts_of
from guideway.fleet.drills.site import Asked, Emit, Site, on_site, survey
from guideway.pipeline.workshop import Workshop
from guideway.sealing.attest import attest
from guideway.standard.overlay import clauses_for
from guideway.store import ledger


class Drill(NamedTuple):
    """What it will do, in words; how it is held; and why it does not apply to an environment (empty: it does)."""

    says: tuple[str, ...]
    run: Callable[[Site], Drilled]
    why_not: Callable[[EnvironmentState, Route], str] = lambda _state, _route: ""


DRILLS: dict[str, Drill] = {
    "rollback": Drill(rollback.SAYS, rollback.run),
    "replica": Drill(replica.SAYS, replica.run),
    "controller": Drill(controller.SAYS, controller.run),
    "overload": Drill(overload.SAYS, overload.run),
    "cache": Drill(cache.SAYS, cache.run, cache.why_not),
}


class Held(NamedTuple):
    """What a drill found, the facts that were kept of it, and the envelope that they are signed in."""

    drilled: Drilled
    facts: tuple[Evidence, ...]
    envelope: Digest


def applies(shop: Workshop, file: SpecFile, name: str) -> str:
    """Why the drill *name* does not apply to the environment of *file*; empty when it does.

    Raises:
        SpecError: nothing serves there, or a rollout is under way.
    """
    return DRILLS[name].why_not(*survey(shop.database, file.environment))


def hold(shop: Workshop, file: SpecFile, name: str, asked: Asked, emit: Emit, **hands: Any) -> Held:
    """Hold the drill *name* in the environment of *file*; evidence is left whether it passed or not.

    One that is broken off leaves none: only its lines in the ledger.
    """
    clauses = clauses_for(file, {})
    _note(shop, file.environment, "drill begun", name)
    try:
        with on_site(
            shop.home,
            shop.database,
            file.spec,
            file.environment,
            drill=name,
            asked=asked,
            clauses=clauses,
            emit=emit,
            wall=shop.clock,
            **hands,
        ) as site:
            drilled = DRILLS[name].run(site)
    except BaseException as error:
        _note(shop, file.environment, "drill broken off", f"{name}: {str(error) or type(error).__name__}")
        raise
    subject = Subject("environment", environment_subject(file.spec.name, file.environment), "environment")
    facts = facts_of(drilled, subject, clauses)
    envelope = attest(
        shop.blobs,
        shop.database,
        shop.signer,
        facts,
        what=f"drill {name}",
        why=f"{file.environment}: {'PASS' if drilled.passed else 'FAIL: ' + drilled.failures}",
        at=shop.clock(),
    )
    return Held(drilled, facts, envelope)


def _note(shop: Workshop, environment: str, what: str, why: str) -> None:
    ledger.append(shop.database, at=shop.clock(), who=shop.signer.name, what=what, subject=environment, why=why)
