"""What a seed draws before anything happens: the service, the releases, how much goes wrong and who meddles."""

from __future__ import annotations

import random
from typing import NamedTuple

from guideway.core.spec.rollout import Required, Step
from guideway.core.spec.rollout import Rollout as Asked

FIRST, NEW, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64, "sha256:" + "c" * 64
STEPS = (Step(0.1, 100, shortest=2.0, longest=120.0), Step(0.5, 250, shortest=3.0, longest=120.0))
ERRORS = Required("errors", 2.0, objective=0.05)
LATENCY = Required("latency_p50", 2.0)
FAULTS = (
    "kill the controller",
    "stop the controller",
    "oversleep",
    "replica dies",
    "replicas die",
    "gateway dies",
    "worker dies",
    "clock jumps",
    "outcomes away",
    "database trouble",
    "quiet",
    "nothing starts",
    "starts are slow",
)
GENTLE = ("kill the controller", "stop the controller", "oversleep", "database trouble", "outcomes away", "quiet")
"""Faults under which no request of a user may fail."""
ACTS = ("ship", "ship another", "ship the first", "pause", "resume", "promote", "abort", "rollback", "down", "settings")
HARMLESS = ("ship", "ship another", "pause", "resume", "promote", "abort", "rollback")


class Story(NamedTuple):
    """``temper``: calm (nothing goes wrong), gentle (nothing that users may notice), rough. ``meddling``: so many acts
    of people. ``rate`` is requests a second, ``callers`` how many there are (0: nobody says who they are).
    """

    temper: str
    character: str
    other: str
    replicas: int
    rate: float
    callers: int
    strategy: str
    asked: Asked
    faults: tuple[tuple[float, str], ...]
    meddling: tuple[tuple[float, str], ...]
    early: bool

    @property
    def told(self) -> str:
        """In one line."""
        who = f"{self.callers} callers" if self.callers else "nobody known"
        return (
            f"{self.temper}, {self.strategy} of a candidate that is {self.character}, {self.replicas} replicas, "
            f"{self.rate:.0f}/s by {who}, {len(self.faults)} faults, {len(self.meddling)} acts"
        )


def story_of(seed: int) -> Story:
    """The story of *seed*."""
    dice = random.Random(f"story {seed}")
    temper = dice.choices(["calm", "gentle", "rough"], weights=[0.25, 0.3, 0.45])[0]
    kinds = FAULTS if temper == "rough" else GENTLE
    acts = ACTS if temper == "rough" else HARMLESS
    horizon = 50.0
    many = 0 if temper == "calm" else dice.randrange(1, 13)
    people = 0 if temper == "calm" or dice.random() < 0.4 else dice.randrange(1, 6)
    characters = ["good"] * 8 + ["bad"] * 4 + ["slow", "dying", "never ready", "lying", "corrupt"]
    strategy = dice.choices(["canary", "all-at-once", "shadow"], weights=[0.8, 0.1, 0.1])[0]
    unit = dice.choice(["request", "request", "caller", "auto"])
    require = (ERRORS, LATENCY) if dice.random() < 0.3 else (ERRORS,)
    return Story(
        temper=temper,
        character=dice.choice(characters),
        other=dice.choice(characters),
        replicas=dice.choice([1, 2, 2, 3]),
        rate=dice.uniform(20.0, 50.0),
        callers=3000 if unit == "caller" else dice.choice([0, 30, 3000]),
        strategy=strategy,
        asked=Asked(
            strategy=strategy, steps=STEPS, require=require, unit=unit, ready_within=20.0, fresh_within=20.0,
            source_within=40.0, bake=dice.choice([5.0, 40.0]),
        ),
        faults=tuple(sorted((dice.uniform(0.0, horizon), dice.choice(kinds)) for _ in range(many))),
        meddling=tuple(sorted((dice.uniform(0.0, horizon), dice.choice(acts)) for _ in range(people))),
        early=temper == "rough" and dice.random() < 0.3,
    )  # fmt: skip
