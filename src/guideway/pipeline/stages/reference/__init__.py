"""Reference: learn which prompts are ordinary, so that the service can tell those that are not, and drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import SpecError
from guideway.core.guardrails import OUTLIERS_FILE
from guideway.core.protocols import Job
from guideway.core.spec import Spec
from guideway.core.spec.guardrails import Outliers

name = "reference"
needs = ("data",)
libraries: tuple[str, ...] = ()
code = (
    "guideway.core.classifier",
    "guideway.core.outliers",
    "guideway.core.text_forms",
    "guideway.pipeline.stages.data.clean",
    "guideway.pipeline.stages.data.split",
    "guideway.pipeline.stages.intervals",
)


def wanted(spec: Spec) -> bool:
    """Is anything to become of outliers that are known by their words?"""
    outlier = spec.serve.guardrails.outlier
    return outlier is not None and outlier.by == "words"


def params(spec: Spec) -> Mapping[str, Any]:
    """What becomes of outliers, because rarer ones need more rows; and the task, which says what a prompt is."""
    return {"outlier": msgspec.to_builtins(spec.serve.guardrails.outlier), "task": spec.task}


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The files of prompts.

    Raises:
        SpecError: one is missing, or rows of a completion would have to tell prompts.
    """
    asked, where = spec.serve.guardrails.outlier, "serve.guardrails.outlier"
    if asked is None or asked.by != "words":
        return ()
    if spec.task == "completion" and not asked.data:
        advice = f"name files of prompts, as clients send them, in {where}.data"
        raise SpecError("rows of text have no prompts to learn from", where=where, try_this=advice)
    paths = tuple(root / path for path in asked.data)
    for path in paths:
        if not path.is_file():
            raise SpecError(f"there is no file '{path.name}'", where=str(root), try_this=f"mend {where}.data")
    return paths


def run(job: Job) -> None:
    """Write the reference, and ``report.json``, which says how well it knows prompts that it did not learn from."""
    from guideway.pipeline.stages.reference.learn import held_out, learnt, looked_at, split_of
    from guideway.pipeline.stages.reference.rows import read_prompts

    asked = msgspec.convert(job.params["outlier"], Outliers)
    texts = read_prompts([job.root / path for path in asked.data], job.inputs["data"], asked.seed)
    prompts = looked_at(texts)
    strictest = asked.strictest
    kept, learns = split_of(prompts, strictest)
    (job.out / OUTLIERS_FILE).write_bytes(learnt(learns, kept))
    job.measure("drift_reference_rows", len(prompts), "rows", about="data", n=len(prompts), source="out")
    report = held_out(job, prompts, strictest) | {"learnt": len(learns), "held_out": len(kept)}
    (job.out / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    job.fact(f"{len(prompts):,} prompts; {report['share']:.2%} of those held out lie beyond {strictest:.4g}")
