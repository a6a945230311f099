"""``python mortal_controller.py HOME POINT``: a controller that is killed with SIGKILL at the POINTth thing it does.

Points lie after everything that became durable, and after every process that was started but not yet noted.
It ends by itself when no rollout runs any more, and says how many points it passed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from fleet_rig import PROGRAM, TinyHost

from guideway.fleet import project
from guideway.fleet.controller import Controller
from guideway.fleet.gateways import Gateways
from guideway.store import fleet, key_orders
from guideway.store.database import Database
from guideway.store.home import Home


class Fate:
    """Counts points, and kills at one of them."""

    def __init__(self, at: int) -> None:
        self.at, self.passed = at, 0

    def point(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalHost(TinyHost):
    """May die between starting a replica and saying so."""

    fate: Fate

    def start(self, *what):
        started = super().start(*what)
        self.fate.point()
        return started


class MortalGateways(Gateways):
    """May die between starting a gateway and hearing of it."""

    fate: Fate

    def start(self, state):
        super().start(state)
        self.fate.point()


class MortalDatabase(Database):
    """May die after everything that became durable; before that, a death changes nothing."""

    fate: Fate

    def execute(self, statement):
        done = super().execute(statement)
        if not self.in_transaction:
            self.fate.point()
        return done

    @contextlib.contextmanager
    def transaction(self):
        with super().transaction():
            yield self
        if not self.in_transaction:
            self.fate.point()


def main(home: Home, at: int) -> int:
    fate = Fate(at)
    for mortal in (MortalHost, MortalGateways, MortalDatabase):
        mortal.fate = fate
    write = project.write_atomic

    def write_atomic(*what, **more) -> None:
        write(*what, **more)
        fate.point()

    project.write_atomic = key_orders.write_atomic = write_atomic
    with MortalDatabase(home.database) as database:
        controller = Controller(home, database, MortalHost(home, {}), MortalGateways(home, PROGRAM), time.time)
        controller._adopt()
        while fleet.rollouts(database, running=True):
            controller.once()
            controller.stopping.wait(0.002)
        controller._settle()
    print(fate.passed)
    return 0


if __name__ == "__main__":
    sys.exit(main(Home(Path(sys.argv[1])), int(sys.argv[2])))
