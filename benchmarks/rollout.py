"""Measure rollouts on the real target: how fast a bad release is left, and what it costs when a controller is killed.

`make bench-rollout` calls it. Gateway, controller, state and commands are those of production; the model servers are of
paper (tests/fleet/kill_rig.py), so that nothing is measured but ours. `--times` says how often each handover is done,
`--seeds` how often a controller is killed at each of its points.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fleet"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from kill_controller import POINTS  # type: ignore[import-not-found]
from kill_load import Load  # type: ignore[import-not-found]
from kill_rig import ASKED, ILL, RATE, RESTART, killed_at, town  # type: ignore[import-not-found]

from benchmarks.drills import machine
from benchmarks.record import RESULTS, Figure, show, write
from benchmarks.traffic.machine import Quiet, processor_seconds
from guideway.cli import init
from guideway.core.artifact import short
from guideway.core.spec.rollout import Rollout as Asked
from guideway.core.spec.rollout import Step
from guideway.fleet import orders
from guideway.kit.process import terminate
from guideway.store import fleet, ledger

GUIDEWAY = [sys.executable, "-P", "-m", "guideway.cli"]
PARTS = ("verdict", "abort", "rollback", "cost", "kills")
RATES = (50, 100, 200)
HALF = Asked(strategy="canary", steps=(Step(0.5, 10**6, shortest=0.0),), require=ASKED.require, unit="request")
"""One step that lasts: at half of the requests most can come too late."""
AFTERWARDS = 0.7
"""Seconds after a command for which requests that come too late are waited for; workers look 50 times a second."""
Town = Any
"""As tests/fleet/kill_rig.py has it."""


class Handover(NamedTuple):
    """What was seen of one kind of return to the stable release, many times over.

    ``late``: seconds from its line in the ledger, which is written just before the commit, to the last request that
    still reached the release that was left; 0: none did. ``took``: seconds of the command. ``broken``: what failed of
    the ``asked`` requests, but for the ``errors`` of a bad release's own.
    """

    what: str
    rate: int
    late: list[float]
    took: list[float]
    asked: int
    errors: int
    broken: list[str]


def main() -> None:
    """Measure everything in a temporary folder, and write the results; a part is only printed."""
    asked = _asked()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: what was started is ended
    began, quiet = time.monotonic(), Quiet()
    quiet.look()
    with tempfile.TemporaryDirectory(prefix="gw-rollout-") as name:
        figures = _measured(Path(name), asked, quiet)
    figures += starts()
    many = f"{asked.times} handovers of each kind and rate, {asked.seeds} kills at each point"
    note = f"{machine()}; {many}; {quiet}"
    figures.append(Figure("the whole run", time.monotonic() - began, "s", note=note))
    print()
    if set(asked.only) == set(PARTS):
        write("rollout", figures)
    else:
        show(figures)


def _measured(folder: Path, asked: argparse.Namespace, quiet: Quiet) -> list[Figure]:
    figures: list[Figure] = []
    handovers: list[Handover] = []
    with town(folder / "handovers", bake=3600.0, asked=HALF) as one:
        _spec(folder / "handovers")
        for kind, measure in (("verdict", verdicts), ("abort", aborts)):
            handovers += [measure(one, rate, asked.times) for rate in RATES if kind in asked.only]
        if "cost" in asked.only:
            figures += costs(one, RATES[-1], 10.0)
        if "rollback" in asked.only:
            found, alone = _rollbacks(one, asked.times)
            handovers, figures = [*handovers, *found], [*alone, *figures]
    quiet.look()
    figures = [*(row for one in handovers for row in _rows(one)), *_commands(handovers), *figures]
    if "kills" in asked.only:
        figures += kills(folder / "kills", asked.seeds)
        quiet.look()
    return figures


def _spec(folder: Path) -> None:
    """What the commands read; the fleet is there already."""
    shutil.copytree(Path(init.__file__).with_name("template"), folder, dirs_exist_ok=True)
    os.environ["GATEWAY_PORT"] = "0"


# -- nobody reaches the bad release any more -----------------------------------------------------------------------


def verdicts(town: Town, rate: int, times: int) -> Handover:
    """The controller finds that a candidate fails too often, and undoes it."""
    late, bad = [], set()
    with _load(town, rate, "verdict") as load:
        for _ in range(times):
            rollout = town.ship(share=ILL)
            bad.add(short(rollout.release))
            town.until(lambda rollout=rollout: town.rollout(rollout).phase.final, 120.0)
            town.until(town.is_settled, 120.0)
            late.append(_late(town, rollout.release, _at(town, "canary abort", rollout.id)))
    return _handover("verdict", late, [], load, bad)


def aborts(town: Town, rate: int, times: int) -> Handover:
    """A person undoes a rollout by a command, while no controller lives. The command starts one, which tidies up."""
    late, took = [], []
    with _load(town, rate, "abort") as load:
        for _ in range(times):
            rollout = town.ship()
            town.until(lambda rollout=rollout: len(town.asked_of(rollout.release)) >= 5, 120.0)
            town.stop(signal.SIGKILL)
            took.append(_command(town, "abort", "--by", "somebody"))
            town.until(town.is_settled, 120.0)
            late.append(_late(town, rollout.release, _at(town, "abort", rollout.id)))
            for pid in town.processes("controller"):
                terminate(pid, None, 30.0)
            town.start()
    return _handover("abort", late, took, load)


def _rollbacks(town: Town, times: int) -> tuple[list[Handover], list[Figure]]:
    """Promote another release, let the controller die, and go to and fro between the two, which are warm."""
    second = town.ship(strategy="all-at-once")
    town.until(lambda: town.rollout(second).phase.final, 120.0)
    town.stop(signal.SIGKILL)
    found = [rollbacks(town, rate, times) for rate in RATES]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    alone = []
    for _ in range(max(10, times)):
        left = town.stable
        alone.append(_command(town, "rollback"))
        _forward(town, left)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / len(alone)
    town.start()
    more = f"; {spent:.2f} s of a processor"
    return found, [_took("rollback", "with no load", alone, must=1.0, more=more)]


def rollbacks(town: Town, rate: int, times: int) -> Handover:
    """A person returns to the release before by a command, while no controller lives."""
    late, took = [], []
    with _load(town, rate, "rollback") as load:
        for _ in range(times):
            left = town.stable
            took.append(_command(town, "rollback"))
            threading.Event().wait(AFTERWARDS)
            late.append(_late(town, left, _at(town, "rollback")))
            _forward(town, left)
            threading.Event().wait(AFTERWARDS)
    return _handover("rollback", late, took, load)


def _forward(town: Town, release: str) -> None:
    """Move the traffic to *release* again, which is warm, as a ship would have: the next way back leads from there."""
    spec: Any = SimpleNamespace(rollout=Asked())
    moved = orders.rollback(town.home, town.database, spec, "dev", clock=time.time, to=release)
    fleet.put_rollout(town.database, msgspec.structs.replace(moved, kind="ship"))


def _load(town: Town, rate: int, what: str) -> Any:
    return Load(town.port, town.key, float(rate), f"{what} {'abcdefgh'[rate % 7]}")


def _at(town: Town, what: str, rollout: str = "") -> float:
    """When the ledger says that it was decided."""
    lines = [one for one in ledger.entries(town.database, what=what) if rollout in ("", one.data.get("rollout"))]
    return lines[-1].at


def _late(town: Town, release: str, at: float) -> float:
    """Seconds from *at* to the last request that still reached a replica of *release*."""
    return max((one - at for one in town.asked_of(release) if one > at), default=0.0)


def _command(town: Town, *words: str) -> float:
    """Seconds that a command took, its interpreter's start with it."""
    began = time.perf_counter()
    done = subprocess.run([*GUIDEWAY, *words], cwd=town.home.path.parent, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"guideway {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - began


def _handover(what: str, late: list[float], took: list[float], load: Any, bad: Any = ()) -> Handover:
    broken = load.broken(bad)
    errors = sum(bool(one.wrong) for one in load.answers) - len(broken)
    done = Handover(what, round(load.rate), late, took, load.asked, errors, broken)
    print(f"{what} at {done.rate}/s: {max(late) * 1000:.0f} ms at most, {len(broken)} broken {broken[:2]}", flush=True)
    return done


def _rows(one: Handover) -> list[Figure]:
    """At each rate: how long the last request comes late, and what failed meanwhile."""
    names = {"verdict": "verdict", "abort": "`guideway abort`", "rollback": "`guideway rollback`"}
    name = f"{names[one.what]} → last request to the bad release, {one.rate}/s"
    alive = "the controller lives" if one.what == "verdict" else "no controller lives"
    arrived = sum(late > 0 for late in one.late)
    note = (
        f"longest of {len(one.late)}, median {statistics.median(one.late) * 1000:.0f} ms; requests came late in "
        f"{arrived}; 2 workers, {alive}; from the ledger's line, which is before the commit, to the arrival"
    )
    failed = f"of {one.asked:,}, half of them streams" + (f"; {one.errors:,} errors of its own" if one.errors else "")
    return [
        Figure(name, max(one.late) * 1000, "ms", must=100.0, peer=None, note=note),
        Figure(f"{one.what}, {one.rate}/s: failed and torn", len(one.broken), "", must=0.0, peer=None, note=failed),
    ]


def _commands(handovers: list[Handover]) -> list[Figure]:
    """How long the commands took beside the load, over all rates."""
    took = {what: [spent for one in handovers if one.what == what for spent in one.took] for what in PARTS}
    return [_took(what, "under load", spent) for what, spent in took.items() if spent]


def _took(what: str, when: str, took: list[float], *, must: float | None = None, more: str = "") -> Figure:
    note = f"median of {len(took)}, longest {max(took):.2f} s; with its interpreter's start{more}; no controller lives"
    return Figure(f"`guideway {what}` as a command, {when}", statistics.median(took), "s", must, peer=None, note=note)


# -- what a controller costs ---------------------------------------------------------------------------------------


def costs(town: Town, rate: int, seconds: float) -> list[Figure]:
    """What judging a canary takes from the controller, at *rate* requests/s for *seconds*."""
    town.stop()
    town.start()
    with _load(town, rate, "cost"):
        town.until(lambda: town.processes("gateway"), 60.0)
        threading.Event().wait(2.0)  # until it has read what was left, and is at rest
        alone = _share(town, seconds)
        rollout = town.ship()
        town.until(lambda: len(town.asked_of(rollout.release)) >= 5, 120.0)
        beside = _share(town, seconds)
    town.stop()
    looks = json.loads((town.home.path / "looks.json").read_text(encoding="utf-8"))
    town.start()
    _command(town, "abort", "--by", "somebody")
    town.until(town.is_settled, 120.0)
    rounds, judged = ([one[at] * 1000 for one in looks] for at in (0, 1))
    note = f"processor time; median of {len(looks)}, 99 % within {{:.1f}} ms; {rate} requests/s, of both arms"
    return [
        Figure("a look at a canary, decision and all", statistics.median(rounds), "ms", note=note.format(_p99(rounds))),
        Figure("the decision alone", statistics.median(judged), "ms", note=note.format(_p99(judged))),
        Figure(f"controller's processor share, canary, {rate}/s", beside, "%", note="of one processor"),
        Figure(
            f"controller's processor share, no rollout, {rate}/s", alone, "%", note="it hears outcomes all the same"
        ),
    ]


def _share(town: Town, seconds: float) -> float:
    """Per cent of one processor that the controller takes during *seconds*."""
    pid, began = town.controller.pid, time.perf_counter()
    before = processor_seconds([pid])
    threading.Event().wait(seconds)
    return 100.0 * (processor_seconds([pid]) - before) / (time.perf_counter() - began)


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


# -- a controller is killed ----------------------------------------------------------------------------------------


def kills(folder: Path, seeds: int) -> list[Figure]:
    """Kill it at every point, *seeds* times, under load."""
    found = []
    with town(folder) as one:
        for point in POINTS:
            some = [killed_at(one, [point], seed) for seed in range(seeds)]
            found += some
            wrong = [words for killed in some for words in killed.wrong]
            print(f"killed at: {point.name}, {len(some)} times; wrong: {wrong or 'nothing'}", flush=True)
    return _kill_rows(found)


def _kill_rows(found: list[Any]) -> list[Figure]:
    asked, counted, errors = (sum(getattr(one, name) for one in found) for name in ("asked", "counted", "errors"))
    name = f"controller killed at {len(POINTS)} points, {RATE:.0f}/s"
    what = f"{len(found)} kills, {asked:,} requests, half of them streams; bad candidates' own errors: {errors:,}"
    longest: Callable[[str], float] = lambda field: max(getattr(one, field) for one in found)  # noqa: E731
    settled = "one fleet, its route on disk, no process left over"
    return [
        Figure(f"{name}: failed and torn", sum(len(one.broken) for one in found), "", must=0.0, peer=None, note=what),
        Figure(f"{name}: longest to the end", longest("terminal"), "s", RESTART, note="from the next one's start"),
        Figure(f"{name}: longest to rest", longest("settled"), "s", RESTART, note=settled),
        Figure(
            f"{name}: all that was wrong",
            sum(len(one.wrong) for one in found),
            "",
            must=0.0,
            note=f"{counted:,} units counted once each; the ledger verifies, every decision was made again alike",
        ),
    ]


def starts() -> list[Figure]:
    """How fast replicas start: as `make bench` measured it last."""
    rows = json.loads((RESULTS / "spine.json").read_text(encoding="utf-8"))
    wanted = [row for row in rows if "replica" in row["metric"]]
    known = ("metric", "value", "unit", "must", "aim")
    return [Figure(**{key: row[key] for key in known}, note="measured by `make bench`: spine.json") for row in wanted]


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="handovers of each kind at each rate")
    parser.add_argument("--seeds", type=int, default=2, help="kills at each point; `make drills` does 20")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure; nothing is written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
