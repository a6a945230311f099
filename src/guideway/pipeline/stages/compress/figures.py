"""The figures of a candidate by name: the same for evidence and for the report."""

from __future__ import annotations

from typing import NamedTuple

from guideway.core.evidence import Interval
from guideway.pipeline.stages.compress.choose import MARGIN, Candidate, Choice
from guideway.pipeline.stages.compress.race import gain


class Figure(NamedTuple):
    """One figure; ``n`` counts positions, or rounds of the race."""

    metric: str
    value: float
    unit: str
    n: int = 0
    interval: Interval | None = None


def distance_figures(candidate: Candidate) -> list[Figure]:
    """How far it is from the trained model."""
    apart = candidate.apart
    return [
        Figure("kl_to_source", apart.kl, "nats/token", apart.n, apart.kl_interval),
        Figure("top1_flips", apart.flips, "share", apart.n, apart.flips_interval),
    ]


def cost_figures(candidate: Candidate, exact: Candidate) -> list[Figure]:
    """What it costs to keep and to run, and the share of time that it saves against the most *exact* one, in pairs."""
    speed = candidate.speed
    rounds = len(speed.each)
    saved = gain(speed.each, exact.speed.each)
    small = candidate.packed
    return [
        Figure("model_bytes", candidate.size, "bytes"),
        *([Figure("packed_bytes", small, "bytes")] if small is not None else []),
        Figure("prefill_speed", speed.prefill.value, "tokens/s", rounds, speed.prefill.interval),
        Figure("decode_speed", speed.decode.value, "tokens/s", rounds, speed.decode.interval),
        Figure("time_per_token", speed.time.value, "s", rounds, speed.time.interval),
        Figure("time_saved", saved.value, "share", rounds, saved.interval),
        Figure("replica_memory", speed.memory, "bytes", rounds),
    ]


def said(choice: Choice) -> str:
    """Why this one, in one line."""
    chosen, fastest = choice.chosen, choice.fastest
    cost = f"{chosen.speed.time.value * 1e3:.3g} ms/token, {chosen.size / 1e6:.1f} MB"
    if chosen is fastest:
        return f"{chosen.variant.name}: {cost}"
    around = choice.saves.interval
    return (
        f"{chosen.variant.name}: {cost}; {fastest.variant.name} would save {choice.saves.value:.1%} of the time "
        f"({around.low:.1%} to {around.high:.1%}), which is not surely {MARGIN:.0%}"
    )
