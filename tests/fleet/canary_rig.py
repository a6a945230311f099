"""Users of a fleet in small: they are drawn by the route as it is, and leave outcomes as a worker does."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
from fleet_rig import NEW, OLD, Fleet

from guideway.core.artifact import short
from guideway.core.assignment import assign
from guideway.core.feedback import Judgement
from guideway.core.outcome import Outcome
from guideway.core.rollout import Phase, Rollout
from guideway.core.spec.rollout import Required, Step
from guideway.core.spec.rollout import Rollout as Asked
from guideway.fleet.judge import again
from guideway.gateway.outcomes import Spool
from guideway.rollout.canary import Canary
from guideway.store import canaries, feedback, ledger
from guideway.store import fleet as rows
from guideway.store.feedback_spool import Spool as Thumbs

STEPS = (Step(0.1, 100, shortest=1.0), Step(0.5, 200, shortest=1.0))
ASKED = Asked(strategy="canary", steps=STEPS, require=(Required("errors", 2.0, objective=0.05),))


class Users:
    """Requests to one fleet. Each takes 20 ms of a steady clock, which a test moves along with them."""

    def __init__(self, fleet: Fleet, seed: int = 1) -> None:
        self.fleet, self.dice = fleet, random.Random(seed)
        folder = fleet.home.environment("dev") / "outcomes"
        self.spool = Spool(folder, f"worker-{seed}", clock=lambda: fleet.steadily)
        self.asked = 0
        self.answered: dict[str, int] = {}

    def ask(self, count: int, *, wrong: Callable[[str], float] = lambda arm: 0.0, slower: float = 1.0, **more) -> None:
        """*count* requests; *wrong* is the chance that an arm's answer is an error."""
        route = rows.route(self.fleet.database, "dev")
        for _ in range(count):
            self.asked += 1
            self.fleet.steadily += 0.02
            weight = route.weight if route.candidate and route.candidate.endpoints else 0.0
            drawn = assign(route.rollout, weight, key="", uniform=self.dice.random())
            release = route.candidate.release if drawn.arm == "candidate" else route.stable.release
            self.answered[release] = self.answered.get(release, 0) + 1
            ill = self.dice.random() < wrong(drawn.arm)
            latency = 100.0 * self.dice.lognormvariate(0.0, 0.6) * (slower if drawn.arm == "candidate" else 1.0)
            self.spool.add(
                Outcome(
                    at=self.fleet.now(), environment="dev", rollout=route.rollout, arm=drawn.arm, share=drawn.share,
                    request=f"q{self.asked}", why_not=drawn.why_not, status=500 if ill else 200,
                    first_status=500 if ill else 200, failure="status" if ill else "", latency=latency,
                    input_tokens=30, output_tokens=10, release=short(release), **more,
                )
            )  # fmt: skip
        self.spool.tick()

    def say(self, thumb: str, *requests: str, key: str = "") -> None:
        """Leave a judgement of each of these *requests*, as a worker does."""
        spool = Thumbs(self.fleet.home.environment("dev") / feedback.FOLDER, "worker")
        for request in requests:
            said = Judgement(
                request, key or f"key-{thumb}-{request}", "ann", "dev", "", "", self.fleet.now(), thumb=thumb
            )
            spool.append(msgspec.msgpack.encode(said))
        spool.close()

    def until_over(self, rollout: Rollout, *, most: int = 20_000, **how) -> Rollout:
        """Ask, and step the controller, until *rollout* is over."""
        while not (now := self.fleet.rollout(rollout.id)).phase.final:
            assert self.asked < most, canary(self.fleet, rollout).decision
            self.ask(20, **how)
            self.fleet.controller.once()
            if now.phase is Phase.STARTING:
                self.fleet.controller.stopping.wait(0.002)
        return now


def begun(fleet: Fleet, **changes) -> tuple[Rollout, Users]:
    """OLD serves, 300 requests were answered, and a canary of NEW is on the route."""
    fleet.served(OLD)
    users = Users(fleet)
    users.ask(300)
    rollout = fleet.ship(NEW, **{"strategy": "canary", "asked": ASKED, **changes})
    fleet.until(lambda: candidate(fleet))
    return rollout, users


def candidate(fleet: Fleet):
    route = rows.route(fleet.database, "dev")
    return route.candidate if route else None


def canary(fleet: Fleet, rollout: Rollout) -> Canary:
    found = canaries.canary(fleet.database, rollout.id, Canary)
    assert found
    return found


def told(fleet: Fleet) -> list[str]:
    """What the ledger says of canaries, in order."""
    return [one.what.removeprefix("canary ") for one in ledger.entries(fleet.database) if one.what.startswith("canary")]


def judged_again(fleet: Fleet) -> list[bool]:
    """For every decision in the ledger: does the same follow once more from the numbers that it names?"""
    lines = [
        one for one in ledger.entries(fleet.database) if one.what.startswith("canary ") and "situation" in one.data
    ]
    return [told == found for told, found in (again(msgspec.to_builtins(one.data)) for one in lines)]


def copy_of(rollout: str, **changes) -> Outcome:
    """A copy that a shadow answered."""
    plain = Outcome(
        at=1.0, environment="dev", rollout=rollout, arm="candidate", share=1.0, request="q", why_not="shadow",
        status=200, first_status=200, latency=50.0, same=True,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)
