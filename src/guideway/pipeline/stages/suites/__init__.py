"""Suites: tasks written for lm-eval, answered by the model that ships as it serves.

Tasks are YAML files beside the spec, with data beside them; nothing in them is run as a program. The library has an
environment of its own. Runs only when the spec asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.protocols import Job
from guideway.core.spec import Spec
from guideway.pipeline.stages import evaluate
from guideway.pipeline.stages.evaluate.voice import voice_of
from guideway.pipeline.stages.suites.tasks import tasks_of

name = "suites"
needs = ("train", "compress")
libraries = evaluate.libraries
environment = Path(__file__).parent / "requirements.txt"
code = evaluate.SPEAKING


def wanted(spec: Spec) -> bool:
    """Does *spec* name suites, for a model that writes text?"""
    return bool(spec.evaluate.suites) and spec.task != "classify"


def params(spec: Spec) -> Mapping[str, Any]:
    """Which tasks are asked, and how the release answers."""
    return {"suites": msgspec.to_builtins(spec.evaluate.suites), "seed": spec.data.seed, **voice_of(spec)}


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The files of all tasks and their data, and the chat template.

    Raises:
        SpecError: one is missing, or a task is none that is run here.
    """
    found = [path for suite in spec.evaluate.suites for task in tasks_of(suite, root) for path in task.files]
    return (*dict.fromkeys(found), *evaluate.sources(spec, root))


def run(job: Job) -> None:
    """Ask all tasks, and write ``report.json``, ``report.md`` and ``report.zh.md``."""
    job.resume.mkdir(parents=True, exist_ok=True)
    hub = any(suite["hub"] for suite in job.params["suites"])
    offline = {} if hub else {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    os.environ.update({"HF_DATASETS_CACHE": str(job.resume / "datasets"), "DISABLE_MULTIPROC": "1", **offline})
    from guideway.pipeline.stages.suites.measure import measure

    measure(job)
