"""The recipes: where the model comes from, what it learns by, and what is left to do when it has learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from guideway.core.protocols import Job
from guideway.core.spec import Distill, Train
from guideway.pipeline.stages.examples import Example, texts_of
from guideway.pipeline.stages.intervals import bootstrap
from guideway.pipeline.stages.train import language
from guideway.pipeline.stages.train.rows import Rows
from guideway.pipeline.stages.train.start import load_base, make_model, make_tokenizer

ADAPTER = "adapter"
"""The folder of the adapter alone, beside the merged model."""


class Recipe:
    """A model that learns from the loss on what it should say; nothing is left to do."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer

    def loss(self, examples: Sequence[Example]) -> tuple[torch.Tensor, int]:
        """What is made smaller: a sum over predicted tokens, and how many they are."""
        return language.loss(self.model, examples)

    def finish(self, job: Job, held: Sequence[Example]) -> None:
        """Make the model what is saved, and leave what this recipe has to say; *held* are the validation rows."""


class Adapted(Recipe):
    """Only adapters learn. In the end they are merged, and also kept alone."""

    def __init__(self, model: Any, tokenizer: Any, train: Train) -> None:
        from guideway.pipeline.stages.train.adapter import Adapter

        super().__init__(model, tokenizer)
        whole = sum(weight.numel() for weight in model.parameters())
        self._adapter = Adapter(model, train.lora, str(train.base))
        self._said = f"{self._adapter.size:,} weights of an adapter learned, {whole:,} stayed"

    def finish(self, job: Job, held: Sequence[Example]) -> None:
        """Keep the adapter, and merge it."""
        self._adapter.merge(job.out / ADAPTER)
        job.fact(self._said)


class Distilled(Recipe):
    """A small student learns from the data and from what a larger teacher finds likely (Hinton et al. 2015)."""

    def __init__(self, student: Any, teacher: Any, tokenizer: Any, train: Train) -> None:
        super().__init__(student, tokenizer)
        self._teacher, self._train = teacher.eval().requires_grad_(False), train

    def loss(self, examples: Sequence[Example]) -> tuple[torch.Tensor, int]:
        """The cross entropy of the answers, mixed with the distance to the teacher."""
        batch = language.tensors(examples, self.model.device)
        with torch.no_grad():
            taught = language.logits(self._teacher.to(self.model.device), batch)
        total = distance(language.logits(self.model, batch), taught, batch.targets[batch.wanted], self._train.distill)
        return total, int(batch.wanted.sum())

    def finish(self, job: Job, held: Sequence[Example]) -> None:
        """Say how much smaller the student is, and how much worse on the rows that neither learned here."""
        student, teacher = (sum(one.numel() for one in model.parameters()) for model in (self.model, self._teacher))
        job.measure("size_ratio", student / teacher, "share", about="out", n=teacher)
        job.fact(f"{student / teacher:.1%} of the teacher's {teacher:,} weights")
        if not held:
            return
        own, theirs = (
            language.row_losses(model, held, self._train.batch) for model in (self.model.eval(), self._teacher)
        )
        where, tokens = self._train.validation.split or "validation", own.tokens
        apart = [one - other for one, other in zip(own.sums, theirs.sums, strict=True)]
        for metric, sums in (("teacher_loss", theirs.sums), ("distillation_gap", apart)):
            interval = bootstrap(sums, tokens, self._train.seed)
            value = sum(sums) / sum(tokens)
            job.measure(metric, value, "nats/token", about="out", n=len(held), slice=where, interval=interval)
        job.fact(f"the student's loss on held-out rows is {sum(apart) / sum(tokens):+.3f} from the teacher's")


def distance(logits: torch.Tensor, taught: torch.Tensor, targets: torch.Tensor, asked: Distill) -> torch.Tensor:
    """Cross entropy to *targets*, and KL from the teacher at a temperature, in the shares asked for; a sum over tokens.

    The KL is scaled by the square of the temperature, so that its gradient does not shrink with it.
    """
    entropy = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    own, theirs = ((one / asked.temperature).log_softmax(dim=-1) for one in (logits, taught))
    apart = torch.nn.functional.kl_div(own, theirs, reduction="sum", log_target=True)
    return (1 - asked.weight) * entropy + asked.weight * asked.temperature**2 * apart


def start(job: Job, train: Train, rows: Rows, base: Path | None) -> Recipe:
    """The model to train, its tokenizer, and how it learns; all but ``scratch`` start from the model in *base*."""
    torch.manual_seed(train.seed)
    if base is None:
        return _scratch(job, train, rows)
    job.progress(0, train.steps, "loading the base")
    if train.recipe == "distill":
        teacher, tokenizer = load_base(base)
        shape = train.architecture
        student = make_model(shape, teacher.config.vocab_size, tokenizer.eos_token_id, train.seed)
        return Distilled(student, teacher, tokenizer, train)
    model, tokenizer = load_base(base)
    return Adapted(model, tokenizer, train) if train.recipe == "lora" else Recipe(model, tokenizer)


def _scratch(job: Job, train: Train, rows: Rows) -> Recipe:
    job.progress(0, train.steps, "making the tokenizer")
    shape = train.architecture
    cut = job.params.get("cut", "")
    tokenizer = make_tokenizer(texts_of(rows.learned()), shape.vocabulary, shape.context, cut)
    return Recipe(make_model(shape, len(tokenizer), tokenizer.eos_token_id, train.seed), tokenizer)
