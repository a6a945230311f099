"""What people do, at any moment, through the same functions as the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from guideway.core.errors import GuidewayError
from guideway.core.release import Release
from guideway.core.spec import Gateway, Spec
from guideway.fleet import orders, steer
from guideway.store import fleet
from simulation.machine import SOUR
from simulation.story import FIRST, NEW, OTHER

if TYPE_CHECKING:
    from simulation.world import World

RELEASES = {"ship": NEW, "ship another": OTHER, "ship the first": FIRST}
DATA = {"sources": [{"path": "rows.jsonl"}]}


class People:
    """All who may give orders, with a connection of their own."""

    def __init__(self, world: World) -> None:
        self.world, self.dice = world, world.dice("people")
        self.database = world.open(world.visitor)
        self._options = Gateway(port=8080)

    def act(self, what: str) -> None:
        """Do it; what is refused is told, and that is all."""
        self.world.tell("people", what)
        with self.world.acting(self.world.visitor):
            try:
                self._act(what)
            except GuidewayError as error:
                self.world.tell("people", f"{what} is refused: {error}")

    def _act(self, what: str) -> None:
        home, name, how = self.world.home, self.world.name, {"by": "ada", "clock": self.world.time.wall}
        if what in RELEASES:
            self.ship(RELEASES[what])
        elif what in ("pause", "resume"):
            steer.pause(self.database, name, resume=what == "resume", **how)
        elif what == "promote":
            steer.promote(self.database, name, **how)
        elif what == "abort":
            steer.abort(home, self.database, name, why="it feels wrong", **how)
        elif what == "rollback":
            orders.rollback(home, self.database, self._spec(), name, clock=self.world.time.wall)
        elif what == "down":
            orders.down(self.database, name, clock=self.world.time.wall)
        elif what == "settings":
            duck = self.dice.choice([0.0, 1.0, SOUR])
            self._options = msgspec.structs.replace(self._options, lame_duck=duck)
            stable = self.world.stable()
            if stable:
                self.ship(stable)
            self._options = msgspec.structs.replace(self._options, lame_duck=0.0 if duck == SOUR else duck)

    def ship(self, release: str, strategy: str = "") -> None:
        orders.ship(
            self.database,
            self._spec(),
            self.world.name,
            Release(release, "m", 1, 0.0),
            clock=self.world.time.wall,
            strategy=strategy or self.world.story.strategy,
            afresh="why not" if self.dice.random() < 0.2 else "",
        )

    def calm(self) -> None:
        """After all the trouble somebody looks after the service: it is up, and nothing is left paused or shadowing."""
        state = fleet.environment(self.database, self.world.name)
        if state is not None and not state.up:
            self.ship(self.world.stable() or FIRST)
        self.act("resume")

    def _spec(self) -> Spec:
        made = msgspec.convert({"guideway": 1, "name": "m", "data": DATA}, Spec)
        return msgspec.structs.replace(
            made, replicas=self.world.story.replicas, gateway=self._options, rollout=self.world.story.asked
        )
