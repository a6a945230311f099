"""Guard: learn the small classifier of prompts, if the spec asks for one, and measure it in cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import SpecError
from guideway.core.guardrails import CLASSIFIER_FILE
from guideway.core.protocols import Job
from guideway.core.spec import Spec
from guideway.core.spec.guardrails import Classifier
from guideway.pipeline.stages.guard.rows import read_rows

name = "guard"
needs: tuple[str, ...] = ()
libraries = ("numpy", "torch")
code = ("guideway.core.classifier", "guideway.core.text_forms", "guideway.pipeline.stages.intervals")


def params(spec: Spec) -> Mapping[str, Any]:
    """What the classifier is asked to be."""
    return {"classifier": msgspec.to_builtins(spec.serve.guardrails.classifier)}


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The files of prompts.

    Raises:
        SpecError: one is missing.
    """
    asked = spec.serve.guardrails.classifier
    paths = tuple(root / path for path in asked.data) if asked else ()
    for path in paths:
        if not path.is_file():
            advice = "mend serve.guardrails.classifier.data"
            raise SpecError(f"there is no file '{path.name}'", where=str(root), try_this=advice)
    return paths


def run(job: Job) -> None:
    """Write the classifier, and ``report.json``, which says what it does on rows that it did not learn from."""
    if job.params["classifier"] is None:
        (job.out / "report.json").write_bytes(b'{"classifier":null}\n')
        job.fact("no classifier")
        return
    from guideway.pipeline.stages.guard.learn import held_out_scores, indices_of, learnt, report_shares

    asked = msgspec.convert(job.params["classifier"], Classifier)
    rows = read_rows([job.root / path for path in asked.data])
    indices = indices_of(rows)
    scores = held_out_scores(job, rows, indices, asked.seed)
    (job.out / CLASSIFIER_FILE).write_bytes(learnt(rows, indices))
    report = report_shares(job, rows, scores, asked.threshold)
    text = msgspec.json.format(msgspec.json.encode({"classifier": {"threshold": asked.threshold, "shares": report}}))
    (job.out / "report.json").write_bytes(text + b"\n")
    blocked, wrong = report["refuse"][""], report["allow"][""]
    job.fact(f"refuses {blocked:.1%} of what it should and {wrong:.1%} of what it should not, in cross-validation")
