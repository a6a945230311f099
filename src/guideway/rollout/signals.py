"""Which signals there are, what each has of alpha, and what of one request is an event of which.

An event is a bad thing that a request did or did not do. Limits are fixed before the rollout starts, from what the
stable release did; during the rollout nobody moves them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from guideway.core.outcome import Outcome

LATENCY = ("latency_p50", "latency_p90", "latency_p95", "latency_p99")
QUANTILES = (0.5, 0.9, 0.95, 0.99)
OTHERS = (
    "first_token",
    "per_token",
    "tokens",
    "refusals",
    "empty",
    "truncated",
    "guarded",
    "length",
    "language",
    "feedback",
    "quality",
)
NAMES = ("errors", *LATENCY, *OTHERS)
SHARES: dict[str, float] = {
    "errors": 0.5,
    **dict.fromkeys(LATENCY, 0.2 / len(LATENCY)),
    **dict.fromkeys(OTHERS, 0.3 / len(OTHERS)),
}
"""What each signal has of alpha, whether or not it ever speaks. The sum is 1."""
TOLERATED = {**dict.fromkeys(LATENCY, 1.1), "first_token": 1.1, "per_token": 1.1}
"""The ratio of rates that is no fault; 1 for every signal that is not named."""
QUALITY = "quality"
"""The one signal that is not of events: pairs of scores (:mod:`guideway.rollout.quality`)."""

_TAIL = 0.9
"""The quantile of the stable release that makes the limit of first token, time per token and tokens."""
_SHORT, _LONG = 0.05, 0.95
"""Between these quantiles of the stable release an answer has the usual length."""
FEWEST = 200
"""Requests without which no limit is drawn: the ninety-ninth percentile of fewer is the word of one."""
_FAILURES = ("connect", "broken", "status", "garbage", "time-out", "no replica")
"""What an arm is to blame for. A client that left is none of them."""


class Limits(msgspec.Struct, frozen=True):
    """Beyond what a request is an event. Times in milliseconds; empty or None: not known, so the signal is silent.

    ``latency`` has one limit for each of ``QUANTILES``; ``tokens`` are of prompt and answer together; ``length`` is
    the usual length of an answer in tokens, from and to.
    """

    latency: tuple[float, ...] = ()
    first_token: float | None = None
    per_token: float | None = None
    tokens: float | None = None
    length: tuple[float, float] | None = None


def limits_from(outcomes: Iterable[Outcome]) -> Limits:
    """The limits that follow from *outcomes* of the stable release before the rollout; failed requests are left out."""
    good = [one for one in outcomes if answered(one) and not one.cached]
    spent = sorted(one.output_tokens for one in good if one.output_tokens is not None)
    enough = len(spent) >= FEWEST
    return Limits(
        latency=_quantiles([one.latency for one in good if one.latency is not None]),
        first_token=_tail([one.first_token for one in good if one.stream and one.first_token is not None]),
        per_token=_tail([one.per_token for one in good if one.per_token is not None]),
        tokens=_tail([float(total) for total in map(_tokens, good) if total is not None]),
        length=(quantile(spent, _SHORT), quantile(spent, _LONG)) if enough else None,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of *ordered* that *share* of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def tried(outcome: Outcome) -> bool:
    """Did the arm have a part in it? Who was refused for a budget, or for want of a place, never came to an arm.

    What the rules of a release refused is its own doing.
    """
    return bool(outcome.first_status or outcome.failure or outcome.guarded or outcome.overdue == "running")


def answered(outcome: Outcome) -> bool:
    """Did the first attempt bring an answer that was meant to be one?"""
    return not outcome.failure and not outcome.retried and 200 <= outcome.first_status < 300


def events(outcome: Outcome, limits: Limits) -> dict[str, bool]:
    """Which signals *outcome* speaks to, and for which of them it is an event. Feedback comes later (:func:`late`)."""
    said: dict[str, bool | None] = {
        "errors": _error(outcome),
        **{name: _late_answer(outcome, limit) for name, limit in zip(LATENCY, limits.latency, strict=False)},
        "first_token": _first_token(outcome, limits.first_token),
        "per_token": _above(outcome.per_token, limits.per_token),
        "guarded": outcome.guarded,
        **(_of_the_answer(outcome, limits) if answered(outcome) else {}),
    }
    return {name: event for name, event in said.items() if event is not None}


def run_out(outcome: Outcome, limits: Limits) -> dict[str, bool]:
    """The events of a request that is still under way: the limits on latency that it ran past, and nothing else."""
    return {name: True for name, limit in zip(LATENCY, limits.latency, strict=False) if limit in outcome.exceeded}


def late(thumb: Literal["up", "down"] | None = None, other_language: bool | None = None) -> dict[str, bool]:
    """Events that are only known after the request: what its user says, or that it was in an unusual language."""
    said = {"feedback": None if thumb is None else thumb == "down", "language": other_language}
    return {name: event for name, event in said.items() if event is not None}


def _of_the_answer(outcome: Outcome, limits: Limits) -> dict[str, bool | None]:
    spent, usual = outcome.output_tokens, limits.length
    return {
        "tokens": _above(_tokens(outcome), limits.tokens),
        "refusals": outcome.refused,
        "empty": None if spent is None else spent == 0,
        "truncated": outcome.finish_reason == "length" if outcome.finish_reason else None,
        "length": None if spent is None or usual is None else not usual[0] <= spent <= usual[1],
        "language": outcome.other_language,
    }


def _error(outcome: Outcome) -> bool | None:
    if outcome.failure in _FAILURES or outcome.first_status >= 500:
        return True
    # what a client did wrong says nothing of an arm, and must not count as a request that went well
    return None if outcome.failure or not outcome.first_status or outcome.first_status >= 400 else False


def _late_answer(outcome: Outcome, limit: float) -> bool | None:
    """An answer that never came is late once its limit ran out; a client that left before that tells nothing."""
    if limit in outcome.exceeded or outcome.failure == "time-out":
        return True
    if outcome.latency is None:
        return None
    if outcome.latency > limit:
        return True
    return None if outcome.failure == "client left" else False


def _first_token(outcome: Outcome, limit: float | None) -> bool | None:
    if limit is None or not outcome.stream:
        return None
    waited = outcome.latency if outcome.first_token is None else outcome.first_token
    if outcome.failure == "time-out" and outcome.first_token is None:
        return True
    late = _above(waited, limit)
    return late if late or outcome.first_token is not None else None


def _above(value: float | None, limit: float | None) -> bool | None:
    return None if value is None or limit is None else value > limit


def _tokens(outcome: Outcome) -> int | None:
    if outcome.input_tokens is None or outcome.output_tokens is None:
        return None
    return outcome.input_tokens + outcome.output_tokens


def _quantiles(values: list[float]) -> tuple[float, ...]:
    ordered = sorted(values)
    return tuple(quantile(ordered, share) for share in QUANTILES) if len(ordered) >= FEWEST else ()


def _tail(values: list[float]) -> float | None:
    return quantile(sorted(values), _TAIL) if len(values) >= FEWEST else None
