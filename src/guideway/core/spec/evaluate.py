"""The key ``evaluate``: what is measured on held-out rows, and what must hold."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.spec.judge import Judge, problem_of
from guideway.core.spec.marked import Marked
from guideway.core.spec.part import Part, Positive, Share
from guideway.core.spec.refusals import Refusals

Kind = Literal["typos", "homoglyphs", "capitals", "truncation", "noise"]
ALL_KINDS: tuple[Kind, ...] = ("typos", "homoglyphs", "capitals", "truncation", "noise")


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
    the rows of a class that it should find at least, in every class. ``against`` is the release that the new one is
    compared with on the same rows: ``serving``, or ``release:NAME@DIGEST``; empty: none.
    """

    examples: Positive = 400
    max_tokens: Positive = 24
    folds: Annotated[int, Meta(ge=0, le=20)] = 0
    class_floor: Share = 0.0
    require: tuple[Requirement, ...] = ()
    slices: tuple[Slices, ...] = ()
    perturb: Perturb = msgspec.field(default_factory=Perturb)
    refusals: Refusals | None = None
    against: str = ""
    judge: Judge | None = None


_AGAINST = re.compile(r"|serving|release:[a-z0-9][a-z0-9._-]*@sha256:[0-9a-f]{64}")


def check_evaluate(asked: Evaluate, splits: Collection[str], marked: Marked) -> None:
    """Refuse what names no release, no judge or no split.

    Raises:
        SpecError: ``against`` is neither ``serving`` nor one release; the judge cannot be reached like that.
    """
    judge, at = asked.judge, ("evaluate", "judge")
    if judge and (problem := problem_of(judge)):
        advice = "write https://HOST/v1, or http://127.0.0.1:PORT/v1 for one on this machine"
        raise SpecError(problem, where=marked.where((*at, "url")), try_this=advice)
    if judge and judge.split not in {"", *splits}:
        where = marked.where((*at, "split"))
        raise SpecError(
            f"there is no split called '{judge.split}'", where=where, try_this=did_you_mean(judge.split, splits)
        )
    if not _AGAINST.fullmatch(asked.against):
        raise SpecError(
            f"'{asked.against}' does not say which release",
            where=marked.where(("evaluate", "against")),
            try_this="write serving, or release:NAME@sha256:... with the digits that `guideway releases --json` shows",
        )
