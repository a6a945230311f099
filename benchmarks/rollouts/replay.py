"""The same rollout through the package, request by request: what the arrays say must be what the product does."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.rollouts.arrays import NEVER
from benchmarks.rollouts.worlds import Traffic
from guideway.core.outcome import Outcome
from guideway.rollout.decide import Decision, Situation, decide
from guideway.rollout.plan import Plan
from guideway.rollout.score import Scores
from guideway.rollout.signals import Limits

PLAN = Plan()


def outcomes(traffic: Traffic) -> Iterator[Outcome]:
    """What the gateway would have told of every request."""
    for at in range(len(traffic.weight)):
        failed = bool(traffic.events["errors"][at])
        yield Outcome(
            at=float(at),
            environment="prod",
            rollout="r",
            arm="candidate" if traffic.candidate[at] else "stable",
            share=float(traffic.weight[at]),
            request=str(at),
            unit="" if traffic.caller is None else f"{int(traffic.caller[at]):032d}"[::-1],
            why_not="" if traffic.unit[at] else "seen before",
            status=500 if failed else 200,
            first_status=500 if failed else 200,
            failure="status" if failed else "",
            latency=float(traffic.latency[at]),
            first_token=float(traffic.first_token[at]),
            per_token=float(traffic.per_token[at]),
            input_tokens=int(traffic.tokens_in[at]),
            output_tokens=int(traffic.tokens_out[at]),
            finish_reason="length" if traffic.events["truncated"][at] else "stop",
            refused=bool(traffic.events["refusals"][at]),
            guarded=bool(traffic.events["guarded"][at]),
            stream=True,
        )


def limits(traffic: Traffic) -> Limits:
    """The limits of the traffic, as the package has them."""
    found = traffic.limits
    return Limits(
        latency=found["latency"],
        first_token=found["first_token"][0],
        per_token=found["per_token"][0],
        tokens=found["tokens"][0],
        length=(found["length"][0], found["length"][1]),
    )


def stop(traffic: Traffic, until: int = NEVER) -> int:
    """The request at which the package would stop the rollout; ``NEVER``: not before request *until*."""
    scores = Scores(limits(traffic))
    for at, outcome in enumerate(outcomes(traffic)):
        if at > until:
            return NEVER
        take(scores, outcome, traffic, at)
        if any(score.process.peak >= PLAN.log_threshold(name) for name, score in scores.signals.items()):
            return at
    return NEVER


def ending(traffic: Traffic, every: int = 100) -> tuple[int, Decision]:
    """Where the rollout ends when :func:`decide` is asked *every* so many requests, one a tenth of a second.

    The traffic must have been drawn with the weights of the default steps, the last of them to the end.
    """
    scores, step, since = Scores(limits(traffic)), 0, 0
    for at, outcome in enumerate(outcomes(traffic)):
        take(scores, outcome, traffic, at)
        if (at + 1) % every == 0:
            weight = PLAN.steps[step].weight
            found = decide(
                Situation(
                    plan=PLAN, stable="old", candidate="new", step=step, held=3600.0, silent_for=0.0,
                    units=scores.units_at(weight), readings=scores.readings(PLAN),
                )
            )  # fmt: skip
            step += found.kind == "raise"
            since = at
            if found.to:
                return at, found
    return since, found


def take(scores: Scores, outcome: Outcome, traffic: Traffic, at: int) -> None:
    """Give the package one request, and what was learnt of it later."""
    scores.take(outcome)
    thumb = ("down" if traffic.events["feedback"][at] else "up") if traffic.thumbs[at] else None
    scores.take_late(outcome, thumb, bool(traffic.events["language"][at]))  # type: ignore[arg-type]
