"""What a training leaves: the model, its curve, a report for people, and evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import torch

from guideway.core.evidence import Interval
from guideway.core.protocols import Job
from guideway.core.spec import Train
from guideway.pipeline.stages.intervals import LEVEL, Z
from guideway.pipeline.stages.train.loop import Learned, Validation
from guideway.pipeline.stages.train.report import report
from guideway.pipeline.stages.train.samples import Sample
from guideway.sealing.reshard import reshard_in_place


def finish(
    job: Job,
    model: Any,
    train: Train,
    learned: Learned,
    *,
    asked: Sequence[Sample],
    found: Validation | None,
) -> None:
    """Save the model, and leave the evidence about it; *found* is what validation found of it."""
    broken = sum(int((~torch.isfinite(weight)).sum()) for weight in model.state_dict().values())
    size = sum(weight.numel() for weight in model.parameters())
    model.eval().cpu()
    model.save_pretrained(job.out)
    reshard_in_place(job.out)  # here already, so that the store keeps a tensor once, whoever passes it on
    (job.out / "curve.json").write_bytes(_curve(learned))
    (job.out / "report.html").write_text(report(train, learned, asked, size, found), encoding="utf-8")
    loss = next(point.loss for point in reversed(learned.curve) if point.step <= learned.kept)
    job.measure("non_finite_weights", broken, "weights", about="out", n=size)
    job.measure("train_loss", loss, "nats/token", about="out", n=learned.kept)
    _measure_validation(job, train, found)
    job.fact(f"{size / 1e6:.2f}M parameters, loss {loss:.3f} after {learned.step:,} steps")
    _tell(job, train, learned)


def _curve(learned: Learned) -> bytes:
    """The curve as JSON, without what the model said: that is for people, and in the report."""
    curve = [
        msgspec.structs.replace(one, validation=one.validation and msgspec.structs.replace(one.validation, samples=()))
        for one in learned.curve
    ]
    return msgspec.json.format(msgspec.json.encode(curve), indent=1) + b"\n"


def _measure_validation(job: Job, train: Train, found: Validation | None) -> None:
    if not found:
        return
    interval = None
    if found.error is not None:
        half = Z * found.error
        interval = Interval(found.loss - half, found.loss + half, LEVEL, "normal")
    where = train.validation.split or "validation"
    job.measure("validation_loss", found.loss, "nats/token", about="out", n=found.rows, slice=where, interval=interval)


def _tell(job: Job, train: Train, learned: Learned) -> None:
    """What people should know of how it went."""
    if learned.resumed:
        job.fact(f"went on from the checkpoint at step {learned.resumed:,}")
    if learned.step < train.steps:
        job.fact(f"ended early: no better validation since step {learned.kept:,}")
    if learned.kept < learned.step:
        job.fact(f"the weights of step {learned.kept:,} were kept")
    for one in learned.unsaved[:1]:
        job.fact(one)
