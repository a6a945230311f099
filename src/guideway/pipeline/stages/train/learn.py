"""The training of a language model: the loss on answers (or on all of a text), over a number of steps of AdamW."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import torch

from guideway.core.errors import GuidewayError
from guideway.core.evidence import Interval
from guideway.core.protocols import Job
from guideway.core.spec import Train
from guideway.pipeline.stages.examples import Example, Voice, texts_of
from guideway.pipeline.stages.intervals import LEVEL, Z
from guideway.pipeline.stages.threads import threads_for
from guideway.pipeline.stages.train import language
from guideway.pipeline.stages.train.batches import batches, packed
from guideway.pipeline.stages.train.checkpoints import Checkpoints
from guideway.pipeline.stages.train.descent import Descent, device
from guideway.pipeline.stages.train.loop import Learned, Loop, Validation
from guideway.pipeline.stages.train.rows import Rows
from guideway.pipeline.stages.train.start import load_base, make_model, make_tokenizer
from guideway.sealing.reshard import reshard_in_place


def learn(job: Job) -> None:
    """Train as the parameters say, and write the model to ``job.out``.

    Raises:
        GuidewayError: no row fits the context, or the loss stopped being a number.
    """
    train = msgspec.convert(dict(job.params), Train)
    rows = Rows(job.inputs["data"], train)
    model, tokenizer = _start(job, train, rows)
    torch.set_num_threads(threads_for(sum(weight.numel() for weight in model.parameters())))
    tokenizer.save_pretrained(job.out)
    voice = Voice(job.out)
    context = min(train.architecture.context, int(getattr(model.config, "max_position_embeddings", 1 << 30)))
    examples = _examples(job, voice, rows.learned(), context)
    held = _held(job, voice, rows, context)
    loop = Loop(
        Descent(model.to(device()), functools.partial(language.loss, model), train),
        lambda: batches(examples, train.batch, train.seed),
        train,
        validate=functools.partial(_validation, model, held, train) if held else None,
        checkpoints=Checkpoints(job.resume),
        progress=job.progress,
    )
    _finish(job, model, train, loop.run())


def _start(job: Job, train: Train, rows: Rows) -> tuple[Any, Any]:
    """The model to train, and its tokenizer."""
    torch.manual_seed(train.seed)
    if train.recipe == "full":
        job.progress(0, train.steps, "loading the base")
        return load_base(job.root / str(train.base))
    job.progress(0, train.steps, "making the tokenizer")
    shape = train.architecture
    tokenizer = make_tokenizer(texts_of(rows.learned()), shape.vocabulary, shape.context)
    return make_model(shape, len(tokenizer), tokenizer.eos_token_id, train.seed), tokenizer


def _examples(job: Job, voice: Voice, rows: Iterable[dict[str, Any]], context: int) -> list[Example]:
    """What is learned: every answer that fits, or blocks of text."""
    chat, texts, long = [], [], 0
    for row in rows:
        if "text" in row:
            texts.append(voice.example(row))
            continue
        _need_template(voice)
        for example in voice.every_answer(row):
            fits = len(example.ids) <= context
            long += not fits
            chat += [example] if fits else []
    examples = chat + packed(texts, context)
    if not examples:
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


def _validation(model: Any, held: Sequence[Example], train: Train) -> Validation:
    return language.validation_of(language.row_losses(model, held, train.batch, train.precision))


def _finish(job: Job, model: Any, train: Train, learned: Learned) -> None:
    """Save the model, and leave the evidence about it."""
    broken = sum(int((~torch.isfinite(weight)).sum()) for weight in model.state_dict().values())
    size = sum(weight.numel() for weight in model.parameters())
    model.eval().cpu()
    model.save_pretrained(job.out)
    reshard_in_place(job.out)  # here already, so that the store keeps a tensor once, whoever passes it on
    curve = msgspec.json.format(msgspec.json.encode(learned.curve), indent=1)
    (job.out / "curve.json").write_bytes(curve + b"\n")
    loss = next(point.loss for point in reversed(learned.curve) if point.step <= learned.kept)
    job.measure("non_finite_weights", broken, "weights", about="out", n=size)
    job.measure("train_loss", loss, "nats/token", about="out", n=learned.kept)
    _measure_validation(job, train, learned.validation)
    job.fact(f"{size / 1e6:.2f}M parameters, loss {loss:.3f} after {learned.step:,} steps")
    _tell(job, train, learned)


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
