"""Run seeds: the first release serves, a candidate is shipped, things go wrong, all becomes calm; is it well?"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from guideway.core.rollout import Phase, Rollout
from guideway.signing.keys import pepper, signer
from guideway.store import ledger, releases
from guideway.store.database import Database
from guideway.store.home import Home
from simulation.invariants import Broken
from simulation.story import FIRST, NEW, OTHER, Story
from simulation.world import NAME, World

HORIZON = 50.0
BOUND = 240.0
"""Seconds of calm within which every rollout is over, or waits for a reason that it names."""
_FAST = Path("/dev/shm")


class Result(NamedTuple):
    """How a seed ended. ``broken``: what did not hold; ``trace``: a digest of all that happened."""

    seed: int
    story: Story
    broken: str
    trace: str
    first: Rollout | None
    last: Rollout | None
    requests: int
    seconds: float


def run(seed: int, trace: Callable[[str], None] | None = None) -> Result:
    """Run *seed*; *trace* hears every event."""
    world = World(seed, _home(), trace=trace)
    broken = ""
    with world.patched():
        try:
            _play(world)
        except Broken as error:
            broken = str(error)
        finally:
            order = world.invariants.tally.begun(world.invariants.rollouts)
            mine = next((one for one in order if one.release == NEW), None)
            asked, now = world.users.asked, world.time.now
            world.end()
    world.tell("end", f"{asked} requests, {broken}")
    return Result(
        seed, world.story, broken, world.digest.hexdigest(), mine, order[-1] if order else None, asked, now
    )  # fmt: skip


def _play(world: World) -> None:
    story, time = world.story, world.time
    world.start_controller()
    world.people.ship(FIRST)
    if story.early:
        _schedule(world)
    served = world.run_until(lambda: world.stable() is not None, 120.0)
    if not served and not _running(world):  # what went wrong undid it: somebody ships once more, and stays alive
        world.visitor.doom = None
        world.people.act("ship the first")
        served = world.run_until(lambda: world.stable() is not None, 60.0)
    world.invariants.require(served, "the first release does not serve")
    world.run_for(5.0)
    if not story.early:
        _schedule(world)
    world.people.act("ship")
    world.run_until(lambda: not _running(world) and story.temper == "calm", HORIZON)
    world.faults.end()
    _calm(world)
    _judge(world)
    world.tell("time", f"{time.now:.3f}")


def _schedule(world: World) -> None:
    for at, what in world.story.faults:
        world.time.after(at, lambda what=what: world.faults.strike(what))
    for at, what in world.story.meddling:
        world.time.after(at, lambda what=what: _meddle(world, what))


def _meddle(world: World, what: str) -> None:
    """Half of the time between two rounds, else in the middle of one; now and then the person's process is killed."""
    dice = world.people.dice
    if dice.random() < 0.15:
        world.visitor.doom = dice.randrange(1, 12)
    awake = [one for one in world.lives if not one.asleep]
    if awake and dice.random() < 0.5:
        awake[0].interrupts.append((dice.randrange(1, 60), lambda: world.people.act(what)))
    else:
        world.people.act(what)


def _running(world: World) -> list[Rollout]:
    return [one for one in world.invariants.rollouts.values() if not one.phase.final]


def _calm(world: World) -> None:
    """Somebody makes sure that it is up; a shadow is promoted after a while; then all ends by itself."""
    world.run_until(lambda: len([one for one in world.lives if not one.asleep]) == 1 == len(world.lives), 60.0)
    world.people.calm()
    world.time.after(15.0, lambda: _end_shadows(world))
    world.run_until(lambda: not _running(world), BOUND)
    world.run_for(5.0)
    world.run_until(lambda: _settled(world), 180.0)


def _end_shadows(world: World) -> None:
    if any(one.phase is Phase.SHADOW for one in _running(world)):
        world.people.act("promote")


def _settled(world: World) -> bool:
    life = world.lives[0] if world.lives else None
    rows = world.invariants.read_replicas()
    serve = _running(world) or _ill(world) or len(world.invariants.route.stable.endpoints) == world.story.replicas
    return (
        bool(life and serve)
        and not life.controller.hands.busy
        and len(rows) == len(world.machine.replicas)
        and all(one.state == "ready" for one in rows)
    )


def _judge(world: World) -> None:
    require, machine = world.invariants.require, world.machine
    for one in _running(world):
        why = waits(world, one)
        require(why, f"{one.id} is {one.phase} {BOUND:.0f} s after all faults: {_said(world, one)}")
    require(len(world.lives) == 1, f"{len(world.lives)} controllers live")
    known, there = {one.port for one in world.invariants.read_replicas()}, {one.port for one in machine.replicas}
    require(known == there, f"rows know replicas on {sorted(known - there)}, processes are on {sorted(there - known)}")
    require(machine.gateway is not None, "no gateway runs")
    route = world.invariants.route
    require(route == world.invariants.file, "the file does not say what the row says")
    if not _running(world) and not _ill(world):
        count = len(route.stable.endpoints)
        require(count == world.story.replicas, f"{count} of {world.story.replicas} replicas serve")
    with Database(world.home.path / "state.db") as database:
        ledger.verify(database)


def _ill(world: World) -> bool:
    """Has a release all traffic that can keep no replica? A person may have wanted it."""
    return world.characters[world.stable()].name in ("dying", "never ready", "corrupt", "lying")


def waits(world: World, rollout: Rollout) -> str:
    """The documented reason for which *rollout* may still wait; empty: there is none."""
    known = world.invariants.canary(rollout.id)
    if rollout.phase is not Phase.CANARY or known is None or known.decision is None:
        return ""
    if known.mode == "caller" and known.step == len(rollout.asked.steps) - 1:
        return "callers tell too little"
    return ""


def _said(world: World, rollout: Rollout) -> str:
    known = world.invariants.canary(rollout.id)
    decision = known.decision if known else None
    return f"{decision.kind}: {decision.reason}" if decision else rollout.reason or "nothing was said"


def _home() -> Home:
    """A fresh copy of an empty home, in memory."""
    folder = Path(tempfile.mkdtemp(prefix="guideway-sim-", dir=_FAST if _FAST.is_dir() else None))
    shutil.copytree(_template(), folder, dirs_exist_ok=True)
    return Home(folder)


@cache
def _template() -> Path:
    """A home with a database, keys and three releases that were admitted: made once in a process."""
    os.environ.pop("GUIDEWAY_HOME", None)
    folder = Path(tempfile.mkdtemp(prefix="guideway-sim-home-", dir=_FAST if _FAST.is_dir() else None))
    home = Home.of(folder / "seed")
    with Database(home.database) as database:
        for release in (FIRST, NEW, OTHER):
            releases.put_admission(
                database, release=release, environment=NAME, verdict="PASS", envelope="sha256:e", at=1.0
            )
    signer(home.keys)
    pepper(home.keys)
    (home.environment(NAME)).mkdir(parents=True)
    return home.path
