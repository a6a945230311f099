"""The rows of the gateway's table: each function loads the sides in turn, round after round, and gives figures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.record import Figure
from benchmarks.traffic import loads
from benchmarks.traffic.loads import Run
from benchmarks.traffic.machine import Quiet, resident_bytes
from benchmarks.traffic.peers import Peer
from benchmarks.traffic.sides import Guideway, Side
from guideway.kit.process import pss_bytes

CONNECTIONS = 32
STREAMS = 64
HAPROXY, OURS, MASKED, PLAIN, DIRECT = "haproxy", "ours", "masked", "plain", "direct"


class Stand(NamedTuple):
    """What is measured with: the folder of the compiled programs, the length of one run, how many rounds there are."""

    programs: Path
    seconds: float
    rounds: int
    quiet: Quiet


Runs = dict[str, list[Run]]


def in_turn(stand: Stand, sides: dict[str, Side], load: Callable[[Side], Run], rounds: int = 0) -> Runs:
    """Every side once, then every side once more: what disturbs the machine disturbs all of them."""
    runs: Runs = {name: [] for name in sides}
    for number in range(rounds or stand.rounds):
        stand.quiet.look()
        names = list(sides)
        for name in names if number % 2 == 0 else reversed(names):
            runs[name].append(load(sides[name]))
    return runs


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(one / max(other, 1e-12) for one, other in zip(ours, theirs, strict=True))


def throughput(stand: Stand, sides: dict[str, Side]) -> list[Figure]:
    """Completions on 32 connections, against HAProxy and a plain proxy; prompts of 500 bytes that never repeat."""
    for side in sides.values():
        loads.unary(side, CONNECTIONS, 1)
    runs = in_turn(stand, sides, lambda side: loads.unary(side, CONNECTIONS, stand.seconds))
    haproxy = "HAProxy, key map, one thread"
    figures = [
        _faster(runs, (OURS, HAPROXY), _asked("throughput, all on but masking", 0.50, 0.65, haproxy)),
        _faster(runs, (MASKED, HAPROXY), _asked("throughput with masking", 0.38, 0.50, haproxy)),
        _faster(runs, (OURS, PLAIN), _asked("throughput against uvicorn", 3.5, 4.5, "Starlette, aiohttp client")),
    ]
    for name, what in ((HAPROXY, "HAProxy"), (OURS, "gateway"), (MASKED, "gateway, masking")):
        cost = statistics.median(run.worker_us for run in runs[name])
        beside = statistics.median(run.beside_us for run in runs[name])
        note = f"and {beside:.1f} us in the processes beside" if name != HAPROXY else ""
        figures.append(Figure(f"processor time per request, {what}", cost, "us", note=note))
    return figures


def against(stand: Stand, ours: Side, peer: Peer, side: Side, version: str) -> Figure:
    """Completions on 32 connections against one other gateway."""
    pair = {OURS: ours, peer.name: side}
    loads.unary(side, CONNECTIONS, 2)
    runs = in_turn(stand, pair, lambda one: loads.unary(one, CONNECTIONS, stand.seconds))
    asked = _asked(f"throughput against {peer.name}", peer.must, peer.aim, f"{peer.name} {version}")
    return _faster(runs, (OURS, peer.name), asked)


def latency(stand: Stand, sides: dict[str, Side]) -> list[Figure]:
    """The median at one connection: what a side adds to the model server asked directly."""
    runs = in_turn(stand, sides, lambda side: loads.unary(side, 1, 1), stand.rounds + 2)
    direct = [run.p50 for run in runs[DIRECT]]

    def added(name: str) -> list[float]:
        return [run.p50 - base for run, base in zip(runs[name], direct, strict=True)]

    note = (
        f"{statistics.median(added(OURS)):.3f} ms against {statistics.median(added(HAPROXY)):.3f} ms; "
        f"direct {statistics.median(direct):.3f} ms; with masking {statistics.median(added(MASKED)):.3f} ms"
    )
    ratio = median_ratio(added(OURS), added(HAPROXY))
    return [Figure("added p50, one connection", ratio, "ratio", 2.5, 1.5, "HAProxy", note)]


def streamed(stand: Stand, sides: dict[str, Side]) -> list[Figure]:
    """64 streams at once, 50 events each, 5 ms apart."""
    runs = in_turn(stand, sides, lambda side: loads.streams(side, stand.programs, STREAMS, stand.seconds))
    shares = median_ratio([run.rate for run in runs[OURS]], [run.rate for run in runs[DIRECT]])
    costs = {name: [run.worker_us for run in runs[name]] for name in runs}
    ratio = median_ratio(costs[OURS], costs[HAPROXY])
    rates = f"{_middle(runs[OURS]):.0f} against {_middle(runs[DIRECT]):.0f} events/s"
    us = {name: statistics.median(cost) for name, cost in costs.items()}
    note = f"{us[OURS]:.1f} us against {us[HAPROXY]:.1f} us; with masking {us[MASKED]:.1f} us"
    return [
        Figure("streams: chunks delivered", shares, "ratio", 0.97, 1.0, "asked directly", rates, larger=True),
        Figure("streams: processor time per chunk", ratio, "ratio", 2.2, 1.5, "HAProxy", note),
    ]


def memory(stand: Stand, side: Guideway, requests: int) -> list[Figure]:
    """The worker's memory while *requests* go through, and how it grows once caches and pools are full."""
    (worker,) = side.workers
    sizes, done = [(0, resident_bytes(worker))], 0
    while done < requests:
        run = loads.unary(side, CONNECTIONS, stand.seconds)
        done += run.answers
        sizes.append((done, resident_bytes(worker)))
    if side.workers != [worker]:
        raise SystemExit("the worker was replaced while its memory was looked at")
    settled = [one for one in sizes if one[0] >= requests * 0.4]
    path = ", ".join(f"{size / 1e6:.1f}" for _, size in sizes[:: max(1, len(sizes) // 6)])
    pss = (pss_bytes(worker) or 0) / 1e6
    note = f"after {done:,} requests, its cache full; resident MB on the way: {path}; PSS {pss:.1f} MB"
    return [
        Figure("memory of the worker", max(size for _, size in sizes) / 1e6, "MB", 60, 45, note=note),
        Figure("memory: growth per million requests", slope(settled), "MB", 2.0, 0.5,
               note=f"line through the last 60 % of {done:,} requests"),
    ]  # fmt: skip


def slope(points: Sequence[tuple[int, int]]) -> float:
    """Of the least-squares line through *points*, bytes a request, which is MB a million; 0 for fewer than two."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def overload(stand: Stand, side: Side, slots: int) -> list[Figure]:
    """Three times as many requests as the model server can answer: as many are answered, the rest is told 429."""
    closed = [loads.closed(side, stand.programs, count, stand.seconds) for count in (slots, 2 * slots)]
    peak = max(run.rate for run in closed)
    run = loads.arriving(side, stand.programs, 1024, 2 * stand.seconds, 3 * peak)
    said = run.said
    note = (
        f"peak {peak:.0f}/s; of {3 * peak:.0f}/s offered {run.rate:.0f}/s were answered, p99 {said['p99_ms']:.0f} ms; "
        f"{said['busy']} × 429; the worker had {run.worker / run.seconds:.2f} of a processor"
    )
    lost = said["cut"] + said["other"] + said["unsent"]
    told = f"{said['cut']} cut, {said['other']} of status {said['status']}, {said['unsent']} unsent"
    return [
        Figure("goodput at 3 × overload, of the peak", run.rate / peak, "ratio", 0.9, 1.0, note=note, larger=True),
        Figure("overload: neither answered nor 429", lost, "", 0, 0, note=told),
    ]


def _faster(runs: Runs, pair: tuple[str, str], asked: Figure) -> Figure:
    """What is *asked*, with the ratio of the pair's rates and what each request cost."""
    ours, theirs = pair
    ratio = median_ratio([run.rate for run in runs[ours]], [run.rate for run in runs[theirs]])
    cost = [statistics.median(run.worker_us for run in runs[name]) for name in (ours, theirs)]
    note = (
        f"{_middle(runs[ours]):.0f} against {_middle(runs[theirs]):.0f} requests/s; "
        f"processor time {cost[0]:.0f} against {cost[1]:.0f} us"
    )
    return asked._replace(value=ratio, note=note)


def _asked(metric: str, must: float, aim: float, peer: str) -> Figure:
    return Figure(metric, 0.0, "ratio", must, aim, peer, larger=True)


def _middle(runs: Sequence[Run]) -> float:
    return statistics.median(run.rate for run in runs)
