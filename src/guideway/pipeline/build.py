"""Build: check, plan, run, judge, seal: a spec becomes a release."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from guideway.core.artifact import Digest, File
from guideway.core.errors import SpecError, did_you_mean
from guideway.core.events import Note
from guideway.core.evidence import Evidence
from guideway.core.gate import Judgement, Verdict
from guideway.core.release import Release
from guideway.core.spec import Spec, SpecFile, build_part
from guideway.engines import engine
from guideway.pipeline.assess import assess
from guideway.pipeline.circumstances import circumstances
from guideway.pipeline.plan import PlannedStep, plan
from guideway.pipeline.run import Emit, log_of, run
from guideway.pipeline.stages import STAGES
from guideway.pipeline.workshop import Workshop
from guideway.sealing import seal
from guideway.sealing.pack import pack
from guideway.sealing.testify import testify
from guideway.standard.overlay import check_compression, clauses_for
from guideway.store import evidence, releases
from guideway.store.steps import StepResult
from guideway.targets import TARGETS


class Built(msgspec.Struct, frozen=True):
    """What a build left: the release, what each stage left, and every judgement."""

    release: Release
    results: dict[str, StepResult]
    judgements: tuple[Judgement, ...]


def check(file: SpecFile) -> None:
    """Check what loading alone cannot: names of engines, targets and clauses, and that every file exists.

    Raises:
        SpecError: names the line.
    """
    spec = file.spec
    _located(file, ("serve", "engine"), lambda: engine(spec.serve.engine))
    if spec.target not in TARGETS:
        raise SpecError(
            f"there is no target called '{spec.target}'",
            where=file.where("target"),
            try_this=did_you_mean(spec.target, TARGETS),
        )
    check_compression(file)
    clauses_for(file, build_part(spec))
    for keys, stage in ((("data", "sources"), "data"), (("train", "base"), "train"), (("serve", "prompt"), "package")):
        _located(file, keys, lambda stage=stage: STAGES[stage].sources(spec, file.root))  # type: ignore[misc]


def planned(file: SpecFile, shop: Workshop) -> list[PlannedStep]:
    """The plan of *file* against what is kept."""
    return plan(file.spec, file.root, list(STAGES.values()), shop.known)


def build(file: SpecFile, shop: Workshop, emit: Emit) -> Built:
    """Run what must run, judge it, and seal the release.

    Raises:
        GuidewayError: a stage failed.
        Refused: a clause that blocks in this environment is not proven.
    """
    check(file)
    spec = file.spec
    results = run(spec, file.root, STAGES, shop, emit)
    files = results["package"].artifact.files
    envelopes = [*(result.envelope for result in results.values()), _circumstances(file, shop, results)]
    draft = _draft(spec, shop, files)
    assessed = assess(shop, file, draft, at=shop.clock(), when=("seal",), envelopes=envelopes)
    tell(assessed.judgements, emit)
    release = seal(
        shop.blobs,
        shop.database,
        shop.signer,
        name=spec.name,
        files=files,
        judgements=assessed.judgements,
        proofs=[*envelopes, *assessed.waivers],
        facts=_facts(spec),
        policy=assessed.policy,
        at=shop.clock(),
    )
    return Built(release, results, assessed.judgements)


def tell(judgements: Sequence[Judgement], emit: Emit) -> None:
    """One line per clause that was proven, failed or blocks; the others are only counted."""
    quiet = [one for one in judgements if one.verdict is Verdict.UNKNOWN and not one.stops and not one.waived]
    for one in judgements:
        if one not in quiet:
            emit(_told(one))
    if quiet:
        clauses = [one.clause for one in quiet]
        emit(
            Note(
                f"{len(quiet)} clauses have no proof yet and do not block here; `guideway assess` lists them",
                {"unproven": clauses},
            )
        )


def _told(one: Judgement) -> Note:
    """One line per clause: verdict, what it asks, the figure and the limit."""
    bite = f" (waived {one.waived})" if one.waived else "" if one.blocking else f" ({one.bite}s)"
    text = f"{one.clause:<7} {one.verdict} {one.asks}: {one.figure}, limit {one.limit}{bite}"
    return Note(text, {"clause": one.clause, "verdict": one.verdict, "evidence": one.evidence})


def _draft(spec: Spec, shop: Workshop, files: Sequence[File]) -> Release:
    """The release as it will be, so that it can be judged before it is sealed; or as it is already."""
    digest = pack(shop.blobs, spec.name, files, facts=_facts(spec))["digest"]
    known = releases.by_digest(shop.database, digest)
    return known or Release(digest=digest, name=spec.name, number=0, created=shop.clock(), files=tuple(files))


def _circumstances(file: SpecFile, shop: Workshop, results: Mapping[str, StepResult]) -> Digest:
    """The envelope that says how this was built; the one that is kept already when nothing differs."""
    package = results["package"].artifact.digest
    logs = [log_of(shop.home, result.stage, result.key) for result in results.values()]
    found = circumstances(file.root, package, logs, at=shop.clock())
    kept = evidence.about(shop.database, [package])
    newest = {one.evidence.metric: one for one in kept}
    same = [newest[one.metric] for one in found if one.metric in newest and _alike(newest[one.metric].evidence, one)]
    if len(same) == len(found) and len({one.envelope for one in same}) == 1:
        return same[0].envelope
    return testify(shop.blobs, shop.database, shop.signer, found, what="circumstances", at=shop.clock())


def _alike(old: Evidence, new: Evidence) -> bool:
    return msgspec.structs.replace(old, at=new.at) == new


def _facts(spec: Spec) -> dict[str, str]:
    """The ModelPack config: what the model is, for registries and people."""
    facts = {"format": engine(spec.serve.engine).format, "precision": spec.compress.precision}
    return facts | ({"licence": spec.policy.licence} if spec.policy.licence else {})


def _located(file: SpecFile, keys: tuple[str | int, ...], work: Callable[[], object]) -> None:
    """Do *work*; an error about the spec gets the line of *keys*."""
    try:
        work()
    except SpecError as error:
        raise SpecError(error.what, where=file.where(*keys), try_this=error.try_this) from None
