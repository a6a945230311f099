"""What must run, and why. Pure: everything it knows is passed in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from guideway.core.artifact import Artifact, Digest, digest_of
from guideway.core.protocols import Stage
from guideway.core.spec import Spec
from guideway.pipeline.lent import borrows
from guideway.store.steps import StepResult


class Known(msgspec.Struct, frozen=True):
    """What a plan may ask: kept results, file digests, code and library versions, models of releases."""

    kept: Callable[[str], StepResult | None]
    latest: Callable[[str], StepResult | None]
    file_digest: Callable[[Path], Digest]
    code_digest: Callable[[Stage], Digest]
    version: Callable[[str], str]
    borrowed: Callable[[str], Artifact]


class PlannedStep(msgspec.Struct, frozen=True):
    """One step. ``key`` is empty while an input is not built yet; ``result`` is set when it is cached."""

    stage: str
    runs: bool
    why: str
    key: str = ""
    result: StepResult | None = None
    seconds: float | None = None
    """How long it took last time."""


def plan(spec: Spec, root: Path, stages: Sequence[Stage], known: Known) -> list[PlannedStep]:
    """The steps in order. A step whose inputs will change runs too, unless they come out the same."""
    steps: dict[str, PlannedStep] = {}
    for stage in stages:
        needs = needs_of(stage, steps)
        waiting = [need for need in needs if steps[need].runs]
        before = known.latest(stage.name)
        took = before.seconds if before else None
        if waiting:
            steps[stage.name] = PlannedStep(stage.name, True, f"follows {', '.join(waiting)}", seconds=took)
            continue
        inputs = {need: _digest(steps[need]) for need in needs}
        inputs |= {name: known.borrowed(said).digest for name, said in borrows(stage, spec).items()}
        parts = key_parts(stage, spec, root, inputs, known)
        key = digest_of(parts)
        result = known.kept(key)
        why = "cached" if result else difference(before.parts if before else None, parts)
        steps[stage.name] = PlannedStep(stage.name, result is None, why, key=key, result=result, seconds=took)
    return list(steps.values())


def needs_of(stage: Stage, there: Collection[str]) -> tuple[str, ...]:
    """The inputs of *stage*: all that it ``needs``, and those it ``uses`` that are *there* in this spec."""
    return (*stage.needs, *(one for one in getattr(stage, "uses", ()) if one in there))


def key_parts(stage: Stage, spec: Spec, root: Path, inputs: Mapping[str, Digest], known: Known) -> dict[str, str]:
    """All that the result of a step depends on, by name: its key is the digest of these."""
    parts = {"code": known.code_digest(stage)}
    parts |= {f"library {name}": known.version(name) for name in libraries_of(stage, spec)}
    if environment := environment_of(stage, spec):
        parts["environment"] = known.file_digest(environment)
    parts |= {f"parameter {name}": digest_of(value) for name, value in stage.params(spec).items()}
    parts |= {f"input {name}": digest for name, digest in inputs.items()}
    for path in stage.sources(spec, root):
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
        parts[f"file {name}"] = known.file_digest(path)
    return parts


def difference(before: Mapping[str, str] | None, now: Mapping[str, str]) -> str:
    """Why a step must run, in a few words: ``parameters changed: batch, steps``."""
    if before is None:
        return "never ran"
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if not changed:
        return "its result is gone"
    said = []
    for kind, plural in (("input", "inputs"), ("file", "files"), ("parameter", "parameters"), ("library", "libraries")):
        names = [name.removeprefix(f"{kind} ") for name in changed if name.startswith(f"{kind} ")]
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            said.append(f"{plural if len(names) > 1 else kind} changed: {', '.join(names[:3])}{more}")
    said += [f"{one} changed" for one in ("environment", "code") if one in changed]
    return "; ".join(said)


def environment_of(stage: Stage, spec: Spec) -> Path | None:
    """The requirements file of the environment that *stage* runs in for *spec*; None: ours."""
    found = getattr(stage, "environment", None)
    asked: Path | None = found(spec) if callable(found) else found
    return asked


def libraries_of(stage: Stage, spec: Spec) -> tuple[str, ...]:
    """The distributions that the result of *stage* depends on, with those that *spec* brings."""
    brings: Callable[[Spec], tuple[str, ...]] = getattr(stage, "brings", lambda _spec: ())
    return (*stage.libraries, *brings(spec))


def module_of(stage: Stage) -> str:
    """The name of the module that is, or that holds, *stage*."""
    return str(getattr(stage, "__name__", type(stage).__module__))


def _digest(step: PlannedStep) -> Digest:
    assert step.result is not None
    return step.result.artifact.digest
