"""The keys of ``compress``: the precision of the model that ships, what is pruned, and the loss that is allowed."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from guideway.core.errors import SpecError
from guideway.core.spec.marked import Marked
from guideway.core.spec.part import Part, Share
from guideway.core.spec.train import Train

Precision = Literal["int4", "int8", "fp32"]
NO_RACE = {
    "transformers": "the engine transformers serves the model as it was trained",
    "vllm": "candidates for the engine vllm cannot race here, because another server runs them",
}
"""Engines whose models our own replica does not serve, and so cannot choose from."""
ALL_PRECISIONS: tuple[Precision, ...] = ("int4", "int8", "fp32")


class Prune(Part, frozen=True):
    """What is taken out of the model before it is exported.

    ``structured`` removes whole channels of the feed-forward layers (``mlp``) or attention ``heads``, the least
    important ones on training rows, so that the model is smaller and faster. ``magnitude`` sets the smallest weights
    of the same matrices to zero: files compress better, and nothing is faster. What is left then
    learns for ``recover_steps`` steps to say what the trained model says.
    """

    method: Literal["structured", "magnitude"] = "structured"
    share: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.2
    what: Literal["mlp", "heads"] = "mlp"
    recover_steps: Annotated[int, Meta(ge=0)] = 0


class Compress(Part, frozen=True):
    """Precision of the model that ships, and the loss that is allowed against the trained one.

    ``auto`` measures the ``candidates`` on the machine that builds, and takes the fastest one that keeps to the limits.
    ``bf16``, ``w8a8``, ``w4a16`` and ``fp8`` are for the engine vllm.
    """

    precision: Literal["auto", "fp32", "int8", "int4", "bf16", "w8a8", "w4a16", "fp8"] = "int8"
    candidates: Annotated[tuple[Precision, ...], Meta(min_length=1)] = ALL_PRECISIONS
    prune: Prune | None = None
    max_kl: Annotated[float, Meta(gt=0.0)] = 0.02
    max_flips: Share = 0.02


def check_compress(compress: Compress, train: Train, engine: str, marked: Marked) -> None:
    """Refuse a compression that means nothing or two things; *engine* is the one that serves.

    Raises:
        SpecError: names the line.
    """
    if len(set(compress.candidates)) < len(compress.candidates):
        raise SpecError(
            "a candidate is there twice",
            where=marked.where(("compress", "candidates")),
            try_this="name each precision once",
        )
    if compress.precision != "auto" and compress.candidates != ALL_PRECISIONS:
        raise SpecError(
            f"precision {compress.precision} has no candidates",
            where=marked.where(("compress", "candidates")),
            try_this="remove them, or write precision: auto",
        )
    if compress.prune and train.privacy:
        raise SpecError(
            "pruning reads training rows once more, and what it learns of them is in no budget of privacy",
            where=marked.where(("compress", "prune")),
            try_this="remove it, or train without train.privacy",
        )
    key = "prune" if compress.prune else "precision" if compress.precision == "auto" else ""
    if key and engine in NO_RACE:
        raise SpecError(
            NO_RACE[engine],
            where=marked.where(("compress", key)),
            try_this=f"remove compress.{key}, or write serve.engine: onnx",
        )
