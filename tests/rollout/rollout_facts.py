"""Outcomes and traffic for the tests of the rollout."""

from __future__ import annotations

import random

import msgspec

from guideway.core.outcome import Outcome

GOOD = Outcome(
    at=1.0, environment="prod", rollout="r", arm="stable", share=0.1, request="q", status=200, first_status=200,
    latency=100.0, first_token=20.0, per_token=5.0, input_tokens=30, output_tokens=10, finish_reason="stop",
    stream=True,
)  # fmt: skip


def outcome(**changes):
    return msgspec.structs.replace(GOOD, **changes)


def failed(**changes):
    return outcome(**{"failure": "status", "status": 500, "first_status": 500, **changes})


def requests(seed, count, share, *, stable_errors=0.0, candidate_errors=0.0, slower=1.0):
    """*count* requests in request mode; the median latency of the stable release is 100 ms."""
    dice = random.Random(seed)
    for at in range(count):
        arm = "candidate" if dice.random() < share else "stable"
        latency = 100.0 * dice.lognormvariate(0.0, 0.6) * (slower if arm == "candidate" else 1.0)
        ill = dice.random() < (candidate_errors if arm == "candidate" else stable_errors)
        yield (failed if ill else outcome)(at=float(at), arm=arm, share=share, latency=latency)
