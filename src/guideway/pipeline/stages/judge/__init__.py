"""Judge: a model elsewhere says whose answers are better, pair by pair, asked in both orders.

What it says may be another thing tomorrow: its figures are marked so. Runs only when the spec asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import SpecError
from guideway.core.protocols import Job
from guideway.core.spec import Spec
from guideway.pipeline.lent import SERVING
from guideway.pipeline.stages import evaluate
from guideway.pipeline.stages.evaluate.voice import voice_of

name = "judge"
needs = ("data", "train", "compress")
libraries = evaluate.libraries
code = (
    *evaluate.SPEAKING,
    "guideway.kit.call",
    "guideway.pipeline.stages.evaluate.nearest",
)


def wanted(spec: Spec) -> bool:
    """Does *spec* name a judge, for a model that answers?"""
    return spec.evaluate.judge is not None and spec.task == "chat"


def borrows(spec: Spec) -> Mapping[str, str]:
    """The release that serves, where answers are compared with its own."""
    judge = spec.evaluate.judge
    return {SERVING: SERVING} if judge and judge.against == SERVING else {}


def params(spec: Spec) -> Mapping[str, Any]:
    """Who judges what and how, and how the release answers. No key: only where it is found."""
    asked = spec.evaluate.judge
    judged = [name for name, split in spec.data.splits.items() if split.judged]
    split = (asked.split if asked else "") or next(iter(judged), "")
    return {"judge": msgspec.to_builtins(asked), "split": split, "seed": spec.data.seed, **voice_of(spec)}


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The rubric, and the chat template.

    Raises:
        SpecError: one is missing.
    """
    asked = spec.evaluate.judge
    if asked is None:
        return ()
    if not (root / asked.rubric).is_file():
        raise SpecError(f"there is no rubric '{asked.rubric}'", where=str(root), try_this="mend evaluate.judge.rubric")
    return (root / asked.rubric, *evaluate.sources(spec, root))


def run(job: Job) -> None:
    """Ask, count, and write ``report.json``, ``report.md`` and ``report.zh.md``."""
    from guideway.pipeline.stages.judge.measure import measure

    measure(job)
