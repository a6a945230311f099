"""Import: a model that was trained elsewhere, laid out as training would have left it. Nothing of it is run as code."""

from __future__ import annotations

from pathlib import Path

import msgspec

from guideway.core.protocols import Job
from guideway.core.spec import Imported, Train
from guideway.pipeline.stages.imported import folder, graph, llama2c
from guideway.pipeline.stages.imported.record import write_record
from guideway.pipeline.stages.train.base import files_of, refuse_unsafe
from guideway.pipeline.stages.train.foreign import check_digest
from guideway.pipeline.stages.train.places import folder_of


def bring_in(job: Job) -> None:
    """Write the model that ``train.base`` names to ``job.out``, with a record of where it comes from.

    Raises:
        Refused: a file of it is unsafe.
        Corrupt: a file is truncated, is another one than the spec means, or holds weights that are no numbers.
        Unavailable: it is on the hub, which does not answer.
    """
    train = msgspec.convert({name: job.params[name] for name in Train.__struct_fields__}, Train)
    said, about = str(train.base), train.imported or Imported()
    base = folder_of(job, said)
    if base.is_dir():
        files_of(base, said)
        refuse_unsafe(base, said)
        weights, digest, kind = folder.bring_in(base, job.out), "", "safetensors"
    else:
        digest = check_digest(base, about.digest)
        make = graph.bring_in if job.params.get("task") == "classify" else llama2c.bring_in
        weights, kind = make(job, base, about), "onnx" if make is graph.bring_in else "llama2.c"
    write_record(job.out, said, about, kind, digest)
    job.measure("non_finite_weights", 0, "weights", about="out", n=weights)
    job.fact(f"{weights / 1e6:.2f}M weights taken over from {Path(said).name}; nothing was trained")
