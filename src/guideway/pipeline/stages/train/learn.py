"""The training of a language model: the loss on answers (or on all of a text), over a number of steps of AdamW."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import torch

from guideway.core.errors import GuidewayError
from guideway.core.evidence import Interval
from guideway.core.protocols import Job
from guideway.core.spec import Train
from guideway.pipeline.stages.examples import Example, Voice
from guideway.pipeline.stages.intervals import LEVEL, Z
from guideway.pipeline.stages.threads import threads_for
from guideway.pipeline.stages.train import language
from guideway.pipeline.stages.train.batches import packed
from guideway.pipeline.stages.train.checkpoints import Checkpoints
from guideway.pipeline.stages.train.descent import Descent, device
from guideway.pipeline.stages.train.loop import Learned, Loop, Validation
from guideway.pipeline.stages.train.mixture import Mixture, Part
from guideway.pipeline.stages.train.recipes import start
from guideway.pipeline.stages.train.report import report
from guideway.pipeline.stages.train.rows import Rows
from guideway.pipeline.stages.train.samples import Sample, answers, samples_of
from guideway.sealing.reshard import reshard_in_place


def learn(job: Job) -> None:
    """Train as the parameters say, and write the model to ``job.out``.

    Raises:
        GuidewayError: no row fits the context, or the loss stopped being a number.
    """
    params = dict(job.params)
    parts = [Part(*one) for one in params.pop("mixture", ())]
    train = msgspec.convert(params, Train)
    rows = Rows(job.inputs["data"], train)
    recipe = start(job, train, rows)
    model = recipe.model.to(device())
    torch.set_num_threads(threads_for(sum(weight.numel() for weight in model.parameters())))
    recipe.tokenizer.save_pretrained(job.out)
    voice = Voice(job.out)
    context = min(train.architecture.context, int(getattr(model.config, "max_position_embeddings", 1 << 30)))
    mixture = Mixture(parts, _examples(job, voice, rows.learned(), context))
    held = _held(job, voice, rows, context)
    asked = samples_of(voice, rows.held, context)
    loop = Loop(
        Descent(model, recipe.loss, train),
        lambda: mixture.batches(train.batch, train.seed),
        train,
        validate=functools.partial(_validation, model, held, train, lambda: answers(model, voice, asked))
        if held
        else None,
        checkpoints=Checkpoints(job.resume),
        progress=job.progress,
    )
    learned = loop.run()
    mixture.report(job, learned.step * train.accumulate)
    recipe.finish(job, held)
    _finish(job, model, train, learned, asked)


def _examples(job: Job, voice: Voice, rows: Iterable[dict[str, Any]], context: int) -> dict[int, list[Example]]:
    """What is learned, by the number of its source: every answer that fits, and blocks of text."""
    answers: dict[int, list[Example]] = defaultdict(list)
    texts: dict[int, list[Example]] = defaultdict(list)
    long = 0
    for row in rows:
        if "text" in row:
            texts[row["source"]].append(voice.example(row))
            continue
        _need_template(voice)
        for example in voice.every_answer(row):
            fits = len(example.ids) <= context
            long += not fits
            answers[row["source"]] += [example] if fits else []
    examples = {source: answers[source] + packed(texts[source], context) for source in {**answers, **texts}}
    if not any(examples.values()):
        raise GuidewayError(
            f"no row fits into {context} tokens", where="train.architecture.context", try_this="a larger context"
        )
    if long:
        job.fact(f"{long:,} answers longer than {context} tokens left out")
    return examples


def _need_template(voice: Voice) -> None:
    if not voice.text.template:
        raise GuidewayError(
            "the base has no chat template",
            where="train.base",
            try_this="choose an instruct model, or task: completion",
        )


def _held(job: Job, voice: Voice, rows: Rows, context: int) -> list[Example]:
    """What the training is watched by."""
    held = [voice.example(row).clipped(context) for row in rows.held]
    if not held:
        job.fact("no validation: no row was held out")
    return held


def _validation(model: Any, held: Sequence[Example], train: Train, say: Callable[[], tuple[str, ...]]) -> Validation:
    return language.validation_of(language.row_losses(model, held, train.batch, train.precision), say())


def _finish(job: Job, model: Any, train: Train, learned: Learned, asked: Sequence[Sample]) -> None:
    """Save the model, and leave the evidence about it."""
    broken = sum(int((~torch.isfinite(weight)).sum()) for weight in model.state_dict().values())
    size = sum(weight.numel() for weight in model.parameters())
    model.eval().cpu()
    model.save_pretrained(job.out)
    reshard_in_place(job.out)  # here already, so that the store keeps a tensor once, whoever passes it on
    (job.out / "curve.json").write_bytes(_curve(learned))
    (job.out / "report.html").write_text(report(train, learned, asked, size), encoding="utf-8")
    loss = next(point.loss for point in reversed(learned.curve) if point.step <= learned.kept)
    job.measure("non_finite_weights", broken, "weights", about="out", n=size)
    job.measure("train_loss", loss, "nats/token", about="out", n=learned.kept)
    _measure_validation(job, train, learned.validation)
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
