"""What goes wrong, and when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.world import Life, World


class Faults:
    """Each by its name in `story.FAULTS`."""

    def __init__(self, world: World) -> None:
        self.world, self.dice = world, world.dice("faults")
        self._sleepers = 0

    def strike(self, what: str) -> None:
        """Let it happen now, or at one of the next points of whoever acts."""
        self.world.tell("fault", what)
        getattr(self, "_" + what.replace(" ", "_"))()

    def _life(self) -> Life | None:
        there = [one for one in self.world.lives if not one.asleep]
        return self.dice.choice(there) if there else None

    def _kill_the_controller(self) -> None:
        if life := self._life():
            life.doom = self.dice.randrange(1, 80)

    def _stop_the_controller(self) -> None:
        if life := self._life():
            self.world.stop(life)

    def _oversleep(self) -> None:
        """It stands still in the middle of a round, another one acts, and then it goes on."""
        life = self._life()
        if life and not self._sleepers:
            self._sleepers += 1
            life.interrupts.append((self.dice.randrange(1, 60), lambda: self._sleep(life)))

    def _sleep(self, life: Life) -> None:
        self.world.tell(life.name, "stands still")
        life.asleep = True
        self.world.start_controller()
        self.world.run_for(self.dice.uniform(0.5, 15.0))
        life.asleep = False
        self.world.tell(life.name, "wakes")
        self._sleepers -= 1
        self.world.time.after(self.dice.choice([0.0, 0.0, 3.0]), self._one_of_two_ends)

    def _one_of_two_ends(self) -> None:
        while len([one for one in self.world.lives if not one.asleep]) > 1:
            self.world.kill(self._life())

    def _replica_dies(self) -> None:
        if self.world.machine.replicas:
            self.world.machine.kill(self.dice.choice(self.world.machine.replicas))

    def _replicas_die(self) -> None:
        for one in list(self.world.machine.replicas):
            self.world.machine.kill(one)

    def _gateway_dies(self) -> None:
        self.world.machine.kill_gateway()

    def _worker_dies(self) -> None:
        self.world.users.kill_worker()

    def _clock_jumps(self) -> None:
        self.world.time.jumped += self.dice.choice([-3600.0, -30.0, -2.0, 2.0, 30.0, 3600.0]) * self.dice.random()

    def _outcomes_away(self) -> None:
        """The folder cannot be read, nor can a new segment be begun; what is open is written on."""
        folder = self.world.outcomes
        if self.world.away or not folder.exists():
            return
        hidden = folder.with_name("hidden")
        folder.rename(hidden)
        folder.write_text("no folder")
        self.world.away = True
        self.world.time.after(self.dice.choice([2.0, 10.0, 60.0]), self._outcomes_back)

    def _outcomes_back(self) -> None:
        folder = self.world.outcomes
        if self.world.away:
            folder.unlink()
            folder.with_name("hidden").rename(folder)
            self.world.away = False
            self.world.tell("fault", "outcomes are back")

    def _database_trouble(self) -> None:
        self.world.trouble_until = self.world.time.now + self.dice.uniform(0.5, 10.0)

    def _quiet(self) -> None:
        self.world.users.quiet_until = self.world.time.now + self.dice.uniform(2.0, 60.0)

    def _nothing_starts(self) -> None:
        self.world.machine.broken_until = self.world.time.now + self.dice.uniform(1.0, 10.0)

    def _starts_are_slow(self) -> None:
        self.world.machine.slow_until = self.world.time.now + self.dice.uniform(1.0, 10.0)

    def end(self) -> None:
        """From now on nothing goes wrong."""
        world, now = self.world, self.world.time.now
        world.trouble_until = world.users.quiet_until = world.machine.broken_until = world.machine.slow_until = now
        self._outcomes_back()
        world.visitor.doom = None
        world.visitor.interrupts = []
        for life in world.lives:
            life.doom, life.interrupts = None, []
        world.tell("fault", "all is calm from now on")
