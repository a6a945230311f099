"""Compress a classifier: export it, measure how far it moved, and set its threshold on the validation rows."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Job
from guideway.pipeline.stages.classify.export import export
from guideway.pipeline.stages.classify.meaning import learn_meaning
from guideway.pipeline.stages.classify.model import load_classifier, probabilities
from guideway.pipeline.stages.classify.rows import Case, cases_of, sample_of
from guideway.pipeline.stages.classify.shipped import Shipped
from guideway.pipeline.stages.classify.threshold import choose_threshold
from guideway.pipeline.stages.evaluate.splits import split_names
from guideway.pipeline.stages.examples import rows_of
from guideway.pipeline.stages.intervals import bootstrap, wilson
from guideway.replica.classifier import Probabilities, Reader, read_settings, write_settings

ROWS = 2000
"""Held-out rows on which source and export are compared."""
SEED = 7


def compress(job: Job) -> None:
    """Write ``model.onnx``, ``classifier.json`` and the tokenizer to ``job.out``, and leave the evidence.

    Where outliers are to be told, what tells them is written too.
    """
    source, precision = job.inputs["train"], job.params["precision"]
    job.progress(0, 10, f"exporting to {precision}")
    ordinary = job.params.get("ordinary")
    export(source, job.out, precision, features=ordinary is not None)
    write_settings(job.out, read_settings(source))
    _measure_size(job)
    shipped = Shipped(job.out)
    job.progress(4, 10, "comparing with the source")
    _measure_distance(job, shipped)
    job.progress(8, 10, "setting the threshold")
    _set_threshold(job, shipped)
    if ordinary is not None:
        job.progress(9, 10, "learning what is ordinary")
        learn_meaning(job, shipped, ordinary)


def _measure_size(job: Job) -> None:
    before = sum(path.stat().st_size for path in job.inputs["train"].glob("*.safetensors"))
    after = sum(path.stat().st_size for path in job.out.glob("*.onnx"))
    job.measure("model_bytes", after, "bytes", about="out", source="train")
    job.fact(f"{job.params['precision']}: {before / 1e6:.1f} MB to {after / 1e6:.1f} MB")


def _measure_distance(job: Job, shipped: Shipped) -> None:
    """The divergence from the source in nats per row, and the rows whose best class changed."""
    cases = _held_out(job.inputs["data"], shipped.reader, shipped.settings.labels)
    before = probabilities(load_classifier(job.inputs["train"]), cases)
    after, rows = shipped.probabilities(cases), len(cases)
    divergence = _divergence(before, after)
    around = bootstrap([float(one) for one in divergence], [1] * rows, SEED)
    flips = int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
    share = flips / rows
    mean = float(divergence.mean())
    job.measure("kl_to_source", mean, "nats/row", about="out", source="train", n=rows, interval=around)
    job.measure("top1_flips", share, "share", about="out", source="train", n=rows, interval=wilson(flips, rows))
    job.fact(f"KL {mean:.1e} nats, {share:.2%} best classes changed on {rows:,} rows")


def _divergence(before: Probabilities, after: Probabilities) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The divergence of *after* from *before*, row by row, in nats.

    Raises:
        GuidewayError: a probability is no number.
    """
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise GuidewayError("the model gives outputs that are NaN or infinite", try_this="a lower train.learning_rate")
    ours, theirs = (np.maximum(one.astype(np.float64), 1e-12) for one in (before, after))
    found = (ours * (np.log(ours) - np.log(theirs))).sum(axis=1)
    return np.asarray(np.maximum(found, 0.0))


def _held_out(data: Path, reader: Reader, labels: tuple[str, ...]) -> list[Case]:
    """Rows of every split, as many of each; training rows when nothing is held out."""
    names = split_names(data) or ["train"]
    rows = [row for name in names for row in sample_of(data / f"{name}.jsonl", ROWS // len(names))]
    return cases_of(rows, reader, labels)


def _set_threshold(job: Job, shipped: Shipped) -> None:
    """Write the threshold that the validation rows give, if something can be out of scope."""
    outside, split = job.params["out_of_scope"], job.params["validation"]
    if not outside:
        return
    if not split:
        job.fact("no threshold, so nothing is out of scope: name rows to set it by in train.validation.split")
        return
    cases = cases_of(rows_of(job.inputs["data"] / f"{split}.jsonl"), shipped.reader, shipped.settings.labels)
    threshold = threshold_of(shipped.probabilities(cases), cases)
    write_settings(job.out, msgspec.structs.replace(shipped.settings, threshold=threshold, out_of_scope=outside))
    job.measure("threshold", threshold, "probability", about="out", n=len(cases), slice=split)
    job.fact(f"out of scope below {threshold:.3f}, by {len(cases):,} rows of {split}")


def threshold_of(found: Probabilities, cases: list[Case]) -> float:
    """The threshold for a model that says *found* of the validation rows *cases*."""
    best = found.max(axis=1).astype(np.float64)
    inside = np.array([case.target >= 0 for case in cases], dtype=bool)
    return choose_threshold(best[inside], best[~inside])
