"""Compress a sentence encoder: export it, and measure how far its embeddings, and what they find, have moved."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Job
from guideway.pipeline.stages.embed.export import export
from guideway.pipeline.stages.embed.model import embed, load_embedder
from guideway.pipeline.stages.embed.rows import corpus_of, encoded, queries_of, text_of
from guideway.pipeline.stages.embed.shipped import Shipped
from guideway.pipeline.stages.evaluate.splits import split_names
from guideway.pipeline.stages.examples import rows_of
from guideway.pipeline.stages.intervals import bootstrap, wilson
from guideway.pipeline.stages.models import log_softmax
from guideway.replica.embedder import Embeddings, read_settings, write_settings

QUESTIONS = 1000
"""Held-out questions that both models look up."""
INPUTS = 2000
"""Texts on which both models are compared, where there are so many."""
SAME = 0.01
"""The cosine distance up to which two embeddings of a text are the same one."""
SEED = 7


class _Seen(NamedTuple):
    """Where a model sees the questions, the passages, and other texts, on which it is compared alone."""

    questions: Embeddings
    passages: Embeddings
    others: Embeddings


def compress(job: Job) -> None:
    """Write ``model.onnx``, ``embedder.json`` and the tokenizer to ``job.out``, and leave the evidence."""
    source, precision = job.inputs["train"], job.params["precision"]
    job.progress(0, 10, f"exporting to {precision}")
    export(source, job.out, precision)
    write_settings(job.out, read_settings(source))
    _measure_size(job)
    job.progress(4, 10, "comparing with the source")
    shipped, trained = Shipped(job.out), load_embedder(source)
    texts = [encoded(some, shipped.reader) for some in _texts(job.inputs["data"])]
    before = _Seen(*(embed(trained, some) for some in texts))
    job.progress(7, 10, "comparing with the source")
    after = _Seen(*(shipped.embed(some) for some in texts))
    _measure_parity(job, before, after)
    _measure_retrieval(job, before, after)


def _texts(data: Path) -> tuple[list[str], list[str], list[str]]:
    """Held-out questions of every split, all passages, and training questions until there are ``INPUTS`` texts.

    Where nothing is held out, questions are training ones.
    """
    corpus, names = corpus_of(data), split_names(data) or ["train"]
    each = QUESTIONS // len(names)
    asked = [one.text for name in names for one in queries_of(data / f"{name}.jsonl", corpus, each)]
    known = dict.fromkeys(text_of(row).question for row in rows_of(data / "train.jsonl"))
    others = [one for one in known if one not in {*asked, *corpus.passages}]
    return asked, corpus.passages, others[: max(0, INPUTS - len(asked) - len(corpus.passages))]


def _measure_size(job: Job) -> None:
    before = sum(path.stat().st_size for path in job.inputs["train"].glob("*.safetensors"))
    after = sum(path.stat().st_size for path in job.out.glob("*.onnx"))
    job.measure("model_bytes", after, "bytes", about="out", source="train")
    job.fact(f"{job.params['precision']}: {before / 1e6:.1f} MB to {after / 1e6:.1f} MB")


def _measure_parity(job: Job, before: _Seen, after: _Seen) -> None:
    """How far apart the two embeddings of a text are, by one less their cosine.

    Raises:
        GuidewayError: a number is none.
    """
    apart = np.concatenate([distances(*pair) for pair in zip(before, after, strict=True)])
    if not np.isfinite(apart).all():
        raise GuidewayError("the model gives outputs that are NaN or infinite", try_this="a lower train.learning_rate")
    n, same = len(apart), int((apart <= SAME).sum())
    around = bootstrap(apart.tolist(), [1] * n, SEED)
    job.measure("cosine_distance", float(apart.mean()), "", about="out", source="train", n=n, interval=around)
    job.measure("parity_difference", float(apart.max()), "cosine distance", about="out", source="train", n=n)
    job.measure("parity_agreement", same / n, "share", about="out", source="train", n=n, interval=wilson(same, n))
    job.fact(f"cosine distance {apart.mean():.1e}, at most {apart.max():.1e}, on {n:,} texts")


def distances(before: Embeddings, after: Embeddings) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """One less the cosine of each row of *before* and that of *after*; never below 0."""
    return np.asarray(np.maximum(1.0 - (before.astype(np.float64) * after).sum(axis=1), 0.0))


def _measure_retrieval(job: Job, before: _Seen, after: _Seen) -> None:
    """What the model says of the passages of a question, by the softmax that it was trained by: how far that moved."""
    heat = job.params["temperature"]
    ours, theirs = (log_softmax(one.questions @ one.passages.T / heat) for one in (before, after))
    divergence = np.maximum((np.exp(ours) * (ours - theirs)).sum(axis=1), 0.0)
    flips, n = int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum()), len(divergence)
    mean, around = float(divergence.mean()), bootstrap(divergence.tolist(), [1] * n, SEED)
    job.measure("kl_to_source", mean, "nats/row", about="out", source="train", n=n, interval=around)
    job.measure("top1_flips", flips / n, "share", about="out", source="train", n=n, interval=wilson(flips, n))
    job.fact(f"KL {mean:.1e} nats, {flips / n:.2%} first passages changed of {n:,} questions")
