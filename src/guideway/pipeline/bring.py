"""Bring evidence in: read a report that another tool made, tie it to a digest, and have somebody sign it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from guideway import __version__
from guideway.core.artifact import Digest
from guideway.core.dossier import Dossier
from guideway.core.errors import Refused, SpecError, Unavailable, did_you_mean
from guideway.core.evidence import Evidence, Producer, Subject, SubjectKind
from guideway.core.release import Release
from guideway.core.spec import SpecFile
from guideway.pipeline.assess import gather
from guideway.pipeline.workshop import Workshop
from guideway.sealing.attest import attest
from guideway.signing.keys import Signer
from guideway.standard.clauses import About, Clause, Format
from guideway.standard.imports import LARGEST, Imported, detect, read
from guideway.standard.judge import DAY
from guideway.standard.overlay import clauses_for

KINDS: dict[About, SubjectKind] = {
    "data": "data",
    "trained": "artifact",
    "shipped": "artifact",
    "package": "artifact",
    "code": "code",
    "release": "release",
    "environment": "environment",
    "organisation": "organisation",
}


MAY_BE_NEGATIVE = frozenset({"faithfulness_gain", "perturbation_drop"})
"""Differences; every other figure that a clause asks for is a share, a count, a time or a yes."""


class Asked(msgspec.Struct, frozen=True):
    """Which report, what it should prove, what it is about, and in which format it is (found out when left out)."""

    report: Path
    clause: str | None = None
    about: About | None = None
    format: Format | None = None


def bring(shop: Workshop, file: SpecFile, release: Release, signer: Signer, asked: Asked) -> tuple[Evidence, ...]:
    """The evidence in a report about *release* or its environment, signed by *signer* and kept.

    Raises:
        SpecError: it cannot be read, proves nothing that a clause asks for, or does not say what it is about.
        Refused: it says itself that it is about another digest.
    """
    data = _bytes(asked.report)
    dossier = gather(shop, file, release)
    clauses = clauses_for(file, dossier.spec)
    clause = _clause(clauses, asked.clause)
    form = asked.format or detect(data, asked.report.name)
    found = read(data, form, clause, name=asked.report.name, clauses=clauses)
    facts = tuple(_evidence(shop, dossier, one, _about(clauses, clause, one, asked)) for one in found.facts)
    _check_subjects(asked.report, found.subjects, facts)
    original = shop.blobs.put_bytes(data)
    facts = tuple(msgspec.structs.replace(one, inputs=(original,)) for one in facts)
    travels = release if any(one.subject.kind not in ("environment", "organisation") for one in facts) else None
    why = f"{form} {asked.report.name}" + (f" for {clause.id}" if clause else "")
    attest(
        shop.blobs,
        shop.database,
        signer,
        facts,
        release=travels,
        what="evidence import",
        why=why,
        at=shop.clock(),
    )
    return facts


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise SpecError(f"this report is larger than {LARGEST >> 20} MB", where=str(path))
        return path.read_bytes()
    except OSError as error:
        raise Unavailable((error.strerror or "cannot be read").lower(), where=str(path)) from None


def _clause(clauses: tuple[Clause, ...], id: str | None) -> Clause | None:
    if id is None:
        return None
    known = {clause.id: clause for clause in clauses}
    if id not in known:
        raise SpecError(f"there is no clause called '{id}'", try_this=did_you_mean(id, known))
    return known[id]


def _about(clauses: tuple[Clause, ...], clause: Clause | None, one: Imported, asked: Asked) -> About:
    """What *one* is about: what was said, or what the clause that asks for its metric says."""
    if asked.about:
        return asked.about
    wanted = [
        check.about for own in ([clause] if clause else clauses) for check in own.checks if check.metric == one.metric
    ]
    if not wanted:
        raise SpecError(
            f"no clause asks for '{one.metric}'",
            where=asked.report.name,
            try_this=f"--about; {did_you_mean(one.metric, {check.metric for own in clauses for check in own.checks})}",
        )
    return wanted[0]


def _evidence(shop: Workshop, dossier: Dossier, one: Imported, about: About) -> Evidence:
    if one.at is not None and one.at > shop.clock() + DAY:  # it would stay the newest for good
        raise SpecError(f"{one.metric} is dated in the future", try_this="mend the time in the report")
    if one.value < 0 and one.metric not in MAY_BE_NEGATIVE:
        raise SpecError(f"{one.metric} cannot be {one.value:g}", try_this="shares and counts begin at 0")
    role = {"shipped": dossier.ships, "trained": "train"}.get(about, about)
    digest = dossier.subjects.get(role)
    if digest is None:
        raise SpecError(
            f"there is no '{about}' to be about",
            where=dossier.name,
            try_this="code needs a release built in a git repository",
        )
    return Evidence(
        metric=one.metric,
        value=one.value,
        unit=one.unit,
        subject=Subject(KINDS[about], digest, role),
        n=one.n,
        interval=one.interval,
        slice=one.slice,
        produced_by=Producer(f"import: {one.note}" if one.note else "import", __version__),
        automatic=False,
        at=one.at if one.at is not None else shop.clock(),
        valid_until=one.valid_until,
    )


def _check_subjects(report: Path, said: frozenset[Digest], facts: tuple[Evidence, ...]) -> None:
    """A statement that names its own subjects must name ours."""
    foreign = [one for one in facts if said and one.subject.digest not in said]
    if foreign:
        raise Refused(
            f"this is about another digest than {foreign[0].subject.kind} {foreign[0].subject.digest}",
            where=str(report),
            try_this="import it for the release that it is about (--release), or say --about",
        )
