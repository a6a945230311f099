"""Which candidate ships. Pure: figures in, a choice out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from guideway.core.errors import Refused
from guideway.pipeline.stages.compress.distance import Apart
from guideway.pipeline.stages.compress.race import Estimate, Speed, gain

MARGIN = 0.05
"""The share of time that a less exact candidate must be shown to save."""


class Variant(NamedTuple):
    """One way to compress: a precision, of the model as it was trained or of what pruning left."""

    precision: str
    pruned: bool = False

    @property
    def name(self) -> str:
        """``int8``, or ``int8 pruned``."""
        return f"{self.precision} pruned" if self.pruned else self.precision


class Candidate(NamedTuple):
    """One variant with its figures: ``size`` is bytes of weights, ``packed`` the same after zlib (None: not asked)."""

    variant: Variant
    apart: Apart
    speed: Speed
    size: int
    packed: int | None = None


class Limits(NamedTuple):
    """The loss that the spec allows."""

    kl: float
    flips: float


class Choice(NamedTuple):
    """The candidate that ships, the fastest one that may, and what that one would save, in pairs."""

    chosen: Candidate
    fastest: Candidate
    saves: Estimate


def keeps(candidate: Candidate, limits: Limits) -> bool:
    """Is it within the limits, up to the upper end of its intervals?"""
    apart = candidate.apart
    return apart.kl_interval.high <= limits.kl and apart.flips_interval.high <= limits.flips


def choose(candidates: Sequence[Candidate], limits: Limits) -> Choice:
    """The fastest candidate within the limits, or a more exact one that it is not shown to beat by ``MARGIN``.

    Fastest is the smallest time per token, and of equal ones the smaller; more exact is the smaller divergence. The
    fastest must save ``MARGIN`` at the lower end of the interval: noise keeps the more exact one.

    Raises:
        Refused: none is within the limits; with all figures.
    """
    able = [one for one in candidates if keeps(one, limits)]
    if not able:
        raise _none(candidates, limits)
    fastest = min(able, key=lambda one: (one.speed.time.value, one.size))
    for one in sorted(able, key=_exactness):
        saves = gain(fastest.speed.each, one.speed.each)
        if one is fastest or saves.interval.low < MARGIN:
            return Choice(one, fastest, saves)
    raise AssertionError("the fastest one is among them")


def most_exact(candidates: Sequence[Candidate]) -> Candidate:
    """The one nearest to its source, and of equal ones the smaller: what the others are compared with."""
    return min(candidates, key=_exactness)


def _exactness(candidate: Candidate) -> tuple[float, int]:
    return candidate.apart.kl, candidate.size


def _none(candidates: Sequence[Candidate], limits: Limits) -> Refused:
    said = "; ".join(
        f"{one.variant.name}: KL {one.apart.kl:.2g} (up to {one.apart.kl_interval.high:.2g}), "
        f"flips {one.apart.flips:.2%} (up to {one.apart.flips_interval.high:.2%}), "
        f"{one.speed.time.value * 1e3:.3g} ms/token, {one.size / 1e6:.1f} MB"
        for one in candidates
    )
    positions = candidates[0].apart.n
    return Refused(
        f"no candidate keeps to KL {limits.kl:g} and flips {limits.flips:.2%} with the upper end of its interval, "
        f"on {positions:,} positions: {said}",
        where="compress",
        try_this="add fp32 to the candidates, prune less, or hold out more rows: few positions make wide intervals",
    )
