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
from guideway.pipeline.stages.train.descent import place_for
from guideway.pipeline.stages.train.kernels import bring_bitsandbytes
from guideway.pipeline.stages.train.loop import Validation
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

    def finish(self, job: Job, held: Sequence[Example]) -> Validation | None:
        """Make the model what is saved, and leave what this recipe has to say; *held* are the validation rows.

        What validation finds of it is returned where another model learned.
        """
        return None


class Adapted(Recipe):
    """Only adapters learn. In the end they are merged, and also kept alone."""

    def __init__(self, model: Any, tokenizer: Any, train: Train) -> None:
        bring_bitsandbytes()
        from guideway.pipeline.stages.train.adapter import Adapter

        super().__init__(model, tokenizer)
        self._train = train
        self._adapter = Adapter(model, train.lora, str(train.base))

    def finish(self, job: Job, held: Sequence[Example]) -> Validation | None:
        """Keep the adapter, and merge it."""
        learned = self._adapter.size
        self._adapter.save(job.out / ADAPTER)
        found = self._merge(job, held)
        whole = sum(weight.numel() for weight in self.model.parameters())
        job.fact(f"{learned:,} weights of an adapter learned, {whole:,} stayed")
        return found

    def _merge(self, job: Job, held: Sequence[Example]) -> Validation | None:
        """Make the model one that has the adapter in its weights; what validation finds of it, where that is news."""
        self._adapter.merge()
        return None


class InFourBits(Adapted):
    """Adapters learn on a base in four bits, and are merged into the whole base: what ships never ran in training."""

    def __init__(self, model: Any, tokenizer: Any, train: Train, base: Path) -> None:
        self._base, self._bytes = base, int(model.get_memory_footprint())
        super().__init__(model, tokenizer, train)

    def _merge(self, job: Job, held: Sequence[Example]) -> Validation | None:
        before = self._losses(held)
        job.progress(self._train.steps, self._train.steps, "merging into the whole base")
        self.model = None  # the two are never in memory together
        self.model = self._adapter.move(lambda: load_base(self._base)[0])
        self._adapter.merge()
        self.model.to(place_for(sum(weight.numel() for weight in self.model.parameters())))
        job.fact(f"the base was held in {self._bytes / 1e6:,.1f} MB while it learned")
        after = self._losses(held)
        if not (before and after):
            return None
        apart = _apart(after, before)
        _measure(job, self._train, "merge_gap", apart)
        job.fact(f"merged, the loss on held-out rows is {_mean(apart):+.4f} from that of the model that learned")
        return language.validation_of(after)

    def _losses(self, held: Sequence[Example]) -> language.RowLosses | None:
        if not held:
            return None
        return language.row_losses(self.model.eval(), held, self._train.batch, self._train.precision)


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

    def finish(self, job: Job, held: Sequence[Example]) -> Validation | None:
        """Say how much smaller the student is, and how much worse on the rows that neither learned here."""
        student, teacher = (sum(one.numel() for one in model.parameters()) for model in (self.model, self._teacher))
        job.measure("size_ratio", student / teacher, "share", about="out", n=teacher)
        job.fact(f"{student / teacher:.1%} of the teacher's {teacher:,} weights")
        if not held:
            return None
        own, theirs = (
            language.row_losses(model, held, self._train.batch) for model in (self.model.eval(), self._teacher)
        )
        apart = _apart(own, theirs)
        _measure(job, self._train, "teacher_loss", theirs)
        _measure(job, self._train, "distillation_gap", apart)
        job.fact(f"the student's loss on held-out rows is {_mean(apart):+.3f} from the teacher's")
        return None


def _apart(one: language.RowLosses, other: language.RowLosses) -> language.RowLosses:
    """The losses of *one* less those of *other*, which was asked the same rows."""
    return language.RowLosses([left - right for left, right in zip(one.sums, other.sums, strict=True)], one.tokens)


def _mean(found: language.RowLosses) -> float:
    return sum(found.sums) / sum(found.tokens)


def _measure(job: Job, train: Train, metric: str, found: language.RowLosses) -> None:
    """Leave what was *found* on the validation rows as evidence, in nats per token."""
    where = train.validation.split or "validation"
    interval = bootstrap(found.sums, found.tokens, train.seed)
    job.measure(metric, _mean(found), "nats/token", about="out", n=len(found.sums), slice=where, interval=interval)


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
    if train.recipe == "qlora":
        from guideway.pipeline.stages.train.four_bits import load_in_four_bits

        return InFourBits(*load_in_four_bits(base, train.precision), train, base)
    model, tokenizer = load_base(base)
    return Adapted(model, tokenizer, train) if train.recipe == "lora" else Recipe(model, tokenizer)


def _scratch(job: Job, train: Train, rows: Rows) -> Recipe:
    job.progress(0, train.steps, "making the tokenizer")
    shape = train.architecture
    cut = job.params.get("cut", "")
    tokenizer = make_tokenizer(texts_of(rows.learned()), shape.vocabulary, shape.context, cut)
    return Recipe(make_model(shape, len(tokenizer), tokenizer.eos_token_id, train.seed), tokenizer)
