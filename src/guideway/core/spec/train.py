"""The keys of ``train``: where the weights come from, and how they are learned."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Literal

from msgspec import Meta

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.spec.imported import Imported
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


class Lora(Part, frozen=True):
    """Adapters for recipes lora and qlora: ``targets`` are names of linear layers, and none means all but the last."""

    rank: Positive = 8
    alpha: Annotated[float, Meta(gt=0.0)] = 16.0
    dropout: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.0
    targets: tuple[str, ...] = ()


class Distill(Part, frozen=True):
    """What a student learns by: ``weight`` is the share of what the teacher says, the rest is what the data says."""

    temperature: Annotated[float, Meta(gt=0.0)] = 2.0
    weight: Share = 0.5


class Contrast(Part, frozen=True):
    """What ``task: embed`` learns by. Every text of a batch is told from the others by its cosine, divided by
    ``temperature``; ``pooling`` makes one vector of the tokens: their mean, or the first one (``cls``).
    """

    temperature: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.05
    pooling: Literal["mean", "cls"] = "mean"


class Privacy(Part, frozen=True):
    """Differential privacy of every training row: what the weights may tell of it is bounded by ``epsilon``.

    ``delta`` is the chance that the bound does not hold. ``budget`` bounds the sum over all trainings on the same
    rows; where it is not set, it is ``epsilon``, so that the rows are used once.
    """

    epsilon: Annotated[float, Meta(gt=0.0)]
    delta: Annotated[float, Meta(gt=0.0, lt=1.0)] = 1e-5
    max_grad_norm: Annotated[float, Meta(gt=0.0)] = 1.0
    budget: Annotated[float, Meta(gt=0.0)] | None = None


class Train(Part, frozen=True):
    """``scratch`` makes a small Llama with its own BPE tokenizer; the other recipes start from the folder in ``base``.

    ``full`` changes all its weights, ``lora`` learns adapters and merges them, ``qlora`` learns them while the base is
    held in 4 bits and merges them into the whole base, and ``distill`` teaches a new Llama of the shape in
    ``architecture`` what ``teacher``, or else the base, knows. ``import`` trains nothing: the base, a folder or one
    file, ships as it came, and ``imported`` says what is known of it.

    ``steps: 0`` takes the base as it is, for ``task: embed``.

    A step learns from ``accumulate`` batches of ``batch`` rows. ``validate_every`` and ``checkpoint_every`` count
    steps; where they are not set, they are a tenth of all. ``patience`` ends training after so many validations
    without improvement, and keeps the best weights. With ``class_weights`` every class of a classifier counts the
    same, however many rows it has. ``processes`` share the rows of every batch; where they run is said in ``runner``.
    """

    recipe: Literal["scratch", "full", "lora", "qlora", "distill", "import"] = "scratch"
    base: str | None = None
    teacher: str | None = None
    imported: Imported | None = None
    architecture: Architecture = Architecture()
    lora: Lora = Lora()
    distill: Distill = Distill()
    contrast: Contrast = Contrast()
    steps: Annotated[int, Meta(ge=0)] = 1000
    batch: Positive = 32
    accumulate: Positive = 1
    processes: Annotated[int, Meta(ge=1, le=1024)] = 1
    learning_rate: Annotated[float, Meta(gt=0.0)] = 3e-3
    warmup: Annotated[int, Meta(ge=0)] = 50
    weight_decay: Annotated[float, Meta(ge=0.0)] = 0.1
    class_weights: bool = False
    precision: Literal["fp32", "bf16"] = "fp32"
    validation: Validation = Validation()
    validate_every: Positive | None = None
    patience: Positive | None = None
    checkpoint_every: Positive | None = None
    privacy: Privacy | None = None
    seed: int = 7


def check_train(train: Train, splits: Collection[str], marked: Marked) -> None:
    """Refuse a training that means nothing or two things.

    Raises:
        SpecError: names the line.
    """
    _check_base(train, marked)
    _check_privacy(train, marked)
    _check_processes(train, marked)
    split = train.validation.split
    if split and split not in splits:
        raise SpecError(
            f"there is no split called '{split}'",
            where=marked.where(("train", "validation", "split")),
            try_this=did_you_mean(split, splits),
        )


def _check_base(train: Train, marked: Marked) -> None:
    where = marked.where(("train", "recipe"))
    if train.recipe == "distill" and not (train.teacher or train.base):
        raise SpecError("recipe 'distill' needs a teacher", where=where, try_this="set train.teacher to a folder")
    if train.recipe in ("full", "lora", "qlora", "import") and not train.base:
        raise SpecError(
            f"recipe '{train.recipe}' needs a base model",
            where=where,
            try_this="set train.base to a Hugging Face folder" + (" or a file" if train.recipe == "import" else ""),
        )
    if train.teacher and train.recipe != "distill":
        raise SpecError(
            f"recipe '{train.recipe}' has no teacher",
            where=marked.where(("train", "teacher")),
            try_this="remove it, or write recipe: distill",
        )


def _check_privacy(train: Train, marked: Marked) -> None:
    if train.privacy is None:
        return
    where = marked.where(("train", "privacy"))
    if train.recipe not in ("full", "lora"):
        what = "makes its tokenizer from the rows" if train.recipe == "scratch" else "cannot learn with privacy"
        raise SpecError(f"recipe '{train.recipe}' {what}", where=where, try_this="recipe: full or lora, with a base")
    if train.precision != "fp32":
        raise SpecError("training with privacy needs precision fp32", where=where, try_this="remove `precision`")
    if train.privacy.budget is not None and train.privacy.budget < train.privacy.epsilon:
        raise SpecError(
            "the budget is less than this training alone may spend", where=where, try_this="a budget of epsilon or more"
        )


def _check_processes(train: Train, marked: Marked) -> None:
    if train.processes > train.batch:
        raise SpecError(
            f"{train.processes} processes cannot share a batch of {train.batch} rows",
            where=marked.where(("train", "processes")),
            try_this=f"processes: {train.batch} or fewer, or a larger batch",
        )
    if train.processes > 1 and train.privacy:
        raise SpecError(
            "training with privacy has one process: the noise and the sample of a step are drawn once",
            where=marked.where(("train", "processes")),
            try_this="processes: 1",
        )


def check_weights(weights: Sequence[float | None], train: Train, marked: Marked) -> None:
    """Refuse sources of which only some have a weight, and weights where every row must have the same chance.

    Raises:
        SpecError: names the line of the source.
    """
    if any(weights) and train.privacy:
        raise SpecError(
            "with privacy, every row has the same chance: sources have no weights",
            where=marked.where(("data", "sources", 0)),
            try_this="remove the weights",
        )
    if None in weights and any(weights):
        raise SpecError(
            "this source has no weight, and others have one",
            where=marked.where(("data", "sources", weights.index(None))),
            try_this="give every source a weight, or none",
        )
