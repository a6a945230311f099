"""The training of a language model, from the rows to the folder that is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from guideway.core.protocols import Job
from guideway.core.spec import Train
from guideway.pipeline.stages.choose import settings
from guideway.pipeline.stages.examples import Example, Voice
from guideway.pipeline.stages.threads import threads_for
from guideway.pipeline.stages.train import language, ranks
from guideway.pipeline.stages.train.checkpoints import Checkpoints
from guideway.pipeline.stages.train.course import Encode, course, examples_of
from guideway.pipeline.stages.train.descent import device
from guideway.pipeline.stages.train.loop import Learned, Loop, Validation
from guideway.pipeline.stages.train.recipes import Recipe, start
from guideway.pipeline.stages.train.result import finish
from guideway.pipeline.stages.train.rows import Rows
from guideway.pipeline.stages.train.samples import Sample, answers, samples_of


class Fitted(NamedTuple):
    """A model that was trained, by its recipe, what it was watched by, and how it went."""

    recipe: Recipe
    held: list[Example]
    asked: list[Sample]
    learned: Learned

    @property
    def model(self) -> Any:
        """The one that learned, until the recipe is finished; then the one that is saved."""
        return self.recipe.model


def learn(job: Job, base: Path | None) -> None:
    """Train as the parameters say, from the model in *base* if there is one, and write the model to ``job.out``.

    Raises:
        GuidewayError: no row fits the context, or the loss stopped being a number.
        Refused: the rows have no privacy left to spend.
    """
    train = settings(job, job.params)
    fitted = fit(job, train, base)
    if not ranks.first():
        return
    found = fitted.recipe.finish(job, fitted.held)
    learned = fitted.learned
    finish(job, fitted.model, train, learned, asked=fitted.asked, found=found or learned.validation)


def fit(
    job: Job,
    train: Train,
    base: Path | None,
    heard: Callable[[Validation], None] | None = None,
    encode: Encode = examples_of,
) -> Fitted:
    """Train a model as *train* says, from the one in *base* if there is one.

    Its tokenizer is in ``job.out`` then, its weights are not yet. *heard* is told what every validation found; nobody
    looks at answers then. *encode* makes the examples of rows.

    Raises:
        GuidewayError: no row fits the context, or the loss stopped being a number.
        Refused: the rows have no privacy left to spend.
    """
    rows = Rows(job.inputs["data"], train)
    recipe = start(job, train, rows, base)
    model = recipe.model.to(device())
    torch.set_num_threads(threads_for(sum(weight.numel() for weight in model.parameters())))
    recipe.tokenizer.save_pretrained(job.out)
    voice = Voice(job.out)
    context = min(train.architecture.context, int(getattr(model.config, "max_position_embeddings", 1 << 30)))
    taught = course(job, recipe, voice, rows, train, context=context, encode=encode)
    held = [voice.example(row).clipped(context) for row in rows.held]
    asked = [] if heard else samples_of(voice, rows.held, context)
    judge = _validation(model, voice, train, held, asked)
    loop = Loop(
        taught.descent,
        taught.supply,
        taught.train,
        validate=(_overheard(judge, heard) if heard else judge) if held else None,
        checkpoints=Checkpoints(job.resume),
        progress=job.progress,
    )
    if not held:
        job.fact("no validation: no row was held out")
    learned = loop.run()
    taught.close(learned)
    return Fitted(recipe, held, asked, learned)


def _overheard(judge: Callable[[], Validation], heard: Callable[[Validation], None]) -> Callable[[], Validation]:
    """*judge*, with somebody who hears what it finds."""

    def validate() -> Validation:
        found = judge()
        heard(found)
        return found

    return validate


def _validation(
    model: Any, voice: Voice, train: Train, held: list[Example], asked: list[Sample]
) -> Callable[[], Validation]:
    """How the model is judged while it learns: by its loss on *held*, and people look at its answers to *asked*."""

    def validate() -> Validation:
        losses = language.row_losses(model, held, train.batch, train.precision)
        return language.validation_of(losses, answers(model, voice, asked))

    return validate
