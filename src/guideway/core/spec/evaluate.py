"""The key ``evaluate``: what is measured on held-out rows, and what must hold."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from guideway.core.spec.part import Part, Positive, Share

Kind = Literal["typos", "homoglyphs", "capitals", "truncation", "noise"]
ALL_KINDS: tuple[Kind, ...] = ("typos", "homoglyphs", "capitals", "truncation", "noise")


Pinned = Annotated[str, Meta(pattern=r"^release:[a-z0-9][a-z0-9._-]*@sha256:[0-9a-f]{64}$")]
"""A release of this home, by name and digest."""


class Requirement(Part, frozen=True):
    """A figure that must hold before a release is sealed. ``about`` says of which model it must speak."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    split: str = ""
    about: Literal["shipped", "trained"] = "shipped"


class Slices(Part, frozen=True):
    """Rows with the same value in the field ``by`` are a slice, and none may score below ``floor``.

    A slice of fewer rows than ``least`` is shown and not judged.
    """

    by: Annotated[str, Meta(min_length=1)]
    floor: Share
    least: Positive = 20


class Perturb(Part, frozen=True):
    """What prompts suffer, and on how many rows it is measured; no ``kinds``: it is not measured."""

    kinds: tuple[Kind, ...] = ALL_KINDS
    examples: Positive = 100


class Evaluate(Part, frozen=True):
    """What is measured on every split, and what must hold. ``examples`` bounds the rows asked per split.

    ``folds`` above 1 train a classifier so often again, for the spread between folds; ``class_floor`` is the share of
    the rows of a class that it should find at least, in every class. ``against`` is a release with which an imported
    classifier is compared in pairs, on the same rows.
    """

    examples: Positive = 400
    max_tokens: Positive = 24
    folds: Annotated[int, Meta(ge=0, le=20)] = 0
    class_floor: Share = 0.0
    against: Pinned | None = None
    require: tuple[Requirement, ...] = ()
    slices: tuple[Slices, ...] = ()
    perturb: Perturb = msgspec.field(default_factory=Perturb)
