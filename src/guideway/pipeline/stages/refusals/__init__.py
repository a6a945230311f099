"""Refusals: does the release refuse what it must, and answer what it must?

Prompts pass the rules of the release first, as in the gateway; what they let pass the model is asked; an answer that
breaks a rule is a refusal too, and so is one that says so. Runs only when the spec asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import SpecError
from guideway.core.protocols import Job
from guideway.core.spec import Spec
from guideway.core.spec.guardrails import rules_of
from guideway.pipeline.stages import evaluate
from guideway.pipeline.stages.evaluate.voice import voice_of

name = "refusals"
needs = ("data", "train", "compress", "guard")
libraries = (*evaluate.libraries, "google-re2")
code = (
    *evaluate.SPEAKING,
    "guideway.core.classifier",
    "guideway.core.text_forms",
    "guideway.guardrails",
    "guideway.pipeline.stages.data.clean",
    "guideway.pipeline.stages.data.read",
    "guideway.pipeline.stages.data.split",
    "guideway.pipeline.stages.guard.rows",
)


def wanted(spec: Spec) -> bool:
    """Does *spec* list prompts, for a model that writes text?"""
    return spec.evaluate.refusals is not None and spec.task != "classify"


def params(spec: Spec) -> Mapping[str, Any]:
    """What is asked, by which rules it is refused, who learnt from what, and how the release answers."""
    rules = msgspec.to_builtins(rules_of(spec.serve.guardrails))
    return {
        "refusals": msgspec.to_builtins(spec.evaluate.refusals),
        "rules": rules,
        "guard_rows": _guard_rows(spec),
        "model_learns": spec.train.recipe != "import",
        **voice_of(spec),
    }


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The files of prompts, of judged answers and of what the classifier learns from, and the chat template.

    Raises:
        SpecError: one is missing.
    """
    asked = spec.evaluate.refusals
    files = [*asked.should_refuse, *asked.should_answer] if asked else []
    named = dict.fromkeys([*(one.path for one in files), *(asked.labelled if asked else ())])
    for path in named:
        if not (root / path).is_file():
            raise SpecError(f"there is no file '{path}'", where=str(root), try_this="mend evaluate.refusals")
    named |= dict.fromkeys(_guard_rows(spec))
    return (*(root / path for path in named), *evaluate.sources(spec, root))


def _guard_rows(spec: Spec) -> tuple[str, ...]:
    asked = spec.serve.guardrails.classifier
    return asked.data if asked else ()


def run(job: Job) -> None:
    """Ask, count, and write ``report.json``, ``report.md`` and ``report.zh.md``."""
    from guideway.pipeline.stages.refusals.measure import measure

    measure(job)
