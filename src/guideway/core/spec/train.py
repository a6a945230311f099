"""The keys of ``train``: where the weights come from, and how they are learned."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from msgspec import Meta

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.spec.marked import Marked
from guideway.core.spec.part import Part, Positive, Share


class Architecture(Part, frozen=True):
    """Shape of a Llama model trained from scratch. ``context`` is in tokens."""

    layers: Positive = 4
    hidden: Positive = 256
    heads: Positive = 4
    kv_heads: Positive = 2
    feed_forward: Positive = 704
    vocabulary: Annotated[int, Meta(ge=300)] = 2048
    context: Annotated[int, Meta(ge=16)] = 256


class Validation(Part, frozen=True):
    """What training is watched on: the rows of ``split``, or, while that is empty, a ``share`` of the training rows.

    At most ``rows`` are taken, by a hash of their content; training never sees them.
    """

    split: str = ""
    share: Share = 0.05
    rows: Positive = 200


class Train(Part, frozen=True):
    """``scratch`` makes a small Llama with its own BPE tokenizer; ``full`` fine-tunes the folder in ``base``.

    A step learns from ``accumulate`` batches of ``batch`` rows. ``validate_every`` and ``checkpoint_every`` count
    steps; where they are not set, they are a tenth of all. ``patience`` ends training after so many validations
    without improvement, and keeps the best weights. With ``class_weights`` every class of a classifier counts the
    same, however many rows it has.
    """

    recipe: Literal["scratch", "full"] = "scratch"
    base: str | None = None
    architecture: Architecture = Architecture()
    steps: Positive = 1000
    batch: Positive = 32
    accumulate: Positive = 1
    learning_rate: Annotated[float, Meta(gt=0.0)] = 3e-3
    warmup: Annotated[int, Meta(ge=0)] = 50
    weight_decay: Annotated[float, Meta(ge=0.0)] = 0.1
    class_weights: bool = False
    precision: Literal["fp32", "bf16"] = "fp32"
    validation: Validation = Validation()
    validate_every: Positive | None = None
    patience: Positive | None = None
    checkpoint_every: Positive | None = None
    seed: int = 7


def every(asked: int | None, steps: int) -> int:
    """Steps between two validations or checkpoints: what was *asked*, or a tenth of all *steps*."""
    return asked or max(1, steps // 10)


def check_train(train: Train, splits: Collection[str], marked: Marked) -> None:
    """Refuse a training that means nothing or two things.

    Raises:
        SpecError: names the line.
    """
    if train.recipe == "full" and not train.base:
        raise SpecError(
            "recipe 'full' needs a base model",
            where=marked.where(("train", "recipe")),
            try_this="set train.base to a Hugging Face folder",
        )
    split = train.validation.split
    if split and split not in splits:
        raise SpecError(
            f"there is no split called '{split}'",
            where=marked.where(("train", "validation", "split")),
            try_this=did_you_mean(split, splits),
        )
