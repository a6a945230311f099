"""The traffic of one simulated rollout: what every request would do on either arm, drawn from one seed."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SIGMA = 0.6
"""Of the log-normal latency, whose median is 1."""
LIMITS_FROM = 5000
"""Requests of the stable release before the rollout, from which its limits are drawn."""
QUANTILES = (0.5, 0.9, 0.95, 0.99)
RATES = {"refusals": 0.02, "empty": 0.002, "truncated": 0.05, "guarded": 0.01, "language": 0.01}
THUMBS, DOWN = 0.02, 0.2
PAIRS = 200
"""Golden prompts asked of both arms: the scores of a pair differ by -1, 0 or 1, on the average by nothing."""
HIT_SECONDS, COLD = 0.005, 0.5
"""What a cached answer takes (the median is 1), and how many of the repeated prompts a cold cache has not seen."""


class World(NamedTuple):
    """What is wrong, if anything. ``tail``: a share of the candidate's requests that is five times slower.

    ``incident`` hits both arms from 30 % to 60 % of the requests: 8 % errors more, twice the latency. ``hits`` is the
    share of prompts that were asked before: the stable release has them cached, half of the candidate's are cold.
    """

    name: str
    stable_errors: float = 0.005
    candidate_errors: float = 0.005
    slower: float = 1.0
    tail: float = 0.0
    incident: bool = False
    hits: float = 0.0
    callers: int = 0


class Asked(NamedTuple):
    """The requests of one rollout, a row each: who asked, where it went, what came of it."""

    weight: Floats
    candidate: Bools
    caller: NDArray[np.int64] | None
    unit: Bools
    latency: Floats
    failed: Bools


class Traffic(NamedTuple):
    """One rollout: a row per request. ``weight`` is the candidate's at the request; ``events`` by signal.

    ``limits`` by signal, the group of latency under one name. ``thumbs``: somebody said something of the answer.
    ``pairs`` are differences of quality, candidate minus stable.
    """

    weight: Floats
    candidate: Bools
    caller: NDArray[np.int64] | None
    unit: Bools
    latency: Floats
    tokens_in: NDArray[np.int64]
    tokens_out: NDArray[np.int64]
    first_token: Floats
    per_token: Floats
    limits: dict[str, tuple[float, ...]]
    events: dict[str, Bools]
    thumbs: Bools
    pairs: Floats


def draw(world: World, weight: Floats, seed: tuple[int, ...], exact: bool = False) -> Traffic:
    """One rollout whose *weight* at each unit is given. ``exact``: limits are true quantiles, not those of a sample."""
    dice = np.random.default_rng(seed)
    count = len(weight)
    caller, slow, prone = _callers(world, dice, count)
    seen = dice.random(count) < world.hits
    weight = weight[np.minimum(np.cumsum(~seen), count - 1)] if world.hits else weight
    uniform = dice.random(count) if caller is None else dice.random(world.callers)[caller]
    candidate = uniform < weight
    latency = slow * np.exp(SIGMA * dice.standard_normal(count))
    latency *= np.where(candidate, world.slower, 1.0)
    latency *= np.where(candidate & (dice.random(count) < world.tail), 5.0, 1.0)
    rate = np.where(candidate, world.candidate_errors, world.stable_errors) * prone
    if world.incident:
        during = slice(int(count * 0.3), int(count * 0.6))
        latency[during] *= 2.0
        rate[during] += 0.08
    failed = dice.random(count) < rate
    hit = seen & (~candidate | (dice.random(count) >= COLD))
    latency[hit], failed[hit] = HIT_SECONDS, False
    asked = Asked(weight, candidate, caller, ~seen, latency, failed)
    return _signals(dice, asked, _limits(world, dice, exact))


def _callers(world: World, dice: np.random.Generator, count: int) -> tuple[NDArray[np.int64] | None, Floats, Floats]:
    """Who asks (the k-th caller 1/k as often as the first), how slow their prompts are, how prone to fail."""
    if not world.callers:
        return None, np.ones(count), np.ones(count)
    often = 1.0 / np.arange(1, world.callers + 1)
    caller = dice.choice(world.callers, size=count, p=often / often.sum())
    slow, prone = np.exp(0.3 * dice.standard_normal(world.callers)), dice.gamma(0.5, 2.0, world.callers)
    return caller, slow[caller], np.minimum(prone[caller], 10.0)


def _limits(world: World, dice: np.random.Generator, exact: bool) -> dict[str, tuple[float, ...]]:
    spread = np.hypot(SIGMA, 0.3) if world.callers else SIGMA
    sample = np.exp(spread * dice.standard_normal(LIMITS_FROM))
    waits = np.exp(SIGMA * dice.standard_normal((2, LIMITS_FROM)))
    asked, spent = _lengths(dice, LIMITS_FROM)
    return {
        "latency": tuple(
            math.exp(spread * NormalDist().inv_cdf(share)) if exact else _at(sample, share) for share in QUANTILES
        ),
        "first_token": (_at(waits[0], 0.9),),
        "per_token": (_at(waits[1], 0.9),),
        "tokens": (_at(asked + spent, 0.9),),
        "length": (_at(spent, 0.05), _at(spent, 0.95)),
    }


def _lengths(dice: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Tokens of prompts and of answers, 300 and 150 on the average."""
    lengths: NDArray[np.int64] = np.ceil(np.array([[300.0], [150.0]]) * dice.standard_exponential((2, count))).astype(
        int
    )
    return lengths


def _at(values: NDArray[Any], share: float) -> float:
    place = max(0, math.ceil(share * len(values)) - 1)
    return float(np.partition(values, place)[place])


def _signals(dice: np.random.Generator, asked: Asked, limits: dict[str, tuple[float, ...]]) -> Traffic:
    count, latency, good = len(asked.weight), asked.latency, ~asked.failed
    first, per = np.exp(SIGMA * dice.standard_normal((2, count), dtype=np.float32)).astype(np.float64)
    said = {name: dice.random(count, dtype=np.float32) < rate for name, rate in RATES.items()}
    read, spent = _lengths(dice, count)
    spent[said["empty"]] = 0
    thumbs = dice.random(count, dtype=np.float32) < THUMBS
    short, long = limits["length"]
    pairs = dice.choice([-1.0, 0.0, 1.0], PAIRS, p=[0.1, 0.8, 0.1])
    events = {
        "errors": asked.failed,
        **{
            f"latency_{name}": latency > limit
            for name, limit in zip(("p50", "p90", "p95", "p99"), limits["latency"], strict=True)
        },
        "first_token": first > limits["first_token"][0],
        "per_token": per > limits["per_token"][0],
        "tokens": good & (read + spent > limits["tokens"][0]),
        "refusals": good & said["refusals"],
        "empty": good & said["empty"],
        "truncated": good & said["truncated"],
        "guarded": said["guarded"],
        "length": good & ((spent < short) | (spent > long)),
        "language": said["language"],
        "feedback": thumbs & (dice.random(count, dtype=np.float32) < DOWN),
    }
    return Traffic(*asked[:5], read, spent, first, per, limits, events, thumbs, pairs)
