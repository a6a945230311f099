"""The model card inside a bill of materials: parameters, figures with intervals, and what to consider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guideway.core.evidence import Evidence
from guideway.standard.judge import number
from guideway.standard.reports.clean import clean
from guideway.standard.reports.drawn import (
    Drawn,
    architecture,
    finite,
    policy,
    proofs,
    setting,
    shipped,
    sliced_metrics,
)

COMPARED = ("kl_to_source", "top1_flips")
APPROACH = {"chat": "supervised", "completion": "self-supervised", "classify": "supervised", "embed": "supervised"}
"""A conversation has a right answer to learn; running text is its own."""


def model_card(drawn: Drawn, datasets: Sequence[str]) -> dict[str, Any]:
    """``modelCard`` of CycloneDX 1.6. *datasets* are the references of the data in the same bill."""
    found = {
        "modelParameters": _parameters(drawn, datasets),
        "quantitativeAnalysis": _analysis(drawn),
        "considerations": _considerations(drawn),
    }
    return {name: value for name, value in found.items() if value}


def _parameters(drawn: Drawn, datasets: Sequence[str]) -> dict[str, Any]:
    dossier, shape = drawn.dossier, architecture(drawn.dossier)
    task = setting(dossier, "task")
    found: dict[str, Any] = {"datasets": [{"ref": one} for one in dict.fromkeys(datasets)]}
    if task in APPROACH:
        text = [{"format": "string"}]
        kind = {"classify": "text-classification", "embed": "feature-extraction"}.get(task, "text-generation")
        found |= {"approach": {"type": APPROACH[task]}, "task": kind, "inputs": text, "outputs": text}
    found["architectureFamily"] = clean(str(shape.get("family", "")))
    found["modelArchitecture"] = clean(str(shape.get("class") or shape.get("family") or ""))
    return {name: value for name, value in found.items() if value}


def _analysis(drawn: Drawn) -> dict[str, Any]:
    dossier = drawn.dossier
    names = [*sliced_metrics(dossier), *(f"baseline_{name}" for name in sliced_metrics(dossier)), *COMPARED]
    measured = [one.evidence for name in names for one in proofs(dossier, name, "shipped")]
    metrics = [_metric(one) for one in measured if finite(one.value)]
    return {"performanceMetrics": metrics} if metrics else {}


def _metric(evidence: Evidence) -> dict[str, Any]:
    found: dict[str, Any] = {"type": clean(evidence.metric), "value": repr(evidence.value)}
    if evidence.slice:
        found["slice"] = clean(evidence.slice)
    interval = evidence.interval
    if interval is not None and finite(interval.low) and finite(interval.high):
        found["confidenceInterval"] = {"lowerBound": repr(interval.low), "upperBound": repr(interval.high)}
    return found


def _considerations(drawn: Drawn) -> dict[str, Any]:
    dossier = drawn.dossier
    use, limits, oversight = (policy(dossier, key) for key in ("intended_use", "limits", "oversight"))
    found: dict[str, Any] = {
        "useCases": [clean(use)] if use else [],
        "technicalLimitations": [clean(limits)] if limits else [],
        "ethicalConsiderations": [{"name": "human oversight", "mitigationStrategy": clean(oversight)}]
        if oversight
        else [],
        "performanceTradeoffs": _tradeoffs(drawn),
    }
    return {name: value for name, value in found.items() if value}


def _tradeoffs(drawn: Drawn) -> list[str]:
    """What compression cost; a model that ships as trained traded nothing."""
    dossier = drawn.dossier
    if dossier.ships == "train" and shipped(dossier):
        return ["ships as trained, without compression"]
    measured = [one.evidence for name in COMPARED for one in proofs(dossier, name, "shipped")]
    precision = setting(dossier, "compress", "precision")
    return [f"{precision}: {one.metric} {number(one.value)} against the trained model" for one in measured]
