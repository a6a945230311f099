"""Recovery: what pruning left learns again to say what the trained model says, on the rows of stage train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from guideway.core.protocols import Job
from guideway.core.spec import Distill, Prune, Train
from guideway.pipeline.stages.compress.zeros import Zeros
from guideway.pipeline.stages.examples import Example, Voice
from guideway.pipeline.stages.threads import threads_for
from guideway.pipeline.stages.train import language
from guideway.pipeline.stages.train.batches import batches, packed
from guideway.pipeline.stages.train.descent import Descent, LossOf, device
from guideway.pipeline.stages.train.loop import Loop
from guideway.pipeline.stages.train.recipes import distance
from guideway.pipeline.stages.train.rows import Rows
from guideway.pipeline.stages.train.start import load_base

RATE = 0.1
"""The peak of the learning rate, as a share of that of training: the model begins near where it shall end."""

TAUGHT = Distill(temperature=1.0, weight=1.0)
"""Nothing but the divergence."""


def recover(job: Job, folder: Path, rows: Rows, voice: Voice, *, train: Train, asked: Prune) -> None:
    """Train the pruned model in *folder* for the steps *asked*; what is zero by magnitude stays zero."""
    model, _ = load_base(folder)
    model = model.to(device())
    torch.set_num_threads(threads_for(sum(weight.numel() for weight in model.parameters())))
    context = min(train.architecture.context, int(getattr(model.config, "max_position_embeddings", 1 << 30)))
    examples = _examples(rows, voice, context)
    once = msgspec.structs.replace(
        train,
        steps=asked.recover_steps,
        learning_rate=RATE * train.learning_rate,
        validate_every=None,
        checkpoint_every=None,
        patience=None,
    )
    descent = _descent(model, job.inputs["train"], once, asked)
    learned = Loop(
        descent,
        lambda: batches(examples, train.batch, train.seed),
        once,
        progress=lambda done, total, note: job.progress(20 * done / total, 100, f"recovering: {note}"),
    ).run()
    model.cpu().eval().save_pretrained(folder)
    job.fact(f"KL {learned.curve[-1].loss:.1e} nats on training rows after {learned.step:,} steps of recovery")


class _Sparse(Descent):
    """Descent that keeps zeros zero."""

    def __init__(self, model: Any, loss: LossOf, train: Train, what: str) -> None:
        super().__init__(model, loss, train)
        self._zeros = Zeros(model, what)

    def step(self, batches: Sequence[Any], rate: float) -> float:
        """One step, and the zeros again."""
        loss = super().step(batches, rate)
        self._zeros.restore()
        return loss


def _descent(model: Any, source: Path, train: Train, asked: Prune) -> Descent:
    """Down the divergence from the trained model in *source*: the figure that compression is judged by."""
    teacher = load_base(source)[0].to(model.device).eval().requires_grad_(False)

    def loss(examples: Sequence[Example]) -> tuple[torch.Tensor, int]:
        batch = language.tensors(examples, model.device)
        with torch.no_grad():
            taught = language.logits(teacher, batch)
        total = distance(language.logits(model, batch), taught, batch.targets[batch.wanted], TAUGHT)
        return total, int(batch.wanted.sum())

    if asked.method == "magnitude":
        return _Sparse(model, loss, train, asked.what)
    return Descent(model, loss, train)


def _examples(rows: Rows, voice: Voice, context: int) -> list[Example]:
    """What stage train learned from: every answer that fits, and texts in blocks."""
    answers: list[Example] = []
    texts: list[Example] = []
    for row in rows.learned():
        if "text" in row:
            texts.append(voice.example(row))
        else:
            answers += [one for one in voice.every_answer(row) if len(one.ids) <= context]
    return answers + packed(texts, context)
