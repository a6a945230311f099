"""Simulate rollouts: how often a healthy one is stopped, how soon a bad one, and what the rules of others do.

`make bench-canary` calls it: seeded, one process, about half an hour. The arithmetic runs as arrays written apart from
the package; in every cell some rollouts are replayed through the package, and must stop at the very same request.
``--rollouts N`` makes it shorter. Writes results/canary.json, and the drawings and the tables of docs/canary.md.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.record import Figure, write
from benchmarks.rollouts import arrays, drawings, replay, rules, tables
from benchmarks.rollouts.arrays import NEVER
from benchmarks.rollouts.worlds import Floats, Traffic, World, draw
from guideway.core.spec.rollout import STEPS

DOCS = Path(__file__).parents[1] / "docs"
HORIZON, MARGIN_HORIZON = 24_000, 15_000
LEAST = sum(step.units for step in STEPS)
SLOW_STEPS = np.repeat([0.05, 0.10, 0.25, 0.50], 6000)
LATENCIES = ("latency_p50", "latency_p90", "latency_p95", "latency_p99")

HEALTHY = (
    World("healthy"),
    World("shared incident", incident=True),
    World("40 % cache hits", hits=0.4),
    World("2 % against 2 %", 0.02, 0.02),
)
THIRTY, FIVE, TWO = (World(f"{rate * 100:.0f} % errors", candidate_errors=rate) for rate in (0.30, 0.05, 0.02))
SLOW = (
    (World("latency 2 ×", slower=2.0), 3_000),
    (World("latency + 50 %", slower=1.5), 6_000),
    (World("latency + 20 %", slower=1.2), 30_000),
    (World("5 % of requests 5 × slower", tail=0.05), 20_000),
)
MARGINS = (
    World("errors 0.5 % → 1 %", candidate_errors=0.01),
    World("errors 2 % → 4 %", 0.02, 0.04),
    World("stable's median passed 1.2 × as often", 0.0, 0.0, slower=1.1642),
    World("stable's p95 passed 2 × as often", 0.0, 0.0, tail=0.0625),
)
"""At the margin of one of the required signals, and well within that of the others."""


Rules = Mapping[str, Callable[[Traffic], int]]


class Cell(NamedTuple):
    """What became of the rollouts of one kind: where each was stopped, and the candidate's errors until then."""

    at: Floats
    errors: Floats

    @property
    def stopped(self) -> float:
        """The share that was stopped."""
        return float((self.at < NEVER).mean())

    def requests(self, share: float) -> float:
        """A quantile of the requests to stop; infinite where that share was not stopped."""
        found = float(np.quantile(self.at, share, method="inverted_cdf"))
        return found + 1.0 if found < NEVER else float("inf")


class Bench(NamedTuple):
    """How many rollouts a cell has, and how many of them the package replays."""

    rollouts: int
    replays: int

    def run(
        self, world: World, weight: Floats, rule: Callable[[Traffic], int], *, exact: bool = False, check: bool = True
    ) -> Cell:
        """One cell."""
        return self.run_all(world, weight, {"": rule}, exact=exact, check=check)[""]

    def run_all(
        self, world: World, weight: Floats, rules: Rules, *, exact: bool = False, check: bool = False
    ) -> dict[str, Cell]:
        """A cell for every rule, all on the same traffic; every cell of one kind of traffic has the same seeds."""
        began = time.perf_counter()
        cells = {name: Cell(np.empty(self.rollouts), np.empty(self.rollouts)) for name in rules}
        for seed in range(self.rollouts):
            traffic = draw(world, weight, (5, seed), exact)
            errors = np.cumsum(traffic.candidate & traffic.events["errors"])
            for name, rule in rules.items():
                found = rule(traffic)
                cells[name].at[seed], cells[name].errors[seed] = found, errors[min(found, len(errors) - 1)]
            if check and seed < self.replays:
                _same(world, traffic)
        stopped = ", ".join(
            f"{name} {cell.stopped:.2%} (q90 {cell.requests(0.9):,.0f})" for name, cell in cells.items()
        )
        print(f"  {world.name}: {stopped} in {time.perf_counter() - began:.0f} s", flush=True)
        return cells


