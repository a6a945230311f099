"""Build: check, plan, run, judge, seal: a spec becomes a release."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.events import Note
from guideway.core.gate import Judgement
from guideway.core.release import Release
from guideway.core.spec import Spec, SpecFile
from guideway.engines import engine
from guideway.pipeline.plan import PlannedStep, plan
from guideway.pipeline.run import Emit, run
from guideway.pipeline.stages import STAGES
from guideway.pipeline.stages.package import shipped
from guideway.pipeline.workshop import Workshop
from guideway.sealing import seal
from guideway.standard import clauses_for, judge_all
from guideway.store.steps import StepResult
from guideway.targets import TARGETS


class Built(msgspec.Struct, frozen=True):
    """What a build left: the release, what each stage left, and every judgement."""

    release: Release
    results: dict[str, StepResult]
    judgements: tuple[Judgement, ...]


def check(file: SpecFile) -> None:
    """Check what loading alone cannot: names of engines and targets, and that every file exists.

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
    for keys, stage in ((("data", "sources"), "data"), (("train", "base"), "train"), (("serve", "prompt"), "package")):
        _located(file, keys, lambda stage=stage: STAGES[stage].sources(spec, file.root))  # type: ignore[misc]


def planned(file: SpecFile, shop: Workshop) -> list[PlannedStep]:
    """The plan of *file* against what is kept."""
    return plan(file.spec, file.root, list(STAGES.values()), shop.known)


def build(file: SpecFile, shop: Workshop, emit: Emit) -> Built:
    """Run what must run, judge it, and seal the release.

    Raises:
        GuidewayError: a stage failed.
        Refused: a blocking clause is not proven.
    """
    check(file)
    with shop.blobs.writing():
        return _build(file, shop, emit)


def _build(file: SpecFile, shop: Workshop, emit: Emit) -> Built:
    spec = file.spec
    results = run(spec, file.root, STAGES, shop, emit)
    judgements = judged(spec, results)
    for one in judgements:
        emit(_told(one))
    release = seal(
        shop.blobs,
        shop.database,
        shop.signer,
        name=spec.name,
        files=results["package"].artifact.files,
        judgements=judgements,
        proofs=[result.envelope for result in results.values()],
        facts=_facts(spec),
        at=shop.clock(),
    )
    return Built(release, results, judgements)


def _told(one: Judgement) -> Note:
    """One line per clause: verdict, what it asks, the figure and the limit."""
    bite = "" if one.blocking else " (informs)"
    text = f"{one.clause:<7} {one.verdict} {one.asks}: {one.figure}, limit {one.limit}{bite}"
    return Note(text, {"clause": one.clause, "verdict": one.verdict, "evidence": one.evidence})


def judged(spec: Spec, results: dict[str, StepResult]) -> tuple[Judgement, ...]:
    """Every clause that holds for *spec*, judged on the evidence of exactly these results."""
    evidence = [one for result in results.values() for one in result.evidence]
    return judge_all(clauses_for(spec), evidence, shipped=shipped(spec))


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
