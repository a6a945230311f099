"""Section 6 of the design once more, as arrays, apart from the package: fast enough for thousands of rollouts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from benchmarks.rollouts.worlds import Bools, Floats, Traffic

DELTAS = np.log(np.array([1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0]))
ALPHA, ALPHA_PROMOTE = 0.01, 0.05
OTHERS = 11
SHARE = {"errors": 0.5} | {f"latency_{name}": 0.05 for name in ("p50", "p90", "p95", "p99")}
TOLERATED = {name: 1.1 for name in SHARE if name != "errors"} | {"first_token": 1.1, "per_token": 1.1}
MARGINS = {"errors": 2.0, "latency_p50": 1.2, "latency_p95": 2.0}
STAKES = np.array([0.05, 0.1, 0.2, 0.35, 0.49])
OBJECTIVE = 0.01
NEVER = np.iinfo(np.int64).max


def log_threshold(signal: str) -> float:
    """log E at which *signal* stops."""
    return math.log(1.0 / (SHARE.get(signal, 0.3 / OTHERS) * ALPHA))


def log_e(candidate: Bools, share: Floats, null: float, deltas: Floats = DELTAS) -> Floats:
    """log E after every event."""
    return _log_mean_exp(_paths(candidate, share, null, deltas))


def _paths(candidate: Bools, share: Floats, null: float, deltas: Floats = DELTAS) -> Floats:
    changes = np.concatenate([[True], share[1:] != share[:-1]])[: len(share)]
    known, which = share[changes], np.cumsum(changes) - 1
    chance = known * null / (1.0 - known + known * null)
    stable = -np.log1p(chance[None, :] * np.expm1(deltas)[:, None])
    steps = np.concatenate([stable, stable + deltas[:, None]], axis=1)
    paths: Floats = np.cumsum(steps[:, which + candidate * len(known)], axis=1)
    return paths


def _log_mean_exp(paths: Floats) -> Floats:
    top = paths.max(axis=0)
    mean: Floats = top + np.log(np.exp(paths - top).mean(axis=0))
    return mean


def _first_over(paths: Floats, threshold: float) -> int:
    """Where E first reaches the threshold. A mean never exceeds its largest term, so most paths need no exponential."""
    if not paths.size or paths.max() < threshold:
        return NEVER
    over = np.flatnonzero(_log_mean_exp(paths) >= threshold)
    return int(over[0]) if len(over) else NEVER


def scored(traffic: Traffic, signal: str) -> tuple[NDArray[np.int64], Floats]:
    """Which requests score an event of *signal*, in order, and with what share."""
    at = np.flatnonzero(traffic.events[signal] & traffic.unit)
    if traffic.caller is None:
        return at, traffic.weight[at]
    kept, shares = [], []
    stable_at = np.zeros(int(traffic.caller.max()) + 1)
    for weight in np.unique(traffic.weight):
        here = at[traffic.weight[at] == weight]
        who, first = np.unique(traffic.caller[here], return_index=True)
        fresh = stable_at[who] < weight
        who, chosen = who[fresh], here[first[fresh]]
        kept.append(chosen)
        shares.append((weight - stable_at[who]) / (1.0 - stable_at[who]))
        stable_at[who] = np.where(traffic.candidate[chosen], 2.0, weight)
    places = np.concatenate(kept)
    order = np.argsort(places)
    return places[order], np.concatenate(shares)[order]


def stop(traffic: Traffic, only: tuple[str, ...] = (), every_event: bool = False) -> tuple[int, str]:
    """The request at which the rollout is stopped, and by which signal; ``NEVER``: by none.

    ``every_event`` counts what the rule of units leaves out: repeated prompts, and all events of a caller.
    """
    found = (NEVER, "")
    for signal in only or tuple(traffic.events):
        at, share = _every_event(traffic, signal) if every_event else scored(traffic, signal)
        paths = _paths(traffic.candidate[at], share, TOLERATED.get(signal, 1.0))
        first = _first_over(paths, log_threshold(signal))
        if first != NEVER:
            found = min(found, (int(at[first]), signal))
    return found if only else min(found, (_quality(traffic), "quality"))


def _every_event(traffic: Traffic, signal: str) -> tuple[NDArray[np.int64], Floats]:
    at = np.flatnonzero(traffic.events[signal])
    return at, traffic.weight[at]


def _quality(traffic: Traffic) -> int:
    """The request before which the pairs, spread evenly over the rollout, stop it."""
    first = _first_over(np.cumsum(np.log1p(-STAKES[:, None] * traffic.pairs), axis=1), log_threshold("quality"))
    return NEVER if first == NEVER else first * len(traffic.weight) // len(traffic.pairs)


def promotion(traffic: Traffic, least: int) -> int:
    """The first request from unit *least* on at which every required signal is shown good; ``NEVER``: at none."""
    good = np.cumsum(traffic.unit) >= least
    for signal, margin in MARGINS.items():
        shown = _along(traffic, signal, margin)
        if signal == "errors":
            shown |= _own_rate_shown(traffic)
        good &= shown
    return int(np.flatnonzero(good)[0]) if good.any() else NEVER


def _along(traffic: Traffic, signal: str, margin: float) -> Bools:
    """After which requests the signal is shown non-inferior."""
    at, share = scored(traffic, signal)
    path = np.concatenate([[0.0], log_e(traffic.candidate[at], share, margin, -DELTAS)]) if len(at) else np.zeros(1)
    counts = np.zeros(len(traffic.weight), dtype=np.int64)
    counts[at] = 1
    shown: Bools = path[np.cumsum(counts)] >= math.log(2.0 / ALPHA_PROMOTE)
    return shown


def _own_rate_shown(traffic: Traffic) -> Bools:
    """After which requests the candidate's own rate of errors is shown to be below its objective."""
    own = traffic.candidate & traffic.unit
    each = np.log1p(OBJECTIVE * np.expm1(-DELTAS))[:, None]
    paths = -DELTAS[:, None] * np.cumsum(own & traffic.events["errors"]) - each * np.cumsum(own)
    shown: Bools = _log_mean_exp(paths) >= math.log(2.0 / ALPHA_PROMOTE)
    return shown
