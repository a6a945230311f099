"""The training of a language model, from the rows to the folder that is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch

from guideway.core.protocols import Job
from guideway.core.spec import Train
from guideway.pipeline.stages.examples import Example, Voice
from guideway.pipeline.stages.threads import threads_for
from guideway.pipeline.stages.train import language
from guideway.pipeline.stages.train.checkpoints import Checkpoints
from guideway.pipeline.stages.train.course import course
from guideway.pipeline.stages.train.descent import device
from guideway.pipeline.stages.train.loop import Loop, Validation
from guideway.pipeline.stages.train.recipes import start
from guideway.pipeline.stages.train.result import finish
from guideway.pipeline.stages.train.rows import Rows
from guideway.pipeline.stages.train.samples import Sample, answers, samples_of


def learn(job: Job, base: Path | None) -> None:
    """Train as the parameters say, from the model in *base* if there is one, and write the model to ``job.out``.

    Raises:
        GuidewayError: no row fits the context, or the loss stopped being a number.
        Refused: the rows have no privacy left to spend.
    """
    train = msgspec.convert({name: value for name, value in job.params.items() if name != "mixture"}, Train)
    rows = Rows(job.inputs["data"], train)
    recipe = start(job, train, rows, base)
    model = recipe.model.to(device())
    torch.set_num_threads(threads_for(sum(weight.numel() for weight in model.parameters())))
    recipe.tokenizer.save_pretrained(job.out)
    voice = Voice(job.out)
    context = min(train.architecture.context, int(getattr(model.config, "max_position_embeddings", 1 << 30)))
    taught = course(job, recipe, voice, rows, train, context=context)
    held = [voice.example(row).clipped(context) for row in rows.held]
    asked = samples_of(voice, rows.held, context)
    loop = Loop(
        taught.descent,
        taught.supply,
        taught.train,
        validate=_validation(model, voice, train, held, asked) if held else None,
        checkpoints=Checkpoints(job.resume),
        progress=job.progress,
    )
    if not held:
        job.fact("no validation: no row was held out")
    learned = loop.run()
    taught.close(learned)
    recipe.finish(job, held)
    finish(job, model, train, learned, asked)


def _validation(
    model: Any, voice: Voice, train: Train, held: list[Example], asked: list[Sample]
) -> Callable[[], Validation]:
    """How the model is judged while it learns: by its loss on *held*, and people look at its answers to *asked*."""

    def validate() -> Validation:
        losses = language.row_losses(model, held, train.batch, train.precision)
        return language.validation_of(losses, answers(model, voice, asked))

    return validate
