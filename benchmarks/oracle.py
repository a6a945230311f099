"""The smallest capacity that could have done it, by somebody who knows the whole trace beforehand.

A plan says how many replicas there are from when on. For each slot of time and each number of replicas it is known how
many requests would be late; the cheapest plan for a given price of lateness is found by dynamic programming, the price
by bisection, and the plan is then replayed and made cheaper step by step for as long as it still holds. It starts
replicas early enough to be ready, pays for that as everybody does, and begins with as many as it likes. What it finds
is a plan that works, so the true minimum is at most this much; `busy` is what no plan can be below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tests.rollout.autoscale_rig import Job, Order, Outcome, Replay, Service, planned

SLOT = 10.0


class Goal(NamedTuple):
    """At least the share ``share`` waits at most ``queue`` seconds, with at most ``changes`` changes in all."""

    queue: float
    share: float
    changes: int | None


def busy(jobs: Sequence[Job], service: Service, share: float = 1.0) -> float:
    """Replica-seconds of work in the cheapest *share* of *jobs*: a bound that nothing can go below."""
    takes = sorted(job.takes for job in jobs)
    return sum(takes[: int(len(takes) * share)]) / service.places


def smallest(jobs: Sequence[Job], service: Service, goal: Goal) -> tuple[list[Order], Outcome]:
    """The cheapest plan found that reaches *goal*, and what became of it."""
    late = _late(jobs, service, goal)
    low, high = 0.0, 64.0 * service.cold_start * len(late)
    best = None
    for _ in range(14):
        price = (low + high) / 2 if best else high
        plan = _plan(late, service, price, goal.changes)
        done = _replay(jobs, service, plan)
        if done.within(goal.queue) >= goal.share:
            high = price
            best = (plan, done) if best is None or done.capacity < best[1].capacity else best
        elif best is None:
            raise SystemExit("no plan reaches the objective")
        else:
            low = price
    assert best is not None
    return _polished(jobs, service, goal, best)


def _late(jobs: Sequence[Job], service: Service, goal: Goal) -> NDArray[np.float64]:
    """Late requests by number of replicas and slot of arrival, if that number had been there all the time."""
    slots = int(jobs[-1].at // SLOT) + 1
    rows: list[NDArray[np.float64]] = []
    while not rows or rows[-1].any():
        waits = _replay(jobs, service, [Order(0.0, len(rows))]).waits if rows else [np.inf] * len(jobs)
        row = np.zeros(slots)
        for job, wait in zip(jobs, waits, strict=True):
            row[int(job.at // SLOT)] += wait > goal.queue
        rows.append(row)
    return np.array(rows)


def _plan(late: NDArray[np.float64], service: Service, price: float, changes: int | None) -> list[Order]:
    """The plan with the smallest sum of replica-seconds and *price* times late requests."""
    most, slots = late.shape
    layers = 1 if changes is None else changes + 1
    counts = np.arange(most)
    move = np.maximum(0, counts[None, :] - counts[:, None]) * service.cold_start
    cost = SLOT * counts[:, None] + price * late
    value = np.full((layers, most), np.inf)
    value[0] = cost[:, 0]
    came: list[NDArray[np.int64]] = []
    for slot in range(1, slots):
        through = value[:, :, None] + move[None]
        np.einsum("lnn->ln", through)[:] = np.inf
        source, cheapest = through.argmin(axis=1), through.min(axis=1)
        if changes is not None:
            source, cheapest = np.roll(source, 1, axis=0), np.roll(cheapest, 1, axis=0)
            cheapest[0] = np.inf
        stays = value <= cheapest
        came.append(np.where(stays, -1, source))
        value = np.where(stays, value, cheapest) + cost[:, slot]
    return _traced(value, came, limited=changes is not None, lead=service.cold_start)


def _traced(value: NDArray[np.float64], came: list[NDArray[np.int64]], *, limited: bool, lead: float) -> list[Order]:
    """The orders of the cheapest way through, the first ones first; what starts is ordered *lead* seconds before."""
    layer, count = (int(one) for one in np.unravel_index(value.argmin(), value.shape))
    orders: list[Order] = []
    for slot in range(len(came), 0, -1):
        source = int(came[slot - 1][layer, count])
        if source >= 0:
            at = slot * SLOT
            orders.append(Order(max(1.0, at - lead) if source < count else at, count))
            layer, count = layer - limited, source
    return [Order(0.0, count), *_in_order(orders[::-1])]


def _in_order(orders: Sequence[Order]) -> Iterator[Order]:
    """A later order may have to be given before an earlier one: then the earlier one has no time to matter."""
    for index, order in enumerate(orders):
        if all(order.at < later.at for later in orders[index + 1 :]):
            yield order


def _replay(jobs: Sequence[Job], service: Service, plan: Sequence[Order]) -> Outcome:
    return Replay(jobs, service, planned(plan), plan[0].replicas, tick=SLOT / 2).run()


def _polished(
    jobs: Sequence[Job], service: Service, goal: Goal, best: tuple[list[Order], Outcome]
) -> tuple[list[Order], Outcome]:
    """Make the plan cheaper by one small step after another."""
    improved, tries = True, 0
    while improved and tries < 400:
        improved = False
        for plan in list(_neighbours(best[0])):
            tries += 1
            done = _replay(jobs, service, plan)
            if done.within(goal.queue) >= goal.share and done.capacity < best[1].capacity:
                best, improved = (plan, done), True
                break
    return best


def _neighbours(plan: Sequence[Order]) -> Iterator[list[Order]]:
    for index, order in enumerate(plan):
        changed = [order._replace(replicas=max(0, order.replicas - 1))]
        if index:
            changed += [order._replace(at=order.at + step) for step in (-120.0, 120.0, -60.0, 60.0, -SLOT, SLOT)]
        for one in changed:
            new = [*plan[:index], one, *plan[index + 1 :]]
            if all(a.at < b.at for a, b in pairwise(new)):
                yield new
