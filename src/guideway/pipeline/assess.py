"""Assess: gather the dossier of a release, judge it for one environment, and say what the Standard asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from guideway.core.artifact import Digest
from guideway.core.dossier import Dossier, Proof, environment_subject, organisation_subject
from guideway.core.gate import Judgement, Level, When
from guideway.core.release import Release
from guideway.core.spec import SpecFile
from guideway.pipeline.observe import observe
from guideway.pipeline.workshop import Workshop
from guideway.sealing import dossier as papers
from guideway.sealing.documents import documents
from guideway.sealing.dossier import Said, heard
from guideway.sealing.pack import attachments, files_of, read_manifest
from guideway.sealing.shape import name_of
from guideway.signing import dsse, statements
from guideway.standard import Clause, judge_all
from guideway.standard.overlay import clauses_for, level_of, policy_digest, strategy_of
from guideway.store import evidence, fleet, releases, waivers

SEALING: tuple[When, ...] = ("seal",)
ADMITTING: tuple[When, ...] = ("seal", "admit")
ALL: tuple[When, ...] = ("seal", "admit", "serve")
ANYWHERE = ("data", "package", "release", "code", "environment", "organisation")
"""Whose proofs count wherever they are kept. A proof about a model counts only for the release that it is attached
to: the same model with another prompt, or evaluated in another way, is another thing to judge."""


class Assessed(msgspec.Struct, frozen=True):
    """A dossier, every clause that holds, the judgement of each, the column they were judged by, and what was asked."""

    dossier: Dossier
    clauses: tuple[Clause, ...]
    judgements: tuple[Judgement, ...]
    level: Level
    policy: Digest
    waivers: tuple[Digest, ...]
    """Envelopes of the waivers that let a judgement pass: they are attached to the release."""

    @property
    def stops(self) -> bool:
        """Does any judgement stop the step?"""
        return any(one.stops for one in self.judgements)


def assess(
    shop: Workshop,
    file: SpecFile,
    release: Release,
    *,
    at: float,
    when: Collection[When] = ALL,
    envelopes: Iterable[Digest] = (),
) -> Assessed:
    """Judge *release* in the environment of *file*, by the clauses of the steps *when*.

    *envelopes* are statements that are not attached yet: those of a release about to be sealed.

    Raises:
        SpecError: the spec loosens a clause, or names one that is not there.
        Corrupt: a file of the release that is needed is damaged.
    """
    dossier = gather(shop, file, release, envelopes=envelopes)
    clauses = clauses_for(file, dossier.spec)
    level = level_of(file)
    places = file.spec.standard.jurisdictions
    judgements = judge_all(clauses, dossier, level=level, when=when, at=at, jurisdictions=places)
    waived = {one.clause for one in judgements if one.waived}
    used = tuple(one.envelope for one in dossier.waivers if waived.intersection(one.clauses))
    return Assessed(dossier, clauses, judgements, level, policy_digest(clauses, level, places), used)


def gather(shop: Workshop, file: SpecFile, release: Release, *, envelopes: Iterable[Digest] = ()) -> Dossier:
    """Everything that trusted keys say about *release* and about the environment of *file*."""
    release = _as_sealed(shop, release)
    said = _attached(shop, release.digest, envelopes)
    package = papers.package_of(release.files)
    found, unexplained = papers.chain(said, package)
    subjects = _subjects(file, release, found)
    proofs = papers.proofs(said)
    subjects |= _code(proofs, package)
    proofs += _shared(shop, {subjects[role] for role in ANYWHERE if role in subjects})
    steps = papers.steps_of(said, found)
    read = documents(shop.blobs, release.files)
    serving = _serving(shop, file.environment, release)
    dossier = Dossier(
        name=release.name,
        environment=file.environment,
        spec=read.get("spec.json") or {},
        subjects=subjects,
        ships=papers.ships(found, steps),
        proofs=_once(proofs),
        release=release,
        previous=_previous(shop, release),
        serving=model_proofs(shop, serving.digest) if serving else None,
        served=papers.package_of(serving.files) if serving else None,
        steps=steps,
        authors=papers.authors(said, release.digest),
        approvals=papers.approvals(said, release.digest),
        waivers=_waivers(shop, release.name, said),
        documents=read,
    )
    observed = observe(
        shop.blobs,
        shop.signer.name,
        dossier,
        unexplained=unexplained,
        strategy=strategy_of(file),
        trusted=shop.trusted,
    )
    return msgspec.structs.replace(dossier, proofs=(*_unseen(dossier.proofs, observed), *observed))


def model_proofs(shop: Workshop, release: Digest) -> tuple[Proof, ...]:
    """The proofs about the model that ships in *release*."""
    said = _attached(shop, release, ())
    subjects, _ = papers.chain(said, papers.package_of(files_of(read_manifest(shop.blobs, release))))
    ships = papers.ships(subjects, papers.steps_of(said, subjects))
    return tuple(one for one in papers.proofs(said) if one.evidence.subject.digest == subjects[ships])


def _as_sealed(shop: Workshop, release: Release) -> Release:
    """*release* with the name and the files that its digest covers: a row could say others."""
    manifest = read_manifest(shop.blobs, release.digest)
    name = name_of(shop.blobs.read(manifest["config"]["digest"]), release.digest)
    return msgspec.structs.replace(release, name=name, files=files_of(manifest))


def _attached(shop: Workshop, release: Digest, envelopes: Iterable[Digest]) -> tuple[Said, ...]:
    texts = [*attachments(shop.blobs, release, dsse.MEDIA_TYPE), *(shop.blobs.read(one) for one in envelopes)]
    return heard(dict.fromkeys(texts), shop.trusted)


def _subjects(file: SpecFile, release: Release, found: Mapping[str, Digest]) -> dict[str, Digest]:
    return {
        **found,
        "release": release.digest,
        "environment": environment_subject(release.name, file.environment),
        "organisation": organisation_subject(file.spec.standard.organisation),
    }


def _code(proofs: Sequence[Proof], package: Digest) -> dict[str, Digest]:
    """The commit that the build of *package* says it came from, by the newest such statement."""
    about = [
        one.evidence
        for one in proofs
        if one.evidence.subject.digest == package and one.evidence.source and one.evidence.source.kind == "code"
    ]
    newest = max(about, key=lambda one: one.at, default=None)
    return {"code": newest.source.digest} if newest and newest.source else {}


def _shared(shop: Workshop, subjects: Collection[Digest]) -> tuple[Proof, ...]:
    """What was brought about *subjects*, whatever it is attached to; the rows say where, the signatures say whether.

    An envelope may hold facts about a model too: those count only for the release that it is attached to.
    """
    rows = evidence.about(shop.database, subjects)
    said = heard((shop.blobs.read(one) for one in dict.fromkeys(row.envelope for row in rows)), shop.trusted)
    brought = papers.proofs([one for one in said if one.kind == statements.EVIDENCE])
    return tuple(one for one in brought if one.evidence.subject.digest in subjects)


def _waivers(shop: Workshop, name: str, said: Sequence[Said]) -> tuple[Any, ...]:
    rows = waivers.all_of(shop.database, name)
    kept = heard((shop.blobs.read(row.envelope) for row in rows), shop.trusted)
    found = {one.envelope: one for one in papers.waivers((*kept, *said))}
    return tuple(found.values())


def _previous(shop: Workshop, release: Release) -> Release | None:
    """The newest release of the same name that was sealed before this one."""
    others = [one for one in releases.all_of(shop.database, release.name) if one.digest != release.digest]
    known = releases.by_digest(shop.database, release.digest)
    earlier = [one for one in others if known is None or one.number < known.number]
    return max(earlier, key=lambda one: one.number, default=None)


def _serving(shop: Workshop, environment: str, release: Release) -> Release | None:
    """The other release that serves in *environment*."""
    route = fleet.route(shop.database, environment)
    if route is None or route.stable is None or route.stable.release == release.digest:
        return None
    digest = route.stable.release
    return Release(digest=digest, name="", number=0, created=0.0, files=files_of(read_manifest(shop.blobs, digest)))


def _unseen(proofs: Iterable[Proof], observed: Iterable[Proof]) -> tuple[Proof, ...]:
    """*proofs* without what is seen now: what was seen then, perhaps for another environment, is no proof any more."""
    seen = {(one.evidence.metric, one.evidence.subject.digest) for one in observed}
    return tuple(one for one in proofs if (one.evidence.metric, one.evidence.subject.digest) not in seen)


def _once(proofs: Iterable[Proof]) -> tuple[Proof, ...]:
    """The same evidence once; the last one stays."""
    return tuple({one.digest: one for one in proofs}.values())
