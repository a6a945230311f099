"""PASS, FAIL or UNKNOWN for each signal, from its numbers: what speaks against it, what for it, what is missing."""

from __future__ import annotations

import math

import msgspec

from guideway.core.gate import Verdict
from guideway.rollout.plan import Plan
from guideway.rollout.score import Reading
from guideway.rollout.signals import FEWEST, QUALITY, SHARES

MOST_BEYOND = {"latency_p50": 0.8, "latency_p90": 0.4, "latency_p95": 0.25, "latency_p99": 0.1}
"""The share of the stable release's requests beyond a limit, from which on it is no measure of the candidate."""


class SignalVerdict(msgspec.Struct, frozen=True):
    """One signal judged, with all the numbers of its reading and the limits they were compared with.

    ``against`` says what failed it, ``proof`` what showed it good, ``waits_for`` what is not shown yet.
    """

    signal: str
    verdict: Verdict
    required: bool
    share: float
    reading: Reading
    log_threshold: float
    margin: float
    against: str = ""
    proof: str = ""
    waits_for: str = ""

    @property
    def failed(self) -> bool:
        """Does it stop the rollout?"""
        return self.verdict is Verdict.FAIL


def verdicts(plan: Plan, readings: tuple[Reading, ...]) -> tuple[SignalVerdict, ...]:
    """Every reading judged. A signal that promotion requires and that has no reading is UNKNOWN too."""
    there = {one.signal for one in readings}
    missing = [Reading(one.signal) for one in plan.required if one.signal not in there]
    return tuple(_judge(plan, one) for one in (*readings, *missing))


def unproven(plan: Plan, found: tuple[SignalVerdict, ...]) -> list[SignalVerdict]:
    """The required signals that were not shown good."""
    names = {one.signal for one in plan.required}
    return [one for one in found if one.signal in names and one.verdict is not Verdict.PASS]


def _judge(plan: Plan, reading: Reading) -> SignalVerdict:
    threshold = plan.log_threshold(reading.signal)
    against = _against(reading, threshold)
    proof = "" if against else _proof(plan, reading)
    verdict = Verdict.FAIL if against else Verdict.PASS if proof else Verdict.UNKNOWN
    return SignalVerdict(
        reading.signal,
        verdict,
        plan.needs(reading.signal) is not None,
        SHARES[reading.signal],
        reading,
        threshold,
        plan.margin(reading.signal),
        against,
        proof,
        "" if against or proof else _waits_for(plan, reading),
    )


def misfit(reading: Reading) -> float | None:
    """The share of the stable release's own requests beyond a limit that fits no longer; None: it fits, or who knows.

    Where nearly every request of both arms is slow, the ratio of slow ones is near 1 whatever the candidate does.
    """
    most, seen = MOST_BEYOND.get(reading.signal), reading.requests[0]
    if most is None or seen < FEWEST:
        return None
    share = reading.events[0] / seen
    return share if share > most else None


def _against(reading: Reading, threshold: float) -> str:
    if reading.log_peak < threshold:
        return ""
    stable, candidate = reading.events
    seen = f"{candidate} of {stable + candidate} events were the candidate's, " if stable + candidate else ""
    return f"{seen}E reached {_e(reading.log_peak)}, {_e(threshold)} stops"


def _proof(plan: Plan, reading: Reading) -> str:
    """Non-inferior, or below the objective: either is enough, each with half of the error."""
    if reading.signal == QUALITY or misfit(reading) is not None:
        return ""
    need, margin = math.log(1.0 / plan.error_each), plan.margin(reading.signal)
    if reading.log_inferior >= need:
        return f"{reading.signal} at most {_bound(reading)} times as often as stable (below {margin:g})"
    required = plan.needs(reading.signal)
    objective = required.objective if required else None
    if objective is not None and reading.own_upper < objective:
        return f"{reading.signal} in at most {reading.own_upper:.2%} of its own requests (below {objective:.2%})"
    return ""


def _waits_for(plan: Plan, reading: Reading) -> str:
    if reading.signal == QUALITY:
        return "quality only ever speaks against a candidate"
    if not any(reading.requests):
        return "no request has told of it yet"
    if (share := misfit(reading)) is not None:
        return f"limits that fit: {share:.0%} of the stable release's own answers are beyond them; ship it once more"
    margin, required = plan.margin(reading.signal), plan.needs(reading.signal)
    words = f"a ratio below {margin:g} (now {'at most ' if reading.ratio.high else ''}{_bound(reading)})"
    if required is not None and required.objective is not None:
        words += f", or a rate below {required.objective:.2%} (now at most {reading.own_upper:.2%})"
    return words


def _bound(reading: Reading) -> str:
    return "without a bound" if reading.ratio.high is None else f"{reading.ratio.high:.4g}"


def _e(log_value: float) -> str:
    if log_value >= 30.0:
        return f"10^{log_value / math.log(10.0):.0f}"
    value = math.exp(log_value)
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"
