"""One seed from its beginning to its end: who acts, at which points they can be hit, and how time goes on."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import msgspec

from guideway.core.errors import GuidewayError, Unavailable
from guideway.core.route import Route
from guideway.fleet import orders, project
from guideway.fleet.controller import Controller
from guideway.kit.files import locked, write_atomic
from guideway.store.home import Home
from simulation.faults import Faults
from simulation.invariants import Invariants
from simulation.machine import CHARACTERS, Machine, Pool, SimulatedGateways, SimulatedHost
from simulation.people import People
from simulation.state import PointedDatabase
from simulation.story import FIRST, NEW, OTHER, Story, story_of
from simulation.timeline import Timeline
from simulation.traffic import Users

NAME = "dev"
QUIETLY = frozenset({"begin", "read", "write", "order"})
"""Points at which somebody else can act: no transaction is open there, and no lock is held. Between the last look at
the fence and the start of a process lies one moment more, which no fence can close; it is left out."""
ASKS = frozenset({"begin", "read", "write", "committed", "written"})
"""Points at which the database may fail to answer: what was to be committed may be committed all the same."""


class Killed(BaseException):
    """The process that acts is killed, at this very point."""


class Actor:
    """A process that acts. ``doom`` counts down the points until it is killed; ``interrupts`` until others act."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.doom: int | None = None
        self.interrupts: list[tuple[int, Callable[[], None]]] = []
        self.database: PointedDatabase | None = None
        self.interrupted = False


class Life(Actor):
    """One life of a controller, which began ``at`` so many seconds, when the clock on the wall said ``wall``.

    ``asleep``: it stands still, in the middle of what it does.
    """

    controller: Controller
    pool: Pool
    at = wall = 0.0
    asleep = ended = False


