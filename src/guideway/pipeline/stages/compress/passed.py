"""A graph that was imported is what ships: the same bytes, so that nothing can have moved."""

from __future__ import annotations

import shutil

from guideway.core.evidence import Interval
from guideway.core.protocols import Job
from guideway.replica.classifier import FILE, GRAPH

NOTHING = Interval(0.0, 0.0, 1.0, "exact")
"""Of what was not estimated: both files are the same."""


def pass_on(job: Job) -> None:
    """Copy the graph and its ``classifier.json`` to ``job.out``, and leave the evidence."""
    source = job.inputs["train"]
    for name in (GRAPH, FILE):
        shutil.copyfile(source / name, job.out / name)
    size = (job.out / GRAPH).stat().st_size
    job.measure("model_bytes", size, "bytes", about="out", source="train")
    job.measure("kl_to_source", 0.0, "nats/row", about="out", source="train", interval=NOTHING)
    job.measure("top1_flips", 0.0, "share", about="out", source="train", interval=NOTHING)
    job.fact(f"the graph ships as it came: {size / 1e6:.1f} MB")
