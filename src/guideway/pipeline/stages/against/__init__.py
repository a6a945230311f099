"""Against: the release that this build makes, and one that there is already, on the same rows.

Each speaks in its own way: its model, tokenizer, prompt template, system prompt. Runs only when the spec asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guideway.core.protocols import Job
from guideway.core.spec import Spec
from guideway.pipeline.lent import SERVING, WHOLE
from guideway.pipeline.stages import evaluate
from guideway.pipeline.stages.against.report import write_report
from guideway.pipeline.stages.evaluate.voice import voice_of

name = "against"
needs = ("data", "train", "compress")
libraries = evaluate.libraries
code = evaluate.SPEAKING


def wanted(spec: Spec) -> bool:
    """Does *spec* name a release to compare with?"""
    return bool(spec.evaluate.against)


def borrows(spec: Spec) -> Mapping[str, str]:
    """The other release, as it is. What serves may change, and with it the key of the step."""
    said = spec.evaluate.against
    return {SERVING: said if said == SERVING else WHOLE + said}


def params(spec: Spec) -> Mapping[str, Any]:
    """How many rows are asked, and how the release answers."""
    asked = {"examples": spec.evaluate.examples, "max_tokens": spec.evaluate.max_tokens, "seed": spec.data.seed}
    return {**voice_of(spec), **asked}


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The chat template that the release will answer with.

    Raises:
        SpecError: it is not there.
    """
    template = spec.serve.prompt.template
    return evaluate.sources(spec, root) if template and spec.task != "classify" else ()


def run(job: Job) -> None:
    """Compare, and write ``report.json``, ``report.md`` and ``report.zh.md``. Where nothing serves, nothing is left."""
    why = _why_not(job)
    if why:  # before anything heavy is imported
        job.fact(why)
        write_report(job.out, [], why)
        return
    from guideway.pipeline.stages.against.measure import measure

    measure(job)


def _why_not(job: Job) -> str:
    """Why there is nothing to compare with; empty: there is."""
    settings = job.inputs[SERVING] / "serve.json"
    if not settings.is_file():
        return "nothing serves, so there was nothing to compare with"
    task = json.loads(settings.read_bytes())["task"]
    if (task == "classify") is not (job.params["task"] == "classify"):
        return f"the other release is for the task {task}, so it was not compared"
    return ""
