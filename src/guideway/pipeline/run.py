"""Run a plan: each stage in a process of its own, its result kept before the next one starts."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from guideway import __version__
from guideway.core.artifact import Artifact, Digest, File, digest_of, short
from guideway.core.events import Progress, StepFinished, StepStarted
from guideway.core.evidence import Evidence, Producer, Subject
from guideway.core.protocols import Stage
from guideway.core.spec import Spec
from guideway.kit.files import locked, own_folder
from guideway.pipeline.environment import interpreter_for
from guideway.pipeline.lent import borrows
from guideway.pipeline.plan import difference, environment_of, key_parts, module_of, needs_of
from guideway.pipeline.process import Emit, run_process
from guideway.pipeline.recall import recalled
from guideway.pipeline.resume import lock_of, resume_of, sweep
from guideway.pipeline.worker import JobFile, Measured, Message, Told
from guideway.pipeline.workshop import Workshop
from guideway.signing import dsse, statements
from guideway.store import evidence, ledger, steps
from guideway.store.blobs import Blobs
from guideway.store.evidence import Kept
from guideway.store.home import Home
from guideway.store.steps import StepResult


def run(spec: Spec, root: Path, stages: Mapping[str, Stage], shop: Workshop, emit: Emit) -> dict[str, StepResult]:
    """The result of every stage, cached or fresh.

    Raises:
        GuidewayError: the first stage that fails; the results before it are kept.
    """
    results: dict[str, StepResult] = {}
    for stage in stages.values():
        inputs = {need: results[need].artifact for need in needs_of(stage, results)}
        inputs |= {name: shop.known.borrowed(said) for name, said in borrows(stage, spec).items()}
        digests = {name: artifact.digest for name, artifact in inputs.items()}
        parts = key_parts(stage, spec, root, digests, shop.known)
        step = _step(stage, spec, parts, inputs)
        with _alone(step, shop.home, emit):
            kept = shop.known.kept(step.key)
            if kept:
                emit(StepFinished(stage.name, kept.seconds, True, kept.artifact.digest, kept.facts))
            else:
                steps.forget(shop.database, step.key)
                with recalled(shop, step.recalls) as facts:
                    kept = _work(step, root, facts, shop, emit)
        results[stage.name] = kept
    return results


@contextlib.contextmanager
def _alone(step: _Step, home: Home, emit: Emit) -> Iterator[None]:
    """Nobody else runs *step* meanwhile: a second build waits here, says so, and then finds the result."""
    lock = lock_of(home, step.key)
    with locked(lock, wait=False) as alone:
        if alone:
            yield
            return
    emit(Progress(step.stage, 0, 1, "another build is at it: waiting"))
    with locked(lock):
        yield


class Repeated(msgspec.Struct, frozen=True):
    """What a stage left when it was run once more: the digest of its folder, and its facts. Nothing is kept."""

    digest: Digest
    measured: tuple[Measured, ...]


def repeat(
    stage: Stage, spec: Spec, root: Path, results: Mapping[str, StepResult], *, name: str, shop: Workshop, emit: Emit
) -> Repeated:
    """Run *stage* again from the beginning, on the inputs that *results* hold, under the *name* that people see.

    Raises:
        GuidewayError: it fails.
    """
    inputs = {need: results[need].artifact for need in needs_of(stage, results)}
    inputs |= {name: shop.known.borrowed(said) for name, said in borrows(stage, spec).items()}
    step = _step(stage, spec, results[stage.name].parts, inputs)
    with own_folder(shop.home.run / "work") as folder:
        job = msgspec.structs.replace(_job(step, root, folder, folder / "resume", shop.blobs), stage=name)
        messages = run_process(
            job, folder, _interpreter(step, shop.home, emit), log_of(shop.home, name, step.key), emit
        )
        digest = _digest_of(Path(job.out))
    return Repeated(digest, tuple(one for one in messages if isinstance(one, Measured)))


def log_of(home: Home, stage: str, key: Digest) -> Path:
    """The log of one step."""
    return home.logs / "build" / f"{stage}-{short(key)}.log"


class _Step(msgspec.Struct, frozen=True):
    """One step about to run."""

    stage: str
    module: str
    key: str
    parts: dict[str, str]
    inputs: dict[str, Artifact]
    params: dict[str, Any]
    recalls: tuple[str, ...] = ()
    """Metrics whose earlier facts the work depends on."""
    environment: Path | None = None
    """The requirements file of the environment that it runs in; None: ours."""
    runner: dict[str, Any] = {}
    """Where the work is done; no part of the key."""


def _step(stage: Stage, spec: Spec, parts: dict[str, str], inputs: dict[str, Artifact]) -> _Step:
    params = dict(stage.params(spec))
    recalls = getattr(stage, "recalls", lambda params: ())(params)
    return _Step(
        stage=stage.name,
        module=module_of(stage),
        key=digest_of(parts),
        parts=parts,
        inputs=inputs,
        params=params,
        recalls=recalls,
        environment=environment_of(stage, spec),
        runner=dict(getattr(stage, "runs_on", lambda spec: {})(spec)),
    )


def _work(step: _Step, root: Path, facts: tuple[Evidence, ...], shop: Workshop, emit: Emit) -> StepResult:
    """Run one stage and keep what it leaves; *facts* are what it recalls."""
    before = steps.latest(shop.database, step.stage)
    emit(StepStarted(step.stage, difference(before.parts if before else None, step.parts)))
    began = time.monotonic()
    sweep(shop.home, shop.clock())
    with own_folder(shop.home.run / "work") as folder:
        resume = resume_of(shop.home, step.key)
        job = msgspec.structs.replace(_job(step, root, folder, resume, shop.blobs), recalled=facts)
        log = log_of(shop.home, step.stage, step.key)
        messages = run_process(job, folder, _interpreter(step, shop.home, emit), log, emit)
        artifact = shop.blobs.put_tree(Path(job.out), take=True)
    seconds = time.monotonic() - began
    found = _evidence(step, messages, artifact.digest, shop.clock())
    result = StepResult(
        key=step.key,
        stage=step.stage,
        artifact=artifact,
        evidence=found,
        facts=tuple(message.text for message in messages if isinstance(message, Told)),
        envelope=shop.blobs.put_bytes(dsse.seal(_statement(step, artifact.digest, found), shop.signer)),
        seconds=seconds,
        at=shop.clock(),
        parts=step.parts,
    )
    _keep(shop, result)
    shutil.rmtree(resume, ignore_errors=True)
    emit(StepFinished(step.stage, seconds, False, artifact.digest, result.facts))
    return result


def _job(step: _Step, root: Path, folder: Path, resume: Path, blobs: Blobs) -> JobFile:
    """Lay out the inputs as links and make the output folder."""
    inputs = {}
    for name, artifact in step.inputs.items():
        inputs[name] = folder / "in" / name
        inputs[name].mkdir(parents=True)
        blobs.lay_out(artifact.files, inputs[name])
    out = folder / "out"
    out.mkdir()
    return JobFile(
        stage=step.stage,
        module=step.module,
        params=step.params,
        inputs={name: str(path) for name, path in inputs.items()},
        root=str(root),
        out=str(out),
        resume=str(resume),
        runner=step.runner,
    )


def _digest_of(folder: Path) -> Digest:
    """The digest that the artifact of *folder* would have."""
    files = []
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
            files.append(File(path.relative_to(folder).as_posix(), path.stat().st_size, digest))
    return Artifact.of(files).digest


def _interpreter(step: _Step, home: Home, emit: Emit) -> str:
    """The interpreter that runs *step*: ours, or that of its own environment."""
    if step.environment is None:
        return sys.executable
    emit(Progress(step.stage, 0, 1, "its environment"))
    log = home.logs / "build" / f"{step.stage}-environment.log"
    return str(interpreter_for(step.environment, home.run / "environments", log))


def _evidence(step: _Step, messages: list[Message], output: Digest, at: float) -> tuple[Evidence, ...]:
    """The facts of a stage as evidence about digests. The role of a subject is the stage that made it."""

    def subject(name: str) -> Subject:
        role = step.stage if name == "out" else name
        digest = output if name == "out" else step.inputs[name].digest
        return Subject(kind="data" if role == "data" else "artifact", digest=digest, role=role)

    return tuple(
        Evidence(
            metric=one.metric,
            value=one.value,
            unit=one.unit,
            subject=subject(one.about),
            n=one.n,
            interval=one.interval,
            slice=one.slice,
            source=subject(one.source) if one.source else None,
            inputs=tuple(sorted(artifact.digest for artifact in step.inputs.values())),
            produced_by=Producer(tool=f"guideway/{step.stage}", version=__version__, run=step.key),
            at=at,
            repeatable=one.repeatable,
        )
        for one in messages
        if isinstance(one, Measured)
    )


def _statement(step: _Step, output: Digest, facts: tuple[Evidence, ...]) -> dict[str, Any]:
    """Provenance of the step; the evidence it left is a by-product."""
    return statements.provenance(
        name=step.stage,
        output=output,
        parameters=step.params,
        inputs={name: artifact.digest for name, artifact in step.inputs.items()},
        builder="urn:guideway:build:v1",
        run=step.key,
        evidence=msgspec.to_builtins(facts),
    )


def _keep(shop: Workshop, result: StepResult) -> None:
    with shop.database.transaction():
        steps.keep(shop.database, result)
        for fact in result.evidence:
            evidence.put(shop.database, Kept.of(fact, envelope=result.envelope, signer=shop.signer.name))
        ledger.append(
            shop.database,
            at=result.at,
            who=shop.signer.name,
            what=f"stage {result.stage}",
            subject=result.artifact.digest,
            why="build",
            data={"key": result.key, "seconds": round(result.seconds, 3)},
        )