def main() -> None:
    """Run all cells, and write the results and the drawings."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rollouts", type=int, default=2000)
    options.add_argument("--replays", type=int, default=3)
    options.add_argument("--compared", type=int, default=2000, help="rollouts a cell of the comparison")
    chosen = options.parse_args()
    bench = Bench(chosen.rollouts, chosen.replays)
    figures = [*false_rollbacks(bench), *promotions(bench), *detection(bench), *latency(bench)]
    write("canary", figures)
    compared, table = comparison(Bench(chosen.compared, 0))
    write("canary", [*figures, *compared])
    folder = DOCS / "canary"
    folder.mkdir(exist_ok=True)
    drawings.write(folder, table, _paths(), _stops(bench))
    today = datetime.datetime.now(datetime.UTC).date()
    tables.fill(DOCS / "canary.md", [*figures, *compared], bench.rollouts, chosen.compared, today)


def schedule(requests: int) -> Floats:
    """The weight at every unit of the default steps, the last one to the end."""
    counts = [step.units for step in STEPS]
    counts[-1] += requests - LEAST
    return np.repeat([step.weight for step in STEPS], counts)


def ours(traffic: Traffic) -> int:
    """Where the whole family of signals stops the rollout."""
    return arrays.stop(traffic)[0]


def false_rollbacks(bench: Bench) -> list[Figure]:
    """Healthy candidates that are stopped, though the rollout is never ended by a promotion."""
    print("false rollbacks")
    figures = []
    for callers, mode in ((0, "request mode"), (300, "300 Zipf callers, caller mode")):
        for world in HEALTHY:
            cell = bench.run(world._replace(callers=callers), schedule(HORIZON), ours)
            figures.append(_share(f"false rollbacks: {world.name}, {mode}", cell.stopped, must=1.0, note=_spread(cell)))
    return figures


def promotions(bench: Bench) -> list[Figure]:
    """A candidate without errors is promoted soon; one at a margin seldom, even if nothing ever stopped it."""
    print("promotions")
    good = bench.run(World("no errors at all", 0.0, 0.0), schedule(10_000), _promoted_in_time, check=False)
    figures = [_share("healthy and without errors: promoted within 10,000 requests", good.stopped, 95.0, larger=True)]
    figures.append(Figure("requests to that promotion, median", good.requests(0.5), "", note="least: 5,000"))
    usual = bench.run(World("0.5 % errors on both arms"), schedule(HORIZON), _promoted, check=False)
    figures.append(_share("0.5 % errors on both arms: promoted within 24,000 requests", usual.stopped))
    for world in MARGINS:
        cell = bench.run(world, schedule(MARGIN_HORIZON), _promoted, exact=True, check=False)
        figures.append(_share(f"false promotions at the margin: {world.name}", cell.stopped, must=5.0))
    _same_ending(bench.replays)
    return figures


def detection(bench: Bench) -> list[Figure]:
    """Requests of both arms until a candidate that fails is stopped."""
    print("errors found")
    flat = bench.run(THIRTY, np.full(3_000, 0.05), ours)
    figures = [
        _requests("30 % errors, 5 % weight: requests to stop", flat, 0.9, must=500),
        Figure("30 % errors, 5 % weight: errors served, q90", float(np.quantile(flat.errors, 0.9)), "", must=10),
    ]
    for world, must, count in ((FIVE, 5_000, 12_000), (TWO, 14_500, HORIZON)):
        for name, weight in (("default steps", schedule(12_000)), ("steps of 6,000", SLOW_STEPS[:count])):
            cell = bench.run(world, weight, ours)
            served = f"median {cell.requests(0.5):,.0f}; errors served, q90: {np.quantile(cell.errors, 0.9):.0f}"
            figures.append(_requests(f"{world.name} against 0.5 %, {name}: requests to stop", cell, 0.9, must, served))
    return figures


def latency(bench: Bench) -> list[Figure]:
    """Slow candidates at 10 % weight: the product, against the formula of the design with the true quantiles."""
    print("latency found")
    figures = []
    for world, count in SLOW:
        weight = np.full(count, 0.10)
        product = bench.run(world, weight, ours)
        formula = bench.run(world, weight, lambda traffic: arrays.stop(traffic, LATENCIES)[0], exact=True, check=False)
        figures.append(_requests(f"{world.name}, 10 % weight: requests to stop", product, 0.9))
        ratio = product.requests(0.9) / formula.requests(0.9)
        medians = f"{product.requests(0.5):,.0f} and {formula.requests(0.5):,.0f}"
        note = f"formula apart: {formula.requests(0.9):,.0f}; medians {medians}"
        figures.append(Figure(f"{world.name}: against the formula", ratio, "×", must=1.2, note=note))
    return figures


def comparison(bench: Bench) -> tuple[list[Figure], dict[str, dict[str, float]]]:
    """The rules of others on steps of 6,000 requests at 20 a second; ours on the very same traffic."""
    print("others")
    methods: dict[str, Callable[[Traffic], int]] = {"Guideway": ours, **rules.RULES}
    methods["E, every event counted"] = lambda traffic: arrays.stop(traffic, every_event=True)[0]
    figures: list[Figure] = []
    table: dict[str, dict[str, float]] = {name: {} for name in methods}
    for world in (*HEALTHY, World("300 Zipf callers", callers=300)):
        for name, cell in bench.run_all(world, SLOW_STEPS, methods).items():
            table[name][world.name] = cell.stopped
            figures.append(_share(f"{name}: false rollbacks, {world.name}", cell.stopped))
    return figures + _found_by_others(bench, methods), table


def _found_by_others(bench: Bench, methods: Rules) -> list[Figure]:
    """How soon the same rules stop a candidate that is bad: by errors, by latency."""
    figures = []
    of_errors = {name: methods[name] for name in methods if "Mann" not in name and "every" not in name}
    for world in (THIRTY, FIVE):
        for name, cell in bench.run_all(world, SLOW_STEPS, of_errors).items():
            median = f"median {cell.requests(0.5):,.0f} requests" if cell.stopped > 0.5 else "no median"
            served = float(np.quantile(cell.errors, 0.9))
            note = f"stopped {cell.stopped:.1%}; {median}"
            figures.append(Figure(f"{name}: {world.name}, errors served, q90", served, "", note=note))
    of_latency = {name: methods[name] for name in ("Guideway", "Mann-Whitney, peeking")}
    for world in (SLOW[0][0], SLOW[2][0]):
        for name, cell in bench.run_all(world, SLOW_STEPS, of_latency).items():
            figures.append(_requests(f"{name}: {world.name}, steps of 6,000: requests to stop", cell, 0.9))
    return figures


def _promoted_in_time(traffic: Traffic) -> int:
    """Where the rollout is promoted, unless it is stopped before."""
    found = _promoted(traffic)
    return found if found < ours(traffic) else NEVER


def _promoted(traffic: Traffic) -> int:
    return arrays.promotion(traffic, LEAST)


def _same(world: World, traffic: Traffic) -> None:
    """The package stops where the arrays do; quality, of which it is told in pairs, left out of both."""
    expected, _ = arrays.stop(traffic, tuple(traffic.events))
    found = replay.stop(traffic)
    if found != expected:
        raise SystemExit(f"{world.name}: the package stops at request {found}, the arrays at {expected}")


def _same_ending(replays: int) -> None:
    """Asked every hundred requests, ``decide`` promotes at the first of them at which the arrays have the proof."""
    for seed in range(replays):
        traffic = draw(World("no errors", 0.0, 0.0), schedule(10_000), (5, seed))
        at, decision = replay.ending(traffic)
        expected = arrays.promotion(traffic, LEAST)
        if decision.kind == "promote" and expected > at:
            raise SystemExit(f"decide promotes at {at}, the arrays have no proof before {expected}")
        if decision.kind not in ("promote", "hold"):
            raise SystemExit(f"decide ends a healthy rollout with {decision.kind}: {decision.reason}")


def _share(metric: str, share: float, must: float | None = None, larger: bool = False, note: str = "") -> Figure:
    return Figure(metric, share * 100.0, "%", must=must, larger=larger, note=note)


def _spread(cell: Cell) -> str:
    """The standard error of the share, in words."""
    share = cell.stopped
    return f"± {100 * (share * (1 - share) / len(cell.at)) ** 0.5:.2f} %"


def _requests(metric: str, cell: Cell, share: float, must: float | None = None, note: str = "") -> Figure:
    return Figure(f"{metric}, q{share * 100:.0f}", cell.requests(share), "", must=must, note=note)


def _paths() -> dict[str, list[tuple[Sequence[int], Sequence[float]]]]:
    """E of errors along some rollouts, for the drawing."""
    found: dict[str, list[tuple[Sequence[int], Sequence[float]]]] = {}
    for world, count in ((HEALTHY[0], 30), (HEALTHY[1], 10), (FIVE, 10)):
        found[world.name] = []
        for seed in range(count):
            traffic = draw(world, SLOW_STEPS, (6, seed))
            at, share = arrays.scored(traffic, "errors")
            path = arrays.log_e(traffic.candidate[at], share, 1.0)
            over = np.flatnonzero(path >= arrays.log_threshold("errors"))
            shown = over[0] + 1 if len(over) else len(path)  # a rollout that was stopped has no further evidence
            found[world.name].append((at[:shown].tolist(), path[:shown].tolist()))
    return found


def _stops(bench: Bench) -> dict[str, list[float]]:
    """Where candidates with errors are stopped on the default steps, for the drawing."""
    small = Bench(min(bench.rollouts, 500), 0)
    cells = {world.name: small.run(world, schedule(HORIZON), ours, check=False) for world in (THIRTY, FIVE, TWO)}
    return {name: [at + 1.0 for at in sorted(cell.at.tolist())] for name, cell in cells.items()}


if __name__ == "__main__":
    main()
