"""Tune: search the keys of ``train`` that the spec names, and show what the best of them gains over the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.protocols import Job
from guideway.core.spec import Spec
from guideway.pipeline.stages import train

name = "tune"
needs = ("data",)
libraries = (*train.libraries, "hyperopt", "numpy", "optuna", "scikit-learn", "scipy")
code = ("guideway.pipeline.stages.train", *train.code, "guideway.core.spec.tune")


def brings(spec: Spec) -> tuple[str, ...]:
    """What the recipe needs beside ``libraries``."""
    return train.brings(spec)


def wanted(spec: Spec) -> bool:
    """Only a spec with the key ``tune`` has this stage."""
    return spec.tune is not None


def params(spec: Spec) -> Mapping[str, Any]:
    """The whole of ``tune`` and of ``train``; a trial has one process, however many the training has."""
    parts = {"tune": msgspec.to_builtins(spec.tune) or {}, "train": {**train.params(spec), "processes": 1}}
    return {f"{part}.{key}": value for part, plain in parts.items() for key, value in plain.items()}


def part(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The parameters that begin with *name*, as the spec has them."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in params.items() if key.startswith(prefix)}


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """Those of stage train."""
    return train.sources(spec, root)


def borrows(spec: Spec) -> Mapping[str, str]:
    """The release that training starts from, if it does."""
    return train.borrows(spec)


def runs_on(spec: Spec) -> Mapping[str, Any]:
    """The trials are processes of this machine, or of a cluster: they learn the same."""
    return train.runs_on(spec)


def run(job: Job) -> None:
    """Write ``best.json``, ``trials.jsonl``, ``report.html`` and ``report.zh.html`` to ``job.out``.

    Raises:
        Refused: a file of the base is unsafe.
        GuidewayError: no trial ran to its end, or there are too few rows.
    """
    base = train.base_of(job, part(job.params, "train"))
    from guideway.pipeline.stages.tune.tuning import tune

    tune(job, base)
