"""Pruning: the trained model without its least important weights, as a folder that can be exported like any other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec
from safetensors.torch import load_file

from guideway.core.protocols import Job
from guideway.core.spec import Prune, Train
from guideway.pipeline.stages.compress.channels import cut
from guideway.pipeline.stages.compress.recover import recover
from guideway.pipeline.stages.compress.zeros import set_zeros
from guideway.pipeline.stages.examples import Example, Voice
from guideway.pipeline.stages.formats.tokenizer import copy_tokenizer
from guideway.pipeline.stages.train.rows import Rows
from guideway.pipeline.stages.train.start import load_base

READ = 128
"""Training rows by which the importance of a channel is judged."""


def prune(job: Job, out: Path) -> float:
    """Write the trained model to *out* as the parameters ask for it: pruned, and trained again for some steps.

    Returns:
        The share of its weights that are gone, or are zero now.

    Raises:
        GuidewayError: this architecture cannot be pruned so.
    """
    asked, train = msgspec.convert(job.params["prune"], Prune), msgspec.convert(job.params["train"], Train)
    source = job.inputs["train"]
    model, _ = load_base(source)
    before = sum(weight.numel() for weight in model.parameters())
    job.progress(0, 100, f"pruning {asked.share:.0%} of the {asked.what}")
    rows, voice = Rows(job.inputs["data"], train), Voice(source)
    context = int(getattr(model.config, "max_position_embeddings", 1 << 30))
    if asked.method == "structured":
        cut(model, asked.what, asked.share, list(_read(rows, voice, context)))
    else:
        set_zeros(model, asked.what, asked.share)
    out.mkdir()
    copy_tokenizer(source, out)
    model.save_pretrained(out)
    if asked.recover_steps:
        recover(job, out, rows, voice, train=train, asked=asked)
    return _gone(out, before)


def _read(rows: Rows, voice: Voice, context: int) -> Iterator[Example]:
    """At most ``READ`` training rows, from the first to the last at equal distances."""
    count = sum(1 for _ in rows.learned())
    chosen = itertools.islice(rows.learned(), 0, None, -(-count // READ))
    return (voice.example(row).clipped(context) for row in chosen)


def _gone(out: Path, before: int) -> float:
    """The share of *before* weights that are not in *out* any more, or are zero there."""
    tensors = [tensor for path in sorted(out.glob("*.safetensors")) for tensor in load_file(path).values()]
    left = sum(int((tensor != 0).sum()) for tensor in tensors)
    return 1 - left / before
