"""Observe: what anybody can see of a release itself, at any time: whole, signed, explained, documented."""

from __future__ import annotations

from collections.abc import Mapping

from guideway import __version__
from guideway.core.artifact import digest_of
from guideway.core.dossier import Dossier, Proof
from guideway.core.errors import Corrupt
from guideway.core.evidence import OBSERVER, Evidence, Producer, Subject
from guideway.core.spec.rollout import Strategy
from guideway.sealing.difference import difference, side
from guideway.sealing.verify import check_signature
from guideway.signing.keys import Verifier
from guideway.standard.reports import bom_completeness, card_completeness
from guideway.store.blobs import Blobs

BY_PEOPLE = ("approvals_by_others", "use_fields_missing")
"""What is seen here, but was said by people: it counts half in the ML Test Score."""
USE_FIELDS = ("intended_use", "limits", "oversight", "contact")


def observe(
    blobs: Blobs,
    signer: str,
    dossier: Dossier,
    *,
    unexplained: int,
    strategy: Strategy,
    trusted: Mapping[str, Verifier],
) -> tuple[Proof, ...]:
    """Facts about the release of *dossier*, seen now; dated as the release is, so that the same facts are the same.

    *unexplained* is how many inputs of its package have no trusted provenance; *strategy* is how it is to take over.
    """
    release = dossier.release
    assert release is not None
    card, bom = card_completeness(dossier), bom_completeness(dossier)
    figures: dict[str, tuple[float, str]] = {
        "missing_files": (sum(not blobs.has(file.digest, file.size) for file in release.files), "files"),
        "trusted_signatures": (_signed(blobs, dossier, trusted), "signatures"),
        "steps_without_provenance": (unexplained, "steps"),
        "approvals_by_others": (_approvals(dossier, trusted), "approvals"),
        "use_fields_missing": (_empty_fields(dossier), "fields"),
        "card_completeness": (card.share, "share"),
        "bom_completeness": (bom.share, "share"),
        **_changes(blobs, dossier, trusted),
    }
    seen = tuple(_proof(dossier, signer, metric, value, unit) for metric, (value, unit) in figures.items())
    return (*seen, *_planned(dossier, signer, strategy))


def _planned(dossier: Dossier, signer: str, strategy: Strategy) -> tuple[Proof, ...]:
    """That traffic will move behind a statistical gate. How it moves otherwise, somebody else may say."""
    if strategy != "canary":
        return ()
    about = Subject("environment", dossier.subjects["environment"])
    return (_proof(dossier, signer, "gated_rollout", 1, "rollouts", about=about),)


def _changes(blobs: Blobs, dossier: Dossier, trusted: Mapping[str, Verifier]) -> dict[str, tuple[float, str]]:
    """What a client would notice against the release before. The first release changes nothing.

    The difference is drawn from both manifests, so it can be stated as long as both are here.
    """
    release, previous = dossier.release, dossier.previous
    assert release is not None
    if previous is None:
        return {"difference_stated": (1, "statements"), "interface_changes": (0, "changes")}
    try:
        found = difference(side(blobs, previous, trusted), side(blobs, release, trusted))
    except Corrupt:  # the one before is gone or damaged: what changed cannot be said
        return {"difference_stated": (0, "statements")}
    return {"difference_stated": (1, "statements"), "interface_changes": (found.interface_changes, "changes")}


def _signed(blobs: Blobs, dossier: Dossier, trusted: Mapping[str, Verifier]) -> int:
    assert dossier.release is not None
    try:
        check_signature(blobs, dossier.release.digest, trusted)
    except Corrupt:
        return 0
    return max(1, len(dossier.authors))


def _approvals(dossier: Dossier, trusted: Mapping[str, Verifier]) -> int:
    """Keys that approved it for this environment, of people who did not seal it: another key of theirs is no other."""
    names = {trusted[id].name for id in dossier.authors if id in trusted}
    here = {one.key for one in dossier.approvals if one.environment == dossier.environment and one.by not in names}
    return len(here - set(dossier.authors))


def _empty_fields(dossier: Dossier) -> int:
    policy = dossier.spec.get("policy", {})
    return sum(not str(policy.get(name, "")).strip() for name in USE_FIELDS)


def _proof(
    dossier: Dossier, signer: str, metric: str, value: float, unit: str, *, about: Subject | None = None
) -> Proof:
    release = dossier.release
    assert release is not None
    evidence = Evidence(
        metric=metric,
        value=float(value),
        unit=unit,
        subject=about or Subject("release", release.digest),
        produced_by=Producer(OBSERVER, __version__),
        automatic=metric not in BY_PEOPLE,
        at=release.created,
    )
    return Proof(evidence, digest_of(evidence), "", signer)