class World:
    """All of one simulation, in an empty home."""

    def __init__(self, seed: int, home: Home, *, trace: Callable[[str], None] | None = None) -> None:
        self.seed, self.home, self.name = seed, home, NAME
        self.time, self.story = Timeline(), story_of(seed)
        self.characters = self._characters(self.story)
        self.outcomes = home.environment(NAME) / "outcomes"
        self.route_file = home.environment(NAME) / "route.json"
        self.away = False
        self.trouble_until = 0.0
        self.lives: list[Life] = []
        self.visitor = Actor("people")
        self.digest = hashlib.sha256()
        self._trace, self._acting, self._file, self._locked = trace, [], b"", False
        self._tokens, self._dice, self._controllers = self.dice("tokens"), self.dice("world"), 0
        self.machine, self.invariants = Machine(self), Invariants(self)
        self.users = Users(self)
        self.people, self.faults = People(self), Faults(self)

    @staticmethod
    def _characters(story: Story) -> dict[str, object]:
        return {FIRST: CHARACTERS["good"], NEW: CHARACTERS[story.character], OTHER: CHARACTERS[story.other]}

    def dice(self, what: str) -> random.Random:
        """Dice of their own for each concern: one throw more here changes nothing there."""
        return random.Random(f"{what} {self.seed}")

    def tell(self, who: str, what: str) -> None:
        """Something happened."""
        line = f"{self.time.now:9.3f}  {who:10} {what}"
        self.digest.update(line.encode())
        if self._trace:
            self._trace(line)

    # -- who acts ------------------------------------------------------------------------------------------------

    def open(self, actor: Actor) -> PointedDatabase:
        """A connection for *actor*."""
        actor.database = PointedDatabase(self.home.path / "state.db", lambda what: self._point(what, actor))
        return actor.database

    @contextlib.contextmanager
    def acting(self, actor: Actor) -> Iterator[None]:
        """*actor* acts, until it ends or is killed."""
        self._acting.append(actor)
        try:
            yield
        except Killed:
            self.tell(actor.name, "is killed")
            if isinstance(actor, Life):
                self._bury(actor)
        finally:
            self._acting.pop()
            self.look_at_file()

    def point(self, what: str) -> None:
        """Whoever acts now is at a point."""
        if self._acting:
            self._point(what, self._acting[-1])

    def _point(self, what: str, actor: Actor) -> None:
        if what == "committed":
            self.invariants.committed()
        if what in ("project", "projected"):
            self.look_at_file()
        inside = actor.database is not None and actor.database.in_transaction
        if what in QUIETLY and not inside and not self._locked:
            self._interrupt(actor)
        self._doom(actor, what)
        if self.time.now < self.trouble_until and what in ASKS and self._dice.random() < 0.08:
            raise Unavailable("the database does not answer")

    def _interrupt(self, actor: Actor) -> None:
        waiting, actor.interrupts = actor.interrupts, []
        for left, action in waiting:
            if left > 1:
                actor.interrupts.append((left - 1, action))
            else:
                actor.interrupted = True
                action()

    def _doom(self, actor: Actor, what: str) -> None:
        if actor.doom is None:
            return
        actor.doom -= 1
        if actor.doom <= 0:
            actor.doom = None
            raise Killed(what)

    # -- controllers ---------------------------------------------------------------------------------------------

    def start_controller(self) -> None:
        """A process like `python -m guideway.fleet`; one that cannot start is started again a little later."""
        self._controllers += 1
        life = Life(f"ctl {self._controllers}")
        life.at, life.wall = self.time.now, self.time.wall()
        self.lives.append(life)
        self.tell(life.name, "starts")
        with self.acting(life):
            try:
                self._begin(life)
            except GuidewayError as error:
                self.tell(life.name, f"cannot start: {error}")
                self._bury(life)
        if not life.ended:
            self._again(life, 0.0)

    def _begin(self, life: Life) -> None:
        life.pool = Pool(self, lambda: self._again(life, 0.002), lambda what: self._point(what, life))
        host, gateways, time = SimulatedHost(self), SimulatedGateways(self), self.time
        life.controller = Controller(
            self.home, self.open(life), host, gateways, time.wall, steady=time.steady, pool=life.pool
        )
        life.controller._adopt()

    def _again(self, life: Life, seconds: float) -> None:
        self.time.after(seconds, lambda: self._round(life))

    def _round(self, life: Life) -> None:
        """One round, unless another one is about to begin anyway."""
        if life.ended or life.asleep or not hasattr(life, "controller"):
            return
        life.rounds = getattr(life, "rounds", 0) + 1
        mine, acted = life.rounds, False
        with self.acting(life):
            acted = life.controller.once()
        if life.ended:
            return
        self.invariants.after_round(life)
        pause = 0.02 if acted else self._dice.uniform(0.5, 1.0) * self._pace(life)
        self.time.after(pause, lambda: self._round(life) if life.rounds == mine else None)

    def _pace(self, life: Life) -> float:
        """Seconds between two rounds, at most: more than in truth, for a round costs milliseconds of our own time."""
        if life.controller.hands.busy:
            return 0.5
        return 1.5 if any(not one.phase.final for one in self.invariants.rollouts.values()) else 3.0

    def _bury(self, life: Life) -> None:
        life.ended = True
        self.lives.remove(life)
        if hasattr(life, "pool"):
            life.pool.kill()
        if life.database:
            life.database.point = lambda what: None
            life.database.close()
        if not self.lives:
            self.time.after(self._dice.choice([0.1, 1.0, 5.0, 60.0]) * self._dice.random(), self.revive)

    def revive(self) -> None:
        """Somebody, or something, starts a controller if none runs."""
        if not self.lives:
            self.start_controller()

    def kill(self, life: Life) -> None:
        """It is killed while it waits for its next round."""
        if not life.ended:
            self.tell(life.name, "is killed between two rounds")
            self._bury(life)

    def stop(self, life: Life) -> None:
        """It is asked to end, and does so as `Controller.run` does."""
        if life.ended or life.asleep:
            return
        life.asleep = True
        self.tell(life.name, "is asked to end")
        with self.acting(life), contextlib.suppress(GuidewayError):
            life.controller._settle()
        if not life.ended:
            self._bury(life)

    # -- time ----------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """The next event, and all requests before it."""
        self.users.until(self.time.next_at())
        self.time.take()()
        self.look_at_file()

    def run_until(self, condition: Callable[[], bool], within: float) -> bool:
        """Let time pass until *condition* holds, *within* so many seconds; does it?"""
        deadline = self.time.now + within
        while not (holds := condition()) and self.time.next_at() <= deadline:
            self.step()
        return holds

    def run_for(self, seconds: float) -> None:
        """Let *seconds* pass."""
        over = [False]
        self.time.after(seconds, lambda: over.__setitem__(0, True))
        self.run_until(lambda: over[0], seconds + 1.0)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Somebody blocks until *condition* holds."""
        self.invariants.require(self.run_until(condition, 300.0), "somebody waits in vain")

    def look_at_file(self) -> None:
        """Has the route file changed? Then workers will see it."""
        try:
            data = self.route_file.read_bytes()
        except FileNotFoundError:
            return
        if data != self._file:
            self._file = data
            self.invariants.projected(msgspec.json.decode(data, type=Route))
            self.users.file_changed()

    # -- what is -------------------------------------------------------------------------------------------------

    def stable(self) -> str | None:
        """The release that has the traffic."""
        route = self.invariants.route
        return route.stable.release if route and route.stable else None

    def write(self, path: Path, data: bytes, **how: object) -> None:
        """As `write_atomic`, but not for ever, and with a point on each side where a route is written."""
        if path == self.route_file:
            self.point("project")
        write_atomic(path, data, durable=False)
        if path == self.route_file:
            self.point("projected")

    @contextlib.contextmanager
    def lock(self, path: Path, **how: object) -> Iterator[bool]:
        """As `locked`: nobody falls asleep inside, for whoever waits here waits for ever."""
        with locked(path, **how) as mine:
            self._locked = True
            try:
                yield mine
            finally:
                self._locked = False

    def token(self, length: int) -> str:
        """As `secrets.token_hex`."""
        return self._tokens.randbytes(length).hex()

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """Nothing random but by the seed; processes are those of the machine."""
        alive = lambda pid, started=None: any(one.process.pid == pid for one in self.machine.replicas)  # noqa: E731
        with (
            mock.patch("secrets.token_hex", self.token),
            mock.patch.object(orders, "is_alive", alive),
            mock.patch.object(project, "write_atomic", self.write),
            mock.patch.object(project, "locked", self.lock),
            contextlib.redirect_stderr(_Lines(self)),
        ):
            yield

    def end(self) -> None:
        """Give everything back."""
        for life in list(self.lives):
            life.database.point = lambda what: None
            life.database.close()
        for one in self.users.workers:
            one.end()
        self.people.database.point = lambda what: None
        self.people.database.close()
        self.invariants.rows.close()
        shutil.rmtree(self.home.path, ignore_errors=True)


class _Lines(io.TextIOBase):
    """What processes complain of, as events."""

    def __init__(self, world: World) -> None:
        self._world = world

    def write(self, text: str) -> int:
        self._world.tell("says", text.rstrip())
        return len(text)
