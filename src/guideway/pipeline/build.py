"""Build: check, plan, run, judge, seal: a spec becomes a release."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import SpecError, did_you_mean
from guideway.core.gate import Judgement
from guideway.core.protocols import Clock, Stage
from guideway.core.release import Release
from guideway.core.spec import Spec, SpecFile
from guideway.engines import engine
from guideway.pipeline.plan import Known, PlannedStep, plan
from guideway.pipeline.run import Emit, Workshop, run
from guideway.pipeline.stages import STAGES
from guideway.pipeline.stages.package import shipped
from guideway.sealing import seal
from guideway.signing.keys import signer
from guideway.standard import clauses_for, judge_all
from guideway.store import steps
from guideway.store.blobs import Blobs
from guideway.store.database import Database
from guideway.store.home import Home
from guideway.store.steps import StepResult
from guideway.targets import TARGETS


class Built(msgspec.Struct, frozen=True):
    """What a build left: the release, what each stage left, and every judgement."""

    release: Release
    results: dict[str, StepResult]
    judgements: tuple[Judgement, ...]


def open_workshop(home: Home, clock: Clock = time.time) -> Workshop:
    """Open state, blobs and keys below *home*."""
    database = Database(home.database)
    blobs = Blobs(home.oci)
    return Workshop(home, database, blobs, signer(home.keys), known(database, blobs), clock)


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
    spec = file.spec
    results = run(spec, file.root, STAGES, shop, emit)
    judgements = judged(spec, results)
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


def judged(spec: Spec, results: dict[str, StepResult]) -> tuple[Judgement, ...]:
    """Every clause that holds for *spec*, judged on the evidence of exactly these results."""
    evidence = [one for result in results.values() for one in result.evidence]
    return judge_all(clauses_for(spec), evidence, shipped=shipped(spec))


def known(database: Database, blobs: Blobs) -> Known:
    """What a plan may ask, answered from the store and from this interpreter."""

    def kept(key: str) -> StepResult | None:
        result = steps.step(database, key)
        whole = result and all(blobs.has(file.digest) for file in result.artifact.files) and blobs.has(result.envelope)
        return result if whole else None

    return Known(
        kept=kept,
        latest=lambda stage: steps.latest(database, stage),
        file_digest=lambda path: steps.file_digest(database, path),
        code_digest=code_digest,
        version=_version,
    )


@cache
def _version(distribution: str) -> str:
    if distribution == "python":
        return ".".join(map(str, sys.version_info[:3]))
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def code_digest(stage: Stage) -> Digest:
    """The digest of the code of a stage: its module or folder, and the modules named in its ``code``."""
    names = (getattr(stage, "__name__", type(stage).__module__), *getattr(stage, "code", ()))
    hasher = hashlib.sha256()
    for name in names:
        for path in _source_files(name):
            hasher.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return "sha256:" + hasher.hexdigest()


@cache
def _source_files(module: str) -> tuple[Path, ...]:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return ()
    origin = Path(found.origin)
    return tuple(sorted(origin.parent.rglob("*.py"))) if origin.name == "__init__.py" else (origin,)


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
