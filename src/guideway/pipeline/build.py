"""Build: check, plan, run, judge, seal: a spec becomes a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from guideway.core.artifact import Digest, File
from guideway.core.evidence import Evidence
from guideway.core.gate import Judgement
from guideway.core.release import Release
from guideway.core.spec import Spec, SpecFile
from guideway.engines import engine
from guideway.kit.machine import machine
from guideway.pipeline.assess import SEALING, assess
from guideway.pipeline.check import check
from guideway.pipeline.circumstances import circumstances
from guideway.pipeline.laid import laid
from guideway.pipeline.preflight import preflight, require
from guideway.pipeline.process import Emit
from guideway.pipeline.replay import replay
from guideway.pipeline.run import log_of, run
from guideway.pipeline.stages import stages_for
from guideway.pipeline.tell import tell
from guideway.pipeline.workshop import Workshop, for_environment
from guideway.sealing.attest import attest
from guideway.sealing.pack import pack
from guideway.sealing.seal import seal
from guideway.store import evidence, releases
from guideway.store.steps import StepResult


class Built(msgspec.Struct, frozen=True):
    """What a build left: the release, what each stage left, and every judgement."""

    release: Release
    results: dict[str, StepResult]
    judgements: tuple[Judgement, ...]


def build(file: SpecFile, shop: Workshop, emit: Emit, *, again: bool = False) -> Built:
    """Run what must run, train *again* to compare if that is asked for, judge it all, and seal the release.

    Raises:
        GuidewayError: a stage failed.
        Unavailable: this machine can never do it.
        Refused: a clause that blocks in this environment is not proven.
    """
    check(file)
    with laid(file, shop.home) as seen:
        flight = preflight(seen.spec, file.root, machine(shop.home.path), None)
    if flight:
        require(flight)
    with shop.blobs.writing():
        return _build(file, shop, emit, again=again)


def _build(file: SpecFile, shop: Workshop, emit: Emit, *, again: bool) -> Built:
    spec = file.spec
    results = run(spec, file.root, stages_for(spec), for_environment(shop, file.environment), emit)
    files = results["package"].artifact.files
    envelopes = [*(result.envelope for result in results.values()), _circumstances(file, shop, results)]
    envelopes += [replay(file, results, shop, emit)] if again else []
    draft = _draft(spec, shop, files)
    assessed = assess(shop, file, draft, at=shop.clock(), when=SEALING, envelopes=envelopes)
    tell(assessed.judgements, emit)
    release = seal(
        shop.blobs,
        shop.database,
        shop.signer,
        name=spec.name,
        files=files,
        judgements=assessed.judgements,
        proofs=[*envelopes, *assessed.waivers],
        facts=_facts(shop, spec, files),
        policy=assessed.policy,
        at=shop.clock(),
    )
    return Built(release, results, assessed.judgements)


def _draft(spec: Spec, shop: Workshop, files: Sequence[File]) -> Release:
    """The release as it will be, so that it can be judged before it is sealed; or as it is already."""
    digest = pack(shop.blobs, spec.name, files, facts=_facts(shop, spec, files))["digest"]
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
    return attest(shop.blobs, shop.database, shop.signer, found, what="circumstances", at=shop.clock())


def _alike(old: Evidence, new: Evidence) -> bool:
    return msgspec.structs.replace(old, at=new.at) == new


def _facts(shop: Workshop, spec: Spec, files: Sequence[File]) -> dict[str, str]:
    """The ModelPack config: what the model is, for registries and people. The precision is the one that was chosen."""
    inside = next(file for file in files if file.path == "spec.json")
    precision = msgspec.json.decode(shop.blobs.read(inside.digest))["compress"]["precision"]
    facts = {"format": engine(spec.serve.engine).format, "precision": precision}
    return facts | ({"licence": spec.policy.licence} if spec.policy.licence else {})
